"""What stands in an exported file: its operations, and what of them breaks the rules."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from keras_resnets.export import private

CONTROL_FLOW = {"IF", "WHILE", "CALL", "CALL_ONCE", "If", "StatelessIf", "While", "StatelessWhile", "Case", "Loop"}
# What a SavedModel is held together by, and what computes nothing.
_PLUMBING = {
    *("Const", "Identity", "NoOp", "Placeholder", "PartitionedCall", "ReadVariableOp", "StatefulPartitionedCall"),
    "VarHandleOp",
}
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
# The converter takes infinity for the largest number of 32 bits.
_HUGE = 1e30
_FLOATS = {"FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64"}


def of_graph(graph_def) -> dict[str, int]:
    """Counts the operations of TensorFlow's graph, its functions included."""
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    return counted(node.op for node in nodes if node.op not in _PLUMBING)


def counted(names) -> dict[str, int]:
    """How often each name comes, the most frequent first."""
    return dict(collections.Counter(sorted(names)).most_common())


def of_litert(content: bytes) -> dict[str, Any]:
    """Reads a LiteRT file.

    Returns:
        `operators`, counted; `unfolded`, the names of tensors that a convolution gives to an addition or product with a
        constant alone, such as a batch-norm that was not folded; `additions`, by the types of both terms and the sum,
        those of constants left out; `floats`, how many tensors that are computed are of floating point; `unbounded`,
        how many that are quantised have a scale that came of an infinity.
    """
    schema = private.schema()
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    operators: list[str] = []
    unfolded: list[str] = []
    additions: list[str] = []
    floats = unbounded = 0
    for graph in model.subgraphs:
        constant = {
            i
            for i, tensor in enumerate(graph.tensors)
            if getattr(model.buffers[tensor.buffer], "data", None) is not None
        }
        scales = [tensor.quantization.scale for tensor in graph.tensors if tensor.quantization is not None]
        unbounded += sum(scale is not None and not np.max(scale) < _HUGE for scale in scales)
        read = collections.Counter(i for operator in graph.operators for i in operator.inputs)
        given_by: dict[int, str] = {}
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Codes above 127 stand in the newer of the two fields alone.
            name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            name = f"{name} {code.customCode.decode()}" if name == "CUSTOM" else name
            operators.append(name)
            varying = [i for i in operator.inputs if i >= 0 and i not in constant]
            if name in ("ADD", "MUL", "SUB", "DIV") and len(varying) == 1:
                (source,) = varying
                if given_by.get(source, "") in _CONVOLUTIONS and read[source] == 1:
                    unfolded.append(graph.tensors[source].name.decode())
            elif name == "ADD":
                kinds = [types[graph.tensors[i].type].lower() for i in (*operator.inputs, *operator.outputs)]
                additions.append("{} + {} -> {}".format(*kinds))
            given_by.update(dict.fromkeys(operator.outputs, name))
            if name == "DEQUANTIZE" and not varying:  # a weight of half precision
                constant.update(operator.outputs)
                continue
            floats += sum(types[graph.tensors[i].type] in _FLOATS for i in operator.outputs)
    return {
        "operators": counted(operators),
        "unfolded": unfolded,
        "additions": counted(additions),
        "floats": floats,
        "unbounded": unbounded,
    }


def forbidden(operators: dict[str, int]) -> list[str]:
    """The operations of a file that need more than its plain runtime, or run on a condition."""
    return sorted(name for name in operators if name in CONTROL_FLOW or name.startswith(("CUSTOM", "Flex")))
