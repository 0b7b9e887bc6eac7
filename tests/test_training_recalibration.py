"""Statistics of batch-norm taken anew, against NumPy."""

import keras
import numpy as np
import pytest

import keras_resnets as kr

pytestmark = pytest.mark.backends


@pytest.fixture
def normalised(scramble):
    """Batch-norm of both kinds, with dropout between, one frozen and one not trainable."""
    keras.utils.set_random_seed(0)
    bn = keras.layers.BatchNormalization
    steps = [
        keras.layers.Conv2D(4, 3, name="conv1"),
        kr.layers.BatchNorm(name="bn1"),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Conv2D(3, 3, name="conv2"),
        bn(name="bn2", momentum=0.7),
        kr.layers.BatchNorm(name="bn3", frozen=True),
        bn(name="bn4", trainable=False),
        keras.layers.GaussianDropout(0.5, name="noise"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, name="dense"),
        bn(name="bn5"),
    ]
    return scramble(keras.Sequential([keras.Input((6, 6, 2)), *steps]))


def test_statistics_are_those_of_numpy(normalised):
    x = np.random.default_rng(0).normal(2, 3, size=(10, 6, 6, 2)).astype("float32")
    before = {v.path: np.asarray(v) for v in normalised.weights}
    noted = {name: [] for name in ("bn1", "bn2", "bn5")}
    for part in (x[:6], x[6:]):
        h = part
        for layer in normalised.layers:
            if "bn" in layer.name:
                h = np.asarray(h, "float64")
                axes = tuple(range(h.ndim - 1))
                if layer.name in noted:
                    mean, variance = h.mean(axes), h.var(axes)
                    noted[layer.name].append((len(part), mean, variance))
                else:
                    mean, variance = (np.asarray(v) for v in (layer.moving_mean, layer.moving_variance))
                h = (h - mean) / np.sqrt(variance + layer.epsilon) * np.asarray(layer.gamma) + np.asarray(layer.beta)
                h = h.astype("float32")
            else:
                h = layer(h, training=False) if "drop" in layer.name or layer.name == "noise" else layer(h)
    assert kr.recalibrate(normalised, (x, None), batch_size=6) == 10
    after = {v.path: np.asarray(v) for v in normalised.weights}
    for name, batches in noted.items():
        mean = sum(n * m for n, m, _ in batches) / 10
        variance = sum(n * (v + m**2) for n, m, v in batches) / 10 - mean**2
        for statistic, expected in (("moving_mean", mean), ("moving_variance", variance)):
            path = next(path for path in after if path.endswith(f"{name}/{statistic}"))
            np.testing.assert_allclose(after.pop(path), expected, rtol=2e-4, atol=1e-5)
    for path, value in after.items():
        if "seed_generator" not in path:
            np.testing.assert_array_equal(value, before[path], err_msg=path)
    layers = {layer.name: layer for layer in normalised.layers}
    assert (layers["bn1"].momentum, layers["bn2"].momentum) == (0.9, 0.7)
    assert (layers["drop"].rate, layers["noise"].rate) == (0.5, 0.5)


def test_statistics_read_so_many_batches_and_survive_an_error(normalised):
    x = np.random.default_rng(0).normal(size=(10, 6, 6, 2)).astype("float32")
    one = keras.models.clone_model(normalised)
    one.set_weights(normalised.get_weights())
    assert kr.recalibrate(normalised, (x, None), batches=2, batch_size=3) == 6
    kr.recalibrate(one, (x[:6], None), batch_size=3)
    for a, b in zip(one.weights, normalised.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    before = normalised.get_weights()

    class Broken:
        def rebatch(self, rows):
            return self

        def as_numpy_iterator(self):
            yield x[:4]
            raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        kr.recalibrate(normalised, Broken())
    for old, new in zip(before, normalised.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert normalised.layers[1].momentum == 0.9


def test_of_a_data_set_the_training_split_gives_the_statistics(digits):
    model = kr.build("resnet8", (8, 8, 1))
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    assert kr.recalibrate(model, digits) == 256
    images = digits._splits["train"].images
    kr.recalibrate(other, ((images.astype("float32") - digits._mean) / digits._std, None))
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
