"""Functions of a layer, traced once for all layers of the same make.

A deep residual network is a few makes of block many times over. Where a computation on a block is traced with the
block's variables as arguments, one trace serves all blocks of its make, and the start-up of 54 blocks is that of five.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnets.network import private


class Shared:
    """Wraps `function(layer, values, *tensors)`, so that it is traced once for each make of layer.

    `values` are what the layer's variables hold, in the order of `variables_of`; `stateless` calls the layer with them.
    The function must depend on nothing of the layer but its make and those values.

    Args:
        function: what to compute.
        specs: gives the `tf.TensorSpec` of each of the tensors, from the tensors, where sizes may change from call to
            call; None traces anew for each combination of shapes.
        precision: a floating-point type that layers compute in instead of their own; such a layer is made once for each
            make, and the values are cast.
    """

    def __init__(self, function: Callable, specs: Callable | None = None, precision: str | None = None):
        self.function, self.specs, self.precision = function, specs, precision
        self._functions: dict[Any, Callable] = {}

    def __call__(self, layer: keras.Layer, *tensors):
        values = [ops.convert_to_tensor(variable) for variable in variables_of(layer)]
        if self.precision is not None:
            floats = ("float16", "bfloat16", "float32", "float64")
            values = [
                ops.cast(v, self.precision) if keras.backend.standardize_dtype(v.dtype) in floats else v for v in values
            ]
        if keras.config.backend() != "tensorflow":
            return self.function(layer, values, *tensors)
        import tensorflow as tf

        values = [tf.convert_to_tensor(value) for value in values]  # Keras leaves variables as they are
        specs = self.specs(*tensors) if self.specs else [t if t is None else _spec(t) for t in tensors]
        key = (make(layer), str(specs))
        if key not in self._functions:
            one = layer if self.precision is None else _computing_in(self.precision, layer)
            traced = tf.function(lambda values, *tensors: self.function(one, values, *tensors), autograph=False)
            self._functions[key] = traced.get_concrete_function([_spec(value) for value in values], *specs)
        return self._functions[key](values, *tensors)


def _spec(tensor):
    import tensorflow as tf

    return tf.TensorSpec(tensor.shape, tensor.dtype)


def variables_of(layer: keras.Layer) -> list[keras.Variable]:
    """The layer's variables: those that are trained, then the others, random state included."""
    return [*layer.trainable_variables, *layer.non_trainable_variables]


def called(layer: keras.Layer, x, training: bool | None):
    """Calls a layer in a mode; without being told, it would take that of a layer around it that was called."""
    return layer(x, training=training) if private.takes_training(layer) else layer(x)


def stateless(layer: keras.Layer, values: Sequence, x, training: bool):
    """Calls a layer with given values in place of its variables.

    Returns:
        The output, and the new values of the variables that are not trained.
    """
    with keras.StatelessScope(list(zip(variables_of(layer), values, strict=True))) as scope:
        return called(layer, x, training), [
            scope.get_current_value(variable) for variable in layer.non_trainable_variables
        ]


# Makes that were told, by layer; what may change of a layer that is in use is part of the key.
_known: weakref.WeakKeyDictionary[keras.Layer, dict] = weakref.WeakKeyDictionary()


def make(layer: keras.Layer):
    """What a layer computes, but for its variables' values: equal for two layers that compute alike.

    A class that is neither Keras' nor ours may keep what decides its computation anywhere; each of its layers is a make
    of its own.
    """
    state = (getattr(layer, "scale", None), len(layer.trainable_variables))
    known = _known.setdefault(layer, {})
    if state not in known:
        known[state] = _told(layer)
    return known[state]


def _told(layer: keras.Layer):
    for part in private.flattened(layer):
        if type(part).__module__.split(".")[0] not in ("keras", "keras_resnets"):
            return id(layer)  # whoever keeps this keeps the layer, too
    shapes = [(tuple(v.shape), str(v.dtype), v.trainable) for v in variables_of(layer)]
    config = keras.saving.serialize_keras_object(layer)
    return json.dumps([_nameless(config), shapes], sort_keys=True, default=str)


def _nameless(config):
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key not in ("name", "build_config")}
    return [_nameless(value) for value in config] if isinstance(config, list | tuple) else config


def in_precision(config: Any, precision: str) -> Any:
    """The configuration of a layer or a model of the same make, but for what it computes in."""
    others = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
    if isinstance(config, dict):
        return {key: in_precision(value, precision) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(in_precision(value, precision) for value in config)
    return precision if isinstance(config, str) and config in others else config


def _computing_in(precision: str, layer: keras.Layer) -> keras.Layer:
    """A layer of the same make, but for what it computes in; its variables hold nothing of worth."""
    config = in_precision(keras.saving.serialize_keras_object(layer), precision)
    copy = keras.saving.deserialize_keras_object(config)
    copy(keras.Input(batch_shape=layer.input.shape, dtype=precision))
    return copy
