"""HDF5 files that Keras writes of networks of this package, and weights alone of keras.applications."""

import json

import h5py
import keras
import numpy as np
import pytest
from helpers import weight_references as reference

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

X = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")


@pytest.fixture
def network():
    """A network whose weights, statistics too, are all different."""
    network, rng = kr.build("preresnet8", (8, 8, 1), 2), np.random.default_rng(1)
    network.set_weights([rng.uniform(0.5, 1, value.shape) for value in network.get_weights()])
    return network


def equal(one, other):
    assert [v.path for v in one.weights] == [v.path for v in other.weights]
    for a, b in zip(reference.values(one), reference.values(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_files_in_hdf5(network, tmp_path):
    network.compile(kr.optimizers.SGD(0.3), "sparse_categorical_crossentropy")
    network.save(tmp_path / "m.h5")
    network.save_weights(tmp_path / "m.weights.h5")
    opened = kr.load_model(tmp_path / "m.h5")
    equal(opened, network)
    assert (opened.spec, float(opened.optimizer.learning_rate)) == (network.spec, pytest.approx(0.3))
    for file in ("m.h5", "m.weights.h5"):
        equal(kr.build(network.name, (8, 8, 1), 2, weights=tmp_path / file), network)
        with pytest.raises(ArgumentError, match=r"keras_resnets.build\(name, weights=file\)"):
            kr.weights.network(tmp_path / file)
    body = kr.build(network.name, (8, 8, 1), include_top=False, weights=tmp_path / file)
    np.testing.assert_array_equal(body.get_weights()[0], network.get_weights()[0])
    with pytest.raises(ArgumentError, match="include_top=False"):
        kr.build(network.name, (8, 8, 1), 3, weights=tmp_path / file)
    with pytest.raises(ArgumentError, match="is of another network"):
        kr.build("preresnet14", (8, 8, 1), 2, weights=tmp_path / file)
    with pytest.raises(ArgumentError, match="holds weights alone, and not their network"):
        kr.load_model(tmp_path / "m.weights.h5")


def test_an_edited_network_takes_its_weights(tmp_path):
    edited = kr.unskip(kr.build("resnet8", (8, 8, 1), 2), "stage1_block1", copy=True)
    edited.save_weights(tmp_path / "m.weights.h5")
    other = kr.unskip(kr.build("resnet8", (8, 8, 1), 2), "stage1_block1", copy=True)
    assert kr.weights.load(other, tmp_path / "m.weights.h5").is_complete
    equal(other, edited)


def test_names_of_weights_alone(tmp_path):
    inputs = keras.Input((4, 4, 2))
    inner = keras.Sequential([keras.layers.DepthwiseConv2D(2, name="deep"), keras.layers.PReLU(name="odd")])
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(2, 1, name="conv", use_bias=False)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="scores")(inner(x)))
    model.compile("adam")
    model.save_weights(tmp_path / "m.weights.h5")
    with kr.weights.open_archive(tmp_path / "m.weights.h5") as archive:
        held = {name: archive[name].read() for name in archive}
    numbers = {"odd/alpha": "odd/0"}
    wanted = {"/".join(v.path.split("/")[-2:]): keras.ops.convert_to_numpy(v) for v in model.weights}
    assert held.keys() == {numbers.get(name, name) for name in wanted}
    for name, value in wanted.items():
        np.testing.assert_array_equal(held[numbers.get(name, name)], value)


@pytest.mark.thorough
def test_weights_alone_of_keras_applications(tmp_path):
    original = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=5)
    original.save_weights(tmp_path / "m.weights.h5")
    network = kr.weights.network(tmp_path / "m.weights.h5", input_shape=(32, 32, 3))
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(network(x), original(x), atol=1e-5)


def test_a_strangers_file_names_nothing_else(tmp_path):
    file = tmp_path / "m.h5"
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="ones")(inputs))
    for change, sentence in (
        ({"class_name": "Lambda", "config": {"name": "x", "function": "f"}}, "has a layer Lambda, which runs code"),
        ({"class_name": "deserialize", "config": {"config": {}}}, "names None.deserialize, which is no layer"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "x"}}, "has a layer TFSMLayer"),
    ):
        model.save(file)
        assert kr.load_model(file)(np.ones((1, 4))).shape == (1, 2)
        with h5py.File(file, "r+") as held:
            config = json.loads(held.attrs["model_config"])
            config["config"]["layers"][1].update(change)
            config["config"]["layers"][1].pop("module", None)
            held.attrs["model_config"] = json.dumps(config)
            # Only what Keras reads counts.
            held["model_weights"].attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {}})
        with pytest.raises(ArgumentError, match=sentence):
            kr.load_model(file)
