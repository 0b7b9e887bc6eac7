"""Which block costs how much when it is computed in 8 bits: each alone, the others as they are.

It is simulated: values are rounded to what 8 bits can hold, and go on in floating point. As LiteRT does, kernels get a
scale for each channel of their output, so that a batch-norm folded into them would change nothing; all else gets a
scale and a zero point that fit the range it has on representative inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import whole_number
from keras_resnets.export.inference import inference
from keras_resnets.export.representative import EXAMPLES, inputs
from keras_resnets.instruments.evaluation import evaluate
from keras_resnets.instruments.lanes import BOTH, Lanes, Program
from keras_resnets.instruments.taps import call_in_inference, run_link
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork

if TYPE_CHECKING:
    import pandas as pd

INT8 = "int8"
ROWS = 32
# Where a range was taken: name of the link, part of it, and number of the operation that reads; None for an output.
Place = tuple[str, str, int | None]
Ranges = dict[Place, tuple[float, float]]


def sensitivity(
    model: keras.Model,
    data,
    representative: Sequence[np.ndarray] | np.ndarray | None = None,
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    budget: int = 2**30,
    verbose: bool = False,
) -> pd.DataFrame:
    """Measures the network with each block in turn computed in 8 bits.

    Kernels, what goes into each convolution, what a block adds and what it gives are rounded; the scores at the end are
    not. Nothing is written or converted; all blocks are measured in one walk through the network
    (`keras_resnets.lanes`).

    Args:
        model: a classifier that is a `ResidualNetwork`, or that `adopt` takes.
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which the test split is
            taken.
        representative: inputs that ranges are taken from, without the batch; None draws them from the training split
            of `data`.
        examples: how many to draw.
        seed: of the draw.
        budget: bytes that intermediate values may take.
        verbose: whether to draw a progress bar.

    Returns:
        A pandas.DataFrame with a row for the stem, each block and the head, those that cost most first: `block`,
        `error` with its 95 % Wilson interval `error_low` and `error_high`, `top5_error`, `loss`, `agreement` with the
        network left whole, and `lost`, by how much the error is above that of the network left whole.

    Raises:
        ArgumentError: the network is no chain or no classifier, or there is nothing to take ranges from.

    Example:
        >>> import keras_resnets as kr
        >>> data = kr.data.load("digits").first(20)
        >>> rows = kr.export.sensitivity(kr.build("resnet8", data.input_shape), data, examples=8)
        >>> sorted(rows["block"])
        ['head', 'stage1_block1', 'stage2_block1', 'stage3_block1', 'stem']
    """
    whole_number("examples", examples, 1)
    network = inference(adopt(model)).network
    representative = inputs(network.input_shape[1:], representative, data, examples, seed)
    ranges = ranges_of(network, representative)
    steps = range(len(network.chain))
    programs = [Program(tuple((i, INT8 if i == n else BOTH) for i in steps)) for n in steps]
    engine = Lanes(network, budget, {INT8: lambda link: rounded(link, ranges)})
    rows, facts = evaluate(network, data, programs, verbose=verbose, task=f"blocks of {network.name}", engine=engine)
    rows.insert(0, "block", [link.name for link in network.chain])
    rows["lost"] = rows["error"] - facts["intact"]["error"]
    # The loss tells blocks apart that cost no example.
    return rows.sort_values(["lost", "loss"], ascending=False, kind="stable").reset_index(drop=True)


def ranges_of(network: ResidualNetwork, representative: Sequence[np.ndarray] | np.ndarray) -> Ranges:
    """The least and the largest value at each place that is rounded, over the representative inputs.

    The scores that a network ends in are left as they are: they would no longer be probabilities.
    """
    found: Ranges = {}

    def note(place: Place, value) -> None:
        low, high = found.get(place, (0.0, 0.0))  # zero is always among what can be held
        found[place] = min(low, float(ops.min(value))), max(high, float(ops.max(value)))

    alike = len({np.shape(x) for x in representative}) == 1
    rows = ROWS if alike else 1
    for start in range(0, len(representative), rows):
        x = ops.convert_to_tensor(np.stack(list(representative[start : start + rows])), network.inputs[0].dtype)
        for link in network.chain:
            x = _visited(link, x, note)
    last = network.chain[-1].name
    return {place: limits for place, limits in found.items() if place[0] != last or place[2] is not None}


def rounded(link: keras.Layer, ranges: Ranges) -> Callable[[Any], Any]:
    """Returns the function that a link is in 8 bits."""

    def at(place: Place, value):
        return in_8_bits(value, *ranges[place]) if place in ranges else None

    return lambda x: _visited(link, x, at, kernel_in_8_bits)


def _visited(link: keras.Layer, x, at: Callable[[Place, Any], Any], kernel: Callable | None = None):
    """Runs a link, `at` each place that is rounded replacing the value if it gives one, and kernels replaced."""

    def replaced(part: str, number: int | None, value):
        found = at((link.name, part, number), value)
        return value if found is None else found

    def call(part: str, number: int, operation, *args, **kwargs):
        variable = kernel_of(operation)
        if variable is None:
            return call_in_inference(operation, *args, **kwargs)
        args = (replaced(part, number, args[0]), *args[1:])
        if kernel is None:
            return call_in_inference(operation, *args, **kwargs)
        with keras.StatelessScope([(variable, kernel(operation))]):
            return call_in_inference(operation, *args, **kwargs)

    return run_link(link, x, call, lambda part, value: replaced(part, None, value))


def kernel_of(operation) -> keras.Variable | None:
    """The kernel of a convolution or a dense layer, or None."""
    found = getattr(operation, "kernel", None)
    return found if isinstance(found, keras.Variable) else None


def kernel_in_8_bits(operation):
    """A kernel rounded to 255 values from -127 to 127, with a scale for each channel of its output."""
    kernel = ops.convert_to_tensor(kernel_of(operation))
    inner = len(kernel.shape) - (2 if isinstance(operation, keras.layers.DepthwiseConv2D) else 1)
    scale = ops.max(ops.abs(kernel), axis=tuple(range(inner)), keepdims=True) / 127
    scale = ops.where(scale > 0, scale, 1.0)
    return ops.round(kernel / scale) * scale


def in_8_bits(value, low: float, high: float):
    """Values rounded to the 256 that 8 bits can hold between two limits, 0 among them."""
    scale = (high - low) / 255 or 1.0
    zero = round(-128 - low / scale)
    return (ops.clip(ops.round(value / scale) + zero, -128, 127) - zero) * scale
