"""Functions of a layer. Trace once, reuse for every layer of the same configuration.

A deep residual network repeats a few configurations of block many times. If a computation on a block is traced with the
block's variables as arguments, one trace serves all blocks of its configuration, so 54 blocks start up as fast as five.
"""

from __future__ import annotations

import functools
import json
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnets import replicas
from keras_resnets.network import private


class TracedOnce:
    """Traces `function(layer, values, *tensors)` once for each configuration of layer; on torch it calls it.

    `values` are the values of the layer's variables, in the order of `variables_of`; `stateless` calls the layer with
    them. The function must depend only on the layer's configuration and these values.

    TensorFlow keeps a trace for each configuration, JAX one for each size of the tensors, too.

    Args:
        function: the function to trace.
        specs: returns the `tf.TensorSpec` of each tensor, given the tensors, if sizes may change between calls; None
            traces again for each combination of shapes.
        precision: a floating-point type that layers compute in instead of their own; one such layer is created for each
            configuration, and the values are cast.
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
        # Replicas cannot add up within a function that is traced apart.
        if replicas.count() > 1:
            return self.function(layer, values, *tensors)
        if keras.config.backend() == "tensorflow":
            return self._call_on_tensorflow(layer, values, tensors)
        key = (configuration_key(layer), None)
        if key not in self._functions:
            function = functools.partial(self.function, self._representative(layer))
            if keras.config.backend() == "jax":
                import jax

                function = jax.jit(function)
            self._functions[key] = function
        return self._functions[key](values, *tensors)

    def _call_on_tensorflow(self, layer: keras.Layer, values: list, tensors: tuple):
        import tensorflow as tf

        values = [tf.convert_to_tensor(value) for value in values]  # Keras leaves variables as they are
        specs = self.specs(*tensors) if self.specs else [t if t is None else _spec(t) for t in tensors]
        key = (configuration_key(layer), str(specs))
        if key not in self._functions:
            representative = self._representative(layer)
            traced = tf.function(
                lambda values, *tensors: self.function(representative, values, *tensors), autograph=False
            )
            self._functions[key] = traced.get_concrete_function([_spec(value) for value in values], *specs)
        return self._functions[key](values, *tensors)

    def _representative(self, layer: keras.Layer) -> keras.Layer:
        """Returns the layer that stands for all of its configuration."""
        return layer if self.precision is None else _copy_in_precision(layer, self.precision)


def any_rows(*tensors):
    """Returns specs of tensors with any number of rows."""
    import tensorflow as tf

    return [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in tensors]


def any_lanes(x, *lanes):
    """Returns specs of `x` with any number of rows, and of the others with any number of lanes and rows."""
    import tensorflow as tf

    return [*any_rows(x), *(tf.TensorSpec((None, None, *lane.shape[2:]), lane.dtype) for lane in lanes)]


def _spec(tensor):
    import tensorflow as tf

    return tf.TensorSpec(tensor.shape, tensor.dtype)


def variables_of(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the layer's variables: the trainable ones, then the others, including random states."""
    return [*layer.trainable_variables, *layer.non_trainable_variables]


def called(operation: Any, mode: bool | None, /, *args, **kwargs):
    """Calls an operation as Keras' functional models do: in the mode that is given.

    It goes before a mode among the arguments. That one was recorded when the model was made, often by Keras itself:
    layers of augmentation are for training unless told otherwise, and what stands behind them would take it over.

    Args:
        operation: a layer, which takes the mode even if only layers inside it use it, or another operation.
        mode: the mode; None leaves it to the arguments, and then to the layer that contains the call.
        *args: the arguments of the call.
        **kwargs: its keyword arguments.
    """
    if mode is not None and isinstance(operation, keras.Layer):
        kwargs["training"] = mode
    return operation(*args, **kwargs)


def stateless(layer: keras.Layer, values: Sequence, x, training: bool):
    """Calls a layer with given values in place of its variables.

    Returns:
        The output, and the new values of the non-trainable variables.
    """
    with keras.StatelessScope(list(zip(variables_of(layer), values, strict=True))) as scope:
        return called(layer, training, x), [
            scope.get_current_value(variable) for variable in layer.non_trainable_variables
        ]


# Keys by layer, and by that part of a layer's state that may change while the layer is in use.
_keys: weakref.WeakKeyDictionary[keras.Layer, dict] = weakref.WeakKeyDictionary()


def configuration_key(layer: keras.Layer):
    """Returns a key that is equal for layers that differ only in weights and names.

    A class that is neither Keras' nor this package's may have settings that its configuration lacks, so each of its
    layers has a key of its own.
    """
    state = (getattr(layer, "scale", None), len(layer.trainable_variables))
    keys = _keys.setdefault(layer, {})
    if state not in keys:
        keys[state] = _compute_key(layer)
    return keys[state]


def _compute_key(layer: keras.Layer):
    """Returns the configuration and the variables' shapes as text, or the layer's id if it has foreign parts."""
    for part in private.flattened(layer):
        if type(part).__module__.split(".")[0] not in ("keras", "keras_resnets"):
            return id(layer)  # unique, because a trace that is stored under this key keeps the layer alive
    shapes = [(tuple(v.shape), str(v.dtype), v.trainable) for v in variables_of(layer)]
    config = keras.saving.serialize_keras_object(layer)
    return json.dumps([_without_names(config), shapes], sort_keys=True, default=str)


def _without_names(config):
    """Returns a configuration without names and build state."""
    if isinstance(config, dict):
        return {key: _without_names(value) for key, value in config.items() if key not in ("name", "build_config")}
    return [_without_names(value) for value in config] if isinstance(config, list | tuple) else config


def in_precision(config: Any, precision: str) -> Any:
    """Returns the configuration of a layer or model with another precision and otherwise the same."""
    others = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
    if isinstance(config, dict):
        return {key: in_precision(value, precision) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(in_precision(value, precision) for value in config)
    return precision if isinstance(config, str) and config in others else config


def _copy_in_precision(layer: keras.Layer, precision: str) -> keras.Layer:
    """Returns a layer of the same configuration in another precision, with arbitrary weights."""
    config = in_precision(keras.saving.serialize_keras_object(layer), precision)
    copy = keras.saving.deserialize_keras_object(config)
    copy(keras.Input(batch_shape=layer.input.shape, dtype=precision))
    return copy
