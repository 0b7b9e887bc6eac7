"""What enters a measurement is checked at one door: `data.batches`."""

import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr
from keras_resnets.data.batches import batches, class_labels, pixel_labels
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.energy import measure

X, Y = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32"), np.arange(6) % 2
SHAPE = (8, 8, 1)


def of(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])


WRONG = {
    "no channels": ((X[..., 0], Y), r"\(8, 8, 1\).*got \(8, 8\).*x\[\.\.\., None\]"),
    "channels first": ((np.moveaxis(X, -1, 1), Y), r"got \(1, 8, 8\).*np\.moveaxis"),
    "another size": ((X[:, :7], Y), r"got \(7, 8, 1\)"),
    "text": ((np.array(["a"] * 6), Y), r"inputs must be numbers; got \['a'\] of type <U1"),
    "NaN": ((np.where(X > 1, np.nan, X), Y), "inputs must be finite"),
    "text as labels": ((X, np.array(["cat", "dog"] * 3)), r"labels must be numbers; got \['cat'\]"),
    "NaN as a label": ((X, np.where(Y, np.nan, 0.0)), "labels must be finite"),
    "label -1": ((X, Y - 1), "from 0 to 1.*got -1"),
    "label 2": ((X, Y + 1), "from 0 to 1.*got 2"),
    "half a label": ((X, Y / 2), r"whole numbers from 0 to 1.*got 0\.5"),
    "several labels": ((X, np.ones((6, 2), int)), r"one-hot.*got \[1, 1\]"),
    "shares": ((X, np.full((6, 2), 0.5)), r"one-hot.*got \[0\.5, 0\.5\]"),
    "rows of another length": ((X, np.eye(3)[Y]), r"one-hot rows of 2.*\(4, 3\)"),
    "masks": ((X, np.zeros((6, 8, 8), int)), r"a class number for each example.*\(4, 8, 8\)"),
    "too few labels": ((X, Y[:5]), "6 inputs and 5 labels"),
    "three parts": ((X, Y, Y), "pairs.*got 3 parts"),
    "endless": (of(X, Y).batch(2).repeat(), "must end"),
    "single images": (of(X, Y), r"Batch it: data\.batch\(32\)"),
    "batches without channels": (of(X[..., 0], Y).batch(2), r"\(8, 8, 1\).*got \(8, 8\)"),
    "weights of samples": (of(X, Y, Y).batch(2), "pairs.*got 3 parts"),
    "a dictionary": (of({"image": X, "label": Y}).batch(2), "a dictionary of 'image', 'label'"),
    "inputs in a dictionary": (of({"image": X}, Y).batch(2), "2 parts, one of them a dictionary of 'image'"),
    "a list": ([X, Y], "got list"),
    "nothing": ((X[:0], Y[:0]), "at least one example"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case):
    data, sentence = WRONG[case]
    with pytest.raises(ArgumentError, match=sentence):
        list(batches(data, 4, shape=SHAPE, classes=2))


RIGHT = {
    "arrays": (X, Y),
    "labels in a column": (X, Y[:, None]),
    "whole numbers as floats": (X, Y.astype("float32")),
    "truth values": (X, Y.astype(bool)),
    "one-hot rows": (X, np.eye(2)[Y]),
    "lists": (X.tolist(), Y.tolist()),
    "tf.data": of(X, Y).batch(4),
    "tf.data of a known end": of(X, Y).batch(6).repeat(1),
    "tf.data of unknown shapes": tf.data.Dataset.from_generator(
        lambda: iter([(X, Y)]), output_signature=(tf.TensorSpec(None), tf.TensorSpec(None, tf.int64))
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_read(case):
    read = list(batches(RIGHT[case], 4, shape=(8, None, 1), classes=2))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in read]).astype("float32"), X)
    np.testing.assert_array_equal(np.concatenate([class_labels(y, 2) for _, y in read]), Y)


def test_labels_of_pixels():
    masks = np.array([[[0, 2], [255, 1]]])
    np.testing.assert_array_equal(pixel_labels(masks[..., None], 3), masks)
    for wrong, sentence in ((masks - 1, "got -1"), (masks[0], "for each pixel"), (np.eye(3)[masks % 3], "argmax")):
        with pytest.raises(ArgumentError, match=sentence):
            pixel_labels(wrong, 3)


@pytest.fixture(scope="module")
def two():
    return kr.build("preresnet14", SHAPE, 2)


WITHOUT_CHANNELS = (X[..., 0], Y)
MEASUREMENTS = {
    "lesion": lambda net, data: kr.studies.lesion(net, data),
    "unskip": lambda net, data: kr.studies.unskip(net, data),
    "delete": lambda net, data: kr.studies.delete(net, data, most=1, draws=1),
    "reorder": lambda net, data: kr.studies.reorder(net, data, most=1, draws=1),
    "responses": lambda net, data: kr.studies.responses(net, data),
    "paths": lambda net, data: kr.studies.paths(net, data, examples=2),
    "recalibrate": lambda net, data: kr.recalibrate(net, data),
    "prune": lambda net, data: kr.prune(net, data, calibration=(X, Y), blocks=1, timed=0),
    "prune, calibration": lambda net, data: kr.prune(net, (X, Y), calibration=data, blocks=1, timed=0),
    "lanes": lambda net, data: kr.lanes.Lanes(net).outputs(data[0], [kr.lanes.program(net)]),
    "energy": lambda net, data: measure(net, data[0]),
    "spectrum": lambda net, data: next(kr.spectrum.Spectrum(net).exact(*data)),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_goes_through_the_door(two, name):
    """Layers that are called with images without an axis of channels end the process (SIGABRT)."""
    with pytest.raises(ArgumentError, match=r"got \(8, 8\)"):
        MEASUREMENTS[name](two, WITHOUT_CHANNELS)


@pytest.mark.parametrize(("outputs", "sentence"), [(1, "has one output"), (4, "4 outputs.*sigmoid each")])
@pytest.mark.parametrize("name", ["lesion", "delete", "paths", "spectrum"])
def test_outputs_that_are_no_row_of_class_scores(name, outputs, sentence):
    net = kr.build("resnet8", SHAPE, outputs, classifier_activation="sigmoid")
    with pytest.raises(ArgumentError, match=sentence):
        MEASUREMENTS[name](net, (X, np.zeros(6, int)))


def test_one_softmax_is_always_1():
    with pytest.raises(ArgumentError, match="has one output"):
        kr.studies.lesion(kr.build("resnet8", SHAPE, 1), (X, np.zeros(6, int)))


def test_logits_are_scores_whatever_their_sign(two):
    logits = kr.build("preresnet14", SHAPE, 2, classifier_activation=None)
    logits.set_weights(two.get_weights())
    one, other = (kr.studies.lesion(net, (X, Y)) for net in (two, logits))
    np.testing.assert_allclose(one.rows["loss"], other.rows["loss"], rtol=1e-5)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_of_no_class_in_the_loss_of_pixels(label):
    scores = np.array([[[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]]], "float32")
    labels = np.array([[[label, 1]]])
    loss = kr.segmentation.PixelLoss()
    with pytest.raises(ArgumentError, match="from 0 to 2, or 255"):
        loss(labels, scores)
    assert np.isnan(tf.function(loss)(labels, scores))
    assert float(kr.segmentation.PixelLoss(ignore=label)(labels, scores)) == pytest.approx(-np.log(0.8), rel=1e-5)
