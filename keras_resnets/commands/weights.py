"""The subcommand `weights`: lists the public weights that commands and functions take by name."""

from __future__ import annotations

import dataclasses

import click

from keras_resnets.commands import names, output
from keras_resnets.commands.output import Output


@click.command(short_help="List public weights.")
@click.argument("variant", required=False, shell_complete=names.weighted)
@output.printing
def weights(variant: str | None, say: Output) -> None:
    """List public weights, of all networks or of VARIANT: the names that --weights and SOURCE take.

    Nothing is fetched. The column "here" says which files are on this machine; accuracies are those that are published.
    """
    from rich.table import Table

    from keras_resnets.weights import fetching, public

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "variant", "data"):
        table.add_column(column, overflow="fold")
    for column in ("input", "top-1 %", "MB", "here"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold")
    sets = public.sets_of(variant)
    for known in sets:
        table.add_row(
            known.name,
            known.variant,
            known.data,
            f"{known.size}" if known.size else "any",
            f"{known.top1:.2f}" if known.top1 else "",
            f"{known.megabytes:.0f}" if known.megabytes else "",
            "yes" if fetching.is_here(known) else "",
            known.licence,
        )
    say.result({"weights": [_plain(known) | {"here": fetching.is_here(known)} for known in sets]}, table)


def _plain(known) -> dict:
    """Returns a set as plain data, as `keras_resnets.weights.available` has it."""
    return {key: value for key, value in dataclasses.asdict(known).items() if key not in ("preprocessing", "labels")}
