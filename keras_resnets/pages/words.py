"""The words of a page: what the columns of its tables mean, and its intervals."""

from __future__ import annotations

from collections.abc import Iterable

# Columns of the studies' tables that more than one of them has. Those of one study stand in its docstring.
COLUMNS = {
    "block": "A residual block, numbered within its stage.",
    "stage": "Blocks of one resolution and width.",
    "error": "The share of examples answered wrongly (top-1 error).",
    "error_low": "The lower end of the 95 % interval of the error.",
    "error_high": "The upper end of the 95 % interval of the error.",
    "error_sd": "The standard deviation of the error over seeds.",
    "top5_error": "The share of examples whose label is not among the five best answers.",
    "loss": "The mean cross-entropy in nats.",
    "agreement": "The share of examples answered as the whole network answers.",
    "kind": "What was done to the network.",
    "count": "How many blocks or skips it was done to.",
    "draw": "The number of the random draw.",
    "depth": "Layers with weights, as the papers count them.",
    "width": "Channels of the last stage.",
    "parameters": "Trained numbers of the network.",
    "macs": "Multiply-adds for one example.",
    "activations": "Numbers that the layers put out for one example.",
    "latency": "The median time for one image, in seconds.",
    "seconds": "Time of the training, in seconds.",
    "epochs": "How often the training went through its data.",
    "best_epoch": "The epoch with the best validation.",
    "support": "How many examples are of the class.",
    "answered": "How many examples were answered with the class.",
    "precision": "Of the answers of this class, the share that is right.",
    "recall": "Of the examples of this class, the share that is answered rightly.",
    "f1": "The harmonic mean of precision and recall.",
    "iou": "Intersection over union of the class's pixels.",
    "confidence": "The probability that the network gives its answer.",
    "std": "The standard deviation of the response over examples, positions and channels.",
    "score": "What the search made as large as it could.",
    "test_error": "The error on the test split, which nothing was chosen by.",
    "seed": "The seed of every random draw of the training.",
    "length": "The number of residual branches on a path.",
    "compute": "The share of the whole network's multiply-adds that a step computes.",
    "deleted": "Error with the block's residual branch deleted, its skip kept.",
    "unskipped": "Error with the block's skip removed, its residual branch kept; none where the skip is no identity.",
    "response": "Standard deviation of what the block's last convolution puts out.",
    "mean path length": "Residual branches on the paths by which the block's weights learn, on average, weighted by "
    "the norms of the gradients of each length.",
    "validation error": "Of the best epoch, by the images held out to choose by.",
    "test accuracy": "The share of the test examples that is answered rightly.",
}

_INTERVALS = {
    "wilson": "An interval beside an error or accuracy (low, high, or a bar in a figure) is a 95 % Wilson interval "
    "over the examples: were the network measured on other examples of the same kind again and again, about 19 of "
    "20 such intervals would hold the error over all of them. It does not say what another training would give. Two "
    "networks whose intervals overlap may still differ: measured on the same examples, they are told apart by "
    "keras-resnets compare.",
    "seeds": "An interval over seeds is a 95 % t interval of the mean: it says what trainings with other seeds would "
    "give. With few seeds it is wide.",
    "paired": "A difference of two networks on the same examples has Tango's 95 % interval and McNemar's exact test, "
    "which count only the examples that one of the two has right.",
    "images": "A score of a segmentation has a 95 % bootstrap interval over images.",
}
_SEEDS = {"degradation", "shortcuts", "activation", "width_depth", "segment", "effective", "survival", "compare"}


def intervals(studies: Iterable[str], columns: Iterable[str], is_told: bool) -> list[str]:
    """Returns the sentences that explain the intervals of a page.

    Args:
        studies: the names of its studies.
        columns: the names of the columns of its tables.
        is_told: whether a sentence on the page has an interval.
    """
    studies, columns = set(studies), set(columns)
    shown = {
        "wilson": is_told or any(name.endswith("_low") for name in columns),
        "seeds": bool(studies & _SEEDS),
        "paired": "compare" in studies,
        "images": "evaluate" in studies and "iou" in columns,
    }
    return [text for name, text in _INTERVALS.items() if shown[name]]
