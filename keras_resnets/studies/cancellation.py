"""How far paths cancel in several networks, such as those of one training after some of its epochs.

Veit et al. 2016, section 4.2, multiply the mean norm of the gradient along single paths of a length by their number.
That is what these paths would carry together if all of them pointed one way. What is left of it in the exact sum is
their coherence, which falls with the length of paths: so networks are compared at one length.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.network.adoption import adopt
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies.measured import names_of
from keras_resnets.studies.paths import paths
from keras_resnets.studies.paths_drawing import caption

if TYPE_CHECKING:
    import pandas as pd

# Of a table of `paths`, what is of use here.
_OF_LENGTH = [
    "length",
    "paths",
    "sampled",
    "sampled_sd",
    "sampled_count",
    "sampled_share",
    "norm",
    "norm_sd",
    "norm_share",
]
_OF_LENGTH += ["coherence", "coherence_error"]


@explained
def cancellation(
    networks: Sequence[keras.Model] | Mapping[str, keras.Model],
    data,
    *,
    examples: int = 64,
    draws: int = 100,
    seed: int = 0,
    budget: int = 2**31,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Measures how far paths of each length cancel in several networks, on the same examples.

    Of each network, `keras_resnets.studies.paths` splits the gradient of each example's loss at the input. The
    coherence of a length is the norm of the exact sum over its paths, as a share of their number times the mean norm
    along a sampled one: 1 if all paths point one way, and one over the root of their number in the mean if their
    directions are independent of each other. Nothing is trained, and batch normalisation uses its moving statistics.

    Args:
        networks: two or more classifiers of the same data, in the order of the figure, or a mapping of the names they
            are to have: such as those of one training after some of its epochs.
        data: as for `keras_resnets.studies.lesion`; without labels, each network's predictions stand in for them.
        examples: number of examples to use, the first of the data.
        draws: smallest number of sampled paths of each length. A few paths have a gradient much larger than the others,
            so a mean of a few draws is imprecise; the standard error tells.
        seed: seed of the draws; each network gets the same ones.
        budget: as for `paths`.
        verbose: whether to draw progress bars.
        resume: as for `lesion`.

    Returns:
        A `Study` with a row for each `network` and `length`, and the columns that `paths` has of the input:
        `coherence`, its relative standard error over draws, `coherence_error`, and what they come from. The summary
        has for each of the `networks` the mean length of paths by exact sums and by sampled paths, the `peak` (the
        length whose exact sum is largest) with its coherence, and the coherence `at_one_length`, which is the peak of
        the last network (None for a network without such paths).

    Raises:
        ArgumentError: an argument breaks its rule.
        ArithmeticError: the parts do not sum to the gradient.
        FloatingPointError: the gradient is not finite.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> early, late = (kr.build("resnet8", (8, 8, 1)) for _ in range(2))
        >>> data = np.ones((4, 8, 8, 1)), np.zeros(4, int)
        >>> study = kr.studies.cancellation({"1": early, "20": late}, data, draws=4)
        >>> study.rows.query("length == 3")["coherence"].round(3).tolist()  # one path cannot cancel
        [1.0, 1.0]
    """
    chain = {name: adopt(model) for name, model in names_of(networks, "networks").items()}
    first = next(iter(chain.values()))
    for name, network in chain.items():
        if network.output_shape[1:] != first.output_shape[1:] or network.input_shape[1:] != first.input_shape[1:]:
            raise ArgumentError(
                f"networks must take the same images and have the same classes; {name!r} takes "
                f"{network.input_shape[1:]} and answers {network.output_shape[1:]}, {next(iter(chain))!r} "
                f"{first.input_shape[1:]} and {first.output_shape[1:]}."
            )

    tables, facts = [], {}
    for name, network in chain.items():
        study = paths(
            network,
            data,
            examples=examples,
            draws=draws,
            weights=False,
            seed=seed,
            budget=budget,
            verbose=verbose,
            resume=resume,
        )
        tables.append(study.rows[_OF_LENGTH].assign(network=name))
        facts[name] = {
            "model": network.name,
            "blocks": study.summary["blocks"],
            "blocks_with_a_choice": study.summary["blocks_with_a_choice"],
            "mean_length": {kind: study.summary[kind]["mean_length"] for kind in ("exact", "sampled")},
            "peak": study.summary["coherence_at_the_peak"],
            "largest_error_of_sum": study.summary["largest_error_of_sum"],
            "weights_fingerprint": study.summary["weights_fingerprint"],
            "data_fingerprint": study.summary["data_fingerprint"],
        }

    import pandas as pd

    rows = pd.concat(tables, ignore_index=True)
    rows.insert(0, "network", rows.pop("network"))
    length = list(facts.values())[-1]["peak"]["length"]
    for name, found in facts.items():
        found["at_one_length"] = _at(rows[rows["network"] == name], length)
    of_all = {name: study.summary[name] for name in ("examples", "labels", "data", "draws", "seed")}
    named = {found["model"] for found in facts.values()}
    of_all["model"] = named.pop() if len(named) == 1 else None  # for the figure's title
    return Study("cancellation", rows, {"networks": facts, "length": length} | of_all)


def _at(rows: pd.DataFrame, length: int) -> dict[str, float] | None:
    """Returns the coherence of one network at a length, with its standard error; None if it has no such paths."""
    of_length = rows[rows["length"] == length]
    if of_length.empty:
        return None
    row = of_length.iloc[0]
    return {"coherence": float(row["coherence"]), "relative_standard_error": float(row["coherence_error"])}


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: coherence by length of each network."""
    return {
        f"coherence of paths, {name}": Curve(rows.set_index("length")["coherence"], "length of path in blocks")
        for name, rows in _by_network(study)
    }


def _by_network(study: Study) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields the networks' names with their rows; a name such as "01" is a number in the table of a saved study."""
    groups = study.rows.groupby("network", sort=False)
    return zip(study.summary["networks"], (rows for _, rows in groups), strict=True)


def draw(study: Study):
    """Plots coherence by length, coherence at one length by network, and the mean length of paths by network."""
    import matplotlib

    from keras_resnets.reports import figures

    summary, networks = study.summary, study.summary["networks"]
    figure, (by_length, by_network, lengths) = figures.panels(3, 4.8)
    colours = matplotlib.colormaps["viridis_r"](np.linspace(0.12, 0.95, len(networks)))

    # By length: each network, and paths of independent directions.
    for colour, (name, rows) in zip(colours, _by_network(study), strict=True):
        rows = _with_bounds(rows)
        by_length.plot(rows["length"], rows["coherence"], ".-", ms=5, lw=1.2, color=colour, label=name)
        by_length.fill_between(rows["length"], rows["low"], rows["high"], color=colour, alpha=0.12, lw=0)
    number = rows["paths"] / rows["paths"].min()
    by_length.plot(rows["length"], number**-0.5, ":", color="0.4", label="directions independent of each other")
    by_length.set(yscale="log", xlabel="path length: residual branches on it", ylabel="coherence")
    by_length.set_ylim(0.7 * min(study.rows["coherence"].min(), (number**-0.5).min()), 1.5)
    caption(by_length, "How far do paths cancel?", "1: all of a length point one way; band: standard error over draws")

    # By network.
    places, length = range(len(networks)), summary["length"]
    for what, label, marker, colour in (
        ("at_one_length", f"at length {length}", "o-", figures.OURS),
        ("peak", "at the length that carries most", "s--", figures.OTHER),
    ):
        found = [facts[what] or {"coherence": np.nan, "relative_standard_error": np.nan} for facts in networks.values()]
        values = np.array([f["coherence"] for f in found])
        errors = values * [f["relative_standard_error"] for f in found]
        by_network.errorbar(places, values, errors, fmt=marker, ms=4, lw=1.2, capsize=2, color=colour, label=label)
    by_network.set(ylabel="coherence, with its standard error", ylim=(0, None))
    caption(by_network, "From network to network", f"lengths that carry most: {_peaks(networks)}")

    # The lengths that carry the gradient.
    for kind, label, marker, colour in (
        ("exact", "by exact sums", "o-", figures.OURS),
        ("sampled", "by sampled paths", "^:", figures.OTHER),
    ):
        means = [facts["mean_length"][kind] for facts in networks.values()]
        lengths.plot(places, means, marker, ms=4, lw=1.2, color=colour, label=f"mean length {label}")
    lengths.set(ylabel="mean path length, by what it carries", ylim=(0, None))
    caption(lengths, "Which lengths carry the gradient?", "sampling cannot see what cancels")
    for axes in (by_network, lengths):
        axes.set_xticks(places, list(networks), rotation=40 if max(map(len, networks)) > 4 else 0, ha="center")
        axes.set_xlabel("network")
    figures.finish(figure, figures.heading(summary, "how far paths cancel"), 5)
    return figure


def _with_bounds(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with the coherence less and more its standard error; the lower end stays above 0."""
    error = np.minimum(rows["coherence_error"], 0.99)
    return rows.assign(low=rows["coherence"] * (1 - error), high=rows["coherence"] * (1 + error))


def _peaks(networks: Mapping[str, Any]) -> str:
    """Returns the range of the networks' peaks as text."""
    found = sorted({facts["peak"]["length"] for facts in networks.values()})
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    summary, networks = study.summary, study.summary["networks"]
    lines = [
        f"{counted(len(networks), 'network')}, {summary['examples']:,} examples, {summary['draws']:,} paths of each "
        f"length or more, seed {summary['seed']}: the exact sum over paths of length {summary['length']}, as a share "
        f"of what they would carry if all pointed one way"
    ]
    for name, facts in networks.items():
        there, exact, sampled = facts["at_one_length"], facts["mean_length"]["exact"], facts["mean_length"]["sampled"]
        share = f"{_share(there)}; " if there else f"no path of that length; {_share(facts['peak'])} at its own peak, "
        lines.append(
            f"{name}: {share}most at length {facts['peak']['length']}; mean length {exact:.1f} of "
            f"{facts['blocks_with_a_choice']} by exact sums, {sampled:.1f} by sampled paths"
        )
    return "\n".join(lines)


def _share(found: Mapping[str, float]) -> str:
    """Returns a coherence with its standard error as text."""
    return f"{found['coherence']:.1%} (standard error {found['coherence'] * found['relative_standard_error']:.1%})"


DRAWINGS["cancellation"] = Drawing(draw, describe, curves)
