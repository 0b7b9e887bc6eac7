"""`Graph`: part of a functional model as one layer, which runs without adding nodes to the layers inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from keras_resnets.errors import ArgumentError
from keras_resnets.network import private
from keras_resnets.network.tracing import called
from keras_resnets.network.trusted import check_operations


@dataclass(frozen=True)
class Value:
    """A placeholder for a tensor in the arguments of a `Step`; index 0 is the input."""

    index: int


@dataclass(frozen=True)
class Step:
    """One call in a graph: the operation, its arguments, and the indices of its output values."""

    operation: Any
    args: tuple
    kwargs: dict[str, Any]
    outputs: tuple[int, ...]

    @property
    def reads(self) -> list[int]:
        """The indices of the values among the arguments."""
        return [leaf.index for leaf in tree.flatten([self.args, self.kwargs]) if isinstance(leaf, Value)]


def trace(model: keras.Model, masks: bool = True) -> tuple[list[Step], int]:
    """Lists the operations of a functional model in execution order, with nested models unfolded.

    Args:
        model: the model, with one input.
        masks: whether its tensors may carry Keras' masks.

    Returns:
        The steps, and the index of the output value.

    Raises:
        ArgumentError: the model is not functional, or a tensor carries a mask that may not be.
    """
    tracer = _Tracer(masks)
    outputs = tracer.visit(model, [Value(0)], None)
    return tracer.steps, outputs[0].index


class _Tracer:
    """Collects the steps of a functional model and of the models nested in it."""

    def __init__(self, masks: bool) -> None:
        self.masks = masks
        self.steps: list[Step] = []
        self._count = 0

    def visit(self, functional, entries: list[Value], training) -> list[Value]:
        """Appends the steps of a model for input values and a mode; returns its output values."""
        functional = _as_functional(functional)
        values = {id(tensor): value for tensor, value in zip(functional.inputs, entries, strict=True)}

        def value_of(leaf):
            return values[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

        for operation, *arguments, outputs in private.calls(functional):
            if isinstance(operation, keras.layers.InputLayer) or id(outputs[0]) in values:
                continue
            args, kwargs = (tree.map_structure(value_of, part) for part in arguments)
            mode = kwargs.get("training", None) if training is None else training
            if is_functional(operation):
                inner = [leaf for leaf in tree.flatten([args, kwargs]) if isinstance(leaf, Value)]
                results = self.visit(operation, inner, mode)
            else:
                if mode is not None and isinstance(operation, keras.Layer):
                    kwargs = {**kwargs, "training": mode}
                results = [Value(self._count + i) for i in range(1, len(outputs) + 1)]
                self._count += len(results)
                self.steps.append(Step(operation, tuple(args), kwargs, tuple(v.index for v in results)))
            if not self.masks and any(map(private.is_masked, outputs)):
                raise ArgumentError(
                    f"model: {operation.name!r} hands a mask on, and blocks that run one by one take none; leave out "
                    f"Masking and mask_zero, or give the mask to the layers that need it as an input of theirs."
                )
            values.update({id(tensor): value for tensor, value in zip(outputs, results, strict=True)})
        return [values[id(tensor)] for tensor in functional.outputs]


def is_functional(operation) -> bool:
    """Returns whether an operation is a model or another `keras.Function` that consists of calls of operations."""
    return isinstance(operation, keras.Sequential | keras.Function)


def _as_functional(model) -> keras.Function:
    """Returns a functional or built sequential model as a `keras.Function`."""
    function = model
    if isinstance(model, keras.Sequential) and getattr(model, "inputs", None):
        function = keras.Function(model.inputs, model.outputs, name=model.name)
    if not isinstance(function, keras.Function):
        raise ArgumentError(
            f"model must be a functional Keras model with a known input, as keras.Model(inputs, outputs) creates; "
            f"{getattr(model, 'name', model)!r} is a {type(model).__name__}."
        )
    return function


def run(
    steps: Sequence[Step], output: int | list[int], x, call: Callable[..., Any]
) -> Iterator[tuple[Step | None, Any]]:
    """Runs steps on the input `x`.

    Args:
        steps: the steps in order.
        output: the index of the value to return, or a list of them.
        x: value 0.
        call: runs one operation: `call(operation, *args, **kwargs)`.

    Yields:
        Each step with its result, and finally None with the output.
    """
    values = {0: x}

    def fill(leaf):
        return values[leaf.index] if isinstance(leaf, Value) else leaf

    for step in steps:
        args, kwargs = (tree.map_structure(fill, part) for part in (step.args, step.kwargs))
        result = call(step.operation, *args, **kwargs)
        values.update(zip(step.outputs, tree.flatten(result), strict=True))
        yield step, result
    yield None, values[output] if isinstance(output, int) else [values[index] for index in output]


def shapes(steps: Sequence[Step], output: int | list[int], x: keras.KerasTensor) -> Iterator[tuple[Any, tuple, tuple]]:
    """Yields each operation with the shapes of its first input and its first output, for a symbolic input."""
    known = {0: tuple(x.shape)}
    for step, result in run(steps, output, x, _spec_of):
        if step is not None:
            known.update(zip(step.outputs, (tuple(y.shape) for y in tree.flatten(result)), strict=True))
            yield step.operation, known[step.reads[0]] if step.reads else (), known[step.outputs[0]]


def _spec_of(operation, *args, **kwargs):
    return operation.compute_output_spec(*args, **kwargs)


@keras.saving.register_keras_serializable("keras_resnets")
class Graph(private.Expanded, keras.layers.Layer):
    """Runs a list of steps on its input.

    Unlike `keras.Model(inputs, outputs)`, creating and calling it does not change the layers inside. Keras adds a node
    to a layer at every symbolic call, so a model cut out of another one changes the other, which keeps it alive.

    Args:
        steps: the steps in order.
        output: the index of the value to return, or a list of them.
        owns: whether the layers belong to the graph: it builds them, and its name starts their variables' paths.
            Otherwise they belong to another model and are built.
    """

    def __init__(self, steps: Sequence[Step], output: int | list[int], owns: bool = False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.operations = [step.operation for step in steps]
        self._steps = tuple((step.args, step.kwargs, step.outputs) for step in steps)
        self._output = output
        self._owns = owns
        self.built = not owns

    @property
    def steps(self) -> list[Step]:
        """The steps in order."""
        return [Step(operation, *call) for operation, call in zip(self.operations, self._steps, strict=True)]

    @property
    def result(self) -> Any:
        """The index of the value to return, or a list of them."""
        return self._output

    @property
    def owns(self) -> bool:
        """Whether the layers belong to the graph."""
        return self._owns

    @property
    def layers(self) -> list[Any]:
        """The operations, as a model has its layers."""
        return list(self.operations)

    def _specs(self, x: keras.KerasTensor) -> Iterator[tuple[Step | None, Any]]:
        return run(self.steps, self._output, x, _spec_of)

    def build(self, input_shape):
        def build_layer(layer, *args, **kwargs):
            if not layer.built:
                layer.build(tree.map_structure(lambda tensor: tuple(tensor.shape), args[0]))
            return layer.compute_output_spec(*args, **kwargs)

        if self._owns:
            list(run(self.steps, self._output, keras.KerasTensor(input_shape, self.compute_dtype), build_layer))
        self.built = True

    def call(self, inputs, training=None):
        def call(operation, *args, **kwargs):
            return called(operation, training, *args, **kwargs)

        return list(run(self.steps, self._output, inputs, call))[-1][1]

    def compute_output_spec(self, inputs, training=None):
        return list(self._specs(inputs))[-1][1]

    def compute_output_shape(self, input_shape):
        specs = self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))
        return tree.map_structure(lambda spec: spec.shape, specs)

    def walk(self, shape: tuple) -> Iterator[tuple[Any, tuple, tuple]]:
        """Yields each operation with the shapes of its first input and its first output, for an input of `shape`."""
        return shapes(self.steps, self._output, keras.KerasTensor(shape, self.compute_dtype))

    def get_config(self):
        def serialize_argument(leaf):
            return {"value": leaf.index} if isinstance(leaf, Value) else keras.saving.serialize_keras_object(leaf)

        def serialize_operation(layer):
            config = keras.saving.serialize_keras_object(layer)
            return {key: value for key, value in config.items() if not (self._owns and key == "build_config")}

        steps = [
            {
                "operation": serialize_operation(step.operation),
                "args": tree.map_structure(serialize_argument, list(step.args)),
                "kwargs": tree.map_structure(serialize_argument, step.kwargs),
                "outputs": list(step.outputs),
            }
            for step in self.steps
        ]
        return {**super().get_config(), "steps": steps, "output": self._output, "owns": self._owns}

    @classmethod
    def from_config(cls, config):
        check_operations(config["steps"], "a Graph")
        steps = [
            Step(
                keras.saving.deserialize_keras_object(step["operation"]),
                tuple(_deserialize_arguments(step["args"])),
                _deserialize_arguments(step["kwargs"]),
                tuple(step["outputs"]),
            )
            for step in config["steps"]
        ]
        return cls(**{**config, "steps": steps})


def _deserialize_arguments(item):
    """Inverse of what `Graph.get_config` writes for the arguments of a step."""
    if isinstance(item, dict) and item.keys() == {"value"}:
        return Value(item["value"])
    if isinstance(item, dict) and "class_name" in item:
        return keras.saving.deserialize_keras_object(item)
    if isinstance(item, list | tuple):
        return type(item)(map(_deserialize_arguments, item))
    return {key: _deserialize_arguments(value) for key, value in item.items()} if isinstance(item, dict) else item
