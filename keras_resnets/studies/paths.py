"""The gradient by length of path, sampled and exact: Veit et al. 2016, section 4.2 and Fig. 6.

Veit et al. sample: they take the mean norm of the gradient along single paths of a length, times the number of such
paths. That product is what the paths would add if all of them pointed the same way. They do not: along with it stands
the exact sum over all paths of each length, in which those that oppose each other have cancelled.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.data.batches import batches
from keras_resnets.errors import whole_number
from keras_resnets.instruments.evaluation import Kept, progress
from keras_resnets.instruments.path_draws import REST, Paths, needed_length, shortest_run
from keras_resnets.instruments.spectrum import INPUT, Spectrum
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import fingerprint

if TYPE_CHECKING:
    import pandas as pd

# Veit et al. 2016, Fig. 6c, read off: the lengths that carry the gradient of ResNet-110 on CIFAR-10.
VEIT = (5, 17)

# How many examples are taken apart a second time, in double precision.
CHECKED = 1

VALUES, WEIGHTS, SAMPLED, ERROR = range(4)


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
    """Takes the gradient of the loss apart by length of path.

    Every example has a gradient of its own loss, at the input; the norms are means over examples. Paths are drawn
    evenly from those of a length, a path of its own for each example of a backward pass. Few paths have a gradient much
    larger than the others, so that a mean of a few draws is rough, and rather too small: Veit et al. took 1000.

    The exact parts come of one backward pass that keeps the lengths apart (`keras_resnets.spectrum`). Their sum is
    compared with the gradient in every run, for a few examples in double precision, too. Nothing is trained, and batch
    normalisation runs on its moving statistics.

    Args:
        model: a classifier that is a `ResidualNetwork`, or that `adopt` takes.
        data: as for `keras_resnets.studies.lesion`; without labels, the network's answers stand in for them.
        examples: how many of the first to use.
        draws: sampled paths of each length, at least.
        weights: whether to take apart the gradients with respect to each link's weights, too. These are of the mean
            loss of as many examples as are worked on at a time, a mean over such batches.
        seed: of the draws.
        budget: bytes that intermediate values may take.
        verbose: whether to draw a progress bar.
        resume: as for `lesion`.

    Returns:
        A `Study`. Rows of `kind` `"input"`, for each length: `paths`, the share of all paths; `sampled`, the mean norm
        along one path, with its standard deviation and count; `sampled_share`, paths times norm, as a share of all
        lengths; `norm`, of the exact part, with its standard deviation over examples; `norm_share`; `share`, what the
        part adds to the gradient, negative where it opposes it; `rest`, what is missed without all longer paths,
        relative; `coherence`, the exact norm over paths times sampled norm: 1 if all paths point the same way. Rows of
        `kind` `"weights"`, for each link `at` and length (its own residual branch counts), have `norm`, `norm_share`,
        `share` and `rest`. The summary has the effective lengths by either measure: the shortest run of lengths with
        95 % of the sum.

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
    how: dict[str, Any] = {"draws": draws, "weights": weights, "seed": seed, "budget": budget}
    return take_apart(engines(network), first(network, data, examples), verbose=verbose, resume=resume, **how)


def engines(network: ResidualNetwork) -> tuple[Spectrum, Spectrum]:
    """What takes gradients apart, in single precision and, to check it, in double."""
    return Spectrum(network), Spectrum(network, "float64")


def take_apart(spectra, examples, *, draws, weights, seed, budget, verbose=False, resume=None) -> Study:
    """The study, with `engines` made before and the examples that `first` gives."""
    import pandas as pd

    spectrum, precise = spectra
    network, (x, y, labels), choices = spectrum.model, examples, Paths(spectrum.model)
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
    kept, tables = Kept(resume, f"paths {facts} {weights}"), []
    starts = range(0, len(x), rows)
    with progress(f"paths of {network.name}", len(starts) * len(spectrum.chain), verbose) as advance:
        for start in starts:
            part = slice(start, start + rows)
            file = kept.file(start, x[part], y[part])
            found = kept.get(file)
            if found is None:
                found = _measured(spectrum, x[part], y[part], gates[..., part], weights, advance)
                kept.put(file, found)
            else:
                advance(len(spectrum.chain))
            tables.append(found)
    check = _measured(precise, x[:CHECKED], y[:CHECKED], gates[:0, :, :CHECKED], False, lambda links: None)
    table = pd.concat([_at_input(tables, choices), *([_of_weights(tables, spectrum)] if weights else [])])
    whole = np.concatenate([_errors(t)[_errors(t)[:, 1] == 0, 4] for t in tables]).mean()
    facts |= _summary(table, choices, whole) | _agreement(tables, check)
    return Study("paths", table.reset_index(drop=True), facts)


def first(network: ResidualNetwork, data, examples: int):
    """The first examples as arrays, and where the labels come from."""
    found: list[tuple[np.ndarray, np.ndarray | None]] = []
    for batch in batches(data, examples):
        found.append(batch)
        if sum(len(x) for x, _ in found) >= examples:
            break
    x = np.concatenate([x for x, _ in found])[:examples]
    if found[0][1] is None:
        return x, network.predict(x, verbose=0).argmax(-1), "what the network answers"
    return x, np.concatenate([y for _, y in found if y is not None])[:examples], "given"


def _measured(spectrum: Spectrum, x, y, gates: np.ndarray, weights: bool, tick) -> np.ndarray:
    """All that is found on some examples, as rows of kind, place, length, norm, share, rest."""
    places = [INPUT, *(link.name for link in spectrum.chain)]
    found = []
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
        found.append(np.stack([column.ravel() for column in columns], 1))
        found.append(np.array([[ERROR, place, 0, parts.error.max(), parts.whole.mean(), 0]]))
    if len(gates):
        for drawn, gradient in zip(gates, spectrum.along(x, y, gates, whole), strict=True):
            norm = np.linalg.norm(np.asarray(gradient, "float64").reshape(len(x), -1), axis=1)
            found.append(
                np.stack([np.full(len(x), v) for v in (SAMPLED, 0)] + [drawn.sum(0), norm] + [0 * norm] * 2, 1)
            )
    return np.concatenate(found)


def _at_input(tables: list[np.ndarray], choices: Paths) -> pd.DataFrame:
    """A row for each length, of gradients at the input."""
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
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        table["coherence"] = np.exp(np.log(norm) - product)
    return table


def _of_weights(tables: list[np.ndarray], spectrum: Spectrum) -> pd.DataFrame:
    """A row for each link and length, of gradients with respect to the link's weights."""
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
    rows = table[table["kind"] == "input"]
    found: dict[str, Any] = {"blocks_with_a_choice": len(choices.free)}
    for name, column in (("sampled", "sampled_share"), ("exact", "norm_share")):
        low, high = shortest_run(rows["length"].to_numpy(), rows[column].to_numpy())
        inside = rows["length"].between(low, high)
        found[name] = {
            "mean_length": float((rows["length"] * rows[column]).sum()),
            "low": low,
            "high": high,
            "mass": float(rows[column][inside].sum()),
            "of_all_paths": float(rows["paths"][inside].sum()),
        }
    found["exact"]["needed_length"] = needed_length(rows)
    found["exact"]["norms_over_norm_of_sum"] = float(rows["norm"].sum() / gradient)
    peak = rows.loc[rows["sampled_share"].idxmax()]
    found["coherence_at_the_sampled_peak"] = {"length": int(peak["length"]), "coherence": float(peak["coherence"])}
    return found


def _errors(table: np.ndarray) -> np.ndarray:
    return table[table[:, 0] == ERROR]


def _agreement(tables: list[np.ndarray], check: np.ndarray) -> dict[str, Any]:
    """How far the parts are from summing to the gradient, and from themselves in double precision."""

    def parts(table):
        rows = table[table[:, 0] == VALUES]
        return rows[:, 3].reshape(int(rows[:, 2].max()) + 1, -1)[:, :CHECKED]

    single, double = parts(tables[0]), parts(check)
    return {
        "largest_error_of_sum": float(_errors(np.concatenate(tables))[:, 3].max()),
        "checked_in_double_precision": {
            "examples": double.shape[1],
            "largest_error_of_sum": float(_errors(check)[:, 3].max()),
            "largest_difference_of_a_part": float((np.abs(single - double).max(0) / double.sum(0)).max()),
        },
    }


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: shares by length."""
    rows = study.rows[study.rows["kind"] == "input"].set_index("length")
    return {name: rows[name] for name in ("paths", "sampled_share", "norm_share", "share")}


def draw(study: Study):
    """Norm along one path; shares of the lengths by either measure; which lengths teach which block."""
    from keras_resnets.reports import figures

    summary, rows = study.summary, study.rows[study.rows["kind"] == "input"]
    blocks = study.rows[study.rows["kind"] == "weights"]
    figure, axes = figures.panels(3 if len(blocks) else 2, 4.8)
    one, shares = axes[0], axes[1]
    seen = rows[rows["sampled"] > 0]
    one.errorbar(
        seen["length"],
        seen["sampled"],
        seen["sampled_sd"] / seen["sampled_count"] ** 0.5,
        fmt="o",
        color=figures.OURS,
        markersize=3.5,
        elinewidth=0.8,
        label=f"along one path (mean of {int(rows['sampled_count'].min())} or more)",
    )
    one.plot(rows["length"], rows["norm"], color=figures.OTHER, label="sum over all paths of the length, exact")
    # Far below what counts, rounding and the range of floats are drawn, too.
    one.set_ylim(max(seen["sampled"].min(), 1e-26 * rows["norm"].max()) / 3, 3 * rows["norm"].max())
    one.set(yscale="log", xlabel="length of path: residual branches on it", ylabel="norm of the gradient at the input")
    shares.fill_between(rows["length"], rows["paths"], color="0.85", label="number of paths (binomial)", lw=0)
    shares.plot(rows["length"], rows["sampled_share"], "o-", ms=3, color=figures.OURS, label="number x norm along one")
    shares.plot(
        rows["length"], rows["norm_share"], color=figures.OTHER, label="sum over all paths of the length, exact"
    )
    shares.plot(rows["length"], rows["share"], "--", color="tab:green", lw=1, label="what it adds to the gradient")
    if summary["blocks"] == 54:
        shares.axvspan(*VEIT, color=figures.PAPER, alpha=0.12, lw=0, label="Veit et al. 2016, Fig. 6c: 5 to 17")
    shares.axhline(0, color="0.8", lw=0.8, zorder=0)
    shares.set(xlabel="length of path", ylabel="share of all lengths")
    if len(blocks):
        _heat_map(figure, axes[2], blocks)
    figures.finish(figure, f"{summary['model']}: the gradient by length of path, {summary['examples']} examples", 3)
    return figure


def _heat_map(figure, axes, rows: pd.DataFrame) -> None:
    """For each link, the share of each length in the gradient of its weights."""
    names = list(dict.fromkeys(rows["at"]))
    table = rows.pivot(index="length", columns="at", values="norm_share")[names]
    image = axes.imshow(
        table,
        origin="lower",
        aspect="auto",
        cmap="Blues",
        interpolation="nearest",
        extent=(-0.5, len(names) - 0.5, -0.5, len(table) - 0.5),
    )
    axes.set(xlabel="link whose weights learn (0: the stem)", ylabel="length of path from its weights to the loss")
    figure.colorbar(image, ax=axes, label="share of the norms", pad=0.02)


def describe(study: Study) -> str:
    """The finding in a few lines."""
    s = study.summary
    sampled, exact, peak = s["sampled"], s["exact"], s["coherence_at_the_sampled_peak"]
    return (
        f"by sampled paths, lengths {sampled['low']} to {sampled['high']} carry {sampled['mass']:.0%} of the gradient "
        f"(mean {sampled['mean_length']:.1f} of {s['blocks_with_a_choice']}; {100 * sampled['of_all_paths']:.3g}% of "
        f"all paths); by the exact sums, {exact['low']} to {exact['high']} (mean {exact['mean_length']:.1f})\n"
        f"paths cancel: at length {peak['length']}, where sampling has its peak, their sum is {peak['coherence']:.1%} "
        f"of what it would be if all pointed one way; paths beyond length {exact['needed_length']} add less than "
        f"{REST:.0%} together\n"
        f"the parts sum to the gradient within {s['largest_error_of_sum']:.0e}, in double precision within "
        f"{s['checked_in_double_precision']['largest_error_of_sum']:.0e}"
    )


DRAWINGS["paths"] = Drawing(draw, describe, curves)
