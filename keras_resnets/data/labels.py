"""The meaning of the numbers in a mask: the classes of a set, their colours, and numbers to ignore."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_resnets.errors import whole_number
from keras_resnets.explaining import explained

# The label of a pixel that counts in no loss and no score, whatever the set's own number for it.
IGNORE = 255
# Marks a number that is no class of the set, so that it can be refused.
UNKNOWN = 254

Color = tuple[int, int, int]


@explained
def palette(classes: int) -> tuple[Color, ...]:
    """Returns PASCAL VOC's colours of the classes 0, 1, ..., as its development kit computes them.

    Each group of three bits of a class's number goes to red, green and blue, the lowest group to the highest bit.

    Args:
        classes: number of classes, up to 256.

    Returns:
        A tuple of (red, green, blue), each from 0 to 255.

    Raises:
        ArgumentError: `classes` breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> kr.data.palette(4)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    whole_number("classes", classes, 1, 256)
    colors = []
    for number in range(classes):
        color = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                color[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
        colors.append((color[0], color[1], color[2]))
    return tuple(colors)


@dataclass(frozen=True)
class Labels:
    """The classes of a segmentation set, and how its masks number them.

    Args:
        names: names of the classes, in order.
        colors: colours of the classes; None for those of `palette`.
        numbers: the set's number of each class; None for 0, 1, ....
        ignored: numbers of the set to ignore; 255 is ignored in every set.
        test: the split that results are published for: another one if the masks of the test split are not public.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None
    numbers: tuple[int, ...] | None = None
    ignored: tuple[int, ...] = ()
    test: str = "test"

    def lookup(self) -> np.ndarray:
        """Returns the label for each of the set's numbers from 0 to 255: a class, `IGNORE` or `UNKNOWN`."""
        table = np.full(256, UNKNOWN, "uint8")
        table[[*self.ignored, IGNORE]] = IGNORE
        table[list(self.numbers or range(len(self.names)))] = range(len(self.names))
        return table


# SegNet's labelling of CamVid (Badrinarayanan, Kendall and Cipolla 2017): 11 is "unlabelled".
CAMVID = Labels(
    (
        "sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist",
    ),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
    ignored=(11,),
)  # fmt: skip

# PASCAL VOC 2012, its classes in the order of its development kit; their colours are those of `palette`.
VOC = Labels(
    (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ),
    test="validation",
)  # fmt: skip

# mcordts/cityscapesScripts, helpers/labels.py: the 19 classes that are evaluated, by their `id`.
CITYSCAPES = Labels(
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
    numbers=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
    ignored=(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30),
    test="validation",
)  # fmt: skip

# The README of the Oxford-IIIT Pet set's annotations.
PETS = Labels(("foreground", "background", "not classified"), numbers=(1, 2, 3))

# By their names in tensorflow-datasets.
KNOWN = {"camvid": CAMVID, "cityscapes": CITYSCAPES, "oxford_iiit_pet": PETS}
