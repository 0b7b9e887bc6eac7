"""What trainings for segmentation share: a small network, its recipe, and few scenes."""

import contextlib

import keras_resnets as kr
from keras_resnets.data import scenes

STAGES = (kr.Stage(1, (8, 8), stride=4), kr.Stage(1, (8, 8), stride=2), kr.Stage(1, (8, 8), stride=2))
NETWORK = kr.Spec("small", STAGES, shortcut="B", head_dilation=1, head_width=8)
RECIPE = kr.recipes.get("scenes").replace(augmentation=kr.data.Augmentation(crop=64, scale=(0.7, 1.3)))


@contextlib.contextmanager
def few_scenes():
    """A few small scenes, so that an epoch takes no time."""
    whole, pixels = dict(scenes.COUNTS), scenes.PIXELS
    scenes.COUNTS.update(train=20, validation=5, test=6)
    scenes.PIXELS = 64
    try:
        yield
    finally:
        scenes.COUNTS.update(whole)
        scenes.PIXELS = pixels
