"""Reading Keras' archives: layers found in their places, and what is refused, by its sentence."""

import json

import numpy as np
import pytest
from helpers import weight_files as write

from keras_resnets.archives.reading import open_archive

LAYERS = [
    write.layer("InputLayer", "in"), write.layer("Conv2D", "first"), write.layer("Conv2D", "second", use_bias=False),
    write.layer("BatchNormalization", "whole"), write.layer("BatchNormalization", "unscaled", scale=False),
    write.layer("BatchNormalization", "uncentred", center=False), write.layer("Dense", "fc"),
    write.layer("Mine", "own"), write.layer("DepthwiseConv2D", "deep", use_bias=False),
    write.layer("Functional", "inner", layers=[write.layer("Conv2D", "third"), write.layer("Conv2D", "first")]),
]  # fmt: skip


PLACES = {
    "layers/conv2d/vars": ["inner/../first/kernel", "first/bias"], "layers/conv2d_1/vars": ["second/kernel"],
    "layers/batch_normalization/vars": [f"whole/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")],
    "layers/batch_normalization_1/vars": [f"unscaled/{n}" for n in ("beta", "moving_mean", "moving_variance")],
    "layers/batch_normalization_2/vars": [f"uncentred/{n}" for n in ("gamma", "moving_mean", "moving_variance")],
    "layers/dense/vars": ["fc/kernel", "fc/bias"], "layers/mine/vars": ["own/vars/0"],
    "layers/mine/branch/vars": ["own/branch/vars/0"], "layers/depthwise_conv2d/vars": ["deep/kernel"],
    "layers/functional/layers/conv2d/vars": ["third/kernel", "third/bias"],
}  # fmt: skip


def keras_file(places, **more):
    held, expected = {}, {}
    for place, names in places.items():
        for number, name in enumerate(names):
            held[f"{place}/{number}"] = expected[name] = write.numbers((2, 3), seed=len(held))
    return held, expected, write.keras(LAYERS, held, **more)


def test_keras(opened):
    places = dict(PLACES)
    places["layers/conv2d/vars"] = ["first/kernel", "first/bias"]
    held, expected, _ = keras_file(places)
    # Neither is of the network's weights.
    extra = {"optimizer/vars/0": np.int64(3), "layers/mine/seed_generator/vars/0": np.zeros(2, "uint32")}
    with opened(write.keras(LAYERS, held | extra)) as archive:
        assert (archive.kind, archive.metadata) == ("keras", {"keras_version": "3.15.1"})
        write.same(archive, expected)


def test_keras_layers_of_one_name_have_their_places(opened):
    places = {"layers/conv2d/vars": ["first/kernel", "first/bias"]}
    held, expected, _ = keras_file(places)
    inner = {f"layers/functional/layers/conv2d_1/vars/{n}": write.numbers(4, seed=n) for n in range(2)}
    with opened(write.keras(LAYERS, held | inner)) as archive:
        write.same(archive, {**{place: held[place] for place in held}, **inner})
        assert not expected.keys() & archive.keys()


def test_keras_itself(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="a", use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(name="b", scale=False)(keras.layers.Dropout(0.1)(x))
    x = keras.layers.Conv2D(3, 1, name="c")(x)
    outputs = keras.layers.Dense(2, name="d")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    for seed, weight in enumerate(model.weights):
        weight.assign(write.numbers(weight.shape, seed=seed))
    expected = {f"{w.path.split('/')[-2]}/{w.name}": np.asarray(w) for w in model.weights if "seed" not in w.path}
    for name in ("net.keras", "net.h5"):
        model.save(tmp_path / name)
        with open_archive(tmp_path / name) as archive:
            write.same(archive, expected)
    model.save_weights(tmp_path / "net.weights.h5")
    with open_archive(tmp_path / "net.weights.h5") as archive:
        assert archive.kind == "keras"
        np.testing.assert_array_equal(archive["a/kernel"].read(), expected["a/kernel"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (write.zipped({"config.json": "{}"}), "its zip lacks model.weights.h5; save the model with model.save(file)"),
        (write.keras(write.CONV, write.PLACE, **{"config.json": "{"}), "config.json is not JSON"),
        (write.keras(write.CONV, write.PLACE, **{"config.json": "[]"}), "config.json is not a JSON object"),
        (write.keras(write.CONV, write.PLACE, **{"config.json": "{}"}), "config.json has None as a layer's config"),
        (write.keras(write.CONV, write.PLACE, about="["), "metadata.json is not JSON"),
        (write.keras([3], write.PLACE), "config.json has a layer that is not a JSON object"),
        (write.keras([{"class_name": 3}], write.PLACE), "config.json has 3 as a layer's class_name"),
        (write.keras([{"class_name": "A", "config": {}}], write.PLACE), "config.json has None as a layer's name"),
        (
            write.keras([write.layer("Conv2D", "a")], write.PLACE),
            "the layer 'a' does not have kernel, bias, as in config.json",
        ),
        (
            write.keras(write.CONV, {"layers/conv2d/vars/1": write.HELD}),
            "the layer 'a' does not have kernel, as in config.json",
        ),
        (write.keras(write.CONV, write.PLACE, **{"model.weights.h5": b"text"}), "cannot be read: libhdf5 says OSError"),
    ],
    ids=write.by_sentence,
)
def test_keras_refused(said, content, sentence):
    assert sentence in said(content)


def test_keras_models_in_models(said):
    layer = write.layer("Conv2D", "a")
    for _ in range(40):
        layer = write.layer("Functional", "f", layers=[layer])
    assert "has models in more than 32 others" in said(write.keras([layer], write.PLACE))


def test_keras_of_unknown_models_keep_places(opened):
    config = json.dumps({"class_name": "Mine", "config": {"depth": 3}})
    held = {"branch/vars/0": write.HELD, "optimizer/vars/0": write.HELD}
    with opened(write.keras([], held, **{"config.json": config})) as archive:
        write.same(archive, {"branch/vars/0": write.HELD})
