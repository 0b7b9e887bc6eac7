"""Scores of classes from labels and answers: precision, recall, F1, confusions, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.reports.statistics import wilson

if TYPE_CHECKING:
    import pandas as pd

# Of the confidences, for the calibration error (Guo et al. 2017, section 4: 15).
BINS = 15


def by_class(confusion: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Returns the scores of each class, as scikit-learn computes them.

    Args:
        confusion: numbers of examples, or of pixels, by label (rows) and answer (columns).
        names: the classes' names.

    Returns:
        A row per class: `class` (its number), `name`, `support` (examples with the label), `answered` (examples with
        the answer), `precision`, `recall` and `f1`. What is 0 of 0 is NaN: the precision of a class that is never
        answered, the recall of one that does not occur.
    """
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    labels, answers = np.nonzero(confusion)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels,
        answers,
        labels=np.arange(len(confusion)),
        sample_weight=confusion[labels, answers],
        zero_division=np.nan,
    )
    return pd.DataFrame(
        {
            "class": np.arange(len(confusion)),
            "name": list(names),
            "support": confusion.sum(1),
            "answered": confusion.sum(0),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the table of `by_class` with 95 % Wilson intervals of the recall, over the examples of each class."""
    bounds = [
        wilson(row.recall, int(row.support)) if row.support else (np.nan, np.nan)  # none of the class was measured
        for row in rows.itertuples()
    ]
    place = rows.columns.get_loc("recall") + 1
    rows.insert(place, "recall_low", [low for low, _ in bounds])
    rows.insert(place + 1, "recall_high", [high for _, high in bounds])
    return rows


def averages(rows: pd.DataFrame) -> dict[str, float]:
    """Returns means over the classes that occur: of the recalls (balanced accuracy) and of the F1 scores."""
    occurring = rows[rows["support"] > 0]
    return {"balanced_accuracy": float(occurring["recall"].mean()), "macro_f1": float(occurring["f1"].mean())}


def confusion_table(confusion: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Returns a confusion matrix as a table: a row per label, in the column `label`, a column per answer."""
    import pandas as pd

    table = pd.DataFrame(confusion, columns=unique(names))
    table.insert(0, "label", unique(names), allow_duplicates=True)
    return table


def matrix_of(table: pd.DataFrame) -> np.ndarray:
    """Inverse of `confusion_table`."""
    return table.iloc[:, 1:].to_numpy()


def unique(names: Sequence[str]) -> list[str]:
    """Returns names of which none is twice: to those that are, the class's number is added."""
    return [f"{name} ({i})" if list(names).count(name) > 1 else name for i, name in enumerate(names)]


def confusions(confusion: np.ndarray, names: Sequence[str], most: int = 20) -> list[dict[str, Any]]:
    """Returns the most frequent confusions: `label`, `answer`, `count`, and `share` of the label's examples."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [np.unravel_index(place, wrong.shape) for place in order]
    return [
        {
            "label": names[i],
            "answer": names[j],
            "count": int(wrong[i, j]),
            "share": float(wrong[i, j] / confusion[i].sum()),
        }
        for i, j in cells
        if wrong[i, j]
    ]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Returns the expected calibration error (Guo et al. 2017, equation 3).

    It is the mean distance of confidence and accuracy over bins of equal width, weighted by their examples. Few
    examples make it larger.
    """
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(number, np.asarray(right, "float64") - confidence, bins)
    return float(np.abs(gaps).sum() / len(confidence))
