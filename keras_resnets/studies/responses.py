"""How strongly the layers respond: He et al. 2015, Fig. 7.

The paper takes the standard deviation of each 3x3 convolution's response, after its batch-norm and
before the nonlinearity or the addition. Its claims (section 4.2): residual networks have generally
smaller responses than their plain counterparts, so that residual functions are closer to zero than
layers without a skip; and the deeper the residual network, the smaller its layers' responses.

A batch-norm whose moving statistics are those of the data gives a channel the mean beta and the
standard deviation |gamma|, so over all channels the variance mean(gamma^2) + var(beta). So what is
measured behind one is what training, weight decay included, has made of gamma and beta: near 1 in
every network whose gamma is still near its start. Where it is far above that, the moving statistics
do not fit, as in deep networks after a short training, and it says little about the functions learned.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.data.batches import BATCH, DataFingerprint, batches, examples_in
from keras_resnets.data.moments import Moments
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.evaluation import engine_for, progress, side_by_side
from keras_resnets.instruments.taps import Reader, Tap, taps_of
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.statistics import spread
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import fingerprint

if TYPE_CHECKING:
    import pandas as pd

NORMS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization)
PLAIN, DEEPER = "residual against plain", "deeper against shallower residual"


def responses(
    model: keras.Model,
    data,
    *,
    beside: Sequence[keras.Model] = (),
    budget: int = 2**30,
    verbose: bool = False,
) -> Study:
    """Measures the standard deviation of every convolution's response, over examples, positions and channels.

    The response is what the batch-norm (or other normalisation) right behind a convolution in its
    branch gives; where none is, or the convolution has an activation of its own, it is what the
    convolution gives, before that activation. So in a pre-activation network, whose addition comes
    right behind a branch's last convolution, that one's response is the unnormalised term of the
    sum, as is the stem's, while the inner convolutions of the branch are followed by batch-norm. So, too,
    where batch-norm stands behind the addition (`placement="bn_after"`).

    The convolutions are those of the main path: stem, residual branches and what lies between
    blocks; not the projections of shortcuts, nor gates. Every one has a row. The paper counts the 3x3 ones:
    so do the figure, the summary and the comparisons, unless there are none, and all count.

    Moving statistics are used, as for prediction, and labels are not.

    Args:
        model: a `ResidualNetwork`, or what `adopt` takes.
        data: as for `keras_resnets.studies.lesion`.
        beside: further networks for the same data, such as a plain one and a deeper one, to stand
            in the same rows and figure, and to be compared.
        budget: as for `lesion`.
        verbose: as for `lesion`.

    Returns:
        A `Study` with one row per convolution, in order: `model`, `layer` (from 1), `name` (block
        and layer), `block`, `stage` (of what lies between blocks, that of
        the next; `stem` and `head`), `kernel`, `counted`,
        `normalised` (whether behind a normalisation), `std`, `mean`, `expected_std` (what gamma and
        beta of the batch-norm would give with moving statistics that fit), and over the channels the
        quartiles of each one's own standard deviation: `channel_lower_quartile`, `channel_median`,
        `channel_upper_quartile`. In the summary, each of the `comparisons` gives the ratio of the
        medians over layers, that of the expected ones where every layer has one, and the share of
        pairs, one layer of each network, in which the first responds less.

    Raises:
        ArgumentError: the network is no chain or has no convolution, or `data` is of the wrong kind.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model, plain = kr.build("resnet20", (8, 8, 1)), kr.build("plain20", (8, 8, 1))
        >>> study = kr.studies.responses(model, (np.ones((4, 8, 8, 1)), None), beside=[plain])
        >>> len(study.rows), study.summary["comparisons"][0]["against"]
        (38, 'plain20')
    """
    rows, found = side_by_side(
        map(adopt, (model, *beside)), lambda network: measure(network, data, budget=budget, verbose=verbose)
    )
    first, *others = found.items()
    return Study("responses", rows, first[1] | {"beside": dict(others), "comparisons": _comparisons(rows, found)})


def convolutions(network: ResidualNetwork) -> list[tuple[Tap, Tap]]:
    """Returns each convolution of the main path with the place where its response is read.

    Raises:
        ArgumentError: there is none.
    """
    main = [tap for tap in taps_of(network) if tap.part not in ("shortcut", "preactivation")]
    found = [(tap, _response(tap)) for tap in main if hasattr(tap.layer, "kernel_size")]
    if not found:
        raise ArgumentError(f"model: {network.name!r} has no convolution outside its shortcuts; use one that has.")
    return found


def _response(tap: Tap) -> Tap:
    if getattr(tap.layer, "activation", None) not in (None, keras.activations.linear):
        return dataclasses.replace(tap, linear=True)
    return tap.then if tap.then is not None and isinstance(tap.then.layer, NORMS) else tap


def reader_for(network: ResidualNetwork) -> Reader:
    """Returns what reads the responses of a network."""
    return Reader(network, [response for _, response in convolutions(network)])


def measure(
    network: ResidualNetwork, data, *, budget: int = 2**30, verbose: bool = False, reader: Reader | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows and the facts of one network; `reader` as `reader_for` gave it, to spare the tracing."""
    import pandas as pd

    pairs, reader = convolutions(network), reader or reader_for(network)
    moments = {response: Moments() for _, response in pairs}
    axes = {response: 1 if conv.layer.data_format == "channels_first" else -1 for conv, response in pairs}
    read, count = DataFingerprint(), 0
    with progress(f"reading {network.name}", examples_in(data), verbose) as advance:
        for x, y in batches(data, engine_for(network, budget).rows(BATCH)):
            for tap, value in reader.values(x):
                value = np.moveaxis(value, axes[tap], -1)
                moments[tap].add(value.reshape(-1, value.shape[-1]).astype("float64"))
            read.add(x, y)
            count += len(x)
            advance(len(x))
    stages = _stages(network)
    kernels = ["x".join(map(str, tap.layer.kernel_size)) for tap, _ in pairs]
    found = [moments[response] for _, response in pairs]
    channels = np.array([np.quantile(m.deviations, (0.25, 0.5, 0.75)) for m in found])
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
            "std": [m.deviation for m in found],
            "mean": [float(m.mean.mean()) for m in found],
            "expected_std": [_expected(response.layer) for _, response in pairs],
            "channel_lower_quartile": channels[:, 0],
            "channel_median": channels[:, 1],
            "channel_upper_quartile": channels[:, 2],
        }
    )
    counted = rows[rows["counted"]]
    behind = counted["expected_std"].gt(0).any()
    return rows, {
        "model": network.name,
        "convolutions": len(rows),
        "counted": len(counted),
        "kernel": "3x3" if "3x3" in kernels else "all",
        "normalised": int(counted["normalised"].sum()),
        "std_over_expected": float((counted["std"] / counted["expected_std"]).median()) if behind else None,
        "skips": sum(block.shortcut is not None for block in network.blocks),
        "std": spread(counted["std"]) | {"mean": float(counted["std"].mean())},
        "examples": count,
        "weights_fingerprint": fingerprint(network.weights),
        "data_fingerprint": read.text,
    }


def _stages(network: ResidualNetwork) -> dict[str, str]:
    """The stage of each link: what lies between blocks leads to the next one's; stem and head are on their own."""
    known = dict(zip([block.name for block in network.blocks], network.stages, strict=True))
    found, following = {}, None
    for link in reversed(network.chain):
        following = known.get(link.name, following)
        found[link.name] = following or link.name
    first = network.chain[0].name
    return found | {first: known.get(first, first)}


def _expected(layer) -> float:
    """The standard deviation behind a batch-norm whose moving statistics fit; NaN for another layer."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return float("nan")
    gamma = np.asarray(layer.gamma, "float64") if layer.scale else np.ones(1)
    beta = np.asarray(layer.beta, "float64") if layer.center else np.zeros(1)
    return float(np.sqrt((gamma**2).mean() + beta.var()))


def _comparisons(rows: pd.DataFrame, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's two claims in numbers, for every two networks that they speak of.

    The plain counterpart of a residual network is the one of as many layers; without such, all are.
    """
    std, expected = (
        {name: part[column].to_numpy() for name, part in rows[rows["counted"]].groupby("model", sort=False)}
        for column in ("std", "expected_std")
    )
    residual = [name for name, facts in found.items() if facts["skips"]]
    pairs = []
    for one in residual:
        plain = [name for name in found if name not in residual]
        alike = [name for name in plain if len(std[name]) == len(std[one])]
        pairs += [(PLAIN, one, other) for other in alike or plain]
    pairs += [
        (DEEPER, one, other) for one, other in itertools.permutations(residual, 2) if len(std[one]) > len(std[other])
    ]
    compared = []
    for claim, one, other in pairs:
        apart = np.sign(std[other][None, :] - std[one][:, None])
        compared.append(
            {
                "claim": claim,
                "network": one,
                "against": other,
                "ratio_of_medians": _ratio(std[one], std[other]),
                "ratio_of_expected": _ratio(expected[one], expected[other]),
                "smaller_in": float((apart + 1).mean() / 2),  # a tie is half of each
            }
        )
    return compared


def _ratio(one, other) -> float | None:
    """The ratio of the medians; None where a layer has no such value, or the second is 0."""
    medians = np.median(one), np.median(other)
    return None if np.isnan(medians).any() or medians[1] == 0 else float(medians[0] / medians[1])


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: the standard deviation by number of the layer."""
    found: dict[str, pd.Series] = {}
    for name, rows in study.rows.groupby("model", sort=False):
        prefix = "" if name == study.rows["model"].iloc[0] else f"{name}/"
        found[f"{prefix}std"] = rows.set_index("layer")["std"]
    return found


def draw(study: Study):
    """The standard deviations in the order of the layers above, and in their own order below, as in the paper."""
    from keras_resnets.reports import figures

    summary, (figure, (top, bottom)) = study.summary, figures.panels(1, 7, rows=2)
    counted = study.rows[study.rows["counted"]]
    networks = {summary["model"]: summary} | summary["beside"]
    # A residual network and its plain counterpart have one colour, unless that would make two networks look alike.
    depths = [(facts["counted"], facts["skips"] > 0) for facts in networks.values()]
    keys = [depth for depth, _ in depths] if len(set(depths)) == len(depths) else list(networks)
    colours = dict(zip(dict.fromkeys(keys), itertools.cycle(figures.COLOURS), strict=False))
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
            known = rows["expected_std"].notna().to_numpy()
            if known.any():
                top.plot(index[known], rows["expected_std"][known], ":", color="0.45", label="by gamma and beta alone")
            top.fill_between(index, *quartiles, color=colours[key], alpha=0.15, lw=0, label=label)
    what = f"{summary['kernel']} convolution" if summary["kernel"] != "all" else "convolution"
    if counted.groupby("model")["normalised"].nunique().gt(1).any():
        top.plot([], [], "o", color="white", markeredgecolor="0.3", markersize=4.5, label="no batch-norm right behind")
    top.set(xlabel=f"{what}, in order")
    bottom.set(xlabel=f"{what}s, sorted by standard deviation")
    most = max(facts["counted"] for facts in networks.values())
    for axes in (top, bottom):
        axes.set(ylabel=f"standard deviation of the response\nover {summary['examples']:,} examples")
        axes.set(xlim=(0.5, most + 0.5), ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(integer=True)
    figures.finish(figure, f"{summary['model']}: responses of layers, before nonlinearity and addition", 3)
    return figure


def describe(study: Study) -> str:
    """The finding: a line for each network and for each comparison."""
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
