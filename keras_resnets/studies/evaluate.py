"""Evaluates a network: accuracy with its interval, scores of each class, confusions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.explaining import explained
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import wilson
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.segmentation.metrics import score as score_pixels
from keras_resnets.segmentation.prediction import scored
from keras_resnets.studies import scores
from keras_resnets.studies.answers import Answers, PixelAnswers, Source, Subject, answers_of, opened

if TYPE_CHECKING:
    import pandas as pd

# With more classes than this, the answer among the best five is counted, too.
FEW = 10


@explained
def evaluate(
    source: Source, data=None, *, split: str = "test", match: str = "name", verbose: bool = False, **where: Any
) -> Study:
    """Evaluates a network: its accuracy, loss, scores of each class and confusions.

    Args:
        source: a run directory, a `.keras` file, or a model: a classifier, or a network for segmentation.
        data: None for the run's own, as they were loaded for its training. The name of a set or a folder, as for
            `keras_resnets.data.load`, which is loaded in the network's size and by its own preprocessing. Or what
            `load` gave, `(x, y)` arrays, or batched `tf.data`, which are taken as they are.
        split: `"test"`, `"validation"`, `"train"`, or `"all"`, for a folder that the network was not trained on.
        match: `"name"` finds the data's classes among the network's by their names, if both are known, and refuses
            others; `"number"` takes them in their order, as many as the network's.
        verbose: whether to draw a progress bar.
        **where: for data given by name, and to find those of a run: `data_dir`, `image_size`, `download` and further
            arguments of `load`.

    Returns:
        A `Study` with one row per class: `class` (its number), `name`, `support`, `answered`, `precision`, `recall`
        with its 95 % Wilson interval, `f1`. Its summary has `accuracy` with a 95 % Wilson interval over the
        examples, `loss` (cross-entropy in nats), `top5_accuracy` where there are more than 10 classes,
        `balanced_accuracy` and `macro_f1` (means over the classes that occur), `confidence` (its mean),
        `calibration_error` (15 bins, Guo et al. 2017) and the most frequent `confusions`. Its tables are `confusion`,
        by label (rows) and answer (columns), or, of more than 1,000 classes, with a row for each pair that occurs; and
        `examples`, with the label, answer, confidence and loss of each example.

        For segmentation, `support` and `answered` are numbers of pixels, and the rows have `iou`, the intersection over
        union of the class, without intervals; the summary has `mean_iou` and the `accuracy` of pixels with 95 %
        bootstrap intervals over images, and the table `images` has both for each image.

    Raises:
        ArgumentError: an argument breaks its rule, or the network is not for these data.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet8", input_shape=(8, 8, 1))
        >>> study = kr.evaluate(model, (np.zeros((20, 8, 8, 1)), np.arange(20) % 10))
        >>> study.summary["accuracy"], len(study.rows)
        (0.1, 10)
    """
    subject = opened(source, data, split=split, match=match, **where)
    return of_answers(subject, answers_of(subject, verbose))


def of_answers(subject: Subject, answers: Answers | PixelAnswers) -> Study:
    """Returns the evaluation of a network from its answers."""
    names = subject.class_names
    summary: dict[str, Any] = {
        "model": subject.model.name,
        "data": "given" if subject.data is None else subject.data.name,
        "split": subject.split,
        "task": "segmentation" if subject.segments else "classification",
        "classes": subject.classes,
    }
    if isinstance(answers, PixelAnswers):
        return _of_pixels(summary, names, answers)

    # The classes.
    confusion = scores.Confusion.of_answers(answers.labels, answers.answers, subject.classes)
    rows = scores.with_intervals(scores.by_class(confusion, names))

    # All examples.
    count, right = len(answers.labels), answers.right
    low, high = wilson(right.mean(), count)
    summary |= {
        "examples": count,
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": float(answers.losses.mean()),
    }
    if subject.classes > FEW:
        summary["top5_accuracy"] = float((answers.ranks < 5).mean())
    summary |= {
        **scores.averages(rows),
        "confidence": float(answers.confidence.mean()),
        "calibration_error": scores.calibration_error(answers.confidence, right),
        "confusions": scores.confusions(confusion, scores.unique(names)),
        **answers.facts,
    }
    tables = {"confusion": scores.confusion_table(confusion, names), "examples": examples(answers)}
    return Study("evaluate", rows, summary, tables=tables)


def examples(answers: Answers) -> pd.DataFrame:
    """Returns a row for each example: its number from 0, label, answer, confidence and loss."""
    import pandas as pd

    columns = {name: getattr(answers, field) for name, field in _COLUMNS.items()}
    return pd.DataFrame({"example": np.arange(len(answers.labels)), **columns})


_COLUMNS = {"label": "labels", "answer": "answers", "confidence": "confidence", "loss": "losses"}


def _of_pixels(summary: dict[str, Any], names: list[str], answers: PixelAnswers) -> Study:
    """Returns the evaluation of a network for segmentation."""
    import pandas as pd

    whole, intervals = scored(answers.confusions)
    confusion = scores.Confusion.of_matrix(whole.confusion)
    rows = scores.by_class(confusion, names)
    rows["iou"] = whole.iou
    summary |= {"examples": len(answers.confusions), "pixels": int(whole.confusion.sum())}
    for name, (low, high) in intervals.items():
        summary |= {name: getattr(whole, name), f"{name}_low": low, f"{name}_high": high}
    summary |= {
        "loss": answers.loss,
        **scores.averages(rows),
        "confusions": scores.confusions(confusion, scores.unique(names)),
        **answers.facts,
    }
    each = [score_pixels(matrix) if matrix.any() else None for matrix in answers.confusions]
    images = pd.DataFrame(
        {
            "image": np.arange(len(each)),
            "pixels": answers.confusions.sum((1, 2)),
            **{
                name: [getattr(image, name) if image else np.nan for image in each] for name in ("mean_iou", "accuracy")
            },
        }
    )
    return Study(
        "evaluate", rows, summary, tables={"confusion": scores.confusion_table(confusion, names), "images": images}
    )


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: the scores by class."""
    named = study.rows.set_axis(scores.unique([str(name) for name in study.rows["name"]]))
    names = {"precision": "precision", "recall": "recall", "f1": "F1", "iou": "IoU"}
    return {f"{what}, by class": Curve(named[name], "class") for name, what in names.items() if name in named}


# With more classes, a matrix and bars are no longer readable: the figure shows the distribution and the largest.
READABLE = 30


def draw(study: Study):
    """Plots the confusion matrix and the scores of each class; of many classes, those that stand out."""
    from keras_resnets.reports import figures

    s, rows = study.summary, study.rows
    names = scores.unique([str(name) for name in rows["name"]])
    few = len(rows) <= READABLE
    figure, (left, right) = figures.panels(2, max(4.6, 2 + 0.24 * len(rows)) if few else 5.2)
    if few:
        _draw_matrix(figure, left, scores.matrix_of(study.tables["confusion"]), names)
        _draw_classes(right, rows, names)
    else:
        _draw_many(left, rows)
        _draw_confusions(right, s["confusions"])
    over = f"{s['examples']:,} {'images' if s['task'] == 'segmentation' else 'examples'}"
    place = "the given data" if s["data"] == "given" else f"{Path(s['data']).name}, {s['split']}"
    figures.finish(figure, f"{s['model']} on {place}: {_main_score(s)} over {over}", 3)
    return figure


def _main_score(s: dict[str, Any]) -> str:
    """Returns accuracy, or mean intersection over union, with its interval."""
    name = "mean_iou" if s["task"] == "segmentation" else "accuracy"
    words = "mean IoU" if name == "mean_iou" else name
    return f"{words} {s[name]:.2%} (95 % interval {100 * s[f'{name}_low']:.2f} to {100 * s[f'{name}_high']:.2f})"


def _draw_matrix(figure, axes, confusion: np.ndarray, names: list[str]) -> None:
    """Draws a confusion matrix: colours are shares of the label, numbers are counts."""
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    numbered = len(names) <= 12 and confusion.max() < 1e5
    for (i, j), count in np.ndenumerate(confusion if numbered else share):
        if count and (numbered or (i == j and len(names) <= 20)):
            text = f"{count:,}" if numbered else f"{100 * count:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if share[i, j] > 0.5 else "0.2")
    shown = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=90 if max(map(len, shown)) > 2 else 0, fontsize=8)
    axes.set_yticks(range(len(names)), shown, fontsize=8)
    axes.set(xlabel="answer", ylabel="label")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.02, label="share of the label")
    bar.formatter = lambda value, _: f"{100 * value:.0f}%"
    bar.update_ticks()


def _draw_classes(axes, rows: pd.DataFrame, names: list[str]) -> None:
    """Draws the scores of each class, one below the other."""
    from keras_resnets.reports import figures

    places = np.arange(len(rows))
    if "iou" in rows:
        axes.barh(places, rows["iou"].fillna(0), 0.6, color="#c6dbef", label="intersection over union")
        axes.plot(rows["recall"], places, "o", color=figures.OURS, ms=5, label="recall")
    else:
        reach = [(rows["recall"] - rows["recall_low"]).abs(), (rows["recall_high"] - rows["recall"]).abs()]
        axes.errorbar(
            rows["recall"],
            places,
            xerr=reach,
            fmt="o",
            ms=5,
            color=figures.OURS,
            label="recall, 95% interval",
            zorder=3,
        )
    axes.plot(rows["precision"], places, "D", ms=5, color=figures.INTACT, label="precision", zorder=4, alpha=0.8)
    axes.set_yticks(places, [f"{name} ({support:,})" for name, support in zip(names, rows["support"], strict=True)])
    axes.tick_params("y", labelsize=8)
    least = np.nanmin(rows[[name for name in ("precision", "recall", "recall_low", "iou") if name in rows]])
    axes.set(xlim=(0 if "iou" in rows else max(0, np.floor(10 * least - 0.5) / 10), 1.02), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", color="0.9")
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")


def _draw_many(axes, rows: pd.DataFrame) -> None:
    """Draws the recalls of many classes in ascending order, and names the lowest."""
    from keras_resnets.reports import figures

    ordered = rows.dropna(subset="recall").sort_values("recall", kind="stable").reset_index(drop=True)
    axes.plot(ordered.index + 1, ordered["recall"], color=figures.OURS, label="recall of a class")
    axes.plot(ordered.index + 1, ordered["precision"], ".", ms=3, color=figures.INTACT, label="its precision", zorder=1)
    lowest = "\n".join(
        f"{row.name} {row.recall:.0%}" for row in ordered.head(8)[["name", "recall"]].itertuples(index=False)
    )
    style = {"ha": "right", "fontsize": 8, "color": "0.3", "bbox": {"color": "white", "alpha": 0.8}}
    axes.text(0.98, 0.04, f"lowest recall\n{lowest}", transform=axes.transAxes, **style)
    axes.set(xlabel="classes, by recall", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")


def _draw_confusions(axes, confusions: list[dict[str, Any]]) -> None:
    """Draws the most frequent confusions as bars."""
    from keras_resnets.reports import figures

    axes.barh(range(len(confusions)), [c["count"] for c in confusions], 0.7, color=figures.OURS)
    names = [f"{c['label']} → {c['answer']}"[:44] for c in confusions]
    axes.set_yticks(range(len(confusions)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("examples of the most frequent confusions, label → answer")


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s, rows = study.summary, study.rows
    place = "the given data" if s["data"] == "given" else f"{s['data']}, split {s['split']!r}"
    kind = "images" if s["task"] == "segmentation" else "examples"
    parts = [f"loss {s['loss']:.4f}"]
    if s["task"] == "segmentation":
        parts.insert(0, f"pixel accuracy {s['accuracy']:.2%}")
    if "top5_accuracy" in s:
        parts.append(f"top-5 accuracy {s['top5_accuracy']:.2%}")
    parts.append(f"macro F1 {s['macro_f1']:.4f}")
    if "calibration_error" in s:
        parts.append(f"mean confidence {s['confidence']:.2%}, calibration error {s['calibration_error']:.2%}")
    lines = [
        f"{s['model']} on {place}: {_main_score(s)} over {s['examples']:,} {kind}",
        ", ".join(parts),
    ]
    column = "iou" if "iou" in rows else "recall"
    worst = rows.dropna(subset=column).sort_values(column, kind="stable").head(3)
    words = "intersection over union" if column == "iou" else "recall"
    lines.append(
        f"lowest {words}: "
        + ", ".join(f"{name} {score:.1%}" for name, score in zip(worst["name"], worst[column], strict=True))
    )
    if s["confusions"]:
        most = (f"{c['label']} taken for {c['answer']} ({c['count']:,})" for c in s["confusions"][:3])
        lines.append(f"most frequent confusions: {', '.join(most)}")
    return "\n".join(lines)


DRAWINGS["evaluate"] = Drawing(draw, describe, curves)
