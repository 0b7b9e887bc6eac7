"""What the variants are for, for whoever looks through their names."""

from __future__ import annotations

import re

from keras_resnets.architecture.variants import list_models

# What the variants are for, by the pattern of their names; the first that fits counts.
PURPOSES = (
    (r"resnet(18|34|50|101|152)", "ImageNet (He et al. 2015)"),
    (r"resnet\d+_v15", "ImageNet, stride on the 3x3, as torchvision has them"),
    (r"resnet\d+_v2", "ImageNet, full pre-activation (He et al. 2016)"),
    (r"plain(18|34)", "ImageNet without skips, to compare with (He et al. 2015)"),
    (r"wrn\d+_w?\d+", "ImageNet, wide (Zagoruyko & Komodakis 2016)"),
    (r"resnet38(_a\d)?", "ImageNet and segmentation: wide rather than deep (Wu et al. 2016)"),
    (r"wu_.+", "ImageNet, depth against width at equal memory (Wu et al. 2016, Table 1)"),
    (r"resnet\d+", "CIFAR (He et al. 2015)"),
    (r"preresnet\d+", "CIFAR, full pre-activation (He et al. 2016)"),
    (r"(pre)?resnet\d+bn", "CIFAR, bottlenecks at any depth 9n+2"),
    (r"plain\d+", "CIFAR without skips, to compare with (He et al. 2015)"),
    (r"wrn_\d+_\d+", "CIFAR, wide (Zagoruyko & Komodakis 2016)"),
    (r"resnet\d+(_v2)?_conv3", "CIFAR, with ImageNet's widths (kuangliu's pytorch-cifar)"),
    (r"vgg15", "CIFAR, the plain network of Veit et al. 2016"),
)


def purpose(name: str) -> str:
    """Returns what a variant is for, in a few words; empty for a name without a pattern of them.

    Example:
        >>> from keras_resnets.architecture.purposes import purpose
        >>> purpose("preresnet20")
        'CIFAR, full pre-activation (He et al. 2016)'
    """
    return next((words for pattern, words in PURPOSES if re.fullmatch(pattern, name)), "")


def families() -> dict[str, list[str]]:
    """Returns the names of `list_models()` by what they are for, those of a family by their numbers.

    Example:
        >>> from keras_resnets.architecture.purposes import families
        >>> families()["ImageNet (He et al. 2015)"]
        ['resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152']
    """
    known: dict[str, list[str]] = {words: [] for _, words in PURPOSES}
    for name in sorted(list_models(), key=_by_number):
        known.setdefault(purpose(name), []).append(name)
    return {words: names for words, names in known.items() if names}


def _by_number(name: str) -> list[tuple[int, str]]:
    """Returns what names are sorted by, in which a number counts as such."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
