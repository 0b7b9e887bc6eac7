"""The subcommand `models`: lists the variants, by what they are for."""

from __future__ import annotations

from typing import Any

import click

from keras_resnets.commands import names, output
from keras_resnets.commands.output import Output

_COLUMNS = ("depth", "blocks", "parameters", "MACs", "input")


@click.command(short_help="List the variants, with depth and cost.")
@click.argument("name", required=False, shell_complete=names.variant)
@output.printing
def models(name: str | None, say: Output) -> None:
    """List every variant by what it is for: depth, parameters, multiply-adds.

    With NAME, one variant; names of the patterns resnet{6n+2}, plain{6n+2}, preresnet{6n+2} and
    wrn_{6n+4}_{k} work too.
    """
    from keras_resnets.architecture.purposes import families

    listed = [name] if name else [variant for known in families().values() for variant in known]
    rows = [_row(variant) for variant in listed]
    say.result({"models": rows}, *_tables(rows))


def _row(name: str) -> dict[str, Any]:
    """Returns a variant as plain data."""
    from keras_resnets.architecture import counting, variants
    from keras_resnets.architecture.purposes import purpose

    spec = variants.spec(name)
    counts = counting.count(spec)
    return {
        "name": name,
        "for": purpose(name),
        "depth": spec.depth,
        "blocks": spec.blocks,
        "parameters": counts.parameters,
        "macs": counts.macs,
        "input": list(spec.input_shape),
        "classes": spec.classes,
    }


def _tables(rows: list[dict[str, Any]]) -> list[Any]:
    """Returns the headings of families, each with the table of its variants."""
    from rich.table import Table

    found: list[Any] = []
    tables: dict[str, Table] = {}
    for row in rows:
        if row["for"] not in tables:
            table = Table(box=None, header_style="bold", pad_edge=False, show_header=not tables)
            table.add_column("variant", min_width=max(len(other["name"]) for other in rows), no_wrap=True)
            for column, width in zip(_COLUMNS, (5, 6, 11, 8, 9), strict=True):
                table.add_column(column, justify="right", min_width=width, no_wrap=True)
            found += [row["for"], table] if not tables else ["", row["for"], table]
            tables[row["for"]] = table
        macs = row["macs"]
        tables[row["for"]].add_row(
            row["name"],
            str(row["depth"]),
            str(row["blocks"]),
            f"{row['parameters']:,}",
            f"{macs / 1e9:.2f} G" if macs >= 1e9 else f"{macs / 1e6:.1f} M",
            "x".join(map(str, row["input"])),
        )
    return found
