"""A search by real processes, killed at several moments: every trial once, and the table of the undisturbed search."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import filelock
import pandas as pd
import pytest

from keras_resnets.search.journal import Journal

pytestmark = pytest.mark.slow

ASKED = [
    "search", "preresnet8", "--budget-params", "3000", "--blocks", "1", "--choose", "learning_rate=0.02:0.2",
    "--oracle", "random", "--trials", "4", "--epochs", "3", "--set", "bn_momentum=0.8",
]  # fmt: skip
# Seconds after which a test is stuck.
STUCK = 240


class Process:
    """A `keras-resnets` that writes what it says to a file."""

    def __init__(self, arguments, out, log):
        self.log = log
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        with open(log, "a") as said:
            command = [sys.executable, "-m", "keras_resnets", *map(str, arguments), "--out", str(out)]
            self.process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)

    def kill(self):
        assert self.process.poll() is None, self.log.read_text()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        assert self.process.wait(STUCK) == 0, self.log.read_text()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Starts processes, and leaves none behind."""
    started = []

    def run(*arguments, out):
        started.append(Process(arguments, out, tmp_path / f"{len(started)}.log"))
        return started[-1]

    yield run
    for process in started:
        process.stop()


def until(moment, process=None):
    """Waits for a moment."""
    began = time.monotonic()
    while not moment():
        assert process is None or process.process.poll() is None, process.log.read_text()
        assert time.monotonic() - began < STUCK
        time.sleep(0.02)


def ended(out):
    events, _ = Journal(out / "journal.jsonl").read()
    return [event["trial"] for event in events if event["event"] == "end"]


def epochs(out):
    """Epochs trained, of all trials together."""
    return sum(len(file.read_text().splitlines()) - 1 for file in out.glob("trials/*/seed0/history.csv"))


# Between two epochs of the first trial, between two trials, in the middle of the last.
MOMENTS = (lambda out: epochs(out) >= 1, lambda out: len(ended(out)) >= 2, lambda out: epochs(out) >= 10)


def table(out):
    rows = pd.read_csv(out / "trials.csv")
    return rows.drop(columns=[name for name in rows if name.startswith(("latency", "seconds", "front_latency"))])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "search"
    process = Process(ASKED, out, out.parent / "log")
    process.end()
    return table(out)


def check(out, undisturbed):
    assert sorted(ended(out)) == ["0", "1", "2", "3"]  # each once
    pd.testing.assert_frame_equal(table(out), undisturbed)
    assert epochs(out) == 12
    for file in out.glob("trials/*/seed0/times.csv"):
        assert list(pd.read_csv(file)["epoch"]) == [1, 2, 3]


@pytest.mark.thorough
def test_the_only_process_is_killed(start, tmp_path, undisturbed):
    out = tmp_path / "search"
    for moment in MOMENTS:
        process = start(*ASKED, out=out)
        until(lambda moment=moment: moment(out), process)
        process.kill()
    start(*ASKED, out=out).end()
    check(out, undisturbed)


def test_a_worker_is_killed(start, tmp_path, undisturbed):
    out = tmp_path / "search"
    chief = start(*ASKED, "--role", "chief", out=out)
    until(lambda: (out / "chief.json").exists(), chief)
    assert json.loads((out / "chief.json").read_text())["address"].startswith("127.0.0.1:")  # loopback
    worker = ["--role", "worker"]
    steady, victim = start("search", *worker, out=out), start("search", *worker, out=out)
    for moment in MOMENTS:
        until(lambda moment=moment: moment(out), chief)
        victim.kill()
        victim = start("search", *worker, out=out)
    for process in (chief, steady, victim):
        process.end()
    check(out, undisturbed)


@pytest.mark.thorough
def test_a_worker_that_never_returns_leaves_its_trial_to_another(start, tmp_path, undisturbed):
    out = tmp_path / "search"
    chief = start(*ASKED, "--role", "chief", "--lost-after", 12, out=out)
    until(lambda: (out / "chief.json").exists(), chief)
    victim = start("search", "--role", "worker", out=out)
    until(lambda: MOMENTS[0](out), victim)
    victim.kill()
    # Another name, as a worker on another machine has one.
    (out / "workers").rename(out / "gone")
    (out / "workers").mkdir()
    with filelock.FileLock(out / "workers" / next((out / "gone").glob("*-0.lock")).name):
        other = start("search", "--role", "worker", out=out)
        for process in (chief, other):
            process.end()
    check(out, undisturbed)
    begun = [event for event in Journal(out / "journal.jsonl").read()[0] if event["event"] == "begin"]
    assert [event["trial"] for event in begun].count("0") == 2
    assert len({event["worker"] for event in begun if event["trial"] == "0"}) == 2


def test_the_chief_is_killed(start, tmp_path, undisturbed):
    out = tmp_path / "search"
    asked = [*ASKED, "--role", "chief"]
    chief = start(*asked, out=out)
    until(lambda: (out / "chief.json").exists(), chief)
    workers = [start("search", "--role", "worker", out=out) for _ in range(2)]
    for moment in MOMENTS:
        until(lambda moment=moment: moment(out))
        chief.kill()
        chief = start(*asked, out=out)
        until(lambda log=chief.log: "blocks in each stage" in log.read_text(), chief)
    for process in (chief, *workers):
        process.end()
    check(out, undisturbed)


@pytest.mark.thorough
def test_workers_of_one_command_are_replaced_and_end_with_it(start, tmp_path, undisturbed):
    out = tmp_path / "search"
    asked = [*ASKED, "--workers", "2"]

    def members(process):
        found = subprocess.run(["pgrep", "-P", str(process.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    main = start(*asked, out=out)
    until(lambda: MOMENTS[0](out), main)
    os.kill(members(main)[0], signal.SIGKILL)
    until(lambda: "was killed by SIGKILL" in main.log.read_text(), main)
    left = members(main)
    main.kill()
    until(lambda: not any(alive(pid) for pid in left))
    start(*asked, out=out).end()
    check(out, undisturbed)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_error_of_a_worker_is_told_by_the_command(start, tmp_path):
    out = tmp_path / "search"
    process = start(*ASKED, "--workers", "1", "--choose", "momentum=0.9,1.5", out=out)
    assert process.process.wait(STUCK) == 1
    said = process.log.read_text()
    sentence = r"keras-resnets: Worker \S+ failed: .*momentum.* Run the same command again to continue\."
    assert re.search(sentence, said), said
    assert "Traceback" not in said
