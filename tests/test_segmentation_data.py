"""Data for segmentation: what a pixel's label is, and that it stays with its pixel."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import keras_resnets as kr
from keras_resnets.data import labels, pairs, scenes, sources
from keras_resnets.errors import ArgumentError

TFDS = Path(kr.__file__).parents[2] / "shared" / "data" / "tfds"
camvid = pytest.mark.skipif(not (TFDS / "camvid").is_dir(), reason=f"no CamVid in {TFDS.name} beside the checkout")
CROP = kr.data.Augmentation(crop=48, scale=(0.7, 1.3), flip=True, color=0.3)


def _load(name, **options):
    return kr.data.load(name, **{"task": "segmentation", "normalize": None, "batch_size": 8, **options})


def _arrays(batches):
    images, found = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(found)


@pytest.fixture(scope="module")
def drawn():
    return _load("scenes", batch_size=100)


# Scenes.


def test_scenes_hold_every_class_and_are_told_by_their_masks(drawn):
    assert drawn.sizes == {"train": 800, "validation": 100, "test": 200}
    assert (drawn.input_shape, drawn.classes, drawn.ignore) == ((64, 64, 3), 11, 255)
    assert (drawn.task, drawn.class_names) == ("segmentation", ("background", *"0123456789"))
    seen = set()
    for split in ("train", "validation", "test"):
        images, found = _arrays(getattr(drawn, split))
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
        scale, angle = rng.uniform(1.5, 3.5), np.deg2rad(rng.uniform(-20, 20))
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
    images, found = drawn._splits["test"].images.numpy(), drawn._splits["test"].labels.numpy()
    images_again, found_again = scenes._render.__wrapped__("test", 4, 64)
    np.testing.assert_array_equal(images[:4], images_again)
    np.testing.assert_array_equal(found[:4], found_again)
    larger, masks_larger = scenes._render.__wrapped__("test", 4, 128)
    assert (masks_larger[:, ::2, ::2] == found[:4]).mean() > 0.96
    halved = larger.reshape(4, 64, 2, 64, 2, 3).mean((2, 4))
    assert np.abs(halved - images[:4]).mean() < 4
    assert len({image.tobytes() for image in images}) == 200


# One draw for image and mask.


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
        out, mask = (v.numpy() for v in pairs.window(image, position.astype("uint8"), augmentation, None, (0, seed)))
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
        _, out = pairs.window(np.zeros((12, 10, 3), "float32"), mask, augmentation, None, (seed, 1))
        found = [(i, j) for i in range(17) for j in range(5) if (large[i : i + 8, j : j + 16] == out.numpy()).all()]
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
        image, mask = pairs.window(
            np.ones((5, 6, 3), "float32"), np.zeros((5, 6), "uint8"), kr.data.Augmentation(crop=8), None, (seed, 0)
        )
        rows, columns = np.nonzero(mask.numpy() == 0)
        assert len(rows) == 30
        assert image.numpy().sum() == 90
        corners.add((rows.min(), columns.min()))
    assert corners == {(i, j) for i in range(4) for j in range(3)}


@pytest.mark.parametrize("size", [(9, 7), (47, 61)], ids=["smaller", "larger"])
def test_resizing_is_that_of_pillow(size):
    """Pillow's bilinear, too, averages over what a pixel covers where an image shrinks."""
    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(32, 40)).astype("float32"), rng.choice([0, 9, 255], (32, 40)).astype("uint8")
    out, labels_out = pairs.resize(image[..., None], mask, size)
    expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(out.numpy()[..., 0], np.asarray(expected), atol=1e-4)
    nearest = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
    assert labels_out.dtype == "uint8"
    assert (labels_out.numpy() == np.asarray(nearest)).mean() > 0.99


def test_what_a_window_holds_is_normalised_first():
    data = _load("scenes", normalize="channel", augmentation=kr.data.Augmentation(crop=120), batch_size=20)
    assert data.input_shape == (None, None, 3)
    images, found = next(data.epochs(0, 1).as_numpy_iterator())
    outside = found == 255
    assert outside.mean() == pytest.approx(1 - (64 / 120) ** 2)
    assert (images[outside] == 0).all()
    pixels = data._splits["train"].images.numpy().reshape(-1, 3).astype("float64")
    np.testing.assert_allclose(data._mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data._std, pixels.std(0), rtol=1e-6)
    raw, _ = next(
        _load("scenes", augmentation=kr.data.Augmentation(crop=120), batch_size=20).epochs(0, 1).as_numpy_iterator()
    )
    np.testing.assert_allclose(images[~outside], (raw[~outside] - pixels.mean(0)) / pixels.std(0), atol=1e-4)


def test_colours_change_and_labels_do_not():
    options = {"crop": 64}
    plain = next(_load("scenes", augmentation=kr.data.Augmentation(**options)).epochs(0, 1).as_numpy_iterator())
    vivid = next(
        _load("scenes", augmentation=kr.data.Augmentation(**options, color=0.4)).epochs(0, 1).as_numpy_iterator()
    )
    np.testing.assert_array_equal(plain[1], vivid[1])
    assert (np.abs(plain[0] - vivid[0]).mean((1, 2, 3)) > 1).mean() > 0.8
    assert vivid[0].min() >= 0
    assert vivid[0].max() <= 255


# Epochs.


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_an_epoch_is_a_function_of_its_seed_and_number(streamed, folder, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 10)
    data = _load(folder, augmentation=CROP, seed=3, validation=0)
    assert isinstance(data._splits["train"], sources.Stream if streamed else sources.Arrays)
    images, found = _arrays(data.epochs(0, 3))
    assert len(images) == 3 * data.sizes["train"] == 36
    keras.utils.set_random_seed(5)
    late, late_found = _arrays(_load(folder, augmentation=CROP, seed=3, validation=0).epochs(2, 3))
    np.testing.assert_array_equal(images[24:], late)
    np.testing.assert_array_equal(found[24:], late_found)
    for one, other in ((images[:12], images[12:24]), (images[:12], _arrays(data.seeded(4).epochs(0, 1))[0])):
        assert not {v.tobytes() for v in one} & {v.tobytes() for v in other}
    sizes = {len(batch) for batch, _ in data.epochs(0, 1)}
    assert sizes == {8, 4}


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_every_example_is_in_one_split_and_once_in_an_epoch(streamed, folder, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 10)
    data = _load(folder, validation=0.25)
    assert data.sizes == {"train": 9, "validation": 3, "test": 4}
    parts = [_arrays(v) for v in (data.epochs(0, 1), data.validation, data.test)]
    values = [sorted(images[:, 0, 0, 0].astype(int).tolist()) for images, _ in parts]
    assert sorted(values[0] + values[1]) == list(range(10, 130, 10))
    assert values[2] == [201, 202, 203, 204]
    for images, found in parts:
        for image, mask in zip(images, found, strict=True):
            np.testing.assert_array_equal(mask, _mask_of(int(image[0, 0, 0])))
    assert [len(v) for v, _ in data.first(3).test] == [3]
    assert data.first(3).evaluated("test") == 3


def test_options_read_back_from_json_load_the_same_data(folder):
    data = _load(folder, augmentation=kr.data.Augmentation(crop=(24, 16), scale=(0.7, 1.3)), pad_to=8, seed=2)
    options = json.loads(json.dumps(data.options))
    options["augmentation"] = kr.data.Augmentation(**options["augmentation"])
    again = kr.data.load(data.name, **options)
    assert again.options == data.options
    for one, other in zip(_arrays(data.epochs(0, 1)), _arrays(again.epochs(0, 1)), strict=True):
        np.testing.assert_array_equal(one, other)


# Folders.


def _mask_of(value):
    """A mask told by the one value of its image: three columns, of which the last is no class."""
    mask = np.full((16, 24), value % 3, "uint8")
    mask[:, 8:16], mask[:, 16:] = (value + 1) % 3, 255
    return mask


def _write(image_file, mask_file, image, mask, palette=True):
    for file in (image_file, mask_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(image_file)
    picture = Image.fromarray(mask)
    if palette:
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(mask_file)


def _fill(root, values, **options):
    for value in values:
        image = np.full((16, 24, 3), value, "uint8")
        _write(root / "images" / f"{value}.png", root / "masks" / f"{value}.png", image, _mask_of(value), **options)


@pytest.fixture
def folder(tmp_path):
    _fill(tmp_path / "train", range(10, 130, 10))
    _fill(tmp_path / "test", range(201, 205), palette=False)
    (tmp_path / "classes.txt").write_text("sky\nsea\n\nsand\n")
    return tmp_path


def test_a_folder_has_the_numbers_of_its_masks_and_not_their_colours(folder):
    data = _load(folder)
    assert (data.input_shape, data.class_names, data.classes) == ((16, 24, 3), ("sky", "sea", "sand"), 3)
    assert data.colors == kr.data.palette(3)
    share = np.zeros(3)
    for image in data._splits["train"].images.numpy():
        share += np.bincount(_mask_of(int(image[0, 0, 0]))[:, :16].ravel(), minlength=3)
    np.testing.assert_allclose(data.class_share(), share / share.sum())
    assert data.class_share().sum() == pytest.approx(1)


def test_a_folder_without_splits_is_split_for_you(tmp_path):
    _fill(tmp_path, range(10, 130, 10))
    (tmp_path / "classes.txt").write_text("sky\nsea\nsand")
    data = _load(tmp_path, validation=0.2)
    # A fifth of 12 for testing, then a fifth of the 9 left, both rounded up.
    assert data.sizes == {"train": 7, "validation": 2, "test": 3}
    images, found = _arrays(data.unseen)
    assert sorted(images[:, 0, 0, 0].astype(int).tolist()) == list(range(10, 130, 10))
    for image, mask in zip(images, found, strict=True):
        np.testing.assert_array_equal(mask, _mask_of(int(image[0, 0, 0])))


def test_a_folder_laid_out_as_voc_is_tested_on_val(tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, stems in (("train", ["a1", "a2", "a3"]), ("val", ["b1", "b2"]), ("test", ["c1"])):
        (lists / f"{split}.txt").write_text("\n".join(stems) + "\n")
        for number, stem in enumerate(stems):
            image, mask = np.full((9 + number, 14, 3), 100, "uint8"), np.full((9 + number, 14), 20, "uint8")
            mask[0], mask[1] = 0, 255
            _write(tmp_path / f"JPEGImages/{stem}.jpg", tmp_path / f"SegmentationClass/{stem}.png", image, mask)
    (tmp_path / "SegmentationClass" / "c1.png").unlink()
    data = _load(tmp_path, validation=0, batch_size=1)
    assert data.sizes == {"train": 3, "test": 2}
    assert (data.class_names[0], data.class_names[20], data.classes) == ("background", "tvmonitor", 21)
    # Images of several sizes come one by one, each as large as it is.
    assert data.input_shape == (None, None, 3)
    assert sorted(image.shape[1] for image, _ in data.test) == [9, 10]
    # Where the masks of the test split are there, they are what is tested on.
    shutil.copy(tmp_path / "SegmentationClass" / "a1.png", tmp_path / "SegmentationClass" / "c1.png")
    assert _load(tmp_path, batch_size=1).sizes == {"train": 3, "validation": 2, "test": 1}
    (tmp_path / "SegmentationClass" / "c1.png").unlink()
    padded = _load(tmp_path, validation=0, batch_size=1, pad_to=8)
    for image, mask in padded.test.as_numpy_iterator():
        assert image.shape[1:] == (16, 16, 3)
        rows = int((mask[0, :, 0] == 20).sum()) + 2
        assert (mask[0, rows:] == 255).all()
        assert (mask[0, 2:rows, 14:] == 255).all()
        assert (mask[0, 2:rows, :14] == 20).all()
        assert (mask[0, 0, :14] == 0).all()
    square = _load(tmp_path, validation=0, batch_size=2, image_size=28, pad_to=16)
    assert square.input_shape == (32, 32, 3)
    images, found = _arrays(square.test)
    for image, mask in zip(images, found, strict=True):
        rows = np.flatnonzero((image[:, 0] > 0).all(-1)).max() + 1
        assert rows in (18, 20)
        assert (image[:rows, :28] > 90).all()
        assert (image[rows:] == 0).all()
        assert (image[:, 28:] == 0).all()
        assert (mask[4:rows, :28] == 20).all()
        assert (mask[rows:] == 255).all()


def test_statistics_of_images_of_several_sizes_are_over_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (n, n + 3, 3)).astype("uint8") for n in (4, 7, 9, 20)]
    for number, image in enumerate(pixels):
        mask = np.zeros(image.shape[:2], "uint8")
        _write(tmp_path / f"train/images/{number}.png", tmp_path / f"train/masks/{number}.png", image, mask)
        _write(tmp_path / f"val/images/{number}.png", tmp_path / f"val/masks/{number}.png", image[:2], mask[:2])
        _write(tmp_path / f"test/images/{number}.png", tmp_path / f"test/masks/{number}.png", image[:3], mask[:3])
    (tmp_path / "classes.txt").write_text("one\ntwo")
    data = _load(tmp_path, normalize="channel", augmentation=CROP)
    everything = np.concatenate([image.reshape(-1, 3) for image in pixels]).astype("float64")
    np.testing.assert_allclose(data._mean, everything.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data._std, everything.std(0), rtol=1e-6)
    assert [image.shape[1] for image, _ in data.validation] == [2] * 4
    assert [image.shape[1] for image, _ in data.test] == [3] * 4
    assert next(iter(data.epochs(0, 1)))[0].shape == (4, 48, 48, 3)


def _broken(what):
    def breaks(folder):
        mask = folder / "train" / "masks" / "50.png"
        if what == "missing":
            mask.unlink()
        elif what == "size":
            Image.fromarray(np.zeros((16, 23), "uint8")).save(mask)
        elif what == "label":
            Image.fromarray(np.full((16, 24), 3, "uint8")).save(mask)
        elif what == "colours":
            Image.fromarray(np.zeros((16, 24, 3), "uint8")).save(mask)
        elif what == "damaged":
            mask.write_bytes(mask.read_bytes()[:60])
        elif what == "cut":
            mask.write_bytes(mask.read_bytes()[:-25])
        return mask

    return breaks


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", ["no mask", "add it"]),
        ("size", ["24x16", "23x16"]),
        ("label", ["from 0 to 2", "255", "got 3"]),
        ("colours", ["grey or palette", "RGB"]),
        ("damaged", ["not an image that can be read"]),
        ("cut", ["not an image that can be read"]),
    ],
)
def test_a_bad_mask_is_named(folder, what, words):
    mask = _broken(what)(folder)
    with pytest.raises(ArgumentError) as raised:
        _load(folder)
    for word in [str(mask), *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: _load("digits"), ArgumentError, ["digits", "scenes"]),
        (lambda p: kr.data.load("scenes"), ArgumentError, ["scenes", "task='segmentation'"]),
        (lambda p: _load("scenes", task="detection"), ArgumentError, ["task", "'detection'"]),
        (lambda p: kr.data.load("digits", pad_to=8), ArgumentError, ["pad_to", "8", "segmentation"]),
        (lambda p: _load("scenes", pad_to=0), ArgumentError, ["pad_to", "from 1", "0"]),
        (lambda p: _load("scenes", augmentation=kr.data.Augmentation(pad=4)), ArgumentError, ["pad=4", "crop"]),
        (lambda p: kr.data.load("digits", augmentation=CROP), ArgumentError, ["crop=48", "classification"]),
        (lambda p: kr.data.Augmentation(scale=(0.7, 1.3)), ArgumentError, ["scale", "crop", "(0.7, 1.3)"]),
        (lambda p: kr.data.Augmentation(crop=8, scale=(1.3, 0.7)), ArgumentError, ["scale", "(1.3, 0.7)"]),
        (lambda p: kr.data.Augmentation(crop=8, scale=0.5), ArgumentError, ["scale", "0.5"]),
        (lambda p: kr.data.Augmentation(crop=(8, 8, 3)), ArgumentError, ["crop", "(8, 8, 3)"]),
        (lambda p: kr.data.Augmentation(crop=0), ArgumentError, ["crop", "at least 1", "0"]),
        (lambda p: _load(p / "nowhere"), FileNotFoundError, ["nowhere", "images and masks"]),
        (lambda p: _load(p), FileNotFoundError, ["train/masks", "SegmentationClass"]),
        (lambda p: kr.data.palette(257), ArgumentError, ["classes", "256", "257"]),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_sentence(call, error, words, tmp_path):
    with pytest.raises(error) as raised:
        call(tmp_path)
    for word in words:
        assert word in str(raised.value)


def test_images_of_several_sizes_need_a_size_or_a_crop(folder):
    _write(
        folder / "train/images/a.png",
        folder / "train/masks/a.png",
        np.zeros((9, 9, 3), "uint8"),
        np.zeros((9, 9), "uint8"),
    )
    with pytest.raises(ArgumentError, match="image_size, or an augmentation with a crop"):
        _load(folder)
    with pytest.raises(ArgumentError, match="'channel', 'unit' or None"):
        _load(folder, normalize="pixel", batch_size=1)
    (folder / "classes.txt").unlink()
    with pytest.raises(ArgumentError, match=r"classes\.txt.*got 0"):
        _load(folder)


# Sets of tensorflow-datasets.


class TinyMasks(tfds.core.GeneratorBasedBuilder):
    """Masks of two classes, whose first row is no class."""

    VERSION = tfds.core.Version("1.0.0")
    names: list[str] | None = ["sea", "sky"]
    mask = "segmentation_label"
    border = 255

    def _info(self):
        shape = (4, 6, 1)
        mask = (
            tfds.features.LabeledImage(labels=self.names, shape=shape)
            if self.names
            else tfds.features.Image(shape=shape)
        )
        features = {"image_left": tfds.features.Image(shape=(4, 6, 3)), self.mask: mask}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
        for i in range(count):
            mask = np.full((4, 6, 1), i % 2, "uint8")
            mask[0] = self.border
            yield i, {"image_left": np.full((4, 6, 3), 10 * i, "uint8"), self.mask: mask}


class TinyMasksStrayNumber(TinyMasks):
    border = 2


class TinyMasksWithoutNames(TinyMasks):
    names = None


class TinyMasksElsewhere(TinyMasks):
    mask = "depth"


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_a_set_with_named_classes_needs_nothing_else(streamed, tmp_path, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 10)
    data = _load("tiny_masks", data_dir=tmp_path, download=True, validation=0)
    assert (data.input_shape, data.class_names) == ((4, 6, 3), ("sea", "sky"))
    assert data.sizes == {"train": 5, "test": 2}
    images, found = _arrays(data.epochs(0, 1))
    assert sorted(images[:, 0, 0, 0].tolist()) == [0, 10, 20, 30, 40]
    assert (found[:, 0] == 255).all()
    np.testing.assert_array_equal(found[:, 1, 0], images[:, 0, 0, 0] / 10 % 2)
    np.testing.assert_allclose(data.class_share(), [0.6, 0.4])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny_masks_stray_number", ["none of its classes"]),
        ("tiny_masks_without_names", ["how many classes", "classes.txt"]),
        ("tiny_masks_elsewhere", ["['depth', 'image_left']", "'segmentation_mask'"]),
    ],
)
def test_a_set_that_cannot_be_used_is_refused(name, words, tmp_path):
    with pytest.raises(ArgumentError) as raised:
        _load(name, data_dir=tmp_path, download=True)
    for word in [name, *words]:
        assert word in str(raised.value)


@camvid
def test_camvid_is_as_published():
    data = _load("camvid", data_dir=TFDS, pad_to=8)
    assert data.sizes == {"train": 367, "validation": 101, "test": 233}
    assert (data.input_shape, data.classes) == ((184, 240, 3), 11)
    # Shares of all pixels, unlabelled ones among them, in per cent: shared/data/README.md.
    published = [16.8, 23.2, 1.0, 31.8, 4.5, 9.7, 1.2, 1.1, 5.9, 0.6, 0.3]
    stored = data._splits["train"].labels.numpy()
    assert set(np.unique(stored)) == {*range(11), 255}
    np.testing.assert_allclose(100 * data.class_share() * (stored != 255).mean(), published, atol=0.051)
    assert 100 * (stored == 255).mean() == pytest.approx(4.0, abs=0.051)
    assert (data.class_names[8], data.colors[8]) == ("car", (64, 0, 128))
    images, found = next(data.test.as_numpy_iterator())
    assert (found[:, 180:] == 255).all()
    assert (images[:, 180:] == 0).all()
    np.testing.assert_array_equal(images[:, :180], data._splits["test"].images.numpy()[:8])
    np.testing.assert_array_equal(found[:, :180], data._splits["test"].labels.numpy()[:8])
    # Sky is above, road below.
    rows = np.arange(180)[:, None]
    assert (rows * (stored == 0)).sum() / (stored == 0).sum() < 60
    assert (rows * (stored == 3)).sum() / (stored == 3).sum() > 110


@camvid
def test_camvid_streamed_is_camvid(monkeypatch):
    stored = _load("camvid", data_dir=TFDS)
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1000)
    data = _load("camvid", data_dir=TFDS)
    assert isinstance(data._splits["validation"], sources.Stream)
    for one, other in zip(next(iter(data.validation)), next(iter(stored.validation)), strict=True):
        np.testing.assert_array_equal(one, other)
    half = _load("camvid", data_dir=TFDS, image_size=120)
    images, found = next(half.epochs(0, 1).as_numpy_iterator())
    assert (images.shape, found.shape) == ((8, 90, 120, 3), (8, 90, 120))


def test_numbers_of_known_sets():
    assert labels.CAMVID.lookup()[[0, 10, 11, 12, 255]].tolist() == [0, 10, 255, labels.UNKNOWN, 255]
    table = labels.CITYSCAPES.lookup()
    # Of cityscapesScripts: 19 of the ids 0 to 33 are evaluated, in this order.
    evaluated = [i for i in range(34) if table[i] != 255]
    assert evaluated == [7, 8, *range(11, 14), 17, *range(19, 29), 31, 32, 33]
    assert table[evaluated].tolist() == list(range(19))
    assert (table[34:255] == labels.UNKNOWN).all()
    assert labels.PETS.lookup()[:5].tolist() == [labels.UNKNOWN, 0, 1, 2, labels.UNKNOWN]
    for known, classes in ((labels.CAMVID, 11), (labels.CITYSCAPES, 19), (labels.VOC, 21)):
        assert len(known.names) == len(set(known.names)) == classes
        assert known.colors is None or len(known.colors) == len(set(known.colors)) == classes


def test_palette_is_that_of_voc():
    colors = kr.data.palette(256)
    assert len(set(colors)) == 256
    assert colors[1:8] == (
        (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
    )  # fmt: skip
    # tvmonitor, and the border between objects.
    assert (colors[20], colors[255]) == ((0, 64, 128), (224, 224, 192))
