"""The subcommand `compare`: which of several networks is better, and what it costs."""

from __future__ import annotations

import sys

import click

from keras_resnets.commands import console


@click.command()
@click.argument("runs", nargs=-1, required=True)
@console.data_options
@console.split
@console.match
@click.option("--timed", default=30, show_default=True, help="Calls of each network to time; 0 for none.")
@click.option("--json", "as_json", is_flag=True, help="Print the tables as JSON, and nothing else.")
@console.out
def compare(runs, data, data_dir, image_size, download, split, match, timed, as_json, out) -> None:
    """Compare RUNS, two or more run directories or .keras files: accuracy, curves, parameters, latency.

    Networks that are measured on the same images are compared image by image. Runs that differ in nothing but the seed
    are summarised with their spread. Each run brings its data along; other sources need --data.
    """
    console.start()
    from keras_resnets.reports.study import Study, describe
    from keras_resnets.runs import to_json, usable
    from keras_resnets.studies.compare import compare as measure

    Study.check_folder(out, ("pairs", "curves", "recipes", "recipe_pairs", "settings"))
    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    quiet = as_json or not sys.stderr.isatty()
    with usable(out):
        study = measure(
            [console.network_of(run, image_size) for run in runs],
            data,
            split=split,
            match=match,
            timed=timed,
            verbose=not quiet,
            **where,
        )
        written = study.save(out)
    if as_json:
        tables = {name: table.to_dict("records") for name, table in {"rows": study.rows, **study.tables}.items()}
        click.echo(to_json({"summary": study.summary, **tables, "environment": study.environment}), nl=False)
        return
    console.print_written(written)
    click.echo(describe(study))
