"""The subcommand `predict`: class names and probabilities for pictures."""

from __future__ import annotations

from pathlib import Path

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole


@click.command(short_help="Say which class each image shows.")
@click.argument("source", shell_complete=names.weights)
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--top", type=Whole(), default=5, show_default=True, help="How many of the most probable classes to name."
)
@click.option("--class-names", type=click.Path(path_type=Path), help="A text file with a class name in each line.")
@click.option(
    "--preprocessing",
    metavar="JSON",
    help='What SOURCE does not say of its inputs, such as \'{"mean": [127.5], "std": [127.5], "resizing": '
    '{"crop": 0.875}}\', or a file with it.',
)
@click.option("--batch-size", type=Whole(), default=32, show_default=True, help="Pictures computed together.")
@output.printing
def predict(source, images, top, class_names, preprocessing, batch_size, say: Output) -> None:
    """Say which class each of IMAGES shows, and how probable it is.

    SOURCE is a run directory, a .keras file, a SavedModel, a .tflite or .onnx file of `export`, or public weights, such
    as akamaster/resnet56. IMAGES are files, or folders of files. Pictures are read, resized and preprocessed as in
    training.

    A picture that cannot be read is named; the status is 1 then.
    """
    called = None if class_names is None else checks.read_lines(class_names)
    steps = None if preprocessing is None else checks.read_fields("--preprocessing", preprocessing)
    checks.source(source, exported=True)
    checks.pictures(images)

    if Path(source).suffix.lower() not in (".tflite", ".onnx"):  # their runtimes need neither Keras nor TensorFlow
        console.start()
    from keras_resnets.prediction.predicting import as_plain
    from keras_resnets.prediction.predicting import predict as run

    how = {"top": top, "class_names": called, "preprocessing": steps, "batch_size": batch_size}
    answers = run(console.network_of(source), list(images), **how)
    lines = [
        f"{answer.picture}: {', '.join(f'{name} {share:.1%}' for name, share in answer.top)}"
        for answer in answers
        if answer.error is None
    ]
    say.result([as_plain(answer) for answer in answers], *lines)
    if any(answer.error for answer in answers):
        click.get_current_context().exit(1)
