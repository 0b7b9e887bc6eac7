"""Runs programs over a data set and measures each: error, loss, agreement with the intact network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_resnets.errors import ArgumentError
from keras_resnets.lanes import Lanes, Program, program
from keras_resnets.network import ResidualNetwork
from keras_resnets.runs import fingerprint

BATCH = 256


def batches(data) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields arrays of at most 256 inputs and labels.

    Args:
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the test split is taken.

    Raises:
        ArgumentError: it is none of these, or empty.
    """
    empty = True
    if isinstance(data, tuple) and len(data) == 2:
        x, y = (np.asarray(array) for array in data)
        if len(x) != len(y):
            raise ArgumentError(f"data must have a label for every input; got {len(x)} inputs and {len(y)} labels.")
        source = ((x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH))
    else:
        dataset = getattr(data, "test", data)
        if not hasattr(dataset, "rebatch"):
            raise ArgumentError(
                f"data must be (x, y) arrays, batched tf.data or the result of keras_resnets.data.load; "
                f"got {type(data).__name__}."
            )
        source = dataset.rebatch(BATCH).as_numpy_iterator()
    for x, y in source:
        empty = False
        yield x, y
    if empty:
        raise ArgumentError("data must hold at least one example; got none.")


def evaluate(model: ResidualNetwork, data, programs: Sequence[Program], *, budget: int = 2**30, verbose: bool = False):
    """Measures each program on a data set.

    Args:
        model: a classifier whose output is one row of class probabilities or logits per example.
        data: as for `batches`.
        programs: what to measure.
        budget: bytes, as for `keras_resnets.lanes.Lanes`.
        verbose: whether to draw a progress bar.

    Returns:
        A pandas.DataFrame of one row per program with `error` (top-1) and its 95 % Wilson interval
        `error_low`, `error_high`, `top5_error`, `loss` (cross-entropy in nats) and `agreement`,
        the share of examples classified as the intact network does; and a dict with the same
        of the intact network, `examples` and fingerprints of weights and data.
    """
    import pandas as pd
    from rich.progress import track
    from scipy.stats import binomtest

    if len(model.output_shape) != 2:
        raise ArgumentError(f"model must end in one row of class scores per example; got output {model.output_shape}.")
    engine, count, marks = Lanes(model, budget), 0, []
    sums = np.zeros(4)
    everything = [program(model), *programs]
    for x, y in track(list(batches(data)), "measuring", disable=not verbose, transient=True):
        outputs = engine.outputs(x, everything)
        sums = sums + _measures(outputs.astype("float64"), y)
        count += len(y)
        marks.append(fingerprint([x, y]))
    means = sums / count
    table = pd.DataFrame(means, columns=["error", "top5_error", "loss", "agreement"])
    bounds = [binomtest(round(e * count), count).proportion_ci(method="wilson") for e in table["error"]]
    table.insert(1, "error_low", [b.low for b in bounds])
    table.insert(2, "error_high", [b.high for b in bounds])
    intact = {key: float(value) for key, value in table.iloc[0].items()}
    facts = {
        "intact": intact,
        "examples": count,
        "model": model.name,
        "weights_fingerprint": fingerprint(model.weights),
        "data_fingerprint": fingerprint([np.array(marks)]),
    }
    return table.iloc[1:].reset_index(drop=True), facts


def _measures(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sums over a batch, for each program: errors, top-5 errors, loss, agreements with the first."""
    labels = labels.reshape(-1).astype(int)
    scores = outputs
    own = np.take_along_axis(scores, labels[None, :, None], axis=2)
    rank = (scores > own).sum(2)
    best = scores.argmax(2)
    if (outputs >= 0).all() and np.allclose(outputs.sum(2), 1, atol=1e-3):
        # Float32 probabilities reach 0; the floor of Keras' own cross-entropy keeps the loss finite.
        loss = -np.log(np.maximum(own[..., 0], 1e-7))
    else:
        top = scores.max(2, keepdims=True)
        loss = (top + np.log(np.exp(scores - top).sum(2, keepdims=True)) - own)[..., 0]
    return np.stack([(best != labels).sum(1), (rank >= 5).sum(1), loss.sum(1), (best == best[0]).sum(1)], 1)
