"""Formats the report of an export: a few lines for the console, and a model card in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing, Resizing
from keras_resnets.errors import ArgumentError, listed
from keras_resnets.explaining import explained
from keras_resnets.showing import counted

# How many of the most sensitive blocks `describe` names.
COSTLIEST = 3


def card_path(path: Path, suffix: str) -> Path:
    """Returns the path of an exported file's card."""
    return path.with_name(f"{path.name}.card.{suffix}")


@explained
def describe(report: dict[str, Any]) -> str:
    """Describes what was exported and how it compares with the network, in a few lines.

    Args:
        report: the report that an export returned, or the contents of its `.card.json`.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> report = kr.export.saved_model(kr.build("resnet8"), tempfile.mkdtemp() + "/net", calls=0)
        >>> "same class for 100.0% of 32 examples" in kr.export.describe(report)
        True
    """
    if "path" not in report:
        raise ArgumentError(f"report must be what a function of keras_resnets.export returned; got {report!r}.")
    lines = [
        f"{report['path']}: {report['bytes'] / 1e6:.1f} MB, largest difference of an output "
        f"{report['max_difference']:.1e}{_same_class(report, 1)} of {report['examples']} examples"
    ]
    accuracy, latency = report["accuracy"], report["latency"]
    if accuracy:
        lines.append(
            f"{accuracy['measure']} {_share(accuracy['before'])} before and {_share(accuracy['after'])} after, over "
            f"{accuracy['examples']} examples: {_loss(accuracy['lost'])}"
        )
    if latency:
        times = ", ".join(f"{_milliseconds(latency[name])} {label}" for name, label in _RUNTIMES.items())
        lines.append(f"one example takes {times}")
    if report["sensitivity"]:
        worst = report["sensitivity"][:COSTLIEST]
        errors = ", ".join(f"{row['block']} {100 * row['lost']:+.1f} points" for row in worst)
        lines.append(f"in 8 bits alone, error: {errors}")
    return "\n".join(lines)


_RUNTIMES = {
    "file": "in its own runtime",
    "tf.function": "as a tf.function of Keras",
    "predict_on_batch": "by predict_on_batch",
}


def markdown(report: dict[str, Any]) -> str:
    """Returns the report as a model card."""
    # The facts about the network, the file and the comparison, a row each; empty ones are left out.
    network, checks = report["network"], report["checks"]
    macs = f", {network['macs']:,} multiply-adds an example" if network["macs"] else ""
    blocks = f", {network['blocks']} blocks" if network["blocks"] else ""
    facts = [
        ("network", f"{network['name']}: {network['parameters']:,} parameters{macs}{blocks}"),
        ("training", _training(report.get("training"))),
        ("format", f"{report['format']}, {report['bytes']:,} bytes"),
        ("input", _end(report["input"], report["input"]["name"])),
        ("preprocessing", _preprocessing(report["preprocessing"])),
        ("pictures", _pictures(report)),
        ("classes", _classes(report.get("class_names"))),
        ("output", _end(report["output"], {"model": "as the network ends"}.get(report["output"]["kind"]))),
        (
            "agreement",
            f"largest difference of an output {report['max_difference']:.2e} ({report['relative_difference']:.2e} of "
            f"the largest){_same_class(report, 2)}, over {report['examples']} examples of "
            f"{report['compared_on']}",
        ),
        ("own precision", _own_precision(report["own_precision"])),
        ("quality", _quality(report["accuracy"])),
        ("operations", ", ".join(f"{name} {count}" for name, count in report["operators"].items())),
    ]
    if checks:
        additions = ", ".join(f"{kinds} ({count})" for kinds, count in checks["additions"].items())
        facts.append(("additions", additions or "none"))
        facts.append(("not folded behind a convolution", ", ".join(checks["unfolded"]) or "nothing"))
    versions = ", ".join(f"{name} {version}" for name, version in report["environment"]["versions"].items())
    facts += [("versions", versions), ("command", f"`{' '.join(report['environment']['command'])}`")]

    # The sections.
    parts = [f"# {Path(report['path']).name}", _table(("", ""), (fact for fact in facts if fact[1]))]
    if report["latency"]:
        parts += ["## Latency", _latency(report["latency"])]
    if report["sensitivity"]:
        parts += ["## Blocks in 8 bits", _sensitivity(report["sensitivity"])]
    return "\n\n".join(parts) + "\n"


def _training(training: dict[str, Any] | None) -> str:
    """Returns how the network was trained; early reports do not say it."""
    if training is None:
        return ""
    count = training["epochs"]
    epochs = f"{counted(count, 'epoch')} of " if count else ""
    seed = "" if training["seed"] is None else f", seed {training['seed']}"
    executed = f"; on {training['execution']}" if training["execution"] else ""
    return f"{epochs}the recipe {training['recipe']} on {training['data']}{seed}{executed}"


def _end(end: dict[str, Any], name: str | None) -> str:
    shape = " x ".join("any" if side is None else str(side) for side in end["shape"])
    text = f"{end['dtype']}, {shape}; seen from {end['range'][0]:.4g} to {end['range'][1]:.4g}"
    text = f"{name}: {text}" if name else text
    scale = end["quantisation"]
    return f"{text}; value = {scale['scale']:.6g} x (number - {scale['zero_point']})" if scale else text


def _preprocessing(preprocessing: dict[str, Any] | None) -> str:
    if preprocessing is None:
        return "not known"
    steps = Preprocessing.from_dict(preprocessing)
    mean, std = (_numbers(values) for values in (steps.mean, steps.std))
    order = f"{steps.channels.upper()} " if np.shape(steps.mean)[-1] == 3 else ""
    formula = f"({order}pixels - [{mean}]) / [{std}]"
    return f"inside: {formula}" if preprocessing["inside"] else f"expected of whoever calls: {formula}"


def _pictures(report: dict[str, Any]) -> str:
    """Returns how pictures of any size become inputs; early reports do not say it."""
    preprocessing = report["preprocessing"] or {}
    resizing, size = preprocessing.get("resizing"), report["input"]["shape"][1:3]
    size = (resizing and resizing["size"]) or size
    if not resizing or None in size:
        return ""
    steps = Resizing(**resizing)
    to = " x ".join(map(str, size))
    how = f"stretched to {to}" if steps.stretch else f"of which the central {to} is kept"
    if not steps.stretch:
        how = f"scaled to cover {' x '.join(map(str, steps.enlarged(tuple(size))))}, {how}"
    white = preprocessing.get("white", 255.0)
    scale = f", times {white:g} / 255" if white not in (None, 255) else ""
    grey = ", in grey" if report["input"]["shape"][3] == 1 else ""
    served = [name for name in report.get("signatures") or () if name != "serving_default"]
    by = f"; done by {' and '.join(served)}" if served else "; expected of whoever calls"
    return f"{how} ({steps.interpolation}, smoothed against aliasing){grey}{scale}{by}"


def _classes(names: list[str] | None) -> str:
    return "" if names is None else f"{len(names)}: {listed(names)}"


def _numbers(values) -> str:
    if np.ndim(values) > 1:
        return f"the mean image of {' x '.join(map(str, np.shape(values)))} in the card's JSON"
    return ", ".join(f"{value:g}" for value in values)


def _own_precision(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    return (
        f"beside the network as it is, {comparison['precision']}: largest difference "
        f"{comparison['max_difference']:.2e}{_same_class(comparison, 2)}"
    )


def _same_class(comparison: dict[str, Any], digits: int) -> str:
    """Returns the share of equal answers, or nothing for a network that does not answer with a class."""
    share = comparison["agreement"]
    return "" if share is None else f", same class for {share:.{digits}%}"


def _quality(accuracy: dict[str, Any] | None) -> str:
    if accuracy is None:
        return "not measured: no labelled data were given"
    return (
        f"{accuracy['measure']} {_share(accuracy['before'], True)} before, {_share(accuracy['after'], True)} after, "
        f"over {accuracy['examples']} examples; {_loss(accuracy['lost'])}"
    )


def _loss(lost: float) -> str:
    if lost <= 0:
        return "nothing is lost"
    return f"{100 * lost:.2f} points are lost, {'no more' if lost <= 0.01 else 'and that is more'} than one"


def _share(measured: dict[str, float], interval: bool = False) -> str:
    share = f"{measured['value']:.2%}"
    return f"{share} (95 % interval {measured['low']:.2%} to {measured['high']:.2%})" if interval else share


def _milliseconds(times: dict[str, float]) -> str:
    return f"{1000 * times['median']:.3g} ms"


def _latency(latency: dict[str, Any]) -> str:
    rows = []
    for name, label in _RUNTIMES.items():
        times = latency[name]
        quartiles = f"{1000 * times['low']:.3g} to {1000 * times['high']:.3g} ms"
        rows.append((label, _milliseconds(times), quartiles, str(times["threads"] or "all")))
    setting = f"Batches of {latency['batch']}, {latency['calls']} calls each, on {latency['processor']}."
    return f"{setting}\n\n{_table(('one call', 'median', 'quartiles', 'threads'), rows)}"


def _sensitivity(rows: list[dict[str, Any]]) -> str:
    setting = (
        "Each alone rounded to 8 bits, as simulated by `keras_resnets.export.sensitivity`, the others as they are."
    )
    cells = (
        (
            row["block"],
            f"{row['error']:.2%}",
            f"{100 * row['lost']:+.2f}",
            f"{row['loss']:.4g}",
            f"{row['agreement']:.2%}",
        )
        for row in rows
    )
    return f"{setting}\n\n{_table(('block', 'error', 'points lost', 'loss', 'same class'), cells)}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *map(tuple, rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
