"""Folders of images: every usual spelling is understood, and what is left out or guessed is told or refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers import mask_files
from PIL import Image

import keras_resnets as kr
from keras_resnets.data import folders, sources
from keras_resnets.errors import ArgumentError


def _tree(root, **counts):
    """Fills folders with images; two underscores part a folder from the one in it."""
    for path, count in counts.items():
        folder = root / path.replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(count):
            Image.fromarray(np.full((4, 4, 3), n, "uint8")).save(folder / f"{n}.png")
    return root


def _load(root, **options):
    told = []
    data = kr.data.load(root, image_size=4, normalize=None, tell=told.append, **options)
    return data, "\n".join(told)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "TEST"),
        ("training", "valid", "testing"),
        ("TRAIN", "dev", "Test"),
    ],
)
def test_splits_are_understood_in_their_usual_spellings(train, validation, test, tmp_path):
    counts = {f"{split}__{kind}": n for split, n in ((train, 5), (validation, 2), (test, 3)) for kind in ("cat", "dog")}
    data, told = _load(_tree(tmp_path, **counts))
    assert (data.sizes, data.class_names) == ({"train": 10, "validation": 4, "test": 6}, ("cat", "dog"))
    assert told == (
        f"{tmp_path}: 2 classes (cat, dog); train 10 images of '{train}', validation 4 images of '{validation}', test "
        f"6 images of '{test}'."
    )


def test_what_is_held_out_is_told(tmp_path):
    _, told = _load(_tree(tmp_path / "a", train__cat=10, train__dog=10, val__cat=2, val__dog=2))
    assert "train 16 images of 'train', validation 4 images of 'val', test 4 images held out of train." in told
    _, told = _load(_tree(tmp_path / "b", cat=20, dog=20))
    assert "train 28 images of the folder itself, validation 4 images held out of train, test 8 images held" in told
    _, told = _load(tmp_path / "a", validation=0)
    assert "validation unused, of 'val', as the argument validation asks" in told


def test_what_is_left_out_is_told_and_is_no_class(tmp_path):
    _tree(tmp_path, **{"cat": 5, "dog": 5, ".ipynb_checkpoints": 1})
    _tree(tmp_path / "__MACOSX", cat=3)
    (tmp_path / "cat" / "._0.png").write_bytes(b"of a Mac")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / "photo.heic").write_bytes(b"no image that is read")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    (tmp_path / "dog" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "README.md").write_text("about")
    data, told = _load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert sum(data.sizes.values()) == 10
    for words in ("folder ('.ipynb_checkpoints')", "folder ('__MACOSX')", "1 hidden files", "1 files ending in '.txt'",
                  "1 files ending in '.heic'", "no file ('pipe.png')", "no file ('zero.png')",
                  "1 files outside the folders of the classes"):  # fmt: skip
        assert words in told
    beside = _tree(tmp_path / "beside", train__cat=3, train__dog=3, test__cat=1, test__dog=1, extra__cat=2)
    data, told = _load(beside, validation=0)
    assert data.sizes == {"train": 6, "test": 2}
    assert "left out: 1 folder beside the splits ('extra')" in told


def test_images_in_sub_folders_are_read_and_told(tmp_path):
    _tree(tmp_path, cat=4, cat__old=2, cat__old__older=1, dog=5)
    (tmp_path / "cat" / "old" / "again").symlink_to(tmp_path / "cat")
    data, told = _load(tmp_path)
    assert sum(data.sizes.values()) == 12
    assert "3 images in sub-folders of the class 'cat'" in told
    assert "1 link to a folder that is read already ('again')" in told


def test_every_suffix_is_read_in_any_case(tmp_path):
    _tree(tmp_path, cat=0, dog=0)
    formats = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "bmp": "BMP", "gif": "GIF",
               "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF"}  # fmt: skip
    for suffix, kind in formats.items():
        for folder, spelled in (("cat", suffix), ("dog", suffix.upper())):
            Image.fromarray(np.zeros((4, 4, 3), "uint8")).save(tmp_path / folder / f"{suffix}.{spelled}", format=kind)
    data, told = _load(tmp_path)
    assert sum(data.sizes.values()) == 2 * len(formats)
    assert "left out" not in told


def test_a_class_of_the_name_of_a_split_is_a_class(tmp_path):
    data, _ = _load(_tree(tmp_path, bus=5, train=5, tram=5))
    assert data.class_names == ("bus", "train", "tram")


def test_a_class_that_is_not_tested_is_told(tmp_path):
    data, told = _load(_tree(tmp_path, train__cat=4, train__dog=4, test__dog=2), validation=0)
    assert data.class_names == ("cat", "dog")
    np.testing.assert_array_equal(np.concatenate([y for _, y in data.test]), [1, 1])
    assert "1 class without an image in test ('cat')" in told


def _latin(root):
    _tree(root, a=3)
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    Image.fromarray(np.zeros((4, 4, 3), "uint8")).save(root / "0.png")
    os.rename(root / "0.png", os.fsencode(root) + b"/caf\xe9/0.png")


REFUSED = [
    ("of test alone", {"train__cat": 3, "train__dog": 3, "test__cat": 2, "test__bird": 2}, ["'bird'", "only in test"]),
    ("another case", {"train__cat": 3, "train__dog": 3, "test__Cat": 2, "test__dog": 2}, ["'Cat'", "only in test"]),
    ("class without images", {"cat": 3, "dog": 3, "empty": 0}, ["'empty'", "in none", ".webp", "remove"]),
    ("one class", {"cat": 3}, ["at least 2", "'cat'", "give it"]),
    ("no split to train on", {"test__cat": 3, "test__dog": 3}, ["'test'", "'train'"]),
    ("splits and classes", {"cat": 3, "dog": 3, "test__cat": 3, "test__dog": 3}, ["'test'", "none to train on"]),
    ("one split twice", {"train__a": 1, "train__b": 1, "val__a": 1, "valid__a": 1}, ["'val'", "'valid'", "join"]),
    ("splits in classes", {"cat__train": 2, "cat__test": 2, "dog__train": 2}, ["/cat/test'", "'test/cat'"]),
    ("name of a class", _latin, ["UTF-8", "caf", "rename"]),
]


@pytest.mark.parametrize(("tree", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_folder_that_would_be_read_wrong_is_refused(tree, words, tmp_path):
    if callable(tree):
        tree(tmp_path)
    else:
        _tree(tmp_path, **tree)
    with pytest.raises(ArgumentError) as raised:
        _load(tmp_path)
    for word in words:
        assert word in str(raised.value)


def test_it_is_told_once_and_on_standard_error(tmp_path, capsys):
    _tree(tmp_path, cat=5, dog=5)
    for _ in range(2):
        data = kr.data.load(tmp_path, image_size=4, validation=0)
    data.batched(batch_size=2, augmentation=kr.data.Augmentation(resized_crop=True))
    told = capsys.readouterr()
    assert told.err == f"{tmp_path}: 2 classes (cat, dog); train 8 images of the folder itself, test 2 images held " \
                       f"out of train.\n"  # fmt: skip
    assert told.out == ""


def test_many_names_are_shortened():
    line = next(folders.Notes(Path("a")).lines([str(i) for i in range(1000)], {}))
    assert line.startswith("a: 1000 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 990 more)")


# Folders of images and masks.


def _masks(root, **counts):
    for place, values in counts.items():
        mask_files.fill(root / place if place != "top" else root, values)
    (root / "classes.txt").write_text("sky\nsea\nsand")
    return root


def _told(root, **options):
    told = []
    data = mask_files.load(root, tell=told.append, **options)
    return data, "\n".join(told)


def test_splits_with_masks_are_understood_and_told(tmp_path):
    data, told = _told(_masks(tmp_path, Train=range(6), valid=range(3), TESTING=range(4)))
    assert data.sizes == {"train": 6, "validation": 3, "test": 4}
    assert "3 classes (sky, sea, sand); train 6 images of 'Train', validation 3 images of 'valid', test 4" in told
    (tmp_path / "Train" / "images" / "5.png").unlink()
    (tmp_path / "Train" / "images" / ".hidden.png").write_bytes(b"")
    data, told = _told(tmp_path)
    assert data.sizes["train"] == 5
    assert "1 masks of train without an image" in told
    assert "1 hidden files" in told


def test_masks_are_found_whatever_the_case_of_their_suffix(tmp_path):
    _masks(tmp_path, top=range(6))
    (tmp_path / "masks" / "3.png").rename(tmp_path / "masks" / "3.PNG")
    assert sum(_told(tmp_path)[0].sizes.values()) == 6


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_name_are_refused(folder, tmp_path):
    _masks(tmp_path, top=range(6))
    Image.fromarray(np.zeros((16, 24), "uint8")).save(tmp_path / folder / "3.bmp")
    with pytest.raises(ArgumentError, match=f"/{folder}' must have one file for each name; got '3.bmp' and '3.png'"):
        _told(tmp_path)


def test_masks_of_0_and_255_are_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("background\nthing")
    for n in range(4):
        mask = np.zeros((6, 6), "uint8")
        mask[:, 3:] = 255
        mask_files.write(tmp_path / f"images/{n}.png", tmp_path / f"masks/{n}.png", np.zeros((6, 6, 3), "uint8"), mask)
    with pytest.raises(ArgumentError, match=r"classes.txt' must name classes that have a pixel .*1 \(thing\) has none"):
        _told(tmp_path)


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_an_image_is_turned_with_its_mask_or_refused(streamed, tmp_path, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1)
    _masks(tmp_path, train=range(3))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.arange(16 * 24, dtype="uint8").reshape(16, 24)
    lying = Image.fromarray(np.rot90(np.stack([upright] * 3, -1)).copy())
    lying.save(tmp_path / "train" / "images" / "2.png", exif=exif.tobytes())
    data, told = _told(tmp_path, validation=0, image_size=None)
    assert "1 turned as their EXIF data say" in told
    images = [image for images, _ in [*data.train_in_order, *data.test] for image in images]
    assert any(np.array_equal(image[..., 0], upright) for image in images)
    Image.fromarray(np.rot90(mask_files.mask_of(2)).copy()).save(tmp_path / "train" / "masks" / "2.png")
    with pytest.raises(ArgumentError, match=r"2.png' must be as large as its image, 24x16, turned as .*; got 16x24"):
        _told(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"sky\ncaf\xe9\nsand", ["UTF-8", "line 2", "0xe9"]),
        ("sky\nsea\nsand".encode("utf-16"), ["UTF-8", "line 1"]),
        (b"sky\nsea\nsky", ["different", "got 3, 2 of them"]),
    ],
)
def test_names_that_cannot_be_read_are_refused(content, words, tmp_path):
    _masks(tmp_path, top=range(6))
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ArgumentError) as raised:
        _told(tmp_path)
    for word in ["classes.txt", *words]:
        assert word in str(raised.value)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    _masks(tmp_path, top=range(6))
    (tmp_path / "classes.txt").write_bytes("sky\r\ncafé\r\nsand\r\n".encode("utf-8-sig"))
    assert _told(tmp_path)[0].class_names == ("sky", "café", "sand")
