"""Image files: each is read as it is meant, the usual ones as TensorFlow reads them, or refused by name."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import keras_resnets as kr
from keras_resnets.data import pictures, sources
from keras_resnets.errors import ArgumentError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype("uint8")
# Large areas of one colour, which JPEG keeps.
BLOCKS = np.kron(np.random.default_rng(1).integers(60, 200, (2, 3, 3)), np.ones((16, 16, 1))).astype("uint8")


def _oriented(number):
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = number
    return {"exif": exif.tobytes()}


def _palette(pixels=PIXELS):
    return Image.fromarray(pixels).quantize(16)


@pytest.mark.parametrize(
    ("suffix", "mode"), [*(("png", m) for m in ("RGB", "L", "P", "RGBA", "LA", "1")), ("jpg", "RGB"), ("jpg", "L")]
)
def test_the_usual_files_have_the_pixels_that_tensorflow_reads(suffix, mode, tmp_path):
    file = tmp_path / f"a.{suffix}"
    (_palette() if mode == "P" else Image.fromarray(PIXELS).convert(mode)).save(file)
    # As served networks decode them.
    expected = tf.io.decode_jpeg(file.read_bytes(), 3, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(pictures.decoded(file), expected)


def _lossless(tmp_path):
    """Files, each with the picture that it must give."""
    pixels, palette = Image.fromarray(PIXELS), _palette()
    colours = np.asarray(palette.convert("RGB"))
    yield "palette.bmp", lambda f: palette.save(f), colours
    yield "plain.bmp", lambda f: pixels.save(f), PIXELS
    yield "grey.bmp", lambda f: pixels.convert("L").save(f), np.asarray(pixels.convert("L").convert("RGB"))
    yield "still.gif", lambda f: palette.save(f), colours
    yield "moving.gif", lambda f: palette.save(f, save_all=True, append_images=[ImageOps.mirror(palette)]), colours
    yield "exact.webp", lambda f: pixels.save(f, lossless=True), PIXELS
    yield "a.tif", lambda f: pixels.save(f), PIXELS
    yield "b.TIFF", lambda f: pixels.save(f, format="TIFF", compression="tiff_lzw"), PIXELS
    for number in range(1, 9):
        turned = np.asarray(ImageOps.exif_transpose(_with_exif(tmp_path, number)))
        yield f"turned{number}.png", lambda f, n=number: pixels.save(f, **_oriented(n)), turned
    yield "wrongly_named.png", lambda f: pixels.save(f, format="BMP"), PIXELS


def _with_exif(tmp_path, number):
    Image.fromarray(PIXELS).save(tmp_path / "exif.png", **_oriented(number))
    return Image.open(tmp_path / "exif.png")


def test_what_tensorflow_would_change_is_read_right(tmp_path):
    for name, save, expected in _lossless(tmp_path):
        save(tmp_path / name)
        np.testing.assert_array_equal(pictures.decoded(tmp_path / name), expected, name)
    # Turned by a quarter to the right, as 6 says.
    np.testing.assert_array_equal(pictures.decoded(tmp_path / "turned6.png"), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("suffix", ["jpg", "jfif", "jpe"])
def test_jpegs_of_cameras_and_printers_are_turned_and_converted(suffix, tmp_path):
    for number, turned in ((1, BLOCKS), (3, BLOCKS[::-1, ::-1]), (6, np.rot90(BLOCKS, -1)), (8, np.rot90(BLOCKS))):
        file = tmp_path / f"{number}.{suffix}"
        Image.fromarray(BLOCKS).save(file, format="JPEG", quality=95, subsampling=0, **_oriented(number))
        np.testing.assert_allclose(pictures.decoded(file).astype(int), turned, atol=6)
        assert pictures.inspect([file])[0].size == turned.shape[:2]
    file = tmp_path / f"cmyk.{suffix}"
    Image.fromarray(BLOCKS).convert("CMYK").save(file, format="JPEG", quality=95)
    np.testing.assert_allclose(pictures.decoded(file).astype(int), BLOCKS, atol=8)
    assert "CMYK" in pictures.inspect([file])[0].remark


def _deep_rgb(file):
    """A PNG of three channels of 16 bits, which Pillow reads but does not write."""
    file.write_bytes(tf.io.encode_png(PIXELS.astype("uint16") * 3).numpy())


def _cut(file, rest=30):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - rest])


def _flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def _saved(file, change=None, pixels=BLOCKS, **options):
    Image.fromarray(pixels).save(file, **options)
    if change:
        change(file)


def _with_preview(file):
    """A JPEG of a camera, with a whole small one inside, cut in the middle of its own pixels."""
    preview = io.BytesIO()
    Image.fromarray(PIXELS).save(preview, "JPEG")
    Image.fromarray(PIXELS.repeat(20, 0)).save(file)
    content, inside = file.read_bytes(), b"Exif\0\0" + preview.getvalue()
    segment = b"\xff\xe1" + (len(inside) + 2).to_bytes(2, "big") + inside
    file.write_bytes(content[:2] + segment + content[2:])
    assert not isinstance(pictures._inspect(file), ArgumentError)
    _cut(file, 400)


REFUSED = [
    ("preview.jpg", _with_preview, "not an image that can be read"),
    ("endless.jpg", lambda f: _saved(f, lambda file: _cut(file, 2)), "not an image that can be read"),
    ("a.png", lambda f: Image.fromarray(np.full((4, 4), 250, "uint16")).save(f), "8 bits a channel; got 16 bits"),
    ("rgb.png", _deep_rgb, "8 bits a channel; got 16 bits"),
    ("a.tif", lambda f: Image.fromarray(np.full((4, 4), 250, "uint16")).save(f), "8 bits a channel; got 16 bits"),
    ("f.tif", lambda f: Image.fromarray(np.ones((4, 4), "float32")).save(f), "8 bits a channel; got 32 bits"),
    ("zeros.png", lambda f: f.write_bytes(b"\0" * 50), "not an image that can be read"),
    ("empty.jpg", lambda f: f.write_bytes(b""), "not an image that can be read"),
    ("cut.png", lambda f: _saved(f, _cut), "not an image that can be read"),
    ("flipped.png", lambda f: _saved(f, _flipped), "not an image that can be read"),
    ("cut.jpg", lambda f: _saved(f, lambda file: _cut(file, 400), PIXELS.repeat(20, 0)), "not an image that can be re"),
    ("cut.webp", lambda f: _saved(f, _cut), "not an image that can be read"),
    ("cut.bmp", lambda f: _saved(f, _cut), "not an image that can be read"),
    ("cut.gif", lambda f: _saved(f, _cut, PIXELS.repeat(9, 0)), "not an image that can be read"),
    ("cut.tif", lambda f: _saved(f, lambda file: _cut(file, 200)), "not an image that can be read"),
]


@pytest.mark.parametrize(("name", "write", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_cannot_be_read_right_is_refused_when_loaded(name, write, words, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1)  # where pixels are read late
    for split in ("train", "test"):
        for kind in "ab":
            (tmp_path / split / kind).mkdir(parents=True)
            Image.fromarray(PIXELS).save(tmp_path / split / kind / "0.png")
    file = tmp_path / "test" / "b" / name
    write(file)
    capfd.readouterr()
    with pytest.raises(ArgumentError) as raised:
        kr.data.load(tmp_path, image_size=8, validation=0)
    assert str(raised.value).startswith(repr(str(file)))
    assert words in str(raised.value)
    assert capfd.readouterr().err == "", "no word of the decoders before the sentence"


def test_a_jpeg_that_only_the_decoder_finds_damaged_is_named_without_chatter(tmp_path, capfd):
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for n in range(4):
            Image.fromarray(PIXELS).save(tmp_path / kind / f"{n}.jpg")
    file = tmp_path / "b" / "2.jpg"
    content = file.read_bytes()
    at = content.index(b"\xff\xc4") + 5
    file.write_bytes(content[:at] + b"\xff" * 16 + content[at + 16 :])  # no such Huffman table
    capfd.readouterr()
    with pytest.raises(ArgumentError, match=r"/b/2.jpg' is not an image that can be read"):
        kr.data.load(tmp_path, image_size=8)
    assert capfd.readouterr().err == ""


def test_a_picture_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ArgumentError, match=r"a.png' has more than 40 pixels"):
        pictures.inspect([tmp_path / "a.png"])


def test_names_that_are_not_utf_8_are_read(tmp_path):
    for kind, value in (("a", 10), ("b", 20)):
        (tmp_path / kind).mkdir()
        for n in range(3):
            file = os.fsencode(tmp_path / kind) + f"/caf\xe9{n}.png".encode("latin-1")
            Image.fromarray(np.full((4, 4, 3), value + n, "uint8")).save(os.fsdecode(file))
    data = kr.data.load(tmp_path, image_size=4, normalize=None, validation=0)
    found = sorted(int(x) for images, _ in [*data.train, *data.test] for x in images[:, 0, 0, 0])
    assert found == [10, 11, 12, 20, 21, 22]


@pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])
def test_a_folder_of_both_kinds_of_files_gives_each_its_own_pixels(streamed, tmp_path, monkeypatch):
    if streamed:
        monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1)
    for kind, value in (("a", 10), ("b", 100)):
        (tmp_path / kind).mkdir()
        for n, turned in enumerate((False, True, True, False)):
            pixels = np.zeros((4, 4, 3), "uint8")
            pixels[0 if turned else -1, 0 if turned else -1] = value + n
            exif = _oriented(3) if turned else {}
            Image.fromarray(pixels).save(tmp_path / kind / f"{n}.png", **exif)
    data = kr.data.load(tmp_path, image_size=4, normalize=None, validation=0)
    found = sorted(
        (int(image[-1, -1, 0]), int(label))
        for images, labels in [*data.train, *data.test]
        for image, label in zip(images, labels, strict=True)
    )
    assert found == [(10 + n, 0) for n in range(4)] + [(100 + n, 1) for n in range(4)]
