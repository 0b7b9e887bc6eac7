"""Compares networks: accuracy by the same examples, curves of training, cost and latency; repeats with their spread."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.data.batches import batches
from keras_resnets.errors import ArgumentError, notice, whole_number
from keras_resnets.explaining import explained
from keras_resnets.instruments.timing import interleaved, processor
from keras_resnets.network.cost import macs, parameters
from keras_resnets.reports.statistics import holm, interval, mcnemar
from keras_resnets.reports.statistics import paired as paired_by_seed
from keras_resnets.reports.study import Study
from keras_resnets.runs import has_sum, read_csv, sound
from keras_resnets.segmentation.metrics import score as score_pixels
from keras_resnets.studies import compare_drawing  # noqa: F401
from keras_resnets.studies.answers import Answers, PixelAnswers, Source, Subject
from keras_resnets.studies.evaluate import of_answers
from keras_resnets.studies.measured import Measured, measure, names_of

if TYPE_CHECKING:
    import pandas as pd

# Bootstrap samples of images, for networks for segmentation.
DRAWS = 1000


@explained
def compare(
    runs: Sequence[Source] | Mapping[str, Source],
    data=None,
    *,
    split: str = "test",
    match: str = "name",
    timed: int = 30,
    verbose: bool = False,
    **where: Any,
) -> Study:
    """Compares networks: accuracy, by the same examples where they have them; training, cost and latency.

    Two networks that were measured on the same images are compared image by image: of the images that only one of
    them has right, how many are whose (McNemar's exact test, adjusted for the number of pairs by Holm). That tells
    apart networks whose intervals overlap. It is about these two networks, not about their recipes: training again
    with another seed gives another network. Runs that differ in nothing but the seed are repeats of one recipe, and
    are summarised with their spread; recipes are compared by seeds.

    Args:
        runs: two or more run directories, `.keras` files or models; or a mapping of the names they are to have.
        data: as for `keras_resnets.evaluate`; None measures each on its run's own.
        split: as for `evaluate`.
        match: as for `evaluate`.
        timed: calls of each network with one example, made in turns, of which the latency is the median; 0 for none.
        verbose: whether to draw progress bars.
        **where: as for `evaluate`.

    Returns:
        A `Study` with a row per network: `network` (its name), `recipe` (repeats have the same), `seed`, `accuracy`
        with its 95 % Wilson interval, `loss`, `macro_f1`, `examples`, `parameters`, `macs`, `latency` (median) with
        its quartiles in seconds, and of a run `epochs` and `best_epoch`. For segmentation, `mean_iou` with its
        interval comes first, and the interval of differences is a bootstrap over images, without a test.

        Its tables: `pairs` (`first`, `second`, `repeats`, and for those on the same images the columns of
        `keras_resnets.reports.statistics.mcnemar` and `p_holm`), `curves` (the epochs of each run), `recipes` (mean
        score over seeds, `sd` and half the 95 % t interval), `recipe_pairs` (their differences, paired by seed where
        two seeds are the same, else by Welch's t test), and `settings`, in which the runs differ.

    Raises:
        ArgumentError: an argument breaks its rule, a network is not for its data, or some answer for images and others
            for pixels.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> models = {depth: kr.build(depth, input_shape=(8, 8, 1)) for depth in ("resnet8", "resnet14")}
        >>> study = kr.compare(models, (np.zeros((20, 8, 8, 1)), np.arange(20) % 10), timed=0)
        >>> study.rows[["network", "accuracy", "parameters"]].values.tolist()
        [['resnet8', 0.1, 75002], ['resnet14', 0.1, 172218]]
        >>> study.tables["pairs"]["p"].tolist()
        [1.0]
    """
    import pandas as pd

    whole_number("timed", timed, 0)
    named = names_of(runs)
    measured = measure(named, data, split, match, verbose, where)

    # A row for each network.
    groups = _recipes(measured)
    times = _latencies(measured, timed)
    rows = pd.DataFrame([_row(m, groups[m.subject.name]) | times.get(m.subject.name, {}) for m in measured])
    rows = rows.dropna(axis=1, how="all")

    # What they are compared by.
    pairs = _pairs(measured, groups)
    score = "mean_iou" if measured[0].subject.segments else "accuracy"
    recipes = _spread(rows, score)
    tables = {
        "pairs": pairs,
        "curves": _curves(measured),
        "recipes": recipes,
        "recipe_pairs": _recipe_pairs(measured, rows, recipes, score),
        "settings": _differing(measured),
    }
    summary = {
        "task": "segmentation" if measured[0].subject.segments else "classification",
        "score": score,
        "split": measured[0].subject.split,
        "networks": list(named),
        "data": {m.subject.name: m.subject.data.name if m.subject.data else "given" for m in measured},
        "weights": {m.subject.name: m.answers.facts["weights_fingerprint"] for m in measured},
        "images": {m.subject.name: m.images for m in measured},
        "timed": timed,
        **({"processor": processor()} if timed else {}),
    }
    return Study("compare", rows, summary, tables={name: table for name, table in tables.items() if len(table)})


def _without_seeds(settings: Any) -> Any:
    """Returns what a run was asked for, without its seeds."""
    if isinstance(settings, dict):
        return {key: _without_seeds(value) for key, value in settings.items() if key != "seed"}
    return [_without_seeds(value) for value in settings] if isinstance(settings, list) else settings


def _recipes(measured: Sequence[Measured]) -> dict[str, str]:
    """Returns the name of each network's recipe; runs that differ in the seed alone have the same one."""
    keys = [
        json.dumps(_without_seeds(m.settings), sort_keys=True) if m.settings.get("recipe") else m.subject.name
        for m in measured
    ]
    groups: dict[str, list[Measured]] = {}
    for key, m in zip(keys, measured, strict=True):
        groups.setdefault(key, []).append(m)
    named: dict[str, str] = {}
    for members in groups.values():
        models = [other[0].subject.model.name for other in groups.values() if len(other) > 1]
        name = members[0].subject.name
        if len(members) > 1:
            model = members[0].subject.model.name
            name = model if models.count(model) == 1 and model not in named.values() else f"{name} and repeats"
            seeds = [m.settings.get("seed") for m in members]
            if len(set(seeds)) < len(seeds):
                twice = next(seed for seed in seeds if seeds.count(seed) > 1)
                notice(
                    f"Runs of the recipe {name!r} have the same seed, {twice}: they are one network, not repeats; the "
                    f"first of them counts."
                )
        named |= {m.subject.name: name for m in members}
    return named


def _row(m: Measured, recipe: str) -> dict[str, Any]:
    """Returns the row of a network."""
    subject, found = m.subject, of_answers(m.subject, m.answers).summary
    columns = ["accuracy", "accuracy_low", "accuracy_high", "top5_accuracy", "loss", "macro_f1", "examples"]
    if subject.segments:
        columns = ["mean_iou", "mean_iou_low", "mean_iou_high", *columns]
    results = (subject.record or {}).get("results") or {}
    try:
        multiplications: int | None = macs(subject.model, _shape(subject))
    except ArgumentError as error:
        multiplications = None
        notice(f"{subject.name}: {error}")
    return {
        "network": subject.name,
        "model": subject.model.name,
        "recipe": recipe,
        "seed": m.settings.get("seed"),
        **{name: found[name] for name in columns if name in found},
        "parameters": parameters(subject.model),
        "macs": multiplications,
        "epochs": results.get("epochs"),
        "best_epoch": results.get("best_epoch"),
    }


def _shape(subject: Subject) -> tuple[int, ...]:
    """Returns the shape of one input; that of the first example, where the network takes several."""
    shape = subject.model.input_shape[1:]
    return tuple(next(batches(subject.examples, 1))[0].shape[1:]) if None in shape else tuple(shape)


def _latencies(measured: Sequence[Measured], calls: int) -> dict[str, dict[str, float]]:
    """Returns the seconds that each network takes for one example; all are called in turns."""
    if not calls:
        return {}

    def one(subject: Subject):
        x = np.random.default_rng(0).normal(size=(1, *_shape(subject))).astype("float32")
        return lambda: subject.model.predict_on_batch(x)

    times = interleaved({m.subject.name: one(m.subject) for m in measured}, calls)
    ends = {"latency": "median", "latency_low": "low", "latency_high": "high"}
    return {name: {column: found[end] for column, end in ends.items()} for name, found in times.items()}


def _pairs(measured: Sequence[Measured], groups: Mapping[str, str]) -> pd.DataFrame:
    """Returns a row for each pair of networks; without numbers where they were measured on different images."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for first, second in itertools.combinations(measured, 2):
        names = first.subject.name, second.subject.name
        row: dict[str, Any] = {"first": names[0], "second": names[1]}
        row |= {"repeats": groups[names[0]] == groups[names[1]], "paired": first.on_the_same(second)}
        if row["paired"]:
            a, b = first.answers, second.answers
            if isinstance(a, Answers) and isinstance(b, Answers):
                row |= mcnemar(a.right, b.right)
            elif isinstance(a, PixelAnswers) and isinstance(b, PixelAnswers):
                row |= _resampled(a.confusions, b.confusions)
        rows.append(row)
    table = pd.DataFrame(rows)
    if "p" in table and table["p"].notna().any():
        known = table["p"].notna()
        table.loc[known, "p_holm"] = holm(table.loc[known, "p"].tolist())
    return table


def _resampled(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Returns the difference in mean intersection over union, with its bootstrap interval over the same images."""
    count = len(first)
    samples = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)

    def difference(weights) -> float:
        ours, theirs = (score_pixels(np.tensordot(weights, each, 1)).mean_iou for each in (first, second))
        return ours - theirs

    low, high = np.quantile([difference(weights) for weights in samples], (0.025, 0.975))
    return {"examples": count, "difference": difference(np.ones(count, int)), "low": float(low), "high": float(high)}


def _curves(measured: Sequence[Measured]) -> pd.DataFrame:
    """Returns the epochs of all runs that have them, the columns of `history.csv` with `network` before."""
    import pandas as pd

    tables = []
    for m in measured:
        if m.folder is None:
            continue
        file = m.folder / "history.csv"
        if sound(file):
            tables.append(read_csv(file).assign(network=m.subject.name))
        elif has_sum(file):
            notice(
                f"{str(file)!r} is damaged or gone, and the curves are without it. The command that trained "
                f"{m.subject.name!r} makes it again."
            )
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table[["network", *(column for column in table if column != "network")]]


def _spread(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Returns a row for each recipe with more than one seed: its mean score, with spread."""
    import pandas as pd

    found = []
    for recipe, members in rows.groupby("recipe", sort=False):
        values = members.drop_duplicates("seed")[score] if "seed" in members else members[score].head(1)
        if len(values) > 1:
            found.append(
                {
                    "recipe": recipe,
                    "seeds": len(values),
                    "mean": values.mean(),
                    "sd": values.std(ddof=1),
                    "half_interval": interval(values),
                    "least": values.min(),
                    "most": values.max(),
                }
            )
    return pd.DataFrame(found)


def _recipe_pairs(measured: Sequence[Measured], rows: pd.DataFrame, recipes: pd.DataFrame, score: str) -> pd.DataFrame:
    """Returns a row for each pair of recipes with more than one seed, if all were measured on the same images."""
    import pandas as pd
    from scipy.stats import ttest_ind

    by_name, found = {m.subject.name: m for m in measured}, []
    for first, second in itertools.combinations(recipes["recipe"] if len(recipes) else [], 2):
        members = [
            rows[rows["recipe"] == recipe].drop_duplicates("seed").set_index("seed") for recipe in (first, second)
        ]
        one, *others = (by_name[name] for table in members for name in table["network"])
        if not all(one.on_the_same(other) for other in others):
            continue
        a, b = (table[score] for table in members)
        shared = [seed for seed in a.index if seed in b.index]
        row: dict[str, Any] = {"first": first, "second": second}
        if 2 <= len(shared) <= 16:
            test = paired_by_seed([a[seed] - b[seed] for seed in shared])
            row |= {"by": "the same seeds", "pairs": len(shared), "difference": test["mean"]}
            row |= {"low": test["low"], "high": test["high"], "p": test["p_t"]}
        else:
            welch = ttest_ind(a, b, equal_var=False)
            low, high = welch.confidence_interval(0.95)
            row |= {"by": "other seeds", "pairs": None, "difference": a.mean() - b.mean()}
            row |= {"low": low, "high": high, "p": welch.pvalue}
        found.append(row)
    return pd.DataFrame(found)


def _differing(measured: Sequence[Measured]) -> pd.DataFrame:
    """Returns a row for each setting in which the runs differ, with a column for each run."""
    import pandas as pd

    flat = {m.subject.name: dict(_flat(m.settings)) for m in measured if m.settings}
    settings = list(dict.fromkeys(key for values in flat.values() for key in values))
    differing = [key for key in settings if len({json.dumps(values.get(key)) for values in flat.values()}) > 1]
    return pd.DataFrame(
        [{"setting": key} | {name: json.dumps(values.get(key)) for name, values in flat.items()} for key in differing]
    )


def _flat(settings: Any, path: str = ""):
    """Yields the settings within settings, each with its path."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from _flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, settings
