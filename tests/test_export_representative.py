"""Representative inputs in every form in which users of TensorFlow Lite have them, and what has no class."""

import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.export.representative import inputs

X = np.random.default_rng(0).normal(size=(12, 8, 8, 1)).astype("float32")
SLICES = tf.data.Dataset.from_tensor_slices


def generator():
    for x in X:
        yield [x[None]]


FORMS = {
    "array": lambda: X,
    "list": lambda: list(X),
    "generator function": lambda: generator,
    "generator": generator,
    "list of what a generator yields": lambda: list(generator()),
    "batches of several": lambda: iter([[X[:5]], [X[5:]]]),
    "tf.data of images": lambda: SLICES(X),
    "tf.data of batches": lambda: SLICES(X).batch(5),
    "tf.data with labels": lambda: SLICES((X, np.zeros(12))).batch(5),
    "endless tf.data": lambda: SLICES(X).repeat(),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    np.testing.assert_array_equal(inputs((8, 8, 1), FORMS[form](), None, examples=12), X)


WRONG = {
    "nothing": (lambda: [], "real inputs"),
    "a number": (lambda: 3, "got int"),
    "an empty generator": (lambda: iter(()), "real inputs"),
    "dictionaries": (lambda: SLICES({"image": X}), "a dictionary of 'image'"),
    "another size": (lambda: iter([[X[:, :7]]]), r"\(8, 8, 1\).*got one of \(12, 7, 8, 1\)"),
    "no channels": (lambda: SLICES(X[..., 0]), r"\(8, 8, 1\).*got one of \(8, 8\)"),
}


@pytest.mark.parametrize("form", WRONG)
def test_what_is_refused(form):
    make, sentence = WRONG[form]
    with pytest.raises(ArgumentError, match=sentence):
        inputs((8, 8, 1), make(), None)


def test_one_output_has_no_class_to_agree_on(tmp_path):
    """The largest of one output is always the same: an agreement of 1 would mean nothing."""
    net = kr.build("resnet8", (8, 8, 1), 1, classifier_activation="sigmoid")
    report = kr.export.litert(net, tmp_path / "net.tflite", "int8", generator, examples=X, calls=0)
    assert report["agreement"] is None
    assert report["sensitivity"] is None
    assert "same class" not in kr.export.describe(report)
    with pytest.raises(ArgumentError, match="has one output"):
        kr.export.litert(net, tmp_path / "other.tflite", data=(X, np.zeros(12, int)), calls=0)
    assert not (tmp_path / "other.tflite").exists()
