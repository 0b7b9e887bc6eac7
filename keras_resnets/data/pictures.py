"""Looks into image files, and decodes them by Pillow.

TensorFlow's decoders ignore the orientation of a camera, read a palette BMP as grey and CMYK with wrong colours, and
keep the upper half of 16 bits; WebP, TIFF and GIFs with a partial first frame they cannot read at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_resnets.errors import ArgumentError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
# Pillow's names of pixels with 8 bits or less a channel whose colours it converts to RGB.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION = 0x0112


class Unreadable(ArgumentError):
    """A file is no picture that can be read."""


@dataclass(frozen=True)
class Picture:
    """What the header of an image file says.

    Attributes:
        size: height and width, as the picture is to be seen.
        remark: what becomes of it that its owner may not expect; empty for nothing.
        digest: of the file's contents.
    """

    size: tuple[int, int]
    remark: str = ""
    digest: str = ""


def inspect(files: Sequence[Path]) -> list[Picture]:
    """Reads the headers of image files, and checks that the files are whole.

    Raises:
        ArgumentError: a file is no image, damaged, or has more than 8 bits a channel; the message names it.
    """
    found = inspected(files)
    refused = [str(one) for one in found if isinstance(one, ArgumentError)]
    if refused:
        more = f" ({len(refused) - 1} more files of this folder cannot be used either.)" if len(refused) > 1 else ""
        raise ArgumentError(refused[0] + more)
    return [one for one in found if isinstance(one, Picture)]


def inspected(files: Sequence[Path]) -> list[Picture | ArgumentError]:
    """Returns for each file what its header says or, of one that cannot be used, the error that `inspect` raises."""
    with unwarned(), ThreadPoolExecutor() as pool:
        return list(pool.map(_inspect, files))


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Silences what Pillow says of large pictures and odd metadata; not for use in several threads at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decoded(file: Path) -> np.ndarray:
    """Decodes a file by Pillow to (height, width, 3), uint8: upright, without transparency; of several the first.

    Raises:
        Unreadable: it is damaged behind its header; the message names it.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=FORMATS) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise Unreadable(str(_damaged(file))) from error


def _inspect(file: Path) -> Picture | ArgumentError:
    """Returns what `inspect` says of a file, or the error."""
    from PIL import Image, UnidentifiedImageError

    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            depth = content[24] if image.format == "PNG" else 8
            if image.format == "TIFF":
                depth = max(getattr(image, "tag_v2", {}).get(258, (8,)))
            if image.mode not in MODES or depth > 8:
                bits = f"{depth} bits" if depth > 8 else f"pixels of the kind {image.mode!r}"
                return ArgumentError(f"{str(file)!r} must have at most 8 bits a channel; got {bits}. Convert it.")
            turned = _orientation(image, content) > 1
            remarks = [
                "turned as their EXIF data say" if turned else "",
                "converted from CMYK without a colour profile" if image.mode == "CMYK" else "",
                "animated or of several pages, of which the first is read"
                if image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False)
                else "",
            ]
            size = image.size if _orientation(image, content) < 5 else image.size[::-1]
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            picture = Picture(size[::-1], ", ".join(filter(None, remarks)), digest)
            if image.format == "PNG":
                image.verify()  # the checksum of each chunk
            elif image.format in ("JPEG", "MPO"):
                return picture if _has_end(content) else _damaged(file)
            else:
                image.load()
            return picture
    except Image.DecompressionBombError:
        return ArgumentError(
            f"{str(file)!r} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller."
        )
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, UnidentifiedImageError):
        return _damaged(file)


def _damaged(file: Path) -> ArgumentError:
    return ArgumentError(f"{str(file)!r} is not an image that can be read; repair or remove it.")


def _orientation(image, content: bytes) -> int:
    """Returns the orientation in a file's EXIF data, 1 to 8; 1, upright, if there are none."""
    # Pillow would decode a whole PNG to look for them.
    if image.format == "PNG" and b"eXIf" not in content:
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # whatever is wrong with the metadata, the picture is not
        return 1
    return value if value in range(1, 9) else 1


def _has_end(content: bytes) -> bool:
    """Returns whether the pixels of a JPEG are followed by its end."""
    at = 2
    while content[at] == 0xFF and content[at + 1] != 0xDA:  # over the segments, in which a small preview may stand
        at += 1 if content[at + 1] == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content.rfind(b"\xff\xd9") > at
