"""Path policies: their draws against closed forms and counts, and that they are saved with a network."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chisquare

import keras_resnets as kr
from keras_resnets.paths import Bernoulli, DropPath, FixedSize, Policy, Schedule, StochasticDepth, Weighted
from keras_resnets.paths.draws import uniform

POLICIES = [
    FixedSize(3),
    FixedSize(0),
    Bernoulli(0.3),
    Bernoulli((1.0, 0.0, 0.5, 0.9, 0.2, 0.7)),
    StochasticDepth(0.5),
    StochasticDepth(0.2, "uniform"),
    Weighted(2, (1.0, 2.0, 3.0, 4.0, 5.0, 60.0)),
    Schedule(((0, None), (10, StochasticDepth(0.4)))),
]


BLOCKS, FIRST = 6, 10  # the schedule's last phase begins at step 10


def drawn(policy, count=100_000):
    """Gates of many steps, (steps, blocks)."""
    steps = tf.range(FIRST, FIRST + count, dtype="int64")
    return tf.function(
        lambda: tf.vectorized_map(lambda step: policy.draw(step, BLOCKS), steps), autograph=False
    )().numpy()


def like(counts, probabilities):
    """Whether counts may come from a distribution, by chi-squared; outcomes of chance 0 must not occur."""
    counts, expected = np.asarray(counts), np.asarray(probabilities) * np.sum(counts)
    never = np.isclose(expected, 0)
    assert not counts[never].any()
    often = expected >= 5
    counts = [*counts[often], counts[~often].sum()]
    expected = [*expected[often], expected[~often].sum()]
    if expected[-1] < 5:
        counts, expected = counts[:-1], expected[:-1]
    return len(counts) < 2 or chisquare(counts, np.array(expected) * np.sum(counts) / np.sum(expected)).pvalue > 1e-3


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: type(p).__name__)
def test_draws_follow_the_closed_forms(policy):
    gates = drawn(policy)
    on = gates.sum(1)
    for i, chance in enumerate(policy.survival(BLOCKS)):
        assert like([gates[:, i].sum(), (~gates[:, i]).sum()], [chance, 1 - chance]), i
    assert like(np.bincount(on, minlength=BLOCKS + 1), policy.active_blocks(BLOCKS))
    # A path of the network drawn: each of its branches, or the skip, with a coin.
    lengths = np.random.default_rng(0).binomial(on, 0.5)
    assert like(np.bincount(lengths, minlength=BLOCKS + 1), policy.path_lengths(BLOCKS))


def test_every_set_of_a_fixed_size_is_drawn_alike():
    sets = drawn(FixedSize(3)) @ 2 ** np.arange(BLOCKS)
    counts = np.bincount(sets, minlength=64)[[i for i in range(64) if i.bit_count() == 3]]
    assert len(counts) == 20
    assert counts.sum() == 100_000
    assert chisquare(counts).pvalue > 1e-3


def test_numbers_of_the_papers():
    """papers.md, sections 4.3 and 7: Veit et al.'s 23 of 54, and expected depths of stochastic depth."""
    lengths = FixedSize(23).path_lengths(54)
    assert lengths @ np.arange(55) == pytest.approx(11.5)
    full = FixedSize(54).path_lengths(54)
    assert full[19:36].sum() == pytest.approx(0.980, abs=5e-4)
    assert full[5:18].sum() == pytest.approx(0.004537, abs=5e-7)
    for blocks, depth in {54: 40.25, 600: 449.75, 50: 37.25, 75: 56}.items():
        assert StochasticDepth(0.5).active_blocks(blocks) @ np.arange(blocks + 1) == pytest.approx(depth)
    assert StochasticDepth(0.5).survival(4).tolist() == [0.875, 0.75, 0.625, 0.5]
    assert DropPath(0.3).survival(4) == pytest.approx([1, 0.9, 0.8, 0.7])


def test_draws_are_a_function_of_seed_and_step():
    def gates(seed, step):
        keras.random.normal((3,))  # other draws change nothing
        return FixedSize(10, seed=seed).draw(step, 20).numpy().tolist()

    table = {(seed, step): gates(seed, step) for seed in range(5) for step in range(20)}
    assert all(gates(*key) == value for key, value in table.items())
    assert len({tuple(value) for value in table.values()}) == 100
    assert FixedSize(10).draw(3, 20).numpy().tolist() == table[0, 3]


@pytest.mark.parametrize("compiled", [False, True])
def test_draws_are_philoxs_whether_xla_compiles_them_or_not(compiled):
    """TensorFlow's own Philox is the oracle; runs of earlier versions drew with it, through Keras."""
    for seed, stream in ((5, 3),):
        word = np.random.SeedSequence([seed, 0x70617468]).generate_state(1)[0] >> 1
        draw = tf.function(
            functools.partial(uniform, (3, 7), seed, stream=stream), jit_compile=compiled, autograph=False
        )
        for step in (0, 1, 10**6, 2**31 - 3):
            expected = tf.random.stateless_uniform((3, 7), [word + stream, step], alg="philox")
            np.testing.assert_array_equal(draw(step=tf.constant(step, "int64")), expected)
    for policy in (FixedSize(2), DropPath(0.5)):
        gates = tf.function(functools.partial(policy.draw, blocks=4, examples=5), jit_compile=compiled, autograph=False)
        for step in (0, 7):
            np.testing.assert_array_equal(gates(tf.constant(step)), policy.draw(step, 4, 5))


def test_draws_of_a_run_stay_what_they_were():
    assert np.round(uniform((3,), 0, 7), 4).tolist() == pytest.approx([0.4688, 0.7404, 0.1050])
    assert np.flatnonzero(FixedSize(3, seed=3).draw(7, 10)).tolist() == [5, 7, 9]


def test_examples_are_drawn_apart_and_branches_divided_by_their_chance():
    policy = DropPath(0.5, seed=1)
    weights = np.stack([policy.draw(step, 4, 500) for step in range(40)])
    keep = policy.survival(4)
    for i in range(4):
        on = weights[:, i] > 0
        assert like([on.sum(), (~on).sum()], [keep[i], 1 - keep[i]])
        np.testing.assert_allclose(weights[:, i][on], 1 / keep[i], rtol=1e-6)
    assert len(np.unique(weights[0], axis=1).T) > 4


@pytest.mark.parametrize(
    "policy", [*POLICIES[:1], *POLICIES[4:5], POLICIES[7], DropPath(0.2)], ids=lambda p: type(p).__name__
)
def test_policies_survive_saving(policy, tmp_path):
    model = kr.build("preresnet14", (8, 8, 1), 5)
    x, y = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32"), np.arange(4)
    # Not traced, for the sake of time: what is saved is the same.
    model.compile(kr.optimizers.SGD(0.01, 0.9), "sparse_categorical_crossentropy", paths=policy, run_eagerly=True)
    model.train_on_batch(x, y)
    model.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    loaded.run_eagerly = True
    assert loaded.paths == policy
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for network in (model, loaded):
        network.train_on_batch(x, y)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(policy)))
    assert keras.saving.deserialize_keras_object(config) == policy


def test_the_base_class_says_what_a_policy_must_say():
    with pytest.raises(NotImplementedError):
        Policy().survival(3)
