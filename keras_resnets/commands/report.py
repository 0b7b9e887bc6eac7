"""The subcommand `report`: one page of what a folder holds."""

from __future__ import annotations

from pathlib import Path

import click

from keras_resnets.commands import checks, console, output
from keras_resnets.commands.output import Output


@click.command(short_help="Write one page on runs and studies.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file to write; by default report.html in the one folder given."
)
@click.option("--images/--no-images", default=True, show_default=True, help="Read sample images from a run's data.")
@output.printing
def report(folders, out, images, say: Output) -> None:
    """Write one page on FOLDERS: runs with their studies, searches, studies, or folders of several.

    The page needs no network and opens from its file. It has what was asked and found, curves, figures, tables that
    sort, and where all of it comes from; several runs are compared. What is unfinished or damaged is said on the page.
    """
    from keras_resnets.pages.reading import located

    for folder in folders:  # before Keras is imported, which takes long
        located(folder)
    checks.out(out, is_file=True)
    console.start()
    from keras_resnets.pages.reporting import report as run

    page = run(*folders, images=images, out=out)
    say.written([page])
    say.result({"page": str(page)}, *([str(page)] if say.quiet else []))
