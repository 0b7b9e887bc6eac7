"""`ResNet50(...)` and its kin: the signature of `keras.applications`, made from the table of variants."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_resnets.network import ResidualNetwork, build
from keras_resnets.variants import imagenet_models


def _function_name(variant: str) -> str:
    """`resnet50_v15` -> `ResNet50V15`, `wrn50_2` -> `WRN50_2`, `plain18` -> `Plain18`."""
    name = re.sub("^resnet", "ResNet", re.sub("^wrn", "WRN", re.sub("^plain", "Plain", variant)))
    return re.sub(r"_([vw])(\d+)$", lambda match: match[1].upper() + match[2], name)


def _function(variant: str) -> Callable[..., ResidualNetwork]:
    def application(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=None,
    ):
        return build(
            variant,
            input_shape,
            classes,
            include_top=include_top,
            pooling=pooling,
            classifier_activation=classifier_activation,
            weights=weights,
            input_tensor=input_tensor,
            name=name,
        )

    application.__name__ = application.__qualname__ = _function_name(variant)
    application.__doc__ = f"""Builds `{variant}`, with the signature of `keras.applications`.

    Args:
        include_top: whether to end in pooling and classifier.
        weights: path of a `.keras` file or run directory of the same network; None for random.
        input_tensor: a Keras tensor to use as input.
        input_shape: height, width and channels; None for (224, 224, 3).
        pooling: without the top, `"avg"`, `"max"` or None.
        classes: number of classes.
        classifier_activation: None for logits.
        name: name of the model; None for `{variant!r}`.

    Returns:
        A `keras_resnets.ResidualNetwork`.

    Raises:
        ArgumentError: an argument breaks its rule.
    """
    return application


# keras.applications' own ResNet50V2, 101V2 and 152V2 are other networks than resnet50_v2 and its
# kin (the stride stands at the end of a stage), so these names are not given to ours.
_FUNCTIONS = {
    _function_name(v): _function(v)
    for v in imagenet_models()
    if v not in ("resnet50_v2", "resnet101_v2", "resnet152_v2")
}
globals().update(_FUNCTIONS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
