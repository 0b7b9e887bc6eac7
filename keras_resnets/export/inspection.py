"""Inspects exported files: counts their operations, and finds those that are not allowed."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

CONTROL_FLOW = {"IF", "WHILE", "CALL", "CALL_ONCE", "If", "StatelessIf", "While", "StatelessWhile", "Case", "Loop"}
# Operations of a SavedModel that only connect others or compute nothing.
_PLUMBING = {
    *("Const", "Identity", "NoOp", "Placeholder", "PartitionedCall", "ReadVariableOp", "StatefulPartitionedCall"),
    "VarHandleOp",
}
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
# The converter replaces infinity by the largest 32-bit number.
_HUGE = 1e30
_FLOATS = {"FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64"}


def of_graph(graph_def) -> dict[str, int]:
    """Counts the operations of a TensorFlow graph, including its functions."""
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    return count(node.op for node in nodes if node.op not in _PLUMBING)


def count(names) -> dict[str, int]:
    """Counts how often each name occurs, most frequent first."""
    return dict(collections.Counter(sorted(names)).most_common())


def of_litert(content: bytes) -> dict[str, Any]:
    """Inspects a LiteRT file.

    Returns:
        `operators`: the count of each operation. `unfolded`: the names of a convolution's outputs that only an addition
        or product with a constant reads, such as a batch-norm that was not folded. `additions`: the count by the types
        of both terms and the sum, without additions of constants. `floats`: the number of computed tensors in floating
        point. `unbounded`: the number of quantized tensors whose scale resulted from an infinity.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    operators: list[str] = []
    unfolded: list[str] = []
    additions: list[str] = []
    floats = unbounded = 0
    for graph in model.subgraphs:
        # Which tensors are constants, and how often each tensor is read.
        constant = {
            i
            for i, tensor in enumerate(graph.tensors)
            if getattr(model.buffers[tensor.buffer], "data", None) is not None
        }
        scales = [tensor.quantization.scale for tensor in graph.tensors if tensor.quantization is not None]
        unbounded += sum(scale is not None and not np.max(scale) < _HUGE for scale in scales)
        readers = collections.Counter(i for operator in graph.operators for i in operator.inputs)

        # Each operation, by its name and its inputs that are not constants.
        computed_by: dict[int, str] = {}
        for operator in graph.operators:
            name = _name(model.operatorCodes[operator.opcodeIndex], names)
            operators.append(name)
            varying = [i for i in operator.inputs if i >= 0 and i not in constant]
            if name in ("ADD", "MUL", "SUB", "DIV") and len(varying) == 1:
                (source,) = varying
                if computed_by.get(source, "") in _CONVOLUTIONS and readers[source] == 1:
                    unfolded.append(graph.tensors[source].name.decode())
            elif name == "ADD":
                kinds = [types[graph.tensors[i].type].lower() for i in (*operator.inputs, *operator.outputs)]
                additions.append("{} + {} -> {}".format(*kinds))
            computed_by.update(dict.fromkeys(operator.outputs, name))
            if name == "DEQUANTIZE" and not varying:  # a weight in half precision
                constant.update(operator.outputs)
                continue
            floats += sum(types[graph.tensors[i].type] in _FLOATS for i in operator.outputs)
    return {
        "operators": count(operators),
        "unfolded": unfolded,
        "additions": count(additions),
        "floats": floats,
        "unbounded": unbounded,
    }


def _name(code, names: dict[int, str]) -> str:
    """Returns the name of an operation of a LiteRT file."""
    # Codes above 127 are only in the newer of the two fields.
    name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return f"{name} {code.customCode.decode()}" if name == "CUSTOM" else name


def forbidden(operators: dict[str, int]) -> list[str]:
    """Lists the operations that need more than the standard runtime, or that run conditionally."""
    return sorted(name for name in operators if name in CONTROL_FLOW or name.startswith(("CUSTOM", "Flex")))
