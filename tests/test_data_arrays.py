"""Images and labels that are in memory: arrays, `.npz` files and `tf.data` become the splits of a `Data`."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr
from keras_resnets.architecture.preprocessing import Resizing
from keras_resnets.data.batching import of_pixels
from keras_resnets.errors import ArgumentError

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (60, 8, 8, 3)).astype("uint8"), np.arange(60) % 3
X2, Y2 = RNG.integers(0, 256, (12, 8, 8, 3)).astype("uint8"), np.arange(12) % 3


def quiet(data, **options):
    return kr.data.load(data, tell=lambda line: None, **options)


def examples(data, split):
    """Raw images and labels of a split, as a set that has no order."""
    held = data._splits[split]
    return {(x.tobytes(), int(y)) for x, y in zip(held.images, held.labels, strict=True)}


def pairs(x, y):
    return {(image.tobytes(), int(label)) for image, label in zip(x, y, strict=True)}


def test_arrays_are_divided_and_told_of():
    lines = []
    data = kr.data.load((X, Y), tell=lines.append)
    assert data.sizes == {"train": 43, "validation": 5, "test": 12}
    assert set.union(*(examples(data, split) for split in data.sizes)) == pairs(X, Y)
    assert (data.classes, data.class_names, data.input_shape) == (3, ("0", "1", "2"), (8, 8, 3))
    assert lines == [
        "arrays: 3 classes (0, 1, 2); train 43 images as given, validation 5 images held out of train, test 12 images "
        "held out of train."
    ]
    assert not data.is_named


def test_pairs_are_training_validation_and_test():
    data = quiet(((X, Y), (X2, Y2)))
    assert data.sizes == {"train": 48, "validation": 12, "test": 12}
    assert examples(data, "validation") == pairs(X2, Y2)
    for given in (
        ((X, Y), (X2, Y2), (X[:9], Y[:9])),
        {"train": (X, Y), "validation": (X2, Y2), "test": (X[:9], Y[:9])},
    ):
        data = quiet(given)
        assert examples(data, "train") == pairs(X, Y)
        assert examples(data, "test") == pairs(X[:9], Y[:9])


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels")], ids=["keras", "medmnist"])
def test_files_of_arrays(names, tmp_path):
    x, y = names
    arrays = {x.format("train"): X, y.format("train"): Y[:, None], x.format("test"): X2, y.format("test"): Y2[:, None]}
    np.savez(tmp_path / "set.npz", **arrays)
    data = quiet(str(tmp_path / "set.npz"))
    assert examples(data, "test") == pairs(X2, Y2)
    assert data.is_named
    assert data.options["contents"] == quiet(tmp_path / "set.npz").options["contents"]
    np.savez(tmp_path / "set.npz", **{**arrays, x.format("test"): X2[::-1]})
    assert data.options["contents"] != quiet(tmp_path / "set.npz").options["contents"]


def test_shuffled_datasets_are_the_same_set_each_time():
    dataset = tf.data.Dataset.from_tensor_slices((X.astype("float32"), Y)).shuffle(60).batch(7)
    one, other = quiet(dataset), quiet({"train": dataset})
    assert one.options["contents"] == other.options["contents"]
    assert examples(one, "test") == examples(other, "test")
    assert set.union(*(examples(one, split) for split in one.sizes)) == pairs(X, Y)
    dataset.class_names = ["cat", "dog", "fox"]  # as keras.utils.image_dataset_from_directory sets
    assert quiet(dataset).class_names == ("cat", "dog", "fox")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["fox", "cat", "dog"])[Y], ("cat", "dog", "fox")),
        (np.array(["fox", "cat", "dog"], object)[Y], ("cat", "dog", "fox")),
        (np.eye(3)[Y], ("0", "1", "2")),
        (Y.astype("float64"), ("0", "1", "2")),
    ],
    ids=["texts", "objects", "one-hot", "floats"],
)
def test_labels_of_every_kind(labels, names):
    data = quiet({"train": (X, labels), "test": (X, labels)}, validation=0)
    assert data.class_names == names
    of = {label: number for number, label in enumerate(names)}
    expected = [of[label] for label in labels] if names[0] == "cat" else Y
    np.testing.assert_array_equal(data._splits["test"].labels, expected)


def test_images_without_channels_and_of_real_numbers():
    data = quiet((X[..., 0] / 255.0, Y))
    assert data.input_shape == (8, 8, 1)
    assert data._splits["train"].images.dtype == "float32"
    assert quiet((X.astype("int64"), Y), image_size=4).input_shape == (4, 4, 3)
    with pytest.raises(ArgumentError, match=r"image_size needs pixels as whole numbers.* from 0 to 1\."):
        quiet((X / 255.0, Y), image_size=4)


WRONG = {
    "no labels": (X, r"got ndarray|must be"),
    "three arrays": ((X, Y, Y), "in memory must be .*got ndarray as train"),
    "lengths": ((X, Y[:-1]), "60 images and 59 labels in train"),
    "label -1": ((X, Y - 1), "whole numbers from 0; got -1"),
    "half a label": ((X, Y / 2), r"whole numbers from 0; got 0\.5"),
    "one class": ((X, Y * 0), "at least 2 classes"),
    "sparse numbers": ((X, Y * 1000), "largest is 2000, and 1998 of those below it"),
    "several labels": ((X, np.ones((60, 3))), r"one-hot rows; got shape \(60, 3\)"),
    "vectors": ((X.reshape(60, -1), Y), r"shape \(examples, height, width, channels\); got \(60, 192\)"),
    "channels first": ((np.moveaxis(X, -1, 1), Y), r"channels of images come last.*np\.moveaxis"),
    "NaN": ((np.where(X > 9, np.nan, 1.0), Y), "must be finite"),
    "texts as images": ((np.full((60, 8, 8, 3), "a"), Y), "images must be numbers"),
    "two shapes": (((X, Y), (X2[:, :4], Y2)), r"of one shape; got \(4, 8, 3\), \(8, 8, 3\)"),
    "no such split": ({"train": (X, Y), "dev": (X, Y)}, "must have 'train'.*got dev, train"),
    "unknown text": (
        ((X, np.array(list("abc"))[Y]), (X2, np.array(list("abd"))[Y2])),
        "must have images to train on; d has none",
    ),
    "endless": (tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat(), "must end"),
    "single images": (tf.data.Dataset.from_tensor_slices((X[..., 0], Y)), r"data\.batch\(32\)"),
    "images alone": (tf.data.Dataset.from_tensor_slices(X).batch(4), r"batches of \(images, labels\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case):
    data, sentence = WRONG[case]
    with pytest.raises(ArgumentError, match=sentence):
        quiet(data)


def test_wrong_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=X)
    with pytest.raises(ArgumentError, match=r"'x_train' and 'y_train'.*it holds a"):
        quiet(tmp_path / "other.npz")
    np.savez(tmp_path / "code.npz", x_train=np.array([print], object), y_train=Y)
    with pytest.raises(ArgumentError, match=r"cannot be read as an \.npz file"):
        quiet(tmp_path / "code.npz")
    (tmp_path / "torn.npz").write_bytes(b"PK no zip")
    with pytest.raises(ArgumentError, match=r"cannot be read as an \.npz file"):
        quiet(tmp_path / "torn.npz")
    with pytest.raises(FileNotFoundError, match=r"There is no folder or \.npz file"):
        quiet("absent.npz")
    with pytest.raises(ArgumentError, match="arrays are for classification"):
        quiet((X, Y), task="segmentation")


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_images_are_normalised_as_a_network_needs_them(channels):
    """A `Preprocessing` as normalisation, also read back from a record."""
    norm = kr.Preprocessing((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), channels)
    data = quiet({"train": (X, Y), "test": (X2, Y2)}, normalize=norm, validation=0)
    again = quiet({"train": (X, Y), "test": (X2, Y2)}, validation=0).batched(
        normalize=kr.data.Batching.of(data.options).normalize
    )
    for found in (data, again):
        images, _ = next(iter(found.test))
        np.testing.assert_allclose(images, norm(X2), rtol=1e-6)
        assert of_pixels(found.preprocessing) == norm
    pictures = dataclasses.replace(norm, resizing=Resizing())
    assert (
        kr.data.Batching(normalize=pictures).normalize
        == kr.recipes.get("wrn").replace(normalize=pictures).normalize
        == norm
    )
    raw, _ = next(iter(data.raw.test))
    np.testing.assert_array_equal(raw, X2)
    with pytest.raises(ArgumentError, match="normalize must be for the 1 channels"):
        quiet((X[..., :1], Y), normalize=norm)
