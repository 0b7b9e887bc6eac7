"""Layers of our own: batch-norm, fused and frozen, against Keras' own; pools and padded channels against NumPy."""

import inspect

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


RENORM = pytest.mark.skipif(
    "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters, reason="this Keras has no renorm"
)


@pytest.mark.parametrize(
    ("kwargs", "shape", "dtype"),
    [
        ({}, (6,), "float32"),
        ({}, (2, 3, 4, 5), "float32"),
        ({"axis": 1}, (4, 3, 5), "float32"),
        pytest.param({"renorm": True}, (5, 4, 3), "float32", marks=RENORM),
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


@pytest.mark.parametrize("padding", ["end", "both"])
@pytest.mark.parametrize(("window", "stride", "dilation"), [(3, 2, 1), (2, 2, 1), (3, 1, 1), (3, 1, 2)])
@pytest.mark.parametrize("size", [(7, 10), (8, 5)])
def test_max_pool_takes_the_largest_of_what_is_there(padding, window, stride, dilation, size):
    x = np.random.default_rng(0).normal(-5, 1, size=(2, *size, 3)).astype("float32")  # no zero may win
    layer = kr.layers.MaxPool(window, stride, dilation, padding)
    start = -((window - 1) // 2) * dilation if padding == "both" else 0

    def counted(side):
        if padding == "both":  # torch: floor((side + 2 pad - reach) / stride) + 1
            return (side - 2 * start - dilation * (window - 1) - 1) // stride + 1
        return side if stride == 1 else int(np.ceil((side - window) / stride)) + 1

    expected = np.full((2, counted(size[0]), counted(size[1]), 3), -np.inf, "float32")
    for i in range(expected.shape[1]):
        for j in range(expected.shape[2]):
            rows = [start + i * stride + dilation * k for k in range(window)]
            columns = [start + j * stride + dilation * k for k in range(window)]
            inside = np.ix_([r for r in rows if 0 <= r < size[0]], [c for c in columns if 0 <= c < size[1]])
            expected[:, i, j] = x[:, inside[0], inside[1]].max((1, 2))
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 3)


def test_frozen_statistics_stand_still_while_scale_and_offset_learn(tiny, images, scramble):
    x, y = images
    model = scramble(kr.build(tiny, frozen_bn=True))
    np.testing.assert_allclose(model(x, training=True), model(x, training=False), rtol=1e-6)
    before = {v.path: np.asarray(v) for v in model.weights}
    model.compile(kr.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(x, y)
    for variable in model.weights:
        moved = np.abs(np.asarray(variable) - before[variable.path]).max() > 0
        assert moved != ("moving" in variable.path), variable.path
    assert kr.ResidualNetwork.from_config(model.get_config()).spec.frozen_bn


def test_gradients_of_batch_norm_under_xla_are_as_exact_as_those_of_keras():
    """XLA's own gradient of the fused kernel loses a digit and a half where the mean is not 0."""
    rng, shape = np.random.default_rng(0), (8, 7, 7, 16)
    x, dy = (rng.normal(size=shape) + 3).astype("float32"), rng.normal(size=shape).astype("float32")
    # The gradient in double precision (Ioffe and Szegedy 2015, section 3), of a scale of 1.
    wide, g = x.astype("float64"), dy.astype("float64")
    r = 1 / np.sqrt(wide.var((0, 1, 2)) + 1e-5)
    normal = (wide - wide.mean((0, 1, 2))) * r
    exact = r * (g - g.mean((0, 1, 2)) - normal * (g * normal).mean((0, 1, 2)))
    for jit in (False, True):
        layer = kr.layers.BatchNorm()
        layer.build(shape)

        @tf.function(jit_compile=jit)
        def gradient(x, dy, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
            return tape.gradient(y, x, dy)

        found = gradient(tf.constant(x), tf.constant(dy)).numpy()
        assert np.linalg.norm(found - exact) < 5e-7 * np.linalg.norm(exact)
