"""What the package takes from Keras that Keras does not promise: a function for each such name, and why.

No other file uses these names, which `make check` sees to. Where a new version of Keras drops one, a test of
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras


def calls(function: keras.Function) -> Iterator[tuple[Any, tuple, dict[str, Any], list[keras.KerasTensor]]]:
    """Yields the calls that a functional model is made of, in the order it runs them.

    `Function.operations` has the operations, but neither what each was called with nor, of one that was called twice,
    which call is meant.

    Yields:
        The operation, its arguments, its keyword arguments, and its outputs in a flat list.
    """
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            yield node.operation, node.arguments.args, node.arguments.kwargs, node.outputs


def operation_of(tensor: keras.KerasTensor) -> Any:
    """Returns the operation that a symbolic tensor is an output of.

    `Operation.output` leads from an operation to its first outputs, and nothing leads back.
    """
    return tensor._keras_history.operation


def read_for(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Returns the symbolic tensors that were given to the call that a tensor is an output of.

    `keras.utils.get_source_inputs` goes all the way back, and once for each path: twice as many for every residual
    block.
    """
    operation, node, _ = tensor._keras_history
    return operation._inbound_nodes[node].input_tensors


def flattened(layer: keras.Layer) -> list[keras.Layer]:
    """Lists a layer and all layers within it.

    `Model.layers` has those of a model; those within a layer that is no model have no public list.
    """
    return layer._flatten_layers()


def takes_training(operation: Any) -> bool:
    """Tells whether an operation is a layer that is told the mode: whether its `call` takes `training`.

    Keras reads the signature when it makes a layer, and keeps the names under a name without an underscore that its
    documentation does not have. To read it again at every call would take longer.
    """
    return isinstance(operation, keras.Layer) and "training" in operation.call_signature_parameters


def is_sum(operation: Any) -> bool:
    """Tells whether an operation is what `a + b` and `keras.ops.add` leave in a functional model.

    Keras exports the function and not the class of the operation.
    """
    from keras.src.ops.numpy import Add

    return isinstance(operation, Add)


def logits_of(probabilities: Any) -> Any:
    """Returns what a softmax got that gave these probabilities, where Keras kept it, or None.

    Keras' own losses take it from there, for no gradient comes back from a probability that has become 0; no public
    function hands it out.
    """
    return getattr(probabilities, "_keras_logits", None)


def index_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Returns the place of a variable among those that an optimiser was built for.

    `update_step` does not get the objects that `build` got: on TensorFlow it gets TensorFlow's own, and one device's
    where several train. Keras' own optimisers ask here, too.
    """
    return optimizer._get_variable_index(variable)


@contextlib.contextmanager
def replaced(changes: Iterable[tuple[keras.Layer, str, Any]]) -> Iterator[None]:
    """Replaces attributes and methods of layers for a while.

    Keras looks `call`, `activation` and `convolution_op` up on the layer whenever it runs it, which it does not
    promise. They are set past its `__setattr__`: there an activation that is a layer would be one more layer of its
    layer, which takes none once it is built.

    Args:
        changes: the layer, the name and the value of each.
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
    """A model that knows when Keras wants no more of it than the shape of its output.

    On JAX and torch, and on TensorFlow where several devices train, Keras traces a model once more before the first
    step, to show its loss and its metrics the shape of what they get: a third of the start-up of a deep network. There
    is no public way around it, nor a sign of it that `call` could see.

    Attributes:
        _only_shape: whether it is so now; `call` may then return anything of the right shape and type.
    """

    _only_shape = False

    def _symbolic_build(self, *args, **kwargs):
        self._only_shape = True
        try:
            super()._symbolic_build(*args, **kwargs)
        finally:
            self._only_shape = False
