"""A search: what it keeps when it is stopped, what comes out, and what is refused."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import keras_tuner
import numpy as np
import pandas as pd
import pytest
from helpers.board import hyperparameters, read, row_name
from helpers.notices import told
from helpers.search_setting import space_of

import keras_resnets as kr
from keras_resnets.architecture import counting
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.search import drawing as drawing
from keras_resnets.search import results
from keras_resnets.search.trials import Setting
from keras_resnets.showing import counted
from keras_resnets.training import fitting, recipes, training


def stable(rows):
    """The table without what a clock gave."""
    return rows.drop(columns=[c for c in rows if c.startswith(("latency", "seconds", "front_latency"))])


def two_networks(data, out, tell=lambda line: None):
    return kr.search.search(space_of(data, unit=("basic",)), out=out, oracle="grid", trials=None, seeds=2, tell=tell)


@pytest.fixture(scope="module")
def found(digits, tmp_path_factory):
    out, lines = tmp_path_factory.mktemp("search"), []
    return out, two_networks(digits, out, lines.append), lines


def test_what_a_finished_search_wrote_is_made_again(found, digits):
    out = found[0]
    written = {name: (out / name).read_bytes() for name in ("trials.csv", "best.json", "best_recipe.json")}
    (out / "best_recipe.json").unlink()
    for name in ("trials.csv", "best.json"):
        (out / name).write_bytes(written[name].replace(b"1", b"2", 1))
    with told("trials.csv' was damaged and is mended", "best.json' was damaged and is mended"):
        two_networks(digits, out)
    assert {name: (out / name).read_bytes() for name in written} == written
    for name in ("trials.csv", "best.json"):
        (out / f"{name}.damaged").unlink()


def test_the_table_is_of_what_was_trained(found, digits):
    out, study, lines = found
    rows = study.rows
    assert len(rows) == len(lines) == 2
    for row in rows.to_dict("records"):
        runs = [Run(out / row["run"] / f"seed{k}", {}) for k in range(2)]
        histories = [pd.read_csv(run.path / "history.csv") for run in runs]
        accuracies = [history["val_accuracy"].iloc[-1] for history in histories]
        assert row["score"] == pytest.approx(np.mean(accuracies), abs=1e-12)
        assert row["error"] == pytest.approx(1 - np.mean(accuracies), abs=1e-6)
        assert row["error_sd"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-6)
        model = kr.load_model(runs[0].path)
        assert row["parameters"] == kr.parameters(model)
        assert row["macs"] == kr.macs(model)
        assert row["depth"] == model.spec.depth
        tests = [1 - kr.load_model(run.path).evaluate(digits.test, verbose=0)[1] for run in runs]
        assert row["test_error"] == pytest.approx(np.mean(tests), abs=1e-6)
        asked = [run.record["asked"] for run in runs]
        # A seed is of the weights, and of the order of the data.
        assert [(a["seed"], a["data"]["seed"]) for a in asked] == [(0, 0), (1, 1)]
    assert list(pd.read_csv(out / "trials.csv")["trial"]) == [0, 1]


def test_the_best_is_what_train_takes(found, tmp_path, digits):
    out, study, _ = found
    best = study.rows.set_index("trial").loc[study.summary["best"]]
    assert best["score"] == study.rows["score"].max() > study.rows["score"].min()
    spec = kr.Spec.from_json((out / "best.json").read_text())
    assert counting.count(spec).parameters == best["parameters"]
    recipe = recipes.Recipe.from_dict(json.loads((out / "best_recipe.json").read_text()))
    again = kr.train(spec, digits, recipe, out=tmp_path, epochs=2, seed=0, verbose=0)
    before = kr.load_model(out / best["run"] / "seed0")
    for one, other in zip(again.weights, before.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_search_that_is_done_is_not_repeated(found, digits, monkeypatch):
    out, study, _ = found
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trained again"))
    again = two_networks(digits, out)
    pd.testing.assert_frame_equal(again.rows, study.rows, check_dtype=False)


def test_another_search_is_refused(found, digits):
    with pytest.raises(ArgumentError, match="oracle = 'grid', now 'random'"):
        kr.search.search(space_of(digits, unit=("basic",)), out=found[0], oracle="random", trials=4, seeds=2)


class Killed(BaseException):
    pass


DAMAGES = {
    "runs": lambda out: [file.write_text("") for file in out.glob("trials/*/*/run.json")],
    "torn": lambda out: (out / "journal.jsonl").write_bytes((out / "journal.jsonl").read_bytes()[:-20]),
    "empty": lambda out: [file.write_text("") for file in (*out.rglob("*.json"), out / "journal.jsonl")],
}


@pytest.mark.filterwarnings("ignore::keras_resnets.errors.Notice")
@pytest.mark.parametrize(
    "damage", ["torn", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("runs", "empty"))]
)
def test_a_search_stopped_in_trials_and_damaged_ends_as_undisturbed(found, digits, tmp_path, damage, monkeypatch):
    out, study, _ = found
    real, epochs, trained = fitting.Checkpoint.on_epoch_end, itertools.count(1), []

    def on_epoch_end(self, epoch, logs=None):
        real(self, epoch, logs)
        trained.append((str(self.run.path.relative_to(tmp_path)), epoch))
        if next(epochs) in (3, 6):  # the first epoch of a training, and the last
            raise Killed

    monkeypatch.setattr(fitting.Checkpoint, "on_epoch_end", on_epoch_end)
    lines = []
    for _ in range(3):
        try:
            two_networks(digits, tmp_path, lines.append)
        except Killed:
            DAMAGES[damage](tmp_path)
    again = kr.studies.Study.load(tmp_path / "study")
    pd.testing.assert_frame_equal(stable(again.rows), stable(kr.studies.Study.load(out / "study").rows))
    # Every epoch of every training was trained once.
    assert len(trained) == len(set(trained)) == 8
    ours, theirs = (kr.load_model(where / study.rows["run"].iloc[-1] / "seed1") for where in (tmp_path, out))
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any("damaged" in line for line in lines) == (damage == "torn")


def test_an_error_in_the_model_is_an_error_of_the_search(digits, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise TypeError("a bug in the model")

    monkeypatch.setattr(training, "assemble", broken)
    with pytest.raises(TypeError, match="a bug in the model"):
        kr.search.search(space_of(digits), out=tmp_path, oracle="grid", trials=None)


def test_a_trial_that_diverges_is_told_and_the_search_goes_on(digits, tmp_path):
    space = space_of(digits, blocks=(1,), unit=("basic",), learning_rate=(1e30, 0.1, 1e32))
    with told("from epoch 1 on its loss is not finite"):
        study = kr.search.search(space, out=tmp_path, oracle="grid", trials=None, objective="val_loss")
    assert list(study.rows["status"]) == ["diverged", "completed", "diverged"]
    assert study.summary["best"] == 1
    assert drawing.describe(study).startswith(
        "3 trials by grid at 4,000 parameters (within 2%): 2 diverged, 1 completed"
    )


@pytest.mark.thorough
def test_a_rung_of_hyperband_is_a_stop_of_one_training(digits, tmp_path):
    space = space_of(digits, blocks=(1, 2), unit=("basic",), epochs=3, learning_rate=(0.05, 0.1))
    study = kr.search.search(space, out=tmp_path / "search", oracle="hyperband", trials=None)
    rows = study.rows
    again = rows[rows["run"].duplicated(keep=False)].sort_values("epochs")
    assert list(again["epochs"]) == [1, 3]
    assert list(again["status"]) == ["stopped", "completed"]
    assert list(again["test_error"].isna()) == [True, False]
    run = Run(tmp_path / "search" / again["run"].iloc[0] / "seed0", {})
    asked = run.record["asked"]
    spec = kr.Spec.from_dict(asked["spec"])
    recipe = recipes.get("digits").replace(learning_rate=float(again["learning_rate"].iloc[0]))
    whole = kr.train(spec, digits, recipe, out=tmp_path / "whole", epochs=3, seed=0, verbose=0)
    stopped = kr.load_model(run.path)
    for one, other in zip(whole.weights, stopped.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    ours, theirs = (pd.read_csv(where / "history.csv") for where in (run.path, tmp_path / "whole"))
    pd.testing.assert_frame_equal(ours, theirs)
    assert again["score"].iloc[0] == pytest.approx(theirs["val_accuracy"].iloc[0])


def test_training_until_an_epoch_and_on_is_training_to_the_end(digits, tmp_path):
    for until in (1, 2, None):
        parts = kr.train("resnet8", digits, out=tmp_path / "parts", epochs=3, until=until, seed=5, verbose=0)
        assert Run(tmp_path / "parts", {}).finished == (until is None)
    whole = kr.train("resnet8", digits, out=tmp_path / "whole", epochs=3, seed=5, verbose=0)
    for one, other in zip(parts.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_patience_stops_a_training_also_over_rungs(digits, tmp_path):
    setting = Setting(space_of(digits, epochs=8, learning_rate=(1e-12,)), tmp_path, "val_loss", patience=2)
    plan = setting.space.plan(keras_tuner.HyperParameters())
    plan = type(plan)(plan.spec, plan.recipe.replace(warmup_iterations=0), plan.paths, plan.values)
    lengths = []
    for until in range(1, 9):
        setting.run(plan, until)
        lengths.append(len(setting.history(setting.place(plan) / "seed0")))
    assert lengths == sorted(lengths)
    history = setting.history(setting.place(plan) / "seed0")
    best = int(history["val_loss"].argmin())
    assert len(history) in (best + 3, 8)
    assert setting.scores(plan, 1) == [history["val_loss"].iloc[0]]
    assert setting.scores(plan, 8) == [history["val_loss"].iloc[-1]]


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"error": rng.integers(0, 6, 40) / 10, "macs": rng.integers(0, 12, 40)})
    expected = []
    for i, a in rows.iterrows():
        beaten = any(
            b["error"] <= a["error"] and b["macs"] <= a["macs"] and (b["error"] < a["error"] or b["macs"] < a["macs"])
            for j, b in rows.iterrows()
            if i != j
        )
        expected.append(not beaten)
    assert results.front(rows, "macs") == expected
    assert 0 < sum(expected) < 40
    # Of 10^5 trials no table of pairs, which would take 20 GB.
    many = pd.DataFrame({"error": rng.random(100_000), "macs": rng.random(100_000)})
    assert 1 < sum(results.front(many, "macs")) < 100


SHOWN = ("depth", "width", "parameters", "macs", "unit")


@pytest.mark.backends
def test_tensorboard_shows_every_trial_with_its_cost(found):
    out, study, _ = found
    for row in study.rows.to_dict("records"):
        logs = out / "logs" / f"trial{row['trial']:04}_{row['depth']}layers_{row['width']}wide"
        seeds = [logs / f"seed{k}" for k in range(2)]
        for seed in seeds:
            values = hyperparameters(read(seed))
            assert [values[name] for name in SHOWN] == [row[name] for name in SHOWN]
            assert values["memory"] == row["activations"]
            # Rows of one name are one row, with the means over seeds.
            assert row_name(read(seed)).endswith(f", trial {row['trial']:04}")
        # The metric of a trial is that of any training.
        scores = [read(seed / "validation").Scalars("epoch_accuracy")[-1].value for seed in seeds]
        assert np.mean(scores) == pytest.approx(row["score"])
    assert not list((out / "trials").rglob("*tfevents*"))


def test_a_search_is_drawn_where_no_other_study_was_imported():
    script = (
        "from keras_resnets.search import searching; from keras_resnets.reports.study import DRAWINGS as d; d['search']"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_figure_and_text_tell_the_table(found):
    _, study, _ = found
    text = drawing.describe(study)
    for depth, rows in study.rows.groupby("depth"):
        count = counted(len(rows), "trial")
        assert f"{depth} layers: {count}, validation error median {rows['error'].median():.2%}" in text
    kinds = study.rows.assign(unit=["basic", "B(3,1)"])
    for rows in (study.rows, kinds):
        figure = kr.studies.Study("search", rows, study.summary).figure()
        left = figure.axes[0]
        assert left.get_xlabel() == "layers; the width follows from the budget"
        drawn = np.array([point for line in left.containers for point in line[0].get_xydata()])
        np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0])], rows[["depth", "error"]].to_numpy(float), atol=0.5)
        np.testing.assert_allclose(sorted(drawn[:, 1]), sorted(rows["error"]))
    assert {"basic: a trial, 95% interval over images", "B(3,1): a trial, 95% interval over images"} <= {
        text.get_text() for text in figure.legends[0].get_texts()
    }
    assert len(figure.axes) == 3  # the budget's own measure is no axis


def test_wrong_searches_are_told(digits, tmp_path):
    space = space_of(digits)
    for arguments, said in (
        ({"oracle": "evolution"}, "no 'evolution'"),
        ({"trials": None}, "trials must be given"),
        ({"objective": "accuracy"}, "objective must be"),
        ({"seeds": 0}, "seeds"),
        ({"workers": 2}, "by its name"),
    ):
        with pytest.raises(ArgumentError, match=said):
            kr.search.search(space, out=tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()
    whole = kr.data.load("digits", validation=0)
    bare = kr.search.DepthWidth("preresnet20", whole, parameters=4_000, blocks=(1,))
    with pytest.raises(ArgumentError, match="validation must be"):
        kr.search.search(bare, out=tmp_path / "x", trials=1)


def test_a_search_all_of_whose_trials_diverged_has_its_table_and_figure(tmp_path):
    study = kr.studies.Study.load(Path(__file__).parent / "golden" / "searches" / "finished" / "study")
    study.rows["status"] = "diverged"
    for cost in results.COSTS:
        results.mark_front(study.rows, study.rows["status"] == "completed", cost)
        assert not study.rows[f"front_{cost}"].any()
    study.summary |= {"best": None, "by_depth": []}
    study.save(tmp_path)
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert kr.studies.describe(kr.studies.Study.load(tmp_path)).endswith(f"{len(study.rows)} diverged")
