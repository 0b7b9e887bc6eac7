"""The loss of each pixel against NumPy."""

import keras
import numpy as np
import pytest
from helpers.pixels import some_labels, some_probabilities

import keras_resnets as kr

RNG = np.random.default_rng(0)


def own(probabilities, labels):
    """Probability of the class of each pixel that has one, by loops."""
    places = (place for place in np.ndindex(labels.shape) if labels[place] != 255)
    return np.array([float(probabilities[place][labels[place]]) for place in places])


def test_loss_at_the_output_takes_the_label_in_the_middle():
    # Stride 8: labels at rows and columns 4, 12, 20 (papers.md 5.5).
    probabilities, labels = some_probabilities(2, 3, 4, 5), some_labels(2, 24, 32)
    expected = -np.log(own(probabilities, labels[:, 4::8, 4::8])).mean()
    for given in (labels, labels[..., None], labels.astype("uint8")):
        assert float(kr.segmentation.PixelLoss()(given, probabilities)) == pytest.approx(expected, rel=1e-5)
    changed = labels.copy()
    changed[:, 5::8], changed[:, :, 3::8] = 0, 0
    assert float(kr.segmentation.PixelLoss()(changed, probabilities)) == pytest.approx(expected, rel=1e-5)


def test_loss_at_the_output_of_a_size_that_the_stride_does_not_divide():
    # 20 rows under 3 of a map: a step of 7, labels at rows 3, 10, 17; the last place stays within the labels.
    probabilities, labels = some_probabilities(1, 3, 3, 5), some_labels(1, 20, 15)
    expected = -np.log(own(probabilities, labels[:, [3, 10, 17]][:, :, [2, 7, 12]])).mean()
    assert float(kr.segmentation.PixelLoss()(labels, probabilities)) == pytest.approx(expected, rel=1e-5)


def test_loss_at_the_input_interpolates_logits():
    logits = np.log(some_probabilities(2, 3, 4, 5).astype("float64"))
    labels = some_labels(2, 24, 32)
    places = [np.clip((np.arange(n) + 0.5) / 8 - 0.5, 0, n // 8 - 1) for n in (24, 32)]
    low = [np.minimum(np.floor(p).astype(int), n - 2) for p, n in zip(places, (3, 4), strict=True)]
    share = [p - floor for p, floor in zip(places, low, strict=True)]
    down, right = share[0][:, None, None], share[1][:, None]
    rows = (1 - down) * logits[:, low[0]] + down * logits[:, low[0] + 1]
    large = np.exp((1 - right) * rows[:, :, low[1]] + right * rows[:, :, low[1] + 1])
    expected = -np.log(own(large / large.sum(-1, keepdims=True), labels)).mean()
    loss = kr.segmentation.PixelLoss(at="input")
    assert float(loss(labels, np.exp(logits).astype("float32"))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at", ["output", "input"])
def test_a_network_that_is_sure_and_wrong_still_learns(at):
    # Its probabilities have become 0 and 1 in single precision; its logits have not.
    source = keras.Input((4, 4, 3))
    scores = keras.layers.Conv2D(
        3, 1, kernel_initializer="zeros", bias_initializer=lambda *_, **__: np.array([300.0, 0, 0])
    )
    model = keras.Model(source, keras.layers.Activation("softmax")(scores(source)))
    model.compile(keras.optimizers.SGD(1.0), kr.segmentation.PixelLoss(at=at))
    model.train_on_batch(np.zeros((1, 4, 4, 3), "float32"), np.ones((1, 4, 4), "int32"))
    np.testing.assert_allclose(np.asarray(scores.bias), [299, 1, 0], atol=1e-4)


@pytest.mark.parametrize(("hardest", "least"), [(0.2, 1), (0.05, 10), (0.05, 40), (0.2, 10_000)])
def test_hard_pixels_are_those_below_the_threshold_and_at_least_so_many(hardest, least):
    probabilities, labels = some_probabilities(2, 6, 8, 5), some_labels(2, 6, 8)
    ranked = np.sort(own(probabilities, labels))
    kept = ranked[: max((ranked <= hardest).sum(), min(least, len(ranked)))]
    loss = kr.segmentation.PixelLoss(hardest, least)
    assert float(loss(labels, probabilities)) == pytest.approx(-np.log(kept).mean(), rel=1e-5)
    assert len(kept) in ((ranked <= hardest).sum(), least, len(ranked))


def test_gradient_of_the_loss_is_that_of_the_pixels_that_count():
    import tensorflow as tf

    labels, logits = some_labels(1, 4, 4), tf.Variable(RNG.normal(size=(1, 4, 4, 5)).astype("float32"))
    with tf.GradientTape() as tape:
        probabilities = tf.nn.softmax(logits)
        loss = kr.segmentation.PixelLoss(0.2, 3)(labels, probabilities)
    gradient, p = np.asarray(tape.gradient(loss, logits)), np.asarray(probabilities)
    true = np.take_along_axis(p, np.where(labels == 255, 0, labels)[..., None], -1)[..., 0]
    kept = (labels != 255) & (true <= max(0.2, np.sort(true[labels != 255])[2]))
    expected = (p - np.eye(5)[np.where(labels == 255, 0, labels)]) * kept[..., None] / kept.sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_a_batch_without_a_class_has_no_loss():
    labels = np.full((1, 4, 4), 255)
    for loss in (kr.segmentation.PixelLoss(), kr.segmentation.PixelLoss(0.6, 4)):
        assert float(loss(labels, some_probabilities(1, 4, 4, 5))) == 0
