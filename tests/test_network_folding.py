"""`fold`: batch-norm folded into convolutions, beside the network and beside NumPy."""

import keras
import numpy as np
import pytest
from helpers.network_families import FAMILIES
from helpers.precision import policy

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.network import private

PLACEMENTS = ("bn_after", "relu_before", "relu_only", "pre", "pre_open")
SKIPS = ("gate:-1", "shortcut_gate:-1", "scale:0.5:0.7", "dropout:0.5")
NETWORKS = FAMILIES | {f"placement {name}": ("resnet8", {"placement": name}) for name in PLACEMENTS}
NETWORKS |= {f"skip {skip}": ("preresnet8", {"skip": skip, "shortcut": "B"}) for skip in SKIPS}
NETWORKS |= {"resnet38": ("resnet38", {"width": 0.03125}), "pixels": ("resnet8", {"head": "2conv", "head_dilation": 2})}
# One of each kind in every run, the others in `make test-all`.
QUICK = ("post-activation, option B", "pre-activation, option C", "skip gate:-1", "pixels")


def norms(layer):
    return [part for part in private.flattened(layer) if isinstance(part, keras.layers.BatchNormalization)]


def same(a, b, tolerance):
    a, b = (np.asarray(keras.ops.convert_to_numpy(y), "float64") for y in (a, b))
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.backends
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in NETWORKS]
)
def test_outputs_are_those_of_the_network_in_float64(name, scramble):
    doubles = keras.config.backend() != "jax"  # which has none unless it is told at its start
    with policy("float64" if doubles else "float32"), private.keeping_doubles():
        network, options = NETWORKS[name]
        size = 16 if network == "resnet8" else 32
        model = scramble(kr.build(network, (size, size, 3), 5, classifier_activation=None, **options))
        x = np.random.default_rng(1).normal(size=(2, size, size, 3))
        folded = kr.fold(model)
        assert len(norms(folded)) == folded.folded.kept
        assert folded.folded.behind + folded.folded.before + folded.folded.kept == len(norms(model))
        assert folded.folded.behind > 0
        same(folded(x, training=False), model(x, training=False), 1e-12 if doubles else 1e-5)


def test_kernels_are_those_that_numpy_folds(scramble):
    model = scramble(kr.build("resnet8", (8, 8, 3), 5, shortcut="B"))
    folded = kr.fold(model)
    pairs = [
        ("stem", "conv", "bn", "conv"),
        ("stage2_block1", "residual/conv1", "bn1", "conv1"),
        ("stage2_block1", "shortcut/conv", "shortcut/bn", "shortcut/conv"),
    ]
    for link, conv, bn, new in pairs:
        values = {v.path: np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in model.get_layer(link).weights}

        def find(end, values=values):
            return next(value for path, value in values.items() if path.endswith(end))

        gamma, beta, mean, variance = (
            find(f"{bn}/{name}") for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + 1e-5)
        got = {v.path: np.asarray(keras.ops.convert_to_numpy(v)) for v in folded.get_layer(link).weights}
        kernel, bias = (next(v for p, v in got.items() if p.endswith(f"{new}/{part}")) for part in ("kernel", "bias"))
        np.testing.assert_allclose(kernel, find(f"{conv}/kernel") * factor, rtol=1e-6)
        np.testing.assert_allclose(bias, beta - mean * factor, rtol=1e-6)


@pytest.mark.parametrize("name", ["resnet8", "preresnet8"])
def test_edits_of_the_folded_are_the_edits_of_the_network(name, scramble):
    model = scramble(kr.build(name, (8, 8, 3), 5, shortcut="B"))
    folded, x = kr.fold(model), np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")
    assert [block.name for block in folded.blocks] == [block.name for block in model.blocks]
    same(folded(x, training=False), model(x, training=False), 1e-5)
    for edit in (lambda m: kr.delete(m, 1), lambda m: kr.unskip(m, 2)):
        same(edit(folded)(x, training=False), edit(model)(x, training=False), 1e-5)
    assert kr.delete(folded, 1).folded == folded.folded


def test_a_lesion_of_the_folded_is_that_of_the_network(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    ours, theirs = (kr.studies.lesion(m, images, verbose=0).rows for m in (kr.fold(model), model))
    for column in ("error", "loss", "agreement"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-5)


def test_a_folded_network_is_saved_exported_and_folded_again(tiny, images, scramble, tmp_path):
    model = scramble(kr.build(tiny))
    model.class_names, model.preprocessing = tuple("abcde"), kr.Preprocessing((0.0,), (1.0,))
    folded = kr.fold(model)
    folded.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    assert (loaded.folded, loaded.class_names, loaded.preprocessing) == (
        folded.folded,
        model.class_names,
        model.preprocessing,
    )
    assert [v.path for v in loaded.weights] == [v.path for v in folded.weights]
    assert "stage1_block1/residual/conv1/bias" in [v.path for v in folded.weights]
    for again in (loaded, kr.fold(loaded)):
        same(again.predict_on_batch(images[0]), model.predict_on_batch(images[0]), 1e-5)
    assert kr.fold(loaded).folded == folded.folded
    kr.export.saved_model(folded, tmp_path / "net", calls=0)  # compares the file with the network


@pytest.mark.backends
def test_a_folded_network_is_evaluated_and_not_trained(tiny, images, scramble):
    model = scramble(kr.build(tiny, weight_decay=0.1))
    x, y = images
    folded = kr.fold(model)
    folded.compile("sgd", "sparse_categorical_crossentropy")
    loss = folded.evaluate(x, y, verbose=0)
    probabilities = np.asarray(model.predict_on_batch(x))
    assert loss == pytest.approx(-np.log(probabilities[range(len(y)), y]).mean(), rel=1e-4)  # and no penalty
    for call in (
        lambda: folded.fit(x, y, verbose=0),
        lambda: folded.train_on_batch(x, y),
        lambda: kr.recalibrate(folded, (x, None)),
    ):
        with pytest.raises(ArgumentError, match="was folded for inference"):
            call()


def test_a_folded_network_is_not_tuned(few, scramble, tmp_path):
    folded = kr.fold(kr.build("resnet8", (8, 8, 1)))
    with pytest.raises(ArgumentError, match="was folded for inference"):
        kr.fine_tune(folded, few, out=tmp_path / "run", epochs=1, verbose=0)
    assert not (tmp_path / "run").exists()


def adopted(*layers, size=8, channels=3):
    """A network of one block around these layers."""
    inputs = keras.Input((size, size, channels))
    x = y = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    for layer in layers:
        y = layer(y)
    return kr.adopt(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.add([x, y]))))


L, BN = keras.layers, keras.layers.BatchNormalization
# Layers inside a branch, and how many batch-norms go into the layer before, into that behind, and stay.
BRANCHES = {
    "depthwise": ([L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), BN(), L.Conv2D(4, 1)], (1, 0, 0)),
    "separable": ([L.SeparableConv2D(4, 3, padding="same"), BN()], (1, 0, 0)),
    "transposed": ([L.Conv2DTranspose(4, 3, padding="same"), BN()], (1, 0, 0)),
    "grouped": ([L.Conv2D(4, 3, padding="same", groups=2, use_bias=False), BN(center=False)], (1, 0, 0)),
    "dense": ([L.Dense(4), BN(scale=False)], (1, 0, 0)),
    "two behind": ([L.Conv2D(4, 1), BN(), L.Rescaling(0.5, 0.25), BN()], (2, 0, 0)),
    "before a convolution of one pixel": ([L.ReLU(), BN(), L.Conv2D(4, 1, activation="relu")], (0, 1, 0)),
    "before a convolution without a border": ([BN(), L.Conv2D(4, 3), L.ZeroPadding2D(1)], (0, 1, 0)),
    "before a depthwise one": ([BN(), L.DepthwiseConv2D(1, depth_multiplier=2), L.Conv2D(4, 1)], (0, 1, 0)),
    "before a dense one, and one behind": ([BN(), L.Dense(4), BN()], (1, 1, 0)),
    "before a border of zeros": ([BN(), L.Conv2D(4, 3, padding="same")], (0, 0, 1)),
    "before a border, without a term": ([L.ReLU(), BN(name="plain"), L.Conv2D(4, 3, padding="same")], (0, 1, 0)),
    "before groups": ([BN(), L.Conv2D(4, 1, groups=2)], (0, 0, 1)),
    "behind an activation": ([L.Conv2D(4, 1, activation="relu"), BN()], (0, 0, 1)),
    "another axis": ([L.Conv2D(4, 1), BN(axis=1)], (0, 0, 1)),
    "another precision": ([L.Conv2D(4, 1, dtype="mixed_bfloat16"), BN(dtype="float32")], (0, 0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", BRANCHES)
def test_layers_that_take_a_batch_norm(name, scramble):
    layers, counts = BRANCHES[name]
    model = scramble(adopted(*(type(layer).from_config(layer.get_config()) for layer in layers)))
    for norm in norms(model):
        if norm.name == "plain":
            norm.moving_mean.assign(0 * norm.moving_mean), norm.beta.assign(0 * norm.beta)
    folded, x = kr.fold(model), np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")
    assert (folded.folded.behind, folded.folded.before, folded.folded.kept) == counts
    tolerance = 1e-2 if "precision" in name else 1e-5
    same(folded(x, training=False), model(x, training=False), tolerance)


def test_what_is_read_twice_or_called_twice_stays(scramble):
    inputs = keras.Input((8, 8, 4))
    x = L.Conv2D(4, 1, name="read_twice")(inputs)
    y = BN()(x)
    x = L.add([x, y])
    head = L.GlobalAveragePooling2D()
    model = scramble(kr.adopt(keras.Model(inputs, head(x))))
    assert kr.fold(model).folded.kept == 1
    conv, norm = L.Conv2D(4, 1), BN()
    block = kr.ResidualBlock(keras.Sequential([conv, norm, L.ReLU(), L.Dense(4)]), conv, name="block_block1")
    shared = scramble(kr.ResidualNetwork([block, kr.Segment(L.GlobalAveragePooling2D(), name="head")], (8, 8, 4)))
    folded, x = kr.fold(shared), np.ones((1, 8, 8, 4), "float32")
    assert folded.folded.kept == 1
    same(folded(x, training=False), shared(x, training=False), 1e-6)


def test_mixed_precision_stays_and_differs_by_its_rounding(scramble):
    with policy("mixed_bfloat16"):
        model = scramble(kr.build("resnet8", (8, 8, 3), 5, classifier_activation=None))
    folded, x = kr.fold(model), np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype("float32")
    assert folded.folded.kept == 0
    assert folded.blocks[0].residual.layers[0].compute_dtype == "bfloat16"
    same(folded(x, training=False), model(x, training=False), 5e-2)


def test_statistics_that_are_not_finite_are_named(tiny):
    model = kr.build(tiny)
    norms(model)[0].moving_variance.assign(np.full(4, np.nan))
    with pytest.raises(ArgumentError, match="'bn' has statistics or weights that are not finite"):
        kr.fold(model)


@pytest.mark.thorough
@pytest.mark.backends
@pytest.mark.parametrize(
    ("name", "kept"), [("ResNet50", 0), ("ResNet50V2", 17), ("MobileNetV2", 0), ("EfficientNetB0", 0)]
)
def test_networks_of_keras_applications(name, kept, scramble):
    original = scramble(getattr(keras.applications, name)(input_shape=(64, 64, 3), weights=None, include_top=False))
    folded, x = kr.fold(original), np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype("float32")
    assert folded.folded.kept == kept
    same(folded(x, training=False), original(x, training=False), 1e-4)
