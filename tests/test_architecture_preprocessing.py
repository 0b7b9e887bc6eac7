"""Preprocessing of pixels against keras.applications, and where it goes."""

import keras
import numpy as np
import pytest

import keras_resnets as kr


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
    model.preprocessing = preprocessing
    model.save(tmp_path / "net.keras")
    assert kr.load_model(tmp_path / "net.keras").preprocessing == preprocessing
    assert kr.delete(model, 1, copy=True).preprocessing == preprocessing
    assert kr.build(tiny, weights=tmp_path / "net.keras").preprocessing == preprocessing
