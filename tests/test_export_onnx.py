"""ONNX files: their ends, raw pixels, and what is said where the extra is not installed."""

import importlib.util

import keras
import numpy as np
import pytest

import keras_resnets as kr

NEEDED = ("onnx", "tf2onnx", "onnxruntime")
needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, NEEDED)), reason="the extra onnx is not installed: keras_resnets[onnx]"
)


@needs_onnx
def test_the_ends_have_names_and_batches_any_size(tiny, images, scramble, tmp_path):
    import onnx
    import onnxruntime

    model = scramble(kr.build(tiny))
    report = kr.export.onnx(model, tmp_path / "net.onnx", images[0], calls=3)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    assert (source.name, source.shape) == ("inputs", ["batch", 8, 8, 1])
    assert (target.name, target.shape) == ("outputs", ["batch", 5])
    for count in (1, 5):
        y = session.run(["outputs"], {"inputs": images[0][:count]})[0]
        np.testing.assert_allclose(y, model.predict_on_batch(images[0][:count]), atol=1e-5)
    loaded = onnx.load(tmp_path / "net.onnx")
    assert sum(report["operators"].values()) == len(loaded.graph.node)
    assert report["operators"]["Conv"] == sum(isinstance(x, keras.layers.Conv2D) for x in model._flatten_layers())
    assert "BatchNormalization" not in report["operators"]
    assert {"onnx", "onnxruntime", "tf2onnx"} <= report["environment"]["versions"].keys()
    assert report["latency"]["file"]["threads"] == 1


@needs_onnx
def test_raw_pixels_and_logits(tiny, scramble, tmp_path):
    import onnxruntime

    model = scramble(kr.build(tiny))
    model.preprocessing = kr.Preprocessing((100.0,), (50.0,))
    report = kr.export.onnx(model, tmp_path / "net.onnx", preprocessing=True, output="logits", calls=0)
    assert report["compared_on"] == "whole numbers from 0 to 255, drawn"
    pixels = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 1)).astype("float32")
    (logits,) = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"pixels": pixels})
    assert np.abs(logits.sum(1) - 1).min() > 1e-3
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, model.predict_on_batch((pixels - 100) / 50), atol=1e-5)


@needs_onnx
def test_constants_of_a_network_are_no_inputs_and_any_size_goes_in(tmp_path):
    import onnxruntime

    x = inputs = keras.Input((None, None, 3))
    x = keras.layers.Normalization(mean=(1.0, 2.0, 3.0), variance=(1.0, 4.0, 9.0))(x)
    x = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2)(x)
    model = keras.Model(inputs, x, name="foreign")
    kr.export.onnx(model, tmp_path / "net.onnx", calls=0)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    for shape in ((2, 9, 12, 3), (1, 16, 16, 3)):
        images = np.random.default_rng(0).normal(size=shape).astype("float32")
        np.testing.assert_allclose(session.run(None, {"inputs": images})[0], model(images), atol=1e-5)


def test_what_is_missing_is_told(tiny, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tf2onnx" else found(name, *a))
    with pytest.raises(ImportError, match=r"tf2onnx.* must be installed: pip install 'keras_resnets\[onnx\]'"):
        kr.export.onnx(kr.build(tiny), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
