"""The subcommand `export`: a network as a file that runs without this package, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import console

# What the formats are called, and the kinds of LiteRT among them.
FORMATS: dict[str, dict[str, Any]] = {
    "saved_model": {},
    "litert": {"kind": "float32"},
    "litert-fp16": {"kind": "float16"},
    "litert-dynamic": {"kind": "dynamic"},
    "litert-int8": {"kind": "int8"},
    "onnx": {},
}


@click.command()
@click.argument("source")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="saved_model", show_default=True)
@console.data_options
@click.option("--examples", type=int, help="Compare and measure on no more than so many.")
@click.option("--preprocessing", is_flag=True, help="Take raw pixels, and prepare them as the network was trained.")
@click.option(
    "--output",
    type=click.Choice(["model", "logits", "probabilities"]),
    default="model",
    show_default=True,
    help="What the file answers: what the network does, or that without or with a softmax.",
)
@click.option("--calls", default=50, show_default=True, help="Measured calls of the latency; 0 for none.")
@console.seed
@console.out
def export(
    source, form, data, data_dir, image_size, download, examples, preprocessing, output, calls, seed, out
) -> None:
    """Write the network of SOURCE, a run directory or a .keras file, for use without this package.

    What was written is opened in its own runtime and compared with the network, on the test split of the data that a
    run was trained on or of --data, else on inputs drawn at random. The card stands beside it: OUT.card.md.

    int8 takes its ranges from the training split, so it needs data. LiteRT files end in .tflite, ONNX files in .onnx.
    """
    console.start()
    from keras_resnets import export as exporting
    from keras_resnets.training.feeding import data_of
    from keras_resnets.training.opening import load_model

    model, loaded = load_model(source), None
    if data or (Path(source).is_dir() and (Path(source) / "run.json").exists()):
        loaded = data_of(source, data, data_dir=data_dir, image_size=image_size, download=download or None)
        loaded = loaded.first(examples) if examples else loaded
    how = {"data": loaded, "preprocessing": preprocessing, "output": output, "calls": calls}
    how |= {"seed": seed} if form == "litert-int8" else {}
    name = form.partition("-")[0]
    report = getattr(exporting, name)(model, out, **FORMATS[form], **how)
    console.tell([out, f"{out}.card.json", f"{out}.card.md"])
    click.echo(exporting.describe(report))
