"""Functions such as `ResNet50(...)`, with the signature of `keras.applications`, made from the table of variants."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from keras_resnets.architecture.variants import imagenet_models
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.explaining import explained
from keras_resnets.models.building import build
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.data_format import LAST, channels_last
from keras_resnets.weights import public
from keras_resnets.weights.opening import open_archive
from keras_resnets.weights.transfer import load

_DEFAULTS = {
    "imagenet": '`"imagenet"`, which is fetched if it is not on this machine',
    None: '`"imagenet"` names no public weights of this network that are served',
}


def _function_name(variant: str) -> str:
    """`resnet50_v15` -> `ResNet50V15`, `wrn50_2` -> `WRN50_2`, `plain18` -> `Plain18`, `wu_b` -> `WuB`."""
    name = variant
    for start, capital in (("resnet", "ResNet"), ("wrn", "WRN"), ("plain", "Plain"), ("wu_", "Wu")):
        name = re.sub(f"^{start}", capital, name)
    name = re.sub("^Wu[a-z]$", lambda match: "Wu" + match[0][-1].upper(), name)
    return re.sub(r"_([avw])(\d+)$", lambda match: match[1].upper() + match[2], name)


def _function(variant: str) -> Callable[..., ResidualNetwork]:
    """Makes the function that builds one variant."""
    default = public.default_weights(variant)

    @explained
    def application(
        include_top=True,
        weights=default,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=None,
    ):
        if input_shape is None and input_tensor is None and not include_top:
            input_shape = (None, None, 3)  # as keras.applications has it
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
        weights: {_DEFAULTS[default]}; the full name of public weights (`keras_resnets.weights.available`); path
            of a `.keras` file or run directory of the same network, or of a public weight file; None for random.
        input_tensor: a Keras tensor to use as input.
        input_shape: height, width and channels; None for (224, 224, 3), or without the top for images of any size,
            as in `keras.applications`.
        pooling: without the top, `"avg"`, `"max"` or None.
        classes: number of classes.
        classifier_activation: None for logits.
        name: name of the model; None for `{variant!r}`.

    Returns:
        A `keras_resnets.ResidualNetwork`.

    Raises:
        ArgumentError: an argument breaks its rule, such as other classes than those of the weights.
        OSError: public weights are not on this machine and cannot be fetched.
    """
    return application


def _adopted(name: str) -> Callable[..., ResidualNetwork]:
    """Wraps a function of `keras.applications` whose network no `Spec` describes."""
    original = getattr(keras.applications, name)

    @explained
    def application(
        include_top=True,
        weights="imagenet",
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        **more,
    ):
        known = public.find(weights, name, include_top=include_top)
        if known is not None:
            channels = input_shape[-1] if input_shape else None
            public.check_use(known, name, classes=classes, channels=channels, include_top=include_top)
        options = {
            "input_tensor": input_tensor,
            "input_shape": input_shape,
            "pooling": pooling,
            "classes": classes,
            "classifier_activation": classifier_activation,
        }
        with contextlib.nullcontext() if weights is None else open_archive(known or weights) as archive:
            with channels_last():
                model = adopt(original(include_top, None, **options, **more))
            if archive is not None:
                load(model, archive)
        return model

    application.__name__ = application.__qualname__ = name
    application.__doc__ = f"""Builds `keras.applications.{name}` as a chain of blocks, by `adopt`.

    Its stride is at the end of a stage, so it is a different network from `{_variant(name)}`.

    Args:
        include_top: whether to end in pooling and classifier.
        weights: `"imagenet"`, which is fetched unless Keras or this package has done so; a weight file of this network;
            or None for random ones.
        input_tensor: as for `keras.applications.{name}`, like all further arguments.
        input_shape: the same.
        pooling: the same.
        classes: the same.
        classifier_activation: the same.
        **more: the same.

    Returns:
        A `keras_resnets.ResidualNetwork`.
    """
    return application


@explained
def foreign(name: str, weights: str | None = "imagenet", input_shape: tuple[int, int, int] | None = None):
    """Opens a network of `keras.applications` with its preprocessing.

    Args:
        name: the function's name, such as `"ResNet50"`.
        weights: `"imagenet"`, a weight file for that function, or None for random ones, the same ones each time.
        input_shape: height, width and channels; None for the function's own.

    Returns:
        The network as a chain, and a function from raw images (0 to 255) to its inputs.

    Raises:
        ArgumentError: there is no such function, or its network is not a chain of blocks.
        OSError: the weights are not on this machine and cannot be downloaded.

    Example:
        >>> from keras_resnets.models import applications
        >>> network, preprocess = applications.foreign("ResNet50", None, (64, 64, 3))
        >>> network.blocks[0].name
        'conv2_block1'
    """
    functions = [n for n in dir(keras.applications) if n[0].isupper()]
    if name not in functions:
        raise ArgumentError(f"keras.applications has no {name!r}; the nearest are: {nearest(name, functions)}.")
    function = getattr(keras.applications, name)
    file = None if weights in (None, "imagenet") else weights
    if weights is None:
        keras.utils.set_random_seed(0)
    try:
        with channels_last():
            original = function(weights=None if file else weights, input_shape=input_shape)
    except Exception as error:
        if weights == "imagenet" and "URL fetch failure" in str(error):
            raise OSError(
                f"The weights of {name!r} are not on this machine and could not be downloaded. Put the file into "
                f"~/.keras/models, or give weights: a file, or None (--weights random) for random ones."
            ) from error
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ArgumentError(f"keras.applications.{name} refused its arguments: {reason}.") from error
    network = adopt(original)
    if file:  # by this package's readers, which do not trust a file
        load(network, file)
    preprocess = sys.modules[function.__module__].preprocess_input
    return network, functools.partial(preprocess, data_format=LAST)


def _variant(name: str) -> str:
    return name.lower().removesuffix("v2") + "_v2"


_ADOPTED = ("ResNet50V2", "ResNet101V2", "ResNet152V2")
_FUNCTIONS = {_function_name(v): _function(v) for v in imagenet_models()} | {name: _adopted(name) for name in _ADOPTED}
globals().update(_FUNCTIONS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
