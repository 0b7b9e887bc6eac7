"""The gradient by path against networks cut by hand: all paths one by one, their sums, and draws of paths."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr
from keras_resnets.instruments.path_draws import Paths, needed_length, shortest_run
from keras_resnets.instruments.spectrum import INPUT, Spectrum

SPECS = {
    "post-activation": {},
    "projections": {"shortcut": "C"},
    "pre-activation, projections": {"placement": "pre", "shortcut": "C"},
    "batch-norm after the addition": {"placement": "bn_after"},
    "gates": {"skip": "gate:-0.5", "placement": "pre"},
}


def foreign():
    """A functional model of somebody's, with a pooled segment between its blocks."""
    inputs = x = keras.Input((8, 8, 1))
    for name in ("one", "two"):
        h = keras.layers.Conv2D(4, 3, padding="same", activation="tanh")(x)
        x = keras.layers.Add(name=f"{name}_add")(
            [keras.layers.Conv2D(4, 3, padding="same")(h), keras.layers.Conv2D(4, 1)(x)]
        )
        x = keras.layers.MaxPooling2D()(x) if name == "one" else x
    h = keras.layers.DepthwiseConv2D(3, padding="same", activation="swish")(x)
    x = keras.layers.Add(name="three_add")([h, x])
    return kr.adopt(keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(x))))


@pytest.fixture(params=[*SPECS, "foreign"])
def model(request, tiny, scramble):
    keras.utils.set_random_seed(2)
    if request.param == "foreign":
        return foreign()
    return scramble(kr.build(tiny, **SPECS[request.param]))


def cut(model, x, y, gates, weights=False):
    """Gradients of the network in which nothing but one path leads back: the other branches are constants.

    Returns:
        The gradient of each example's loss at the input, and those of the links' weights, of the mean loss.
    """
    x, waiting = tf.constant(x), list(gates)
    variables = [v.value for link in model.chain for v in link.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        h = x
        for link in model.chain:
            if not isinstance(link, kr.ResidualBlock):
                h = link(h, training=False)
                continue
            entry, gate = link.branch_input(h), waiting.pop(0)
            residual, shortcut = link.residual(entry), link.shortcut(entry)
            residual, shortcut = (
                (residual, tf.stop_gradient(shortcut)) if gate else (tf.stop_gradient(residual), shortcut)
            )
            h = residual + shortcut if link.activation is None else link.activation(residual + shortcut)
        logits = model.output_shape and "softmax" not in str(model.get_config())
        loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, h, from_logits=logits))
    at_input, by_weights = tape.gradient(loss, [x, variables], unconnected_gradients="zero")
    return at_input.numpy(), [g.numpy() / len(x) for g in by_weights]


def test_each_of_64_random_paths_equals_the_network_cut_to_it(model, images):
    x, y = images[0][:8], images[1][:8]
    gates = np.random.default_rng(0).random((8, len(model.blocks), 8)) < 0.5
    seen = 0
    for drawn, gradient in zip(gates, Spectrum(model).along(x, y, gates), strict=True):
        for i in range(8):
            expected, _ = cut(model, x[i : i + 1], y[i : i + 1], drawn[:, i])
            np.testing.assert_allclose(gradient[i], expected[0], rtol=1e-4, atol=1e-5 * np.abs(expected).max())
            seen += 1
    assert seen == 64


def test_in_a_linear_network_a_path_is_the_network_without_the_other_branches():
    """Nothing else can be meant where derivatives are the same everywhere: so by structure, with delete and unskip."""
    keras.utils.set_random_seed(0)
    blocks = [
        kr.ResidualBlock(keras.layers.Conv2D(2, 3, padding="same"), keras.layers.Conv2D(2, 1), name=f"block_{i}")
        for i in range(4)
    ]
    head = kr.Segment(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)]), name="head")
    model = kr.ResidualNetwork([*blocks, head], (4, 4, 2))
    x, y = np.random.default_rng(0).normal(size=(16, 4, 4, 2)).astype("float32"), np.zeros(16, int)
    every = np.array(list(itertools.product([False, True], repeat=4)))
    [gradient] = Spectrum(model).along(x, y, every.T[None])
    whole = tf.nn.softmax(model(x)) - np.eye(3, dtype="float32")[y]
    for i, gates in enumerate(every):
        off, alone = (np.flatnonzero(on).tolist() for on in (~gates, gates))
        edited = kr.delete(model, off) if off else model
        edited = kr.unskip(edited, alone) if alone else edited
        inputs = tf.constant(x[i : i + 1])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            scores = tf.reduce_sum(edited(inputs) * whole[i])
        np.testing.assert_allclose(gradient[i], tape.gradient(scores, inputs)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_parts_are_sums_over_all_paths(model, images, precision):
    x, y = images[0][:3], images[1][:3]
    blocks = [link.name for link in model.chain if isinstance(link, kr.ResidualBlock)]
    owners = [link.name for link in model.chain for _ in link.trainable_variables]
    values = np.zeros((4, *x.shape))
    weights = {name: {} for name in owners}
    for gates in itertools.product([False, True], repeat=3):
        at_input, by_weights = cut(model, x, y, gates)
        values[sum(gates)] += at_input
        # A path's length, to a link's weights, is what is on of it from that link on; blocks before it double-count.
        for name in dict.fromkeys(owners):
            place = [link.name for link in model.chain].index(name)
            behind = [
                g for block, g in zip(blocks, gates, strict=True) if [x.name for x in model.chain].index(block) >= place
            ]
            ahead = len(gates) - len(behind)
            # To the weights of an activation no branch of its block leads: they count once, with the branch off.
            own = [
                g.ravel() * (not (any(behind[:1]) and "/activation/" in v.path))
                for g, o, v in zip(by_weights, owners, model.trainable_variables, strict=True)
                if o == name
            ]
            flat = np.concatenate(own) / 2**ahead
            parts = weights[name].setdefault(sum(behind), 0)
            weights[name][sum(behind)] = parts + flat
    found = {(p.of, p.at): p for p in Spectrum(model, precision).exact(x, y, weights=True, at=blocks[:1])}

    at_input = found["values", INPUT]
    np.testing.assert_allclose(at_input.norm, np.linalg.norm(values.reshape(4, 3, -1), axis=2), rtol=1e-4, atol=1e-7)
    whole = values.sum(0).reshape(3, -1)
    np.testing.assert_allclose(at_input.whole, np.linalg.norm(whole, axis=1), rtol=1e-4)
    share = np.einsum("kei,ei->ke", values.reshape(4, 3, -1), whole) / (whole**2).sum(1)
    np.testing.assert_allclose(at_input.share, share, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(at_input.share.sum(0), 1, rtol=1e-5)
    rest = [np.linalg.norm(values[k + 1 :].sum(0).reshape(3, -1), axis=1) for k in range(4)]
    np.testing.assert_allclose(at_input.rest, rest / np.linalg.norm(whole, axis=1), rtol=1e-3, atol=1e-5)
    assert at_input.error.max() < {"float32": 1e-5, "float64": 1e-12}[precision]

    named = [link.name for link in Spectrum(model).chain if link.trainable_variables]
    for name in named:
        parts = found["weights", name]
        expected = [np.linalg.norm(weights[name].get(k, np.zeros(1))) for k in range(len(parts.norm))]
        np.testing.assert_allclose(parts.norm[:, 0], expected, rtol=1e-3, atol=1e-6 * max(expected), err_msg=name)
        # Gradients of float32 weights are rounded to that.
        assert parts.error.max() < {"float32": 1e-4, "float64": 1e-7}[precision]
    assert {key for key in found if key[0] == "values"} == {("values", INPUT), ("values", blocks[0])}


def test_at_a_block_the_parts_are_those_of_the_network_behind_it(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    x, y = images
    name = model.blocks[0].name
    found = {p.at: p for p in Spectrum(model).exact(x, y, at=[name])}
    h = model.features(x)
    behind = kr.ResidualNetwork([link.rewrap() for link in model.chain[2:]], tuple(model.blocks[0].output.shape[1:]))
    entry = model.blocks[0](model.chain[0](x))
    [expected] = Spectrum(behind).exact(np.asarray(entry), y)
    assert "stem" in h
    np.testing.assert_allclose(found[name].norm, expected.norm, rtol=1e-4)


def test_probabilities_logits_and_one_hot_labels_give_the_same_gradient(tiny, images, scramble):
    x, y = images
    parts = []
    for activation, labels in (("softmax", y), (None, y), ("softmax", np.eye(5)[y])):
        keras.utils.set_random_seed(0)
        [found] = Spectrum(scramble(kr.build(tiny, classifier_activation=activation))).exact(x, labels)
        parts.append(found.norm)
    np.testing.assert_allclose(parts[1], parts[0], rtol=1e-3)
    np.testing.assert_array_equal(parts[2], parts[0])


def test_parts_that_do_not_sum_to_the_gradient_are_an_error(tiny, images, monkeypatch):
    spectrum = Spectrum(kr.build(tiny))
    original = spectrum.whole
    monkeypatch.setattr(spectrum, "whole", lambda *a: (lambda p, w, t: (p, [1.001 * w[0], *w[1:]], t))(*original(*a)))
    with pytest.raises(ArithmeticError, match="miss it by"):
        list(spectrum.exact(*images))


def test_a_gradient_that_is_not_finite_has_no_parts(tiny, images):
    model = kr.build(tiny)
    model.blocks[0].residual.get_layer("bn1").gamma.assign([np.inf] * 4)
    with pytest.raises(FloatingPointError, match="not finite"):
        list(Spectrum(model).exact(*images))


def test_norms_of_long_paths_do_not_vanish(tiny, images):
    """Residual branches of 1e-9 give gradients of 1e-27 along the longest path, whose squares no float32 holds."""
    model = kr.build(tiny, placement="pre")
    [before] = Spectrum(model).exact(*images)
    for block in model.blocks:
        kernel = block.residual.get_layer("conv2").kernel
        kernel.assign(kernel * 1e-9)
    [found] = Spectrum(model).exact(*images)
    [double] = Spectrum(model, "float64").exact(*images)
    np.testing.assert_allclose(found.norm, double.norm, rtol=1e-3)
    assert 0 < found.norm[3].max() < 1e-24 * before.norm[3].max()


def test_networks_of_reduced_precision_are_computed_in_full(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = kr.build(tiny)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    assert half.blocks[0].compute_dtype == "float16"
    for precision in ("float32", "float64"):
        [expected], [found] = (list(Spectrum(m, precision).exact(*images)) for m in (model, half))
        np.testing.assert_allclose(found.norm, expected.norm, rtol=1e-5)
    # With the weights that they have now.
    half.set_weights([0.5 * w for w in model.get_weights()])
    assert not np.allclose(next(Spectrum(half).exact(*images)).norm, expected.norm)


def test_draws_are_even_over_paths_of_a_length(tiny, images):
    from scipy.stats import chisquare

    model = kr.build("resnet26", (8, 8, 1), 5)  # 12 blocks
    edited = kr.unskip(kr.delete(model, [1, 3, 4, 5, 6, 7, 8]), [2])
    gates = Paths(edited).draw(3000, 10, np.random.default_rng(0)).transpose(0, 2, 1).reshape(-1, 12)
    assert gates[:, 2].all()
    assert not gates[:, [1, 3, 4, 5, 6, 7, 8]].any()
    free = gates[:, [0, 9, 10, 11]]
    for k in range(5):
        found = np.unique(free[free.sum(1) == k], axis=0, return_counts=True)[1]
        assert len(found) == math.comb(4, k)
        assert sum(found) == 3000
        assert len(found) == 1 or chisquare(found).pvalue > 1e-3
    assert np.exp(Paths(edited).log_counts()).round().tolist() == [1, 4, 6, 4, 1]
    assert Paths(edited).all.tolist() == [1, 2, 3, 4, 5]


def test_shortest_run_and_needed_length():
    import pandas as pd

    rng = np.random.default_rng(0)
    for _ in range(50):
        shares = rng.random(rng.integers(1, 12)) ** 4 + 1e-9
        lengths = np.arange(len(shares)) + 3
        low, high = shortest_run(lengths, shares)
        runs = [(j - i, i) for i in range(len(shares)) for j in range(i, len(shares))]
        enough = [(w, i) for w, i in runs if shares[i : i + w + 1].sum() >= 0.95 * shares.sum()]
        assert high - low == min(enough)[0]
        assert shares[low - 3 : high - 2].sum() >= 0.95 * shares.sum() * (1 - 1e-12)
    rows = pd.DataFrame({"length": [0, 1, 2, 3], "rest": [1.0, 0.2, 0.04, 0.0]})
    assert needed_length(rows) == 2
