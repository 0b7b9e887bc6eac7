"""What is written computes what the network does, in a process without Keras or this package; what its card says."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.foreign_models import residual_model
from helpers.precision import policy

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.export.comparison import Comparison
from keras_resnets.export.inference import inference
from keras_resnets.reports.statistics import wilson


def test_saved_model_runs_without_the_package(tiny, images, scramble, tmp_path):
    model, (x, _) = scramble(kr.build(tiny)), images
    report = kr.export.saved_model(model, tmp_path / "net", x, calls=0)
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
    kr.export.saved_model(model, tmp_path / "net", calls=0)
    layer = keras.layers.TFSMLayer(str(tmp_path / "net"), call_endpoint="serve")
    assert len(layer.trainable_weights) == len(model.trainable_weights)
    np.testing.assert_allclose(layer(images[0]), model.predict(images[0], verbose=0), atol=1e-6)


@pytest.mark.parametrize("value", [0.2, np.nan])
def test_a_wrong_file_is_not_kept(value, tiny, tmp_path, monkeypatch):
    model = kr.build(tiny)
    wrong = lambda self, x, **_: np.full((len(x), 5), value, "float32")  # noqa: E731
    monkeypatch.setattr(type(model), "predict_on_batch", wrong)
    with pytest.raises(RuntimeError, match="differs from it by"):
        kr.export.saved_model(model, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_saved_model_replaces_only_its_like(tiny, tmp_path):
    model = kr.build(tiny)
    for _ in range(2):
        kr.export.saved_model(model, tmp_path / "net", calls=0)
    (tmp_path / "other").mkdir()
    with pytest.raises(ArgumentError, match="is no SavedModel"):
        kr.export.saved_model(model, tmp_path / "other")
    assert tf.saved_model.contains_saved_model(str(tmp_path / "net"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "net.card.json", "net.card.md", "other"]


# What is put in front of a network and behind it.


@pytest.mark.parametrize("end", ["softmax", None])
def test_raw_pixels_in_and_either_end_out(end, tiny, scramble, tmp_path):
    model = scramble(kr.build(tiny, (8, 8, 3), classifier_activation=end))
    model.preprocessing = kr.Preprocessing((10.0, 20.0, 30.0), (2.0, 3.0, 4.0), "bgr")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 8, 3)).astype("float32")
    y = model.predict((pixels[..., ::-1] - [10, 20, 30]) / [2, 3, 4], verbose=0).astype("float64")
    for output in ("logits", "probabilities"):
        place = tmp_path / output
        report = kr.export.saved_model(model, place, pixels, preprocessing=True, output=output, calls=0)
        assert report["preprocessing"]["inside"]
        assert report["input"]["name"] == "pixels"
        loaded = tf.saved_model.load(str(place))
        found = loaded.signatures["serving_default"](pixels=tf.constant(pixels))["output_0"].numpy()
        if end is None and output == "logits":
            np.testing.assert_allclose(found, y, atol=1e-4 * np.abs(y).max())
            continue
        expected = y if end else np.exp(y) / np.exp(y).sum(1, keepdims=True)
        if output == "logits":
            assert np.abs(found.sum(1) - 1).max() > 0.01
            found = np.exp(found) / np.exp(found).sum(1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # The network itself was not touched.
    assert model.chain[-1].body.layers[-1].activation is keras.activations.get(end)


def test_an_adopted_network_gives_its_logits(tmp_path):
    original = residual_model()
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    kr.export.saved_model(kr.adopt(original), tmp_path / "net", x, output="logits", calls=0)
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    found = loaded.serve(x)
    features = keras.Model(original.input, original.layers[-2].output).predict(x, verbose=0)
    dense = original.get_layer("dense")
    np.testing.assert_allclose(found, features @ dense.kernel.numpy() + dense.bias.numpy(), atol=1e-5)
    assert dense.activation is keras.activations.softmax


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"preprocessing": True}, "preprocessing: 'tiny' does not carry its own"),
        ({"output": "scores"}, "output must be one of 'model', 'logits', 'probabilities'; got 'scores'"),
        ({"calls": -1}, "calls must be a whole number of at least 0; got -1"),
    ],
)
def test_wrong_arguments_are_refused(how, reason, tiny, tmp_path):
    with pytest.raises(ArgumentError, match=reason):
        kr.export.saved_model(kr.build(tiny), tmp_path / "net", **how)
    assert list(tmp_path.iterdir()) == []


def test_an_end_that_is_neither_is_refused(tiny, tmp_path):
    headless = kr.build(tiny, include_top=False)
    with pytest.raises(ArgumentError, match="ends in relu, and 'logits' is for"):
        kr.export.saved_model(headless, tmp_path / "net", output="logits")
    report = kr.export.saved_model(headless, tmp_path / "net", calls=0)
    assert report["output"]["shape"] == [None, 4, 4, 8]


def test_a_schedule_scales_as_at_the_last_step(tiny, images, tmp_path):
    model = kr.build(tiny)
    policy = kr.paths.Schedule(((0, kr.paths.FixedSize(3)), (2, kr.paths.Bernoulli(0.5))))
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", paths=policy)
    model.predict_on_batch(images[0])
    for _ in range(2):
        model.train_on_batch(*images)
    kr.export.saved_model(model, tmp_path / "net", images[0], calls=0)
    h = model.chain[0](images[0])
    for block in model.blocks:
        h = keras.ops.relu(0.5 * block.residual(h) + block.shortcut(h))
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    np.testing.assert_allclose(loaded.serve(images[0]), model.chain[-1](h), atol=1e-5)


# Precision.


def test_mixed_precision_is_written_in_float32(tiny, images, scramble, tmp_path):
    with policy("mixed_float16"):
        model = scramble(kr.build(tiny))
    exact = kr.build(tiny)
    exact.set_weights(model.get_weights())
    assert kr.export.saved_model(exact, tmp_path / "exact", images[0], calls=0)["own_precision"] is None
    report = kr.export.saved_model(model, tmp_path / "net", data=images, calls=0)
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    np.testing.assert_allclose(loaded.serve(images[0]), exact.predict(images[0], verbose=0), atol=1e-6)
    kinds = {t.dtype for op in loaded.signatures["serving_default"].graph.get_operations() for t in op.outputs}
    assert tf.float16 not in kinds
    own = np.abs(model.predict(images[0], verbose=0) - exact.predict(images[0], verbose=0)).max()
    assert 1e-5 < own == pytest.approx(report["own_precision"]["max_difference"], rel=0.05)
    assert report["own_precision"]["precision"] == report["network"]["precision"] == "mixed_float16"
    assert "mixed_float16: largest difference" in (tmp_path / "net.card.md").read_text()
    assert model.compute_dtype == "float16"


def test_a_float32_network_is_not_made_anew_under_another_policy(tiny, images, tmp_path):
    model = kr.build(tiny)
    model.save(tmp_path / "net.keras")
    with policy("mixed_float16"):
        loaded = kr.load_model(tmp_path / "net.keras")
        report = kr.export.saved_model(loaded, tmp_path / "net", images[0], calls=0)
    assert report["network"]["precision"] == "float32"
    served = tf.saved_model.load(str(tmp_path / "net"))
    np.testing.assert_allclose(served.serve(images[0]), model.predict(images[0], verbose=0), atol=1e-6)


# The card.


def test_accuracy_before_and_after(tiny, images, scramble, tmp_path):
    model, (x, y) = scramble(kr.build(tiny)), images
    right = model.predict(x, verbose=0).argmax(1) == y
    y = np.where(np.arange(12) < 4, model.predict(x, verbose=0).argmax(1), y)
    count = int((model.predict(x, verbose=0).argmax(1) == y).sum())
    assert right.sum() < count < 12
    for labels in (y, np.eye(5)[y]):
        accuracy = kr.export.saved_model(model, tmp_path / "net", data=(x, labels), calls=0)["accuracy"]
        low, high = wilson(count / 12, 12)
        assert accuracy["before"] == accuracy["after"] == {"value": count / 12, "low": low, "high": high}
        assert (accuracy["examples"], accuracy["lost"]) == (12, 0)
    with pytest.raises(ArgumentError, match="labels must be whole numbers from 0 to 4"):
        kr.export.saved_model(model, tmp_path / "net", data=(x, y + 1), calls=0)
    # A file that answers otherwise is measured by its own answers.
    comparison = Comparison(inference(model), lambda x: np.roll(model.predict_on_batch(x), 1, axis=1))
    comparison.add((x, y))
    rolled = np.mean((model.predict(x, verbose=0).argmax(1) + 1) % 5 == y)
    assert comparison.accuracy["after"]["value"] == rolled
    assert comparison.accuracy["lost"] == pytest.approx(count / 12 - rolled)
    assert comparison.summary["agreement"] == 0


def test_what_is_compared_is_computed_in_full_precision(tiny, images):
    enabled, seen = tf.config.experimental.tensor_float_32_execution_enabled, []
    assert enabled()
    model = kr.build(tiny)

    def run(x):
        seen.append(enabled())
        return model.predict_on_batch(x)

    Comparison(inference(model), run).add(images)
    assert seen == [False]
    assert enabled()


def test_masks_are_scored_by_mean_iou(tmp_path):
    data = kr.data.load("scenes", task="segmentation", batch_size=8).first(6)
    model = kr.segmentation.fcn("resnet8", data.classes, width=0.25, stem_width=4, head_dilation=2, output_stride=2)
    report = kr.export.saved_model(model, tmp_path / "net", data=data, calls=0)
    metrics = [kr.segmentation.MeanIoU(data.classes), kr.segmentation.PixelAccuracy()]
    for x, y in data.test:
        for metric in metrics:
            metric.update_state(y, model(x, training=False))
    accuracy = report["accuracy"]
    assert (accuracy["measure"], accuracy["examples"], report["examples"]) == ("mean IoU", 6, 6)
    for side in ("before", "after"):
        assert accuracy[side]["value"] == pytest.approx(float(metrics[0].result()), abs=1e-4)
        assert accuracy[side]["pixel_accuracy"] == pytest.approx(float(metrics[1].result()), abs=1e-4)
        assert accuracy[side]["low"] <= accuracy[side]["value"] <= accuracy[side]["high"]


def test_the_card_says_what_was_measured(digits, tmp_path):
    model = kr.build("resnet8", digits.input_shape)
    model.preprocessing = digits.preprocessing
    report = kr.export.saved_model(model, tmp_path / "net", data=digits, calls=3)
    assert json.loads((tmp_path / "net.card.json").read_text()) == report
    assert report["network"] == {
        "name": "resnet8", "blocks": 3, "parameters": kr.parameters(model), "macs": kr.macs(model),
        "precision": "float32",
    }  # fmt: skip
    x = np.concatenate([x for x, _ in digits.test.as_numpy_iterator()])
    assert (report["examples"], report["compared_on"]) == (len(x), "the test split of digits")
    assert report["input"]["range"] == [x.min(), x.max()]
    assert not report["preprocessing"]["inside"]
    for name in ("file", "predict_on_batch", "tf.function"):
        found = report["latency"][name]
        assert 0 < found["low"] <= found["median"] <= found["high"]
    graph = tf.saved_model.load(str(tmp_path / "net")).signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert report["operators"]["Conv2D"] == sum(node.op == "Conv2D" for node in nodes) == 7
    card = (tmp_path / "net.card.md").read_text()
    assert f"{kr.parameters(model):,} parameters, {kr.macs(model):,} multiply-adds" in card
    mean, std = (values[0] for values in (digits.preprocessing.mean, digits.preprocessing.std))
    assert f"expected of whoever calls: (pixels - [{mean:g}]) / [{std:g}]" in card
    assert "Batches of 1, 3 calls each" in card
    assert f"tensorflow {tf.__version__}" in card
    told = kr.export.describe(report).splitlines()
    assert f"same class for 100.0% of {len(x)} examples" in told[0]
    assert "nothing is lost" in told[1]
    assert "ms in its own runtime" in told[2]
