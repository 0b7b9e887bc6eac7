"""The subcommand `evaluate`: how good a network is, over all and by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output


@click.command(short_help="Measure accuracy, of each class, and confusions.")
@click.argument("source", shell_complete=names.weights)
@console.data_options
@console.split
@console.match
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; by default in the run directory.")
@output.printing
def evaluate(source, data, data_dir, image_size, download, split, match, out, say: Output) -> None:
    """Evaluate SOURCE, a run directory or a .keras file: accuracy, scores of each class, confusions.

    A run directory brings its data along; other sources need --data. Data given by name are brought to the network's
    size and prepared as it needs them.
    """
    if data is None and not Path(source).is_dir():
        raise click.UsageError("--data is needed unless SOURCE is a run directory.")
    from keras_resnets.reports.study import Study, describe
    from keras_resnets.runs import usable

    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    checks.source(source)
    checks.data(data, run=source, **where)
    if out is None and data is None:
        out = Path(source) / "studies" / ("evaluate" if split == "test" else f"evaluate_{split}")
    if out is not None:
        Study.check_folder(out, ("confusion", "examples", "images"))
        checks.out(out)

    console.start()
    from keras_resnets.studies.evaluate import evaluate as run

    study = run(
        console.network_of(source, image_size),
        data,
        split=split,
        match=match,
        verbose=say.verbose,
        **where,
    )
    if out is not None:
        with usable(out):
            say.written(study.save(out))
    document = output.of_study(study)
    document = {"summary": document["summary"], "classes": document["rows"], "environment": document["environment"]}
    say.result(document, *_classes(study.rows), describe(study))


def _classes(rows) -> list[Any]:
    """Returns a table of the classes; of many, those with the lowest scores, and a line that says so."""
    from rich.table import Table

    score, most = ("iou", "IoU") if "iou" in rows else ("recall", "recall"), 30
    shown = rows if len(rows) <= most else rows.sort_values(score[0], kind="stable").head(most)
    columns = [("precision", "precision"), ("recall", "recall"), ("f1", "F1")]
    columns += [score] if score[0] == "iou" else []
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("class")
    for column in ("support", *(title for _, title in columns)):
        table.add_column(column, justify="right")
    for _, row in shown.iterrows():
        table.add_row(str(row["name"]), f"{row['support']:,}", *(f"{row[name]:.3f}" for name, _ in columns))
    few = [f"the {len(shown)} of {len(rows)} classes with the lowest {score[1]}:"] if len(shown) < len(rows) else []
    return [*few, table]
