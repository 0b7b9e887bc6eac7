"""Keras' own doors: what opens our files once the package is imported, before any of its rooms is."""

import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets import registered

ROOT = Path(registered.__file__).parent
NAMES = {f"keras_resnets>{name}": module for module, names in registered.CLASSES.items() for name in names}


def test_the_table_has_every_class_that_is_registered():
    decorated = r'register_keras_serializable\("keras_resnets"\)\n(?:@.*\n)*class (\w+)'
    found = {
        f"keras_resnets>{name}": ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in ROOT.rglob("*.py")
        for name in re.findall(decorated, file.read_text())
    }
    assert found == NAMES


@pytest.fixture
def forgotten(monkeypatch):
    """Keras without our classes, as before their modules are imported."""
    known = keras.saving.get_custom_objects()
    for name in NAMES:
        monkeypatch.delitem(known, name, raising=False)
    return known


def test_a_stand_in_is_its_class(forgotten):
    assert not forgotten.keys() & NAMES.keys()
    registered.install()
    for name, module in NAMES.items():
        own = getattr(importlib.import_module(f"keras_resnets.{module}"), name.partition(">")[2])
        assert registered.resolved(forgotten[name]) is own
    assert isinstance(forgotten["keras_resnets>TakeChannels"](3), kr.layers.TakeChannels)
    forgotten["keras_resnets>SGD"] = kr.optimizers.SGD
    registered.introduce(keras)
    assert forgotten["keras_resnets>SGD"] is kr.optimizers.SGD


def test_files_are_opened_by_keras_itself(forgotten, tmp_path):
    registered.install()
    network = kr.build("resnet8", (8, 8, 1), 2)
    clone = keras.models.clone_model(network)
    network.compile(kr.optimizers.SGD(0.1), kr.segmentation.losses.PixelLoss(), paths="stochastic:0.5")
    inputs = keras.Input((8, 8, 1))
    around = keras.Model(inputs, keras.layers.Dense(3)(network(inputs)))
    adopted = kr.adopt(keras.Model(inputs, keras.layers.Add()([inputs, keras.layers.Conv2D(1, 1)(inputs)])))
    models = {"own": network, "around": around, "clone": clone, "adopted": adopted}
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    for name, model in models.items():
        opened = keras.saving.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(opened(x), model(x), err_msg=name)
        assert type(opened) is type(model)
    opened = keras.saving.load_model(tmp_path / "own.keras")
    assert type(opened.optimizer) is kr.optimizers.SGD
    assert opened.paths == network.paths


PROGRAM = """
import sys, keras_resnets
assert not {"keras", "tensorflow", "typing"} & sys.modules.keys() - before
import importlib.util
assert importlib.util.find_spec("keras") and "keras" not in sys.modules
import keras
assert "keras_resnets.network" not in sys.modules
print(type(keras.saving.load_model(sys.argv[1])).__name__)
"""


def test_in_a_new_process_whatever_is_imported_first(tmp_path):
    file = tmp_path / "net.keras"
    keras.Sequential([keras.Input((4, 4, 2)), kr.layers.BatchNorm()]).save(file)
    program = "import sys\nbefore = set(sys.modules)" + PROGRAM
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Sequential", done.stderr[-2000:]


def test_the_version_is_the_installed_one():
    assert kr.__version__ == importlib.metadata.version("keras_resnets")


@pytest.mark.backends
def test_a_backend_that_is_not_installed_is_said_in_a_sentence(tmp_path):
    here = [name for name in registered.BACKENDS if importlib.util.find_spec(name)]
    absent = next((name for name in registered.BACKENDS if name not in here), None)
    if absent is None:
        pytest.skip("all backends are installed")
    command = [sys.executable, "-m", "keras_resnets", "study", "littwin", "--out", str(tmp_path / "new")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": absent}, check=False
    )
    assert done.returncode == 1
    known = registered.BACKENDS[absent]
    assert done.stderr.splitlines()[-1] == (
        f"keras-resnets: Keras is to compute with {known}, which is not installed. "
        f"Set the environment variable KERAS_BACKEND={here[0]}, or install {known}."
    )
