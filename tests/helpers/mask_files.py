"""Folders of images and masks, and how tests load what is labelled by pixel."""

import numpy as np
from PIL import Image

import keras_resnets as kr


def load(name, **options):
    size = {"image_size": 64} if name == "scenes" else {}
    return kr.data.load(name, **{**size, "task": "segmentation", "normalize": None, "batch_size": 8, **options})


def mask_of(value):
    """A mask told by the one value of its image: three columns, of which the last is no class."""
    mask = np.full((16, 24), value % 3, "uint8")
    mask[:, 8:16], mask[:, 16:] = (value + 1) % 3, 255
    return mask


def write(image_file, mask_file, image, mask, palette=True):
    for file in (image_file, mask_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(image_file)
    picture = Image.fromarray(mask)
    if palette:
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(mask_file)


def fill(root, values, **options):
    for value in values:
        image = np.full((16, 24, 3), value, "uint8")
        write(root / "images" / f"{value}.png", root / "masks" / f"{value}.png", image, mask_of(value), **options)
