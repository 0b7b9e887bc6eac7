"""`parity`: compares a filled network with an independent implementation, given the same file."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import keras
import numpy as np

from keras_resnets.archives.archive import Archive
from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.data_format import channels_last
from keras_resnets.weights import keras_families, recognition, torch_reference
from keras_resnets.weights.families import Contents
from keras_resnets.weights.transfer import load


@dataclass(frozen=True)
class Parity:
    """A comparison of logits on random inputs.

    Attributes:
        reference: name of the independent implementation; empty if there is none.
        difference: the largest absolute difference of the logits.
        scale: the largest absolute logit of the reference.
        examples: number of inputs.
    """

    reference: str = ""
    difference: float = 0.0
    scale: float = 0.0
    examples: int = 0

    def __str__(self) -> str:
        if not self.reference:
            return "no independent computation to compare with"
        return (
            f"largest difference of logits from {self.reference}: {self.difference:.2g}, the largest logit being "
            f"{self.scale:.3g}, over {self.examples} random inputs"
        )


@explained
def parity(
    model: ResidualNetwork,
    file: str | os.PathLike | Archive,
    *,
    examples: int = 2,
    seed: int = 0,
    prefix: str | None = None,
) -> Parity:
    """Compares a network, filled from a weight file, with an independent implementation of the file's own network.

    This is `keras.applications` for its ResNets (not V2), and torch, if installed, for the families of torch, except
    those of ResNet-38.

    Args:
        model: the network, with its classifier.
        file: the file that filled it, or an open archive.
        examples: number of random inputs.
        seed: seed of these inputs.
        prefix: beginning of the names of the network that is meant, where the file holds several.

    Returns:
        The comparison; without a reference if there is none for the family, or if the network does not end in a
        classifier.

    Raises:
        ArgumentError: the file cannot be read, or its family is unknown.

    Example:
        >>> import keras, keras_resnets as kr, os, tempfile
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=5).save(file)
        >>> kr.weights.parity(kr.weights.network(file, input_shape=(32, 32, 3)), file).difference < 1e-4
        True
    """
    with recognition.as_archive(file, prefix) as archive:
        family, contents = recognition.require_family(archive)
        head = model.chain[-1]
        if model.spec is None or model.spec.is_dense or not any(layer.name == "logits" for layer in _layers(head)):
            return Parity()
        _, height, width, channels = model.input_shape
        shape = (examples, height or 96, width or 96, channels)
        x = np.random.default_rng(seed).normal(size=shape).astype("float32")
        name, expected = "", None
        if family is keras_families.FIRST:
            name, expected = _logits_by_keras(model, archive, x)
        elif family.outputs_first:
            name, expected = _torch_logits(family.name, contents, x, model.spec.stride_place == "first")
        if expected is None:
            return Parity()
    logits = _logits(model, x)
    return Parity(name, float(np.abs(logits - expected).max()), float(np.abs(expected).max()), examples)


def _layers(link: keras.Layer) -> list[keras.Layer]:
    body = getattr(link, "body", None)
    return body.layers if isinstance(body, keras.Model) else []


def _logits(model: ResidualNetwork, x: np.ndarray) -> np.ndarray:
    *links, head = model.chain
    h = x
    # All layers except the classifier's activation.
    for layer in [*links, *_layers(head)[:-1]]:
        h = layer(h, training=False) if layer in links else layer(h)
    return keras.ops.convert_to_numpy(h)


def _logits_by_keras(model: ResidualNetwork, archive: Archive, x: np.ndarray):
    """Returns the name and the logits of the network of `keras.applications`; None if it has no such network."""
    blocks = tuple(stage.blocks for stage in model.spec.stages)
    name = {(3, 4, 6, 3): "ResNet50", (3, 4, 23, 3): "ResNet101", (3, 8, 36, 3): "ResNet152"}.get(blocks)
    if name is None:
        return "", None
    with channels_last():
        original = getattr(keras.applications, name)(
            weights=None, input_shape=x.shape[1:], classes=model.spec.classes, classifier_activation=None
        )
    with contextlib.suppress(ArgumentError):  # such as for other widths
        load(adopt(original), archive)
        return f"keras.applications.{name}", keras.ops.convert_to_numpy(original(x))
    return "", None


def _torch_logits(family: str, contents: Contents, x: np.ndarray, first: bool):
    """Returns `"torch"` and the logits of the reference in torch; None if there is none, or torch is missing."""
    if family not in torch_reference.LAYOUTS:
        return "", None
    arrays = {name: np.asarray(tensor.read(), "float32") for name, tensor in contents.items()}
    try:
        return "torch", torch_reference.logits(family, arrays, x, first=first)
    except ImportError:
        return "", None
