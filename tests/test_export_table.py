"""Every family of networks in every format: what the file answers, in its own runtime, is what the network does."""

import dataclasses
import functools
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from helpers.foreign_models import residual_model
from helpers.precision import policy

import keras_resnets as kr

CLASSES = 7


def small(variant, **fields):
    """A variant narrow, with one block in each of its last two stages."""
    spec = kr.variants.spec(variant)
    stages = tuple(dataclasses.replace(stage, blocks=1) for stage in spec.stages[-2:])
    return spec.replace(**{"stages": stages, "width": 0.125, "stem_width": 4, **fields})


def built(variant, **fields):
    return kr.build(small(variant, **fields), (32, 32, 3), CLASSES)


def path_trained():
    model = built("preresnet14")
    model.compile("sgd", "sparse_categorical_crossentropy", paths=kr.paths.StochasticDepth(0.5))
    model.train_on_batch(np.ones((2, 32, 32, 3), "float32"), np.zeros(2))
    assert [block.scale for block in model.blocks] == [0.75, 0.5]
    return model


def mixed():
    with policy("mixed_float16"):
        return built("resnet14")


def pruned():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 32, 32, 3)).astype("float32"), rng.integers(0, CLASSES, 8)
    # With identities enough that one can go.
    stages = tuple(dataclasses.replace(stage, blocks=2) for stage in small("resnet14").stages)
    model = built("resnet14", shortcut="B", stages=stages)
    return kr.prune(model, (x, y), calibration=(x, y), blocks=2, timed=0).network


FAMILIES = {
    "resnet, option A": lambda: built("resnet14"),
    "resnet, option B": lambda: built("resnet14", shortcut="B"),
    "plain": lambda: built("plain14"),
    "preresnet": lambda: built("preresnet14"),
    "wide": lambda: built("wrn_10_2", dropout=0.3),
    "bottleneck": lambda: built("resnet50", width=0.03125),
    "bottleneck, pre-activation": lambda: built("resnet50_v2", width=0.03125),
    "vgg": lambda: built("vgg15"),
    "wu": lambda: built("wu_b", width=0.03125),
    "gated": lambda: built("preresnet14", skip="gate:-1"),
    "segmentation": lambda: kr.segmentation.fcn(small("resnet38_a1", width=0.015625, head_dilation=2), CLASSES),
    "lesioned": lambda: kr.delete(built("resnet14"), "stage2_block1"),
    "path-trained": path_trained,
    "pruned": pruned,
    "mixed precision": mixed,
    "adopted": lambda: kr.adopt(residual_model(CLASSES)),
}


# Where every batch-norm stands behind a convolution, none is left.
POST_ACTIVATION = {*list(FAMILIES)[:3], "bottleneck", "vgg", "lesioned", "pruned", "mixed precision", "adopted"}
LITERT = {"litert": "float32", "litert-fp16": "float16", "litert-dynamic": "dynamic", "litert-int8": "int8"}
FORMATS = ["saved_model", "litert", "litert-fp16", "litert-int8"]
CLOSE = {"saved_model": 1e-5, "litert": 1e-4, "onnx": 1e-4}
has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "tf2onnx", "onnxruntime"))
without_onnx = pytest.mark.skipif(not has_onnx, reason="the extra onnx is not installed: keras_resnets[onnx]")


# Those whose operations differ; the others are tried by make test-all.
IN_ONNX = {"resnet, option A", "preresnet", "wide", "wu", "gated", "segmentation", "path-trained", "adopted"}

TABLE = [
    *((family, name) for family in FAMILIES for name in FORMATS),
    # Of weights alone, which are what they are in int8.
    ("resnet, option A", "litert-dynamic"),
    ("preresnet", "litert-dynamic"),
    *(
        pytest.param(family, "onnx", marks=[without_onnx, *([] if family in IN_ONNX else [pytest.mark.thorough])])
        for family in FAMILIES
    ),
]


@functools.cache
def network(family):
    """A network, inputs, and what it should answer."""
    keras.utils.set_random_seed(0)
    model, rng = FAMILIES[family](), np.random.default_rng(0)
    for v in model.weights:
        if v.path.endswith(("gamma", "moving_variance")):
            v.assign(rng.uniform(0.5, 1.5, v.shape))
        elif v.path.endswith(("beta", "moving_mean", "bias")):
            v.assign(rng.normal(0, 0.3, v.shape))
    x = rng.normal(size=(20, 32, 32, 3)).astype("float32")
    reference = model
    if family == "mixed precision":  # in float32, as it is exported
        reference = built("resnet14")
        reference.set_weights(model.get_weights())
    return model, x, reference.predict(x, verbose=0)


def answers(name, path, x):
    """What a file answers, read by its runtime alone."""
    if name == "saved_model":
        loaded = tf.saved_model.load(str(path))
        return loaded.serve(tf.constant(x)).numpy()
    if name == "onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(str(path)).run(["outputs"], {"inputs": x})[0]
    interpreter = Interpreter(str(path), num_threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], x.shape)
    interpreter.allocate_tensors()
    if name == "litert-int8":
        assert source["dtype"] == target["dtype"] == np.int8
        scale, zero = source["quantization"]
        x = np.clip(np.rint(x / scale) + zero, -128, 127).astype("int8")
    interpreter.set_tensor(source["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(target["index"])
    if name == "litert-int8":
        scale, zero = target["quantization"]
        y = scale * (y.astype("float64") - zero)
    return y


@pytest.mark.parametrize(("family", "name"), TABLE)
def test_a_file_answers_what_the_network_does(family, name, tmp_path):
    model, x, expected = network(family)
    path = tmp_path / {"saved_model": "net", "onnx": "net.onnx"}.get(name, "net.tflite")
    if name in LITERT:
        report = kr.export.litert(model, path, LITERT[name], x if name == "litert-int8" else None, examples=x, calls=0)
    else:
        report = getattr(kr.export, name)(model, path, x, calls=0)
    found = answers(name, path, x)
    difference = np.abs(found - expected).max()
    agreement = np.mean(found.argmax(-1) == expected.argmax(-1))
    assert difference <= CLOSE.get(name, 1e-2 * expected.max() if name == "litert-fp16" else 1)
    assert agreement >= {"litert-fp16": 0.99, "litert-dynamic": 0.9, "litert-int8": 0.9}.get(name, 1)
    # The report says the same.
    assert report["max_difference"] == pytest.approx(difference, rel=0.1, abs=1e-6)
    assert report["agreement"] == pytest.approx(agreement, abs=0.01)
    if name in LITERT:
        convolutions = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Conv2D)]
        assert report["operators"]["CONV_2D"] == len(convolutions)
        assert report["checks"]["unfolded"] == []
        assert ("MUL" in report["operators"]) == (family not in POST_ACTIVATION)
        added = [block for block in model.blocks if None not in (block.residual, block.shortcut)]
        kind = "int8" if name == "litert-int8" else "float32"
        assert report["checks"]["additions"] == ({f"{kind} + {kind} -> {kind}": len(added)} if added else {})
        assert (report["checks"]["floats"] == 0) == (name == "litert-int8")
