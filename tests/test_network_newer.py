"""Files of a Keras that is newer than the installed one."""

import json
import zipfile

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.network import newer

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = kr.build("resnet8", input_shape=(8, 8, 3))
    path = tmp_path_factory.mktemp("saved") / "net.keras"
    model.save(path)
    return model, path


def _as_if_by(path, out, version, options):
    """Copies a file with options for each class by name, as Keras of that version might have written them."""

    def walk(item):
        if isinstance(item, dict):
            if isinstance(item.get("config"), dict):
                item["config"] |= options.get(item["class_name"], {})
            item = list(item.values())
        for part in item if isinstance(item, list) else ():
            walk(part)

    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({"keras_version": version})
            if name == "config.json":
                config = json.loads(content)
                walk(config)
                content = json.dumps(config)
            target.writestr(name, content)
    return out


OFF = {
    "Conv2D": {"tomorrow": None},
    "VarianceScaling": {"axes_of_tomorrow": None},
    "BatchNorm": {"whiten": False, "whiten_rate": 0.9},
    "BatchNormalization": {"whiten": False, "whiten_rate": 0.9},
}


def test_what_is_off_in_a_newer_file_is_left_out(tmp_path, saved):
    model, path = saved
    file = _as_if_by(path, tmp_path / "net.keras", "99.1.0", OFF)
    before = file.read_bytes()
    loaded = kr.load_model(file)
    assert file.read_bytes() == before
    assert loaded.spec == model.spec
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    conv = loaded.blocks[0].residual.get_layer("conv1").get_config()
    assert "tomorrow" not in conv
    assert conv["filters"] == 16


@pytest.mark.parametrize(
    "options", [{"Conv2D": {"tomorrow": True}}, {"BatchNorm": {"whiten": True, "whiten_rate": 0.9}}]
)
def test_what_is_on_in_a_newer_file_is_refused_with_its_version(tmp_path, saved, options):
    file = _as_if_by(saved[1], tmp_path / "net.keras", "99.1.0", options)
    with pytest.raises(ArgumentError, match=rf"Keras 99\.1\.0 wrote it, which is newer than the {keras.__version__}"):
        kr.load_model(file)


@pytest.mark.parametrize("version", [keras.__version__, "3.0.0", "none", 3])
def test_a_file_that_is_not_newer_is_read_as_it_is(tmp_path, saved, version):
    file = _as_if_by(saved[1], tmp_path / "net.keras", version, OFF)
    with pytest.raises(ArgumentError, match=r"give a \.keras file that model.save wrote"):
        kr.load_model(file)


class Nameless(keras.Operation):
    """As operations of `keras.ops` were in earlier Keras."""

    def __init__(self, axis=None):
        super().__init__()


class Named(keras.Operation):
    def __init__(self, axis=None, *, name=None):
        super().__init__(name=name)


def test_the_name_of_an_operation_that_takes_none_is_left_out(monkeypatch):
    monkeypatch.setattr(newer.trusted, "resolve", lambda item: globals()[item["class_name"]])
    names = [{"class_name": kind, "config": {"name": "mean", "axis": 1}} for kind in ("Nameless", "Named")]
    assert newer._without_what_is_off(names)
    assert [one["config"] for one in names] == [{"axis": 1}, {"name": "mean", "axis": 1}]
