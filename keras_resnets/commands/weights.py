"""The subcommand `weights`: lists the public weights that commands and functions take by name."""

from __future__ import annotations

import click


@click.command()
@click.argument("variant", required=False)
def weights(variant: str | None) -> None:
    """List public weights, of all networks or of VARIANT: the names that --weights and SOURCE take.

    Nothing is fetched. The column "here" says which files are on this machine; accuracies are those that are published.
    """
    from rich.console import Console
    from rich.table import Table

    from keras_resnets.weights import fetching, public

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "variant", "data"):
        table.add_column(column, overflow="fold")
    for column in ("input", "top-1 %", "MB", "here"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold")
    for known in public.sets_of(variant):
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
    # Names are to be copied, so no line is cut where the output is no terminal.
    console = Console()
    Console(width=max(console.width, 120)).print(table)
