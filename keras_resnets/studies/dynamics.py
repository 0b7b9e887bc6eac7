"""Effective depth of a network during training: Littwin & Wolf 2016."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_resnets import data as datasets
from keras_resnets.architecture.spec import Spec
from keras_resnets.data.batches import BATCH
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments import teaching
from keras_resnets.instruments.path_lengths import by_amplitude, by_energy
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import Run
from keras_resnets.showing import counted
from keras_resnets.studies.watch import DEPTHS, FILE, EffectiveDepth, by_epoch
from keras_resnets.training import recipes, training
from keras_resnets.training.feeding import data_for


def dynamics(
    network: str | Spec,
    data: str | os.PathLike | datasets.Data = "digits",
    recipe: str | recipes.Recipe = "digits",
    *,
    out: str | os.PathLike,
    epochs: int | None = None,
    seed: int = 0,
    every: int = 1,
    examples: int = BATCH,
    gradients: int = 32,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
    **overrides: Any,
) -> Study:
    """Trains a network and measures its effective depth before training and after epochs.

    Littwin & Wolf 2016 derive that a residual network starts as an ensemble of shallow ones and
    becomes effectively deeper as the scales of its residual branches grow. This study measures the energy
    of each residual branch relative to its shortcut, always on the same examples of the test split.
    The effective depth is the mean number of residual branches on the paths that make up the network's
    output, assuming that the two branches of each block are uncorrelated: the sum of
    `ratio / (1 + ratio)` over the blocks' energy ratios. The measured cosine tells whether they are:
    it is 0 for uncorrelated branches. Littwin & Wolf's own distribution treats all paths of a length
    as copies in phase, as if the cosine were 1; it is reported as `in_phase`. See
    `keras_resnets.studies.path_lengths`. At initialisation, batch-normalised branches have the ratios
    1/l along a stage (their section on batch normalisation: energies 1, 2, 3, ...), which gives
    a depth of about the logarithm of the number of blocks.

    Args:
        network: as for `keras_resnets.train`.
        data: as for `train`.
        recipe: as for `train`.
        out: the run directory; an interrupted training resumes, and a finished one is read.
        epochs: as for `train`.
        seed: as for `train`.
        every: epochs between measurements.
        examples: number of examples to measure on, in one batch.
        gradients: number of these examples whose gradient is split by path length after an epoch,
            0 for none: which blocks learn, and through paths of what length (Wu et al. 2016, see
            `keras_resnets.studies.teaching`).
        callbacks: as for `train`.
        verbose: as for `train`.
        **overrides: as for `train`.

    Returns:
        A `Study` with a row for each epoch measured (0 is before training) and block that has
        both branches: `epoch`, `block`, `stage`, `energy_ratio`, `cosine`, `gamma`, as in
        `keras_resnets.studies.energy.measure`, `gradient_share` and `taught_by`, as in
        `keras_resnets.studies.teaching.measure`.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds a run that was not measured
            from the start.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> study = kr.studies.dynamics("resnet8", out=tempfile.mkdtemp(), epochs=1, verbose=0)
        >>> study.rows["epoch"].tolist()
        [0, 0, 0, 1, 1, 1]
    """
    recipe, run = recipes.get(recipe), Run(out, {})
    # In early versions below `logs`, where TensorBoard takes scalars for metrics of the training.
    early = Path(out) / "logs" / "depth"
    logs = early if (early / FILE).exists() else Path(out) / "depth"
    if (run.finished or (run.path / "checkpoints").exists()) and not (logs / FILE).exists():
        raise ArgumentError(
            f"{str(out)!r} holds a training that was not measured from the start; give another --out to train again."
        )

    if not isinstance(data, datasets.Data):
        data = data_for(recipe, data, seed=seed)
    callback = EffectiveDepth(data, logs, every, examples, gradients)
    options: dict[str, Any] = {"out": out, "epochs": epochs, "seed": seed, "verbose": verbose}
    model = training.train(network, data, recipe, callbacks=[callback, *callbacks], **options, **overrides)

    # An earlier process may have finished the training, so rows are read from disk.
    callback.set_model(model)
    callback.load()
    return callback.study()


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: effective depth by epoch."""
    depth = by_epoch(study.rows)
    return {DEPTHS[name]: Curve(depth[name].dropna(), "finished epochs", follows=True) for name in depth}


def draw(study: Study):
    """Plots effective depth by epoch, and at some epochs path lengths and each branch's energy, scale and gradient."""
    from keras_resnets.reports import figures

    summary, rows, depth = study.summary, study.rows, by_epoch(study.rows)
    figure, axes = figures.panels(3 if summary["taught"] else 2, 8.6, rows=2)
    over, lengths, *learning = axes[: len(axes) // 2]
    ratios, gammas, *taught = axes[len(axes) // 2 :]

    # Effective depth over time.
    for name, style, label in (
        ("mean", ".-", "energies of paths add"),
        ("mean_in_phase", ".:", "amplitudes of paths add (Littwin & Wolf 2016)"),
    ):
        over.plot(depth.index, depth[name], style, color="0.3", label=label)
    if learning:
        over.plot(
            depth.index, depth["length"], "s-", ms=3, lw=1, color=figures.OTHER, label="longest path that teaches"
        )
    over.set(
        xlabel="epoch",
        ylim=(0, None),
        ylabel=f"effective depth: mean of\nresidual branches passed, of {summary['blocks']}",
    )

    # Some epochs: path lengths, and what is measured of each block.
    first = rows[rows["epoch"] == summary["first_epoch"]]
    for panel in (ratios, gammas, *learning, *taught):
        figures.stage_bands(panel, list(first["stage"]))
        panel.set_xlabel("block")
    for epoch, colour in figures.by_time(list(depth.index)).items():
        blocks = rows[rows["epoch"] == epoch]
        label, index = f"epoch {epoch}", range(1, len(blocks) + 1)
        lengths.plot(by_energy(blocks["energy_ratio"]), ".-", color=colour, label=label)
        lengths.plot(by_amplitude(blocks["energy_ratio"]) ** 2, ":", color=colour, lw=1)
        ratios.plot(index, blocks["energy_ratio"], ".-", color=colour, label=label)
        gammas.plot(index, blocks["gamma"], ".-", color=colour, label=label)
        for panel, column in zip((*learning, *taught), teaching.COLUMNS, strict=False):
            panel.plot(index, blocks[column], ".-", color=colour)

    # Labels and scales of the axes.
    lengths.set(xlabel="residual branches passed", ylabel="share", ylim=(0, None))
    ratios.set(ylabel="energy of the residual branch\nover that of the shortcut")
    figures.decades(ratios)
    gammas.set(ylabel="mean magnitude of the scale\nof the branch's last batch-norm")
    for panel, label in zip(
        (*learning, *taught),
        ("share of the gradient's norm", "length of path beyond which\n5% of its gradient is left"),
        strict=False,
    ):
        panel.set(ylabel=label, ylim=(0, None))
    for panel in axes:
        panel.xaxis.get_major_locator().set_params(integer=True)
    figures.finish(figure, figures.heading(summary, "effective depth during training"), 4)
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    start, end, grown = s["start"], s["end"], s["grown"]
    verb = "grew" if s["growth"] > 0 else "did not grow"
    when = f"after epoch {s['first_epoch']}" if s["first_epoch"] else "before training"
    lines = [
        f"effective depth {verb}: {start['mean']:.2f} residual branches of {s['blocks']} {when}, "
        f"{end['mean']:.2f} after {counted(s['epochs'], 'epoch')} (most likely length {start['argmax']:.0f} and "
        f"{end['argmax']:.0f}); Kendall's tau with the epoch {s['trend']['kendall_tau']:.2f} over "
        f"{s['trend']['measurements']} measurements, largest {s['largest']['mean']:.2f} after epoch "
        f"{s['largest']['epoch']}",
        f"with all paths of a length in phase, as Littwin & Wolf assume: {start['mean_in_phase']:.2f} and "
        f"{end['mean_in_phase']:.2f}; the median cosine between branches is {s['median_cosine_magnitude']:.2f} "
        f"in magnitude",
    ]
    lines += [
        f"{label}: grew in {grown[name]['blocks']} of {s['blocks']} blocks, median {grown[name]['start']:.3g} at the "
        f"start and {grown[name]['end']:.3g} at the end"
        for name, label in (("energy_ratio", "energy ratio"), ("gamma", "mean |gamma|"))
        if name in grown
    ]
    if taught := s["taught"]:
        over = "is over-deepened" if taught["over_deepened"] else "is not over-deepened"
        lines.append(
            f"no block is taught by paths longer than {taught['length']} ({taught['length_then']} after epoch "
            f"{taught['first_epoch']}), apart from 5 % of its gradient, so the network of {s['blocks']} blocks {over} "
            f"in the sense of Wu et al.; largest share of the gradient: {taught['most_of_gradient']}, "
            f"{taught['its_share']:.0%}"
        )
    return "\n".join(lines)


DRAWINGS["dynamics"] = Drawing(draw, describe, curves)
