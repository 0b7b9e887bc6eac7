"""Training steps by a path policy against those of networks edited, in one process, in replicas, and after a stop."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.path_training import equal, fit, one_on

import keras_resnets as kr
from keras_resnets.paths import FixedSize, StochasticDepth


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
