"""Networks of `keras.applications`, current and old."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from keras_resnets.architecture import variants
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.weights.families import Contents, Family, Source
from keras_resnets.weights.roles import Role

KINDS = ("hdf5", "keras")
CAFFE = Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr")
FROM_MINUS_ONE = Preprocessing((127.5,), (127.5,))
_NEEDS = {"stem": "conv7", "placement": "post", "shortcut": "B", "stride_place": "first", "skip": "identity"}


def _first_names(role: Role, spec: Spec) -> tuple[str, ...]:
    if role.layer == "logits":
        # The published files and today's code have different names for this layer.
        return tuple(f"{layer}/{role.variable}" for layer in ("predictions", "probs"))
    layer = f"conv1_{role.layer}"
    if role.place == "block":
        layer = f"conv{role.stage + 1}_block{role.block}_{role.number}_{role.layer}"
    return (f"{layer}/{role.variable}",)


def _first_variants(contents: Contents) -> list[Spec]:
    return [variants.spec(f"resnet{depth}") for depth in (50, 101, 152)]


def _subtract_bias(
    names: Callable[[Role, Spec], tuple[str, ...]], role: Role, source: Source, spec: Spec, contents: Contents
) -> Source:
    """Subtracts a convolution's bias from the moving mean after it, which gives an equivalent network."""
    if role.variable != "moving_mean":
        return source
    biases = names(dataclasses.replace(role, layer="conv", variable="bias"), spec)
    for bias in biases:
        if bias in contents:
            return Source((*source.names, bias), source.shapes * 2, lambda mean, offset: mean - offset)
    return source


FIRST = Family(
    "keras.applications' ResNet",
    KINDS,
    ("conv1_bn/gamma", "conv1_conv/kernel", "conv2_block1_1_conv/kernel"),
    _first_names,
    _first_variants,
    needs=_NEEDS,
    settings={"bn_epsilon": 1.001e-5},
    outputs_first=False,
    classifier=r"(predictions|probs)/.*",
    preprocessing=CAFFE,
    revise=functools.partial(_subtract_bias, _first_names),
)

SECOND = Family(
    "keras.applications' ResNetV2",
    KINDS,
    ("conv2_block1_preact_bn/gamma", "post_bn/gamma"),
    classifier=r"(predictions|probs)/.*",
    preprocessing=FROM_MINUS_ONE,
    refusal="its stages have their stride at the end, which no spec has; use kr.ResNet50V2(weights=FILE), or 101, 152",
)


def _old_names(role: Role, spec: Spec) -> tuple[str, ...]:
    branch = f"{role.stage + 1}{chr(ord('a') + role.block - 1)}_branch"
    branch += "1" if role.is_projection else f"2{'xabc'[role.number]}"
    layers = {"conv": f"res{branch}", "bn": f"bn{branch}", "logits": "fc1000"}
    if role.place == "stem":
        layers = {"conv": "conv1", "bn": "bn_conv1"}
    layer = layers[role.layer]
    # Keras 1 called the moving variance running_std.
    older = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    return f"{layer}/{role.variable}", f"{layer}/{layer}_{older.get(role.variable, role.variable)}"


OLD = Family(
    "Keras' ResNet50 before 2.2",
    KINDS,
    ("bn_conv1/gamma", "res2a_branch2a/kernel"),
    _old_names,
    lambda contents: [variants.spec("resnet50")],
    needs=_NEEDS,
    settings={"bn_epsilon": 1e-3},
    outputs_first=False,
    classifier=r"fc\d+/.*",
    preprocessing=CAFFE,
    revise=functools.partial(_subtract_bias, _old_names),
)
OLDEST = dataclasses.replace(OLD, marks=("bn_conv1/bn_conv1_gamma", "res2a_branch2a/res2a_branch2a_W"))

# What `model.save_weights` writes of a network of this package, whose variables have their paths for names.
OWN = Family(
    "this package",
    ("keras",),
    ("stem/body/conv/kernel",),
    outputs_first=False,
    classifier=r"head/body/(?!bn/).*",
)
