"""Measures the cost of 8-bit quantization for each block alone, with the other blocks unchanged.

The quantization is simulated: values are rounded to 8 bits and processed in floating point. As in LiteRT, kernels have
a scale for each output channel, so folding a batch-norm into them would make no difference; other values have a scale
and a zero point from their range on representative inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_resnets.data.needs import for_network
from keras_resnets.errors import whole_number
from keras_resnets.explaining import explained
from keras_resnets.export.inference import inference
from keras_resnets.export.representative import EXAMPLES, Representative, inputs
from keras_resnets.instruments.evaluation import evaluate
from keras_resnets.instruments.lanes import BOTH, MEMORY, Lanes, Program
from keras_resnets.instruments.taps import call_in_inference, run_link
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork

if TYPE_CHECKING:
    import pandas as pd

INT8 = "int8"
ROWS = 32
# A quantized value: name of the link, part of it, and index of the operation that reads it; None for an output.
Place = tuple[str, str, int | None]
Ranges = dict[Place, tuple[float, float]]


@explained
def sensitivity(
    model: keras.Model,
    data,
    representative: Representative = None,
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    budget: int = MEMORY,
    verbose: bool = False,
) -> pd.DataFrame:
    """Measures the network with one block at a time quantized to 8 bits.

    Kernels, the inputs of convolutions, the terms of a block's sum and its output are rounded; the scores at the end
    are not. No file is written or converted; all blocks are measured in one walk through the network
    (`keras_resnets.lanes`).

    Args:
        model: a classifier that is a `ResidualNetwork`, or that `adopt` accepts.
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` returns, of which the test split is
            used.
        representative: inputs that calibrate the ranges, without the batch axis; None draws them from the training
            split of `data`.
        examples: how many to draw.
        seed: of the draw.
        budget: bytes that intermediate values may take.
        verbose: whether to draw a progress bar.

    Returns:
        A pandas.DataFrame with a row for the stem, each block and the head, the most costly first: `block`, `error`
        with its 95 % Wilson interval `error_low` and `error_high`, `top5_error`, `loss`, `agreement` with the intact
        network, and `lost`, the increase of the error over that of the intact network.

    Raises:
        ArgumentError: the network is no chain or no classifier, or there are no inputs to calibrate the ranges.

    Example:
        >>> import keras_resnets as kr
        >>> data = kr.data.load("digits").first(20)
        >>> rows = kr.export.sensitivity(kr.build("resnet8", data.input_shape), data, examples=8)
        >>> sorted(rows["block"])
        ['head', 'stage1_block1', 'stage2_block1', 'stage3_block1', 'stem']
    """
    whole_number("examples", examples, 1)
    network = inference(adopt(model)).network
    data, representative = for_network(data, model), for_network(representative, model)
    representative = inputs(network.input_shape[1:], representative, data, examples, seed)
    ranges = ranges_of(network, representative)
    steps = range(len(network.chain))
    programs = [Program(tuple((i, INT8 if i == n else BOTH) for i in steps)) for n in steps]
    engine = Lanes(network, budget, {INT8: lambda link: rounded(link, ranges)})
    rows, facts = evaluate(network, data, programs, verbose=verbose, task=f"blocks of {network.name}", engine=engine)
    rows.insert(0, "block", [link.name for link in network.chain])
    rows["lost"] = rows["error"] - facts["intact"]["error"]
    # The loss orders the blocks of equal error.
    return rows.sort_values(["lost", "loss"], ascending=False, kind="stable").reset_index(drop=True)


def ranges_of(network: ResidualNetwork, representative: Sequence[np.ndarray] | np.ndarray) -> Ranges:
    """Returns the smallest and the largest value at each quantized place, over the representative inputs.

    The scores at the end of a network are not quantized, because they would no longer be probabilities.
    """
    ranges: Ranges = {}

    def record(place: Place, value) -> None:
        low, high = ranges.get(place, (0.0, 0.0))  # a range always contains zero
        ranges[place] = min(low, float(ops.min(value))), max(high, float(ops.max(value)))

    same_shape = len({np.shape(x) for x in representative}) == 1
    rows = ROWS if same_shape else 1
    for start in range(0, len(representative), rows):
        x = ops.convert_to_tensor(np.stack(list(representative[start : start + rows])), network.inputs[0].dtype)
        for link in network.chain:
            x = _run_link_with(link, x, record)
    last = network.chain[-1].name
    return {place: limits for place, limits in ranges.items() if place[0] != last or place[2] is not None}


def rounded(link: keras.Layer, ranges: Ranges) -> Callable[[Any], Any]:
    """Returns a link's function, quantized to 8 bits."""

    def quantize(place: Place, value):
        return in_8_bits(value, *ranges[place]) if place in ranges else None

    return lambda x: _run_link_with(link, x, quantize, kernel_in_8_bits)


def _run_link_with(link: keras.Layer, x, visit: Callable[[Place, Any], Any], kernel: Callable | None = None):
    """Runs a link with a function at each quantized place, whose result, if not None, replaces the value.

    Args:
        link: a link of a chain.
        x: its input.
        visit: `visit(place, value)`.
        kernel: `kernel(operation)` returns the kernel to use instead; None keeps the kernels.
    """

    def replace(part: str, step: int | None, value):
        replacement = visit((link.name, part, step), value)
        return value if replacement is None else replacement

    def call(part: str, step: int, operation, *args, **kwargs):
        variable = kernel_of(operation)
        if variable is None:
            return call_in_inference(operation, *args, **kwargs)
        args = (replace(part, step, args[0]), *args[1:])
        if kernel is None:
            return call_in_inference(operation, *args, **kwargs)
        with keras.StatelessScope([(variable, kernel(operation))]):
            return call_in_inference(operation, *args, **kwargs)

    return run_link(link, x, call, lambda part, value: replace(part, None, value))


def kernel_of(operation) -> keras.Variable | None:
    """Returns the kernel of a convolution or a dense layer, or None."""
    kernel = getattr(operation, "kernel", None)
    return kernel if isinstance(kernel, keras.Variable) else None


def kernel_in_8_bits(operation):
    """Returns a kernel rounded to 255 values from -127 to 127, with a scale for each output channel."""
    kernel = ops.convert_to_tensor(kernel_of(operation))
    inner = len(kernel.shape) - (2 if isinstance(operation, keras.layers.DepthwiseConv2D) else 1)
    scale = ops.max(ops.abs(kernel), axis=tuple(range(inner)), keepdims=True) / 127
    scale = ops.where(scale > 0, scale, 1.0)
    return ops.round(kernel / scale) * scale


def in_8_bits(value, low: float, high: float):
    """Rounds values to the 256 values of 8 bits between two limits, which include 0."""
    scale = (high - low) / 255 or 1.0
    zero = round(-128 - low / scale)
    return (ops.clip(ops.round(value / scale) + zero, -128, 127) - zero) * scale
