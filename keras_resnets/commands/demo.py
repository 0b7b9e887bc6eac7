"""The main workflow in one call: train on digits, delete block by block, export, and list the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from keras_resnets.showing import counted

# Name, printed title, arguments.
STUDIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("lesion", "Delete each residual block in turn, keep its skip (Veit et al. 2016, Fig. 3)", {}),
    ("unskip", "Remove each skip in turn, keep its residual block", {}),
    ("delete", "Delete up to 20 blocks at once, at random and by choice (Veit et al. 2016, Fig. 5a)", {"draws": 10}),
    (
        "paths",
        "Take the gradient apart by length of path, sampled and exact (Veit et al. 2016, Fig. 6)",
        {"draws": 100},
    ),
)


def demo(
    out: Path, variant: str = "preresnet110", epochs: int = 20, seed: int = 0, verbose: bool = False
) -> tuple[dict[str, Any], str]:
    """Trains `variant` on scikit-learn's digits, runs the studies, exports, and prints what each of these found.

    Finished steps are skipped, so an interrupted demo resumes and a finished one only reports.

    Args:
        out: the run directory.
        variant: the network's variant.
        epochs: length of the training.
        seed: seed of every random draw.
        verbose: whether to draw progress bars.

    Returns:
        The results as plain data, and what to look at, in words.
    """
    # Training; a finished run is recognised without building its network.
    click.echo(f"1  Train {variant} on 8x8 digits ({counted(epochs, 'epoch')}, seed {seed})")
    model = None
    from keras_resnets.runs import Run
    from keras_resnets.training.training import is_finished, train

    if not is_finished(out, seed=seed, epochs=epochs, name=variant):
        model = train(variant, "digits", "digits", out=out, epochs=epochs, seed=seed)
    results = (Run(out, {}).record or {})["results"]
    click.echo(f"   test accuracy {results['test_accuracy']:.1%} on {results['test_examples']} digits never trained on")

    # Studies of the trained network, which is loaded only if one of them is to be computed.
    for number, (name, title, options) in enumerate(STUDIES, 2):
        click.echo(f"{number}  {title}")
        model = _run_study(out, model, name, options | ({"seed": seed} if options else {}), verbose)

    # Exports, each with its card.
    click.echo(f"{len(STUDIES) + 2}  Export a SavedModel and a LiteRT file, and compare them with the network")
    import keras

    from keras_resnets.export.cards import describe as describe_export
    from keras_resnets.runs import read_json, seal, sound

    exports = ("saved_model", "network.tflite") if keras.config.backend() == "tensorflow" else ()
    if not exports:
        click.echo(f"   left out: TensorFlow writes these files, and Keras computes with {keras.config.backend()}")
    for name in exports:
        card = out / f"{name}.card.json"
        if not sound(card):
            model = model or _load(out)
            _export(model, out / name)
            seal(card)
        for line in describe_export(read_json(card)).splitlines():
            click.echo(f"   {line}")

    # What to look at: first the page with all of it.
    from keras_resnets.pages.reporting import report

    page = report(out)
    card_line = f"   {out / 'saved_model.card.md'}\n" if exports else ""
    figures = "\n".join(f"   {out / 'studies' / name / 'figure.png'}" for name, *_ in STUDIES)
    document = {
        "run": str(out),
        "results": results,
        "studies": {name: read_json(out / "studies" / name / "study.json")["summary"] for name, *_ in STUDIES},
        "exports": {name: read_json(out / f"{name}.card.json") for name in exports},
        "page": str(page),
    }
    return document, (
        f"\nLook at\n"
        f"   {page}    all of it on one page, in a browser\n"
        f"{figures}\n"
        f"{card_line}"
        f"   tensorboard --logdir {out}    learning curves, weights, graph, the figures\n"
        f"   python -c 'import keras_resnets as kr; kr.load_model(\"{out}\").summary()'"
    )


def _run_study(out: Path, model, name: str, options: dict[str, Any], verbose: bool):
    """Runs a study unless it is finished, and prints its result; returns the network, if it was loaded."""
    from keras_resnets.reports.study import Study, describe

    folder = out / "studies" / name
    if not Study.is_whole(folder):
        from keras_resnets import data, studies

        model = model or _load(out)
        getattr(studies, name)(model, data.load("digits"), verbose=verbose, resume=folder, **options).save(folder)
    for line in describe(Study.load(folder)).splitlines():
        click.echo(f"   {line}")
    return model


def _load(out: Path):
    from keras_resnets.training.opening import load_model

    return load_model(out)


def _export(model, path: Path) -> None:
    from keras_resnets import data
    from keras_resnets.export.exporting import write

    write(model, path, "litert" if path.suffix else "saved_model", data=data.load("digits"))
