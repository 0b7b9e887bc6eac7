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


def test_what_is_missing_is_told(tiny, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tf2onnx" else found(name, *a))
    with pytest.raises(ImportError, match=r"tf2onnx.* must be installed: pip install 'keras_resnets\[onnx\]'"):
        kr.export.onnx(kr.build(tiny), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
