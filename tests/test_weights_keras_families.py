"""Weights of keras.applications and of adopted networks: logits of the networks that they came from."""

import keras
import numpy as np
import pytest
from helpers import weight_references as reference
from helpers.weight_references import Held

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.models import applications


def by_layer(model):
    return {"/".join(v.path.split("/")[-2:]): keras.ops.convert_to_numpy(v) for v in model.weights}


@pytest.fixture(scope="module")
def keras_first():
    """ResNet50 with biases and statistics that are not 0 and 1, and what it gives for an image."""
    keras.utils.set_random_seed(0)
    original = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=7, classifier_activation=None)
    return scrambled(original)


@pytest.fixture(scope="module")
def keras_second():
    keras.utils.set_random_seed(0)
    original = keras.applications.ResNet50V2(
        weights=None, input_shape=(64, 64, 3), classes=7, classifier_activation=None
    )
    return scrambled(original)


def scrambled(model):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("beta", "moving_mean", "bias")):
            variable.assign(rng.normal(0, 0.3, variable.shape))
    x = reference.images(1, 64, 64, 3)
    return model, x, np.asarray(model(x))


def test_first_networks_of_keras(keras_first, tmp_path):
    original, x, expected = keras_first
    original.save(tmp_path / "net.keras")
    model = kr.weights.network(tmp_path / "net.keras", input_shape=(64, 64, 3), classifier_activation=None)
    reference.close(np.asarray(model(x)), expected)
    assert (model.spec.name, model.spec.bn_epsilon, model.spec.classes) == ("resnet50", 1.001e-5, 7)
    assert model.preprocessing == kr.Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr")


def test_second_networks_of_keras(keras_second, tmp_path):
    original, x, expected = keras_second
    original.save(tmp_path / "net.keras")
    model = kr.weights.network(tmp_path / "net.keras", input_shape=(64, 64, 3), classifier_activation=None)
    np.testing.assert_array_equal(np.asarray(model(x)), expected)
    assert model.preprocessing == kr.Preprocessing((127.5,), (127.5,))
    with pytest.raises(ArgumentError, match=r"output_stride cannot be given for .*net.keras"):
        kr.weights.network(tmp_path / "net.keras", output_stride=8)
    raw = np.array([[[0, 127.5, 255]]])
    np.testing.assert_allclose(model.preprocessing(raw), [[[-1, 0, 1]]])


def test_caffe_names_of_old(keras_first):
    original, x, _ = keras_first
    renamed = {}
    for name, array in by_layer(original).items():
        layer, variable = name.split("/")
        renamed[old_name(layer) + "/" + variable] = array
    for block in original.layers:
        if isinstance(block, keras.layers.BatchNormalization):
            block.epsilon = 1e-3
    original.make_predict_function(force=True)
    expected = np.asarray(original(x))
    for block in original.layers:
        if isinstance(block, keras.layers.BatchNormalization):
            block.epsilon = 1.001e-5
    older = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    oldest = {}
    for name, array in renamed.items():
        layer, variable = name.split("/")
        oldest[f"{layer}/{layer}_{older.get(variable, variable)}"] = array
    model = reference.logits(Held("hdf5", renamed), input_shape=(64, 64, 3))
    assert model.spec.bn_epsilon == 1e-3
    reference.close(np.asarray(model(x)), expected)
    scrambled(model)
    kr.weights.load(model, Held("hdf5", oldest))
    reference.close(np.asarray(model(x)), expected)


def old_name(layer):
    """conv3_block2_0_bn -> bn3b_branch1, as Keras' resnet50.py before 2.2 had it."""
    if layer in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[layer]
    if layer == "predictions":
        return "fc1000"
    stage, block, number, kind = layer.removeprefix("conv").replace("block", "").split("_")
    branch = "1" if number == "0" else "2" + "abc"[int(number) - 1]
    return f"{ {'conv': 'res', 'bn': 'bn'}[kind] }{stage}{'abcdef'[int(block) - 1]}_branch{branch}"


def test_files_call_the_classifier_of_keras_otherwise(keras_first, keras_second):
    for (original, x, expected), model in (
        (keras_first, kr.build("resnet50", (64, 64, 3), 7, bn_epsilon=1.001e-5, classifier_activation=None)),
        (keras_second, kr.adopt(keras.models.clone_model(keras_second[0]))),
    ):
        arrays = {name.replace("predictions/", "probs/"): array for name, array in by_layer(original).items()}
        kr.weights.load(model, Held("hdf5", arrays))
        reference.close(np.asarray(model(x)), expected)


def test_an_adopted_network_takes_its_own_layers(images, tmp_path):
    def made():
        x = keras.Input((8, 8, 1))
        h = keras.layers.Conv2D(4, 3, padding="same", name="first")(x)
        inner = keras.layers.DepthwiseConv2D(3, padding="same", name="inner")(h)
        h = keras.layers.Add(name="sum")([h, keras.layers.Conv2D(4, 3, padding="same", name="outer")(inner)])
        return keras.Model(x, keras.layers.Dense(5, name="scores")(keras.layers.GlobalAveragePooling2D()(h)))

    original, other = made(), kr.adopt(made())
    original.save(tmp_path / "net.keras")
    kr.weights.load(other, tmp_path / "net.keras")
    np.testing.assert_array_equal(other.predict(images[0], verbose=0), original.predict(images[0], verbose=0))
    assert other.preprocessing is None
    lacking = {name: array for name, array in by_layer(original).items() if not name.startswith("inner")}
    with pytest.raises(ArgumentError, match="lacks: inner/kernel for inner/kernel"):
        kr.weights.load(other, Held("hdf5", lacking))
    with pytest.raises(ArgumentError, match="lacks: extra/kernel"):
        kr.weights.load(other, Held("hdf5", {**by_layer(original), "extra/kernel": np.zeros(3, "float32")}))


def test_functions_of_applications_take_a_file(tmp_path, keras_first):
    original, x, expected = keras_first
    original.save(tmp_path / "net.h5")
    model = kr.ResNet50(weights=tmp_path / "net.h5", input_shape=(64, 64, 3), classes=7, classifier_activation=None)
    reference.close(np.asarray(model(x)), expected)
    assert model.spec.bn_epsilon == 1.001e-5


def test_applications_of_the_second_kind_take_a_file(tmp_path, keras_second):
    original, x, expected = keras_second
    original.save(tmp_path / "net.h5")
    model = kr.ResNet50V2(weights=tmp_path / "net.h5", input_shape=(64, 64, 3), classes=7, classifier_activation=None)
    np.testing.assert_array_equal(np.asarray(model(x)), expected)
    with pytest.raises(ArgumentError, match=r"resnet50_v2.*stride at the end.*use kr.ResNet50V2"):
        kr.build("resnet50_v2", (64, 64, 3), 7, weights=tmp_path / "net.h5", bn_epsilon=1.001e-5)


def test_layers_of_one_name_are_refused():
    def branch(x):
        return keras.layers.Conv2D(4, 3, padding="same", name="conv")(x)

    x, h = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    nested = keras.Model(h, keras.layers.Add()([h, branch(h)]), name="nested")
    network = kr.adopt(keras.Model(x, branch(nested(x))))
    with pytest.raises(ArgumentError, match=r"more than one layer of .* has the variable 'conv/kernel'"):
        kr.weights.plan(
            network, Held("hdf5", {"conv/kernel": reference.zeros(3, 3, 4, 4), "conv/bias": reference.zeros(4)})
        )


@pytest.fixture
def small():
    """A file of a torchvision network, and a network that it fills."""
    arrays = reference.draw_torchvision((1, 1, 1, 1), 2)
    spec = kr.weights.network(Held("torch", arrays), input_shape=(32, 32, 3)).spec
    return arrays, kr.build(spec, classifier_activation=None)


def test_parity_with_keras(keras_first):
    archive = Held("hdf5", by_layer(keras_first[0]))
    model = kr.weights.network(archive, input_shape=(64, 64, 3))
    found = kr.weights.parity(model, archive, examples=1)
    assert (found.reference, found.examples) == ("keras.applications.ResNet50", 1)
    assert found.difference < 1e-4
    assert "over 1 random inputs" in str(found)
    small = Held("torch", reference.draw_torchvision((1, 1, 1, 1), 2))
    backbone = kr.weights.network(small, include_top=False)
    assert str(kr.weights.parity(backbone, small)) == "no independent computation to compare with"


def test_a_foreign_network_takes_a_file_by_our_readers(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    original = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3))
    original.save(tmp_path / "net.h5")
    monkeypatch.setattr(original.__class__, "load_weights", lambda *_: pytest.fail("Keras read the file"))
    network, preprocess = applications.foreign("MobileNetV2", str(tmp_path / "net.h5"), (32, 32, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    x = pixels / 127.5 - 1
    np.testing.assert_allclose(preprocess(pixels.copy()), x, atol=1e-6)
    np.testing.assert_array_equal(network.predict(x, verbose=0), original.predict(x, verbose=0))
    (tmp_path / "net.h5").write_bytes(b"text")
    with pytest.raises(ArgumentError, match=r"net\.h5' "):
        applications.foreign("MobileNetV2", str(tmp_path / "net.h5"), (32, 32, 3))
