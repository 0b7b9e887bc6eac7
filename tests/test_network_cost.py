"""Multiply-adds of a built network: each product written down once, by loops."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers as L

import keras_resnets as kr
from keras_resnets.errors import ArgumentError


def products(layer, shape):
    """Counts the entries of a linear layer's input that each entry of its output has a weight of its own for.

    The kernel is 1 and the input is 1, so the output's sum is the number of products; padded pixels have none, so
    layers are tried without padding.
    """
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    return model, float(np.sum(model.predict(np.ones((1, *shape), "float32"), verbose=0)))


PLAIN = {"use_bias": False}
LINEAR = {
    "1-D": (lambda: L.Conv1D(5, 3, 2, **PLAIN), (9, 4)),
    "2-D": (lambda: L.Conv2D(5, (3, 2), (1, 2), **PLAIN), (6, 8, 4)),
    "3-D": (lambda: L.Conv3D(3, 2, **PLAIN), (4, 3, 5, 2)),
    "dilated": (lambda: L.Conv2D(5, 3, dilation_rate=2, **PLAIN), (9, 8, 2)),
    "grouped": (lambda: L.Conv2D(6, 3, groups=3, **PLAIN), (6, 6, 9)),
    "depthwise": (lambda: L.DepthwiseConv2D(3, depth_multiplier=2, **PLAIN), (6, 7, 4)),
    "depthwise 1-D": (lambda: L.DepthwiseConv1D(3, **PLAIN), (6, 4)),
    "transposed 1-D": (lambda: L.Conv1DTranspose(2, 3, 2, **PLAIN), (5, 4)),
    "transposed": (lambda: L.Conv2DTranspose(1, 2, 2, **PLAIN), (2, 2, 3)),
    "transposed 3-D": (lambda: L.Conv3DTranspose(2, 3, **PLAIN), (2, 3, 2, 2)),
    "overlapping": (lambda: L.Conv2DTranspose(4, 3, 2, **PLAIN), (3, 4, 2)),
    "dense": (lambda: L.Dense(7, **PLAIN), (3, 4, 5)),
    "einsum": (lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3)), (4, 5)),
    "einsum with dots": (lambda: L.EinsumDense("...c,cd->...d", 3), (2, 3, 5)),
    "einsum of an axis that ends": (lambda: L.EinsumDense("abc,cd->ad", 3), (4, 2)),
    "einsum of two axes": (lambda: L.EinsumDense("abcd,cde->abe", (None, 6)), (4, 2, 3)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_every_product_counts_once(name):
    make, shape = LINEAR[name]
    model, count = products(make(), shape)
    assert kr.macs(model) == count


@pytest.mark.parametrize(("rank", "channels"), [(1, 6), (2, 6), (3, 4)])
def test_channels_first_counts_as_channels_last(rank, channels):
    """The formula of a convolution: places of the output, pixels of the kernel, channels."""
    sides = (8, 6, 5)[:rank]
    inputs = keras.Input((channels, *sides))
    kind = getattr(L, f"Conv{rank}D")
    count = kr.macs(keras.Model(inputs, kind(5, 3, padding="same", data_format="channels_first")(inputs)))
    assert count == sum(1 for _ in itertools.product(*map(range, (*sides, channels, 5, *[3] * rank))))
    kind = getattr(L, f"Conv{rank}DTranspose")
    up = keras.Model(inputs, kind(5, 3, 2, padding="same", data_format="channels_first")(inputs))
    assert kr.macs(up) == np.prod(sides) * channels * 5 * 3**rank


def test_a_separable_convolution_counts_both_kernels():
    for kind, rank in ((L.SeparableConv1D, 1), (L.SeparableConv2D, 2)):
        inputs = keras.Input((*(7, 5)[:rank], 3))
        model = keras.Model(inputs, kind(4, 3, depth_multiplier=2, **PLAIN)(inputs))
        assert kr.macs(model) == (5 * 3 if rank == 2 else 5) * (3**rank * 3 * 2 + 6 * 4)


def test_a_layer_counts_as_often_as_it_is_called_and_at_the_size_that_is_given():
    inputs = keras.Input((None, None, 2))
    conv = L.Conv2D(2, 3, padding="same")
    inner = keras.Model(inputs, conv(conv(inputs)))
    outer = keras.Input((None, None, 2))
    model = keras.Model(outer, L.Conv2D(3, 1)(inner(outer)))
    assert kr.macs(model, (4, 5, 2)) == 20 * (2 * 9 * 4 + 6)


UNCOUNTED = {
    "MultiHeadAttention": lambda x: L.MultiHeadAttention(2, 3)(x, x),
    "GroupedQueryAttention": lambda x: L.GroupQueryAttention(2, 4, 2)(x, x),
    "Attention": lambda x: L.Attention()([x, x]),
    "AdditiveAttention": lambda x: L.AdditiveAttention()([x, x]),
    "Dot": lambda x: L.Dot(-1)([x, x]),
    "LSTM": L.LSTM(3),
    "Bidirectional": L.Bidirectional(L.GRU(2)),
    "TimeDistributed": L.TimeDistributed(L.Dense(2)),
    "SpectralNormalization": L.SpectralNormalization(L.Dense(2)),
    "Matmul": lambda x: x @ keras.ops.transpose(x, (0, 2, 1)),
    "Einsum": lambda x: keras.ops.einsum("abc,adc->abd", x, x),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_is_not_counted_is_refused_by_name(name):
    inputs = keras.Input((5, 4))
    with pytest.raises(ArgumentError, match=f"a {name}, are not counted"):
        kr.macs(keras.Model(inputs, UNCOUNTED[name](inputs)))


def test_layers_without_products_count_nothing():
    inputs = keras.Input((4, 4, 6))
    for layer in (
        L.BatchNormalization(),
        L.LayerNormalization([1, 2, 3]),
        L.GroupNormalization(2),
        L.PReLU(),
        L.ReLU(),
    ):
        assert kr.macs(keras.Model(inputs, layer(inputs))) == 0


def test_what_is_no_model_of_one_input_is_refused():
    for model in (None, "resnet20", keras.Sequential([L.Dense(2)])):
        with pytest.raises(ArgumentError, match="model must"):
            kr.macs(model)
