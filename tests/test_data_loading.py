"""Data sets: who is in which split, and what an epoch holds."""

import keras
import numpy as np
import pytest
from helpers.image_batches import arrays, raw_digits, rows_of, streamed
from sklearn.datasets import load_digits

import keras_resnets as kr
from keras_resnets.data import sources

JITTER = kr.data.Augmentation(pad=1, flip=True)


# Digits.


def test_digits_are_split_without_loss_overlap_or_favour():
    data = raw_digits()
    assert data.sizes == {"train": 1260, "validation": 140, "test": 397}
    assert (data.input_shape, data.classes, data.class_names) == ((8, 8, 1), 10, tuple("0123456789"))
    everything = load_digits()
    label_of = dict(zip(rows_of(everything.images[..., None]), everything.target, strict=True))
    assert len(label_of) == 1797, "two digits are alike, so that this test cannot tell them apart"
    seen = set()
    for split in ("train", "validation", "test"):
        images, labels = arrays(getattr(data, split))
        assert (images.dtype, labels.dtype) == ("float32", "int32")
        rows = rows_of(images)
        assert [label_of[row] for row in rows] == list(labels)
        assert not seen & set(rows)
        seen |= set(rows)
        expected = np.bincount(everything.target) * len(rows) / 1797
        assert np.abs(np.bincount(labels) - expected).max() < 1.5
    assert len(seen) == 1797


def test_splits_are_the_same_for_every_seed_and_the_order_is_not():
    one, other = raw_digits(seed=0), raw_digits(seed=7)
    for split in ("validation", "test"):
        np.testing.assert_array_equal(arrays(getattr(one, split))[0], arrays(getattr(other, split))[0])
    ours, theirs = (rows_of(arrays(data.epochs(0, 1))[0]) for data in (one, other))
    assert ours != theirs
    assert set(ours) == set(theirs)
    assert ours == rows_of(arrays(raw_digits(seed=0).epochs(0, 1))[0])


def test_the_test_split_can_be_followed_in_place_of_validation():
    data = raw_digits(validation="test")
    assert data.sizes == {"train": 1400, "test": 397}
    assert data.validation is None, "what is chosen by validation would be chosen by test"
    np.testing.assert_array_equal(arrays(data.watched)[0], arrays(data.test)[0])
    assert kr.data.load(data.name, **(data.options | {"augmentation": None})).options == data.options
    data = raw_digits()
    np.testing.assert_array_equal(arrays(data.watched)[0], arrays(data.validation)[0])
    assert raw_digits(validation=0).watched is None


def test_validation_can_be_had_in_full_or_not_at_all():
    assert raw_digits(validation=0).validation is None
    assert raw_digits(validation=0).sizes == {"train": 1400, "test": 397}
    assert raw_digits(validation=0.25).sizes == {"train": 1050, "validation": 350, "test": 397}
    assert raw_digits(validation=1e-9).sizes["validation"] == 1


def test_image_size_applies_to_digits_too():
    assert raw_digits(image_size=16).input_shape == (16, 16, 1)


# Epochs.


def test_every_epoch_is_a_permutation_of_the_training_set():
    data = raw_digits()
    expected = sorted(rows_of(arrays(data._splits["train"].batches(100))[0]))
    assert len(set(expected)) == 1260
    epochs = [arrays(data.epochs(k, k + 1)) for k in range(3)]
    label_of = dict(zip(*(f(v) for f, v in zip((rows_of, list), epochs[0], strict=True)), strict=True))
    for images, labels in epochs:
        assert sorted(rows_of(images)) == expected
        assert [label_of[row] for row in rows_of(images)] == list(labels)
    assert len({tuple(rows_of(images)) for images, _ in epochs}) == 3
    # No trace of the stored order: neighbours there are not neighbours here.
    place = {row: i for i, row in enumerate(rows_of(arrays(data._splits["train"].batches(100))[0]))}
    order = [place[row] for row in rows_of(epochs[0][0])]
    assert abs(np.corrcoef(order, range(1260))[0, 1]) < 0.1


KINDS = pytest.mark.parametrize("kind", [lambda data: data, streamed], ids=["in memory", "streamed"])


@KINDS
def test_order_of_an_epoch_depends_on_the_seed_alone(kind):
    orders = []
    for seed, of_the_process in ((3, 0), (3, 1), (4, 0)):
        keras.utils.set_random_seed(of_the_process)
        images, labels = arrays(kind(raw_digits(seed=seed, augmentation=JITTER)).epochs(1, 2))
        orders.append((rows_of(images), list(labels)))
    assert orders[0] == orders[1]
    assert orders[0][1] != orders[2][1]


@KINDS
def test_a_resumed_epoch_is_the_epoch_it_would_have_been(kind):
    data = kind(raw_digits(augmentation=JITTER, seed=3))
    images, labels = arrays(data.epochs(0, 4))
    tail, tail_labels = arrays(data.epochs(2, 4))
    assert len(images) == 4 * 1260
    np.testing.assert_array_equal(images[2 * 1260 :], tail)
    np.testing.assert_array_equal(labels[2 * 1260 :], tail_labels)


@KINDS
def test_train_shuffles_and_augments_anew_each_time(kind):
    data = kind(raw_digits())
    assert len(data.train) == data.steps_per_epoch == 13
    batches = data.train
    one, other = (rows_of(arrays(batches)[0]) for _ in range(2))
    assert one != other
    assert sorted(one) == sorted(other)
    augmented = kind(raw_digits(augmentation=JITTER)).train
    one, other = (set(rows_of(arrays(augmented)[0])) for _ in range(2))
    assert len(one & other) < 0.5 * 1260


def test_an_incomplete_batch_is_kept_or_dropped():
    assert [len(y) for _, y in raw_digits().epochs(0, 1)] == 12 * [100] + [60]
    data = raw_digits(drop_remainder=True)
    assert data.steps_per_epoch == 12
    assert [len(y) for _, y in data.epochs(0, 2)] == 24 * [100]


# Folders.


def _paint(folder, kind, values, channels=3, suffix="png"):
    """Images of one value each: a class's images differ in value, so that each can be told from all others."""
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for value in values:
        file = folder / kind / f"{value:03d}.{suffix}"
        keras.utils.save_img(file, np.full((10 + value % 3, 12, channels), value), scale=False, file_format="png")


def _values(batches):
    """The one value of each image with its label, after checking that it is one."""
    images, labels = arrays(batches)
    assert (images == images[:, :1, :1, :1]).all()
    return sorted(zip(images[:, 0, 0, 0].astype(int).tolist(), labels.tolist(), strict=True))


def test_folder_without_splits_is_split_for_you(tmp_path):
    _paint(tmp_path, "cat", range(10, 25))
    _paint(tmp_path, "dog", range(100, 115), channels=1)
    _paint(tmp_path, "dog", range(115, 120), suffix="PNG")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    data = kr.data.load(tmp_path, image_size=8, normalize=None, batch_size=7)
    assert (data.input_shape, data.class_names) == ((8, 8, 3), ("cat", "dog"))
    # A fifth of 35 for testing, then a tenth of the 28 left.
    assert data.sizes == {"train": 25, "validation": 3, "test": 7}
    found = _values(data.epochs(0, 1)) + _values(data.validation) + _values(data.test)
    assert sorted(found) == [(v, 0) for v in range(10, 25)] + [(v, 1) for v in range(100, 120)]


def test_folder_with_splits_keeps_them(tmp_path):
    _paint(tmp_path / "train", "cat", range(10, 20))
    _paint(tmp_path / "train", "dog", range(100, 110))
    _paint(tmp_path / "test", "cat", range(30, 33))
    _paint(tmp_path / "test", "dog", range(130, 132))
    data = kr.data.load(str(tmp_path), image_size=8, normalize=None)
    assert data.sizes == {"train": 18, "validation": 2, "test": 5}
    assert _values(data.test) == [(30, 0), (31, 0), (32, 0), (130, 1), (131, 1)]
    _paint(tmp_path / "validation", "dog", range(150, 154))
    _paint(tmp_path / "validation", "cat", [50])
    data = kr.data.load(str(tmp_path), image_size=8, normalize=None)
    assert data.sizes == {"train": 20, "validation": 5, "test": 5}
    assert _values(data.validation) == [(50, 0), (150, 1), (151, 1), (152, 1), (153, 1)]


@pytest.mark.parametrize("validation", [0, 0.1, 0.3, 0.6])
def test_streamed_epoch_sees_each_example_once(validation, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1000)
    _paint(tmp_path, "cat", range(10, 35))
    _paint(tmp_path, "dog", range(100, 125))
    data = kr.data.load(tmp_path, image_size=8, normalize=None, batch_size=7, validation=validation)
    assert isinstance(data._splits["train"], sources.Pictures)
    held = round(40 * validation)
    assert data.sizes == {"train": 40 - held, "test": 10} | ({"validation": held} if held else {})
    epochs = [arrays(data.epochs(k, k + 1)) for k in range(2)]
    assert [len(labels) for _, labels in epochs] == 2 * [40 - held]
    orders = [images[:, 0, 0, 0].tolist() for images, _ in epochs]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    rest = _values(data.test) + (_values(data.validation) if held else [])
    found = sorted(_values(data.epochs(0, 1)) + rest)
    assert found == [(v, 0) for v in range(10, 35)] + [(v, 1) for v in range(100, 125)]
    assert epochs[0][1].dtype == "int32"
