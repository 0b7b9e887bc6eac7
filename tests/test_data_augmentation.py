"""What happens to an image: crops, mirrors and colours, and normalisation."""

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.image_batches import arrays, raw_digits, rows_of
from scipy.stats import chisquare

import keras_resnets as kr
from keras_resnets.data.augmentation import resized_crop

TFDS = Path(kr.__file__).parents[2] / "shared" / "data" / "tfds"
CROP = kr.data.Augmentation(resized_crop=True)


# Augmentation.


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_pad_and_crop_gives_a_window_and_each_equally_often(mode, numpy_mode):
    images = np.random.default_rng(0).normal(size=(4000, 6, 7, 2)).astype("float32")
    augmentation = kr.data.Augmentation(pad=2, pad_mode=mode)
    cropped = kr.data.augment(images, augmentation, np.random.default_rng(3))
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], numpy_mode)
    found = np.stack(
        [(padded[:, i : i + 6, j : j + 7] == cropped).all((1, 2, 3)) for i in range(5) for j in range(5)], axis=1
    )
    assert (found.sum(1) == 1).all(), "an image is no window of its padded self"
    assert chisquare(found.sum(0)).pvalue > 0.01
    np.testing.assert_array_equal(cropped, kr.data.augment(images, augmentation, np.random.default_rng(3)))
    assert (cropped != kr.data.augment(images, augmentation, np.random.default_rng(4))).any()


def test_half_of_the_images_are_mirrored():
    images = np.random.default_rng(0).normal(size=(4000, 4, 5, 1)).astype("float32")
    out = kr.data.augment(images, kr.data.Augmentation(flip=True), np.random.default_rng(0))
    same = (out == images).all((1, 2, 3))
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / 4000**0.5


def test_equal_images_in_different_batches_are_cropped_differently():
    data = raw_digits(augmentation=kr.data.Augmentation(pad=1), batch_size=20)
    # Where a crop starts shows in the zeros at the border: the first row of a third of the images is empty.
    empty = [(images[:, 0] == 0).all((1, 2)) for images, _ in data.epochs(0, 2).take(120).as_numpy_iterator()]
    assert 0.25 < np.mean(empty) < 0.45
    assert len({row.tobytes() for row in empty}) > 115


def test_random_crops_have_the_area_and_ratio_of_the_papers():
    """On an image whose colours are its coordinates, the range of a crop's colours is its extent."""
    y, x = np.mgrid[0:64, 0:64].astype("float32") * 4
    image, random = np.stack([x, y, 0 * x], axis=-1), np.random.default_rng(0)
    crops = np.stack([resized_crop(image, (16, 16), CROP, random) for _ in range(300)])
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
    image, random = np.full((8, 8, 3), 100.0, "float32"), np.random.default_rng(0)
    values = np.array([resized_crop(image, (4, 4), augmentation, random) for _ in range(200)])
    assert (values == values[:, :1, :1, :1]).all()
    assert 60 <= values.min() < 70
    assert 130 < values.max() <= 140


# Normalisation.


@pytest.mark.parametrize("normalize", ["channel", "pixel", "unit", None])
def test_normalisation_uses_statistics_of_the_training_split(normalize):
    raw, ours = raw_digits(), raw_digits(normalize=normalize)
    train = arrays(raw._splits["train"].batches(100))[0].astype("float64")
    mean, scale = {
        "channel": (train.mean((0, 1, 2)), train.std((0, 1, 2))),
        "pixel": (train.mean(0), 16.0),
        "unit": (0.0, 16.0),
        None: (0.0, 1.0),
    }[normalize]
    for split in ("validation", "test"):
        before, after = (arrays(getattr(data, split))[0] for data in (raw, ours))
        np.testing.assert_allclose(after, (before - mean) / scale, rtol=1e-5, atol=1e-5)
    before, after = (arrays(data.epochs(0, 1))[0] for data in (raw, ours))
    np.testing.assert_allclose(after, (before - mean) / scale, rtol=1e-5, atol=1e-5)


def test_padding_with_zeros_comes_after_normalisation():
    """He et al. 2015 pad what has the mean subtracted, so that the border is the mean, not black."""
    data = raw_digits(normalize="unit", augmentation=kr.data.Augmentation(pad=1))
    shifted = kr.data.load("digits", normalize="channel", augmentation=kr.data.Augmentation(pad=1), batch_size=100)
    images, _ = arrays(shifted.epochs(0, 1))
    plain, _ = arrays(data.epochs(0, 1))
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
    images, labels = arrays(data.test)
    assert list(np.bincount(labels)) == 10 * [1000]
    # The test split is normalised with them, and is much like the training split.
    np.testing.assert_allclose(images.mean((0, 1, 2)), 0, atol=0.03)
    np.testing.assert_allclose(images.std((0, 1, 2)), 1, atol=0.02)


def test_random_crops_are_a_function_of_the_seed(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for i in range(10):
            pixels = rng.integers(0, 256, (24, 24, 3))
            keras.utils.save_img(tmp_path / kind / f"{i}.png", pixels, scale=False)

    def epoch(seed, number=0):
        data = kr.data.load(tmp_path, image_size=8, normalize=None, augmentation=CROP, seed=seed)
        return arrays(data.epochs(number, number + 1))

    images, labels = epoch(1)
    again, labels_again = epoch(1)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    for other in (epoch(2), epoch(1, number=1)):
        assert not set(rows_of(images)) & set(rows_of(other[0])), "the same crop in another epoch or of another seed"
