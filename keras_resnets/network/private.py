"""Access to private names of Keras: one function for each name, with the reason.

No other file uses these names; `make check` enforces it. If a new version of Keras drops one, a test in
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras


def calls(function: keras.Function) -> Iterator[tuple[Any, tuple, dict[str, Any], list[keras.KerasTensor]]]:
    """Yields the calls of a functional model in execution order.

    The public `Function.operations` lists the operations, but not their arguments, and does not tell two calls of one
    operation apart.

    Yields:
        The operation, its arguments, its keyword arguments, and its outputs in a flat list.
    """
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            yield node.operation, node.arguments.args, node.arguments.kwargs, node.outputs


def operation_of(tensor: keras.KerasTensor) -> Any:
    """Returns the operation whose output a symbolic tensor is.

    The public `Operation.output` leads from an operation to its first outputs; nothing public leads back.
    """
    return tensor._keras_history.operation


def read_for(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Returns the input tensors of the call whose output a symbolic tensor is.

    The public `keras.utils.get_source_inputs` goes all the way back, once for each path, and every residual block
    doubles the number of paths.
    """
    operation, node, _ = tensor._keras_history
    return operation._inbound_nodes[node].input_tensors


def flattened(layer: keras.Layer) -> list[keras.Layer]:
    """Lists a layer and all layers inside it.

    The public `Model.layers` lists those of a model; there is no public list of the layers inside another layer.
    """
    return layer._flatten_layers()


def is_masked(tensor: keras.KerasTensor) -> bool:
    """Returns whether Keras hands a mask on with a tensor, as `Masking` and some embeddings make it.

    Layers leave it on the tensor in an undocumented attribute; the public `compute_mask` needs the masks before it.
    """
    return getattr(tensor, "_keras_mask", None) is not None


def is_sum(operation: Any) -> bool:
    """Returns whether an operation is the one that `a + b` and `keras.ops.add` add to a functional model.

    Keras exports the function, but not the class of the operation.
    """
    from keras.src.ops.numpy import Add

    return isinstance(operation, Add)


def logits_of(probabilities: Any) -> Any:
    """Returns the logits of a softmax's output if Keras kept them, or None.

    Keras' own losses use them, because a probability that underflows to 0 has no gradient; no public function returns
    them.
    """
    return getattr(probabilities, "_keras_logits", None)


def index_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Returns the index of a variable among those that an optimiser was built for.

    `update_step` does not get the objects that `build` got: on TensorFlow it gets TensorFlow's variables, and those of
    one device if several train. Keras' own optimisers use this method, too.
    """
    return optimizer._get_variable_index(variable)


def in_xla() -> bool:
    """Returns whether TensorFlow traces a function for XLA (`jit_compile=True`).

    TensorFlow's own operations ask this way; no public function tells.
    """
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


_keeping: list[None] = []  # one entry for each context that is open, in any thread


@contextlib.contextmanager
def keeping_doubles() -> Iterator[None]:
    """Lets Keras compute with float64 tensors in float64 on JAX and torch, too.

    There, Keras gives most results of float64 the type float32, `set_floatx("float64")` or not, to be like JAX by
    default; nothing public changes that. Tensors of other types are not affected.
    """
    from keras.src.backend.common import dtypes

    types, usual = dtypes.BIT64_TO_BIT32_DTYPE, "float64" if keras.config.backend() == "tensorflow" else "float32"
    _keeping.append(None)
    types["float64"] = "float64"
    try:
        yield
    finally:
        _keeping.pop()
        if not _keeping:
            types["float64"] = usual


@contextlib.contextmanager
def replaced(changes: Iterable[tuple[keras.Layer, str, Any]]) -> Iterator[None]:
    """Replaces attributes and methods of layers temporarily.

    This relies on Keras looking up `call`, `activation` and `convolution_op` on the layer at every call, which Keras
    does not promise. The values bypass the layer's `__setattr__`, which would track an activation that is a layer as a
    new sublayer; a built layer refuses new sublayers.

    Args:
        changes: layer, attribute name and value of each replacement.
    """
    changes = list(changes)
    before = [(vars(layer), name, name in vars(layer), vars(layer).get(name)) for layer, name, _ in changes]
    for layer, name, value in changes:
        vars(layer)[name] = value
    try:
        yield
    finally:
        for attributes, name, own, value in before:
            if own:
                attributes[name] = value
            else:
                attributes.pop(name, None)


class BuiltByShape(keras.Model):
    """A model that knows when Keras needs only the shape of its output.

    On JAX and torch, and on TensorFlow with several devices, Keras traces a model an additional time before the first
    step, to build loss and metrics for the shape of the output: a third of the start-up time of a deep network. There
    is no public way to avoid it, and `call` cannot detect it.

    Attributes:
        _only_shape: whether such a trace is running; `call` may then return any tensor of the right shape and type.
    """

    _only_shape = False
    train_function: Any

    def _symbolic_build(self, *args, **kwargs):
        self._only_shape = True
        try:
            super()._symbolic_build(*args, **kwargs)
        finally:
            self._only_shape = False

    def make_train_function(self, force=False):
        """Has Keras make the function of a training step, which makes no variables.

        Keras makes those of the optimiser and of metrics at the first step, while TensorFlow traces it, which traces a
        function for each of them, and then the step once more: half of the time to the first step of a deep network.
        Nothing public makes those of metrics.
        """
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        known = self.train_function
        super().make_train_function(force)
        if keras.config.backend() == "tensorflow" and self.train_function is not known:
            step = self.train_function

            def with_metrics(batches):
                return step(self._make_metrics(batches))

            self.train_function = with_metrics

    def _make_metrics(self, batches: Any) -> Any:
        """Makes the variables of metrics for batches of this kind, unless there are some; returns the batches."""
        metrics = self._compile_metrics
        if metrics is None or metrics.built:
            return batches
        if hasattr(batches, "element_spec"):
            batch = batches.element_spec
        else:
            batch = next(batches)
            batches = itertools.chain([batch], batches)
        _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        if hasattr(y, "dtype") and getattr(y.shape, "rank", 0) is not None:
            metrics.build(keras.KerasTensor(tuple(y.shape), keras.backend.standardize_dtype(y.dtype)), self.outputs[0])
        return batches


class Expanded:
    """A layer whose property `layers` lists those inside, which `summary(expand_nested=True)` shows as of a model.

    Keras shows them of anything that has the attribute. But it also saves what `dir` lists of a layer, and would store
    the weights under this name instead of that of the part, where earlier files have them.
    """

    def __dir__(self):
        return [name for name in super().__dir__() if name != "layers"]
