"""Wu et al. 2016's networks: their own files, and ports to PyTorch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from keras_resnets.architecture import variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.weights.families import TORCH_PREPROCESSING, Contents, Family, Source, torch_name
from keras_resnets.weights.roles import Role
from keras_resnets.weights.torch_families import COUNTERS
from keras_resnets.weights.torch_families import KINDS as TORCH

_NEEDS = {
    "stem": "conv3",
    "placement": "pre",
    "shortcut": "B",
    "shared_preactivation": "projection",
    "stride_place": "first",
    "skip": "identity",
}
_BRANCHES = ("1", "2a", "2b1", "2b2")


def _level(role: Role, spec: Spec) -> int:
    """Returns the paper's level of a stage; models without level 1 start at 2."""
    return role.stage + 7 - len(spec.stages)


def _mxnet_names(role: Role, spec: Spec) -> tuple[str, ...]:
    layer = {"conv": "conv1a" if role.place == "stem" else "conv6a", "bn": "bn7", "logits": f"linear{spec.classes}"}
    name = layer[role.layer]
    if role.place == "block":
        level = _level(role, spec)
        unit = f"{level}a" if level > 1 and role.block == 1 else f"{level}b{role.block - (level > 1)}"
        name = f"{ {'conv': 'res', 'bn': 'bn'}[role.layer] }{unit}_branch{_BRANCHES[role.number]}"
    variable = {"kernel": "weight", "moving_variance": "moving_var"}.get(role.variable, role.variable)
    return (f"{'aux' if variable.startswith('moving') else 'arg'}:{name}_{variable}",)


def _mxnet_variants(contents: Contents) -> list[Spec]:
    leveled = "arg:res1b1_branch2a_weight" in contents
    names = [f"wu_{letter}" for letter in "cdef"] if leveled else ["resnet38", "resnet38_a1", "resnet38_a2"]
    if not leveled and "arg:res2b1_branch2a_weight" not in contents:
        names = ["wu_b"] if "arg:res5b1_branch2a_weight" in contents else ["wu_16"]
    return [variants.spec(name) for name in names]


def _mxnet_fields(contents: Contents) -> dict[str, Any]:
    matches = [match for name in contents if (match := re.fullmatch(r"arg:linear(\d{1,6})_weight", name))]
    if not matches:
        return {}
    fields: dict[str, Any] = {"classes": int(matches[0][1])}
    if len(contents.kernel_shape(matches[0][0]) or ()) == 4:
        # All published segmentation networks have an output stride of 8.
        fields |= {"head": "1conv", "output_stride": 8}
    if kernel := contents.kernel_shape("arg:conv6a_weight"):
        fields |= {"head": "2conv", "head_width": kernel[0]}
    return fields


# github.com/itijyou/ademxapp
MXNET = Family(
    "Wu et al. 2016",
    ("mxnet",),
    ("arg:conv1a_weight", "arg:res2a_branch2a_weight"),
    _mxnet_names,
    _mxnet_variants,
    needs=_NEEDS,
    settings={"bn_epsilon": 1.001e-5, "pool_padding": "end", "dilation_rule": "exact", "head_dilation": 12},
    classifier=r"arg:(linear\d+|conv6a)_(weight|bias)",
    preprocessing=TORCH_PREPROCESSING,
    fields=_mxnet_fields,
)


def _psa_names(role: Role, spec: Spec) -> tuple[str, ...]:
    layer = {"conv": "conv1a", "bn": "bn7", "logits": "fc8"}[role.layer]
    if role.place == "head" and role.layer == "conv":
        return ()
    if role.place == "block":
        unit = f"b{_level(role, spec)}" + (f"_{role.block - 1}" if role.block > 1 else "")
        layer = f"{unit}.{role.layer}_branch{_BRANCHES[role.number]}"
    return (torch_name(layer, role.variable),)


def _convert_scores(role: Role, source: Source, spec: Spec, contents: Contents) -> Source:
    """Converts the scores, a 1x1 convolution without bias after the pooling, to a dense layer."""
    if role.layer != "logits" or spec.is_dense:
        return source
    if role.variable == "bias":
        return source if source.names[0] in contents else Source((), (), lambda: np.zeros(spec.classes, "float32"))
    return Source(source.names, ((*source.shapes[0], 1, 1),), lambda value: value[:, :, 0, 0].T)


# github.com/jiwoon-ahn/psa, `network/resnet38d.py`
PSA = Family(
    "psa's resnet38d",
    TORCH,
    ("conv1a.weight", "b2.conv_branch2a.weight", "bn7.weight"),
    _psa_names,
    lambda contents: [variants.spec("resnet38_a1")],
    needs=_NEEDS,
    settings={"bn_epsilon": 1e-5, "dilation_rule": "exact"},
    classifier=r"fc8\..*",
    ignored=COUNTERS,
    preprocessing=TORCH_PREPROCESSING,
    revise=_convert_scores,
    fields=lambda contents: {"output_stride": 8},
)


def _wider_names(role: Role, spec: Spec) -> tuple[str, ...]:
    layer = {"conv": "mod1.conv1", "bn": "bn_out.0", "logits": "classifier.fc"}[role.layer]
    if role.place == "head" and role.layer == "conv":
        return ()
    if role.place == "block":
        inner = "proj_conv" if role.is_projection else f"convs.{role.layer}{role.number}"
        inner = "bn1" if inner == "convs.bn1" else inner
        # Batch-norm and ReLU are one sequential module.
        layer = f"mod{_level(role, spec)}.block{role.block}.{inner}" + (".0" if role.layer == "bn" else "")
    return (torch_name(layer, role.variable),)


def _wider_variants(contents: Contents) -> list[Spec]:
    """Networks with five max-pools, and with two max-pools and strides (`_a2`), have the same names."""
    units = {"resnet38": (0, 3, 3, 6, 3, 1, 1), "wu_b": (0, 1, 1, 1, 3, 1, 1), "wu_16": (0, 1, 1, 1, 1, 1, 1)}
    deep, middle = (f"mod{level}.block2.bn1.0.weight" in contents for level in (2, 5))
    name = "resnet38" if deep else "wu_b" if middle else "wu_16"
    return [variants.spec(name), variants.wu(f"{name}_a2", units[name], 224, (2, 3), (4, 5, 6))]


# github.com/NVIDIA/semantic-segmentation, `network/wider_resnet.py`, after mapillary's
WIDER = Family(
    "wider_resnet",
    TORCH,
    ("mod1.conv1.weight", "mod2.block1.bn1.0.weight"),
    _wider_names,
    _wider_variants,
    needs=_NEEDS,
    settings={"bn_epsilon": 1e-5, "pool_padding": "both", "dilation_rule": "stage"},
    classifier=r"classifier\.fc\..*",
    ignored=COUNTERS,
    preprocessing=TORCH_PREPROCESSING,
)

# github.com/mapillary/inplace_abn
INPLACE = Family(
    "mapillary's wider_resnet",
    TORCH,
    ("mod1.conv1.weight", "mod2.block1.bn1.weight"),
    refusal="its batch-norms include their activation, by default a leaky ReLU, which our networks lack, and the file "
    "does not say which; if it is ReLU, rename 'bn1.weight' to 'bn1.0.weight' and likewise all others",
)
