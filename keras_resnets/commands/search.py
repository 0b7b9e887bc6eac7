"""The subcommand `search`: trades depth against width at a fixed budget."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.console import data_options, execution_options, read_execution, start, worker_options
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole


@click.command(short_help="Search depth against width at one budget.")
@click.argument("network", required=False, shell_complete=names.spec)
@data_options
@click.option("--budget-params", type=Whole(), help="Trainable parameters of every network.")
@click.option("--budget-macs", type=Whole(), help="Multiply-adds for one image, instead.")
@click.option("--budget-memory", type=Whole(), help="Elements of all convolutions' outputs for one image, instead.")
@click.option(
    "--tolerance", default=0.02, show_default=True, help="Allowed deviation from the budget, as a share of it."
)
@click.option("--blocks", default="1,2,3,5,9", show_default=True, help="Choices per stage; or 2-2-2,3-4-6 ...")
@click.option("--choose", "choices", multiple=True, metavar="FIELD=A,B,C", help="What else varies; or FIELD=LOW:HIGH.")
@console.fields(help="Replace a field of the spec.")
@console.recipe(help="As for train, for all that does not vary.")
@click.option("--oracle", default="random", show_default=True, help="random, grid, bayesian or hyperband.")
@click.option("--trials", type=Whole(), help="Largest number of trials; 12 for random and bayesian.")
@click.option("--epochs", type=Whole(), help="Length of a training; the recipe's by default.")
@click.option("--objective", default="val_accuracy", show_default=True, help="Or val_loss.")
@click.option("--seeds", type=Whole(), default=1, show_default=True, help="Trainings of each trial.")
@click.option("--patience", type=Whole(), help="Stop a training after this many epochs without improvement.")
@click.option("--validation", default=0.2, show_default=True, help="Share of the training split held out for scores.")
@execution_options
@console.seed
@worker_options("Trials to train at a time", "of these trials")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to write; shared by all machines.")
@output.printing
def search(network, out, say: Output, **options) -> None:
    """Search networks of different depths at one budget, from which their widths follow.

    NETWORK is a variant or a spec's JSON file, preresnet20 by default. For example

    \b
    keras-resnets search --budget-params 300000 --choose unit=basic,bottleneck
                  --choose learning_rate=0.02:0.2 --trials 24 --out runs/search

    On a Ray cluster whose machines share a folder:

    \b
    keras-resnets search ... --ray 10.0.0.1:6379 --workers 8 --out /shared/search

    The same command resumes a search that was interrupted, in the middle of its trials.
    """
    budget, template, recipe, blocks = _checked(network, out, options)
    execution = read_execution(options)
    start()
    from keras_resnets import studies
    from keras_resnets.search import searching

    # The space, and which depths the budget leaves out of it.
    space = _space(budget, template, recipe, blocks, options)
    shown = f"{space.amount:,} {space.measure}"
    say.note(f"{space.template.name} at {shown}: {', '.join(map(str, space.blocks))} blocks in each stage")
    if space.left_out:
        left_out = ", ".join(map(str, space.left_out))
        click.echo(f"left out because no width meets the budget: {left_out} blocks", err=True)

    # The search.
    oracle, trials = options["oracle"], options["trials"]
    if trials is None and oracle in ("random", "bayesian"):
        trials = 12
    workers = options["workers"]
    study = searching.search(
        space,
        out=out,
        oracle=oracle,
        trials=trials,
        objective=options["objective"],
        seeds=options["seeds"],
        patience=options["patience"],
        workers=workers,
        ray=options["ray"],
        gpus=options["gpus"],
        verbose=1 if sys.stdout.isatty() and not (say.quiet or workers) else 0,
        tell=say.note,
        execution=execution,
    )

    # Its result, and the command that trains the best network.
    found = study.summary["best"] is not None
    say.written(out / name for name in ("trials.csv", "study", "logs"))
    say.written(out / name for name in ("best.json", "best_recipe.json") if found)
    command = _train_command(study, out, options) if found else None
    lines = [f"train it: {command}"] if found else []
    say.result(output.of_study(study) | {"train": command}, studies.describe(study), *lines)


def _checked(network: str | None, out: Path, options: dict[str, Any]):
    """Refuses what it can without Keras; returns the budget, the spec, the recipe and the choices of blocks."""
    from keras_resnets.training import recipes

    amounts = {"params": "parameters", "macs": "macs", "memory": "activations"}
    given = {measure: options[f"budget_{flag}"] for flag, measure in amounts.items() if options[f"budget_{flag}"]}
    if len(given) != 1:
        raise click.UsageError("One of --budget-params, --budget-macs and --budget-memory is needed, and only one.")
    network, options["data"] = network or "preresnet20", options["data"] or "digits"
    spec, blocks = checks.read_spec(network, options["fields"]), _blocks(options["blocks"])
    recipe = checks.read_recipe(options["recipe"] or recipes.default(network, options["data"]))
    checks.data(options["data"], task="classification", **_where(options))
    checks.out(out)
    return given, spec, recipe, blocks


def _where(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("data_dir", "image_size", "download", "validation")}


def _space(budget, spec, recipe, blocks, options: dict[str, Any]):
    """Returns the search space that the options describe."""
    from keras_resnets.search.space import DepthWidth
    from keras_resnets.training.feeding import data_for

    return DepthWidth(
        spec,
        data_for(recipe, options["data"], **_where(options)),
        recipe,
        tolerance=options["tolerance"],
        blocks=blocks,
        epochs=options["epochs"],
        seed=options["seed"],
        **budget,
        **dict(_choice(text) for text in options["choices"]),
    )


def _blocks(text: str) -> list[Any]:
    """Parses `--blocks`: a number for all stages, or one for each of them."""
    if not re.fullmatch(r"\d+(-\d+)*(,\d+(-\d+)*)*", text):
        raise click.UsageError(f"--blocks takes numbers such as 1,2,3 or 2-2-2,3-4-6; got {text!r}.")
    parts = [tuple(map(int, part.split("-"))) for part in text.split(",")]
    return [part[0] if len(part) == 1 else part for part in parts]


def _choice(text: str) -> tuple[str, Any]:
    """Parses `--choose` into a field's name and its values or range."""
    from keras_resnets.search.choices import Range

    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    name, separator, values = text.partition("=")
    if not separator or not values:
        raise click.UsageError(f"--choose takes FIELD=A,B,C or FIELD=LOW:HIGH; got {text!r}.")
    if match := re.fullmatch(f"({number}):({number})", values):
        low, high = float(match[1]), float(match[2])
        return name, Range(low, high, log=low > 0)
    # A comma inside parentheses is part of a unit such as B(3,1,3).
    return name, [checks.parse_field(f"{name}={value}")[1] for value in re.split(r",(?![^(]*\))", values)]


def _train_command(study, out: Path, options: dict[str, Any]) -> str:
    """Returns the command that trains the best network of a search."""
    row = study.rows.set_index("trial").loc[study.summary["best"]]
    paths = row.get("paths", "all")
    parts = [f"keras-resnets train {out / 'best.json'} --recipe {out / 'best_recipe.json'}"]
    parts += [f"--data {study.summary['data']}"]
    parts += [f"--data-dir {options['data_dir']}"] if options["data_dir"] else []
    parts += [f"--paths {paths}"] if paths != "all" else []
    return " ".join([*parts, f"--epochs {study.summary['epochs']}", "--out DIR"])
