"""The subcommand `evaluate`: how good a network is, over all and by class."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from keras_resnets.commands import console


@click.command()
@click.argument("source")
@console.data_options
@console.split
@console.match
@click.option("--json", "as_json", is_flag=True, help="Print summary and classes as JSON, and nothing else.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; by default in the run directory.")
def evaluate(source, data, data_dir, image_size, download, split, match, as_json, out) -> None:
    """Evaluate SOURCE, a run directory or a .keras file: accuracy, scores of each class, confusions.

    A run directory brings its data along; other sources need --data. Data given by name are brought to the network's
    size and prepared as it needs them.
    """
    if data is None and not Path(source).is_dir():
        raise click.UsageError("--data is needed unless SOURCE is a run directory.")
    console.start()
    from keras_resnets.reports.study import Study, describe
    from keras_resnets.runs import to_json, usable
    from keras_resnets.studies.evaluate import evaluate as run

    if out is None and data is None:
        out = Path(source) / "studies" / ("evaluate" if split == "test" else f"evaluate_{split}")
    if out is not None:
        Study.check_folder(out, ("confusion", "examples", "images"))
    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    study = run(
        console.network_of(source, image_size),
        data,
        split=split,
        match=match,
        verbose=sys.stderr.isatty() and not as_json,
        **where,
    )
    if out is not None:
        with usable(out):
            written = study.save(out)
        if not as_json:
            console.print_written(written)
    if as_json:
        classes = study.rows.to_dict("records")
        click.echo(to_json({"summary": study.summary, "classes": classes, "environment": study.environment}), nl=False)
        return
    _print_classes(study.rows)
    click.echo(describe(study))


def _print_classes(rows) -> None:
    """Prints a table of the classes; of many, those with the lowest scores."""
    from rich.console import Console
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
    if len(shown) < len(rows):
        click.echo(f"the {len(shown)} of {len(rows)} classes with the lowest {score[1]}:")
    Console().print(table)
