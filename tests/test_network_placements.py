"""Placements of the activation and functions of the skip (He et al. 2016, Tables 2 and 1) against NumPy."""

import math

import hypothesis
import keras
import numpy as np
import pytest
from helpers.numpy_layers import convolve
from helpers.path_training import equal, fit, one_on
from hypothesis import strategies as st

import keras_resnets as kr
from keras_resnets.architecture import counting, unit
from keras_resnets.instruments.taps import Reader, taps_of
from keras_resnets.network.cost import leaves
from keras_resnets.paths import FixedSize

BASIC = (kr.Stage(2, (4, 4)), kr.Stage(2, (6, 6), stride=2))
BOTTLENECK = (kr.Stage(1, (3, 2, 4), (1, 3, 1)), kr.Stage(2, (3, 2, 6), (1, 3, 1), stride=2))
SKIPS = ("identity", "scale:0.5:2", "gate:-0.7", "shortcut_gate:0.4", "dropout:0.5")

# The networks that all else is tried on: a batch-norm behind the sum, and gates.
HARD = {
    "bn_after": {"placement": "bn_after"},
    "gate, pre": {"skip": "gate:-0.7", "placement": "pre", "shortcut": "B"},
    "shortcut_gate": {"skip": "shortcut_gate:0.4", "placement": "relu_only"},
}
hard = pytest.mark.parametrize("fields", HARD.values(), ids=HARD.keys())


def spec(stages=BASIC, **fields):
    return kr.Spec("net", stages, (8, 8, 1), 5, stem_width=4, **fields)


def close(found, expected, tolerance=1e-5):
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Written:
    """A network of basic blocks on a 3x3 stem from its weights, as Fig. 2 and Fig. 4 of He et al. 2016 draw it."""

    def __init__(self, model, training):
        self.spec, self.training = model.spec, training
        self.weights = {v.path: np.asarray(v, "float64") for v in model.weights}

    def bn(self, x, *paths):
        path = next(path for path in paths if f"{path}/gamma" in self.weights)
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        gamma, beta, mean, variance = (self.weights[f"{path}/{name}"] for name in names)
        if self.training:
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def __call__(self, x):
        place = self.spec.placement
        h = convolve(np.asarray(x, "float64"), self.weights["stem/body/conv/kernel"])
        h = h if place.startswith("pre") else self.bn(h, "stem/body/bn")
        h = h if place.startswith("pre") or place == "relu_only" else relu(h)
        for s, stage in enumerate(self.spec.stages, 1):
            for b in range(1, stage.blocks + 1):
                h = self.block(h, f"stage{s}_block{b}", stage.stride if b == 1 else 1, b == 1)
        h = {"pre": lambda h: relu(self.bn(h, "head/body/bn")), "relu_only": relu}.get(place, lambda h: h)(h)
        kernel, bias = self.weights["head/body/logits/kernel"], self.weights["head/body/logits/bias"]
        return h.mean((1, 2)) @ kernel + bias

    def block(self, x, name, stride, first):
        place, (kind, *numbers) = self.spec.placement, self.spec.skip.split(":")

        def conv1(x):
            return convolve(x, self.weights[f"{name}/residual/conv1/kernel"], stride)

        def conv2(x):
            return convolve(x, self.weights[f"{name}/residual/conv2/kernel"])

        def bn1(x):
            return self.bn(x, f"{name}/residual/bn1", f"{name}/preactivation/bn1")

        def bn2(x):
            return self.bn(x, f"{name}/residual/bn2")

        f = {
            "post": lambda x: bn2(conv2(relu(bn1(conv1(x))))),
            "bn_after": lambda x: conv2(relu(bn1(conv1(x)))),
            "relu_before": lambda x: relu(bn2(conv2(relu(bn1(conv1(x)))))),
            "relu_only": lambda x: bn2(conv2(relu(bn1(conv1(relu(x)))))),
            "pre": lambda x: conv2(relu(bn2(conv1(relu(bn1(x)))))),
        }[place.removesuffix("_open")](x)
        projection = self.weights.get(f"{name}/shortcut/conv/kernel")
        which = self.spec.shared_preactivation
        shared = which != "none" and (projection is not None or (first and which == "stage"))
        # What the shortcut reads, and the gate.
        activate = {"relu_only": relu, "pre": lambda x: relu(bn1(x))}.get(place.removesuffix("_open"), lambda x: x)
        h = activate(x) if shared else x
        if projection is None:
            skip = np.pad(h[:, ::stride, ::stride], [(0, 0)] * 3 + [(0, f.shape[-1] - h.shape[-1])])
        else:
            skip = convolve(h, projection, stride)
            skip = skip if place in ("bn_after", "pre", "pre_open") else self.bn(skip, f"{name}/shortcut/bn")
        if kind in ("gate", "shortcut_gate"):
            gate = f"{name}/{'preactivation' if kind == 'gate' else 'shortcut'}/gate"
            g = sigmoid(convolve(h, self.weights[f"{gate}/kernel"], stride) + self.weights[f"{gate}/bias"])
            f, skip = (g * f if kind == "gate" else f), (1 - g) * skip
        if kind == "scale":
            skip, f = float(numbers[0]) * skip, float(numbers[1]) * f
        y = f + skip
        if place == "bn_after":
            y = self.bn(y, f"{name}/activation/bn")
        return relu(y) if place in ("post", "bn_after") else y


CASES = [(place, "identity", "B", "stage") for place in unit.PLACEMENTS]
CASES += [(place, "gate:-0.7", "A", "projection") for place in unit.PLACEMENTS]
CASES += [("post", skip, "A", "stage") for skip in SKIPS if skip != "identity"]
CASES += [("pre", skip, "C", "stage") for skip in SKIPS]
CASES += [("relu_only", "shortcut_gate:0.4", "B", "projection")]
CASES += [
    ("pre", "identity", "B", "none"),
    ("pre_open", "gate:-0.7", "C", "none"),
    ("relu_only", "identity", "B", "none"),
]


@pytest.mark.parametrize(("place", "skip", "shortcut", "shared"), CASES)
def test_network_equals_numpy(place, skip, shortcut, shared, images, scramble):
    fields = {"placement": place, "skip": skip, "shortcut": shortcut, "shared_preactivation": shared}
    model = scramble(kr.build(spec(**fields), classifier_activation=None))
    close(model.predict(images[0], verbose=0), Written(model, False)(images[0]))
    if not skip.startswith("dropout"):
        close(model(images[0], training=True), Written(model, True)(images[0]), 1e-4)


@pytest.mark.parametrize("place", unit.PLACEMENTS)
def test_behind_the_7x7_stem_nothing_is_activated_twice(place, scramble):
    # The stem gives conv, BN, ReLU and pool whatever the placement; the first block has no activation in front.
    model = scramble(kr.build(spec(placement=place, stem="conv7", shortcut="B")))
    assert [layer.name for layer in model.chain[0].body.layers if "pad" not in layer.name] == [
        "conv", "bn", "relu", "pool",
    ]  # fmt: skip
    first, x = model.blocks[0], np.abs(np.random.default_rng(0).normal(size=(3, 2, 2, 4))).astype("float32")
    written = Written(model, False)
    bn = written.bn
    # What the drawing has in front of the first convolution, it leaves out here.
    written.bn = lambda h, *paths: (
        h if paths[0].endswith("block1/residual/bn1") and place.startswith("pre") else bn(h, *paths)
    )
    assert first.preactivation is None
    close(first(x), written.block(x.astype("float64"), "stage1_block1", 1, True))


# Counts.


@hypothesis.settings(max_examples=30, deadline=None, database=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_counts_of_every_combination(data):
    def one(*values):
        return data.draw(st.sampled_from(values))

    shortcut = one("A", "B", "C", "none")
    network = kr.Spec(
        "net",
        one(BASIC, BOTTLENECK),
        one((8, 8, 1), (9, 12, 2)),
        3,
        stem=one("conv3", "conv7"),
        stem_width=one(2, 4),
        placement=one(*unit.PLACEMENTS),
        shortcut=shortcut,
        skip="identity" if shortcut == "none" else one(*SKIPS),
        shared_preactivation=one("stage", "projection", "none"),
        stride_place=one("first", "3x3"),
        hidden=one((), (7,)),
        width=one(1.0, 1.5),
    )
    model, counts = kr.build(network), counting.count(network)
    assert kr.parameters(model) == counts.parameters
    assert sum(int(np.prod(v.shape)) for v in model.non_trainable_weights) == counts.statistics
    assert kr.macs(model) == counts.macs
    shapes = [leaf.output for leaf in leaves(model, (1, *network.input_shape)) if hasattr(leaf.layer, "kernel_size")]
    assert sum(math.prod(shape) for shape in shapes) == counts.activations


def test_counts_of_the_papers_networks_by_hand():
    # A gate of ResNet-110 is a 1x1 convolution with bias on 18 blocks of 16, of 32 and of 64 channels; in the first
    # block of two stages it reads half as many. Of Table 2's placements, these move parameters and leave their number.
    plain = counting.count(kr.variants.spec("resnet110"))
    gates = sum(18 * (w * w + w) for w in (16, 32, 64)) - 32 * 16 - 64 * 32
    for skip in ("gate:-6", "shortcut_gate:-6"):
        counts = counting.count(kr.variants.spec("resnet110").replace(skip=skip))
        assert counts.parameters == plain.parameters + gates
        assert counts.statistics == plain.statistics
    for place in ("bn_after", "relu_before", "relu_only"):
        assert counting.count(kr.variants.spec("resnet110").replace(placement=place)) == plain


# What skips do.


@pytest.mark.parametrize("bias", [-6.0, 0.0, 1.5])
@pytest.mark.parametrize("kind", ["gate", "shortcut_gate"])
def test_a_gate_starts_at_its_bias(kind, bias, images):
    model = kr.build(spec(skip=f"{kind}:{bias}", weight_decay=1e-3))
    gates = [layer for layer in model._flatten_layers() if layer.name == "gate" and hasattr(layer, "kernel")]
    assert len(gates) == len(model.blocks)
    for gate in gates:
        np.testing.assert_array_equal(gate.bias, np.full(gate.bias.shape, bias, "float32"))
        # He et al. 2015b: variance 2 / fan; a chi-squared variable of 16 to 36 terms.
        assert 0.25 < np.asarray(gate.kernel).var() * gate.kernel.shape[2] / 2 < 2.5
        assert gate.kernel_regularizer.l2 == pytest.approx(5e-4)
        assert gate.bias_regularizer is None
        gate.kernel.assign(0 * gate.kernel)
    block = model.blocks[1]
    h = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    read = block.branch_input(h)
    close(block.shortcut(read), (1 - sigmoid(bias)) * h, 1e-6)
    plain = keras.Sequential([layer for layer in block.residual._flatten_layers() if layer.name[-1] in "12"])
    close(block.residual(read), (sigmoid(bias) if kind == "gate" else 1) * np.asarray(plain(h)), 1e-5)


def test_dropout_on_the_skip_is_for_training_alone(images, scramble):
    model, plain = scramble(kr.build(spec(skip="dropout:0.25"))), kr.build(spec())
    plain.set_weights([v.numpy() for v in model.weights])
    np.testing.assert_array_equal(model.predict(images[0], verbose=0), plain.predict(images[0], verbose=0))
    h = np.random.default_rng(0).uniform(1, 2, size=(50, 8, 8, 4)).astype("float32")
    for block in (model.blocks[0], model.blocks[2]):
        given = np.asarray(block.shortcut(h, training=True))
        whole = np.asarray(block.shortcut(h, training=False))
        kept = given != 0
        np.testing.assert_allclose(given[kept], whole[kept] / 0.75, rtol=1e-6)
        assert kept.sum() / (whole != 0).sum() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    ("place", "skip"),
    [("post", "shortcut_gate:0.4"), ("bn_after", "identity"), ("bn_after", "gate:-0.7"), ("relu_only", "identity"),
     ("relu_only", "scale:0.5:2"), ("pre", "gate:-0.7")],
)  # fmt: skip
def test_zero_gamma_makes_every_block_its_shortcut_and_still_learns(place, skip, images):
    model, (x, y) = kr.build(spec(zero_gamma=True, placement=place, skip=skip)), images
    bare = kr.delete(model, range(len(model.blocks)))
    np.testing.assert_array_equal(model.predict(x, verbose=0), bare.predict(x, verbose=0))
    before = {v.path: np.asarray(v) for block in model.blocks for v in block.residual.trainable_variables}
    model.compile(kr.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    for _ in range(3):
        model.train_on_batch(x, y)
    moved = [v.path for block in model.blocks for v in block.residual.trainable_variables
             if v.name == "kernel" and np.abs(np.asarray(v) - before[v.path]).max() > 0]  # fmt: skip
    assert len(moved) == 2 * len(model.blocks)


# The mechanisms of the package on these networks.


@hard
def test_keras_round_trip_is_exact(fields, images, scramble, tmp_path):
    model, (x, y) = scramble(kr.build(spec(**fields))), images
    model.compile(kr.optimizers.SGD(0.1, 0.9), "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(x, y)
    model.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    loaded.run_eagerly = True
    assert loaded.spec == model.spec
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]
    assert len({v.path for v in model.weights}) == len(model.weights)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    model.reset_metrics()  # earlier Keras gives the mean over all batches so far
    np.testing.assert_array_equal(model.train_on_batch(x, y), loaded.train_on_batch(x, y))
    loaded.save(tmp_path / "again.keras")
    again = kr.build(spec(**fields), weights=tmp_path / "again.keras")
    np.testing.assert_array_equal(loaded(x, training=False), again(x, training=False))


@hard
def test_a_deleted_block_keeps_its_skip(fields, images, scramble):
    model, x = scramble(kr.build(spec(**fields), classifier_activation=None)), images[0]
    gates = np.array([True, False, False, True])
    edited = kr.delete(model, [1, 2])
    # In NumPy the branches' last layers are zero instead.
    written = Written(model, False)
    block = written.block

    def without(h, name, *rest):
        if name in ("stage1_block2", "stage2_block1"):
            for path in written.weights:
                if path.startswith(f"{name}/residual") and path.endswith(("conv2/kernel", "bn2/gamma", "bn2/beta")):
                    written.weights[path] = 0 * written.weights[path]
        return block(h, name, *rest)

    written.block = without
    close(edited.predict(x, verbose=0), written(x))
    close(model.masked(x, gates), edited(x, training=False))
    close(model.masked(x, np.repeat(gates[:, None], len(x), 1).astype("float32")), edited(x, training=False))


@pytest.mark.parametrize("fields", [HARD["bn_after"], HARD["gate, pre"]], ids=["bn_after", "gate, pre"])
def test_a_step_with_blocks_off_is_one_of_the_network_without_them(fields, images):
    network = spec(**fields)
    policy, gates = one_on(5, 4)
    _, before, after = fit(network, images, policy, steps=1, l2=0.0)
    keras.utils.set_random_seed(4)
    _, _, expected = fit(kr.delete(kr.build(network), np.flatnonzero(~gates).tolist()), images, None, steps=1, l2=0.0)
    assert len(expected) < len(after)
    for path in after:
        np.testing.assert_allclose(after[path], expected.get(path, before[path]), 1e-5, 1e-6, err_msg=path)
    equal(fit(network, images, None)[2], fit(network, images, FixedSize(4))[2])


@pytest.mark.parametrize("fields", [{"skip": "gate:-0.7"}, HARD["gate, pre"]], ids=["post", "pre"])
def test_a_gated_block_without_its_skip_is_bridged_by_what_it_reads(fields, scramble):
    model = kr.unskip(scramble(kr.build(spec(**fields))), [1, 2])
    bare = kr.delete(model, [1, 2])
    rng = np.random.default_rng(0)
    h = rng.normal(size=(2, 8, 8, 4)).astype("float32")
    same, wider = bare.blocks[1:3]
    read = np.asarray(wider.branch_input(h))[..., :4]
    after = relu if fields.get("placement") != "pre" else lambda x: x
    np.testing.assert_array_equal(same(h), after(h))
    np.testing.assert_array_equal(wider(h), after(np.pad(read[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 2)))))
    x = rng.normal(size=(3, 8, 8, 1)).astype("float32")
    close(model.masked(x, [True, False, False, True]), bare(x, training=False))


@hard
def test_lesions_of_the_study_are_those_of_the_edits(fields, images, scramble):
    model, (x, y) = scramble(kr.build(spec(**fields))), images
    rows = kr.studies.lesion(model, images).rows.set_index("block")
    for i, block in enumerate(model.blocks):
        answers = kr.delete(model, i).predict(x, verbose=0)
        assert rows["error"][block.name] == pytest.approx((answers.argmax(1) != y).mean())
        assert rows["loss"][block.name] == pytest.approx(-np.log(answers[np.arange(len(y)), y]).mean(), rel=1e-4)
    if "skip" in fields:
        with pytest.raises(kr.errors.ArgumentError, match="has an identity for a skip"):
            kr.studies.unskip(model, images)


@hard
def test_layers_are_read_and_gates_are_no_responses(fields, images, scramble):
    model, x = scramble(kr.build(spec(**fields))), images[0]
    found = {tap.name: value for tap, value in Reader(model, taps_of(model)).values(x)}
    close(found["head/predictions"], model.predict(x, verbose=0))
    rows = kr.studies.responses(model, (x, None)).rows
    convolutions = [f"{block.name}/conv{n}" for block in model.blocks for n in (1, 2)]
    assert list(rows["name"]) == ["stem/conv", *convolutions]
    behind = {"bn_after": [True, False], "pre": [True, False]}.get(fields.get("placement"), [True, True])
    assert list(rows["normalised"]) == [fields.get("placement") != "pre", *behind * len(model.blocks)]


@hard
def test_mixed_precision(fields, images, scramble, tmp_path):
    full, (x, y) = scramble(kr.build(spec(**fields))), images
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = kr.build(spec(**fields))
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(full.get_weights())
    assert {v.dtype for v in model.weights} == {"float32"}
    assert model.blocks[1].output.dtype == model.blocks[1](model.chain[0](x)).dtype == "float16"
    np.testing.assert_allclose(model.predict(x, verbose=0), full.predict(x, verbose=0), atol=0.02)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.train_on_batch(x, y))
    model.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(
        kr.load_model(tmp_path / "net.keras").predict(x, verbose=0), model.predict(x, verbose=0)
    )
