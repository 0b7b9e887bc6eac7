"""What a network's outputs are: scores of classes, of which one is the answer, or something else."""

from __future__ import annotations

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.network import private
from keras_resnets.network.blocks import Segment
from keras_resnets.network.graph import Graph


def activation_at_end(model: keras.Model) -> str:
    """Returns the name of a network's output activation, such as `"softmax"` or `"linear"`, or of its last layer."""
    last = last_layer(model)
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    activation = getattr(last, "activation", None) or last
    return getattr(activation, "__name__", None) or activation.name


def last_layer(layer):
    """Returns the innermost layer that computes a network's output."""
    if isinstance(layer, Segment):
        return last_layer(layer.body)
    if isinstance(layer, Graph):
        return last_layer(next(step.operation for step in layer.steps if layer.result in step.outputs))
    if isinstance(layer, keras.Sequential):
        return last_layer(layer.layers[-1])
    if isinstance(layer, keras.Function):
        return last_layer(private.operation_of(layer.outputs[0]))
    return layer


def answer_one_class(model: keras.Model) -> bool:
    """Returns whether the largest output, of an example or of a pixel, is a network's answer.

    It is not with one output, which is always the largest, and with several that each have a sigmoid, which are answers
    to several questions.
    """
    shape = model.output_shape
    return len(shape) in (2, 4) and shape[-1] != 1 and activation_at_end(model) != "sigmoid"


def check_classifier(model: keras.Model) -> None:
    """Raises `ArgumentError` unless a network's output is one row of class scores, of which the largest is its answer.

    With any other output, errors, agreements and cross-entropies would be numbers without a meaning.
    """
    shape = model.output_shape
    if len(shape) != 2:
        raise ArgumentError(f"model must end in one row of class scores per example; got output {shape}.")
    if shape[1] == 1:
        raise ArgumentError(
            f"model must end in a score for each class; {model.name!r} has one output, of which the largest is always "
            f"the same. Give a network for two classes two outputs and a softmax: from one logit z, the logits 0 and z."
        )
    if not answer_one_class(model):
        raise ArgumentError(
            f"model must end in a softmax or in logits, of which the largest is the class; the {shape[1]} outputs of "
            f"{model.name!r} end in a sigmoid each, for several labels per example."
        )
