"""Searches by real processes that are killed, and the table of the undisturbed search."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from keras_resnets.search.journal import Journal

ASKED = [
    "search", "preresnet8", "--budget-params", "3000", "--blocks", "1", "--choose", "learning_rate=0.02:0.2",
    "--oracle", "random", "--trials", "4", "--epochs", "3", "--set", "bn_momentum=0.8",
]  # fmt: skip
# Seconds after which a test is stuck.
STUCK = 240


class Process:
    """A `keras-resnets` that writes what it says to a file."""

    def __init__(self, arguments, out, log, **environment):
        self.log = log
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment}
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
def start_search(tmp_path):
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


@pytest.fixture(scope="session")
def undisturbed_search(tmp_path_factory):
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
