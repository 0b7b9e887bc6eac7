"""The command `keras-resnets`: each subcommand reads its arguments and calls one function."""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from keras_resnets.errors import ArgumentError

_out = click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to write.")
_seed = click.option("--seed", default=0, show_default=True, help="Of every random draw.")
_data = [
    click.option("--data", help="'digits', a tensorflow-datasets name, or a folder with a folder per class."),
    click.option("--data-dir", type=click.Path(), help="Where tensorflow-datasets keeps its sets."),
    click.option("--image-size", type=int, help="Side that images are brought to."),
    click.option("--download", is_flag=True, help="Let tensorflow-datasets fetch a set that is absent."),
]


def _data_options(command):
    for option in reversed(_data):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="keras_resnets")
def cli(debug: bool) -> None:
    """Residual networks in Keras: build, train, dissect and export them."""
    # Before TensorFlow is imported: its start-up messages are not for the reader of a command line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@cli.command()
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List every variant: depth, parameters, multiply-adds.

    With NAME, one variant; names of the patterns resnet{6n+2}, plain{6n+2}, preresnet{6n+2} and
    wrn_{6n+4}_{k} work too.
    """
    from rich.console import Console
    from rich.table import Table

    from keras_resnets import counting, variants

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("variant")
    for column in ("depth", "blocks", "parameters", "MACs", "input"):
        table.add_column(column, justify="right")
    for variant in [name] if name else variants.list_models():
        spec = variants.spec(variant)
        counts = counting.count(spec)
        macs = f"{counts.macs / 1e9:.2f} G" if counts.macs >= 1e9 else f"{counts.macs / 1e6:.1f} M"
        size = "x".join(map(str, spec.input_shape))
        table.add_row(variant, str(spec.depth), str(spec.blocks), f"{counts.parameters:,}", macs, size)
    Console().print(table)


@cli.command()
@click.argument("model")
@_data_options
@click.option("--recipe", help="he15, he16, wrn, imagenet or digits; the default fits model and data.")
@click.option("--epochs", type=int, help="Length; the recipe's schedule is stretched to it.")
@click.option("--validation", default=0.1, show_default=True, help="Share of the training split held out.")
@click.option("--set", "fields", multiple=True, metavar="FIELD=VALUE", help="Replace a field of the spec.")
@_seed
@_out
def train(model, data, data_dir, image_size, download, recipe, epochs, validation, fields, seed, out) -> None:
    """Train MODEL, a variant or a spec's JSON file, in a run directory.

    The same command goes on with a run that was stopped.
    """
    _start()
    from keras_resnets import recipes, variants
    from keras_resnets.spec import Spec
    from keras_resnets.training import train as run

    data = data or "digits"
    network = Spec.from_json(_read(model)) if model.endswith(".json") else variants.spec(model)
    run(
        network.replace(**dict(_field(text) for text in fields)),
        data,
        recipe or recipes.default(model, data),
        out=out,
        epochs=epochs,
        seed=seed,
        data_dir=data_dir,
        image_size=image_size,
        validation=validation,
        download=download,
    )
    _tell_run(out)


@cli.command()
@click.argument("name", type=click.Choice(["lesion", "unskip", "delete", "reorder", "dynamics", "littwin"]))
@click.argument("source", required=False)
@_data_options
@click.option("--beside", multiple=True, metavar="SOURCE", help="Another network for the same figure (lesion).")
@click.option("--most", type=int, help="The largest number of deleted or exchanged blocks (delete, reorder).")
@click.option("--draws", type=int, help="Random draws for each number (delete, reorder).")
@click.option("--seed", type=int, help="Of the draws; of the first training (dynamics, littwin).")
@click.option("--seeds", type=int, help="Trainings of each kind (littwin).")
@click.option("--epochs", type=int, help="Length of the training (dynamics).")
@click.option("--examples", type=int, help="Measure on no more than so many.")
@click.option("--weights", default="imagenet", show_default=True, help="Of keras.applications; also random, or a file.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; by default in the run directory.")
def study(
    name, source, data, data_dir, image_size, download, beside, most, draws, seed, seeds, epochs, examples, weights, out
) -> None:
    """Run the study NAME on SOURCE: a run directory, a .keras file, or keras.applications:ResNet50.

    \b
    lesion   delete each block in turn
    unskip   remove each skip in turn, and one after the other
    delete   delete several blocks at once
    reorder  exchange blocks

    A run directory brings its data along; the others need --data. The same command goes on with a
    study that was stopped. Two studies train: dynamics a variant, its name for SOURCE; littwin
    takes none.

    \b
    dynamics  train, and see how deep the network is in effect
    littwin   the same of a toy network, with and without batch-norm
    """
    _start()
    from keras_resnets import studies
    from keras_resnets.runs import usable
    from keras_resnets.training import data_of

    if (source is None) != (name == "littwin"):
        raise click.UsageError(f"SOURCE is {'needed' if source is None else 'not'} for the study {name!r}.")
    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    options = {"most": most, "draws": draws, "seed": seed, "seeds": seeds, "epochs": epochs}
    trains, function = name in ("dynamics", "littwin"), getattr(studies, name)
    if trains:
        options |= {"examples": examples}
    options = {key: value for key, value in options.items() if value is not None}
    given = [*options, *(["beside"] if beside else []), *(["data"] if data else [])]
    for key in given:
        if key not in inspect.signature(function).parameters:
            raise click.UsageError(f"--{key} is not for the study {name!r}.")
    if trains:
        result = _trained(function, source, data, out, where, options)
        click.echo(studies.describe(result))
        return
    is_run = Path(source).is_dir()
    for option, value in (("--out", out), ("--data", data)):
        if value is None and not is_run:
            raise click.UsageError(f"{option} is needed unless SOURCE is a run directory.")
    out = out or Path(source) / "studies" / name
    with usable(out):
        network, preprocess = _network(source, weights, image_size)
        if beside:
            options["beside"] = [_network(other, weights, image_size)[0] for other in beside]
        if preprocess is None:
            loaded = data_of(source, data, **where)
            loaded = loaded.first(examples) if examples else loaded
        else:
            loaded = _unseen(network, preprocess, data, examples, **where)
        result = function(network, loaded, verbose=sys.stdout.isatty(), resume=out, **options)
        _tell(result.save(out))
    click.echo(studies.describe(result))


def _trained(function, source: str | None, data: str | None, out: Path | None, where: dict, options: dict):
    """Runs a study that trains, and saves it."""
    from keras_resnets import recipes, variants
    from keras_resnets.runs import usable

    if out is None:
        raise click.UsageError(f"--out is needed for the study {function.__name__!r}.")
    arguments: list[Any] = []
    if source:
        data = data or "digits"
        arguments = [variants.spec(source), data, recipes.default(source, data)]
        options = {**options, **where, "out": out}
    with usable(out):
        result = function(*arguments, **options)
        _tell(result.save(out))
    return result


def _network(source: str, weights: str, image_size: int | None):
    """Returns the network of a SOURCE, and the preprocessing of one from keras.applications, else None."""
    from keras_resnets import applications
    from keras_resnets.network import load_model

    prefix, _, name = source.partition(":")
    if prefix != "keras.applications":
        return load_model(source), None
    shape = (image_size, image_size, 3) if image_size else None
    return applications.foreign(name, None if weights == "random" else weights, shape)


def _unseen(network, preprocess, data: str, examples: int | None, **where):
    """Returns a data set that the network was not trained on, with labels if its classes are the network's."""
    from keras_resnets import data as datasets

    where["image_size"] = network.input_shape[1]
    loaded = datasets.load(data, normalize=None, validation=0, **where)
    loaded = loaded.first(examples) if examples else loaded
    if loaded.classes == network.output_shape[1]:
        return loaded.unseen.map(lambda x, y: (preprocess(x), y))
    click.echo(
        f"{loaded.classes} classes in {data} and {network.output_shape[1]} outputs of {network.name}: the answers of "
        f"the network left whole stand in for the labels, so error is disagreement with it.",
        err=True,
    )
    return loaded.unseen.map(lambda x, y: preprocess(x))


@cli.command()
@click.argument("source")
@click.option("--format", "kind", type=click.Choice(["saved_model"]), default="saved_model", show_default=True)
@_out
def export(source, kind, out) -> None:
    """Write the network of SOURCE, a run directory or a .keras file, for use without this package."""
    _start()
    from keras_resnets import export as exporting
    from keras_resnets.network import load_model

    report = getattr(exporting, kind)(load_model(source), out)
    _tell([out])
    click.echo(exporting.describe(report))


@cli.command()
@click.option("--out", default="runs/demo", show_default=True, type=click.Path(path_type=Path), help="Where to write.")
@click.option("--model", default="preresnet110", show_default=True, help="The variant to train.")
@click.option("--epochs", default=20, show_default=True, help="Length of the training.")
@_seed
def demo(out, model, epochs, seed) -> None:
    """Train a network on handwritten digits, delete its blocks one by one, and export it.

    Started again, it goes on where it stopped, or finds its work done.
    """
    _start()
    from keras_resnets.demo import demo as run

    run(out, model, epochs, seed)


def _start() -> None:
    """Imports Keras without the start-up messages that TensorFlow's libraries write past every setting."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras

            if keras.config.backend() == "tensorflow":
                import tensorflow as tf

                tf.config.list_physical_devices()
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ArgumentError(f"{path!r} cannot be read: {error.strerror}.") from error


def _field(text: str) -> tuple[str, Any]:
    import json

    name, separator, value = text.partition("=")
    if not separator:
        raise ArgumentError(f"--set takes FIELD=VALUE, such as shortcut=C; got {text!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _tell(paths) -> None:
    for path in paths:
        click.echo(f"wrote {path}")


def _tell_run(out: Path) -> None:
    import json

    results = json.loads((out / "run.json").read_text())["results"]
    _tell([out / name for name in ("model.keras", "best.keras", "history.csv", "logs")])
    click.echo(
        f"test accuracy {results['test_accuracy']:.2%} over {results['test_examples']:,} examples "
        f"after {results['epochs']} epochs"
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns 0 done, 1 the work failed, 2 wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        cli.main(arguments, prog_name="keras-resnets", standalone_mode=False)
        return 0
    except click.ClickException as error:
        if arguments:
            click.echo(f"keras-resnets: {' '.join(error.format_message().split())}", err=True)
        else:
            error.show()  # the help
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("keras-resnets: stopped; the same command goes on.", err=True)
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        text = str(error).strip() or type(error).__name__
        click.echo(f"keras-resnets: {text.splitlines()[0]}", err=True)
        return 2 if isinstance(error, ArgumentError) else 1


def entry() -> None:
    """The console script."""
    sys.exit(main())
