"""`build`: a network by name, with random weights or with those of a file."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from keras_resnets.architecture import variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.archives import hdf5_file
from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.saving import load_model, take_over
from keras_resnets.weights import fetching, public, recognition, transfer
from keras_resnets.weights.opening import open_archive


@explained
def build(
    name_or_spec: str | Spec,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    *,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    weights: str | os.PathLike | None = None,
    input_tensor=None,
    name: str | None = None,
    **overrides,
) -> ResidualNetwork:
    """Builds a network from a variant's name or a spec.

    Args:
        name_or_spec: one of `list_models()`, a name of the patterns given there, or a `Spec`.
        input_shape: height, width and channels; None takes the spec's. Height and width may be
            None for any size.
        classes: number of classes; None takes the spec's.
        include_top: whether to end in pooling and classifier.
        pooling: without the top, `"avg"` or `"max"` global pooling, or None for the feature map.
        classifier_activation: activation of the classifier; None for logits.
        weights: `"imagenet"`, `"cifar10"` or the full name of public weights (`keras_resnets.weights.available`), which
            are fetched if they are not on this machine; path of a `.keras`, `.h5` or `.weights.h5` file or run
            directory of the same network, or of a public weight file; None for random. For a network given by name,
            settings such as its batch-norm epsilon are then taken from public weights unless given here. Without the
            top, a classifier's weights will do.
        input_tensor: a Keras tensor to use as input instead of a new one.
        name: name of the model; None takes the spec's.
        **overrides: fields of `Spec` to replace, such as `shortcut="C"` or `bn_momentum=0.99`.

    Returns:
        A `ResidualNetwork`.

    Raises:
        ArgumentError: an argument breaks its rule; the message names it, and the remedy.
        OSError: public weights are not on this machine and cannot be fetched; the message says which file to put where.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("preresnet20", input_shape=(8, 8, 1), classes=10)
        >>> kr.parameters(model)
        269434
    """
    # The spec, with what is given by name.
    if input_tensor is not None:
        if not isinstance(input_tensor, keras.KerasTensor):
            raise ArgumentError(f"input_tensor must be a Keras tensor, as keras.Input gives; got {input_tensor!r}.")
        input_shape = tuple(input_tensor.shape[1:])
    named = {"input_shape": input_shape, "classes": classes, "name": name}
    overrides |= {field: value for field, value in named.items() if value is not None}
    top: dict[str, Any] = {
        "include_top": include_top,
        "pooling": pooling,
        "classifier_activation": classifier_activation,
    }
    variant = name_or_spec.name if isinstance(name_or_spec, Spec) else name_or_spec
    known = public.find(weights, variant, include_top=include_top)
    if known is not None:
        overrides = _for_public(known, name_or_spec, overrides, include_top)
        if known.is_own:  # a file that this package saved, as any other
            weights, known = fetching.fetch(known)[0], None
    spec = variants.spec(name_or_spec, **overrides)

    # Random weights, or those that a network of this package was saved with.
    source = known or weights
    if known is None and (weights is None or not _is_public(weights)):
        model = assemble(spec, **top, inputs=input_tensor)
        if weights is not None:
            take_over(load_model(weights, compile=False), model, weights, include_top=include_top)
        return model

    # Public weights, whose file may also determine settings of the network; or its weights alone.
    assert source is not None
    with open_archive(source) as archive:
        if not isinstance(name_or_spec, Spec):
            spec = spec.replace(**{**transfer.settings(archive, spec), **overrides})
        model = assemble(spec, **top, inputs=input_tensor)
        transfer.fill(model, archive, given=overrides, named=known is not None)
    return model


def _for_public(known: public.PublicSet, name_or_spec: str | Spec, overrides: dict[str, Any], include_top: bool):
    """Returns the overrides with the size and the classes of public weights, where a name alone leaves them open."""
    is_spec = isinstance(name_or_spec, Spec)
    given = {**vars(name_or_spec), **overrides} if is_spec else overrides
    variant = known.variant if isinstance(name_or_spec, Spec) else name_or_spec
    channels = given["input_shape"][-1] if given.get("input_shape") else None
    public.check_use(known, variant, classes=given.get("classes"), channels=channels, include_top=include_top)
    if is_spec:
        return overrides
    own: dict[str, Any] = {"input_shape": (known.size, known.size, 3)} if known.size else {}
    own |= {"classes": len(known.class_names)} if known.class_names else {}
    return {**own, **known.overrides, **overrides}


def _is_public(file: str | os.PathLike) -> bool:
    """Whether a file holds public weights, and not a network saved by this package."""
    if not Path(file).is_file():
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return b'"class_name": "ResidualNetwork"' not in archive.open("config.json").read(1000)
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError, OSError):
        with Path(file).open("rb") as start:
            if start.read(len(hdf5_file.MAGIC)) != hdf5_file.MAGIC:
                return True
        with open_archive(file) as archive:
            return not recognition.is_whole(archive)
