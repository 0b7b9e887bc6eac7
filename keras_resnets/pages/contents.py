"""From what a folder holds to the sections of a page."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import Any

from keras_resnets import studies as experiments
from keras_resnets.pages import blocks, curves, parts
from keras_resnets.pages import images as pictures
from keras_resnets.pages.parts import Section
from keras_resnets.pages.reading import Found, entries, told
from keras_resnets.pages.words import COLUMNS
from keras_resnets.reports import Study, describe
from keras_resnets.reports.statistics import wilson
from keras_resnets.runs import to_json
from keras_resnets.showing import counted

# Of the studies that no function of `studies` makes.
_LEADS = {
    "search": "Searches depth against width, and further choices, at an equal budget.",
    "prune": "Drops the residual branches that cost least, one after the other.",
}
# A line of words in columns.
_COLUMNS = re.compile(r"\S {2,}\S")
_KINDS = {"run": "Run", "search": "Search", "study": "Study", "cells": "Trainings of a study", "unfinished": "Study"}


def section(found: Found, is_open: bool = True, images: bool = True) -> Section:
    """Returns the section of one folder, with its studies as sections inside it.

    Args:
        found: what the folder holds.
        is_open: whether it is shown without being asked for.
        images: whether to read sample images from the data of a run.
    """
    notes: list[str] = []
    made = told(notes, f"What stands in {found.name}", lambda: _section(found, is_open, images))
    return made or Section(_title(found), notes=found.notes + notes, is_open=is_open)


def _section(found: Found, is_open: bool, images: bool) -> Section:
    made = Section(_title(found), notes=list(found.notes), is_open=is_open)
    if found.kind in ("run", "search", "cells"):
        made.command = command(found.record)
        made.lead = _asked(found)
    if found.kind == "run":
        made.verdict = told(made.notes, f"The result of {found.name}", lambda: _verdict(found)) or []
        _add_curves(made, found)

    # The studies: of the folder itself, then those in it, then the table that joins them.
    if found.study is not None:
        own = of_study(found.study, found)
        if found.kind == "study":
            own.notes = made.notes + own.notes
            return own
        made.sections.append(own)
    for inner in found.studies:
        made.sections.append(section(inner, images=images))
        if images and found.kind == "run" and inner.study is not None and inner.study.name == "evaluate":
            shown = told(made.notes, "Sample images", lambda inner=inner: pictures.samples(found, inner))  # type: ignore[misc]
            made.sections += [shown] if shown else []
    loaded = [inner.study for inner in found.studies if inner.study is not None]
    table = told(made.notes, "The table of blocks", lambda: blocks.joined(loaded))
    if table is not None:
        joined = parts.table(table, "Each block, by all studies", "blocks.csv", COLUMNS)
        lead = "What the studies of this network found of each of its blocks. A heading sorts the table."
        made.sections.insert(0, Section("Block by block", lead, tables=[joined]))
    if found.trainings:
        made.sections.append(comparison(found.trainings, "Trainings"))
    if found.kind == "run" and found.results and "recipe" in found.asked:
        made.hint = _more(found)
    if found.record:
        made.sections.append(_settings(found))
    return made


def of_study(study: Study, found: Found) -> Section:
    """Returns the section of a study: what it is, what it found, its figure and its tables."""
    is_other = found.kind == "study" and found.path.name != study.name  # one of several of its kind
    title = f"Study: {study.name}{f', {found.path.name}' if is_other else ''}"
    made = Section(title, command=command(study.environment))
    function = getattr(experiments, study.name, None)
    made.lead = _LEADS.get(study.name, "")
    if not made.lead and inspect.isfunction(function):
        made.lead = (function.__doc__ or "").strip().split("\n")[0].replace("`", "")
    text = told(made.notes, f"The verdict of {study.name}", lambda: describe(study))
    lines = [line.rstrip() for line in (text or "").splitlines() if line.strip()]
    made.aligned = [line for line in lines if _COLUMNS.search(line)]
    made.verdict = [line.strip() for line in lines if not _COLUMNS.search(line)]
    figure = told(made.notes, f"The figure of {study.name}", lambda: parts.drawn(study.figure(), study.name))
    svg = found.path / "figure.svg"
    if figure is None and svg.is_file():
        figure = told(made.notes, f"The saved figure of {study.name}", lambda: parts.saved(svg, study.name))
    made.figures = [figure] if figure else []

    # Tables: the few rows of some studies are read, the many of others are looked up.
    for name, frame in {"rows": study.rows, **study.tables}.items():
        caption = f"{study.name}: {'rows' if name == 'rows' else name.replace('_', ' ')}"
        file = f"{study.name}_{name}.csv"
        is_open = name == "rows" and len(frame) <= 12
        shown = told(
            made.notes,
            f"The table {name}",
            lambda frame=frame, caption=caption, file=file, is_open=is_open: parts.table(  # type: ignore[misc]
                frame, caption, file, COLUMNS, is_open
            ),
        )
        made.tables += [shown] if shown else []
    made.facts = [*_facts(entries(study.summary)), *provenance(study.environment)]
    return made


def comparison(runs: list[Found], title: str = "Side by side") -> Section:
    """Returns a table of trainings with their curves: network, data, recipe, result with its interval."""
    import pandas as pd

    made = Section(title)
    rows = told(made.notes, "The table of runs", lambda: pd.DataFrame([_row(run) for run in runs]))
    if rows is None:
        return made
    rows = rows.dropna(axis="columns", how="all")
    made.tables.append(parts.table(rows, f"{len(runs)} trainings", "runs.csv", COLUMNS))
    if "test accuracy" in rows:
        scored = rows.dropna(subset="test accuracy")
        given = {"test accuracy": "accuracy", "accuracy_low": "low", "accuracy_high": "high"}
        same = _one(scored, "data") and _one(scored, "test examples")
        made.lead = _compared(scored, same)
        if 2 <= len(scored) <= 60:
            chosen = scored.rename(columns=given)
            over = f" on {scored['data'].iloc[0]}" if same and "data" in scored else ""
            name = f"Test accuracy of {len(scored)} trainings{over}"
            figure = told(
                made.notes,
                "The figure of results",
                lambda: parts.drawn(curves.of_results(chosen, name), "test_accuracy"),
            )
            made.figures += [figure] if figure else []
    _add_several(made, runs)
    return made


def _add_several(made: Section, runs: list[Found]) -> None:
    """Adds the curves of trainings on the same data; the others are told."""
    by_data: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.history is not None:
            by_data.setdefault(str(entries(run.asked.get("data")).get("name")), {})[run.name] = run.history
    if not by_data:
        return
    data = max(by_data, key=lambda name: len(by_data[name]))
    histories = by_data.pop(data)
    title = f"Validation by epoch, {len(histories)} trainings on {data}"
    several = told(made.notes, "The figure of curves", lambda: curves.of_several(histories, title))
    if several is not None:
        made.figures.append(parts.drawn(several, "curves"))
        others = [name for names in by_data.values() for name in names]
        if others:
            made.notes.append(f"The curves leave out what was trained on other data: {', '.join(others)}.")


def _compared(scored: Any, same: bool) -> str:
    """Says which training is best, and whether the order means something."""
    if len(scored) < 2:
        return ""
    if not same:
        return "These trainings were tested on different data, so that their accuracies do not compare."
    best = scored.loc[scored["test accuracy"].idxmax()]
    others, apart = len(scored) - 1, int((scored["accuracy_high"] < best["accuracy_low"]).sum())
    which = (
        "none of the others lies"
        if not apart
        else "all others lie"
        if apart == others
        else f"{apart} of the {others} others lie"
    )
    return (
        f"{best['run']} answers most test examples rightly: {parts.number(best['test accuracy'], 'accuracy')}. By "
        f"their intervals, {which} wholly below it; keras-resnets compare tells networks apart by the same examples."
    )


def _one(rows: Any, column: str) -> bool:
    return column not in rows or rows[column].nunique(dropna=False) == 1


def _row(run: Found) -> dict[str, Any]:
    """Returns a training as a row of the table of trainings."""
    asked, results = run.asked, run.results
    row: dict[str, Any] = {
        "run": run.name,
        "network": network_of(run),
        "state": "finished" if results else "not finished",
    }
    if isinstance(results.get("test_accuracy"), float) and isinstance(results.get("test_examples"), int):
        low, high = wilson(results["test_accuracy"], results["test_examples"])
        row |= {"test accuracy": results["test_accuracy"], "accuracy_low": low, "accuracy_high": high}
        row |= {"test examples": results["test_examples"]}
    row |= {"test mean IoU": results.get("test_mean_iou"), "test loss": results.get("test_loss")}
    if run.history is not None and "val_accuracy" in run.history:
        row["validation accuracy"] = float(run.history["val_accuracy"].max())
    row["epochs"] = results.get("epochs", None if run.history is None else len(run.history))
    row |= {"best_epoch": results.get("best_epoch"), "seed": asked.get("seed")}
    row |= {name: entries(asked.get(name)).get("name") for name in ("data", "recipe")}
    if run.history is not None and "seconds" in run.history:
        row["seconds"] = float(run.history["seconds"].sum())
    return row


def network_of(found: Found) -> str | None:
    """Returns the name of a run's network."""
    spec = entries(found.asked.get("spec"))
    name = spec.get("name") or found.asked.get("network")
    return str(name) if name else None


def command(record: dict[str, Any]) -> str:
    """Returns the command line in a record as it would be typed; "" if it has none."""
    words = record.get("command")
    if not isinstance(words, list) or not words:
        return ""
    text = [str(word) for word in words]
    start = ["python", "-m", "keras_resnets"] if text[0] == "__main__.py" else text[:1]
    return shlex.join([*start, *text[1:]])


def provenance(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns what a result depends on besides its settings: versions, backend, machine."""
    versions = entries(record.get("versions"))
    facts = [("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))]
    facts += [("backend", str(record.get("backend") or "")), ("Python", str(record.get("python") or ""))]
    results = entries(record.get("results"))
    facts += [(name, str(results.get(name) or "")) for name in ("hardware", "precision")]
    return [(name, text) for name, text in facts if text]


def _title(found: Found) -> str:
    return f"{_KINDS[found.kind]} {found.name}"


def _asked(found: Found) -> str:
    """Says in a sentence what was asked."""
    asked, network = found.asked, network_of(found)
    data, recipe = entries(asked.get("data")).get("name"), entries(asked.get("recipe"))
    if "space" in asked:
        space = entries(asked["space"])
        budget = next((f"{space[name]:,} {name}" for name in ("parameters", "macs") if space.get(name)), "a budget")
        return (
            f"The networks of {budget} that differ from {entries(space.get('network')).get('name')} in depth, width "
            f"and the choices below were searched on {space.get('data')} with the oracle {asked.get('oracle')}, in "
            f"{counted(asked.get('trials'), 'trial')}."
        )
    if "prune" in asked:
        return f"Residual branches of {network} were dropped, and what is left measured on {data}."
    if not network:
        return ""
    text = f"{network} was trained on {data}" if data else f"{network} was trained"
    if recipe:
        text += f" by the recipe {recipe.get('name')}"
        text += f", {counted(recipe['epochs'], 'epoch')}" if recipe.get("epochs") else ""
        text += f" in batches of {recipe['batch_size']}" if recipe.get("batch_size") else ""
    return f"{text}, with seed {asked.get('seed')}."


def _more(found: Found) -> str:
    """Names the commands that would add to the page of a finished training."""
    there = {inner.study.name for inner in found.studies if inner.study is not None}
    place = shlex.quote(str(found.path))
    wanted = {"evaluate": f"keras-resnets evaluate {place}"}
    wanted |= {name: f"keras-resnets study {name} {place}" for name in blocks.JOINED}
    return "; ".join(text for name, text in wanted.items() if name not in there)


def _verdict(found: Found) -> list[str]:
    """Says in sentences what a training came to."""
    results, said = found.results, []
    if isinstance(results.get("test_accuracy"), float) and isinstance(results.get("test_examples"), int):
        share, count = results["test_accuracy"], results["test_examples"]
        low, high = wilson(share, count)
        what = "Of the pixels of" if "test_mean_iou" in results else "Of"
        interval = "" if "test_mean_iou" in results else f" (95 % interval {100 * low:.2f} to {100 * high:.2f})"
        said.append(f"{what} {count:,} test examples it answers {100 * share:.2f} %{interval} rightly.")
    if results.get("test_mean_iou") is not None:
        said.append(f"Its mean intersection over union on the test split is {100 * results['test_mean_iou']:.2f} %.")
    if results.get("epochs"):
        best = results.get("best_epoch")
        kept = "that network is kept" if results.get("network_of") == "best_epoch" else "the last one's network is kept"
        text = f"It was trained for {counted(results['epochs'], 'epoch')}"
        said.append(f"{text}; validation was best after epoch {best}, and {kept}." if best else f"{text}.")
    if results.get("diverged"):
        said.append(f"The training diverged: its loss is not finite from epoch {results['diverged']['epoch']} on.")
    if results.get("dropped") is not None and "prune" in found.asked:
        said.append(f"{counted(results['dropped'], 'block')} {'was' if results['dropped'] == 1 else 'were'} dropped.")
    if not results and found.history is not None and len(found.history):
        last = found.history.iloc[-1]
        total = entries(found.asked.get("recipe")).get("epochs")
        seen = int(last["epoch"])
        text = f"So far it has seen {f'{seen} of ' if total else ''}{counted(total or seen, 'epoch')}"
        score = f"val_{curves.score_of(found.history)}"
        words = score.removeprefix("val_").replace("_iou", " intersection over union")
        said.append(f"{text}; in validation its {words} is {100 * last[score]:.2f} %." if score in last else f"{text}.")
    return said


def _add_curves(made: Section, found: Found) -> None:
    """Adds the curves of a training, and its table of epochs."""
    history = found.history
    if history is None or not len(history):
        return
    title = f"{network_of(found) or found.name}: training and validation by epoch"
    best = found.results.get("best_epoch")
    figure = told(
        made.notes,
        f"The curves of {found.name}",
        lambda: parts.drawn(curves.of_training(history, title, best), "training_curves"),
    )
    made.figures += [figure] if figure else []
    table = parts.table(history, f"Epochs of {found.name}", "history.csv", COLUMNS, is_open=False)
    made.tables.append(table)


def _facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the single values of a study's summary."""
    plain = {name: value for name, value in summary.items() if isinstance(value, str | int | float)}
    return [(name.replace("_", " "), parts.number(value, name)) for name, value in plain.items()]


def _settings(found: Found) -> Section:
    """Returns the settings, data and versions of a run, with all of its record to download."""
    made = Section("Settings and provenance", is_open=False)
    asked = found.asked
    groups = {name: entries(asked.get(name)) for name in ("data", "recipe", "prune", "space")}
    made.facts = provenance(found.record)
    made.facts += [
        ("results: " + name.replace("_", " "), parts.number(value, name)) for name, value in found.results.items()
    ]
    for group, values in groups.items():
        for name, value in values.items():
            if value not in (None, "", [], {}) and name != "network":
                text = parts.number(value, name) if not isinstance(value, dict | list) else to_json(value, None).strip()
                made.facts.append((f"{group}: {name.replace('_', ' ')}", text))
    names = entries(found.record.get("carries")).get("class_names")
    made.facts += [("class names", ", ".join(map(str, names)))] if isinstance(names, list) else []
    made.facts += [("seed", str(asked["seed"]))] if "seed" in asked else []
    record = parts.address(to_json(found.record), "application/json")
    made.tables.append(parts.Table("The whole record, with the network's spec", [], [], 0, record, "run.json", False))
    return made
