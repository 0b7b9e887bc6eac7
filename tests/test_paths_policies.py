"""Path policies against closed forms and counts; gated networks and training steps against edited networks."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.network_families import FAMILIES
from helpers.path_training import equal, fit, one_on
from scipy.stats import chisquare

import keras_resnets as kr
from keras_resnets.paths import Bernoulli, DropPath, FixedSize, Policy, Schedule, StochasticDepth, Weighted

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
    draw = tf.autograph.experimental.do_not_convert(lambda step: policy.draw(step, BLOCKS))
    return tf.function(lambda: tf.map_fn(draw, steps, fn_output_signature="bool"), autograph=False)().numpy()


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


def test_examples_are_drawn_apart_and_branches_divided_by_their_chance():
    policy = DropPath(0.5, seed=1)
    weights = np.stack([policy.draw(step, 4, 500) for step in range(40)])
    keep = policy.survival(4)
    for i in range(4):
        on = weights[:, i] > 0
        assert like([on.sum(), (~on).sum()], [keep[i], 1 - keep[i]])
        np.testing.assert_allclose(weights[:, i][on], 1 / keep[i], rtol=1e-6)
    assert len(np.unique(weights[0], axis=1).T) > 4


# Gated networks.


def network(name, scramble):
    variant, overrides = FAMILIES[name]
    return scramble(kr.build(variant, (32, 32, 3), 7, classifier_activation=None, **overrides))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 32, 32, 3)).astype("float32"), rng.integers(0, 7, 3)


def close(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_gate_off_equals_block_deleted(name, scramble, batch):
    model, (x, _) = network(name, scramble), batch
    rng = np.random.default_rng(1)
    for scale, block in zip(rng.uniform(0.3, 1, len(model.blocks)), model.blocks, strict=True):
        block.scale = float(scale)
    close(model.masked(x, np.ones(len(model.blocks), bool)), model(x, training=False))
    gates = rng.random(len(model.blocks)) < 0.5
    gates[:2] = [False, True]
    off = np.flatnonzero(~gates).tolist()
    close(model.masked(x, gates), kr.delete(model, off)(x, training=False))
    # An example at a time: each with gates of its own.
    each = rng.random((len(model.blocks), 3)) < 0.5
    rows = [kr.delete(model, np.flatnonzero(~each[:, i]).tolist())(x[i : i + 1], training=False)[0] for i in range(3)]
    close(model.masked(x, each.astype("float32")), rows)


@pytest.mark.parametrize(
    "name", ["post-activation, option B", "pre-activation, option A", "plain", "pre-activation, option C"]
)
def test_statistics_of_a_branch_that_is_off_stand_still(name, scramble, batch):
    model, (x, _) = network(name, scramble), batch
    gates = np.arange(len(model.blocks)) % 2 == 0
    off = np.flatnonzero(~gates).tolist()
    edited = kr.delete(model, off, copy=True)
    before = {v.path: np.asarray(v) for v in model.weights}
    for block in model.blocks:
        block.scale = 0.5  # not in training: a branch that is on counts whole
    close(model.masked(x, gates, training=True), edited(x, training=True))
    expected = {v.path: np.asarray(v) for v in edited.weights}
    moved = 0
    for v in model.weights:
        np.testing.assert_allclose(v, expected.get(v.path, before[v.path]), rtol=1e-5, atol=1e-6, err_msg=v.path)
        moved += not np.array_equal(v, before[v.path])
    assert moved


class Alarm(keras.layers.Layer):
    """Fails when it is computed."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_max(tf.abs(x)), -1.0)]):
            return tf.identity(x)


def test_a_branch_that_is_off_is_not_computed():
    block = kr.ResidualBlock(keras.Sequential([Alarm()]), keras.layers.Identity(), name="block")
    top = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
    model = kr.ResidualNetwork([block, kr.Segment(top, name="head")], (2, 2, 1))
    x, y = np.ones((4, 2, 2, 1), "float32"), np.zeros(4, int)
    for policy, fails in ((FixedSize(0), False), (FixedSize(1), True)):
        model.compile("sgd", "sparse_categorical_crossentropy", paths=policy)
        if not fails:
            model.train_on_batch(x, y)
        else:
            with pytest.raises(tf.errors.InvalidArgumentError):
                model.train_on_batch(x, y)


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_all_gates_on_equal_plain_training_to_the_bit(tiny, images, placement):
    spec = tiny.replace(placement=placement, dropout=0.3, shortcut="B")
    _, _, plain = fit(spec, images, None)
    _, before, gated = fit(spec, images, FixedSize(3))
    equal(plain, gated)
    assert any(not np.array_equal(before[path], gated[path]) for path in gated)


def test_all_gates_on_equal_plain_training_of_the_digits_to_the_bit(tmp_path):
    data = kr.data.load("digits", validation=0.6, batch_size=64)
    arguments = {"data": data, "epochs": 2, "verbose": 0, "seed": 3}
    plain = kr.train("preresnet20", out=tmp_path / "plain", **arguments)
    gated = kr.train("preresnet20", out=tmp_path / "gated", paths="fixed:9", **arguments)
    for a, b in zip(plain.weights, gated.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    asked = [json.loads((tmp_path / name / "run.json").read_text())["asked"] for name in ("plain", "gated")]
    assert "paths" not in asked[0]
    assert asked[1]["paths"]["config"] == {"blocks": 9, "seed": 3, "rescale": True}


def test_a_step_is_one_of_the_network_without_the_blocks_that_are_off(tiny, images):
    policy, gates = one_on(5)
    model, _, after = fit(tiny, images, policy, steps=1, l2=0.0)
    keras.utils.set_random_seed(4)
    edited = kr.delete(kr.build(tiny), np.flatnonzero(~gates).tolist())
    _, _, expected = fit(edited, images, None, steps=1, l2=0.0)
    on = [block.name for block, gate in zip(model.blocks, gates, strict=True) if gate]
    assert any(on[0] in path for path in expected)
    for path, value in expected.items():
        np.testing.assert_allclose(after[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def test_momentum_runs_out_and_decay_goes_on_where_a_block_is_off(tiny, images):
    """As if its gradient were zero; Huang et al. 2016's code does the same."""
    policy = Schedule(((0, None), (1, FixedSize(0))))
    model, _, once = fit(tiny, images, policy, steps=1)
    velocity = {v.path: np.asarray(v) for v in model.optimizer.variables}
    model.train_on_batch(*images)
    for block in model.blocks:
        for v in block.residual.trainable_variables:
            kept = next(value for path, value in velocity.items() if v.path.replace("/", "_") in path)
            expected = once[v.path] + 0.9 * kept - 0.05 * 1e-3 * once[v.path]
            # Without the decay, a scale of 1 would be off by 5e-5.
            np.testing.assert_allclose(v, expected, rtol=1e-6, atol=1e-8, err_msg=v.path)
        for v in block.residual.non_trainable_variables:
            np.testing.assert_array_equal(v, once[v.path], err_msg=v.path)


def moved_blocks(model, before, after):
    return [
        any(not np.array_equal(before[v.path], after[v.path]) for v in block.residual.trainable_variables)
        for block in model.blocks
    ]


def test_batches_that_are_accumulated_share_their_blocks(tiny, images):
    policy, gates = one_on(6)
    others = {tuple(policy.draw(step, 3).numpy()) for step in range(1, 4)}
    assert tuple(gates) not in others or len(others) > 1
    for steps in (2, 4):
        optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=2)
        model, before, after = fit(tiny, images, policy, steps=steps, optimizer=optimizer)
        chosen = np.any([policy.draw(step, 3).numpy() for step in range(steps // 2)], axis=0)
        assert moved_blocks(model, before, after) == chosen.tolist()


def test_mixed_precision(tiny, images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        policy, gates = one_on(7)
        optimizer = keras.optimizers.SGD(0.05)
        model, before, after = fit(tiny, images, policy, steps=1, optimizer=optimizer)
        assert model.blocks[0].compute_dtype == "float16"
        assert moved_blocks(model, before, after) == gates.tolist()
        _, _, plain = fit(tiny, images, None)
        _, _, gated = fit(tiny, images, FixedSize(3))
        equal(plain, gated)
    finally:
        keras.config.set_dtype_policy("float32")


def test_run_eagerly_is_the_same_training(tiny, images):
    _, _, graph = fit(tiny, images, FixedSize(2))
    _, _, eager = fit(tiny, images, FixedSize(2), run_eagerly=True)
    for path in graph:
        np.testing.assert_allclose(eager[path], graph[path], rtol=1e-4, atol=1e-6, err_msg=path)


REPLICAS = """
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, keras_resnets as kr

spec = kr.Spec("tiny", (kr.Stage(3, (4, 4)), kr.Stage(3, (8, 8), stride=2)), (8, 8, 1), 5, stem_width=4)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(6, 4, 8, 8, 1)).astype("float32"), rng.integers(0, 5, (6, 4))

def train(strategy, copies):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = kr.build(spec)
        model.compile(kr.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy", paths=kr.paths.FixedSize(2))
    inputs, labels = (np.concatenate([np.concatenate([b] * copies) for b in a]) for a in (x, y))
    model.fit(inputs, labels, batch_size=4 * copies, epochs=2, shuffle=False, verbose=0)
    return [np.asarray(v) for v in model.trainable_variables]

one = train(tf.distribute.get_strategy(), 1)
# The two replicas get the same four images: with the same blocks, their mean gradient is that of one.
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), 2)
print(max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(one, two)))
"""


def test_replicas_draw_alike():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", REPLICAS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-4


def test_a_run_that_was_stopped_draws_what_it_would_have_drawn(tmp_path, tiny):
    data = kr.data.load("digits", validation=0.6, batch_size=64)
    spec = tiny.replace(classes=10)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    arguments = {"data": data, "epochs": 3, "verbose": 0, "paths": StochasticDepth(0.3), "seed": 2}
    whole = kr.train(spec, out=tmp_path / "whole", **arguments)
    with pytest.raises(KeyboardInterrupt):
        kr.train(spec, out=tmp_path / "stopped", callbacks=[Stop()], **arguments)
    again = kr.train(spec, out=tmp_path / "stopped", **arguments)
    for a, b in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.paths == StochasticDepth(0.3, seed=2)
    assert [block.scale for block in again.blocks] == pytest.approx(StochasticDepth(0.3).survival(3))


# What is saved and exported.


@pytest.mark.parametrize(
    "policy", [*POLICIES[:1], *POLICIES[4:5], POLICIES[7], DropPath(0.2)], ids=lambda p: type(p).__name__
)
def test_policies_survive_saving(policy, tmp_path):
    model = kr.build("preresnet14", (8, 8, 1), 5)
    x, y = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32"), np.arange(4)
    model.compile(kr.optimizers.SGD(0.01, 0.9), "sparse_categorical_crossentropy", paths=policy)
    model.train_on_batch(x, y)
    model.save(tmp_path / "net.keras")
    loaded = kr.load_model(tmp_path / "net.keras")
    assert loaded.paths == policy
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for network in (model, loaded):
        network.train_on_batch(x, y)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(policy)))
    assert keras.saving.deserialize_keras_object(config) == policy


def test_survival_scales_the_branches_outside_training(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    model.compile("sgd", "sparse_categorical_crossentropy", paths=StochasticDepth(0.4))
    x, scales = images[0], [0.8, 0.6, 0.4]
    h = model.chain[0](x)
    for block, scale in zip(model.blocks, scales, strict=True):
        h = keras.ops.relu(scale * block.residual(h) + block.shortcut(h))
    close(model.predict(x, verbose=0), model.chain[-1](h))
    # So a lesion study sees it, and an edited network keeps it.
    edited = kr.delete(model, 1)
    assert [block.scale for block in edited.blocks] == pytest.approx(scales)
    rows = kr.studies.lesion(model, images).rows
    p = edited.predict(x, verbose=0)
    assert rows["loss"][1] == pytest.approx(-np.log(p[range(12), images[1]]).mean(), rel=1e-4)


def test_a_schedule_scales_as_its_phase_does(tiny, images, tmp_path):
    model = kr.build(tiny)
    policy = Schedule(((0, FixedSize(3)), (2, Bernoulli(0.5))))
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", paths=policy)
    model.train_on_batch(*images)
    first = model.predict(images[0], verbose=0)
    assert [block.scale for block in model.blocks] == [1, 1, 1]
    close(first, model(images[0], training=False))
    model.train_on_batch(*images)
    second = model.predict(images[0], verbose=0)
    assert [block.scale for block in model.blocks] == [0.5, 0.5, 0.5]
    close(second, model(images[0], training=False))
    assert np.abs(first - second).max() > 1e-3
    # Whether or not anything was measured since the phase began.
    model = kr.build(tiny)
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", paths=policy)
    for _ in range(2):
        model.train_on_batch(*images)
    model.save(tmp_path / "net.keras")
    assert [block.scale for block in kr.load_model(tmp_path / "net.keras").blocks] == [0.5, 0.5, 0.5]
    model = kr.build(tiny)
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", paths=policy)
    model.fit(*images, batch_size=6, verbose=0)
    assert [block.scale for block in model.blocks] == [0.5, 0.5, 0.5]


def operations(model, tmp_path):
    """Kinds of operations in the SavedModel and in the LiteRT file."""
    kr.export.saved_model(model, tmp_path / model.name, calls=0)
    loaded = tf.saved_model.load(str(tmp_path / model.name))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def test_exports_have_no_control_flow(tiny, images, tmp_path, capfd):
    plain, trained = kr.build(tiny, name="plain"), kr.build(tiny, name="trained")
    trained.compile("sgd", "sparse_categorical_crossentropy", paths=StochasticDepth(0.5))
    trained.train_on_batch(*images)
    kinds = operations(trained, tmp_path)
    assert kinds <= operations(plain, tmp_path) | {"Mul"}
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "trained"))
    content = converter.convert()
    capfd.readouterr()
    tf.lite.experimental.Analyzer.analyze(model_content=content)
    told = capfd.readouterr().out
    assert "CONV_2D" in told
    assert not [word for word in ("IF(", "WHILE(", "Flex") if word in told]


def test_the_base_class_says_what_a_policy_must_say():
    with pytest.raises(NotImplementedError):
        Policy().survival(3)
