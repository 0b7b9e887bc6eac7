"""How strongly the layers respond: He et al. 2015, Fig. 7.

The paper measures the standard deviation of each 3x3 convolution's response, after its batch-norm and
before the nonlinearity or the addition. It claims (section 4.2) that residual networks generally have
smaller responses than their plain counterparts, so residual functions are closer to zero than
layers without a skip; and that the deeper the residual network, the smaller its layers' responses.

A batch-norm whose moving statistics match the data gives a channel the mean beta and the
standard deviation |gamma|, so over all channels the variance mean(gamma^2) + var(beta). Behind a
batch-norm, the study therefore measures gamma and beta as training and weight decay have left them:
near 1 if gamma is still near its initial value. A value far above that means that the moving statistics
do not match, as in deep networks after a short training, and tells little about the learned functions.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.data.batches import BATCH, DataFingerprint, examples_in, name_of
from keras_resnets.data.moments import Moments
from keras_resnets.data.needs import batches_for
from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import engine_for, progress, side_by_side
from keras_resnets.instruments.lanes import MEMORY
from keras_resnets.instruments.taps import Reader, Tap, taps_of
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import spread
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import fingerprint

if TYPE_CHECKING:
    import pandas as pd

NORMS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization)
PLAIN, DEEPER = "residual against plain", "deeper against shallower residual"


@explained
def responses(
    model: keras.Model,
    data,
    *,
    beside: Sequence[keras.Model] = (),
    budget: int = MEMORY,
    verbose: bool = False,
) -> Study:
    """Measures the standard deviation of every convolution's response, over examples, positions and channels.

    The response is the output of the batch-norm (or other normalisation) directly behind a convolution in its
    branch. Without one, or if the convolution has its own activation, it is the convolution's
    output before that activation. In a pre-activation network, the addition follows
    a branch's last convolution directly, so that one's response is the unnormalised term of the
    sum, as is the stem's, while the inner convolutions of the branch are followed by batch-norm. The same holds
    with batch-norm behind the addition (`placement="bn_after"`).

    The convolutions are those of the main path: stem, residual branches and links between
    blocks, without projections of shortcuts and gates. Every one has a row. Like the paper, the figure, the
    summary and the comparisons count only the 3x3 ones, or all if there are none.

    Moving statistics are used, as for prediction; labels are not.

    Args:
        model: a `ResidualNetwork`, or a model that `adopt` takes.
        data: as for `keras_resnets.studies.lesion`.
        beside: further networks for the same data, such as a plain one and a deeper one, for
            the same rows and figure, and for comparison.
        budget: as for `lesion`.
        verbose: as for `lesion`.

    Returns:
        A `Study` with one row per convolution, in order: `model`, `layer` (from 1), `name` (block
        and layer), `block`, `stage` (between blocks, the stage of
        the next one; `stem` and `head`), `kernel`, `counted`,
        `normalised` (whether measured behind a normalisation), `std`, `mean`, `expected_std` (by the batch-norm's
        gamma and beta, if its moving statistics matched), and the quartiles over channels
        of each one's own standard deviation: `channel_lower_quartile`, `channel_median`,
        `channel_upper_quartile`. In the summary, each of the `comparisons` gives the ratio of the
        medians over layers, that of the expected ones if every layer has one, and the share of
        pairs of layers, one of each network, in which the first network's responds less.

    Raises:
        ArgumentError: the network is not a chain or has no convolution, or `data` is of the wrong kind.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model, plain = kr.build("resnet20", (8, 8, 1)), kr.build("plain20", (8, 8, 1))
        >>> study = kr.studies.responses(model, (np.ones((4, 8, 8, 1)), None), beside=[plain])
        >>> len(study.rows), study.summary["comparisons"][0]["against"]
        (38, 'plain20')
    """
    rows, facts = side_by_side(
        map(adopt, (model, *beside)), lambda network: measure(network, data, budget=budget, verbose=verbose)
    )
    first, *others = facts.items()
    return Study("responses", rows, first[1] | {"beside": dict(others), "comparisons": _compare(rows, facts)})


def convolutions(network: ResidualNetwork) -> list[tuple[Tap, Tap]]:
    """Returns each convolution of the main path with the tap that reads its response.

    Raises:
        ArgumentError: there is none.
    """
    main = [tap for tap in taps_of(network) if tap.part not in ("shortcut", "preactivation")]
    pairs = [(tap, _response(tap)) for tap in main if hasattr(tap.layer, "kernel_size")]
    if not pairs:
        raise ArgumentError(f"model: {network.name!r} has no convolution outside its shortcuts; use one that has.")
    return pairs


def _response(tap: Tap) -> Tap:
    """Returns the tap that reads a convolution's response: its normalisation, or itself before its activation."""
    if getattr(tap.layer, "activation", None) not in (None, keras.activations.linear):
        return dataclasses.replace(tap, linear=True)
    return tap.then if tap.then is not None and isinstance(tap.then.layer, NORMS) else tap


def reader_for(network: ResidualNetwork) -> Reader:
    """Returns the reader of a network's responses."""
    return Reader(network, [response for _, response in convolutions(network)])


def measure(
    network: ResidualNetwork, data, *, budget: int = MEMORY, verbose: bool = False, reader: Reader | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measures one network; returns rows and facts. A `reader` from `reader_for` avoids tracing again."""
    import pandas as pd

    # Mean and deviation of every response, batch by batch.
    pairs, reader = convolutions(network), reader or reader_for(network)
    moments = {response: Moments() for _, response in pairs}
    data_read, count = DataFingerprint(), 0
    with progress(f"reading {network.name}", examples_in(data), verbose) as advance:
        for x, y in batches_for(network, data, engine_for(network, budget).rows(BATCH)):
            for tap, value in reader.values(x):
                moments[tap].add(value.reshape(-1, value.shape[-1]).astype("float64"))
            data_read.add(x, y)
            count += len(x)
            advance(len(x))

    # A row for each convolution.
    stages = _stages(network)
    kernels = ["x".join(map(str, tap.layer.kernel_size)) for tap, _ in pairs]
    in_order = [moments[response] for _, response in pairs]
    channels = np.array([np.quantile(m.deviations, (0.25, 0.5, 0.75)) for m in in_order])
    rows = pd.DataFrame(
        {
            "model": network.name,
            "layer": np.arange(1, len(pairs) + 1),
            "name": [tap.name for tap, _ in pairs],
            "block": [tap.link for tap, _ in pairs],
            "stage": [stages[tap.link] for tap, _ in pairs],
            "kernel": kernels,
            "counted": [kernel == "3x3" or "3x3" not in kernels for kernel in kernels],
            "normalised": [response.layer is not tap.layer for tap, response in pairs],
            "std": [m.deviation for m in in_order],
            "mean": [float(m.mean.mean()) for m in in_order],
            "expected_std": [_expected_deviation(response.layer) for _, response in pairs],
            "channel_lower_quartile": channels[:, 0],
            "channel_median": channels[:, 1],
            "channel_upper_quartile": channels[:, 2],
        }
    )

    # The facts, of the convolutions that count.
    counted = rows[rows["counted"]]
    has_expected = counted["expected_std"].gt(0).any()
    return rows, {
        "model": network.name,
        "convolutions": len(rows),
        "counted": len(counted),
        "kernel": "3x3" if "3x3" in kernels else "all",
        "normalised": int(counted["normalised"].sum()),
        "std_over_expected": float((counted["std"] / counted["expected_std"]).median()) if has_expected else None,
        "skips": sum(block.shortcut is not None for block in network.blocks),
        "std": spread(counted["std"]) | {"mean": float(counted["std"].mean())},
        "examples": count,
        "data": name_of(data),
        "weights_fingerprint": fingerprint(network.weights),
        "data_fingerprint": data_read.text,
    }


def _stages(network: ResidualNetwork) -> dict[str, str]:
    """Returns the stage of each link: between blocks that of the next one; stem and head are stages of their own."""
    stage_of_block = dict(zip([block.name for block in network.blocks], network.stages, strict=True))
    stages, following = {}, None
    for link in reversed(network.chain):
        following = stage_of_block.get(link.name, following)
        stages[link.name] = following or link.name
    first = network.chain[0].name
    return stages | {first: stage_of_block.get(first, first)}


def _expected_deviation(layer) -> float:
    """Returns the standard deviation behind a batch-norm with matching moving statistics; NaN for another layer."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return float("nan")
    gamma = np.asarray(layer.gamma, "float64") if layer.scale else np.ones(1)
    beta = np.asarray(layer.beta, "float64") if layer.center else np.zeros(1)
    return float(np.sqrt((gamma**2).mean() + beta.var()))


def _compare(rows: pd.DataFrame, facts: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Tests the paper's two claims for every pair of networks that they apply to.

    The plain counterpart of a residual network is one with as many layers; if there is none, all plain networks are.
    """
    # The pairs that each claim is about.
    std, expected = (
        {name: part[column].to_numpy() for name, part in rows[rows["counted"]].groupby("model", sort=False)}
        for column in ("std", "expected_std")
    )
    residual = [name for name, facts_of_one in facts.items() if facts_of_one["skips"]]
    pairs = []
    for one in residual:
        plain = [name for name in facts if name not in residual]
        as_deep = [name for name in plain if len(std[name]) == len(std[one])]
        pairs += [(PLAIN, one, other) for other in as_deep or plain]
    pairs += [
        (DEEPER, one, other) for one, other in itertools.permutations(residual, 2) if len(std[one]) > len(std[other])
    ]

    # What the claims say, in numbers.
    comparisons = []
    for claim, one, other in pairs:
        signs = np.sign(std[other][None, :] - std[one][:, None])
        comparisons.append(
            {
                "claim": claim,
                "network": one,
                "against": other,
                "ratio_of_medians": _ratio(std[one], std[other]),
                "ratio_of_expected": _ratio(expected[one], expected[other]),
                "smaller_in": float((signs + 1).mean() / 2),  # a tie counts half
            }
        )
    return comparisons


def _ratio(one, other) -> float | None:
    """Returns the ratio of the medians; None if a layer has no such value, or the second median is 0."""
    medians = np.median(one), np.median(other)
    return None if np.isnan(medians).any() or medians[1] == 0 else float(medians[0] / medians[1])


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: the standard deviation by layer."""
    deviations: dict[str, Curve] = {}
    for name, rows in study.rows.groupby("model", sort=False):
        prefix = "" if name == study.rows["model"].iloc[0] else f"{name}: "
        deviations[f"{prefix}standard deviation of responses, by layer"] = Curve(rows.set_index("name")["std"], "layer")
    return deviations


def draw(study: Study):
    """Plots the standard deviations in the order of layers (above) and sorted (below), as in the paper."""
    from keras_resnets.reports import figures

    summary, (figure, (top, bottom)) = study.summary, figures.panels(1, 7, rows=2)
    counted = study.rows[study.rows["counted"]]
    networks = {summary["model"]: summary} | summary["beside"]

    # A residual network and its plain counterpart share a colour, unless two networks would look the same.
    depths = [(facts["counted"], facts["skips"] > 0) for facts in networks.values()]
    keys = [depth for depth, _ in depths] if len(set(depths)) == len(depths) else list(networks)
    colours = dict(zip(dict.fromkeys(keys), itertools.cycle(figures.COLOURS), strict=False))

    # Each network; a single one with the quartiles of its channels.
    for (name, facts), key in zip(networks.items(), keys, strict=True):
        rows = counted[counted["model"] == name]
        index, std = np.arange(1, len(rows) + 1), rows["std"].to_numpy()
        style = {"color": colours[key], "lw": 1.4, "ls": "-" if facts["skips"] else (0, (3, 1.5)), "zorder": 3}
        top.plot(index, std, **style, label=f"{name}: median {facts['std']['50%']:.3g}")
        bottom.plot(index, np.sort(std)[::-1], **style)
        raw = ~rows["normalised"].to_numpy()
        if raw.any() and not raw.all():
            top.plot(index[raw], std[raw], "o", color="white", markeredgecolor=colours[key], markersize=4.5, zorder=4)
        if len(networks) == 1:
            figures.stage_bands(top, list(rows["stage"]))
            quartiles = rows["channel_lower_quartile"], rows["channel_upper_quartile"]
            label = "quartiles over channels of each one's own"
            expected = rows["expected_std"][rows["expected_std"].notna()]
            if len(expected):
                places = index[rows["expected_std"].notna().to_numpy()]
                top.plot(places, expected, ":", color="0.45", label="by gamma and beta alone")
            top.fill_between(index, *quartiles, color=colours[key], alpha=0.15, lw=0, label=label)

    # Labels and limits of the axes.
    layers = f"{summary['kernel']} convolution" if summary["kernel"] != "all" else "convolution"
    if counted.groupby("model")["normalised"].nunique().gt(1).any():
        top.plot([], [], "o", color="white", markeredgecolor="0.3", markersize=4.5, label="no batch-norm right behind")
    top.set(xlabel=f"{layers}, in order")
    bottom.set(xlabel=f"{layers}s, sorted by standard deviation")
    most = max(facts["counted"] for facts in networks.values())
    for axes in (top, bottom):
        axes.set(ylabel=f"standard deviation of the response\nover {summary['examples']:,} examples")
        axes.set(xlim=(0.5, most + 0.5), ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(integer=True)
    figures.finish(figure, figures.heading(summary, "responses of layers, before nonlinearity and addition"), 3)
    return figure


def describe(study: Study) -> str:
    """Summarises the result, in a line for each network and each comparison."""
    lines = []
    for name, facts in [(study.summary["model"], study.summary), *study.summary["beside"].items()]:
        std, kernel = facts["std"], "" if facts["kernel"] == "all" else f"{facts['kernel']} "
        over = facts["std_over_expected"]
        over = "" if over is None else f"; {over:.2f} times what its gamma and beta alone would give"
        lines.append(
            f"{name}: standard deviation of responses: median {std['50%']:.3g} (quartiles {std['25%']:.3g} to "
            f"{std['75%']:.3g}) over {facts['counted']} {kernel}convolutions, {facts['normalised']} of them behind a "
            f"normalisation{over}"
        )
    for pair in study.summary["comparisons"]:
        ratio, expected = pair["ratio_of_medians"], pair["ratio_of_expected"]
        alone = "" if expected is None else f" ({expected:.3g} by gamma and beta alone)"
        times = "" if ratio is None else f"{ratio:.3g} times the median{alone}; "
        lines.append(
            f"{pair['claim']}: {pair['network']} against {pair['against']}: {times}smaller in "
            f"{pair['smaller_in']:.0%} of pairs of layers"
        )
    return "\n".join(lines)


DRAWINGS["responses"] = Drawing(draw, describe, curves)
