"""Trainings on two virtual devices are those on one, but for rounding, and end on any number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import two_devices

import keras_resnets as kr
from keras_resnets.data.passes import Batches
from keras_resnets.errors import ArgumentError
from keras_resnets.training.devices import Team

pytestmark = pytest.mark.backends
TWO = Team(kr.Execution(), ("one", "two"))


def _found(paths):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(kr.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", two_devices.__file__, paths]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found():
    """Blocks drawn for each batch, dropout, and classes that weigh differently."""
    return _found("fixed:1")


def _assert_alike(run):
    assert run["moved"] > 0.1
    for case in ("two", "ended", "answers", "returned"):
        assert run[case] < 1e-5, case
    one, two = run["results"]
    assert one["test_accuracy"] == two["test_accuracy"]
    assert one["test_loss"] == pytest.approx(two["test_loss"], abs=1e-5)
    rows = [[float(number) for number in history.split("\n")[2].split(",")] for history in run["history"]]
    assert rows[0] == pytest.approx(rows[1], abs=1e-5)
    assert run["devices"] == [[1], [2], [2, 1]]


def test_twenty_steps_are_those_of_one_device_and_a_run_ends_on_one(found):
    _assert_alike(found["run"])


@pytest.mark.thorough
def test_blocks_drawn_for_each_example_are_those_of_one_device():
    _assert_alike(_found("drop:0.4")["run"])


def test_what_cannot_be_done_is_refused(found):
    many, jit, steps = found["refusals"]
    assert many.startswith("devices must be at most the 2 that ")
    if keras.config.backend() == "tensorflow":
        assert jit.startswith("jit must be off with several devices on TensorFlow")
        assert steps.startswith("steps_per_execution must be 1 with several devices on TensorFlow")
    else:
        assert jit is steps is None


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="other backends have no replicas")
def test_replicas_compute_parts_of_the_whole_batch(found):
    assert found["drawn"], "DropPath draws another for an example than on one device"
    for case, (whole, parts) in found["losses"].items():
        assert parts == pytest.approx(whole, rel=1e-5), case


@pytest.mark.parametrize(
    ("batch", "drop", "said"),
    [
        (57, False, r"batch_size must be a multiple of 2, .* got 57. Give 56, or other devices"),
        (64, False, r"2 devices must share each batch evenly, and the 701 training .* last batch of 61"),
        (64, True, None),
        (701, True, r"batch_size must be a multiple of 2"),
    ],
)
def test_batches_that_cannot_be_shared_evenly_are_refused(batch, drop, said):
    data = kr.data.load("digits", validation=0.499, batch_size=batch, drop_remainder=drop)
    assert data.sizes["train"] == 701
    if said is None:
        TWO.check(data)
        return
    with pytest.raises(ArgumentError, match=said):
        TWO.check(data)


def test_a_process_feeds_its_part_of_each_batch():
    batches = Batches([6, 4], lambda index: (np.arange(6 - 2 * index)[:, None], np.arange(6 - 2 * index)))
    parts = [Team(kr.Execution(), ("a", "b"), rank, 2).trained(batches, (None, 1), 2)[0]["x"] for rank in (0, 1)]
    for index in (0, 1):
        for column in (0, 1):
            both = np.concatenate([part[index][column] for part in parts])
            np.testing.assert_array_equal(both, batches[index][column])
    assert parts[0].sizes == (3, 2)


def test_the_torch_backend_has_one_device(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ArgumentError, match=r"devices must be 1 with the backend torch.*got 'all'"):
        Team.of(kr.Execution(devices="all"))
