"""The study of depth with and without skips: trainings against networks reloaded, statistics against SciPy."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from helpers.comparisons import assert_judged, noisy, wrong
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_resnets as kr
from keras_resnets.runs import Run


def test_degradation_follows_both_errors_of_what_it_trains(degradation, all_digits):
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
        error = wrong(kr.load_model(out / row.run), all_digits)
        assert row.error == pytest.approx(error, abs=1e-9)
        assert curve["test_error"].iloc[-1] == pytest.approx(error, abs=1e-6)


def test_nothing_is_chosen_by_the_split_that_is_followed(degradation):
    """Not even the best epoch of a run: with nothing held out, it is that of the least training error."""
    out, study = degradation
    for run in study.rows["run"]:
        history = pd.read_csv(out / run / "history.csv")
        _, state = Run(out / run, {}).restore("best")
        assert state["epoch"] == history.sort_values(["accuracy", "loss"], ascending=[True, False])["epoch"].iloc[-1]


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
    above, _, _, left, _, right = study.figure().axes
    assert [axes.get_title("left") for axes in (above, left)] == ["plain, training error", "plain, test error"]
    e = np.array([noisy({"family": "plain", "depth": 14, "seed": seed}) for seed in range(3)])
    training, test = np.median(e) / np.array([2, 5, 4]), np.median(e) * np.array([3, 2, 1])
    for axes, values in ((above, training), (left, test)):
        assert (
            sum(np.allclose(line.get_ydata(), values) for line in axes.get_lines() if len(line.get_ydata()) == 3) == 1
        )
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
    scalars = events.Scalars("study/degradation/test error of plain14")
    assert [scalar.step for scalar in scalars] == [1, 2, 3]
    np.testing.assert_allclose([scalar.value for scalar in scalars], test, rtol=1e-6)
