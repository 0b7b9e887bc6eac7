"""Comparisons over seeds: trainings against networks reloaded, statistics against SciPy, on made-up errors and real."""

import dataclasses
import functools
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from helpers.comparisons import wrong
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.studies import arms, cells

EXAMPLES = 400


@pytest.fixture(scope="module")
def few():
    """A third of the digits to train on: 9 steps an epoch."""
    return kr.data.load("digits", validation=0.6, batch_size=64)


@pytest.fixture(scope="module")
def whole():
    """All of the digits to train on, the test split followed."""
    return kr.data.load("digits", validation="test", batch_size=200)


@pytest.fixture(scope="module")
def spec():
    """Two stages of two blocks."""
    return kr.Spec("four", (kr.Stage(2, (4, 4)), kr.Stage(2, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)


@pytest.fixture
def pretend(monkeypatch):
    """A function that has trainings end with the errors it is given, and returns the cells that were to be trained.

    The errors are a function of a cell's labels and seed; the training error is a half, a fifth and a quarter of that
    after three epochs, the error followed three, two and one times as large.
    """

    def apply(error):
        asked = []

        def train_cells(cells, data, *, out, verbose=False, **where):
            rows = []
            for cell in cells:
                asked.append(cell)
                run = out / "cells" / cell.name
                run.mkdir(parents=True)
                network = kr.studies.cells.spec_of(cell.network)
                (run / "run.json").write_text(json.dumps({"asked": {"spec": network.to_dict()}}))
                value = error(cell.columns)
                history = [
                    {"epoch": epoch, "accuracy": 1 - value / part, "val_accuracy": 1 - value * (4 - epoch)}
                    for epoch, part in enumerate((2, 5, 4), 1)
                ]
                pd.DataFrame(history).to_csv(run / "history.csv", index=False)
                measured = {"error": value, "loss": 2 * value, "examples": EXAMPLES, "best_epoch": 3, "epochs": 3}
                rows.append({**cell.columns, **measured, "run": str(run.relative_to(out))})
            return pd.DataFrame(rows)

        monkeypatch.setattr(arms, "train_cells", train_cells)
        return asked

    return apply


def noisy(columns):
    """An error that is another for all columns, the same each time."""
    seed = [ord(letter) for letter in json.dumps(columns)]
    return round(float(np.random.default_rng(seed).uniform(4, 40))) / EXAMPLES


def assert_judged(found, a, b):
    """Demands SciPy's paired t test of two lists."""
    test = scipy.stats.ttest_rel(a, b)
    expected = (np.mean(a) - np.mean(b), test.pvalue, *test.confidence_interval(0.95))
    assert (found["mean"], found["p_t"], found["low"], found["high"]) == pytest.approx(expected)


def texts(figure):
    """All that is written in a figure."""
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.fixture(scope="module")
def degradation(whole, tmp_path_factory):
    out = tmp_path_factory.mktemp("degradation")
    return out, kr.studies.degradation(whole, out=out, depths=[8], seeds=2, epochs=2, seed=3)


def test_degradation_follows_both_errors_of_what_it_trains(degradation, whole):
    out, study = degradation
    rows, epochs = study.rows, study.tables["epochs"]
    expected = [(family, 8, seed) for seed in (3, 4) for family in ("plain", "resnet")]
    assert list(rows[["family", "depth", "seed"]].itertuples(index=False, name=None)) == expected
    assert not study.summary["deepening"]
    assert "best_epoch" not in rows
    for row in rows.itertuples():
        asked = json.loads((out / row.run / "run.json").read_text())["asked"]
        assert asked["spec"]["name"] == f"{row.family}{row.depth}"
        assert (asked["seed"], asked["data"]["validation"], asked["recipe"]["epochs"]) == (row.seed, "test", 2)
        assert row.steps == 2 * 7  # of 200 of all 1,400
        history = pd.read_csv(out / row.run / "history.csv")
        curve = epochs.query("family == @row.family and depth == @row.depth and seed == @row.seed")
        assert list(curve["epoch"]) == [1, 2]
        np.testing.assert_allclose(curve["train_error"], 1 - history["accuracy"])
        np.testing.assert_allclose(curve["test_error"], 1 - history["val_accuracy"])
        assert row.train_error == pytest.approx(1 - history["accuracy"].iloc[-1])
        # The split that is followed is the one that is measured at the end.
        error = wrong(kr.load_model(out / row.run), whole)
        assert row.error == pytest.approx(error, abs=1e-9)
        assert curve["test_error"].iloc[-1] == pytest.approx(error, abs=1e-6)


def test_nothing_is_chosen_by_the_split_that_is_followed(degradation):
    """Not even the best epoch of a run: with nothing held out, it is that of the least training error."""
    out, study = degradation
    for run in study.rows["run"]:
        history = pd.read_csv(out / run / "history.csv")
        _, state = Run(out / run, {}).restore("last")
        assert state["best"] == pytest.approx(history["accuracy"].max())
        assert state["best"] != pytest.approx(history["val_accuracy"].max())


def test_degradation_compares_depths_and_families_seed_by_seed(pretend, tmp_path):
    asked = pretend(noisy)
    families = ("plain", "resnet", "preresnet")
    study = kr.studies.degradation(out=tmp_path, depths=[32, 8, 20], families=families, seeds=4, seed=1)
    assert [cell.seed for cell in asked] == [1] * 9 + [2] * 9 + [3] * 9 + [4] * 9, "not seed by seed"
    assert {cell.network for cell in asked} == {f"{f}{d}" for f in families for d in (8, 20, 32)}

    def errors(family, depth):
        return [noisy({"family": family, "depth": depth, "seed": seed}) for seed in (1, 2, 3, 4)]

    # After three epochs the training error is a quarter of the error.
    scales = {"error": 1, "train_error": 1 / 4}
    summary = study.summary
    assert [(n["family"], n["depth"]) for n in summary["networks"]] == [(f, d) for f in families for d in (8, 20, 32)]
    for found in summary["networks"]:
        e = np.array(errors(found["family"], found["depth"]))
        for column, scale in scales.items():
            expected = np.array([e.mean(), e.std(ddof=1), scipy.stats.t.ppf(0.975, 3) * e.std(ddof=1) / 2]) * scale
            told = [found[f"{column}_{name}"] for name in ("mean", "sd", "half_interval")]
            np.testing.assert_allclose(told, expected)
    assert [found["family"] for found in summary["deepening"]] == list(families)
    for found in summary["deepening"]:
        assert (found["from"], found["to"]) == (8, 32)
        for column, scale in scales.items():
            deep, shallow = (np.multiply(errors(found["family"], depth), scale) for depth in (32, 8))
            assert_judged(found[column], deep, shallow)
    pairs = [(found["depth"], found["family"]) for found in summary["between"]]
    assert pairs == [(depth, family) for depth in (8, 20, 32) for family in families[1:]]
    for found in summary["between"]:
        assert found["against"] == "plain"
        for column, scale in scales.items():
            one, other = (np.multiply(errors(family, found["depth"]), scale) for family in (found["family"], "plain"))
            assert_judged(found[column], one, other)
    told = kr.studies.describe(study).split("\n")
    mean = 100 * summary["deepening"][0]["error"]["mean"]
    assert told[9].startswith(f"plain, 32 layers against 8, test error: {mean:+.2f} points")
    mean = 100 * summary["between"][3]["train_error"]["mean"]
    assert told[-5].startswith(f"20 layers, preresnet against plain, training error: {mean:+.2f} points")


def test_degradation_draws_medians_over_seeds_by_epoch(pretend, tmp_path):
    pretend(noisy)
    study = kr.studies.degradation(out=tmp_path / "cells", depths=[8, 14], seeds=3)
    study.save(tmp_path / "study")
    study = kr.studies.Study.load(tmp_path / "study")
    left, _, right = study.figure().axes
    assert left.get_title() == "plain"
    e = np.array([noisy({"family": "plain", "depth": 14, "seed": seed}) for seed in range(3)])
    training, test = np.median(e) / np.array([2, 5, 4]), np.median(e) * np.array([3, 2, 1])
    lines = [line for line in left.get_lines() if len(line.get_ydata()) == 3]
    for style, values in (("--", training), ("-", test)):
        assert [line.get_linestyle() for line in lines if np.allclose(line.get_ydata(), values)] == [style]
    bands = [band.get_paths()[0].vertices for band in left.collections]
    assert any(np.isclose(band[:, 1].max(), e.max() * 3) and np.isclose(band[:, 1].min(), e.min()) for band in bands)
    # On the right the means with their intervals, and every seed.
    bars = [bar.lines[2][0].get_segments() for bar in right.containers]
    half = [found["error_half_interval"] for found in study.summary["networks"]]
    assert [np.ptp(bar[:, 1]) / 2 for family in bars for bar in family] == pytest.approx(half)
    dots = [line for line in right.get_lines() if line.get_marker() == "o"]
    for line, family in zip(dots, ("plain", "resnet"), strict=True):
        single = [noisy({"family": family, "depth": d, "seed": seed}) for d in (8, 14) for seed in range(3)]
        assert sorted(line.get_ydata()) == pytest.approx(sorted(single))
    events = EventAccumulator(str(tmp_path / "study" / "logs")).Reload()
    scalars = events.Scalars("degradation/plain14/test_error")
    assert [scalar.step for scalar in scalars] == [1, 2, 3]
    np.testing.assert_allclose([scalar.value for scalar in scalars], test, rtol=1e-6)


@pytest.fixture(scope="module")
def shortcuts(spec, tmp_path_factory):
    """As the command trains it."""
    out = tmp_path_factory.mktemp("shortcuts")
    (out / "four.json").write_text(spec.to_json())
    typed = [str(out / "four.json"), "--arms", "gate:-6", "--seeds", "2", "--epochs", "1", "--out", str(out / "study")]
    assert cli.main(["study", "shortcuts", *typed]) == 0
    return out / "study", kr.studies.Study.load(out / "study")


def test_shortcuts_trains_what_it_says(shortcuts, spec):
    out, study = shortcuts
    data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
    specs = {"A": spec, "gate:-6": spec.replace(skip="gate:-6")}
    expected = [(arm, seed) for seed in (0, 1) for arm in specs]
    assert list(study.rows[["arm", "seed"]].itertuples(index=False, name=None)) == expected
    errors = {}
    for row in study.rows.itertuples():
        network = kr.load_model(out / row.run)
        assert network.spec == specs[row.arm]
        errors[row.arm, row.seed] = wrong(network, data)
        assert row.error == pytest.approx(errors[row.arm, row.seed], abs=1e-9)
        assert (row.parameters, row.macs) == (kr.parameters(network), kr.macs(network))
    [(arm, found)] = study.summary["differences"].items()
    assert arm == "gate:-6"
    d = [errors[arm, seed] - errors["A", seed] for seed in (0, 1)]
    assert found["error"]["mean"] == pytest.approx(np.mean(d), abs=1e-9)


def test_done_trainings_are_read_and_not_trained(shortcuts, degradation, width_depth, few, whole, spec, monkeypatch):
    monkeypatch.setattr(cells, "train", None)
    out, study = shortcuts
    how = {"seeds": 2, "epochs": 1, "data_dir": None, "image_size": None, "download": False}
    again = kr.studies.shortcuts(spec, out=out, arms=["gate:-6"], **how)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary
    with pytest.raises(TypeError):  # another one is to be trained
        kr.studies.shortcuts(spec, out=out, arms=["gate:-6", "B"], **how)
    out, study = degradation
    again = kr.studies.degradation(whole, out=out, depths=[8], seeds=2, epochs=2, seed=3)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary
    assert again.tables["epochs"].equals(study.tables["epochs"])
    out, study = width_depth
    again = kr.studies.width_depth(spec, few, out=out, depths=(2, 1), seeds=2, epochs=1)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary


def differences(one, other):
    """Names of the fields in which two specs differ."""
    return {f.name for f in dataclasses.fields(kr.Spec) if getattr(one, f.name) != getattr(other, f.name)}


def test_shortcuts_differ_in_nothing_else(pretend, tmp_path):
    asked = pretend(noisy)
    study = kr.studies.shortcuts(out=tmp_path, seeds=2)
    own = kr.variants.spec("resnet20")
    assert asked[0].network == own
    # He et al. 2015, Table 3, and He et al. 2016, Table 1.
    shortcut, gates = {"B", "C", "none"}, {"gate:0", "gate:-6", "gate:-7", "shortcut_gate:0", "shortcut_gate:-6"}
    skip = gates | {"scale:0.5:1", "scale:0.5:0.5", "dropout:0.5"}
    assert {cell.labels["arm"] for cell in asked} == {"A"} | shortcut | skip
    for cell in asked[1:12]:
        arm = cell.labels["arm"]
        changed = "shortcut" if arm in shortcut else "skip"
        assert differences(cell.network, own) == {changed}
        assert getattr(cell.network, changed) == arm
    for one, other in zip(asked[:12], asked[12:], strict=True):
        assert dataclasses.replace(one, seed=1) == other
    assert {(cell.recipe, cell.epochs, cell.paths) for cell in asked} == {("digits", 20, None)}
    assert study.summary["first"] == "A"


def test_shortcuts_start_from_the_network_as_it_is(pretend, tmp_path, spec):
    asked = pretend(noisy)
    gated = spec.replace(skip="gate:-6", shortcut="B")
    study = kr.studies.shortcuts(gated, out=tmp_path, arms=["A", "B", "gate:-6", "dropout:0.5"], seeds=2)
    assert list(study.summary["arms"]) == ["gate:-6", "A", "B", "dropout:0.5"]
    kinds = [(cell.network.shortcut, cell.network.skip) for cell in asked[:4]]
    assert kinds == [("B", "gate:-6"), ("A", "identity"), ("B", "identity"), ("B", "dropout:0.5")]


@pytest.mark.parametrize("name", ["resnet20", "preresnet20"])
def test_activations_differ_in_nothing_else(name, pretend, tmp_path):
    asked = pretend(noisy)
    study = kr.studies.activation(name, out=tmp_path, seeds=2)
    own = kr.variants.spec(name)
    assert [cell.network for cell in asked if cell.labels["arm"] == own.placement] == [own, own]
    assert next(iter(study.summary["arms"])) == own.placement
    assert sorted(study.summary["arms"]) == ["bn_after", "post", "pre", "relu_before", "relu_only"]
    for cell in asked:
        assert differences(cell.network, own) <= {"placement"}
        assert cell.network.placement == cell.labels["arm"]
        assert (cell.recipe, cell.epochs, cell.paths) == ("digits", 20, None)


def test_arms_are_compared_with_the_first_and_drawn(pretend, tmp_path):
    def error(columns):
        return 0.9 if columns["arm"] == "relu_before" and failing else noisy(columns)

    errors = {arm: [noisy({"arm": arm, "seed": seed}) for seed in (5, 6, 7)] for arm in ("post", "pre", "bn_after")}
    for failing in (True, False):
        pretend(error)
        chosen = ["pre", "bn_after", "relu_before"]
        study = kr.studies.activation(out=tmp_path / str(failing), arms=chosen, seeds=3, seed=5)
        for arm in ("pre", "bn_after"):
            assert_judged(study.summary["differences"][arm]["error"], errors[arm], errors["post"])
            assert_judged(
                study.summary["differences"][arm]["loss"], *(np.multiply(2, errors[a]) for a in (arm, "post"))
            )
        left, right = study.figure().axes
        assert (left.get_xscale(), right.get_xscale()) == (("symlog",) * 2 if failing else ("linear",) * 2)
        dots = [line.get_xdata() for line in right.get_lines() if line.get_marker() == "o"]
        np.testing.assert_allclose(dots[1], 100 * (np.array(errors["bn_after"]) - errors["post"]))
        bars = [bar.lines[2][0].get_segments()[0][:, 0] for bar in right.containers]
        found = [study.summary["differences"][arm]["error"] for arm in chosen]
        np.testing.assert_allclose(bars, [[100 * d["low"], 100 * d["high"]] for d in found], atol=1e-9)
        bars = [bar.lines[2][0].get_segments()[0][:, 0] for bar in left.containers]
        mean, half = np.mean(errors["pre"]), scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(errors["pre"])
        np.testing.assert_allclose(bars[1], [mean - half, mean + half])
        assert "pre: full pre-activation" in texts(study.figure())
    told = kr.studies.describe(study).split("\n")
    assert told[0].startswith(f"post: error {np.mean(errors['post']):.2%} (standard deviation ")
    assert f"against post {100 * (np.mean(errors['pre']) - np.mean(errors['post'])):+.2f} points" in told[1]


@pytest.fixture(scope="module")
def width_depth(few, spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("width_depth")
    return out, kr.studies.width_depth(spec, few, out=out, depths=(2, 1), seeds=2, epochs=1)


def convolutions(network):
    """Convolutions of a network that are not in its shortcuts."""
    return [v for v in network.trainable_variables if len(v.shape) == 4 and "/shortcut/" not in v.path]


def test_width_depth_trains_networks_that_cost_the_same(width_depth, few, spec):
    out, study = width_depth
    budget = kr.parameters(kr.build(spec))
    assert (study.summary["measure"], study.summary["budget"]) == ("parameters", budget)
    assert list(study.rows[["depth", "blocks"]].itertuples(index=False, name=None)) == [(6, 1), (10, 2)] * 2
    for row in study.rows.itertuples():
        network = kr.load_model(out / row.run)
        assert row.parameters == kr.parameters(network)
        assert row.parameters == pytest.approx(budget, rel=0.02)
        assert row.macs == kr.macs(network)
        assert row.depth == len(convolutions(network)) + 1  # the classifier
        assert [len(network.blocks), row.width] == [2 * row.blocks, convolutions(network)[-1].shape[-1]]
        assert row.error == pytest.approx(wrong(network, few), abs=1e-9)
    widths = study.rows.drop_duplicates("depth")["width"].tolist()
    assert widths[1] == 8
    assert widths[0] > 8


@pytest.mark.parametrize(("measure", "amount"), [("parameters", 60_000), ("macs", 900_000), ("activations", 9_000)])
def test_width_depth_meets_every_kind_of_budget(measure, amount, pretend, tmp_path, few):
    asked = pretend(noisy)
    depths = (1, 2, 5)
    study = kr.studies.width_depth("preresnet20", few, out=tmp_path, depths=depths, seeds=2, **{measure: amount})
    own = kr.variants.spec("preresnet20").replace(input_shape=(8, 8, 1))
    for cell, n in zip(asked[:3], depths, strict=True):
        assert differences(cell.network, own) <= {"stages", "stem_width"}
        assert [stage.blocks for stage in cell.network.stages] == [n] * 3
        network = kr.build(cell.network)
        row = study.rows[study.rows["depth"] == 6 * n + 2].iloc[0]
        cost = {"parameters": kr.parameters(network), "macs": kr.macs(network), "activations": row["activations"]}
        assert cost[measure] == pytest.approx(amount, rel=0.02)
        assert (row["parameters"], row["macs"]) == (cost["parameters"], cost["macs"])


def test_best_depth_is_chosen_without_the_seed_it_is_judged_by(pretend, tmp_path, few):
    # Of no depth better than another, each seed favours its own: chosen by itself, it would be 4 points better.
    table = {(8, 0): 0.06, (8, 1): 0.10, (8, 2): 0.11, (14, 0): 0.10, (14, 1): 0.06, (14, 2): 0.10}
    table |= {(20, 0): 0.10, (20, 1): 0.10, (20, 2): 0.06}
    pretend(lambda columns: table[columns["depth"], columns["seed"]])
    study = kr.studies.width_depth("preresnet8", few, out=tmp_path, depths=(1, 2, 3), seeds=3)
    best = study.summary["best"]
    # Without seed 0: 0.105, 0.08, 0.08, of which the first is the shallower; without 1: 0.085, 0.10, 0.08; without 2:
    # 0.08, 0.08, 0.10. Together 0.27, 0.26, 0.26.
    assert best["chosen"] == [{"seed": 0, "depth": 14}, {"seed": 1, "depth": 20}, {"seed": 2, "depth": 8}]
    assert best["depth"] == 14
    chosen = [table[14, 0], table[20, 1], table[8, 2]]
    for end, depth in (("shallowest", 8), ("deepest", 20)):
        assert best["against"][end]["depth"] == depth
        assert_judged(best["against"][end]["error"], chosen, [table[depth, seed] for seed in range(3)])
    told = kr.studies.describe(study)
    assert "least mean error: 14 layers" in told
    assert "chosen for each seed by the others: 14, 20, 8" in told
    assert "so chosen, against the shallowest, 8 layers: +1.33 points" in told


def test_of_depths_equal_but_for_rounding_the_shallowest_is_best(pretend, tmp_path, few):
    assert (0.1 + 0.2) / 2 > (0.15 + 0.15) / 2
    pretend(lambda columns: 0.15 if columns["depth"] == 14 else (0.1, 0.2, 0.15)[columns["seed"]])
    study = kr.studies.width_depth("preresnet8", few, out=tmp_path, depths=(1, 2), seeds=3)
    assert study.summary["best"]["depth"] == 8
    assert study.summary["best"]["chosen"][2] == {"seed": 2, "depth": 8}


def test_best_depth_that_is_the_shallowest_is_said_to_be(pretend, tmp_path, few):
    pretend(lambda columns: columns["depth"] / 200)
    study = kr.studies.width_depth("preresnet8", few, out=tmp_path, depths=(1, 2), seeds=2)
    told = kr.studies.describe(study)
    assert "against the shallowest, 8 layers: it is that one" in told
    assert "against the deepest, 14 layers: -3.00 points with each of 2 seeds" in told
    left, right = study.figure().axes
    bars = [bar.lines[2][0].get_segments() for bar in left.containers]
    np.testing.assert_allclose([[s[:, 0].mean(), s[:, 1].mean()] for s in bars[0]], [[8, 0.04], [14, 0.07]])
    widths = study.rows["width"].iloc[:2].tolist()
    assert [label.get_text() for label in left.get_xticklabels()] == [f"8\n{widths[0]}", f"14\n{widths[1]}"]
    costs = [line.get_ydata() for line in right.get_lines()]
    expected = [[1, b / a] for a, b in (study.rows[m].iloc[:2] for m in ("parameters", "macs", "activations"))]
    np.testing.assert_allclose(costs, expected)


@pytest.mark.parametrize("name", ["degradation", "shortcuts", "width_depth"])
def test_comparisons_are_saved_drawn_and_told(name, request, tmp_path):
    _, study = request.getfixturevalue(name)
    files = study.save(tmp_path)
    assert all(file.exists() for file in files)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    assert loaded.tables.keys() == study.tables.keys()
    assert all(loaded.tables[table].equals(study.tables[table]) for table in study.tables)
    assert kr.studies.describe(loaded) == kr.studies.describe(study)
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    if name == "shortcuts":
        rows = study.rows[study.rows["arm"] == "gate:-6"]
        scalars = events.Scalars("shortcuts/gate_-6")
        assert [(e.step, e.value) for e in scalars] == [(r.seed, pytest.approx(r.error)) for r in rows.itertuples()]
    elif name == "width_depth":
        means = study.rows.groupby("depth")["error"].mean()
        scalars = events.Scalars("width_depth/error")
        assert [(e.step, e.value) for e in scalars] == [(d, pytest.approx(m)) for d, m in means.items()]


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("degradation", {"depths": []}, ["depths", "once", "[]"]),
        ("degradation", {"depths": [8, 8]}, ["depths", "once", "[8, 8]"]),
        ("degradation", {"families": "resnet"}, ["families", "once", "'resnet'"]),
        ("degradation", {"families": ["resnett"], "depths": [8]}, ["resnett8"]),
        ("degradation", {"depths": [21]}, ["21", "6n+2"]),
        ("degradation", {"depths": [44, 50], "families": ["resnet"]}, ["'resnet44'", "'resnet50'", "number of blocks"]),
        ("degradation", {"depths": [110, 164], "families": ["preresnet"]}, ["'preresnet164'", "number of blocks"]),
        ("degradation", {"depths": [50]}, ["'plain50'", "'resnet50'", "stem"]),
        ("degradation", {"data": "few"}, ["validation='test'", "got validation=0.6"]),
        ("degradation", {"seeds": 1}, ["seeds", "from 2 to 16", "got 1"]),
        ("shortcuts", {"arms": ["D"]}, ["arms", "A, B, C, none", "'D'"]),
        ("shortcuts", {"arms": ["gate:x"]}, ["arms", "'gate:x'", "'gate:-6'"]),
        ("shortcuts", {"arms": ["A"]}, ["arms", "'A'", "as it is"]),
        ("shortcuts", {"network": "plain8", "arms": ["gate:-6"]}, ["arms", "shortcut='none'"]),
        ("activation", {"arms": ["before"]}, ["placement", "'relu_before'", "'before'"]),
        ("activation", {"epochs": 0}, ["epochs", "at least 1", "got 0"]),
        ("width_depth", {"depths": [3]}, ["depths", "two or more", "[3]"]),
        ("width_depth", {"depths": [3, 3]}, ["depths", "once", "[3, 3]"]),
        ("width_depth", {"depths": [0, 1]}, ["depths", "at least 1", "got 0"]),
        ("width_depth", {"parameters": 9, "macs": 9}, ["budget", "parameters and macs"]),
        ("width_depth", {"parameters": 9, "data": "few"}, ["No width", "9 parameters"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_comparisons_are_refused_before_anything_is_trained(name, options, parts, few, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "train", None)
    options = {key: few if value == "few" else value for key, value in options.items()}
    with pytest.raises(ArgumentError) as refused:
        getattr(kr.studies, name)(out=tmp_path / "new", **options)
    for part in parts:
        assert part in str(refused.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("typed", "args", "options"),
    [
        (
            ["degradation", "--depths", "8,14", "--families", "plain,preresnet", "--data", "digits"],
            ("digits", "digits"),
            {"depths": (8, 14), "families": ("plain", "preresnet")},
        ),
        (["degradation", "--data", "cifar10"], ("cifar10", "he15"), {}),
        (
            ["shortcuts", "--set", "width=0.5", "--arms", "B,gate:-6", "--seeds", "4"],
            (kr.variants.spec("resnet20").replace(width=0.5), "digits", "digits"),
            {"arms": ("B", "gate:-6"), "seeds": 4},
        ),
        (
            ["activation", "resnet32", "--epochs", "7", "--recipe", "he15"],
            (kr.variants.spec("resnet32"), "digits", "he15"),
            {"epochs": 7},
        ),
        (
            ["width_depth", "--budget-memory", "9000", "--depths", "1,3", "--seed", "2"],
            (kr.variants.spec("preresnet20"), "digits", "digits"),
            {"activations": 9000, "depths": (1, 3), "seed": 2},
        ),
        (
            ["width_depth", "wrn_16_4", "--budget-macs", "90000", "--data", "cifar10"],
            (kr.variants.spec("wrn_16_4"), "cifar10", "wrn"),
            {"macs": 90000},
        ),
        (
            ["width_depth", "--budget-params", "70000"],
            (kr.variants.spec("preresnet20"), "digits", "digits"),
            {"parameters": 70000},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_typed_reaches_the_study(typed, args, options, shortcuts, tmp_path, monkeypatch, capsys):
    """The study is stood in for by one that is done."""
    asked, (_, done), name = [], shortcuts, typed[0]

    @functools.wraps(getattr(kr.studies, name))
    def study(*args, **options):
        asked.append((args, options))
        return done

    monkeypatch.setattr(kr.studies, name, study)
    assert cli.main(["study", *typed, "--out", str(tmp_path / "out")]) == 0
    [(given, also)] = asked
    assert given == args
    assert also.pop("verbose") is True
    where = {"data_dir": None, "image_size": None, "download": False, "out": tmp_path / "out"}
    assert also == options | where
    assert kr.studies.describe(done) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        (["degradation", "resnet20", "--out", "x"], ["SOURCE", "not for", "'degradation'"]),
        (["degradation", "--depths", "8,many", "--out", "x"], ["--depths", "'many'"]),
        (["degradation", "--arms", "B", "--out", "x"], ["--arms", "'degradation'"]),
        (["degradation", "--set", "width=2", "--out", "x"], ["--set", "'degradation'"]),
        (["degradation"], ["--out", "'degradation'"]),
        (["degradation", "--depths", "21", "--out", "x"], ["'plain21'", "6n+2"]),
        (["effective", "--blocks", "2", "--out", "x"], ["SOURCE", "needed", "'effective'"]),
        (["shortcuts", "--budget-params", "7", "--out", "x"], ["--budget-params", "'shortcuts'"]),
        (["shortcuts", "--arms", "gate", "--out", "x"], ["arms", "'gate:-6'"]),
        (
            ["width_depth", "--budget-macs", "9", "--budget-params", "9", "--out", "x"],
            ["budget", "parameters and macs"],
        ),
        (["width_depth", "--budget-params", "9", "--out", "x"], ["No width", "9 parameters"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_commands_get_one_line(typed, parts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", *typed]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said
    assert not (tmp_path / "x").exists()
