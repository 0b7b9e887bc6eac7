"""`assemble`: builds the network of a spec, with random weights."""

from __future__ import annotations

import keras

from keras_resnets.architecture.plan import Pool, plan
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.network import layout
from keras_resnets.network.chain import ResidualNetwork


def assemble(
    spec: Spec,
    *,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    inputs: keras.KerasTensor | None = None,
) -> ResidualNetwork:
    """Assembles the network of a spec, with random weights.

    Args:
        spec: the spec.
        include_top: whether to end in pooling and classifier.
        pooling: without the top, `"avg"` or `"max"` global pooling, or None for the feature map.
        classifier_activation: activation of the classifier; None for logits.
        inputs: a Keras tensor to use as input; None for a new one of the spec's shape.

    Raises:
        ArgumentError: an argument breaks its rule, or the input is smaller than the network's total stride.

    Example:
        >>> from keras_resnets.architecture import variants
        >>> from keras_resnets.network.assembly import assemble
        >>> len(assemble(variants.spec("resnet20")).blocks)
        9
    """
    one_of("include_top", include_top, (True, False))
    one_of("pooling", pooling, (None, "avg", "max"))
    _check_size(spec)
    links = _links(spec, include_top, pooling, classifier_activation)
    return ResidualNetwork(links, spec.input_shape if inputs is None else inputs, spec, spec.name)


def _links(spec: Spec, include_top: bool, pooling: str | None, classifier_activation: str | None) -> list[keras.Layer]:
    """Lays out the chain of a spec.

    Layers take their seeds from Keras in the order in which they are created, stem first: another order would give
    other initial weights for the same seed.
    """
    stem = layout.stem(spec)
    links = [
        layout.pool(spec, planned) if isinstance(planned, Pool) else layout.block(spec, planned)
        for planned in plan(spec).links
    ]
    end = layout.head(spec, include_top, pooling, classifier_activation)
    return [stem, *links, *([end] if end else [])]


def _check_size(spec: Spec) -> None:
    """Raises `ArgumentError` if the input is smaller than the total stride."""
    for axis, size in zip(("height", "width"), spec.input_shape, strict=False):
        if size is not None and size < spec.total_stride:
            raise ArgumentError(
                f"input_shape: the {axis} must be at least {spec.total_stride}, the factor by which "
                f"{spec.name} shrinks its input; got {spec.input_shape}. Use larger images, or a network for "
                f"smaller ones."
            )
