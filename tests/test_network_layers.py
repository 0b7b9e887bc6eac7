"""The fused BatchNorm against Keras' own, and the parameter-free shortcut against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr

EPS = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def pair(channels, dtype, shape=(5, 4, 3), **kwargs):
    """Our layer and Keras' own with the same weights, and an input."""
    rng = np.random.default_rng(channels)
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    ours = kr.layers.BatchNorm(dtype=policy, **kwargs)
    kwargs = {"momentum": ours.momentum, "epsilon": ours.epsilon} | kwargs
    theirs = keras.layers.BatchNormalization(dtype=policy, **kwargs)
    x = tf.cast(rng.normal(1.0, 2.0, (*shape, channels)), dtype)
    for layer in (ours, theirs):
        layer.build(x.shape)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        value = rng.uniform(0.5, 1.5, a.shape)
        a.assign(value)
        b.assign(value)
    return ours, theirs, x


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 16, 17, 64, 512])
@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_equals_keras(dtype, channels, training):
    ours, theirs, x = pair(channels, dtype)
    weight = tf.cast(np.random.default_rng(1).normal(size=x.shape), dtype)
    found = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(tf.cast(y * weight, "float32"))
        gradients = tape.gradient(loss, [x, *layer.trainable_variables])
        found.append([y, *gradients, layer.moving_mean, layer.moving_variance])
    assert y.dtype == dtype
    for a, b in zip(*found, strict=True):
        a, b = np.asarray(tf.cast(a, "float32")), np.asarray(tf.cast(b, "float32"))
        np.testing.assert_allclose(a, b, rtol=EPS[dtype], atol=EPS[dtype] * max(1, np.abs(b).max()))


def test_batchnorm_really_is_fused():
    ours, theirs, x = pair(8, "float32")
    operations = {}
    for layer in (ours, theirs):
        graph = tf.function(lambda x, layer=layer: layer(x, training=True)).get_concrete_function(x).graph
        operations[layer] = {operation.type for operation in graph.get_operations()}
    assert "FusedBatchNormV3" in operations[ours]
    assert "FusedBatchNormV3" not in operations[theirs]


@pytest.mark.parametrize(
    ("kwargs", "shape", "dtype"),
    [
        ({}, (6,), "float32"),
        ({}, (2, 3, 4, 5), "float32"),
        ({"axis": 1}, (4, 3, 5), "float32"),
        ({"renorm": True}, (5, 4, 3), "float32"),
        ({"synchronized": True}, (5, 4, 3), "float32"),
        ({"scale": False, "center": False}, (5, 4, 3), "float32"),
    ],
)
def test_batchnorm_falls_back(kwargs, shape, dtype):
    ours, theirs, x = pair(7, dtype, shape, **kwargs)
    for training in (True, False, True):
        np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), rtol=1e-5, atol=1e-5)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_batchnorm_small_variance():
    # tf.compat.v1.nn.fused_batch_norm raises the epsilon to 1.001e-5; with a variance of 1e-5 it shows.
    ours, theirs, _ = pair(4, "float32", epsilon=1e-7)
    x = np.random.default_rng(0).normal(0, 1e-4, (5, 4, 3, 4)).astype("float32")
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=2e-4, atol=1e-5)


def test_frozen_batchnorm_keeps_its_statistics():
    ours, _, x = pair(4, "float32")
    before = ours.moving_mean.numpy()
    ours.trainable = False
    np.testing.assert_allclose(ours(x, training=True), ours(x, training=False))
    np.testing.assert_array_equal(ours.moving_mean, before)


def test_pad_channels_appends_zeros():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    np.testing.assert_array_equal(kr.layers.PadChannels(7)(x), np.pad(x, ((0, 0), (0, 0), (0, 0), (0, 3))))


@pytest.mark.parametrize(
    "layer",
    [kr.layers.BatchNorm(momentum=0.8, epsilon=1e-4, name="n"), kr.layers.PadChannels(9, name="p")],
    ids=lambda layer: type(layer).__name__,
)
def test_layer_contract(layer):
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 5)).astype("float32")
    y = layer(x)
    assert tuple(layer.compute_output_shape(x.shape)) == y.shape
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    if not copy.built:
        copy.build(x.shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(x), y)
    assert copy.get_config() == layer.get_config()
