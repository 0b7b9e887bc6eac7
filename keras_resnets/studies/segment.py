"""Deep and dilated against shallow and wide networks for segmentation: Wu et al. 2016, section 5."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from keras_resnets.architecture import budget, counting, variants
from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.segmentation import dense, score
from keras_resnets.segmentation.metrics import confusion_matrix
from keras_resnets.showing import counted
from keras_resnets.studies.arms import against, facts, over_seeds, train_arms
from keras_resnets.studies.cells import Cell
from keras_resnets.training import recipes
from keras_resnets.training.feeding import data_for

NAMES = {
    "resnet38": "ResNet-38-like",
    "resnet101": "dilated\nResNet-101-like",
    "plain": "plain FCN",
}
# The crop that the head's dilation of 12 is meant for (Wu et al. 2016's code), the side below which images count as
# small, and the width of the slim networks.
CROP, SMALL, SLIM = 504, 128, 0.0625


def segment(
    data: str | os.PathLike | Data = "scenes",
    recipe: str | recipes.Recipe | None = None,
    *,
    out: str | os.PathLike,
    macs: int | None = None,
    full: bool = False,
    output_stride: int | None = None,
    head_dilation: int | None = None,
    tolerance: float = 0.05,
    seeds: int = 3,
    epochs: int | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> Study:
    """Trains a shallow, wide network and a deep, dilated one for segmentation, at equal compute.

    Wu et al. (2016, section 5) replace the dilated ResNet-101 of the time by ResNet-38 (model A1, output stride 8, the
    head "2 conv."). Here both have that head and stride, and as much width as an equal number of multiply-adds
    allows; the proportions of widths are their own. For comparison, the study includes a plain fully
    convolutional network of eight layers at the same cost, and the constant prediction of the most frequent
    class. All networks start from random weights: the effect of pretraining on ImageNet is not measured.

    Args:
        data: as for `keras_resnets.train`, for segmentation.
        recipe: as for `keras_resnets.train`; None takes the one that fits the data.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        macs: the budget, in multiply-adds for an image of the data; None takes the cost of ResNet-38 at a sixteenth
            of its width.
        full: whether to take both networks at their full width, without a budget; this needs a suitable machine.
        output_stride: as for `Spec`; None takes the paper's 8, and 4 for images of less than 128 pixels.
        head_dilation: as for `Spec`; None takes 12 at 504 pixels and stride 8, as in the paper's code, and otherwise
            the same share of the image's shorter side.
        tolerance: allowed deviation of a network's cost from the budget, as a share of it.
        seeds: trainings of each, 2 to 16.
        epochs: as for `keras_resnets.train`.
        seed: the first seed; the others follow it.
        verbose: whether to print a line for each trained network.

    Returns:
        A `Study` with a row for every network and seed: `arm`, `parameters`, `macs`, `activations`, `mean_iou` on the
        test split after the last epoch, on whole images without flips or scales, `error` of its pixels, and the
        other columns of `keras_resnets.studies.cells.train_cells`. The summary gives means, standard deviations and
        intervals over seeds, and the differences from ResNet-38, paired by seed.

    Raises:
        ArgumentError: an argument breaks its rule, or no width meets the budget.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.segment("scenes", out="segment")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    # The data, and the networks for images of their size.
    if full and macs is not None:
        raise ArgumentError(f"macs is for the slim networks; got {macs} with full=True. Leave out one of them.")
    name = data.name if isinstance(data, Data) else str(data)
    recipe = recipes.get(recipe or recipes.default("", name, "segmentation"))
    if not isinstance(data, Data):
        data = data_for(recipe, data, "segmentation", seed=seed)
    if data.task != "segmentation":
        raise ArgumentError(f"data must have a label for each pixel; got {data.name!r} for {data.task}.")
    images = next(iter(data.test))[0].shape[1:]
    strides = {"output_stride": output_stride, "head_dilation": head_dilation}
    specs = _networks(tuple(images), data.classes, macs, full, tolerance, **strides)

    # Their trainings, and their costs as columns.
    length = recipe.total_epochs(data.steps_per_epoch) if epochs is None else epochs
    cells = [Cell({"arm": arm}, spec, recipe, length) for arm, spec in specs.items()]
    rows = train_arms(cells, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    costs = {arm: {"depth": spec.depth, **budget.costs(spec)} for arm, spec in specs.items()}
    for place, column in enumerate(costs["plain"], 2):
        rows.insert(place, column, [costs[arm][column] for arm in rows["arm"]])

    # Statistics of each network, and differences from ResNet-38.
    by_arm = {arm: rows[rows["arm"] == arm] for arm in specs}
    summary = {
        "image": list(images),
        "epochs": length,
        "first": "resnet38",
        **facts(rows, data),
        "most_frequent": _score_most_frequent(data),
        "arms": {
            arm: {**costs[arm], **over_seeds(rows_of_arm, "mean_iou", "error")} for arm, rows_of_arm in by_arm.items()
        },
        "differences": {
            arm: {column: against(by_arm[arm], by_arm["resnet38"], column) for column in ("mean_iou", "error")}
            for arm in specs
            if arm != "resnet38"
        },
    }
    return Study("segment", rows, summary)


def _networks(
    shape,
    classes: int,
    macs: int | None,
    full: bool,
    tolerance: float,
    output_stride: int | None = None,
    head_dilation: int | None = None,
) -> dict[str, Spec]:
    """Returns the specs to compare, for images of that shape."""
    # The two residual networks, with the same head and stride.
    side = min(shape[:2])
    stride = output_stride or (8 if side >= SMALL else 4)
    fields: dict[str, Any] = {"input_shape": shape, "classes": classes}
    reach = head_dilation or max(1, round(12 * side / CROP * 8 / stride))
    wide, deep = (
        dense(variants.spec(name), output_stride=stride).replace(head_dilation=reach, **fields)
        for name in ("resnet38_a1", "resnet101_v15")
    )

    # The plain network.
    stages = tuple(Stage(2, (width,), (3,), stride=2) for width in (128, 256, 512))
    plain = Spec("plain_fcn", stages, shortcut="none", head="1conv", stem_width=64, head_dilation=1, **fields)
    plain = plain.replace(output_stride=stride if stride in plain.strides else None)

    # All of them at the budget.
    if macs is None:
        slim = wide if full else wide.replace(width=SLIM, stem_width=8)
        macs = counting.count(slim).macs
    specs = {"resnet38": wide, "resnet101": deep, "plain": plain}
    if full:
        return {**specs, "plain": budget.solve(plain, "macs", macs, tolerance)}
    return {arm: budget.solve(spec, "macs", macs, tolerance) for arm, spec in specs.items()}


def _score_most_frequent(data: Data) -> dict[str, float]:
    """Returns mean IoU and accuracy, on the test split, of predicting the training split's most frequent class."""
    frequent, confusion = int(np.argmax(data.class_share())), np.zeros((data.classes, data.classes), "int64")
    for _, labels in data.test:
        labels = np.asarray(labels)
        confusion += confusion_matrix(labels, np.full_like(labels, frequent), data.classes)
    scores = score(confusion)
    return {"mean_iou": scores.mean_iou, "accuracy": scores.accuracy}


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: the mean IoU of each network."""
    means = study.rows.groupby("arm", sort=False)["mean_iou"].mean()
    return {"mean IoU of each network, mean over seeds": Curve(means, "network")}


def draw(study: Study):
    """Plots the mean IoU of each network, seed by seed, and its costs in parameters and memory."""
    from keras_resnets.reports import figures

    summary, arms = study.summary, list(study.summary["arms"])
    figure, (left, right) = figures.panels(2, 3.8)

    # Left: mean IoU.
    values = study.rows.pivot(index="seed", columns="arm", values="mean_iou")[arms]
    means = {
        arm: (stats["mean_iou_mean"], 2 * (stats["mean_iou_half_interval"],)) for arm, stats in summary["arms"].items()
    }
    figures.seeds_by_arm(left, values, means, NAMES, figures.OURS, figures.MEAN)
    left.axvline(summary["most_frequent"]["mean_iou"], color=figures.INTACT, lw=1.2, label="most frequent class")
    left.set(xlabel=f"mean IoU over {summary['examples']:,} test images", xlim=(0, None))
    left.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")

    # Right: costs, relative to the first network.
    first = summary["arms"][summary["first"]]
    measures = {"parameters": "parameters", "macs": "multiply-adds", "activations": "activations (memory)"}
    for i, (measure, name) in enumerate(measures.items()):
        shares = [stats[measure] / first[measure] for stats in summary["arms"].values()]
        places = np.arange(len(arms)) + 0.24 * (i - 1)
        right.barh(places, shares, 0.22, color=figures.COLOURS[i], label=name)
    right.set_yticks(range(len(arms)), [f"{NAMES[arm]}\n{summary['arms'][arm]['depth']} layers" for arm in arms])
    right.invert_yaxis()
    right.set_xlabel(f"relative to {NAMES[summary['first']]}")
    trained = f"{counted(summary['seeds'], 'seed')}, {counted(summary['epochs'], 'epoch')}"
    what = f"{first['macs'] / 1e6:,.0f} M multiply-adds, {trained}"
    figures.finish(figure, figures.heading(summary, what), 5)
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    lines = []
    for arm, stats in s["arms"].items():
        name = NAMES[arm].replace("\n", " ")
        line = (
            f"{name}, {stats['depth']} layers: mean IoU {stats['mean_iou_mean']:.2%} (standard deviation "
            f"{stats['mean_iou_sd']:.2%} over {counted(s['seeds'], 'seed')}), pixel accuracy "
            f"{1 - stats['error_mean']:.2%}, {stats['parameters']:,} parameters, {stats['macs']:,} multiply-adds, "
            f"{stats['activations']:,} activations"
        )
        if arm != s["first"]:
            line += f"; against {NAMES[s['first']]} {verdict(s['differences'][arm]['mean_iou'])}"
        lines.append(line)
    most = s["most_frequent"]
    lines.append(f"most frequent class everywhere: mean IoU {most['mean_iou']:.2%}, accuracy {most['accuracy']:.2%}")
    return "\n".join(lines)


DRAWINGS["segment"] = Drawing(draw, describe, curves)
