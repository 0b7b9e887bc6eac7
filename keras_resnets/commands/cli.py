"""The command `keras-resnets`: each subcommand reads its arguments and calls one function."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.compare import compare
from keras_resnets.commands.convert import convert
from keras_resnets.commands.evaluate import evaluate
from keras_resnets.commands.export import export
from keras_resnets.commands.groups import Group
from keras_resnets.commands.models import models
from keras_resnets.commands.output import Output
from keras_resnets.commands.predict import predict
from keras_resnets.commands.prune import prune
from keras_resnets.commands.report import report
from keras_resnets.commands.search import search
from keras_resnets.commands.study import study
from keras_resnets.commands.train import train
from keras_resnets.commands.values import Whole
from keras_resnets.commands.weights import weights
from keras_resnets.errors import ArgumentError, Notice


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="keras_resnets")
def cli(debug: bool) -> None:
    """Residual networks in Keras: build, train, dissect and export them."""
    # Before TensorFlow is imported: its start-up messages do not concern the user of a command line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


cli.add_command(models)
cli.add_command(train)
cli.add_command(evaluate)
cli.add_command(compare)
cli.add_command(predict)
cli.add_command(study)
cli.add_command(search)
cli.add_command(prune)
cli.add_command(convert)
cli.add_command(export)
cli.add_command(weights)
cli.add_command(report)


@cli.command(short_help="Train on digits, delete each block, export.")
@click.option("--out", default="runs/demo", show_default=True, type=click.Path(path_type=Path), help="Where to write.")
@click.option(
    "--model",
    default="preresnet110",
    show_default=True,
    shell_complete=names.variant,
    help="The variant to train.",
)
@click.option("--epochs", type=Whole(), default=20, show_default=True, help="Length of the training.")
@console.seed
@output.printing
def demo(out, model, epochs, seed, say: Output) -> None:
    """Train a network on handwritten digits, delete its blocks one by one, and export it.

    Started again, it resumes where it stopped, or reports what is finished.
    """
    checks.read_spec(model)
    checks.out(out)
    console.start()
    from keras_resnets.commands.demo import demo as run

    say.result(*run(out, model, epochs, seed, verbose=say.verbose))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns 0 for success, 1 for a failure, 2 for wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings(), _stoppable():
        # What is told is for the user of the command; other warnings are shown as ever.
        warnings.simplefilter("default", Notice)
        shown = warnings.showwarning
        warnings.showwarning = lambda text, kind, *place, **more: (
            click.echo(f"keras-resnets: {text}", err=True) if kind is Notice else shown(text, kind, *place, **more)
        )
        return _run(arguments)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Lets SIGTERM stop a command as SIGINT does, with a word and nothing else.

    Libraries that are stopped in the midst of their work, such as h5py, have their objects fail as they are removed,
    which Python would show as tracebacks.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_) -> None:
        sys.unraisablehook = lambda _: None
        raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGINT) is not signal.default_int_handler  # of a command in the background, say
    signals = [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]
    shown, before = sys.unraisablehook, {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        sys.unraisablehook = shown
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_working_directory() -> bool:
    """Whether relative paths mean something: the working directory may have been removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _run(arguments: list[str]) -> int:
    """Runs the command line; returns its status."""
    try:
        status = cli.main(arguments, prog_name="keras-resnets", standalone_mode=False)
        return status if isinstance(status, int) else 0  # of a command that exits with another
    except click.ClickException as error:
        if arguments:
            click.echo(f"keras-resnets: {' '.join(error.format_message().split())}", err=True)
        else:
            error.show()  # the help
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("keras-resnets: stopped; the same command resumes.", err=True)
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        text = str(error).strip() or type(error).__name__
        if isinstance(error, FileNotFoundError) and error.filename is None and not _has_working_directory():
            text = "The working directory is gone. Change to one that is there, or give absolute paths."
        click.echo(f"keras-resnets: {text.splitlines()[0]}", err=True)
        return 2 if isinstance(error, ArgumentError) else 1
