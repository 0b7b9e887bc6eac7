"""The named networks, as a table of specs. A new variant is one row here."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.explaining import explained

BOTTLENECK = (1, 3, 1)

# The largest depth and widening factor in a name.
_MOST = 10_000


@explained
def cifar(name: str, blocks: int, **fields) -> Spec:
    """Three stages of `blocks` basic blocks on 32x32 maps (He et al. 2015, section 4.2).

    Args:
        name: name of the network.
        blocks: number of blocks in each stage.
        **fields: further fields of `Spec`.
    """
    stages = tuple(Stage(blocks, (w, w), stride=s) for w, s in ((16, 1), (32, 2), (64, 2)))
    return Spec(name, stages, **fields)


@explained
def cifar_bottleneck(name: str, blocks: int, **fields) -> Spec:
    """Three stages of `blocks` bottlenecks, 64/128/256 channels out (He et al. 2016, section 4).

    Args:
        name: name of the network.
        blocks: number of blocks in each stage.
        **fields: further fields of `Spec`.
    """
    stages = tuple(Stage(blocks, (w, w, 4 * w), BOTTLENECK, stride=s) for w, s in ((16, 1), (32, 2), (64, 2)))
    return Spec(name, stages, shortcut="B", **fields)


@explained
def cifar_plain(name: str, layers: int, **fields) -> Spec:
    """Three stages of `layers` single convolutions without shortcuts; each layer is a block.

    Args:
        name: name of the network.
        layers: number of layers in each stage.
        **fields: further fields of `Spec`.
    """
    stages = tuple(Stage(layers, (w,), (3,), stride=s) for w, s in ((16, 1), (32, 2), (64, 2)))
    return Spec(name, stages, shortcut="none", **fields)


@explained
def wide(name: str, blocks: int, factor: int, **fields) -> Spec:
    """Wide ResNet for CIFAR (Zagoruyko & Komodakis 2016, Table 1).

    Args:
        name: name of the network.
        blocks: number of blocks in each stage.
        factor: k, by which the widths 16, 32 and 64 are multiplied.
        **fields: further fields of `Spec`.
    """
    stages = tuple(Stage(blocks, (w * factor,) * 2, stride=s) for w, s in ((16, 1), (32, 2), (64, 2)))
    return Spec(name, stages, placement="pre", shortcut="B", shared_preactivation="projection", **fields)


@explained
def imagenet(
    name: str, blocks: tuple[int, ...], kernels: tuple[int, ...] = (3, 3), inner: float = 1, out: float = 1, **fields
) -> Spec:
    """Four stages after the 7x7 stem (He et al. 2015, Table 1).

    Args:
        name: name of the network.
        blocks: number of blocks of each of the four stages.
        kernels: of a block's convolutions: `(3, 3)` for basic blocks, `(1, 3, 1)` for bottlenecks.
        inner: multiplies the widths inside a bottleneck.
        out: multiplies the width of a block's last convolution, or of all convolutions of a basic block.
        **fields: further fields of `Spec`.
    """
    stages = []
    for count, width, stride in zip(blocks, (64, 128, 256, 512), (1, 2, 2, 2), strict=True):
        last = round(width * out)
        widths = (last, last) if kernels == (3, 3) else (round(width * inner),) * 2 + (4 * last,)
        stages.append(Stage(count, widths, kernels, stride=stride))
    fields = {"shortcut": "B", **fields}
    return Spec(name, tuple(stages), (224, 224, 3), 1000, stem="conv7", stem_width=64, **fields)


@explained
def imagenet_widths(name: str, blocks: tuple[int, ...], kernels: tuple[int, ...] = (3, 3), **fields) -> Spec:
    """ImageNet's four stages on the 3x3 stem, for 32x32 images (github.com/kuangliu/pytorch-cifar, `models/`).

    Args:
        name: name of the network.
        blocks: number of blocks of each of the four stages.
        kernels: as for `imagenet`.
        **fields: further fields of `Spec`.
    """
    small = {"input_shape": (32, 32, 3), "classes": 10, "stem": "conv3", **_V15, **fields}
    return imagenet(name, blocks, kernels).replace(**small)


@explained
def imagenet_plain(name: str, blocks: tuple[int, ...], **fields) -> Spec:
    """The plain counterpart: twice as many single convolutions as the residual network has blocks.

    Args:
        name: name of the network.
        blocks: number of blocks of each of the residual network's four stages.
        **fields: further fields of `Spec`.
    """
    stages = tuple(
        Stage(2 * count, (width,), (3,), stride=stride)
        for count, width, stride in zip(blocks, (64, 128, 256, 512), (1, 2, 2, 2), strict=True)
    )
    return Spec(name, stages, (224, 224, 3), 1000, stem="conv7", stem_width=64, shortcut="none", **fields)


@explained
def vgg15(name: str) -> Spec:
    """VGG with batch-norm for 32x32, 13 convolutions and 2 dense layers (Veit et al. 2016, Fig. 3).

    The stem is layer 1; the 12 blocks are layers 2 to 13, which the paper deletes.

    Args:
        name: name of the network.
    """
    rows = ((1, 64, 0), (2, 128, 2), (3, 256, 2), (3, 512, 2), (3, 512, 2))
    stages = tuple(Stage(count, (width,), (3,), pool=pool) for count, width, pool in rows)
    return Spec(name, stages, stem_width=64, shortcut="none", hidden=(512,))


@explained
def wu(name: str, units: tuple[int, ...], side: int, pools: tuple[int, ...], strides: tuple[int, ...] = (), **fields):
    """A network of Wu et al. 2016, Table 1, written there as "input-n1-...-n7".

    Args:
        name: name of the network.
        units: n1 to n7, the number of blocks at each level.
        side: side of the image in pixels.
        pools: the levels, from 1, that begin with a max-pool.
        strides: the levels whose first convolution and shortcut have stride 2 (the code of models A1 and A2).
        **fields: further fields of `Spec`.
    """
    if len(units) != 7:
        raise ArgumentError(f"units must be n1 to n7, the numbers of blocks of seven levels; got {units!r}.")
    widths = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 1024), (512, 1024, 2048), (1024, 2048, 4096))
    stages = tuple(
        Stage(
            count,
            width,
            BOTTLENECK if len(width) == 3 else (3, 3),
            stride=2 if level in strides else 1,
            pool=3 if level in pools else 0,
        )
        for level, (count, width) in enumerate(zip(units, widths, strict=True), 1)
        if count
    )
    options: dict[str, Any] = {
        "stem_width": 64,
        "placement": "pre",
        "shortcut": "B",
        "shared_preactivation": "projection",
        "bn_epsilon": 1.001e-5,
        "head_dropout": (0.3, 0.5),
    }
    return Spec(name, stages, (side, side, 3), 1000, **{**options, **fields})


_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
_FAN_OUT: dict[str, Any] = {"init": "fan_out"}
_V15: dict[str, Any] = {"stride_place": "3x3", **_FAN_OUT}
_PRE: dict[str, Any] = {**_V15, "placement": "pre"}
_SHARED: dict[str, Any] = {"placement": "pre", "shared_preactivation": "projection"}

# Units per level of models A, A1 and A2, which differ in where they downsample (Wu et al. 2016's code).
_WU38 = (0, 3, 3, 6, 3, 1, 1)

# Each value takes the variant's name and returns its spec.
_TABLE: dict[str, Callable[[str], Spec]] = {
    "vgg15": vgg15,
    **{f"resnet{d}": partial(imagenet, blocks=_BLOCKS[d]) for d in (18, 34)},
    **{f"plain{d}": partial(imagenet_plain, blocks=_BLOCKS[d]) for d in (18, 34)},
    **{f"resnet{d}": partial(imagenet, blocks=_BLOCKS[d], kernels=BOTTLENECK) for d in (50, 101, 152)},
    **{f"resnet{d}_v15": partial(imagenet, blocks=_BLOCKS[d], kernels=BOTTLENECK, **_V15) for d in (50, 101, 152)},
    **{f"resnet{d}_v2": partial(imagenet, blocks=_BLOCKS[d], kernels=BOTTLENECK, **_PRE) for d in (50, 101, 152, 200)},
    **{f"wrn{d}_2": partial(imagenet, blocks=_BLOCKS[d], kernels=BOTTLENECK, inner=2, **_V15) for d in (50, 101)},
    **{f"wrn18_w{w}": partial(imagenet, blocks=_BLOCKS[18], out=f) for w, f in (("15", 1.5), ("2", 2), ("3", 3))},
    **{f"wrn34_w{w}": partial(imagenet, blocks=_BLOCKS[34], out=f) for w, f in (("15", 1.5), ("2", 2))},
    **{f"resnet{d}_conv3": partial(imagenet_widths, blocks=_BLOCKS[d]) for d in (18, 34)},
    **{f"resnet{d}_conv3": partial(imagenet_widths, blocks=_BLOCKS[d], kernels=BOTTLENECK) for d in (50, 101, 152)},
    **{f"resnet{d}_v2_conv3": partial(imagenet_widths, blocks=_BLOCKS[d], **_SHARED) for d in (18, 34)},
    **{
        f"resnet{d}_v2_conv3": partial(imagenet_widths, blocks=_BLOCKS[d], kernels=BOTTLENECK, **_SHARED)
        for d in (50, 101, 152)
    },
    "resnet38": partial(wu, units=_WU38, side=224, pools=(2, 3, 4, 5, 6)),
    "resnet38_a1": partial(wu, units=_WU38, side=224, pools=(), strides=(2, 3, 4, 5, 6)),
    "resnet38_a2": partial(wu, units=_WU38, side=224, pools=(2, 3), strides=(4, 5, 6)),
    "wu_16": partial(wu, units=(0, 1, 1, 1, 1, 1, 1), side=224, pools=(2, 3, 4, 5, 6)),
    "wu_b": partial(wu, units=(0, 1, 1, 1, 3, 1, 1), side=224, pools=(2, 3, 4, 5, 6)),
    "wu_c": partial(wu, units=(1, 1, 1, 1, 13, 1, 1), side=112, pools=(2, 3, 4, 5)),
    "wu_d": partial(wu, units=(1, 1, 1, 1, 9, 1, 1), side=112, pools=(2, 3, 4, 5)),
    "wu_e": partial(wu, units=(1, 1, 1, 1, 5, 1, 1), side=112, pools=(2, 3, 4, 5)),
    "wu_f": partial(wu, units=(1, 1, 1, 1, 9, 1, 1), side=56, pools=(2, 3, 4)),
}

# Depths that the papers report; `spec` accepts all other depths of these patterns as well.
_REPORTED = (
    [f"resnet{d}" for d in (20, 32, 44, 56, 110, 1202)]
    + [f"plain{d}" for d in (20, 32, 44, 56, 110)]
    + ["resnet164bn", "resnet1001bn"]
    + [f"preresnet{d}" for d in (20, 32, 44, 56, 110, 164, 1001)]
    + [f"wrn_{n}_{k}" for n, k in ((16, 4), (16, 8), (16, 10), (22, 8), (22, 10), (28, 2), (28, 10), (28, 12))]
    + [f"wrn_{n}_{k}" for n, k in ((40, 1), (40, 2), (40, 4), (40, 8), (40, 10), (52, 1))]
)


@explained
def list_models() -> list[str]:
    """Returns the names of all variants, sorted.

    Further valid names are `resnet{6n+2}`, `plain{6n+2}`, `preresnet{6n+2}` (basic blocks), `preresnet{9n+2}`,
    `resnet{9n+2}bn`, `preresnet{9n+2}bn` (bottlenecks) and `wrn_{6n+4}_{k}`, for all n and k of at least 1.

    Example:
        >>> import keras_resnets as kr
        >>> "resnet110" in kr.list_models()
        True
    """
    return sorted([*_TABLE, *_REPORTED])


@explained
def imagenet_models() -> list[str]:
    """Returns the names of the ImageNet variants, sorted."""
    return sorted(name for name in _TABLE if name != "vgg15" and not name.endswith("_conv3"))


def _size(name: str, digits: str) -> int:
    """Returns a number of a variant's name; the deepest network of the papers has 1,202 layers."""
    if len(digits.lstrip("0")) > len(str(_MOST)) or int(digits) > _MOST:
        shown = name if len(name) < 40 else f"{name[:40]}..."
        raise ArgumentError(
            f"The numbers in the name of a variant must be at most {_MOST:,}; got {shown!r}. Give a smaller one."
        )
    return int(digits)


def _blocks_of_depth(name: str, pattern: str, depth: int, step: int, base: int) -> int:
    """Returns n of depth = step * n + base; raises with the nearest valid depths."""
    blocks, rest = divmod(depth - base, step)
    if rest or blocks < 1:
        names = [pattern.format(n * step + base) for n in range(1, blocks + 3)]
        # Names of the ImageNet table, such as resnet50, are other networks.
        names = [other for other in names if other not in _TABLE]
        close = sorted(names, key=lambda other: abs(int(re.findall(r"\d+", other)[0]) - depth))[:2]
        raise ArgumentError(
            f"The depth in {name!r} must be {step}n+{base} with n of at least 1; got {depth}; "
            f"the nearest are {' and '.join(close)}."
        )
    return blocks


@explained
def spec(name: str | Spec, /, **fields: Any) -> Spec:
    """Returns the spec of a named variant, with some of its fields replaced.

    Args:
        name: one of `list_models()`, a name of the patterns described there, or a `Spec`.
        **fields: fields of `Spec` to replace; lists become tuples.

    Raises:
        ArgumentError: there is no such variant, or no such field; the message names the nearest ones.

    Example:
        >>> from keras_resnets.architecture import variants
        >>> variants.spec("wrn_28_10").stages[0].widths
        (160, 160)
    """
    variant = name if isinstance(name, Spec) else _parse_name(name)
    return variant.replace(**fields) if fields else variant


def _parse_name(name: str) -> Spec:
    if not isinstance(name, str):
        raise ArgumentError(f"The name of a variant must be a string; got {name!r}.")
    if name in _TABLE:
        return _TABLE[name](name)
    if match := re.fullmatch(r"resnet(\d+)", name):
        return cifar(name, _blocks_of_depth(name, "resnet{}", _size(name, match[1]), 6, 2))
    if match := re.fullmatch(r"(resnet|preresnet)(\d+)bn", name):
        # As osmr's pytorchcv calls bottlenecks of depths that basic blocks have too.
        blocks = _blocks_of_depth(name, f"{match[1]}{{}}bn", _size(name, match[2]), 9, 2)
        return cifar_bottleneck(name, blocks, **(_V15 if match[1] == "resnet" else {"placement": "pre", **_FAN_OUT}))
    if match := re.fullmatch(r"plain(\d+)", name):
        return cifar_plain(name, 2 * _blocks_of_depth(name, "plain{}", _size(name, match[1]), 6, 2))
    if match := re.fullmatch(r"preresnet(\d+)", name):
        depth = _size(name, match[1])
        fields: dict[str, Any] = {"placement": "pre", **_FAN_OUT}
        # 164 fits both patterns; the paper's is the bottleneck (He et al. 2016, section 4).
        if depth == 164 or ((depth - 2) % 6 and (depth - 2) % 9 == 0):
            return cifar_bottleneck(name, _blocks_of_depth(name, "preresnet{}", depth, 9, 2), **fields)
        return cifar(name, _blocks_of_depth(name, "preresnet{}", depth, 6, 2), **fields)
    if match := re.fullmatch(r"wrn_(\d+)_(\d+)", name):
        factor = _size(name, match[2])
        if factor < 1:
            raise ArgumentError(f"The widening factor in {name!r} must be at least 1; got {factor}.")
        return wide(name, _blocks_of_depth(name, f"wrn_{{}}_{factor}", _size(name, match[1]), 6, 4), factor)
    raise ArgumentError(f"There is no variant {name!r}; the nearest are: {nearest(name, list_models())}.")
