"""The table of blocks: what each study of a network found of each of its blocks, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from keras_resnets.reports import Study

if TYPE_CHECKING:
    import pandas as pd

# Studies that have a row for each block.
JOINED = ("lesion", "unskip", "responses", "paths")


def joined(studies: Iterable[Study]) -> pd.DataFrame | None:
    """Returns a table with a row for each block, of the studies that are there; None of less than two.

    Columns: `block`; `deleted` (error), `unskipped` (error), `response` (standard deviation of its last convolution)
    and `mean path length`, each where there is its study.

    Args:
        studies: of one network; of several of one kind the first counts.
    """
    import pandas as pd

    first: dict[str, Study] = {}
    for study in studies:
        first.setdefault(study.name, study)
    columns = {name: _COLUMNS[name](first[name].rows, first[name].summary) for name in JOINED if name in first}
    if len(columns) < 2:
        return None
    order = list(dict.fromkeys(block for column in columns.values() for block in column.index))
    longest = max(columns.values(), key=len).index
    order = [*longest, *(block for block in order if block not in set(longest))]  # as they stand in the network
    return pd.DataFrame({column.name: column.reindex(order) for column in columns.values()}, index=order).reset_index(
        names="block"
    )


def _deleted(rows: pd.DataFrame, summary: dict[str, Any]) -> pd.Series:
    own = rows[rows["model"] == summary["model"]] if "model" in rows else rows
    return own.set_index("block")["error"].rename("deleted")


def _unskipped(rows: pd.DataFrame, summary: dict[str, Any]) -> pd.Series:
    single = rows[(rows["kind"] == "unskip") & (rows["count"] == 1)]
    return single.set_index("block")["error"].rename("unskipped")


def _response(rows: pd.DataFrame, summary: dict[str, Any]) -> pd.Series:
    own = rows[(rows["model"] == rows["model"].iloc[0]) & rows["counted"] & (rows["block"] != rows["stage"])]
    return own.groupby("block", sort=False)["std"].last().rename("response")


def _length(rows: pd.DataFrame, summary: dict[str, Any]) -> pd.Series:
    # The share of each length in the gradient of the block's own weights. The stem and the like are no blocks.
    own = rows[(rows["kind"] == "weights") & rows["at"].str.contains("block")]
    weighted = (own["length"] * own["norm_share"]).groupby(own["at"], sort=False).sum()
    return (weighted / own.groupby("at", sort=False)["norm_share"].sum()).rename("mean path length")


_COLUMNS = {"lesion": _deleted, "unskip": _unskipped, "responses": _response, "paths": _length}
