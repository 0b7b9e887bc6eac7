"""The gradient by path length, sampled and exact: Veit et al. 2016, section 4.2 and Fig. 6.

Veit et al. sample paths: they multiply the mean norm of the gradient along single paths of a length by the number of
such paths. That product is what the paths would contribute if all of them had the same direction. They do not, so the
study also gives the exact sum over all paths of each length, in which opposing paths cancel.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.data.batches import name_of
from keras_resnets.data.needs import batches_for
from keras_resnets.errors import whole_number
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import Kept, progress
from keras_resnets.instruments.path_draws import Paths, needed_length, shortest_run
from keras_resnets.instruments.spectrum import INPUT, Spectrum
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import check_classifier
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import fingerprint
from keras_resnets.studies.paths_drawing import curves, describe, draw

if TYPE_CHECKING:
    import pandas as pd

# Number of examples whose gradient is also split in double precision.
CHECKED = 1

VALUES, WEIGHTS, SAMPLED, ERROR = range(4)


@explained
def paths(
    model: keras.Model,
    data,
    *,
    examples: int = 64,
    draws: int = 10,
    weights: bool = True,
    seed: int = 0,
    budget: int = 2**31,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Splits the gradient of the loss by path length.

    The gradient is that of each example's own loss at the input; norms are means over examples. Paths are drawn
    uniformly from those of a length, a different path for each example of a backward pass. A few paths have a gradient
    much larger than the others, so a mean of a few draws is imprecise and tends to be too small: Veit et al. took 1000.

    The exact parts come from one backward pass that separates the lengths (`keras_resnets.spectrum`). Every run
    compares their sum with the gradient, for a few examples also in double precision. Nothing is trained, and batch
    normalisation uses its moving statistics.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes.
        data: as for `keras_resnets.studies.lesion`; without labels, the network's predictions stand in for them.
        examples: number of examples to use, the first of the data.
        draws: smallest number of sampled paths of each length.
        weights: whether to split the gradients with respect to each link's weights, too. These are gradients of a
            batch's mean loss, averaged over batches.
        seed: seed of the draws.
        budget: bytes for intermediate values.
        verbose: whether to draw a progress bar.
        resume: as for `lesion`.

    Returns:
        A `Study`. Rows of `kind` `"input"`, for each length: `paths`, the share of all paths; `sampled`, the mean norm
        along one path, with its standard deviation and count; `sampled_share`, paths times norm, as a share of all
        lengths; `norm`, of the exact part, with its standard deviation over examples; `norm_share`; `share`, the
        part's contribution to the gradient, negative if it opposes it; `rest`, the relative error without all longer
        paths; `coherence`, the exact norm over paths times sampled norm, both of the examples that were sampled: 1 if
        all paths have the same direction; `coherence_error`, its standard error over draws, relative to it. Rows of
        `kind` `"weights"`, for each link `at` and length (its own residual branch counts), have `norm`,
        `norm_share`, `share` and `rest`. The summary has the effective lengths by either measure: the shortest run of
        lengths with 95 % of the sum.

    Raises:
        ArgumentError: an argument breaks its rule.
        ArithmeticError: the parts do not sum to the gradient.
        FloatingPointError: the gradient is not finite.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> study = kr.studies.paths(model, (np.ones((4, 8, 8, 1)), np.zeros(4, int)))
        >>> float(study.rows.query("kind == 'input'")["share"].sum().round(4))
        1.0
    """
    for name, value in (("examples", examples), ("draws", draws)):
        whole_number(name, value, 1, 10**6)
    whole_number("seed", seed, 0, 2**31 - 1)
    network = adopt(model)
    options: dict[str, Any] = {"draws": draws, "weights": weights, "seed": seed, "budget": budget}
    return split_gradient(
        engines(network), first_examples(network, data, examples), verbose=verbose, resume=resume, **options
    )


def engines(network: ResidualNetwork) -> tuple[Spectrum, Spectrum]:
    """Returns the engines that split gradients: in single precision, and in double precision to check it."""
    return Spectrum(network), Spectrum(network, "float64")


def split_gradient(spectra, examples, *, draws, weights, seed, budget, verbose=False, resume=None) -> Study:
    """Makes the study, with the results of `engines` and `first_examples`."""
    import pandas as pd

    # The paths to sample, and what identifies the measurement.
    spectrum, precise = spectra
    network, (x, y, labels, name), choices = spectrum.model, examples, Paths(spectrum.model)
    rows = -(-len(x) // -(-len(x) // spectrum.rows(budget)))
    gates = choices.draw(draws, len(x), np.random.default_rng(seed))
    facts: dict[str, Any] = {
        "model": network.name,
        "blocks": len(network.blocks),
        "examples": len(x),
        "labels": labels,
        "draws": draws,
        "seed": seed,
        "batch_of_weights": rows,
        "weights_fingerprint": fingerprint(network.weights),
        "data_fingerprint": fingerprint([x, y]),
    }

    # Batch by batch, except those that an interrupted study has finished.
    kept, tables = Kept(resume, f"paths {facts} {weights}", network), []
    facts["data"] = name  # no part of what identifies the measurement
    starts = range(0, len(x), rows)
    with progress(f"paths of {network.name}", len(starts) * len(spectrum.chain), verbose) as advance:
        for start in starts:
            part = slice(start, start + rows)
            file = kept.file(start, x[part], y[part])
            measured = kept.get(file)
            if measured is None:
                measured = _measured(spectrum, x[part], y[part], gates[..., part], weights, advance)
                kept.put(file, measured)
            else:
                advance(len(spectrum.chain))
            tables.append(measured)

    # The means, and how precise they are.
    check = _measured(precise, x[:CHECKED], y[:CHECKED], gates[:0, :, :CHECKED], False, lambda links: None)
    table = pd.concat([_at_input(tables, choices), *([_of_weights(tables, spectrum)] if weights else [])])
    whole = np.concatenate([_errors(t)[_errors(t)[:, 1] == 0, 4] for t in tables]).mean()
    facts |= _summary(table, choices, whole) | _agreement(tables, check)
    return Study("paths", table.reset_index(drop=True), facts)


def first_examples(network: ResidualNetwork, data, examples: int):
    """Returns the first examples as arrays, the source of their labels, and the name of the data."""
    parts: list[tuple[np.ndarray, np.ndarray | None]] = []
    check_classifier(network)
    for batch in batches_for(network, data, examples, classes=True):
        parts.append(batch)
        if sum(len(x) for x, _ in parts) >= examples:
            break
    x = np.concatenate([x for x, _ in parts])[:examples]
    if parts[0][1] is None:
        return x, network.predict(x, verbose=0).argmax(-1), "what the network answers", name_of(data)
    return x, np.concatenate([y for _, y in parts if y is not None])[:examples], "given", name_of(data)


def _measured(spectrum: Spectrum, x, y, gates: np.ndarray, weights: bool, tick) -> np.ndarray:
    """Measures some examples; returns rows of kind, place, length, norm, share, rest."""
    places = [INPUT, *(link.name for link in spectrum.chain)]
    rows = []

    # The exact parts, at the input and at each link's weights, with the error of their sum.
    whole = spectrum.whole(x, y, weights)
    for parts in spectrum.exact(x, y, weights=weights, tick=tick, whole=whole):
        kind, place = VALUES if parts.of == "values" else WEIGHTS, places.index(parts.at)
        length = np.broadcast_to(np.arange(len(parts.norm))[:, None], parts.norm.shape)
        columns = (
            np.full(length.shape, kind),
            np.full(length.shape, place),
            length,
            parts.norm,
            parts.share,
            parts.rest,
        )
        rows.append(np.stack([column.ravel() for column in columns], 1))
        rows.append(np.array([[ERROR, place, 0, parts.error.max(), parts.whole.mean(), 0]]))

    # The sampled paths.
    if len(gates):
        for drawn, gradient in zip(gates, spectrum.along(x, y, gates, whole), strict=True):
            norm = np.linalg.norm(np.asarray(gradient, "float64").reshape(len(x), -1), axis=1)
            rows.append(np.stack([np.full(len(x), v) for v in (SAMPLED, 0)] + [drawn.sum(0), norm] + [0 * norm] * 2, 1))
    return np.concatenate(rows)


def _at_input(tables: list[np.ndarray], choices: Paths) -> pd.DataFrame:
    """Returns a row for each length, of gradients at the input."""
    import pandas as pd

    rows = np.concatenate(tables)
    exact = pd.DataFrame(rows[rows[:, 0] == VALUES][:, 2:], columns=["length", "norm", "share", "rest"])
    along = pd.DataFrame(rows[rows[:, 0] == SAMPLED][:, 2:4], columns=["length", "norm"]).groupby("length")["norm"]
    means, counts = exact.groupby("length").mean(), choices.log_counts()
    table = pd.DataFrame({"kind": "input", "at": INPUT, "length": choices.all})
    table["paths"] = np.exp(counts - len(choices.free) * np.log(2))
    table["sampled"], table["sampled_sd"], table["sampled_count"] = (
        getattr(along, name)().to_numpy() for name in ("mean", "std", "count")
    )
    with np.errstate(divide="ignore"):  # norms of long paths may be too small for a float
        product = counts + np.log(table["sampled"].to_numpy())
    table["sampled_share"] = np.exp(product - product.max()) / np.exp(product - product.max()).sum()
    norm = means["norm"].reindex(choices.all).to_numpy()
    table["norm"], table["norm_sd"] = norm, exact.groupby("length")["norm"].std().reindex(choices.all).to_numpy()
    table["norm_share"] = norm / norm.sum()
    table["share"], table["rest"] = (means[name].reindex(choices.all).to_numpy() for name in ("share", "rest"))
    table["coherence"], table["coherence_error"] = _coherence(tables, choices)
    return table


def _coherence(tables: list[np.ndarray], choices: Paths) -> tuple[np.ndarray, np.ndarray]:
    """Returns how much of the sampled paths' product is left in the exact sum, and the relative standard error of that.

    Each draw is compared with the exact norm of its own example and length: lengths are drawn for different numbers of
    examples, and norms differ between examples by more than paths do.
    """
    draws = []
    for rows in tables:
        exact, along = rows[rows[:, 0] == VALUES], rows[rows[:, 0] == SAMPLED]
        norms = exact[:, 3].reshape(int(exact[:, 2].max()) + 1, -1)
        lengths, example = along[:, 2].astype(int), np.arange(len(along)) % norms.shape[1]
        draws.append(np.stack([lengths, norms[lengths, example], along[:, 3]], 1))
    every, counts, found = np.concatenate(draws), choices.log_counts(), []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # norms may be too small for a float
        for length, count in zip(choices.all, counts, strict=True):
            _, exact, along = every[every[:, 0] == length].T
            ratio = exact.sum() / along.sum()
            error = np.sqrt(((exact - ratio * along) ** 2).sum() * len(along) / max(1, len(along) - 1)) / along.sum()
            found.append((np.exp(np.log(ratio) - count), error / ratio))
    return tuple(np.array(found).T)  # type: ignore[return-value]


def _of_weights(tables: list[np.ndarray], spectrum: Spectrum) -> pd.DataFrame:
    """Returns a row for each link and length, of gradients with respect to the link's weights."""
    import pandas as pd

    rows = np.concatenate(tables)
    columns = ["place", "length", "norm", "share", "rest"]
    table = pd.DataFrame(rows[rows[:, 0] == WEIGHTS][:, 1:], columns=columns)
    table = table.groupby(["place", "length"], as_index=False).mean()
    names = [INPUT, *(link.name for link in spectrum.chain)]
    table.insert(0, "kind", "weights")
    table.insert(1, "at", [names[int(place)] for place in table.pop("place")])
    table["length"] = table["length"].astype(int)
    table["norm_share"] = table["norm"] / table.groupby("at")["norm"].transform("sum")
    return table


def _summary(table: pd.DataFrame, choices: Paths, gradient: float) -> dict[str, Any]:
    """Returns the effective lengths, sampled and exact; `gradient` is the norm of the whole gradient."""
    rows = table[table["kind"] == "input"]
    summary: dict[str, Any] = {"blocks_with_a_choice": len(choices.free)}
    for name, column in (("sampled", "sampled_share"), ("exact", "norm_share")):
        low, high = shortest_run(rows["length"].to_numpy(), rows[column].to_numpy())
        inside = rows["length"].between(low, high)
        summary[name] = {
            "mean_length": float((rows["length"] * rows[column]).sum()),
            "low": low,
            "high": high,
            "mass": float(rows[column][inside].sum()),
            "of_all_paths": float(rows["paths"][inside].sum()),
        }
    summary["exact"]["needed_length"] = needed_length(rows)
    summary["exact"]["norms_over_norm_of_sum"] = float(rows["norm"].sum() / gradient)
    # At the peak of the exact sums: the one of the sampled paths is where a few large draws made it.
    peak = rows.loc[rows["norm_share"].idxmax()]
    summary["coherence_at_the_peak"] = {
        "length": int(peak["length"]),
        "coherence": float(peak["coherence"]),
        "relative_standard_error": float(peak["coherence_error"]),
    }
    return summary


def _errors(table: np.ndarray) -> np.ndarray:
    """Returns the rows that hold errors of sums."""
    return table[table[:, 0] == ERROR]


def _checked_norms(table: np.ndarray) -> np.ndarray:
    """Returns the parts' norms, (lengths, examples), of the examples checked in double precision."""
    rows = table[table[:, 0] == VALUES]
    return rows[:, 3].reshape(int(rows[:, 2].max()) + 1, -1)[:, :CHECKED]


def _agreement(tables: list[np.ndarray], check: np.ndarray) -> dict[str, Any]:
    """Returns the error of the parts' sum, and the parts' difference from those in double precision."""
    single, double = _checked_norms(tables[0]), _checked_norms(check)
    return {
        "largest_error_of_sum": float(_errors(np.concatenate(tables))[:, 3].max()),
        "checked_in_double_precision": {
            "examples": double.shape[1],
            "largest_error_of_sum": float(_errors(check)[:, 3].max()),
            "largest_difference_of_a_part": float((np.abs(single - double).max(0) / double.sum(0)).max()),
        },
    }


DRAWINGS["paths"] = Drawing(draw, describe, curves)
