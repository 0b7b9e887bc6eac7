"""Preprocessing of pixels against keras.applications, and where it goes."""

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError


@pytest.mark.parametrize(
    ("mode", "preprocessing"),
    [
        ("caffe", kr.Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr")),
        ("tf", kr.Preprocessing((127.5,), (127.5,))),
        ("torch", kr.Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))),
    ],
)
def test_preprocessing_is_that_of_keras_applications(mode, preprocessing, tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype("uint8")
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.astype("float32"), mode=mode)
    for given in (pixels, keras.ops.convert_to_tensor(pixels)):
        np.testing.assert_allclose(preprocessing(given), expected, rtol=1e-5, atol=1e-4)
    # It goes where the weights go: into files, out of them, and through surgery.
    model = kr.build(tiny)
    assert model.preprocessing is None
    model.preprocessing, model.class_names = preprocessing, [f"class {i}" for i in range(model.output_shape[-1])]
    model.save(tmp_path / "net.keras")
    assert kr.load_model(tmp_path / "net.keras").preprocessing == preprocessing
    assert kr.load_model(tmp_path / "net.keras").class_names == model.class_names
    assert kr.delete(model, 1, copy=True).preprocessing == preprocessing
    assert kr.delete(model, 1, copy=True).class_names == model.class_names
    assert kr.build(tiny, weights=tmp_path / "net.keras").preprocessing == preprocessing


@pytest.mark.parametrize(
    ("preprocessing", "shape"),
    [
        (kr.Preprocessing((1.0, 2.0, 3.0)), (2, 4, 4, 1)),
        (kr.Preprocessing((1.0,), (1.0, 2.0, 3.0)), (4, 4, 4)),
        (kr.Preprocessing(channels="bgr"), (2, 4, 4, 4)),
        (kr.Preprocessing((1.0, 2.0)), (4, 4, 3)),
    ],
)
def test_images_of_other_channels_are_refused(preprocessing, shape):
    with pytest.raises(ArgumentError, match=r"images must have the [23] channels that this preprocessing is for"):
        preprocessing(np.zeros(shape, "uint8"))


def test_one_number_is_for_any_channels():
    np.testing.assert_array_equal(kr.Preprocessing((2.0,), (4.0,))(np.full((1, 2, 2, 5), 10)), np.full((1, 2, 2, 5), 2))


def test_a_mean_image_is_subtracted_pixel_by_pixel_and_saved(tiny, tmp_path):
    mean = np.random.default_rng(0).uniform(0, 9, (8, 8, 1)).astype("float32")
    nested = tuple(tuple(tuple(float(v) for v in pixel) for pixel in row) for row in mean)
    preprocessing = kr.Preprocessing(nested, (4.0,), resizing=kr.architecture.preprocessing.Resizing(1.0), white=16.0)
    pixels = np.random.default_rng(1).integers(0, 17, (2, 8, 8, 1)).astype("uint8")
    np.testing.assert_array_equal(preprocessing(pixels), (pixels - mean) / np.float32(4))
    model = kr.build(tiny)
    model.preprocessing = preprocessing
    model.save(tmp_path / "net.keras")
    assert kr.load_model(tmp_path / "net.keras").preprocessing == preprocessing
    assert "image of 8x8x1" in repr(preprocessing)
    assert "resizing" not in repr(kr.Preprocessing())
    for wrong in ((2, 8, 4, 1), (8, 8, 3), (8, 1)):
        with pytest.raises(ArgumentError, match=r"images must be of the size of the mean image.*\(8, 8, 1\)"):
            preprocessing(np.zeros(wrong))
