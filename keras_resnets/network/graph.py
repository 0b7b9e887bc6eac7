"""`Graph`: a stretch of a functional model as one layer, run without leaving nodes on its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from keras_resnets.errors import ArgumentError
from keras_resnets.network import private
from keras_resnets.network.trusted import check_operations


@dataclass(frozen=True)
class Value:
    """Stands for a tensor among the arguments of a `Step`; 0 is the input."""

    index: int


@dataclass(frozen=True)
class Step:
    """One operation of a graph: what is called, with what, and the numbers of the values it gives."""

    operation: Any
    args: tuple
    kwargs: dict[str, Any]
    outputs: tuple[int, ...]

    @property
    def reads(self) -> list[int]:
        """The numbers of the values among the arguments."""
        return [leaf.index for leaf in tree.flatten([self.args, self.kwargs]) if isinstance(leaf, Value)]


def trace(model: keras.Model) -> tuple[list[Step], int]:
    """Lists the operations of a functional model in the order they run, nested models unfolded.

    Returns:
        The steps, and the number of the value that is the output.

    Raises:
        ArgumentError: the model is not functional.
    """
    steps: list[Step] = []
    count = [0]

    def visit(functional, entries: list[Value], training) -> list[Value]:
        functional = _functional(functional)
        known = {id(tensor): value for tensor, value in zip(functional.inputs, entries, strict=True)}

        def refer(leaf):
            return known[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

        for operation, *arguments, outputs in private.calls(functional):
            if isinstance(operation, keras.layers.InputLayer) or id(outputs[0]) in known:
                continue
            args, kwargs = (tree.map_structure(refer, part) for part in arguments)
            mode = kwargs.get("training", None)
            mode = training if mode is None else mode
            if is_functional(operation):
                inner = [leaf for leaf in tree.flatten([args, kwargs]) if isinstance(leaf, Value)]
                given = visit(operation, inner, mode)
            else:
                if mode is not None and private.takes_training(operation):
                    kwargs = {**kwargs, "training": mode}
                given = [Value(count[0] + i) for i in range(1, len(outputs) + 1)]
                count[0] += len(given)
                steps.append(Step(operation, tuple(args), kwargs, tuple(v.index for v in given)))
            known.update({id(tensor): value for tensor, value in zip(outputs, given, strict=True)})
        return [known[id(tensor)] for tensor in functional.outputs]

    outputs = visit(model, [Value(0)], None)
    return steps, outputs[0].index


def is_functional(operation) -> bool:
    """Tells whether an operation is a model, or another `keras.Function`, that consists of calls of operations."""
    return isinstance(operation, keras.Sequential | keras.Function)


def _functional(model) -> keras.Function:
    found = model
    if isinstance(model, keras.Sequential) and getattr(model, "inputs", None):
        found = keras.Function(model.inputs, model.outputs, name=model.name)
    if not isinstance(found, keras.Function):
        raise ArgumentError(
            f"model must be a functional Keras model that knows its input, as keras.Model(inputs, outputs) makes; "
            f"{getattr(model, 'name', model)!r} is a {type(model).__name__}."
        )
    return found


def run(steps: Sequence[Step], output: int, x, call: Callable[..., Any]) -> Iterator[tuple[Step | None, Any]]:
    """Runs steps on the input `x`.

    Args:
        steps: the steps in order.
        output: the number of the value that is the result.
        x: value 0.
        call: what runs one: `call(operation, *args, **kwargs)`.

    Yields:
        Each step with what it gives, and at last None with the result of them all.
    """
    values = {0: x}

    def fill(leaf):
        return values[leaf.index] if isinstance(leaf, Value) else leaf

    for step in steps:
        args, kwargs = (tree.map_structure(fill, part) for part in (step.args, step.kwargs))
        result = call(step.operation, *args, **kwargs)
        values.update(zip(step.outputs, tree.flatten(result), strict=True))
        yield step, result
    yield None, values[output]


@keras.saving.register_keras_serializable("keras_resnets")
class Graph(keras.layers.Layer):
    """Runs a list of steps on its input.

    What `keras.Model(inputs, outputs)` would be, but for one thing: making and calling it leaves the layers
    that it is made of as they are. Keras notes every symbolic call on the layer called, so that a model cut
    out of another changes the other, and is kept alive by it.

    Args:
        steps: the steps in order.
        output: the number of the value to return.
        owns: whether the layers are the graph's own: unbuilt as yet, to be built with it and to have their variables'
            paths under its name. Else they are another model's, and built.
    """

    def __init__(self, steps: Sequence[Step], output: int, owns: bool = False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.operations = [step.operation for step in steps]
        self._steps = tuple((step.args, step.kwargs, step.outputs) for step in steps)
        self._output = output
        self._owns = owns
        self.built = not owns

    @property
    def steps(self) -> list[Step]:
        """The steps in order."""
        return [Step(operation, *rest) for operation, rest in zip(self.operations, self._steps, strict=True)]

    @property
    def result(self) -> int:
        """The number of the value that is returned."""
        return self._output

    def _run(self, x, method: str) -> Iterator[tuple[Step | None, Any]]:
        return run(self.steps, self._output, x, lambda operation, *a, **k: getattr(operation, method)(*a, **k))

    def build(self, input_shape):
        def built(layer, *args, **kwargs):
            if not layer.built:
                layer.build(tree.map_structure(lambda tensor: tuple(tensor.shape), args[0]))
            return layer.compute_output_spec(*args, **kwargs)

        if self._owns:
            list(run(self.steps, self._output, keras.KerasTensor(input_shape, self.compute_dtype), built))
        self.built = True

    def call(self, inputs, training=None):
        # The operations know the mode from Keras' context of this call.
        return list(self._run(inputs, "__call__"))[-1][1]

    def compute_output_spec(self, inputs, training=None):
        return list(self._run(inputs, "compute_output_spec"))[-1][1]

    def compute_output_shape(self, input_shape):
        return self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype)).shape

    def walk(self, shape: tuple) -> Iterator[tuple[Any, tuple]]:
        """Yields each operation with the shape of its output, for an input of `shape`."""
        for step, result in self._run(keras.KerasTensor(shape, self.compute_dtype), "compute_output_spec"):
            if step is not None:
                yield step.operation, tree.flatten(result)[0].shape

    def get_config(self):
        def plain(leaf):
            return {"value": leaf.index} if isinstance(leaf, Value) else keras.saving.serialize_keras_object(leaf)

        def operation(layer):
            config = keras.saving.serialize_keras_object(layer)
            return {key: value for key, value in config.items() if not (self._owns and key == "build_config")}

        steps = [
            {
                "operation": operation(step.operation),
                "args": tree.map_structure(plain, list(step.args)),
                "kwargs": tree.map_structure(plain, step.kwargs),
                "outputs": list(step.outputs),
            }
            for step in self.steps
        ]
        return {**super().get_config(), "steps": steps, "output": self._output, "owns": self._owns}

    @classmethod
    def from_config(cls, config):
        def read(item):
            if isinstance(item, dict) and item.keys() == {"value"}:
                return Value(item["value"])
            if isinstance(item, dict) and "class_name" in item:
                return keras.saving.deserialize_keras_object(item)
            if isinstance(item, list | tuple):
                return type(item)(map(read, item))
            return {key: read(value) for key, value in item.items()} if isinstance(item, dict) else item

        check_operations(config["steps"], "a Graph")
        steps = [
            Step(
                keras.saving.deserialize_keras_object(step["operation"]),
                tuple(read(step["args"])),
                read(step["kwargs"]),
                tuple(step["outputs"]),
            )
            for step in config["steps"]
        ]
        return cls(**{**config, "steps": steps})
