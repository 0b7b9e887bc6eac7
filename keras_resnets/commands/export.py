"""The subcommand `export`: writes a network as a file that runs without this package, and its card."""

from __future__ import annotations

from pathlib import Path

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole
from keras_resnets.export.formats import FORMATS, check_place


@click.command(short_help="Write a SavedModel, LiteRT or ONNX file.")
@click.argument("source", shell_complete=names.weights)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="saved_model", show_default=True)
@console.data_options
@click.option("--examples", type=Whole(), help="Compare and measure on at most this many examples.")
@click.option("--preprocessing", is_flag=True, help="Make the file take raw pixels, preprocessed as in training.")
@click.option(
    "--output",
    "ends_in",
    type=click.Choice(["model", "logits", "probabilities"]),
    default="model",
    show_default=True,
    help="What the file returns: the network's output, or that before or after the softmax.",
)
@click.option("--calls", type=Whole(0), default=50, show_default=True, help="Calls to measure the latency; 0 for none.")
@console.seed
@console.out
@output.printing
def export(
    source, form, data, data_dir, image_size, download, examples, preprocessing, ends_in, calls, seed, out, say: Output
) -> None:
    """Write the network of SOURCE, a run directory, a .keras file or public weights such as
    akamaster/resnet56, for use without this package.

    The file is opened in its own runtime and compared with the network: on the test split of the run's data or of
    --data, else on random inputs. Its card is written beside it: OUT.card.md.

    int8 takes its ranges from the training split, so it needs data. LiteRT files end in .tflite, ONNX files in .onnx.
    """
    checks.source(source)
    checks.data(data, run=source, data_dir=data_dir, image_size=image_size, download=download)
    check_place(form, out)
    checks.out(out, is_file=True)

    console.start("tensorflow")
    from keras_resnets.data.needs import as_needed
    from keras_resnets.export import cards, exporting
    from keras_resnets.network.chain import ResidualNetwork
    from keras_resnets.training import places
    from keras_resnets.training.feeding import data_of

    (model, _), loaded = console.open_source(source, "imagenet", None), None
    if data or (Path(source).is_dir() and (Path(source) / "run.json").exists()):
        loaded = data_of(source, data, data_dir=data_dir, image_size=image_size, download=download or None)
        loaded = as_needed(loaded, model) if data else loaded
        if data is None and isinstance(model, ResidualNetwork):
            places.fill(model, loaded)
        loaded = loaded.first(examples) if examples else loaded
    options = {"data": loaded, "preprocessing": preprocessing, "output": ends_in, "calls": calls}
    options |= {"seed": seed} if FORMATS[form].calibrated else {}
    report = exporting.write(model, out, form, **options)
    say.written([out, f"{out}.card.json", f"{out}.card.md"])
    say.result(report, cards.describe(report))
