"""Networks of PyTorch: torchvision and timm, and two public sets of CIFAR networks."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from keras_resnets.architecture import variants
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.weights.families import TORCH_PREPROCESSING, Contents, Family, Source, torch_name
from keras_resnets.weights.roles import Role

KINDS = ("torch", "safetensors")
# Batch counters of torch's batch-norm layers.
COUNTERS = r".*\.num_batches_tracked"


def _torchvision_names(role: Role, spec: Spec) -> tuple[str, ...]:
    layer = {"conv": "conv1", "bn": "bn1", "logits": "fc"}[role.layer]
    if role.place == "block":
        inner = f"downsample.{int(role.layer == 'bn')}" if role.is_projection else f"{role.layer}{role.number}"
        layer = f"layer{role.stage}.{role.block - 1}.{inner}"
    return (torch_name(layer, role.variable),)


def _torchvision_variants(contents: Contents) -> list[Spec]:
    bottleneck = "layer1.0.conv3.weight" in contents
    specs = [variants.spec(name) for name in variants.imagenet_models()]
    return [s for s in specs if not TORCHVISION.differing(s) and (len(s.stages[0].kernels) == 3) == bottleneck]


# torchvision 0.x `models/resnet.py`; timm's `resnet.py` has the same names.
TORCHVISION = Family(
    "torchvision",
    KINDS,
    ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"),
    _torchvision_names,
    _torchvision_variants,
    needs={"stem": "conv7", "placement": "post", "shortcut": "B", "stride_place": "3x3", "skip": "identity"},
    settings={"bn_epsilon": 1e-5},
    classifier=r"fc\..*",
    ignored=COUNTERS,
    preprocessing=TORCH_PREPROCESSING,
    # Caffe's and Detectron's ResNets have their stride in the first convolution of a block.
    untold=("stride_place",),
    known=r"(conv1|bn1|fc|layer\d+\.\d+\.((conv|bn)[123]|downsample\.[01]))\.\w+",
    archs=r"(tv_|wide_)?resnet\d+(_[24])?(\.\w+)?",
)


def _transformers_names(role: Role, spec: Spec, root: str = "resnet.") -> tuple[str, ...]:
    layer = {"stem": f"{root}embedder.embedder", "head": "classifier.1"}.get(role.place, "")
    if role.place == "block":
        inner = "shortcut" if role.is_projection else f"layer.{role.number - 1}"
        layer = f"{root}encoder.stages.{role.stage - 1}.layers.{role.block - 1}.{inner}"
    layer += {"conv": ".convolution", "bn": ".normalization", "logits": ""}[role.layer]
    return (torch_name(layer, role.variable),)


def _transformers_variants(contents: Contents) -> list[Spec]:
    third = "encoder.stages.0.layers.0.layer.2.convolution.weight"
    bottleneck = third in contents or f"resnet.{third}" in contents
    names = ("resnet50_v15", "resnet101_v15", "resnet152_v15") if bottleneck else ("resnet18", "resnet34")
    return [variants.spec(name) for name in names]


# github.com/huggingface/transformers, `models/resnet/modeling_resnet.py`; the preprocessing is that of
# `preprocessor_config.json` beside microsoft/resnet-18 to 152.
TRANSFORMERS = Family(
    "transformers' ResNet",
    KINDS,
    ("resnet.embedder.embedder.convolution.weight", "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"),
    _transformers_names,
    _transformers_variants,
    needs={"stem": "conv7", "placement": "post", "shortcut": "B", "stride_place": "3x3", "skip": "identity"},
    settings={"bn_epsilon": 1e-5},
    classifier=r"classifier\..*",
    ignored=COUNTERS,
    preprocessing=TORCH_PREPROCESSING,
    # `downsample_in_bottleneck` of `config.json` puts the stride into the first convolution.
    untold=("stride_place",),
)
# The network without its classifier (`ResNetModel`, `ResNetBackbone`).
TRANSFORMERS_BACKBONE = dataclasses.replace(
    TRANSFORMERS,
    name="transformers' ResNet without its classifier",
    marks=tuple(mark.removeprefix("resnet.") for mark in TRANSFORMERS.marks),
    names=functools.partial(_transformers_names, root=""),
)


def _akamaster_names(role: Role, spec: Spec) -> tuple[str, ...]:
    layer = {"conv": "conv1", "bn": "bn1", "logits": "linear"}[role.layer]
    if role.place == "block":
        inner = f"shortcut.{int(role.layer == 'bn')}" if role.is_projection else f"{role.layer}{role.number}"
        layer = f"layer{role.stage}.{role.block - 1}.{inner}"
    return (torch_name(layer, role.variable),)


def _akamaster_variants(contents: Contents) -> list[Spec]:
    blocks = count_blocks(contents, "layer1.{}.conv1.weight")
    projects = "layer2.0.shortcut.0.weight" in contents
    name = f"resnet{6 * blocks + 2}"
    is_taken = variants.spec(name).stem != "conv3"  # such as resnet50
    return [variants.cifar(name + "_cifar" * is_taken, blocks, shortcut="B" if projects else "A")]


def count_blocks(contents: Contents, pattern: str) -> int:
    """Counts the numbers 0, 1, ... or 1, 2, ... for which the file has the name, up to the first gap."""
    first = last = 0 if pattern.format(0) in contents else 1
    while pattern.format(last) in contents:
        last += 1
    return last - first


def _channel_orders(spec: Spec) -> list[np.ndarray]:
    """Returns, for the output of the stem and of each stage, the file's channel for each of ours.

    Where a shortcut adds channels, the file's network puts half of the zero channels first and half last; ours puts all
    of them last.
    """
    orders = [np.arange(spec.stem_width)]
    for stage in spec.stages:
        width, previous = spec.widths(stage)[-1], orders[-1]
        front = (width - len(previous)) // 2
        added = np.r_[np.arange(front), np.arange(front + len(previous), width)]
        orders.append(np.r_[previous + front, added])
    return orders


def _reorder_channels(role: Role, source: Source, spec: Spec, contents: Contents) -> Source:
    """Reorders the inputs and outputs of layers next to padded shortcuts (`_channel_orders`)."""
    if spec.shortcut != "A" or role.place == "stem":
        return source
    orders = _channel_orders(spec)
    if role.place == "head":
        return source.then(lambda value: value[orders[-1]]) if role.variable == "kernel" else source
    inputs = orders[role.stage - 1 if role.block == 1 else role.stage]
    if role.layer == "conv" and role.number == 1:
        source = source.then(lambda value: value[:, :, inputs])
    if role.number == len(spec.stages[role.stage - 1].widths):
        source = source.then(lambda value: value[..., orders[role.stage]])
    return source


# github.com/akamaster/pytorch_resnet_cifar10, `resnet.py`; the preprocessing is that of its `trainer.py`.
AKAMASTER = Family(
    "akamaster's CIFAR networks",
    KINDS,
    ("linear.weight", "conv1.weight", "layer3.0.conv1.weight"),
    _akamaster_names,
    _akamaster_variants,
    needs={"stem": "conv3", "placement": "post", "skip": "identity"},
    settings={"bn_epsilon": 1e-5},
    classifier=r"linear\..*",
    ignored=COUNTERS,
    preprocessing=TORCH_PREPROCESSING,
    revise=_reorder_channels,
)


def _zagoruyko_names(role: Role, spec: Spec) -> tuple[str, ...]:
    layer = {"conv": "conv0", "bn": "bn", "logits": "fc"}[role.layer]
    if role.place == "block":
        inner = "convdim" if role.is_projection else f"{role.layer}{role.number - 1}"
        layer = f"group{role.stage - 1}.block{role.block - 1}.{inner}"
    # There, convolutions are plain tensors, not modules with a weight.
    return (layer,) if role.layer == "conv" else (torch_name(layer, role.variable),)


def _zagoruyko_variants(contents: Contents) -> list[Spec]:
    blocks, kernel = count_blocks(contents, "group0.block{}.conv0"), contents.kernel_shape("group0.block0.conv0")
    factor = max(1, kernel[0] // 16) if kernel else 1
    return [variants.wide(f"wrn_{6 * blocks + 4}_{factor}", blocks, factor)]


# github.com/szagoruyko/wide-residual-networks, `pytorch/resnet.py`; the preprocessing is that of its `main.py`.
ZAGORUYKO = Family(
    "Zagoruyko's wide networks",
    KINDS,
    ("group0.block0.conv0", "conv0", "fc.weight"),
    _zagoruyko_names,
    _zagoruyko_variants,
    needs={
        "stem": "conv3",
        "placement": "pre",
        "shortcut": "B",
        "shared_preactivation": "projection",
        "stride_place": "first",
        "skip": "identity",
    },
    settings={"bn_epsilon": 1e-5},
    classifier=r"fc\..*",
    ignored=COUNTERS,
    preprocessing=Preprocessing((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
)
