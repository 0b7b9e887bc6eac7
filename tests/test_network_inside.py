"""`inner` against walks through the parts and models cut at the layer; what a summary shows inside of blocks."""

import gc
import weakref
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.foreign_models import residual_model
from keras import layers

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

GOLDEN = Path(__file__).parent / "golden"


def images(shape=(8, 8, 1), count=3):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")


def arrays(values):
    return [np.asarray(value) for value in values]


@pytest.mark.parametrize("name", ["preresnet8", "resnet8"])
def test_every_layer_gives_what_a_walk_through_its_parts_gives(name, scramble):
    model, x = scramble(kr.build(name, (8, 8, 1), shortcut="B")), images()
    for block in model.blocks:
        block.scale = 0.5  # as after stochastic depth
    expected, h = {}, x
    for link in model.chain:
        parts, entry = link.parts(), h
        for part in ("body", "preactivation", "residual", "shortcut"):
            if part in parts:
                y = h if part in ("body", "preactivation") else entry
                for layer in getattr(parts[part], "layers", [parts[part]]):
                    y = np.asarray(layer(y))
                    expected[f"{link.name}/{part}/{layer.name}"] = y
                expected[f"{link.name}/{part}"] = y
                entry = y if part == "preactivation" else entry
        h = expected[link.name] = np.asarray(link(h))
    found = arrays(model.inner(list(expected)).predict_on_batch(x))
    assert len(found) > 30
    for place, value in zip(expected, found, strict=True):
        np.testing.assert_allclose(value, expected[place], rtol=1e-4, atol=1e-5, err_msg=place)


@pytest.mark.parametrize(
    "changes", [{}, {"skip": "gate:-6"}, {"placement": "relu_before"}, {"placement": "bn_after"}], ids=str
)
def test_the_parts_of_a_block_sum_to_its_output(changes, tiny, scramble):
    model, x = scramble(kr.build(tiny.replace(shortcut="B", **changes))), images()
    for block, scale in zip(model.blocks, (1.0, 0.7, 1.0), strict=True):
        block.scale = scale
        names = [f"{block.name}/residual", f"{block.name}/shortcut", block.name]
        residual, shortcut, output = arrays(model.inner(names)(x))
        total = scale * residual + shortcut
        expected = total if block.activation is None else np.asarray(block.activation(total))
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.inner("head")(x), model(x), rtol=1e-4, atol=1e-6)


def test_layers_of_an_adopted_model_give_what_the_model_cut_there_gives(scramble):
    model, x = scramble(residual_model()), images((32, 32, 3))
    network = kr.adopt(model)
    names = [layer.name for layer in model.layers[1:] if not layer.name.endswith("_add")]
    assert len(names) > 5
    for name, value in zip(names, network.inner(names)(x), strict=True):
        cut = keras.Model(model.input, model.get_layer(name).output)
        np.testing.assert_allclose(value, cut(x), rtol=1e-4, atol=1e-5, err_msg=name)


def test_one_name_gives_one_output_and_the_weights_that_lead_there(tiny, scramble):
    model, x = scramble(kr.build(tiny)), images()
    first, second = model.blocks[:2]
    inner = model.inner(f"{second.name}/conv1")
    assert inner(x).shape == (3, 8, 8, 4)
    leading = [*model.chain[0].weights, *first.weights, *second.residual.layers[0].weights]
    assert {id(weight) for weight in inner.weights} == {id(weight) for weight in leading}
    before = np.asarray(inner(x))
    second.residual.layers[0].kernel.assign(2 * second.residual.layers[0].kernel)
    np.testing.assert_allclose(inner(x), 2 * before, rtol=1e-5)
    # In training, with the statistics of the batch.
    [norm] = [layer for layer in model.chain[0].body.layers if layer.name == "bn"]
    conv, bn = arrays(model.inner(["stem/conv", "stem/bn"])(x, training=True))
    z = (conv - conv.mean((0, 1, 2))) / np.sqrt(conv.var((0, 1, 2)) + norm.epsilon)
    np.testing.assert_allclose(bn, z * np.asarray(norm.gamma) + np.asarray(norm.beta), rtol=1e-3, atol=1e-4)


def test_gradients_pass_from_the_output_to_what_is_inside(tiny, scramble):
    model, x = scramble(kr.build(tiny)), images()
    inner = model.inner([model.blocks[-1].name, "logits"])
    with tf.GradientTape() as tape:
        features, logits = inner(x)
        score = logits[:, 2]
    # The head is a mean over places, then a product with the kernel.
    kernel = np.asarray(model.get_layer("logits").kernel)
    expected = np.broadcast_to(kernel[:, 2] / 16, (3, 4, 4, 8))
    np.testing.assert_allclose(tape.gradient(score, features), expected, rtol=1e-5)


def test_an_inner_model_is_saved_and_leaves_the_network_as_it_was(tiny, tmp_path, scramble):
    model, x = scramble(kr.build(tiny)), images()
    model.blocks[1].scale = 0.5
    every = [layer for layer in model._flatten_layers() if layer is not model]
    nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in every]
    inner = model.inner([model.blocks[1].name, "stem/bn"])
    assert [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in every] == nodes
    inner.save(tmp_path / "inner.keras")
    again = keras.saving.load_model(tmp_path / "inner.keras")
    for one, other in zip(inner(x), again(x), strict=True):
        np.testing.assert_array_equal(one, other)
    gone = weakref.ref(model)
    del model, every, inner
    gc.collect()
    assert gone() is None


def test_half_precision_is_that_of_the_network(tiny):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = kr.build(tiny)
        model.blocks[0].scale = 0.5
        inner = model.inner(["stem", model.blocks[0].name, "predictions"])
    finally:
        keras.config.set_dtype_policy("float32")
    x = images()
    *inside, end = inner(x)
    assert [value.dtype for value in inside] == ["float16", "float16"]
    np.testing.assert_array_equal(end, model(x))


def test_names_are_found_or_listed(tiny):
    def block(name, activation=None):
        return kr.ResidualBlock(
            keras.Sequential([layers.Conv2D(4, 3, padding="same", name="conv"), layers.ReLU(name="relu")]),
            keras.Sequential([layers.Conv2D(4, 1, name="conv"), layers.ReLU(name="end")]),
            activation=activation,
            name=name,
        )

    network = kr.ResidualNetwork(
        [layers.Conv2D(4, 1, name="first"), block("a"), block("b", layers.ReLU(name="last"))], (6, 6, 4), name="net"
    )
    x = images((6, 6, 4))
    for name in ("first", "a", "a/relu", "b/end", "a/residual/conv", "a/shortcut", "b/activation/last"):
        network.inner(name)(x)
    for name in ("b", "last", "b/last"):
        np.testing.assert_allclose(network.inner(name)(x), network(x), rtol=1e-6)
    for name, words in (
        ("a/conv", "2 layers of 'net' are called 'a/conv'; give one of a/residual/conv, a/shortcut/conv"),
        ("relu", "give one of a/residual/relu, b/residual/relu"),
        ("a/conv2", "got 'a/conv2'. Inside it: a/conv, a/relu, a/end, a/residual, a/shortcut, a."),
        ("frist", "Its links are first, a, b; the nearest names first"),
        (3, "texts"),
    ):
        with pytest.raises(ArgumentError) as refused:
            network.inner([name])
        assert words in str(refused.value)
    with pytest.raises(ArgumentError, match="got none"):
        network.inner([])


def summary(model):
    lines = []
    model.summary(expand_nested=True, line_length=120, print_fn=lines.append)
    return "\n".join(lines)


def test_a_summary_shows_what_is_inside_of_blocks(tiny):
    model = kr.build(tiny)
    shown = summary(model)
    for block in model.blocks:
        assert block.name in shown
    assert shown.count("conv1 (Conv2D)") == 3
    assert shown.index("stem (Segment)") < shown.index("└ conv (Conv2D)") < shown.index("└ residual (Sequential)")
    adopted = residual_model()
    shown = summary(kr.adopt(adopted))
    for layer in adopted.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            assert f"└ {layer.name} (" in shown
    # Also within a model of one's own; and without being asked to, nothing is unfolded.
    inputs = keras.Input((8, 8, 1))
    assert summary(keras.Model(inputs, model(inputs))).count("conv1 (Conv2D)") == 3
    lines = []
    model.summary(print_fn=lines.append)
    assert "conv1" not in "\n".join(lines)


@pytest.mark.parametrize(
    "make", [lambda tiny: kr.build(tiny), lambda _: kr.adopt(residual_model())], ids=["built", "adopted"]
)
def test_what_is_shown_is_not_saved_under_another_name(make, tiny, tmp_path):
    """Weights stand where they stood before there was anything to show."""
    make(tiny).save(tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    names = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(names) > 10
    parts = {name.split("/vars")[0].split("/")[2] for name in names}
    assert parts <= {"body", "residual", "shortcut", "preactivation", "activation"}
