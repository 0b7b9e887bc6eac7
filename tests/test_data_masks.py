"""Masks from folders and from tensorflow-datasets: their numbers, and the sentences on what is wrong with them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import mask_files
from helpers.image_batches import arrays
from PIL import Image

import keras_resnets as kr
from keras_resnets.data import labels, sources
from keras_resnets.errors import ArgumentError

TFDS = Path(kr.__file__).parents[2] / "shared" / "data" / "tfds"
camvid = pytest.mark.skipif(not (TFDS / "camvid").is_dir(), reason=f"no CamVid in {TFDS.name} beside the checkout")
CROP = kr.data.Augmentation(crop=48, scale=(0.7, 1.3), flip=True, color=0.3)


def test_a_folder_has_the_numbers_of_its_masks_and_not_their_colours(folder):
    data = mask_files.load(folder)
    assert (data.input_shape, data.class_names, data.classes) == ((16, 24, 3), ("sky", "sea", "sand"), 3)
    assert data.colors == kr.data.palette(3)
    share = np.zeros(3)
    for image in data._splits["train"].images:
        share += np.bincount(mask_files.mask_of(int(image[0, 0, 0]))[:, :16].ravel(), minlength=3)
    np.testing.assert_allclose(data.class_share(), share / share.sum())
    assert data.class_share().sum() == pytest.approx(1)


def test_a_folder_without_splits_is_split_for_you(tmp_path):
    mask_files.fill(tmp_path, range(10, 130, 10))
    (tmp_path / "classes.txt").write_text("sky\nsea\nsand")
    data = mask_files.load(tmp_path, validation=0.2)
    # A fifth of 12 for testing, then a fifth of the 9 left, both rounded up.
    assert data.sizes == {"train": 7, "validation": 2, "test": 3}
    images, found = arrays(data.unseen)
    assert sorted(images[:, 0, 0, 0].astype(int).tolist()) == list(range(10, 130, 10))
    for image, mask in zip(images, found, strict=True):
        np.testing.assert_array_equal(mask, mask_files.mask_of(int(image[0, 0, 0])))


def test_a_folder_laid_out_as_voc_is_tested_on_val(tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, stems in (("train", ["a1", "a2", "a3"]), ("val", ["b1", "b2"]), ("test", ["c1"])):
        (lists / f"{split}.txt").write_text("\n".join(stems) + "\n")
        for number, stem in enumerate(stems):
            image, mask = np.full((9 + number, 14, 3), 100, "uint8"), np.full((9 + number, 14), 20, "uint8")
            mask[0], mask[1] = 0, 255
            mask_files.write(
                tmp_path / f"JPEGImages/{stem}.jpg", tmp_path / f"SegmentationClass/{stem}.png", image, mask
            )
    (tmp_path / "SegmentationClass" / "c1.png").unlink()
    told = []
    data = mask_files.load(tmp_path, validation=0, batch_size=1, tell=told.append)
    assert data.sizes == {"train": 3, "test": 2}
    assert "train 3 images of 'ImageSets/Segmentation/train.txt', test 2 images of 'ImageSets/Segm" in told[0]
    # The classes are those of VOC, whether a folder has all of them or not.
    assert "19 classes without a pixel in train (1 (aeroplane), 2 (bicycle), " in told[1]
    assert (data.class_names[0], data.class_names[20], data.classes) == ("background", "tvmonitor", 21)
    # Images of several sizes come one by one, each as large as it is.
    assert data.input_shape == (None, None, 3)
    assert sorted(image.shape[1] for image, _ in data.test) == [9, 10]
    # Where the masks of the test split are there, they are what is tested on.
    shutil.copy(tmp_path / "SegmentationClass" / "a1.png", tmp_path / "SegmentationClass" / "c1.png")
    assert mask_files.load(tmp_path, batch_size=1).sizes == {"train": 3, "validation": 2, "test": 1}
    (tmp_path / "SegmentationClass" / "c1.png").unlink()
    padded = mask_files.load(tmp_path, validation=0, batch_size=1, pad_to=8)
    for image, mask in padded.test.as_numpy_iterator():
        assert image.shape[1:] == (16, 16, 3)
        rows = int((mask[0, :, 0] == 20).sum()) + 2
        assert (mask[0, rows:] == 255).all()
        assert (mask[0, 2:rows, 14:] == 255).all()
        assert (mask[0, 2:rows, :14] == 20).all()
        assert (mask[0, 0, :14] == 0).all()
    square = mask_files.load(tmp_path, validation=0, batch_size=2, image_size=28, pad_to=16)
    assert square.input_shape == (32, 32, 3)
    images, found = arrays(square.test)
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
        mask[-1] = 1
        mask_files.write(tmp_path / f"train/images/{number}.png", tmp_path / f"train/masks/{number}.png", image, mask)
        mask_files.write(
            tmp_path / f"val/images/{number}.png", tmp_path / f"val/masks/{number}.png", image[:2], mask[:2]
        )
        mask_files.write(
            tmp_path / f"test/images/{number}.png", tmp_path / f"test/masks/{number}.png", image[:3], mask[:3]
        )
    (tmp_path / "classes.txt").write_text("one\ntwo")
    data = mask_files.load(tmp_path, normalize="channel", augmentation=CROP)
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
        mask_files.load(folder)
    for word in [str(mask), *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: mask_files.load("digits"), ArgumentError, ["digits", "scenes"]),
        (lambda p: kr.data.load("scenes"), ArgumentError, ["scenes", "task='segmentation'"]),
        (lambda p: mask_files.load("scenes", task="detection"), ArgumentError, ["task", "'detection'"]),
        (lambda p: kr.data.load("digits", pad_to=8), ArgumentError, ["pad_to", "8", "segmentation"]),
        (lambda p: mask_files.load("scenes", pad_to=0), ArgumentError, ["pad_to", "from 1", "0"]),
        (
            lambda p: mask_files.load("scenes", augmentation=kr.data.Augmentation(pad=4)),
            ArgumentError,
            ["pad=4", "crop"],
        ),
        (lambda p: kr.data.load("digits", augmentation=CROP), ArgumentError, ["crop=48", "classification"]),
        (lambda p: kr.data.Augmentation(scale=(0.7, 1.3)), ArgumentError, ["scale", "crop", "(0.7, 1.3)"]),
        (lambda p: kr.data.Augmentation(crop=8, scale=(1.3, 0.7)), ArgumentError, ["scale", "(1.3, 0.7)"]),
        (lambda p: kr.data.Augmentation(crop=8, scale=0.5), ArgumentError, ["scale", "0.5"]),
        (lambda p: kr.data.Augmentation(crop=(8, 8, 3)), ArgumentError, ["crop", "(8, 8, 3)"]),
        (lambda p: kr.data.Augmentation(crop=0), ArgumentError, ["crop", "at least 1", "0"]),
        (lambda p: mask_files.load(p / "nowhere"), FileNotFoundError, ["nowhere", "images and masks"]),
        (lambda p: mask_files.load(p), FileNotFoundError, ["train/masks", "SegmentationClass"]),
        (lambda p: kr.data.palette(257), ArgumentError, ["classes", "256", "257"]),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_sentence(call, error, words, tmp_path):
    with pytest.raises(error) as raised:
        call(tmp_path)
    for word in words:
        assert word in str(raised.value)


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
    data = mask_files.load("tiny_masks", data_dir=tmp_path, download=True, validation=0)
    assert (data.input_shape, data.class_names) == ((4, 6, 3), ("sea", "sky"))
    assert data.sizes == {"train": 5, "test": 2}
    images, found = arrays(data.epochs(0, 1))
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
        mask_files.load(name, data_dir=tmp_path, download=True)
    for word in [name, *words]:
        assert word in str(raised.value)


@camvid
def test_camvid_is_as_published():
    data = mask_files.load("camvid", data_dir=TFDS, pad_to=8)
    assert data.sizes == {"train": 367, "validation": 101, "test": 233}
    assert (data.input_shape, data.classes) == ((184, 240, 3), 11)
    # Shares of all pixels, unlabelled ones among them, in per cent: shared/data/README.md.
    published = [16.8, 23.2, 1.0, 31.8, 4.5, 9.7, 1.2, 1.1, 5.9, 0.6, 0.3]
    stored = data._splits["train"].labels
    assert set(np.unique(stored)) == {*range(11), 255}
    np.testing.assert_allclose(100 * data.class_share() * (stored != 255).mean(), published, atol=0.051)
    assert 100 * (stored == 255).mean() == pytest.approx(4.0, abs=0.051)
    assert (data.class_names[8], data.colors[8]) == ("car", (64, 0, 128))
    images, found = next(data.test.as_numpy_iterator())
    assert (found[:, 180:] == 255).all()
    assert (images[:, 180:] == 0).all()
    np.testing.assert_array_equal(images[:, :180], data._splits["test"].images[:8])
    np.testing.assert_array_equal(found[:, :180], data._splits["test"].labels[:8])
    # Sky is above, road below.
    rows = np.arange(180)[:, None]
    assert (rows * (stored == 0)).sum() / (stored == 0).sum() < 60
    assert (rows * (stored == 3)).sum() / (stored == 3).sum() > 110


@camvid
def test_camvid_streamed_is_camvid(monkeypatch):
    stored = mask_files.load("camvid", data_dir=TFDS)
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1000)
    data = mask_files.load("camvid", data_dir=TFDS)
    assert isinstance(data._splits["validation"], sources.Stream)
    for one, other in zip(next(iter(data.validation)), next(iter(stored.validation)), strict=True):
        np.testing.assert_array_equal(one, other)
    half = mask_files.load("camvid", data_dir=TFDS, image_size=120)
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
