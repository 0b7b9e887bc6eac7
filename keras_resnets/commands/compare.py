"""The subcommand `compare`: which of several networks is better, and what it costs."""

from __future__ import annotations

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole


@click.command(short_help="Compare networks: accuracy, parameters, latency.")
@click.argument("runs", nargs=-1, required=True, shell_complete=names.weights)
@console.data_options
@console.split
@console.match
@click.option(
    "--timed", type=Whole(0), default=30, show_default=True, help="Calls of each network to time; 0 for none."
)
@console.out
@output.printing
def compare(runs, data, data_dir, image_size, download, split, match, timed, out, say: Output) -> None:
    """Compare RUNS, two or more run directories or .keras files: accuracy, curves, parameters, latency.

    Networks that are measured on the same images are compared image by image. Runs that differ in nothing but the seed
    are summarised with their spread. Each run brings its data along; other sources need --data.
    """
    from keras_resnets.reports.study import Study, describe
    from keras_resnets.runs import usable

    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    if len(runs) < 2:
        raise click.UsageError("RUNS must be two or more networks; got 1.")
    for run in runs:
        checks.source(run)
    checks.data(data, run=runs[0], **where)
    Study.check_folder(out, ("pairs", "curves", "recipes", "recipe_pairs", "settings"))
    checks.out(out)

    console.start()
    from keras_resnets.studies.compare import compare as measure

    with usable(out):
        study = measure(
            [console.network_of(run, image_size) for run in runs],
            data,
            split=split,
            match=match,
            timed=timed,
            verbose=say.verbose,
            **where,
        )
        say.written(study.save(out))
    say.result(output.of_study(study), describe(study))
