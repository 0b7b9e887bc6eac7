"""Delete one block at a time: Veit et al. 2016, Fig. 3."""

from __future__ import annotations

from keras_resnets.errors import ArgumentError
from keras_resnets.lanes import SHORTCUT, program
from keras_resnets.network import ResidualNetwork
from keras_resnets.studies.evaluation import evaluate
from keras_resnets.studies.study import Study

# Read off Veit et al. 2016, Fig. 3 left (54 blocks, CIFAR-10), to about +-0.02: block -> error.
VEIT = {1: 0.42, 11: 0.12, 19: 0.12, 37: 0.11}
VEIT_ELSEWHERE = 0.065


def lesion(model: ResidualNetwork, data, *, budget: int = 2**30, verbose: bool = False) -> Study:
    """Measures the network with each residual branch deleted in turn.

    A deleted block hands on its shortcut, with the projection or down-sampling that it has (Veit
    et al. 2016, section 4). Nothing is retrained or rescaled. All deletions are measured in one
    walk through the network, at about half the arithmetic of measuring them one by one.

    Args:
        model: a network with shortcuts.
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the test split is taken.
        budget: bytes that intermediate values may take.
        verbose: whether to draw a progress bar.

    Returns:
        A `Study` with one row per block: `block`, `stage`, `error`, `error_low`, `error_high`
        (95 % Wilson interval over examples), `top5_error`, `loss`, `agreement` with the intact
        network.

    Raises:
        ArgumentError: a block has no shortcut to go on with, or `data` is of the wrong kind.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> study = kr.studies.lesion(model, (np.zeros((4, 8, 8, 1)), np.zeros(4, int)))
        >>> len(study.rows)
        9
    """
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(f"model must be a ResidualNetwork, as build gives; got {type(model).__name__}.")
    blocks = model.blocks
    for block in blocks:
        if block.shortcut is None:
            raise ArgumentError(
                f"model: {block.name!r} of {model.name!r} has no shortcut, so it cannot be deleted; use a "
                f"residual network."
            )
    programs = [program(model, {i: SHORTCUT}) for i in range(len(blocks))]
    rows, facts = evaluate(model, data, programs, budget=budget, verbose=verbose)
    rows.insert(0, "block", [block.name for block in blocks])
    rows.insert(1, "stage", [block.name.split("_block")[0] for block in blocks])
    worst = rows.sort_values("error", ascending=False, kind="stable").head(3)
    intact = facts["intact"]["error"]
    facts |= {
        "blocks": len(blocks),
        "median_error": float(rows["error"].median()),
        "blocks_within_one_point": int((rows["error"] <= intact + 0.01).sum()),
        "worst": {row.block: row.error for row in worst.itertuples()},
    }
    return Study("lesion", rows, facts)


def draw(study: Study):
    """Error against deleted block, with the intact network, stages and the paper's points."""
    import numpy as np
    from matplotlib.figure import Figure

    rows, summary = study.rows, study.summary
    index = np.arange(1, len(rows) + 1)
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    stages = list(rows["stage"])
    starts = [i + 1 for i in range(len(stages)) if i == 0 or stages[i] != stages[i - 1]]
    for k, (start, end) in enumerate(zip(starts, [*starts[1:], len(rows) + 1], strict=True)):
        axes.axvspan(start - 0.5, end - 0.5, color="0.95" if k % 2 == 0 else "white", zorder=0)
        axes.text((start + end - 1) / 2, 1.01, stages[start - 1], ha="center", color="0.4", fontsize=9)
    if len(rows) == 54:
        label = "Veit et al. 2016, Fig. 3, read off: ResNet-110, CIFAR-10"
        axes.plot(list(VEIT), list(VEIT.values()), "D", color="none", markeredgecolor="0.5", markersize=5, label=label)
        axes.axhline(VEIT_ELSEWHERE, color="0.5", lw=1, ls=":", label="the same, all other blocks")
    intact = summary["intact"]["error"]
    axes.axhline(intact, color="tab:orange", lw=1.2, label=f"nothing deleted: {intact:.1%}", zorder=1)
    spread = [rows["error"] - rows["error_low"], rows["error_high"] - rows["error"]]
    axes.errorbar(
        index,
        rows["error"],
        spread,
        fmt="o",
        color="tab:blue",
        ecolor="tab:blue",
        elinewidth=0.9,
        markersize=4.5,
        label=f"one block deleted, 95% interval over {summary['examples']:,} examples",
    )
    for i in np.argsort(-rows["error"].to_numpy(), kind="stable")[:3]:
        if rows["error"][i] > intact + 0.05:
            axes.annotate(
                rows["block"][i],
                (index[i], rows["error"][i]),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    axes.set(xlabel="deleted block", ylabel="top-1 error", xlim=(0.5, len(rows) + 0.5), ylim=(0, 1))
    axes.set_title(f"{summary['model']}: delete one block, keep its skip", loc="left", pad=18)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    return figure


def describe(study: Study) -> str:
    """The finding in two lines."""
    summary = study.summary
    intact = summary["intact"]["error"]
    worst = ", ".join(f"{block} {error:.1%}" for block, error in summary["worst"].items())
    return (
        f"error {intact:.1%} intact, median {summary['median_error']:.1%} with one of {summary['blocks']} blocks "
        f"deleted; {summary['blocks_within_one_point']} blocks cost at most a point\n"
        f"the costliest: {worst}"
    )
