"""Networks with blocks off against networks edited: in a forward pass, outside of training, in an export."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.network_families import FAMILIES

import keras_resnets as kr
from keras_resnets.paths import Bernoulli, FixedSize, Schedule, StochasticDepth


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
