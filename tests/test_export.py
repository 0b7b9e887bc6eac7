"""What is written computes what the network does, in a process without Keras or this package."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnets as kr


def test_saved_model_runs_without_the_package(tiny, images, scramble, tmp_path):
    model, (x, _) = scramble(kr.build(tiny)), images
    report = kr.export.saved_model(model, tmp_path / "net", x)
    np.save(tmp_path / "x.npy", x)
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        f"net = tf.saved_model.load({str(tmp_path / 'net')!r}); x = np.load({str(tmp_path / 'x.npy')!r})\n"
        "assert 'keras_resnets' not in sys.modules\n"
        "one = np.concatenate([net.serve(x[i:i + 1]) for i in range(len(x))])\n"
        "signature = net.signatures['serving_default'](inputs=tf.constant(x))\n"
        "np.testing.assert_allclose(one, list(signature.values())[0], atol=1e-5)\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, net.serve(x))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.predict(x, verbose=0), atol=1e-6)
    assert report["max_difference"] <= 1e-6
    assert report["agreement"] == 1
    assert report["bytes"] == sum(f.stat().st_size for f in (tmp_path / "net").rglob("*") if f.is_file())


def test_saved_model_can_be_fine_tuned_as_a_keras_layer(tiny, images, tmp_path):
    model = kr.build(tiny)
    kr.export.saved_model(model, tmp_path / "net")
    layer = keras.layers.TFSMLayer(str(tmp_path / "net"), call_endpoint="serve")
    assert len(layer.trainable_weights) == len(model.trainable_weights)
    np.testing.assert_allclose(layer(images[0]), model.predict(images[0], verbose=0), atol=1e-6)


def test_a_wrong_file_is_not_kept(tiny, tmp_path, monkeypatch):
    model = kr.build(tiny)
    monkeypatch.setattr(type(model), "predict", lambda self, x, **_: np.full((len(x), 5), 0.2, "float32"))
    with pytest.raises(RuntimeError, match="differs from it by"):
        kr.export.saved_model(model, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_saved_model_replaces_only_its_like(tiny, tmp_path):
    model = kr.build(tiny)
    for _ in range(2):
        kr.export.saved_model(model, tmp_path / "net")
    (tmp_path / "other").mkdir()
    with pytest.raises(kr.errors.ArgumentError, match="is no SavedModel"):
        kr.export.saved_model(model, tmp_path / "other")
    assert tf.saved_model.contains_saved_model(str(tmp_path / "net"))
