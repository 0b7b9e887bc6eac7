"""Reference implementations in torch of the networks of torch's weight files, to compare ours with.

They follow the originals' forward passes, use the file's own tensors, and share no code with the loading of weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """The layers of a network and what they are called.

    In names, `{s}` counts stages from 1, `{t}` from 2, `{r}` from 0; `{b}` blocks from 0, `{c}` from 1; `{n}`
    convolutions from 1, `{m}` from 0; `{i}` and `{j}` are 0, 3, 6 and 1, 4, 7.

    Attributes:
        block: beginning of the names in a block.
        conv: a convolution of the branch.
        bn: its batch-norm.
        projection: the convolution of a projection.
        projection_bn: its batch-norm, if any.
        stem: the first convolution.
        stem_bn: its batch-norm, if any.
        end: the batch-norm behind the last block, if any.
        classifier: the dense layer.
        pre: whether batch-norm and ReLU come before the convolutions.
        raw: whether a projection reads the block's input as it is, in spite of `pre`.
        deep: whether the stem is a 7x7 convolution of stride 2, with a max-pool.
        suffix: end of the names of kernels.
    """

    block: str = "layer{s}.{b}."
    conv: str = "conv{n}"
    bn: str = "bn{n}"
    projection: str = "downsample.0"
    projection_bn: str = "downsample.1"
    stem: str = "conv1"
    stem_bn: str = "bn1"
    end: str = ""
    classifier: str = "fc"
    pre: bool = False
    raw: bool = False
    deep: bool = False
    suffix: str = ".weight"

    def named(self, part: str, stage: int, block: int, number: int = 1) -> str:
        """Returns the name of a layer in a block; `number` counts from 1."""
        return (self.block + part).format(
            s=stage, t=stage + 1, r=stage - 1, b=block, c=block + 1, n=number, m=number - 1,
            i=3 * number - 3, j=3 * number - 2,
        )  # fmt: skip


class _Net:
    """Layers by name, with the file's tensors."""

    def __init__(self, tensors: Tensors, layout: Layout, first: bool):
        import torch

        self.tensors, self.relu, self.functional = tensors, torch.relu, torch.nn.functional
        self.layout, self.first = layout, first

    def has(self, layer: str) -> bool:
        return layer + self.layout.suffix in self.tensors

    def conv(self, x, layer: str, stride: int = 1):
        kernel = self.tensors[layer + self.layout.suffix]
        return self.functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def bn(self, x, layer: str):
        gamma, beta, mean, variance = (
            self.tensors[f"{layer}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return self.functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    def __call__(self, x):
        layout = self.layout
        x = self.conv(x, layout.stem, 2 if layout.deep else 1)
        x = self.relu(self.bn(x, layout.stem_bn)) if layout.stem_bn else x
        x = self.functional.max_pool2d(x, 3, 2, 1) if layout.deep else x
        stage = 1
        while self.has(layout.named(layout.conv, stage, 0)):
            block = 0
            while self.has(layout.named(layout.conv, stage, block)):
                x = self.block(x, stage, block, 2 if stage > 1 and block == 0 else 1)
                block += 1
            stage += 1
        x = self.relu(self.bn(x, layout.end)) if layout.end else x
        weight, bias = (self.tensors[f"{layout.classifier}.{part}"] for part in ("weight", "bias"))
        return self.functional.linear(x.mean((2, 3)), weight, bias)

    def block(self, x, stage: int, block: int, stride: int):
        layout = self.layout
        count = 3 if self.has(layout.named(layout.conv, stage, block, 3)) else 2
        strided = 1 if count == 2 or self.first else 2
        h = read = x
        for n in range(1, count + 1):
            conv, bn = (layout.named(part, stage, block, n) for part in (layout.conv, layout.bn))
            h = self.relu(self.bn(h, bn)) if layout.pre else h
            read = h if n == 1 and layout.pre and not layout.raw else read
            h = self.conv(h, conv, stride if n == strided else 1)
            h = h if layout.pre else self.bn(h, bn)
            h = h if layout.pre or n == count else self.relu(h)
        projection, normal = (layout.named(part, stage, block) for part in (layout.projection, layout.projection_bn))
        if self.has(projection):
            x = self.conv(read, projection, stride)
            x = self.bn(x, normal) if layout.projection_bn else x
        elif h.shape != x.shape:
            # akamaster: zero channels on each side
            quarter = h.shape[1] // 4
            x = self.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
        return h + x if layout.pre else self.relu(h + x)


_KUANGLIU = Layout(projection="shortcut.0", projection_bn="shortcut.1", classifier="linear")
_KUANGLIU_PRE = dataclasses.replace(_KUANGLIU, projection_bn="", stem_bn="", pre=True)
_PYTORCHCV = Layout(
    "features.stage{s}.unit{c}.", "body.conv{n}.conv", "body.conv{n}.bn", "identity_conv.conv", "identity_conv.bn",
    stem="features.init_block.conv", stem_bn="features.init_block.bn", classifier="output",
)  # fmt: skip

# By the family's name.
LAYOUTS: dict[str, Layout] = {
    "torchvision": Layout(deep=True),
    "transformers' ResNet": Layout(
        "resnet.encoder.stages.{r}.layers.{b}.", "layer.{m}.convolution", "layer.{m}.normalization",
        "shortcut.convolution", "shortcut.normalization", stem="resnet.embedder.embedder.convolution",
        stem_bn="resnet.embedder.embedder.normalization", classifier="classifier.1", deep=True,
    ),
    "akamaster's CIFAR networks": _KUANGLIU,
    "chenyaofo's and bearpaw's CIFAR networks": Layout(),
    "bearpaw's preresnet": Layout(projection_bn="", stem_bn="", end="bn", pre=True, raw=True),
    "xternalz' and bearpaw's wide networks": Layout(
        "block{s}.layer.{b}.", projection="convShortcut", projection_bn="", stem_bn="", end="bn1", pre=True
    ),
    "kuangliu's CIFAR networks": _KUANGLIU,
    "torchvision on a 3x3 stem": Layout(),
    "kuangliu's pre-activation networks": _KUANGLIU_PRE,
    "pre-activation networks of kuangliu's forks": dataclasses.replace(_KUANGLIU_PRE, end="bn"),
    "weiaicunzai's CIFAR-100 networks": Layout(
        "conv{t}_x.{b}.", "residual_function.{i}", "residual_function.{j}", "shortcut.0", "shortcut.1",
        stem="conv1.0", stem_bn="conv1.1",
    ),
    "pytorchcv's CIFAR networks": _PYTORCHCV,
    "pytorchcv's pre-activation networks for CIFAR": dataclasses.replace(
        _PYTORCHCV, stem="features.init_block", stem_bn="", projection="identity_conv", projection_bn="",
        end="features.post_activ.bn", pre=True,
    ),
    "pytorchcv's ResNet": dataclasses.replace(
        _PYTORCHCV, stem="features.init_block.conv.conv", stem_bn="features.init_block.conv.bn", deep=True
    ),
    "Zagoruyko's wide networks": Layout(
        "group{r}.block{b}.", "conv{m}", "bn{m}", "convdim", "", "conv0", "", end="bn", pre=True, suffix=""
    ),
}  # fmt: skip


def logits(family: str, tensors: Mapping[str, Any], images, *, first: bool = False):
    """Computes the logits of a file's network.

    Args:
        family: a key of `LAYOUTS`.
        tensors: the file's arrays, by the names of the network's code.
        images: an array of (examples, height, width, channels).
        first: whether the stride of a bottleneck is in its first convolution, which no file tells.

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    weights = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    with torch.no_grad():
        return _Net(weights, LAYOUTS[family], first)(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
