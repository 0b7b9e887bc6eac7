"""The toy network of Littwin & Wolf 2016, Fig. 1: do its batch-norm scales grow during training?

The paper gives ten layers and 50 Gaussians. Width, dimension, number of examples, optimiser,
learning rate and the classifier on top are choices of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.instruments.path_lengths import by_amplitude, by_energy, complexity, mean
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import spread
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies.toy import learn, toy

if TYPE_CHECKING:
    import pandas as pd

WITH, WITHOUT = "with batch-norm", "without"
# The values of beta in Fig. 1 a-c, and the number of layers there.
BETAS, DEEP = (0.1, 0.5, 2.0), 100


def littwin(
    *,
    layers: int = 10,
    width: int = 100,
    dimension: int = 20,
    classes: int = 50,
    apart: float = 1.0,
    samples: int = 2000,
    steps: int = 1000,
    learning_rate: float = 0.1,
    seeds: int = 3,
    seed: int = 0,
) -> Study:
    """Trains the toy network with and without batch-norm to classify Gaussians, and measures it meanwhile.

    Training is plain gradient descent on batches of 100, without momentum as in the paper's theorems;
    without batch-norm at a tenth of the learning rate, since it does not tolerate more.

    Args:
        layers: as for `toy`.
        width: as for `toy`.
        dimension: dimension of the Gaussians, each of unit variance in all directions.
        classes: number of Gaussians.
        apart: standard deviation of each coordinate of their means.
        samples: number of training examples.
        steps: steps of gradient descent.
        learning_rate: learning rate with batch-norm.
        seeds: trainings of each network; each seed has its own Gaussians.
        seed: the first seed; the others follow it.

    Returns:
        A `Study` with a row for each `network`, `seed`, `step` (about 20 of them) and `layer`:
        `scale` (mean `|lambda|`), `norm` of its weights, `energy_ratio` and `cosine` as in
        `keras_resnets.studies.energy.measure`, and the `error` of the whole network on
        examples that it was not trained on.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.littwin(layers=3, width=8, classes=5, samples=50, steps=2, seeds=1)
        >>> study.rows[study.rows["step"] == 0]["layer"].tolist()
        [1, 2, 3, 1, 2, 3]
    """
    import pandas as pd

    for name, value in {"layers": layers, "classes": classes}.items():
        whole_number(name, value, 2)
    counts = {"width": width, "dimension": dimension, "samples": samples, "steps": steps, "seeds": seeds}
    for name, value in counts.items():
        whole_number(name, value, 1)
    whole_number("seed", seed, 0, 2**31 - 1 - seeds)
    for name, size in {"apart": apart, "learning_rate": learning_rate}.items():
        if not size > 0:
            raise ArgumentError(f"{name} must be positive; got {size!r}.")

    # Both networks with each seed, which also determines the Gaussians.
    measured = []
    for number in range(seed, seed + seeds):
        for normalised in (True, False):
            keras.utils.set_random_seed(number)
            rng = np.random.default_rng(number)
            means = rng.normal(0, apart, (classes, dimension))
            network = toy(layers, width, dimension, classes, normalised)
            rate = learning_rate if normalised else learning_rate / 10
            network.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
            arm = {"network": WITH if normalised else WITHOUT, "seed": number}
            measured += [arm | row for row in learn(network, means, samples, steps, rng)]

    rows = pd.DataFrame(measured)
    facts = {"layers": layers, "classes": classes, "apart": apart, "learning_rate": learning_rate, **counts}
    return Study("littwin", rows, facts | {"seed": seed} | _summarise(rows))


def by_run(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns by network, seed and step the `norm` of all weights, the effective `depth` and the `error`."""
    import pandas as pd

    run = ["network", "seed", "step"]
    groups, blocks = (part.groupby(run, sort=False) for part in (rows, rows[rows["layer"] > 1]))
    return pd.DataFrame(
        {
            "norm": groups["norm"].agg(lambda norms: float(np.linalg.norm(norms))),
            "depth": blocks["energy_ratio"].agg(lambda ratios: mean(by_energy(ratios))),
            "error": groups["error"].first(),
        }
    )


def _summarise(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns, at the start and the end and over seeds, what the paper says grows; every |lambda| starts at 1."""
    # Norm, effective depth and error of each network.
    last, runs = rows["step"].max(), by_run(rows)
    steps = {"start": 0, "end": last}
    summary: dict[str, Any] = {
        network: {
            measure: {when: spread(runs.loc[network].xs(step, level="step")[measure]) for when, step in steps.items()}
            for measure in runs
        }
        for network in (WITH, WITHOUT)
    }

    # The scales of the batch-norms: how many of them grew, since the start and since a quarter of the steps.
    scales = rows[rows["network"] == WITH].set_index(["layer", "seed", "step"])["scale"].unstack("step")
    early = min(scales.columns, key=lambda step: abs(step - last / 4))
    for kind, chosen in (("without_skip", scales.loc[[1]]), ("with_skip", scales.drop(1))):
        counts = {name: int((chosen[last] > chosen[at]).sum()) for name, at in (("grew", 0), ("grew_since", early))}
        summary[f"scale_{kind}"] = {**counts, "since": int(early), "of": len(chosen), **spread(chosen[last])}
    return summary


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard, by step, means over seeds: |lambda| of each layer, norm of weights, effective depth."""
    rows, runs = study.rows, by_run(study.rows).groupby(["network", "step"], sort=False).mean()
    normalised = rows[rows["network"] == WITH].groupby(["layer", "step"])["scale"].mean()
    series = {f"lambda of layer {layer}": normalised.loc[layer] for layer in sorted(rows["layer"].unique())}
    for measure, what in (("norm", "norm of weights"), ("depth", "effective depth")):
        for network in (WITH, WITHOUT):
            series[f"{what}, {network}"] = runs.loc[network][measure]
    return {name: Curve(values, "step of the training", follows=True) for name, values in series.items()}


def draw(study: Study):
    """Plots the paper's Fig. 1: theory above, beside the measured effective depth, and trained networks below."""
    from keras_resnets.reports import figures

    summary, (figure, axes) = study.summary, figures.panels(3, 8.6, rows=2)
    weights, theta, depth, scales, norm, error = axes

    # Theory: weights of path lengths, and complexity.
    for beta, colour in zip(BETAS, figures.COLOURS, strict=False):
        epsilon = by_amplitude([beta**2] * (DEEP - 1))
        weights.fill_between(np.arange(1, DEEP + 1), epsilon, color=colour, alpha=0.5, step="mid", lw=0)
        weights.text(epsilon.argmax() + 1, epsilon.max() + 0.01, f"beta = {beta:g}", ha="center", color=colour)
    weights.set(xlabel=f"path length r, of {DEEP} layers", ylabel="weight epsilon of the length", ylim=(0, 0.5))
    betas = np.geomspace(0.01, 10, 121)
    theta.plot(betas, [complexity(by_amplitude([beta**2] * (DEEP - 1))) for beta in betas], color="0.3")
    theta.set(xscale="log", xlabel="beta", ylabel="normalised complexity theta (Eq. 31)")

    # Measured by step: depth, norm of the weights, error.
    rows, runs = study.rows, by_run(study.rows)
    for network, colour in ((WITH, figures.OURS), (WITHOUT, figures.OTHER)):
        for panel, measure in ((depth, "depth"), (norm, "norm"), (error, "error")):
            by_seed = runs.loc[network][measure].unstack("seed")
            if measure == "norm":
                by_seed = by_seed / by_seed.iloc[0]
            label = f"{network}: mean, and extremes of seeds"
            panel.plot(by_seed.index, by_seed.mean(axis=1), color=colour, label=label)
            low, high = by_seed.min(axis=1), by_seed.max(axis=1)
            panel.fill_between(by_seed.index, low, high, color=colour, alpha=0.2, lw=0)
            panel.set_xlabel("step")
    depth.set(ylabel=f"effective depth: mean of\nresidual branches passed, of {summary['layers'] - 1}", ylim=(0, None))
    norm.set(ylabel="norm of the weights,\nover that at the start")
    error.set(ylabel="error on examples not trained on", ylim=(0, 1))
    error.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")

    # The scales of the batch-norms by layer.
    normalised = rows[rows["network"] == WITH].groupby(["step", "layer"])["scale"]
    for step, colour in figures.by_time(sorted(rows["step"].unique())).items():
        mean_scale, low, high = (getattr(normalised, kind)().loc[step] for kind in ("mean", "min", "max"))
        scales.plot(mean_scale, ".-", color=colour, label=f"step {step}")
        scales.fill_between(mean_scale.index, low, high, color=colour, alpha=0.15, lw=0)
    scales.set(xlabel="layer (the first has no skip)", ylabel="mean |lambda|, with batch-norm")
    scales.xaxis.get_major_locator().set_params(integer=True)
    title = (
        f"A residual perceptron of {summary['layers']} layers learns {summary['classes']} Gaussians from "
        f"{summary['samples']:,} examples, {counted(summary['seeds'], 'seed')} (Littwin & Wolf 2016, Fig. 1)"
    )
    figures.finish(figure, title, 7)
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    one, others = s["scale_without_skip"], s["scale_with_skip"]
    lines = [
        f"mean |lambda| starts at 1; after {s['steps']} steps the layer without a skip has {one['50%']:.4f} "
        f"({one['min']:.4f} to {one['max']:.4f}; grew with {one['grew']} of {counted(one['of'], 'seed')}), "
        f"those with one {others['50%']:.4f} ({others['min']:.4f} to {others['max']:.4f}; "
        f"grew in {others['grew']} of {others['of']})",
        f"from step {one['since']} on it grew with {one['grew_since']} of {counted(one['of'], 'seed')}, and in "
        f"{others['grew_since']} of {others['of']}",
    ]
    lines += [
        f"{network}: effective depth {_describe_change(s[network]['depth'], '.2f')} of {s['layers'] - 1}, norm of the "
        f"weights {_describe_change(s[network]['norm'], '.2f')}, error {_describe_change(s[network]['error'], '.1%')}"
        for network in (WITH, WITHOUT)
    ]
    return "\n".join([*lines, f"medians, and extremes over {counted(s['seeds'], 'seed')}"])


def _describe_change(measure: dict[str, Any], form: str) -> str:
    """Returns a measure's medians at the start and the end, with its extremes at the end."""
    start, end = measure["start"], measure["end"]
    return f"{start['50%']:{form}} to {end['50%']:{form}} ({end['min']:{form}} to {end['max']:{form}})"


DRAWINGS["littwin"] = Drawing(draw, describe, curves)
