"""A search whose trials are tasks of Ray, killed at several moments: the table of the undisturbed search."""

import os
import re
import signal
import subprocess
import time

import pytest
from helpers.searches import ASKED, MOMENTS, STUCK, check, until

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.training import cluster

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.ray


def tasks():
    """The processes in which trials are trained now, of any search."""
    found = subprocess.run(["pgrep", "-f", "^ray::trial"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def test_processes_of_trials_are_killed(start_search, tmp_path, undisturbed_search):
    out = tmp_path / "search"
    process = start_search(*ASKED, "--workers", "2", out=out)
    for moment in MOMENTS:
        until(lambda moment=moment: moment(out) and tasks(), process)
        os.kill(tasks()[0], signal.SIGKILL)
    process.end()
    check(out, undisturbed_search)


def test_the_driver_is_killed_and_leaves_no_process(start_search, tmp_path, undisturbed_search):
    out = tmp_path / "search"
    for moment in MOMENTS:
        process = start_search(*ASKED, "--workers", "2", out=out)
        until(lambda moment=moment: moment(out), process)
        process.kill()
        began = time.monotonic()
        while tasks():
            assert time.monotonic() - began < STUCK
            time.sleep(0.2)
    # Goes on with fewer places, so that a trial of the second is taken over.
    start_search(*ASKED, "--workers", "1", out=out).end()
    check(out, undisturbed_search)


def test_an_error_of_a_trial_is_told_by_the_command(start_search, tmp_path):
    process = start_search(*ASKED, "--workers", "1", "--choose", "momentum=0.9,1.5", out=tmp_path / "search")
    assert process.process.wait(STUCK) == 1
    said = process.log.read_text()
    sentence = r"keras-resnets: Trial \d failed: .*momentum.*\. Run the same command again to continue\."
    assert re.search(sentence, said), said
    assert "Traceback" not in said


def test_what_no_cluster_can_give_is_told(tmp_path):
    space = kr.search.DepthWidth("preresnet8", "digits", parameters=3_000, blocks=(1,), epochs=1)
    with pytest.raises(ArgumentError, match=r"gpus must be at most those of the cluster, 0; got 1"):
        kr.search.search(space, out=tmp_path / "a", trials=1, workers=1, gpus=1)
    assert not ray.is_initialized()
    with pytest.raises(OSError, match=r"No Ray cluster answers at '127.0.0.1:9'"), cluster.connected("127.0.0.1:9"):
        pass
    for address in ("nowhere", "10.0.0.1", ":80", "10.0.0.1:99999", "10.0.0.1:" + "9" * 5000):
        with pytest.raises(ArgumentError, match=r"ray must be"), cluster.connected(address):
            pass
