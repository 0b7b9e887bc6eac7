"""Data: who is in which split, what an epoch holds, what happens to an image."""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.stats import chisquare
from sklearn.datasets import load_digits

import keras_resnets as kr
from keras_resnets.data import sources

TFDS = Path(kr.__file__).parents[2] / "shared" / "data" / "tfds"
JITTER = kr.data.Augmentation(pad=1, flip=True)
CROP = kr.data.Augmentation(resized_crop=True)


def _arrays(batches):
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _rows(images):
    """Every image as a hashable row, to compare sets of images."""
    return [image.tobytes() for image in np.asarray(images, "float32")]


def _digits(**options):
    return kr.data.load("digits", **{"normalize": None, "batch_size": 100, **options})


# Digits.


def test_digits_are_split_without_loss_overlap_or_favour():
    data = _digits()
    assert data.sizes == {"train": 1260, "validation": 140, "test": 397}
    assert (data.input_shape, data.classes, data.class_names) == ((8, 8, 1), 10, tuple("0123456789"))
    everything = load_digits()
    label_of = dict(zip(_rows(everything.images[..., None]), everything.target, strict=True))
    assert len(label_of) == 1797, "two digits are alike, so that this test cannot tell them apart"
    seen = set()
    for split in ("train", "validation", "test"):
        images, labels = _arrays(getattr(data, split))
        assert (images.dtype, labels.dtype) == ("float32", "int32")
        rows = _rows(images)
        assert [label_of[row] for row in rows] == list(labels)
        assert not seen & set(rows)
        seen |= set(rows)
        expected = np.bincount(everything.target) * len(rows) / 1797
        assert np.abs(np.bincount(labels) - expected).max() < 1.5
    assert len(seen) == 1797


def test_splits_are_the_same_for_every_seed_and_the_order_is_not():
    one, other = _digits(seed=0), _digits(seed=7)
    for split in ("validation", "test"):
        np.testing.assert_array_equal(_arrays(getattr(one, split))[0], _arrays(getattr(other, split))[0])
    ours, theirs = (_rows(_arrays(data.epochs(0, 1))[0]) for data in (one, other))
    assert ours != theirs
    assert set(ours) == set(theirs)
    assert ours == _rows(_arrays(_digits(seed=0).epochs(0, 1))[0])


def test_the_test_split_can_be_followed_in_place_of_validation():
    data = _digits(validation="test")
    assert data.sizes == {"train": 1400, "test": 397}
    assert data.validation is None, "what is chosen by validation would be chosen by test"
    np.testing.assert_array_equal(_arrays(data.watched)[0], _arrays(data.test)[0])
    assert kr.data.load(data.name, **(data.options | {"augmentation": None})).options == data.options
    data = _digits()
    np.testing.assert_array_equal(_arrays(data.watched)[0], _arrays(data.validation)[0])
    assert _digits(validation=0).watched is None


def test_validation_can_be_had_in_full_or_not_at_all():
    assert _digits(validation=0).validation is None
    assert _digits(validation=0).sizes == {"train": 1400, "test": 397}
    assert _digits(validation=0.25).sizes == {"train": 1050, "validation": 350, "test": 397}
    assert _digits(validation=1e-9).sizes["validation"] == 1


def test_image_size_applies_to_digits_too():
    assert _digits(image_size=16).input_shape == (16, 16, 1)


# Epochs.


def test_every_epoch_is_a_permutation_of_the_training_set():
    data = _digits()
    expected = sorted(_rows(_arrays(data._splits["train"].batches(100))[0]))
    assert len(set(expected)) == 1260
    epochs = [_arrays(data.epochs(k, k + 1)) for k in range(3)]
    label_of = dict(zip(*(f(v) for f, v in zip((_rows, list), epochs[0], strict=True)), strict=True))
    for images, labels in epochs:
        assert sorted(_rows(images)) == expected
        assert [label_of[row] for row in _rows(images)] == list(labels)
    assert len({tuple(_rows(images)) for images, _ in epochs}) == 3
    # No trace of the stored order: neighbours there are not neighbours here.
    place = {row: i for i, row in enumerate(_rows(_arrays(data._splits["train"].batches(100))[0]))}
    order = [place[row] for row in _rows(epochs[0][0])]
    assert abs(np.corrcoef(order, range(1260))[0, 1]) < 0.1


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_order_of_an_epoch_depends_on_the_seed_alone(streamed, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1000)
    orders = []
    for seed, of_the_process in ((3, 0), (3, 1), (4, 0)):
        keras.utils.set_random_seed(of_the_process)
        images, labels = _arrays(_digits(seed=seed, augmentation=JITTER).epochs(1, 2))
        orders.append((_rows(images), list(labels)))
    assert orders[0] == orders[1]
    assert orders[0][1] != orders[2][1]


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_a_resumed_epoch_is_the_epoch_it_would_have_been(streamed, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1000)
    data = _digits(augmentation=JITTER, seed=3)
    assert isinstance(data._splits["train"], sources.Stream if streamed else sources.Arrays)
    images, labels = _arrays(data.epochs(0, 4))
    tail, tail_labels = _arrays(data.epochs(2, 4))
    assert len(images) == 4 * 1260
    np.testing.assert_array_equal(images[2 * 1260 :], tail)
    np.testing.assert_array_equal(labels[2 * 1260 :], tail_labels)


def test_train_shuffles_and_augments_anew_each_time():
    data = _digits()
    assert data.train.cardinality() == data.steps_per_epoch == 13
    batches = data.train
    one, other = (_rows(_arrays(batches)[0]) for _ in range(2))
    assert one != other
    assert sorted(one) == sorted(other)
    augmented = _digits(augmentation=JITTER).train
    one, other = (set(_rows(_arrays(augmented)[0])) for _ in range(2))
    assert len(one & other) < 0.5 * 1260


def test_an_incomplete_batch_is_kept_or_dropped():
    assert [len(y) for _, y in _digits().epochs(0, 1)] == 12 * [100] + [60]
    data = _digits(drop_remainder=True)
    assert data.steps_per_epoch == 12
    assert [len(y) for _, y in data.epochs(0, 2)] == 24 * [100]


# Augmentation.


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_pad_and_crop_gives_a_window_and_each_equally_often(mode, numpy_mode):
    images = np.random.default_rng(0).normal(size=(4000, 6, 7, 2)).astype("float32")
    augmentation = kr.data.Augmentation(pad=2, pad_mode=mode)
    cropped = kr.data.augment(images, augmentation, (3, 4)).numpy()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], numpy_mode)
    found = np.stack(
        [(padded[:, i : i + 6, j : j + 7] == cropped).all((1, 2, 3)) for i in range(5) for j in range(5)], axis=1
    )
    assert (found.sum(1) == 1).all(), "an image is no window of its padded self"
    assert chisquare(found.sum(0)).pvalue > 0.01
    np.testing.assert_array_equal(cropped, kr.data.augment(images, augmentation, (3, 4)))
    assert (cropped != kr.data.augment(images, augmentation, (3, 5)).numpy()).any()


def test_half_of_the_images_are_mirrored():
    images = np.random.default_rng(0).normal(size=(4000, 4, 5, 1)).astype("float32")
    out = kr.data.augment(images, kr.data.Augmentation(flip=True), (0, 1)).numpy()
    same = (out == images).all((1, 2, 3))
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / 4000**0.5


def test_equal_images_in_different_batches_are_cropped_differently():
    data = _digits(augmentation=kr.data.Augmentation(pad=1), batch_size=20)
    # Where a crop starts shows in the zeros at the border: the first row of a third of the images is empty.
    empty = [(images[:, 0] == 0).all((1, 2)) for images, _ in data.epochs(0, 2).take(120).as_numpy_iterator()]
    assert 0.25 < np.mean(empty) < 0.45
    assert len({row.tobytes() for row in empty}) > 115


def test_random_crops_have_the_area_and_ratio_of_the_papers():
    """On an image whose colours are its coordinates, the range of a crop's colours is its extent."""
    y, x = np.mgrid[0:64, 0:64].astype("float32") * 4
    image = keras.ops.convert_to_tensor(np.stack([x, y, 0 * x], axis=-1))
    crops = np.stack([sources.resized_crop(image, (16, 16), CROP, (0, i)).numpy() for i in range(300)])
    # Averaging over a sixteenth of the crop at each end leaves 15/16 of the extent.
    width, height = (np.ptp(crops[..., c].astype(int), axis=(1, 2)) / 252 * 16 / 15 for c in (0, 1))
    area, ratio = width * height, width / height
    assert 0.06 < area.min() < 0.2
    assert 0.8 < area.max() < 1.1
    assert ratio.min() > 0.6
    assert ratio.max() < 1.6
    assert ratio.std() > 0.1
    # Colours still rise from left to right and from top to bottom.
    assert (np.diff(crops[..., 0].astype(int), axis=2) >= 0).all()
    assert (np.diff(crops[..., 1].astype(int), axis=1) >= 0).all()


def test_colour_jitter_of_a_grey_image_is_its_brightness():
    augmentation = kr.data.Augmentation(resized_crop=True, color=0.4)
    image = keras.ops.full((8, 8, 3), 100.0)
    values = np.array([sources.resized_crop(image, (4, 4), augmentation, (0, i)).numpy() for i in range(200)])
    assert (values == values[:, :1, :1, :1]).all()
    assert 60 <= values.min() < 70
    assert 130 < values.max() <= 140


def test_evaluation_takes_the_centre():
    """224 of 256: of the shorter side 7/8, of a side twice as long 7/16, from the middle."""
    y, x = np.mgrid[0:32, 0:64].astype("float32")
    image = keras.ops.convert_to_tensor(np.stack([4 * x, 8 * y, 0 * x], axis=-1))
    crop = sources.center_crop(image, (28, 28)).numpy().astype(float)
    np.testing.assert_allclose(crop[0, :, 0], 4 * np.arange(18, 46), atol=1)
    np.testing.assert_allclose(crop[:, 0, 1], 8 * np.arange(2, 30), atol=1)


# Normalisation.


@pytest.mark.parametrize("normalize", ["channel", "pixel", "unit", None])
def test_normalisation_uses_statistics_of_the_training_split(normalize):
    raw, ours = _digits(), _digits(normalize=normalize)
    train = _arrays(raw._splits["train"].batches(100))[0].astype("float64")
    mean, scale = {
        "channel": (train.mean((0, 1, 2)), train.std((0, 1, 2))),
        "pixel": (train.mean(0), 16.0),
        "unit": (0.0, 16.0),
        None: (0.0, 1.0),
    }[normalize]
    for split in ("validation", "test"):
        before, after = (_arrays(getattr(data, split))[0] for data in (raw, ours))
        np.testing.assert_allclose(after, (before - mean) / scale, rtol=1e-5, atol=1e-5)
    before, after = (_arrays(data.epochs(0, 1))[0] for data in (raw, ours))
    np.testing.assert_allclose(after, (before - mean) / scale, rtol=1e-5, atol=1e-5)


def test_padding_with_zeros_comes_after_normalisation():
    """He et al. 2015 pad what has the mean subtracted, so that the border is the mean, not black."""
    data = _digits(normalize="unit", augmentation=kr.data.Augmentation(pad=1))
    shifted = kr.data.load("digits", normalize="channel", augmentation=kr.data.Augmentation(pad=1), batch_size=100)
    images, _ = _arrays(shifted.epochs(0, 1))
    plain, _ = _arrays(data.epochs(0, 1))
    border = (plain[:, 0] == 0).all((1, 2)) & (images[:, 0] == 0).all((1, 2))
    assert border.sum() > 200


@pytest.mark.skipif(not (TFDS / "cifar10").is_dir(), reason=f"no CIFAR-10 in {TFDS.name} beside the checkout")
def test_cifar10_has_the_published_mean_and_deviation():
    data = kr.data.load("cifar10", data_dir=TFDS, validation=0)
    assert data.sizes == {"train": 50_000, "test": 10_000}
    assert (data.input_shape, data.classes) == ((32, 32, 3), 10)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    np.testing.assert_allclose(data._mean, [125.306918046875, 122.950394140625, 113.865383183594], rtol=1e-6)
    np.testing.assert_allclose(data._std, [62.993219, 62.088708, 66.704900], rtol=1e-6)
    images, labels = _arrays(data.test)
    assert list(np.bincount(labels)) == 10 * [1000]
    # The test split is normalised with them, and is much like the training split.
    np.testing.assert_allclose(images.mean((0, 1, 2)), 0, atol=0.03)
    np.testing.assert_allclose(images.std((0, 1, 2)), 1, atol=0.02)


# Folders.


def _paint(folder, kind, values, channels=3, suffix="png"):
    """Images of one value each: a class's images differ in value, so that each can be told from all others."""
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for value in values:
        file = folder / kind / f"{value:03d}.{suffix}"
        keras.utils.save_img(file, np.full((10 + value % 3, 12, channels), value), scale=False, file_format="png")


def _values(batches):
    """The one value of each image with its label, after checking that it is one."""
    images, labels = _arrays(batches)
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
    assert isinstance(data._splits["train"], sources.Stream)
    held = round(40 * validation)
    assert data.sizes == {"train": 40 - held, "test": 10} | ({"validation": held} if held else {})
    epochs = [_arrays(data.epochs(k, k + 1)) for k in range(2)]
    assert [len(labels) for _, labels in epochs] == 2 * [40 - held]
    orders = [images[:, 0, 0, 0].tolist() for images, _ in epochs]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    rest = _values(data.test) + (_values(data.validation) if held else [])
    found = sorted(_values(data.epochs(0, 1)) + rest)
    assert found == [(v, 0) for v in range(10, 35)] + [(v, 1) for v in range(100, 125)]
    assert epochs[0][1].dtype == "int32"


def test_random_crops_are_a_function_of_the_seed(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for i in range(10):
            pixels = rng.integers(0, 256, (24, 24, 3))
            keras.utils.save_img(tmp_path / kind / f"{i}.png", pixels, scale=False)

    def epoch(seed, number=0):
        data = kr.data.load(tmp_path, image_size=8, normalize=None, augmentation=CROP, seed=seed)
        return _arrays(data.epochs(number, number + 1))

    images, labels = epoch(1)
    again, labels_again = epoch(1)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    for other in (epoch(2), epoch(1, number=1)):
        assert not set(_rows(images)) & set(_rows(other[0])), "the same crop in another epoch or of another seed"
