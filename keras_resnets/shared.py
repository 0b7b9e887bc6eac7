"""Functions of a layer, traced once for all layers of the same make.

A deep residual network is a few makes of block many times over. Where a computation on a block is traced with the
block's variables as arguments, one trace serves all blocks of its make, and the start-up of 54 blocks is that of five.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


class Shared:
    """Wraps `function(layer, values, *tensors)`, so that it is traced once for each make of layer.

    `values` are what the layer's variables hold, in the order of `variables_of`; `stateless` calls the layer with them.
    The function must depend on nothing of the layer but its make and those values.

    Args:
        function: what to compute.
        specs: gives the `tf.TensorSpec` of each of the tensors, from the tensors, where sizes may change from call to
            call; None traces anew for each combination of shapes.
    """

    def __init__(self, function: Callable, specs: Callable | None = None):
        self.function, self.specs = function, specs
        self._traced: dict[Any, Callable] = {}
        self._makes: dict[int, Any] = {}

    def __call__(self, layer: keras.Layer, *tensors):
        values = [ops.convert_to_tensor(variable) for variable in variables_of(layer)]
        if keras.config.backend() != "tensorflow":
            return self.function(layer, values, *tensors)
        import tensorflow as tf

        values = [tf.convert_to_tensor(value) for value in values]  # Keras leaves variables as they are

        if id(layer) not in self._makes:
            # The layer is kept, so that no other one gets its number.
            self._makes[id(layer)] = (make(layer), layer)
        specs = self.specs and self.specs(*tensors)
        key = (self._makes[id(layer)][0], str(specs), *(tensor is None for tensor in tensors))
        if key not in self._traced:
            signature = specs and [[tf.TensorSpec(value.shape, value.dtype) for value in values], *specs]
            self._traced[key] = tf.function(
                lambda values, *tensors: self.function(layer, values, *tensors),
                input_signature=signature,
                autograph=False,
            )
        return self._traced[key](values, *tensors)


def variables_of(layer: keras.Layer) -> list[keras.Variable]:
    """The layer's variables: those that are trained, then the others, random state included."""
    return [*layer.trainable_variables, *layer.non_trainable_variables]


def stateless(layer: keras.Layer, values: Sequence, x, training: bool):
    """Calls a layer with given values in place of its variables.

    Returns:
        The output, and the new values of the variables that are not trained.
    """
    with keras.StatelessScope(list(zip(variables_of(layer), values, strict=True))) as scope:
        y = layer(x, training=training) if layer._call_has_training_arg else layer(x)
        return y, [scope.get_current_value(variable) for variable in layer.non_trainable_variables]


def make(layer: keras.Layer):
    """What a layer computes, but for its variables' values: equal for two layers that compute alike.

    A class that is neither Keras' nor ours may keep what decides its computation anywhere; each of its layers is a make
    of its own.
    """
    for part in layer._flatten_layers():
        if type(part).__module__.split(".")[0] not in ("keras", "keras_resnets"):
            return id(layer)
    shapes = [(tuple(v.shape), str(v.dtype), v.trainable) for v in variables_of(layer)]
    config = keras.saving.serialize_keras_object(layer)
    return json.dumps([_nameless(config), shapes], sort_keys=True, default=str)


def _nameless(config):
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key not in ("name", "build_config")}
    return [_nameless(value) for value in config] if isinstance(config, list | tuple) else config
