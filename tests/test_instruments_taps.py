"""Taps against models cut at the layer, and what reading leaves behind."""

import gc
import weakref

import keras
import numpy as np
import pytest
from helpers.foreign_models import residual_model
from keras import layers

import keras_resnets as kr
from keras_resnets.instruments.taps import Reader, taps_of


def read(network, x, chosen=None):
    chosen = taps_of(network) if chosen is None else chosen
    return dict(Reader(network, chosen).values(x))


def test_every_layer_of_a_foreign_model_gives_what_the_model_cut_there_gives(scramble):
    model = scramble(residual_model())
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    found = {tap: value for tap, value in read(kr.adopt(model), x).items() if tap.layer.name != "shortcut"}
    for tap, value in found.items():
        cut = keras.Model(model.input, model.get_layer(tap.layer.name).output)
        np.testing.assert_allclose(value, cut.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    # All but the additions and the activations behind them, which are the blocks' own.
    own = {"one_add", "one_relu", "two_add", "two_relu"}
    assert {tap.layer.name for tap in found} == {layer.name for layer in model.layers[1:]} - own


@pytest.mark.parametrize("name", ["preresnet20", "resnet20"])
def test_every_layer_of_ours_gives_what_its_sequential_gives(name, scramble):
    """Parts as Keras calls them, up to each layer."""
    model = scramble(kr.build(name, (8, 8, 1)))
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    for block in model.blocks:
        block.scale = 0.5  # as after stochastic depth
    found, count, h = read(model, x), 0, x
    for link in model.chain:
        parts = link.parts()
        entry = np.asarray(parts["preactivation"](h)) if "preactivation" in parts else h
        for part, layer in parts.items():
            if part == "activation":
                continue
            y = h if part in ("body", "preactivation") else entry
            for inner in getattr(layer, "layers", [layer]):
                y = np.asarray(inner(y))
                tap = next(t for t in found if (t.link, t.part, t.layer.name) == (link.name, part, inner.name))
                np.testing.assert_allclose(found[tap], y, rtol=1e-4, atol=1e-5)
                count += 1
        h = np.asarray(link(h, training=False))
    assert count == len(found)


def test_what_follows_a_layer_is_its_only_reader():
    inputs = keras.Input((8, 8, 4))
    y = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(y)
    y = layers.Multiply(name="gated")([y, gate])
    model = keras.Model(inputs, layers.Add(name="sum")([inputs, layers.ReLU(name="relu")(y)]))
    then = {tap.layer.name: tap.then and tap.then.layer.name for tap in taps_of(kr.adopt(model))}
    # The convolution is read by its gate and by the product; the last output is handed on to the sum.
    assert then == {"conv": None, "gate": "gated", "gated": "relu", "relu": None, "shortcut": None}


def test_a_nested_model_within_a_branch_is_unfolded():
    inner = keras.Sequential([layers.Conv2D(4, 3, padding="same", name="conv"), layers.ReLU(name="relu")], name="inner")
    block = kr.ResidualBlock(keras.Sequential([inner, layers.Conv2D(4, 1, name="last")]), layers.Identity(), name="b")
    network = kr.ResidualNetwork([layers.Conv2D(4, 1, name="plain"), block], (6, 6, 4))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")
    found = {tap.name: value for tap, value in read(network, x).items()}
    assert list(found)[:4] == ["plain", "b/conv", "b/relu", "b/last"]
    h = network.chain[0](x)
    np.testing.assert_allclose(found["b/conv"], inner.layers[0](h), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["b/last"], network(x) - h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", layers.ReLU()])
def test_linear_reads_before_an_activation_and_puts_it_back(activation):
    inputs = keras.Input((6, 6, 4))
    conv = layers.Conv2D(4, 3, padding="same", activation=activation, name="conv")
    y = layers.Conv2D(4, 1, name="last")(conv(inputs))
    network = kr.adopt(keras.Model(inputs, layers.Add()([inputs, y])))
    own = conv.activation
    place, last = taps_of(network)[:2]
    linear = kr.taps.Tap(place.link, place.part, place.step, place.layer, place.then, linear=True)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")
    found = read(network, x, [place, linear, last])
    assert found[linear].min() < -0.1
    np.testing.assert_allclose(found[place], np.maximum(found[linear], 0))
    np.testing.assert_allclose(found[last], network(x) - x, rtol=1e-4, atol=1e-5)
    assert conv.activation is own


def test_reading_leaves_no_nodes_and_keeps_nothing_alive(scramble):
    model = scramble(kr.build("preresnet20", (8, 8, 1)))
    every = [layer for layer in model._flatten_layers() if layer is not model]
    before = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in every]
    weights = model.get_weights()
    read(model, np.ones((2, 8, 8, 1)))
    assert [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in every] == before
    for value, was in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, was)
    gone = weakref.ref(model)
    del model, every
    gc.collect()
    assert gone() is None


def test_weights_are_read_at_every_call_and_dropout_is_off(tiny):
    model = kr.build(tiny, dropout=0.5)
    drop = next(tap for tap in taps_of(model) if isinstance(tap.layer, layers.Dropout))
    before = next(tap for tap in taps_of(model) if tap.then == drop)
    reader, x = Reader(model, [before, drop]), np.ones((2, 8, 8, 1))
    values = [value for _, value in reader.values(x)]
    np.testing.assert_array_equal(values[0], values[1])
    for weight in model.chain[0].body.weights:
        weight.assign(2 * weight)
    assert not np.array_equal(values[0], next(reader.values(x))[1])


def test_half_precision_is_that_of_the_network(tiny):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = kr.build(tiny)
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    *_, last = taps_of(model)
    found = read(model, x, [last])[last]
    np.testing.assert_allclose(found, model(x), rtol=1e-3)
    assert all(value.dtype == "float16" for tap, value in read(model, x).items() if tap.link != "head")
