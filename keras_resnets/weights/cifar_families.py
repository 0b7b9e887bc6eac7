"""Networks of PyTorch for CIFAR, each named as in the code of its project.

Of each, what its code computes was read there, and the preprocessing in its training script.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_resnets.architecture import variants
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.weights.families import TORCH_PREPROCESSING, Contents, Family, torch_name
from keras_resnets.weights.roles import Role
from keras_resnets.weights.torch_families import COUNTERS, KINDS, count_blocks


def _normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    """Returns the preprocessing whose mean and deviation are given for pixels from 0 to 1."""
    return Preprocessing(tuple(255 * value for value in mean), tuple(255 * value for value in std))


# What the training scripts of kuangliu, bearpaw, osmr and, for ten classes, chenyaofo have.
_CIFAR10 = _normalised((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
# chenyaofo, `logs/cifar100`; weiaicunzai's `conf/global_settings.py` has the same, with more digits.
_CIFAR100 = _normalised((0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761))

_POST: dict[str, Any] = {"placement": "post", "shortcut": "B", "skip": "identity"}
_PRE: dict[str, Any] = {**_POST, "placement": "pre", "shared_preactivation": "projection"}
_SMALL: dict[str, Any] = {"stem": "conv3", "stride_place": "3x3"}


def _named(
    block: str,
    conv: str,
    bn: str,
    projection: tuple[str, str],
    *,
    stem: tuple[str, str] = ("conv1", ""),
    end: str = "",
    classifier: str = "fc",
) -> Callable[[Role, Spec], tuple[str, ...]]:
    """Returns the names of a family from patterns of its layers.

    Args:
        block: beginning of the names in a block. `{s}`, `{b}` and `{n}` are the numbers of stage, block and convolution
            from 1, `{s1}` from 2, `{b0}` from 0; `{i}` and `{j}` are the places of the convolution and of its
            batch-norm in a sequence of convolution, batch-norm and ReLU.
        conv: a convolution of the residual branch.
        bn: its batch-norm.
        projection: the convolution of a projection, and the batch-norm behind it, empty if there is none.
        stem: the stem's convolution, and the batch-norm behind it, empty if there is none.
        end: the batch-norm before the classifier; empty if there is none.
        classifier: the dense layer.
    """
    shortcut = tuple(name and block + name for name in projection)
    layers = {"stem": stem, "block": (block + conv, block + bn), "shortcut": shortcut, "head": ("", end)}

    def names(role: Role, spec: Spec) -> tuple[str, ...]:
        own, other = layers["shortcut" if role.is_projection else role.place]
        layer = classifier if role.layer == "logits" else other if role.layer == "bn" else own
        s, b, n = role.stage, role.block, role.number
        layer = layer.format(s=s, b=b, n=n, s1=s + 1, b0=b - 1, i=3 * n - 3, j=3 * n - 2)
        return (torch_name(layer, role.variable),) if layer else ()

    return names


def _three_stages(kind: str, blocks: str, third: str, **fields: Any) -> Callable[[Contents], list[Spec]]:
    """Returns the function that gives the network of three stages that a file is of.

    Args:
        kind: `"resnet"` or `"preresnet"`.
        blocks: pattern of a name that each block of the first stage has.
        third: a name that only bottlenecks have.
        **fields: fields of the spec.
    """

    def derive(contents: Contents) -> list[Spec]:
        count, bottleneck = max(1, count_blocks(contents, blocks)), third in contents
        name = f"{kind}{(9 if bottleneck else 6) * count + 2}"
        # Without an ending, some names are other networks': resnet50 is ImageNet's, preresnet110 has basic blocks.
        if bottleneck:
            name += "bn" * (kind == "resnet" or len(variants.spec(name).stages[0].kernels) != 3)
            return [variants.cifar_bottleneck(name, count, stride_place="3x3", **fields)]
        known = variants.spec(name)
        is_taken = known.stem != "conv3" or len(known.stages[0].kernels) != 2
        return [variants.cifar(name + "_cifar" * is_taken, count, shortcut="B", **fields)]

    return derive


def _four_stages(third: str, suffix: str, **fields: Any) -> Callable[[Contents], list[Spec]]:
    """Returns the function that gives the networks with ImageNet's widths that a file may be of.

    Args:
        third: a name that only bottlenecks have.
        suffix: end of the variants' names.
        **fields: fields of the spec.
    """

    def derive(contents: Contents) -> list[Spec]:
        depths = (50, 101, 152) if third in contents else (18, 34)
        return [variants.spec(f"resnet{depth}{suffix}", **fields) for depth in depths]

    return derive


def _wide(first: str, blocks: str) -> Callable[[Contents], list[Spec]]:
    """Returns the function that gives the Wide ResNet that a file is of.

    Args:
        first: the first convolution of the first block.
        blocks: pattern of a name that each block of the first stage has.
    """

    def derive(contents: Contents) -> list[Spec]:
        count, kernel = max(1, count_blocks(contents, blocks)), contents.kernel_shape(first)
        factor = max(1, kernel[0] // 16) if kernel else 1
        return [variants.wide(f"wrn_{6 * count + 4}_{factor}", count, factor)]

    return derive


# As in torchvision, too.
_BLOCKS, _THIRD = "layer1.{}.conv1.weight", "layer1.0.conv3.weight"
_LAYERS = ("layer{s}.{b0}.", "conv{n}", "bn{n}")
_COMMON: dict[str, Any] = {"kinds": KINDS, "settings": {"bn_epsilon": 1e-5}, "ignored": COUNTERS}

# github.com/chenyaofo/pytorch-cifar-models, `pytorch_cifar_models/resnet.py`, and
# github.com/bearpaw/pytorch-classification, `models/cifar/resnet.py`, which has the same names and computes the same.
CHENYAOFO = Family(
    "chenyaofo's and bearpaw's CIFAR networks",
    marks=("layer2.0.downsample.0.weight", "conv1.weight", "bn1.weight", "layer3.0.conv1.weight"),
    names=_named(*_LAYERS, ("downsample.0", "downsample.1"), stem=("conv1", "bn1")),
    variants=_three_stages("resnet", _BLOCKS, _THIRD),
    needs={**_POST, **_SMALL},
    classifier=r"fc\..*",
    by_classes={
        10: (_CIFAR10, ""),
        100: (
            _CIFAR100,
            "preprocessing: chenyaofo's; bearpaw's networks are trained with CIFAR-10's mean and deviation",
        ),
    },
    **_COMMON,
)

# bearpaw's `models/cifar/preresnet.py`: projections read what comes into a block.
BEARPAW = Family(
    "bearpaw's preresnet",
    marks=("layer2.0.downsample.0.weight", "conv1.weight", "bn.weight", "layer3.0.conv1.weight"),
    names=_named(*_LAYERS, ("downsample.0", ""), end="bn"),
    variants=_three_stages("preresnet", _BLOCKS, _THIRD, placement="pre", shared_preactivation="none"),
    needs={**_PRE, **_SMALL, "shared_preactivation": "none"},
    classifier=r"fc\..*",
    by_classes={10: (_CIFAR10, ""), 100: (_CIFAR10, "")},
    **_COMMON,
)

_TWO = (
    None,
    "preprocessing not known: of pixels less (125.3, 123.0, 113.9), xternalz divides by (63.0, 62.1, 66.7), bearpaw "
    "by (51.6, 50.8, 51.3)",
)
# github.com/xternalz/WideResNet-pytorch, `wideresnet.py`, and bearpaw's `models/cifar/wrn.py`, which is taken from it.
XTERNALZ = Family(
    "xternalz' and bearpaw's wide networks",
    marks=("block1.layer.0.conv1.weight", "block3.layer.0.bn1.weight", "conv1.weight", "bn1.weight"),
    names=_named("block{s}.layer.{b0}.", "conv{n}", "bn{n}", ("convShortcut", ""), end="bn1"),
    variants=_wide("block1.layer.0.conv1.weight", "block1.layer.{}.conv1.weight"),
    needs={**_PRE, "stem": "conv3"},
    classifier=r"fc\..*",
    by_classes={10: _TWO, 100: _TWO},
    **_COMMON,
)

# github.com/kuangliu/pytorch-cifar, `models/resnet.py`
KUANGLIU = Family(
    "kuangliu's CIFAR networks",
    marks=("layer2.0.shortcut.0.weight", "conv1.weight", "bn1.weight", "layer4.0.conv1.weight"),
    names=_named(*_LAYERS, ("shortcut.0", "shortcut.1"), stem=("conv1", "bn1"), classifier="linear"),
    variants=_four_stages(_THIRD, "_conv3"),
    needs={**_POST, **_SMALL},
    classifier=r"linear\..*",
    by_classes={10: (_CIFAR10, "")},
    **_COMMON,
)

# torchvision's names with a 3x3 convolution of stride 1 for a stem: kuangliu's network in the code of SimCLR and many
# others, which replace the max-pool by an identity.
TORCHVISION_CONV3 = dataclasses.replace(
    KUANGLIU,
    name="torchvision on a 3x3 stem",
    marks=("layer2.0.downsample.0.weight", "conv1.weight", "bn1.weight", "layer4.0.conv1.weight"),
    names=_named(*_LAYERS, ("downsample.0", "downsample.1"), stem=("conv1", "bn1")),
    classifier=r"fc\..*",
    by_classes={},
    sides={"conv1.weight": 3},
    asks="whether a max-pool follows its 3x3 stem (the variants named here have none)",
)

# kuangliu's `models/preact_resnet.py`, with neither batch-norm nor ReLU at the end.
KUANGLIU_PRE = Family(
    "kuangliu's pre-activation networks",
    marks=("layer2.0.shortcut.0.weight", "conv1.weight", "layer4.0.conv1.weight"),
    names=_named(*_LAYERS, ("shortcut.0", ""), end="bn", classifier="linear"),
    variants=_four_stages(_THIRD, "_v2_conv3", placement="pre_open"),
    needs={**_PRE, **_SMALL, "placement": "pre_open"},
    classifier=r"linear\..*",
    by_classes={10: (_CIFAR10, "")},
    **_COMMON,
)

# Forks have both, such as github.com/locuslab/fast_adversarial, `CIFAR10/preact_resnet.py`.
KUANGLIU_PRE_BN = dataclasses.replace(
    KUANGLIU_PRE,
    name="pre-activation networks of kuangliu's forks",
    marks=("layer2.0.shortcut.0.weight", "conv1.weight", "layer4.0.conv1.weight", "bn.weight"),
    variants=_four_stages(_THIRD, "_v2_conv3"),
    needs={**_PRE, **_SMALL},
    by_classes={10: (None, "preprocessing not known: it differs from fork to fork of kuangliu's code")},
)

# github.com/weiaicunzai/pytorch-cifar100, `models/resnet.py`
WEIAICUNZAI = Family(
    "weiaicunzai's CIFAR-100 networks",
    marks=("conv2_x.0.residual_function.0.weight", "conv1.0.weight", "conv5_x.0.residual_function.0.weight"),
    names=_named(
        "conv{s1}_x.{b0}.",
        "residual_function.{i}",
        "residual_function.{j}",
        ("shortcut.0", "shortcut.1"),
        stem=("conv1.0", "conv1.1"),
    ),
    variants=_four_stages("conv2_x.0.residual_function.6.weight", "_conv3"),
    needs={**_POST, **_SMALL},
    classifier=r"fc\..*",
    by_classes={100: (_CIFAR100, "")},
    **_COMMON,
)

_UNIT = ("features.stage{s}.unit{b}.", "body.conv{n}.conv", "body.conv{n}.bn")
_UNIT1, _UNITS = "features.stage1.unit1.body.conv1.conv.weight", "features.stage1.unit{}.body.conv1.conv.weight"
_UNIT_THIRD = "features.stage1.unit1.body.conv3.conv.weight"
_OSMR_POST: dict[str, Any] = {"projection": ("identity_conv.conv", "identity_conv.bn"), "classifier": "output"}
_OSMR: dict[str, Any] = {
    **_COMMON,
    "classifier": r"output\..*",
    # Its data sets of CIFAR-100 and SVHN take over from CIFAR-10's how images are prepared.
    "by_classes": {10: (_CIFAR10, ""), 100: (_CIFAR10, "")},
}

# github.com/osmr/imgclsmob, `pytorch/pytorchcv/models/resnet_cifar.py`
OSMR = Family(
    "pytorchcv's CIFAR networks",
    marks=("features.init_block.conv.weight", "features.init_block.bn.weight", _UNIT1),
    names=_named(*_UNIT, stem=("features.init_block.conv", "features.init_block.bn"), **_OSMR_POST),
    variants=_three_stages("resnet", _UNITS, _UNIT_THIRD),
    needs={**_POST, **_SMALL},
    **_OSMR,
)


def _osmr_pre_variants(contents: Contents) -> list[Spec]:
    """Basic blocks wider than the stem are a Wide ResNet's (`wrn_cifar.py`), others those of `preresnet_cifar.py`."""
    first, stem = contents.kernel_shape(_UNIT1), contents.kernel_shape("features.init_block.weight")
    if first and stem and _UNIT_THIRD not in contents and first[0] > stem[0]:
        return _wide(_UNIT1, _UNITS)(contents)
    fields = {"placement": "pre", "shared_preactivation": "projection"}
    return _three_stages("preresnet", _UNITS, _UNIT_THIRD, **fields)(contents)


OSMR_PRE = Family(
    "pytorchcv's pre-activation networks for CIFAR",
    marks=("features.init_block.weight", "features.post_activ.bn.weight", _UNIT1),
    names=_named(
        *_UNIT,
        ("identity_conv", ""),
        stem=("features.init_block", ""),
        end="features.post_activ.bn",
        classifier="output",
    ),
    variants=_osmr_pre_variants,
    needs={**_PRE, **_SMALL},
    **_OSMR,
)


def _osmr_imagenet_variants(contents: Contents) -> list[Spec]:
    """Of the bottlenecks, `resnet50` has its stride on the 1x1 and `resnet50b` on the 3x3, which no name tells."""
    names = [f"resnet{depth}{place}" for depth in (50, 101, 152) for place in ("", "_v15")]
    return [variants.spec(name) for name in (names if _UNIT_THIRD in contents else ["resnet18", "resnet34"])]


# Its `resnet.py` and `preresnet.py`, for ImageNet.
OSMR_IMAGENET = Family(
    "pytorchcv's ResNet",
    marks=("features.init_block.conv.conv.weight", _UNIT1),
    names=_named(*_UNIT, stem=("features.init_block.conv.conv", "features.init_block.conv.bn"), **_OSMR_POST),
    variants=_osmr_imagenet_variants,
    needs={**_POST, "stem": "conv7"},
    preprocessing=TORCH_PREPROCESSING,
    **{**_OSMR, "by_classes": {}},
)
OSMR_IMAGENET_PRE = Family(
    "pytorchcv's PreResNet",
    KINDS,
    marks=("features.init_block.conv.weight", "features.init_block.bn.weight", "features.post_activ.bn.weight", _UNIT1),
    refusal="its first unit normalises once more what comes out of the stem, which no network of this package does; "
    "build it with pytorchcv",
)
