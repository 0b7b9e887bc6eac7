"""The subcommand `prune`: drops the blocks of a network that cost least."""

from __future__ import annotations

from pathlib import Path

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole


@click.command(short_help="Drop the blocks that cost least, and fine-tune.")
@click.argument("source", shell_complete=names.weights)
@console.data_options
@click.option("--blocks", type=Whole(), help="Number of blocks to drop.")
@click.option("--share", type=float, help="Share of the blocks to drop, instead.")
@click.option("--tolerance", type=float, help="Drop until the error rises by more than this, such as 0.005, instead.")
@click.option(
    "--method",
    type=click.Choice(["greedy", "one_shot"]),
    default="greedy",
    show_default=True,
    help="Measure again after each drop, or only once.",
)
@click.option("--keep", multiple=True, metavar="BLOCK", help="A block that must stay.")
@click.option("--examples", type=Whole(), help="Choose the blocks on at most this many examples.")
@click.option(
    "--recalibrate/--no-recalibrate", default=True, show_default=True, help="Recompute batch-norm statistics."
)
@click.option("--fine-tune", type=Whole(0), default=0, metavar="EPOCHS", help="Fine-tune at the end.")
@click.option("--control/--no-control", default=False, help="Fine-tune the whole network in the same way, too.")
@console.recipe(help="As for train; by default that of the run directory, or the one that fits.")
@click.option(
    "--timed",
    type=Whole(0),
    default=5,
    show_default=True,
    help="How many of the networks to export and time; 0 for none.",
)
@console.weights
@console.execution_options
@console.seed
@console.out
@output.printing
def prune(source, data, data_dir, image_size, download, recipe, weights, out, say: Output, **options) -> None:
    """Drop the blocks of SOURCE that cost least: a run directory, a .keras file, keras.applications:ResNet50,
    or public weights, such as akamaster/resnet56.

    The validation split chooses the blocks, the training split is for statistics and fine-tuning, and the test split
    for the reported numbers. A run directory brings its data along; other sources need --data.

    The result is a directory that study, export and prune accept. The same command resumes after an interruption.
    """
    if data is None and not Path(source).is_dir():
        raise click.UsageError("--data is needed unless SOURCE is a run directory.")
    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    checks.source(source)
    checks.data(data, **({"task": "classification"} | where))
    checks.out(out)
    if recipe is not None:
        checks.read_recipe(recipe)
    execution = console.read_execution(options)

    console.start()
    from keras_resnets.data.passes import unlabelled
    from keras_resnets.pruning import prune as run

    network, loaded, chosen, is_foreign = console.open_to_train(source, data, recipe, weights, where)
    if is_foreign and not console.has_labels_for(loaded, network):
        splits = (unlabelled(split) for split in (loaded.test, loaded.validation))
        loaded, options["calibration"] = splits
    _, study = run(network, loaded, recipe=chosen, out=out, verbose=say.verbose, execution=execution, **options)
    from keras_resnets.reports.study import describe

    say.written([out / name for name in ("model.keras", "rows.csv", "study.json", "figure.png")])
    say.result(output.of_study(study), _table(study), describe(study))


def _table(study):
    """Returns a table of the network before and after."""
    from rich.table import Table

    from keras_resnets.pruning.drawing import FORMATS, ends, timed

    formats = timed(study.rows)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("blocks", "accuracy", "parameters", "MACs", *(f"{FORMATS[name]}, ms" for name in formats)):
        table.add_column(column, justify="right", no_wrap=True)
    for row in ends(study.rows):
        table.add_row(
            row["state"],
            str(study.summary["blocks"] - row["dropped"]),
            f"{1 - row['error']:.2%}",
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:.1f} M",
            *(f"{1e3 * row[f'{name}_latency']:.2f}" for name in formats),
        )
    return table
