"""Pictures of any size become images of a network's size, in one way for training, prediction and serving."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_resnets as kr
from keras_resnets.architecture.preprocessing import Resizing
from keras_resnets.data.resizing import OF_IMAGE_SIZE, OF_NATIVE_SIZE, in_channels, resized, resizing_of
from keras_resnets.errors import ArgumentError
from keras_resnets.export import serving


def _picture(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype("uint8")


def _center_crop(image, size):
    """What earlier versions did to every picture of a set with an image_size; their networks must see the same."""
    shape = tf.cast(tf.shape(image)[:2], "float32")
    scale = tf.cast(size[0] * 8 // 7, "float32") / tf.reduce_min(shape)
    image = tf.image.resize(tf.cast(image, "float32"), tf.cast(tf.round(shape * scale), "int32"), antialias=True)
    image = tf.image.resize_with_crop_or_pad(image, *size)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), "uint8")


def test_images_are_those_of_earlier_versions_and_of_served_networks():
    sizes = np.random.default_rng(0).integers(1, 90, (40, 3)).tolist()
    others = []
    for height, width, side in [*sizes, [1, 90, 33], [375, 500, 224]]:
        picture = _picture(height, width)
        found = resized(picture, OF_IMAGE_SIZE, (side, side))
        expected = _center_crop(tf.constant(picture), (side, side)).numpy()
        np.testing.assert_array_equal(serving.resized(tf.constant(picture), OF_IMAGE_SIZE, (side, side)), expected)
        # Sums in another order end on the other side of a half now and then.
        assert np.abs(found.astype(int) - expected).max() <= 1
        others.append((found != expected).mean())
    assert np.mean(others) < 2e-3


def test_evaluation_takes_the_centre():
    """224 of 256: of the shorter side 7/8, of a side twice as long 7/16, from the middle."""
    y, x = np.mgrid[0:32, 0:64].astype("float32")
    crop = resized(np.stack([4 * x, 8 * y, 0 * x], axis=-1), OF_IMAGE_SIZE, (28, 28)).astype(float)
    np.testing.assert_allclose(crop[0, :, 0], 4 * np.arange(18, 46), atol=1)
    np.testing.assert_allclose(crop[:, 0, 1], 8 * np.arange(2, 30), atol=1)


@pytest.mark.parametrize(
    ("interpolation", "form"),
    [
        ("bilinear", {"crop": 1.0}),
        ("bicubic", {"crop": 0.8, "size": (9, 24)}),
        ("bilinear", {"stretch": True}),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                ("bicubic", {"crop": 1.0}),
                ("bilinear", {"crop": 0.5}),
                ("bicubic", {"crop": 0.5}),
                ("bicubic", {"stretch": True}),
                ("bilinear", {"crop": 0.8, "size": (9, 24)}),
            )
        ),
    ],
)
def test_the_arithmetic_of_sizes_is_that_of_the_pixels_and_the_pixels_are_pillows(interpolation, form):
    resizing = Resizing(**{"interpolation": interpolation, **form})
    size = resizing.size or (16, 12)
    # Also of a batch, of a size that is not known while a function is traced, as networks are served.
    signature = [tf.TensorSpec((None, None, None, 3), "uint8")]
    traced = tf.function(lambda x: serving.resized(x, resizing, (16, 12)), signature)
    for height, width in ((40, 57), (57, 40), (7, 9), (16, 12)):
        # Smooth, so that the ends of sums in Pillow's order are the same.
        picture = np.asarray(Image.fromarray(_picture(5, 5)).resize((width, height), Image.Resampling.BICUBIC))
        tall, wide = resizing.scaled((height, width), size)
        assert tall >= size[0]
        assert wide >= size[1]
        scaled = Image.fromarray(picture).resize((wide, tall), getattr(Image.Resampling, interpolation.upper()))
        top, left = (tall - size[0]) // 2, (wide - size[1]) // 2
        expected = np.asarray(scaled)[top : top + size[0], left : left + size[1]].astype(int)
        found = resized(picture, resizing, (16, 12)).astype(int)
        assert np.abs(found - expected).max() <= 2  # Pillow rounds between rows and columns
        assert np.abs(found - expected).mean() < 0.5
        served = traced(picture[None])[0].numpy().astype(int)
        assert np.abs(served - found).max() <= 1
        assert (served != found).mean() < 0.05


def test_images_of_native_size_stay_as_they_are():
    for side in (8, 32):
        picture = _picture(side, side)
        np.testing.assert_array_equal(resized(picture, OF_NATIVE_SIZE, (side, side)), picture)


@pytest.mark.parametrize(("image_size", "resizing"), [(None, OF_NATIVE_SIZE), (7, OF_IMAGE_SIZE)])
def test_data_know_how_their_pictures_were_resized(image_size, resizing):
    data = kr.data.load("digits", image_size=image_size)
    assert data.preprocessing.resizing == resizing
    assert data.preprocessing.white == 16
    assert kr.data.load("digits", normalize="unit").preprocessing.std == (16.0,)
    assert resizing_of("segmentation", image_size) is None
    # What a test split holds is what the function makes of its pictures.
    raw = next(iter(data.raw.test))[0][0]
    picture = kr.data.sources.digit_images()["test"][0][0]
    np.testing.assert_array_equal(raw, resized(picture, resizing, (image_size or 8,) * 2))


def test_grey_pictures_and_colours_take_the_channels_of_the_network():
    colours = _picture(9, 11)
    grey = np.asarray(Image.fromarray(colours).convert("L"))[..., None]
    assert np.abs(in_channels(colours, 1).astype(int) - grey).max() <= 1
    # A grey picture, in which the colours are equal, keeps its values.
    np.testing.assert_array_equal(in_channels(np.repeat(grey, 3, -1), 1), grey)
    np.testing.assert_array_equal(in_channels(grey, 3), np.repeat(grey, 3, -1))
    with pytest.raises(ArgumentError, match="images must have the 4 channels"):
        in_channels(colours, 4)
