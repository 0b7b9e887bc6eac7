"""LiteRT files: what stands in them, what is refused, and which block 8 bits cost."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import ops

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.export import inspection
from keras_resnets.export.inference import convertible, inference
from keras_resnets.export.quantization import in_8_bits, kernel_in_8_bits, ranges_of, rounded
from keras_resnets.network.layers import MaxPool


@keras.saving.register_keras_serializable("tests")
class Branching(keras.layers.Layer):
    """Runs on a condition of its input."""

    def call(self, x):
        return ops.cond(ops.sum(x) > 0, lambda: 2 * x, lambda: x - 1)


def functional(*steps):
    x = inputs = keras.Input((8, 8, 3))
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x, name="foreign")


@pytest.fixture(scope="module")
def outlier():
    """A network of which one block cannot bear 8 bits, inputs, and its answers.

    A channel within the block is a thousand times as large as the others, and nothing reads it: the answers do not
    depend on it, but the others' range is lost. A second block has such a value in a kernel, where it costs less.
    """
    keras.utils.set_random_seed(1)
    spec = kr.Spec("outlier", (kr.Stage(3, (8, 8)),), (8, 8, 1), 5, stem_width=8)
    model, rng = kr.build(spec), np.random.default_rng(0)
    block = model.blocks[1].residual
    beta, kernel = block.get_layer("bn1").beta, block.get_layer("conv2").kernel
    beta.assign(np.where(np.arange(8) == 3, 1e4, 0.1))
    kernel.assign(np.where(np.arange(8)[:, None] == 3, 0, 3 * kernel.numpy()))
    x = rng.normal(size=(128, 8, 8, 1)).astype("float32")
    return model, x, model.predict(x, verbose=0).argmax(1)


def test_operations_are_those_that_tensorflow_finds(tiny, tmp_path, capfd):
    report = kr.export.litert(kr.build(tiny), tmp_path / "net.tflite", calls=0)
    capfd.readouterr()
    tf.lite.experimental.Analyzer.analyze(str(tmp_path / "net.tflite"))
    listed = re.findall(r"Op#\d+ (\w+)\(", capfd.readouterr().out)
    assert report["operators"] == inspection.count(listed)
    assert report["bytes"] == (tmp_path / "net.tflite").stat().st_size


def test_what_is_not_folded_is_found(tmp_path):
    # A factor for each pixel cannot go into a kernel; one for each channel can.
    factors = np.random.default_rng(0).uniform(1, 2, (6, 6, 1)).astype("float32")
    for factor, count in ((factors, 1), (factors[0, 0], 0)):
        model = functional(keras.layers.Conv2D(4, 3), lambda x, factor=factor: x * factor, keras.layers.ReLU())
        report = kr.export.litert(model, tmp_path / "net.tflite", calls=0)
        assert len(report["checks"]["unfolded"]) == count


@pytest.mark.parametrize(
    ("kind", "model", "reason"),
    [
        ("float32", lambda: functional(keras.layers.Conv2D(4, 3), Branching()), "would need IF"),
        (
            "int8",
            lambda: functional(
                lambda x: ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=float("-inf")),
                keras.layers.MaxPooling2D(3, 1),
                keras.layers.Conv2D(4, 3),
            ),
            "infinities",
        ),
    ],
    ids=["condition", "infinity"],
)
def test_what_must_not_be_in_a_file_is_refused(kind, model, reason, tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    with pytest.raises(RuntimeError, match=reason):
        kr.export.litert(model(), tmp_path / "net.tflite", kind, x if kind == "int8" else None, examples=x, calls=0)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_any_size_is_a_file_of_any_size(tmp_path):
    model = kr.segmentation.fcn("resnet8", 3, width=0.25, stem_width=4, head_dilation=2, output_stride=2)
    x = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype("float32")
    kr.export.litert(model, tmp_path / "net.tflite", examples=x, calls=0)
    interpreter = Interpreter(str(tmp_path / "net.tflite"))
    for images in (x, x[:1, :12, :12]):
        interpreter.resize_tensor_input(0, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(0, images)
        interpreter.invoke()
        y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose(y, model.predict_on_batch(images), atol=1e-5)


@pytest.mark.parametrize("padding", ["end", "both"])
@pytest.mark.parametrize(
    ("window", "stride", "dilation"), [(2, 2, 1), (3, 2, 1), (3, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 1)]
)
def test_max_pools_are_traced_without_infinities(window, stride, dilation, padding):
    layer = MaxPool(window, stride, dilation, padding)
    model = keras.Sequential([keras.Input((None, None, 2)), layer])
    for size in (7, 8):
        x = np.random.default_rng(0).normal(size=(2, size, size + 1, 2)).astype("float32") - 5
        expected = layer(x)
        with convertible(model, "litert"):
            assert "call" in vars(layer)
            np.testing.assert_array_equal(layer(x), expected)
        assert "call" not in vars(layer)


@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_dilated_convolutions_are_traced_as_one(runtime):
    model = keras.Sequential(
        [
            keras.Input((9, 10, 2)),
            keras.layers.Conv2D(3, 3, padding="same", dilation_rate=2),
            keras.layers.Conv2D(3, (2, 3), padding="same", dilation_rate=(3, 1)),
            keras.layers.Conv2D(3, 3, dilation_rate=2),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 9, 10, 2)).astype("float32")

    def kinds():
        graph = tf.function(lambda x: model(x), autograph=False).get_concrete_function(tf.TensorSpec(x.shape)).graph
        return {node.op for node in graph.as_graph_def().node}

    expected = model(x)
    assert "SpaceToBatchND" in kinds()
    with convertible(model, runtime):
        assert "SpaceToBatchND" not in kinds()
        np.testing.assert_allclose(model(x), expected, atol=1e-6)
    assert "SpaceToBatchND" in kinds()


# 8 bits.


def test_ranges_are_drawn_from_the_training_split(digits, tmp_path):
    model = kr.build("resnet8", digits.input_shape)
    for seed in (0, 1):
        kr.export.litert(model, tmp_path / f"{seed}.tflite", "int8", data=digits, calls=0, seed=seed)
    images = np.concatenate([x for x, _ in digits.raw.train.as_numpy_iterator()])
    drawn = np.stack(digits.raw.sample(50, seed=3))
    assert {image.tobytes() for image in drawn} <= {image.tobytes() for image in images}
    assert len({image.tobytes() for image in drawn}) == 50
    np.testing.assert_allclose(digits.preprocessing(drawn), digits.sample(50, seed=3), atol=1e-6)
    one, other = ((tmp_path / f"{seed}.tflite").read_bytes() for seed in (0, 1))
    assert one != other
    # The draw of seed 0 is the one that is repeated, and by default.
    kr.export.litert(model, tmp_path / "2.tflite", "int8", digits.sample(200), examples=drawn, calls=0)
    assert (tmp_path / "2.tflite").read_bytes() == one


def test_int8_takes_raw_pixels(digits, scramble, tmp_path):
    model = scramble(kr.build("resnet8", digits.input_shape), 2)
    model.preprocessing = digits.preprocessing
    report = kr.export.litert(model, tmp_path / "net.tflite", "int8", data=digits, preprocessing=True, calls=0)
    # The digits are whole numbers from 0 to 16, on which 256 steps are laid.
    assert report["input"]["quantisation"] == {"scale": pytest.approx(16 / 255), "zero_point": -128}
    assert report["input"]["range"] == [0, 16]
    assert report["agreement"] > 0.9
    raw = np.concatenate([x for x, _ in digits.raw.test.as_numpy_iterator()])
    before = (model.predict((raw - model.preprocessing.mean) / model.preprocessing.std, verbose=0)).argmax(1)
    assert len(set(before)) > 2  # else all inputs could be one
    labels = np.concatenate([y for _, y in digits.test.as_numpy_iterator()])
    assert report["accuracy"]["before"]["value"] == np.mean(before == labels)


def test_values_in_8_bits_are_those_of_numpy():
    rng = np.random.default_rng(0)
    layer = keras.layers.Conv2D(4, 1, use_bias=False, name="body")
    link = kr.Segment(layer, name="link")
    network = kr.ResidualNetwork([link, kr.ResidualBlock(None, keras.layers.Identity(), name="block")], (3, 3, 5))
    kernel = rng.normal(size=(1, 1, 5, 4)).astype("float32") * np.array([0.01, 1, 5, 1], "float32")
    layer.kernel.assign(kernel)
    x = rng.normal(1, 2, (16, 3, 3, 5)).astype("float32")
    ranges = ranges_of(network, x)
    low, high = min(x.min(), 0), max(x.max(), 0)
    assert ranges["link", "body", 0] == (low, high)

    # In whole numbers, as LiteRT's specification of 8 bits has it.
    def quantised(values, low, high):
        scale = (high - low) / 255
        zero = np.rint(-128 - low / scale)
        return np.clip(np.rint(values / scale) + zero, -128, 127) - zero, scale

    whole, scale = quantised(x.astype("float64"), low, high)
    scales = np.abs(kernel).max((0, 1, 2)) / 127
    kernels = np.rint(kernel[0, 0] / scales)
    assert np.abs(kernels).max() == 127
    y = np.einsum("nhwi,io->nhwo", whole, kernels) * scale * scales
    whole, scale = quantised(y, *ranges["link", "body", None])
    found = np.asarray(rounded(link, ranges)(x))
    apart = np.abs(found - whole * scale)
    assert np.mean(apart > 1e-4) < 0.01  # what lies between two steps may go to either
    assert apart.max() < 1.01 * scale
    assert np.abs(found - np.asarray(layer(x))).max() > 1e-3
    np.testing.assert_allclose(in_8_bits(np.array([-9.0, 0.0, 1.004, 9.0]), 0.0, 2.55), [0, 0, 1, 2.55], atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (keras.layers.Conv2D(4, 3), (0, 1, 2)),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (0, 1)),
        (keras.layers.Dense(4), (0,)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_kernels_get_a_scale_for_each_channel(layer, channels):
    layer.build((None, 8, 8, 3))
    rng = np.random.default_rng(0)
    shape = tuple(layer.kernel.shape)
    sizes = 10 ** rng.uniform(-3, 3, tuple(1 if i in channels else n for i, n in enumerate(shape)))
    kernel = (rng.normal(size=shape) * sizes).astype("float32")
    layer.kernel.assign(kernel)
    scales = np.abs(kernel).max(channels, keepdims=True) / 127
    assert np.ptp(np.log10(scales)) > 1
    np.testing.assert_allclose(kernel_in_8_bits(layer), np.rint(kernel / scales) * scales, rtol=1e-5)
    layer.kernel.assign(0 * kernel)
    np.testing.assert_array_equal(kernel_in_8_bits(layer), 0 * kernel)


def test_the_block_that_cannot_bear_8_bits_is_named(outlier, tmp_path):
    model, x, labels = outlier
    report = kr.export.litert(model, tmp_path / "net.tflite", "int8", x, data=(x, labels), calls=0)
    accuracy = report["accuracy"]
    assert accuracy["before"]["value"] == 1
    assert accuracy["lost"] == pytest.approx(1 - report["agreement"])
    assert accuracy["lost"] > 0.01
    rows = report["sensitivity"]
    assert rows[0]["block"] == "stage1_block2"
    assert rows[0]["lost"] > 0.01
    assert max(row["lost"] for row in rows[1:]) < 0.5 * rows[0]["lost"]
    assert {row["block"] for row in rows} == {"stem", "stage1_block1", "stage1_block2", "stage1_block3", "head"}
    # What one block costs is what the file of that block alone would cost, the lanes' other choices being untouched.
    ranges, network = ranges_of(model, x), inference(model).network
    y = x
    for link in network.chain:
        y = rounded(link, ranges)(y) if link.name == "stage1_block2" else link(y)
    assert rows[0]["error"] == np.mean(np.asarray(y).argmax(1) != labels)
    intact = -np.log(model.predict(x, verbose=0).max(1)).mean()
    assert {row["block"]: row["loss"] for row in rows}["stem"] == pytest.approx(intact, rel=0.05)
    assert "stage1_block2 +" in kr.export.describe(report)
    card = (tmp_path / "net.tflite.card.md").read_text()
    assert "more than one" in card
    assert "| stage1_block2 |" in card
    assert json.loads((tmp_path / "net.tflite.card.json").read_text()) == report
    # Without labels, by agreement: here the labels were the network's own answers.
    unlabelled = kr.export.litert(model, tmp_path / "net.tflite", "int8", x, examples=x, calls=0)
    assert unlabelled["accuracy"] is None
    assert unlabelled["sensitivity"] == rows


def test_representative_inputs_are_asked_for(outlier, tmp_path):
    model, x, labels = outlier
    with pytest.raises(ArgumentError, match="real inputs; give some"):
        kr.export.litert(model, tmp_path / "net.tflite", "int8", data=(x, labels))
    with pytest.raises(ArgumentError, match=r"inputs of \(8, 8, 1\).*\(8, 8\)"):
        kr.export.litert(model, tmp_path / "net.tflite", "int8", x[..., 0], data=(x, labels))
    with pytest.raises(ArgumentError, match="real inputs; give some"):
        kr.export.sensitivity(model, (x, labels))
    assert list(tmp_path.iterdir()) == []
