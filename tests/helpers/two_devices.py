"""Trainings on two virtual devices beside those on one, in a process of their own: prints what was found as JSON."""

import json
import os
import sys
import tempfile

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras
import numpy as np

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.training.devices import Team

SPEC = kr.Spec("tiny", (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4, dropout=0.2)


def train(devices, out=None, **fields):
    """The run directory and the weights of a training of 20 steps; the 397 test images are of an odd number."""
    out = out or tempfile.mkdtemp()
    how = {"data": kr.data.load("digits", validation=0.6), "epochs": 2, "seed": 1, "verbose": 0, **fields}
    recipe = kr.recipes.get("digits").replace(batch_size=56, class_weight="balanced")
    model = kr.train(SPEC, recipe=recipe, out=out, execution=kr.Execution(devices=devices), **how)
    return out, [keras.ops.convert_to_numpy(v) for v in model.weights], model


def distance(one, other):
    """The largest difference of weights, as a share of the largest of their variable where that is above 1."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a.dtype == "float32"]
    return max(float(np.abs(a - b).max()) / max(1.0, float(np.abs(a).max())) for a, b in pairs)


def record(out):
    with open(os.path.join(out, "run.json")) as file:
        return json.load(file)


def refusal(**fields):
    try:
        Team.of(kr.Execution(**fields))
    except ArgumentError as error:
        return str(error)
    return None


def run(paths):
    """A training on one device, on two, and begun on two and ended on one."""
    one, weights, _ = train(1, paths=paths)
    two, others, model = train("all", paths=paths)
    mixed, _, _ = train(2, paths=paths, until=1)
    _, ended, _ = train(1, mixed, paths=paths)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype("float32")
    answers = [keras.ops.convert_to_numpy(kr.load_model(out).predict(images, verbose=0)) for out in (one, two)]
    return {
        "moved": distance(weights, [keras.ops.convert_to_numpy(v) for v in kr.build(SPEC).weights]),
        "two": distance(weights, others),
        "ended": distance(weights, ended),
        "returned": float(np.abs(keras.ops.convert_to_numpy(model.predict(images, verbose=0)) - answers[0]).max()),
        "answers": float(np.abs(answers[0] - answers[1]).max()),
        "results": [record(out)["results"] for out in (one, two)],
        "devices": [[entry["devices"] for entry in record(out)["execution"]] for out in (one, two, mixed)],
        "history": [open(os.path.join(out, "history.csv")).read() for out in (one, two)],
    }


def replicas():
    """What TensorFlow's replicas compute of their parts of a batch, beside the whole."""
    import tensorflow as tf

    strategy = Team.of(kr.Execution(devices=2)).strategy
    policy = kr.paths.DropPath(0.5, seed=3)
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), (4, 5, 5)).astype("float32")
    labels = rng.choice([0, 1, 2, 255], (4, 5, 5), p=[0.1, 0.1, 0.1, 0.7])

    def parts(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(array, 2)[context.replica_id_in_sync_group])
        )

    def together(function, *arrays):
        return strategy.experimental_local_results(
            tf.function(lambda: strategy.run(function, args=tuple(parts(array) for array in arrays)))()
        )

    whole = policy.draw(7, 4, 6)
    drawn = together(lambda x: policy.draw(tf.constant(7), 4, tf.shape(x)[0]), np.zeros((6, 1)))
    losses = {}
    for hardest, least in ((None, 1), (0.2, 1), (0.01, 9), (0.01, 99)):
        loss = kr.segmentation.PixelLoss(hardest, least)
        # A replica's part of a loss is scaled for the sum; the metric takes it times the number of replicas.
        losses[f"{hardest}, {least}"] = [
            float(loss(labels, scores)),
            float(sum(together(lambda y, p, loss=loss: loss(y, p), labels, scores))),
        ]
    return {"drawn": bool(np.array_equal(np.concatenate(drawn, axis=1), whole)), "losses": losses}


if __name__ == "__main__":
    tensorflow = keras.config.backend() == "tensorflow"
    if tensorflow:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    found = {
        "refusals": [refusal(devices=3), refusal(devices=2, jit=True), refusal(devices=2, steps_per_execution=2)],
        "run": run(sys.argv[1]),
    }
    print(json.dumps(found | (replicas() if tensorflow else {})))
