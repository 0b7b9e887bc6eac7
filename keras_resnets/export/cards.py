"""The report of an export in words: one line for the console, and a model card in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Blocks that a line and a card name.
COSTLIEST = 3


def beside(path: Path, suffix: str) -> Path:
    """Where the card of an exported file stands."""
    return path.with_name(f"{path.name}.card.{suffix}")


def describe(report: dict[str, Any]) -> str:
    """What was written and how it agrees, in a few lines.

    Args:
        report: what an export returned, or the contents of its `.card.json`.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> report = kr.export.saved_model(kr.build("resnet8"), tempfile.mkdtemp() + "/net", calls=0)
        >>> "same class for 100.0% of 32 examples" in kr.export.describe(report)
        True
    """
    lines = [
        f"{report['path']}: {report['bytes'] / 1e6:.1f} MB, largest difference of an output "
        f"{report['max_difference']:.1e}, same class for {report['agreement']:.1%} of {report['examples']} examples"
    ]
    accuracy, latency = report["accuracy"], report["latency"]
    if accuracy:
        lines.append(
            f"{accuracy['measure']} {_share(accuracy['before'])} before and {_share(accuracy['after'])} after, over "
            f"{accuracy['examples']} examples: {_lost(accuracy['lost'])}"
        )
    if latency:
        told = ", ".join(f"{_milliseconds(latency[name])} {label}" for name, label in _CALLED.items())
        lines.append(f"one example takes {told}")
    if report["sensitivity"]:
        worst = report["sensitivity"][:COSTLIEST]
        told = ", ".join(f"{row['block']} {100 * row['lost']:+.1f} points" for row in worst)
        lines.append(f"in 8 bits alone, error: {told}")
    return "\n".join(lines)


_CALLED = {
    "file": "in its own runtime",
    "tf.function": "as a tf.function of Keras",
    "predict_on_batch": "by predict_on_batch",
}


def markdown(report: dict[str, Any]) -> str:
    """The report as a model card."""
    network, checks = report["network"], report["checks"]
    macs = f", {network['macs']:,} multiply-adds an example" if network["macs"] else ""
    blocks = f", {network['blocks']} blocks" if network["blocks"] else ""
    facts = [
        ("network", f"{network['name']}: {network['parameters']:,} parameters{macs}{blocks}"),
        ("format", f"{report['format']}, {report['bytes']:,} bytes"),
        ("input", _end(report["input"], report["input"]["name"])),
        ("preprocessing", _preprocessing(report["preprocessing"])),
        ("output", _end(report["output"], {"model": "as the network ends"}.get(report["output"]["kind"]))),
        (
            "agreement",
            f"largest difference of an output {report['max_difference']:.2e} ({report['relative_difference']:.2e} of "
            f"the largest), same class for {report['agreement']:.2%}, over {report['examples']} examples of "
            f"{report['compared_on']}",
        ),
        ("own precision", _own(report["own_precision"])),
        ("quality", _quality(report["accuracy"])),
        ("operations", ", ".join(f"{name} {count}" for name, count in report["operators"].items())),
    ]
    if checks:
        additions = ", ".join(f"{kinds} ({count})" for kinds, count in checks["additions"].items())
        facts.append(("additions", additions or "none"))
        facts.append(("not folded behind a convolution", ", ".join(checks["unfolded"]) or "nothing"))
    versions = ", ".join(f"{name} {version}" for name, version in report["environment"]["versions"].items())
    facts += [("versions", versions), ("command", f"`{' '.join(report['environment']['command'])}`")]
    parts = [f"# {Path(report['path']).name}", _table(("", ""), (fact for fact in facts if fact[1]))]
    if report["latency"]:
        parts += ["## Latency", _latency(report["latency"])]
    if report["sensitivity"]:
        parts += ["## Blocks in 8 bits", _sensitivity(report["sensitivity"])]
    return "\n\n".join(parts) + "\n"


def _end(end: dict[str, Any], name: str | None) -> str:
    shape = " x ".join("any" if side is None else str(side) for side in end["shape"])
    told = f"{end['dtype']}, {shape}; seen from {end['range'][0]:.4g} to {end['range'][1]:.4g}"
    told = f"{name}: {told}" if name else told
    scale = end["quantisation"]
    return f"{told}; value = {scale['scale']:.6g} x (number - {scale['zero_point']})" if scale else told


def _preprocessing(known: dict[str, Any] | None) -> str:
    if known is None:
        return "not known"
    mean, std = (", ".join(f"{value:g}" for value in known[name]) for name in ("mean", "std"))
    order = f"{known['channels'].upper()} " if len(known["mean"]) == 3 else ""
    done = f"({order}pixels - [{mean}]) / [{std}]"
    return f"inside: {done}" if known["inside"] else f"expected of whoever calls: {done}"


def _own(own: dict[str, Any] | None) -> str:
    if own is None:
        return ""
    return (
        f"beside the network as it is, {own['precision']}: largest difference {own['max_difference']:.2e}, same class "
        f"for {own['agreement']:.2%}"
    )


def _quality(accuracy: dict[str, Any] | None) -> str:
    if accuracy is None:
        return "not measured: no labelled data were given"
    return (
        f"{accuracy['measure']} {_share(accuracy['before'], True)} before, {_share(accuracy['after'], True)} after, "
        f"over {accuracy['examples']} examples; {_lost(accuracy['lost'])}"
    )


def _lost(lost: float) -> str:
    if lost <= 0:
        return "nothing is lost"
    return f"{100 * lost:.2f} points are lost, {'no more' if lost <= 0.01 else 'and that is more'} than one"


def _share(measured: dict[str, float], interval: bool = False) -> str:
    told = f"{measured['value']:.2%}"
    return f"{told} (95 % interval {measured['low']:.2%} to {measured['high']:.2%})" if interval else told


def _milliseconds(taken: dict[str, float]) -> str:
    return f"{1000 * taken['median']:.3g} ms"


def _latency(latency: dict[str, Any]) -> str:
    rows = []
    for name, label in _CALLED.items():
        found = latency[name]
        quartiles = f"{1000 * found['low']:.3g} to {1000 * found['high']:.3g} ms"
        rows.append((label, _milliseconds(found), quartiles, str(found["threads"] or "all")))
    told = f"Batches of {latency['batch']}, {latency['calls']} calls each, on {latency['processor']}."
    return f"{told}\n\n{_table(('one call', 'median', 'quartiles', 'threads'), rows)}"


def _sensitivity(rows: list[dict[str, Any]]) -> str:
    told = "Each alone rounded to 8 bits, as simulated by `keras_resnets.export.sensitivity`, the others as they are."
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
    return f"{told}\n\n{_table(('block', 'error', 'points lost', 'loss', 'same class'), cells)}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *map(tuple, rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
