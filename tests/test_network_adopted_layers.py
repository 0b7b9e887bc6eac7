"""Every layer of Keras in an adopted model, beside the model itself: both modes, and what training changes."""

import functools
import inspect

import keras
import numpy as np
import pytest
from keras import layers as L

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

IMAGE, SERIES, VOLUME, VIDEO = (6, 6, 3), (6, 4), (4, 4, 4, 2), (3, 6, 6, 2)
# These stand in no functional model alone, make masks, or run what another library brings along.
LEFT_OUT = {
    "GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells", "InputLayer", "InputSpec", "Layer", "Wrapper",
    "Masking", "FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper", "MaxNumBoundingBoxes",
}  # fmt: skip
ARGUMENTS = {
    "Activation": ["tanh"], "ActivityRegularization": [0.1, 0.1], "AlphaDropout": [0.5], "CategoryEncoding": [5],
    "CenterCrop": [4, 4], "Dense": [3], "Discretization": [[0.2, 0.8]], "Dropout": [0.5], "Embedding": [5, 3],
    "EinsumDense": ["...c,cd->...d", 3], "GaussianDropout": [0.5], "GaussianNoise": [0.5], "GroupNormalization": [1],
    "GroupQueryAttention": [2, 4, 2], "Hashing": [5], "HashedCrossing": [5], "MultiHeadAttention": [2, 3],
    "Lambda": [keras.ops.tanh], "Permute": [[2, 1]], "RandomBrightness": [0.5],
    "RandomColorDegeneration": [0.5], "RandomContrast": [0.5], "RandomCrop": [6, 6], "RandomHue": [0.5],
    "RandomPosterization": [4], "RandomRotation": [0.5], "RandomSaturation": [0.5], "RandomSharpness": [0.5],
    "RandomShear": [0.5, 0.5], "RandomTranslation": [0.5, 0.5], "RandomZoom": [0.5], "RepeatVector": [3],
    "Rescaling": [0.5], "Reshape": [[-1]], "Resizing": [4, 4], "ReversibleEmbedding": [5, 3], "STFTSpectrogram": [
    "log", 16, 8, 16], "SpatialDropout1D": [0.5], "SpatialDropout2D": [0.5], "SpatialDropout3D": [0.5],
    "UnitNormalization": [-1], "GRU": [3], "LSTM": [3], "SimpleRNN": [3], "Dot": [-1],
    "IntegerLookup": [None, 1, None, -1, [1, 2]], "StringLookup": [None, 1, None, "[UNK]", ["a", "b"]],
}  # fmt: skip
WRAPPED = {
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(3, dropout=0.5)),
    "RNN": lambda: L.RNN(L.StackedRNNCells([L.GRUCell(3, dropout=0.5), L.SimpleRNNCell(2)])),
    "SpectralNormalization": lambda: L.SpectralNormalization(L.Dense(3)),
    "TimeDistributed": lambda: L.TimeDistributed(L.BatchNormalization()),
    "Pipeline": lambda: L.Pipeline([L.RandomFlip(), L.RandomContrast(0.5)]),
    "TextVectorization": lambda: L.TextVectorization(vocabulary=["a", "b"], output_sequence_length=4),
    "ContrastLimitedAdaptiveHistogramEqualization": lambda: L.ContrastLimitedAdaptiveHistogramEqualization(
        value_range=(0, 1), tile_grid_size=(2, 2)
    ),
    "MelSpectrogram": lambda: L.MelSpectrogram(fft_length=16, sequence_stride=8, sequence_length=16, num_mel_bins=4),
    "Equalization": lambda: L.Equalization(value_range=(0, 1)),
    "MixUp": L.MixUp, "CutMix": L.CutMix, "AugMix": lambda: L.AugMix(value_range=(0, 1)),
    "RandAugment": lambda: L.RandAugment(value_range=(0, 1)),
    "Normalization": lambda: L.Normalization(mean=0.3, variance=2.0),
}  # fmt: skip
PAIRS = ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract", "Dot")
QUERIES = ("MultiHeadAttention", "GroupQueryAttention")
LISTS = (*PAIRS, "Attention", "AdditiveAttention", "HashedCrossing")
SHAPES = {
    "GRU": SERIES, "LSTM": SERIES, "SimpleRNN": SERIES, "RNN": SERIES, "Bidirectional": SERIES, "Permute": SERIES,
    "TimeDistributed": SERIES, "Attention": SERIES, "AdditiveAttention": SERIES, "MultiHeadAttention": SERIES,
    "GroupQueryAttention": SERIES, "RepeatVector": (4,), "Dot": (4,), "CategoryEncoding": (4,), "Embedding": (4,),
    "MelSpectrogram": (64,), "STFTSpectrogram": (64, 1), "ReversibleEmbedding": (4,), "ConvLSTM1D": VIDEO[1:],
    "ConvLSTM2D": VIDEO, "ConvLSTM3D": (2, 3, 3, 3, 2), "TextVectorization": (1,), "StringLookup": (4,),
    "HashedCrossing": (1,),
}  # fmt: skip
WHOLE = {"CategoryEncoding", "Embedding", "ReversibleEmbedding", "IntegerLookup", "Hashing", "HashedCrossing"}
WORDS = {"StringLookup", "TextVectorization"}


def names():
    """One name for each class: some have several."""
    by_class = {kind: name for name, kind in inspect.getmembers(L, inspect.isclass)}
    # Earlier Keras orders the operations of RandAugment by Python's numbers, in place: no call is like another.
    unlike = {"RandAugment"} if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15) else set()
    return [name for name in by_class.values() if name not in LEFT_OUT | unlike]


def make(name):
    if name in WRAPPED:
        return WRAPPED[name]()
    kind, arguments = getattr(L, name), ARGUMENTS.get(name, [])
    if "Adaptive" in name or ("Pool" in name and "Global" not in name):
        arguments = [2]
    elif "ConvLSTM" in name or ("Conv" in name and "Depthwise" not in name):
        arguments = [3, 2]
    elif "DepthwiseConv" in name:
        arguments = [2]
    elif "Cropping" in name:
        arguments = [1]
    if "dropout" in inspect.signature(kind).parameters:
        return kind(*arguments, dropout=0.5)
    return kind(*arguments)


def shape_of(name):
    number = next((d for d in "123" if f"{d}D" in name), None)
    return SHAPES.get(name) or {"1": SERIES, "2": IMAGE, "3": VOLUME, None: IMAGE}[number]


def adopted_beside(name):
    """Returns a model with the layer before a block and batch-norm, and a batch for it."""
    shape, rng = shape_of(name), np.random.default_rng(0)
    dtype = "string" if name in WORDS else "int32" if name in WHOLE else "float32"
    inputs = keras.Input(shape, dtype=dtype)
    layer = make(name)
    y = layer([inputs, inputs]) if name in LISTS else layer(inputs, inputs) if name in QUERIES else layer(inputs)
    y = L.Flatten()(L.Rescaling(1.0)(y))
    y = L.Add()([y, L.BatchNormalization()(y)])
    x = rng.uniform(0, 1, (4, *shape)).astype("float32")
    x = {"string": np.where(x > 0.5, "a", "b").astype(object), "int32": (x * 5).astype("int32")}.get(dtype, x)
    return keras.Model(inputs, y), keras.ops.convert_to_tensor(x)


def array(x):
    return keras.ops.convert_to_numpy(x)


def answer(model, state, x, training, order=None):
    """Returns what a call from a state gives and leaves: the output, the variables, the losses."""
    keras.utils.set_random_seed(1)  # AugMix takes Python's numbers, too
    for variable in model.variables:
        variable.assign(state[id(variable)])
    y = array(model(x, training=training))
    return [y, np.sum([float(v) for v in model.losses]), *(array(v) for v in order or model.variables)]


@pytest.mark.parametrize("part", [*range(4), *(pytest.param(k, marks=pytest.mark.thorough) for k in range(4, 8))])
def test_every_layer_of_keras_answers_and_learns_as_in_the_model(part):
    wrong = []
    moded = [name for name in names() if "training" in inspect.signature(getattr(L, name).call).parameters]
    for name in (moded if part < 4 else sorted(set(names()) - set(moded)))[part % 4 :: 4]:
        model, x = adopted_beside(name)
        network = kr.adopt(model)
        state = {id(v): array(v) for v in model.variables}
        assert {id(v) for v in network.variables} == set(state), name
        for training in (False, True):
            expected = answer(model, state, x, training)
            got = answer(network, state, x, training, model.variables)
            equal = [np.array_equal(a, b) for a, b in zip(expected, got, strict=True)]
            wrong += [] if all(equal) else [f"{name} in {'training' if training else 'inference'}: {equal}"]
    assert not wrong


def outer(mode, nested, layer=L.BatchNormalization):
    inputs = keras.Input((4, 4, 2))
    part = layer()
    if nested:
        inner = keras.Input((4, 4, 2))
        part = keras.Model(inner, part(inner))
    y = part(inputs, training=mode)
    return keras.Model(inputs, L.Add()([y, L.BatchNormalization()(y)]))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("mode", [None, False, True])
def test_the_mode_of_a_call_goes_before_the_mode_in_the_graph(mode, nested):
    x = np.random.default_rng(0).normal(3, 2, (8, 4, 4, 2)).astype("float32")
    for layer in (L.BatchNormalization, functools.partial(L.Dropout, 0.5, seed=1)):
        model = outer(mode, nested, layer)
        network = kr.adopt(model)
        again = kr.ResidualNetwork.from_config(network.get_config())
        again.set_weights(network.get_weights())
        state = {id(v): array(v) for v in [*model.variables, *again.variables]}
        for call in (None, False, True):
            for other in (network, again):
                expected = answer(model, state, x, call)
                got = answer(other, state, x, call)
                np.testing.assert_array_equal(expected[0], got[0], err_msg=f"{mode} {nested} {call}")
                changed = [
                    sorted(
                        v.path.split("/")[-1]
                        for v in m.non_trainable_variables
                        if not np.array_equal(array(v), state[id(v)])
                    )
                    for m in (model, other)
                ]
                assert changed[0] == changed[1]


def test_instruments_run_an_adopted_network_in_inference():
    inputs = keras.Input((8, 8, 3))
    y = L.Conv2D(4, 1)(L.RandomFlip()(inputs))
    y = L.Add()([y, L.BatchNormalization()(L.Dropout(0.9)(y, training=True))])
    model = keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(y)))
    network = kr.adopt(model)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    state = [array(v) for v in model.non_trainable_variables]
    summary = kr.studies.lesion(network, (x, np.arange(4) % 3)).summary["intact"]
    logits = array(model(x, training=False)).astype("float64")
    loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(4), np.arange(4) % 3])
    assert summary["loss"] == pytest.approx(loss, abs=1e-5)
    taps = kr.taps.taps_of(network)
    values = {tap.layer.name: value for tap, value in kr.taps.Reader(network, taps).values(x)}
    dropout = next(name for name in values if "dropout" in name)
    np.testing.assert_array_equal(values[next(name for name in values if "conv" in name)], values[dropout])
    assert all(map(np.array_equal, state, [array(v) for v in model.non_trainable_variables]))


@pytest.mark.parametrize("mask", [L.Masking, lambda: L.Embedding(5, 4, mask_zero=True)])
def test_masks_are_refused_by_name(mask):
    layer = mask()
    inputs = keras.Input((6, 4) if isinstance(layer, L.Masking) else (6,))
    y = layer(inputs)
    with pytest.raises(ArgumentError, match=f"'{layer.name}' hands a mask on"):
        kr.adopt(keras.Model(inputs, L.Add()([y, L.MultiHeadAttention(1, 2)(y, y)])))
