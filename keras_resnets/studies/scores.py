"""Scores of classes from labels and answers: precision, recall, F1, confusions, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.reports.statistics import wilson

if TYPE_CHECKING:
    import pandas as pd

# Of the confidences, for the calibration error (Guo et al. 2017, section 4: 15).
BINS = 15

# Up to so many classes, a confusion matrix is a table of all its cells; of more, of those with a count.
WHOLE = 1000


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix by its cells with a count, in the order of labels, then of answers.

    The matrix of 21,000 classes would take 3.5 GB; its examples fill few of its cells.

    Attributes:
        labels: the label of each cell.
        answers: its answer.
        counts: its number of examples, or of pixels.
        classes: how many classes there are.
    """

    labels: np.ndarray
    answers: np.ndarray
    counts: np.ndarray
    classes: int

    @staticmethod
    def of_answers(labels: np.ndarray, answers: np.ndarray, classes: int) -> Confusion:
        """Counts examples by their labels and answers, which are class numbers."""
        cells, counts = np.unique(labels.astype("int64") * classes + answers, return_counts=True)
        return Confusion(cells // classes, cells % classes, counts, classes)

    @staticmethod
    def of_matrix(matrix: np.ndarray) -> Confusion:
        """Takes the cells of a matrix, by label (rows) and answer (columns)."""
        labels, answers = np.nonzero(matrix)
        return Confusion(labels, answers, matrix[labels, answers], len(matrix))

    def totals(self, by: np.ndarray) -> np.ndarray:
        """Returns the counts of each class, by label or by answer."""
        return np.bincount(by, self.counts, self.classes).astype("int64")


def by_class(confusion: Confusion, names: Sequence[str]) -> pd.DataFrame:
    """Returns the scores of each class, as scikit-learn computes them.

    Args:
        confusion: numbers of examples, or of pixels, by label and answer.
        names: the classes' names.

    Returns:
        A row per class: `class` (its number), `name`, `support` (examples with the label), `answered` (examples with
        the answer), `precision`, `recall` and `f1`. What is 0 of 0 is NaN: the precision of a class that is never
        answered, the recall of one that does not occur.
    """
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        confusion.labels,
        confusion.answers,
        labels=np.arange(confusion.classes),
        sample_weight=confusion.counts,
        zero_division=np.nan,
    )
    return pd.DataFrame(
        {
            "class": np.arange(confusion.classes),
            "name": list(names),
            "support": confusion.totals(confusion.labels),
            "answered": confusion.totals(confusion.answers),
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


def confusion_table(confusion: Confusion, names: Sequence[str]) -> pd.DataFrame:
    """Returns a confusion matrix as a table: a row per label, in the column `label`, a column per answer.

    Of more than 1,000 classes, a row per cell with a count: `label`, `answer`, `count`.
    """
    import pandas as pd

    names = unique(names)
    if confusion.classes > WHOLE:
        each = np.array(names, object)
        cells = {"label": each[confusion.labels], "answer": each[confusion.answers], "count": confusion.counts}
        return pd.DataFrame(cells)
    matrix = np.zeros((confusion.classes,) * 2, "int64")
    matrix[confusion.labels, confusion.answers] = confusion.counts
    table = pd.DataFrame(matrix, columns=names)
    table.insert(0, "label", names, allow_duplicates=True)
    return table


def matrix_of(table: pd.DataFrame) -> np.ndarray:
    """Inverse of `confusion_table`, of at most 1,000 classes."""
    return table.iloc[:, 1:].to_numpy()


def unique(names: Sequence[str]) -> list[str]:
    """Returns names of which none is twice: to those that are, the class's number is added."""
    times = Counter(names)
    return [f"{name} ({i})" if times[name] > 1 else name for i, name in enumerate(names)]


def confusions(confusion: Confusion, names: Sequence[str], most: int = 20) -> list[dict[str, Any]]:
    """Returns the most frequent confusions: `label`, `answer`, `count`, and `share` of the label's examples."""
    wrong = np.flatnonzero(confusion.labels != confusion.answers)
    order = wrong[np.argsort(-confusion.counts[wrong], kind="stable")[:most]]
    support = confusion.totals(confusion.labels)
    return [
        {
            "label": names[confusion.labels[cell]],
            "answer": names[confusion.answers[cell]],
            "count": int(confusion.counts[cell]),
            "share": float(confusion.counts[cell] / support[confusion.labels[cell]]),
        }
        for cell in order
    ]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Returns the expected calibration error (Guo et al. 2017, equation 3).

    It is the mean distance of confidence and accuracy over bins of equal width, weighted by their examples. Few
    examples make it larger.
    """
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(number, np.asarray(right, "float64") - confidence, bins)
    return float(np.abs(gaps).sum() / len(confidence))
