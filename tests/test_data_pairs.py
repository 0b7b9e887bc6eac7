"""One draw for an image and its mask: a label stays with its pixel, and an epoch is a function of its seed."""

import json

import keras
import numpy as np
import pytest
from helpers import mask_files
from helpers.image_batches import arrays
from PIL import Image

import keras_resnets as kr
from keras_resnets.data import pairs, sources
from keras_resnets.errors import ArgumentError

CROP = kr.data.Augmentation(crop=48, scale=(0.7, 1.3), flip=True, color=0.3)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_label_stays_with_its_pixel(axis):
    """Colours that rise evenly along an axis, and the same numbers as labels: half a pixel apart at most.

    Straight lines between pixels keep an even rise, so a colour says to the fraction of a pixel where it came from.
    """
    position = np.broadcast_to(np.arange(90).reshape((-1, 1) if axis == 0 else (1, -1)), (90, 90))
    image = np.stack([position] * 3, -1).astype("float32") + 1
    augmentation = kr.data.Augmentation(crop=(64, 72), scale=(0.5, 1.6), flip=True)
    inside, mirrored, extents = [], [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        out, mask = pairs.window(image, position.astype("uint8"), augmentation, None, random)
        assert out.shape == (64, 72, 3)
        valid = mask != 255
        assert (out[~valid] == 0).all()
        assert (out[valid] > 0).all()
        # At the first and last pixels there is nothing beyond to average with.
        within = valid & (mask > 1) & (mask < 88)
        assert np.abs(out[within][:, 0] - 1 - mask[within]).max() <= 0.5 + 1e-3
        inside.append(valid.mean())
        along = out[..., 0] if axis == 1 else out[..., 0].T
        steps = np.diff(along[valid.any(1) if axis == 1 else valid.any(0)][0])
        mirrored.append(np.median(steps) < 0)
        extents.append(1 / np.abs(np.median(steps)))
    assert min(inside) < 0.7
    assert max(inside) == 1
    assert min(extents) < 0.6
    assert max(extents) > 1.5
    assert (0.3 < np.mean(mirrored) < 0.7) if axis == 1 else not any(mirrored)


def test_enlarging_by_two_and_a_crop_are_known_windows():
    """By nearest pixel, twice the size is every pixel four times; a crop is one of its windows, wherever that is."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 200, (12, 10)).astype("uint8")
    augmentation = kr.data.Augmentation(crop=(8, 16), scale=(2, 2))
    large = mask.repeat(2, 0).repeat(2, 1)
    corners = set()
    for seed in range(300):
        _, out = pairs.window(np.zeros((12, 10, 3), "float32"), mask, augmentation, None, np.random.default_rng(seed))
        found = [(i, j) for i in range(17) for j in range(5) if (large[i : i + 8, j : j + 16] == out).all()]
        assert len(found) == 1
        corners |= set(found)
    assert {i for i, _ in corners} == set(range(17))
    assert {j for _, j in corners} == set(range(5))


def test_a_crop_is_rounded_up_to_multiples_of_eight():
    sizes = {crop: kr.data.Augmentation(crop=crop).window for crop in (1, 8, 500, (9, 16))}
    assert sizes == {1: (8, 8), 8: (8, 8), 500: (504, 504), (9, 16): (16, 16)}
    assert kr.data.Augmentation().window is None


def test_a_small_image_lies_anywhere_in_its_crop():
    corners = set()
    for seed in range(200):
        ones, zeros, random = np.ones((5, 6, 3), "float32"), np.zeros((5, 6), "uint8"), np.random.default_rng(seed)
        image, mask = pairs.window(ones, zeros, kr.data.Augmentation(crop=8), None, random)
        rows, columns = np.nonzero(mask == 0)
        assert len(rows) == 30
        assert image.sum() == 90
        corners.add((rows.min(), columns.min()))
    assert corners == {(i, j) for i in range(4) for j in range(3)}


@pytest.mark.parametrize("size", [(9, 7), (47, 61)], ids=["smaller", "larger"])
def test_resizing_is_that_of_pillow(size):
    """Pillow's bilinear, too, averages over what a pixel covers where an image shrinks."""
    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(32, 40)).astype("float32"), rng.choice([0, 9, 255], (32, 40)).astype("uint8")
    out, labels_out = pairs.resize(image[..., None], mask, size)
    expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(out[..., 0], np.asarray(expected), atol=1e-4)
    nearest = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
    assert labels_out.dtype == "uint8"
    assert (labels_out == np.asarray(nearest)).mean() > 0.99


def test_what_a_window_holds_is_normalised_first():
    data = mask_files.load("scenes", normalize="channel", augmentation=kr.data.Augmentation(crop=120), batch_size=20)
    assert data.input_shape == (None, None, 3)
    images, found = next(data.epochs(0, 1).as_numpy_iterator())
    outside = found == 255
    assert outside.mean() == pytest.approx(1 - (64 / 120) ** 2)
    assert (images[outside] == 0).all()
    pixels = data._splits["train"].images.reshape(-1, 3).astype("float64")
    np.testing.assert_allclose(data._mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data._std, pixels.std(0), rtol=1e-6)
    raw, _ = next(
        mask_files.load("scenes", augmentation=kr.data.Augmentation(crop=120), batch_size=20)
        .epochs(0, 1)
        .as_numpy_iterator()
    )
    np.testing.assert_allclose(images[~outside], (raw[~outside] - pixels.mean(0)) / pixels.std(0), atol=1e-4)


def test_colours_change_and_labels_do_not():
    options = {"crop": 64}
    plain = next(
        mask_files.load("scenes", augmentation=kr.data.Augmentation(**options)).epochs(0, 1).as_numpy_iterator()
    )
    vivid = next(
        mask_files.load("scenes", augmentation=kr.data.Augmentation(**options, color=0.4))
        .epochs(0, 1)
        .as_numpy_iterator()
    )
    np.testing.assert_array_equal(plain[1], vivid[1])
    assert (np.abs(plain[0] - vivid[0]).mean((1, 2, 3)) > 1).mean() > 0.8
    assert vivid[0].min() >= 0
    assert vivid[0].max() <= 255


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_an_epoch_is_a_function_of_its_seed_and_number(streamed, folder, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 10)
    data = mask_files.load(folder, augmentation=CROP, seed=3, validation=0)
    assert isinstance(data._splits["train"], sources.Pictures if streamed else sources.Arrays)
    images, found = arrays(data.epochs(0, 3))
    assert len(images) == 3 * data.sizes["train"] == 36
    keras.utils.set_random_seed(5)
    late, late_found = arrays(mask_files.load(folder, augmentation=CROP, seed=3, validation=0).epochs(2, 3))
    np.testing.assert_array_equal(images[24:], late)
    np.testing.assert_array_equal(found[24:], late_found)
    for one, other in ((images[:12], images[12:24]), (images[:12], arrays(data.seeded(4).epochs(0, 1))[0])):
        assert not {v.tobytes() for v in one} & {v.tobytes() for v in other}
    sizes = {len(batch) for batch, _ in data.epochs(0, 1)}
    assert sizes == {8, 4}


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_every_example_is_in_one_split_and_once_in_an_epoch(streamed, folder, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 10)
    data = mask_files.load(folder, validation=0.25)
    assert data.sizes == {"train": 9, "validation": 3, "test": 4}
    parts = [arrays(v) for v in (data.epochs(0, 1), data.validation, data.test)]
    values = [sorted(images[:, 0, 0, 0].astype(int).tolist()) for images, _ in parts]
    assert sorted(values[0] + values[1]) == list(range(10, 130, 10))
    assert values[2] == [201, 202, 203, 204]
    for images, found in parts:
        for image, mask in zip(images, found, strict=True):
            np.testing.assert_array_equal(mask, mask_files.mask_of(int(image[0, 0, 0])))
    assert [len(v) for v, _ in data.first(3).test] == [3]
    assert data.first(3).evaluated("test") == 3


def test_options_read_back_from_json_load_the_same_data(folder):
    data = mask_files.load(folder, augmentation=kr.data.Augmentation(crop=(24, 16), scale=(0.7, 1.3)), pad_to=8, seed=2)
    options = json.loads(json.dumps(data.options))
    options["augmentation"] = kr.data.Augmentation(**options["augmentation"])
    again = kr.data.load(data.name, **options)
    assert again.options == data.options
    for one, other in zip(arrays(data.epochs(0, 1)), arrays(again.epochs(0, 1)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_of_several_sizes_need_a_size_or_a_crop(folder):
    mask_files.write(
        folder / "train/images/a.png",
        folder / "train/masks/a.png",
        np.zeros((9, 9, 3), "uint8"),
        np.zeros((9, 9), "uint8"),
    )
    with pytest.raises(ArgumentError, match="image_size, or an augmentation with a crop"):
        mask_files.load(folder)
    with pytest.raises(ArgumentError, match="'channel', 'unit' or None"):
        mask_files.load(folder, normalize="pixel", batch_size=1)
    (folder / "classes.txt").unlink()
    with pytest.raises(ArgumentError, match=r"classes\.txt.*got 0"):
        mask_files.load(folder)
