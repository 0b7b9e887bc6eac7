"""Scenes of digits: every pixel's label is that of what was drawn over it last."""

import numpy as np
import pytest
from helpers import mask_files
from helpers.image_batches import arrays

from keras_resnets.data import scenes, sources


@pytest.fixture(scope="module")
def drawn():
    return mask_files.load("scenes", batch_size=100)


def test_scenes_hold_every_class_and_are_told_by_their_masks(drawn):
    assert drawn.sizes == {"train": 800, "validation": 100, "test": 200}
    assert (drawn.input_shape, drawn.classes, drawn.ignore) == ((64, 64, 3), 11, 255)
    assert (drawn.task, drawn.class_names) == ("segmentation", ("background", *"0123456789"))
    seen = set()
    for split in ("train", "validation", "test"):
        images, found = arrays(getattr(drawn, split))
        assert (images.dtype, found.dtype, found.shape) == ("float32", "int32", (len(images), 64, 64))
        assert set(np.unique(found)) == set(range(11))
        assert 0.75 < (found == 0).mean() < 0.95
        seen |= {image.tobytes() for image in images}
    assert len(seen) == 1100


def test_digits_of_a_split_are_in_no_other():
    pools = scenes._digits()
    assert [len(pool[1]) for pool in pools.values()] == [1260, 140, 397]
    rows = [{image.tobytes() for image in images} for images, _ in pools.values()]
    assert len(set.union(*rows)) == 1797
    by_class = {image.tobytes(): label for images, found in sources.digit_images().values()
                for image, label in zip(images[..., 0], found, strict=True)}  # fmt: skip
    for images, found in pools.values():
        assert [by_class[image.tobytes()] for image in images] == list(found)


def test_a_split_is_drawn_from_its_own_digits(monkeypatch):
    """Digits that are whole squares, of one class in each split: their class is the only one in its scenes."""
    square = np.full((1, 8, 8), 16, "uint8")
    own = {split: (square, np.array([number])) for number, split in enumerate(("train", "validation", "test"))}
    monkeypatch.setattr(scenes, "_digits", lambda: own)
    for number, split in enumerate(own):
        _, found = scenes._render.__wrapped__(split, 3, 64)
        assert set(np.unique(found)) == {0, number + 1}


def test_composition_against_pixels_one_by_one():
    rng = np.random.default_rng(0)
    ground = rng.uniform(0, 255, (5, 6, 3))
    layers = [(label, rng.uniform(0, 1, (5, 6)), rng.uniform(0, 255, 3)) for label in (3, 0, 7)]
    image, mask = scenes.compose(ground, layers)
    for i in range(5):
        for j in range(6):
            color, label = ground[i, j], 0
            for number, cover, paint in layers:
                color = (1 - cover[i, j]) * color + cover[i, j] * paint
                label = number if cover[i, j] >= 0.5 else label
            np.testing.assert_allclose(image[i, j], color)
            assert mask[i, j] == label


def test_a_digit_is_its_picture_enlarged_turned_and_moved():
    """A square of 4x4 levels: its area is the square of the scale, its centre that which was drawn."""
    digit = np.zeros((8, 8))
    digit[2:6, 2:6] = 16
    for seed in range(20):
        cover = scenes._digit(digit, 64, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        scale, angle = rng.uniform(2.5, 5.0), np.deg2rad(rng.uniform(-20, 20))
        center = rng.uniform(2 * scale, 64 - 2 * scale, 2)
        y, x = np.mgrid[0:64, 0:64] + 0.5
        u = (x - center[1]) * np.cos(angle) + (y - center[0]) * np.sin(angle)
        v = (y - center[0]) * np.cos(angle) - (x - center[1]) * np.sin(angle)
        inside = np.maximum(np.abs(u), np.abs(v)) / scale
        # Half covered where the level, falling from 16 to 0 within a pixel of the digit, is 6.5.
        assert (cover[inside < 1.5] == 1).all()
        assert (cover[inside > 2.6] == 0).all()
        assert (cover >= 0.5).sum() == pytest.approx((4.19 * scale) ** 2, rel=0.12)


def test_a_scene_is_itself_at_every_size_and_time(drawn):
    images, found = drawn._splits["test"].images, drawn._splits["test"].labels
    images_again, found_again = scenes._render.__wrapped__("test", 4, 64)
    np.testing.assert_array_equal(images[:4], images_again)
    np.testing.assert_array_equal(found[:4], found_again)
    larger, masks_larger = scenes._render.__wrapped__("test", 4, 128)
    assert (masks_larger[:, ::2, ::2] == found[:4]).mean() > 0.96
    halved = larger.reshape(4, 64, 2, 64, 2, 3).mean((2, 4))
    assert np.abs(halved - images[:4]).mean() < 4
    assert len({image.tobytes() for image in images}) == 200
