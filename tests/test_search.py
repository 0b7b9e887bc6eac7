"""The search: its space, its journal, its oracles, what it keeps when it is stopped, and what comes out."""

import itertools
import json
import random

import keras_tuner
import numpy as np
import pandas as pd
import pytest

import keras_resnets as kr
from keras_resnets import building, counting, recipes, training
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.search import oracles, results
from keras_resnets.search.journal import Journal, journaled
from keras_resnets.search.trials import Setting
from keras_resnets.studies import search as drawing


@pytest.fixture(scope="module")
def digits():
    """A few hundred images, so that an epoch takes no time."""
    data = kr.data.load("digits", batch_size=32, validation=0.3)
    splits = {
        name: kr.data.sources.Arrays(split.images[:most], split.labels[:most])
        for (name, split), most in zip(
            sorted(data._splits.items()), (64, 256, 64), strict=True
        )  # test, train, validation
    }
    return kr.data.Data(data.name, data.input_shape, 10, data.class_names, data.options, splits, data._mean, data._std)


def space_of(data, **choices):
    given = {"parameters": 4_000, "blocks": (1, 2), "epochs": 2, "unit": ("basic", "B(3,1)"), **choices}
    return kr.search.DepthWidth("preresnet20", data, "digits", **given)


# --- the space


def test_at_a_thousand_random_points_the_built_network_meets_the_budget(digits):
    built: dict = {}
    cases = [
        ({"parameters": 6_000}, kr.parameters),
        ({"macs": 150_000}, kr.macs),
        ({"parameters": 25_000}, kr.parameters),
        ({"macs": 900_000}, kr.macs),
    ]
    for (budget, measured), seed in zip(cases, itertools.count(), strict=False):
        ((_, amount),) = budget.items()
        space = kr.search.DepthWidth(
            "preresnet20",
            digits,
            blocks=(1, 2),
            unit=("basic", "bottleneck", "B(3,1,3)"),
            shortcut=("A", "B"),
            placement=("pre", "post"),
            learning_rate=kr.search.Range(0.01, 0.3),
            **budget,
        )
        hp = keras_tuner.HyperParameters()
        space.declare_hyperparameters(hp)
        points = set()
        for k in range(250):
            point = hp.copy()
            point.values = {p.name: p.random_sample(1000 * seed + 10 * k + i) for i, p in enumerate(hp.space)}
            spec = space.plan(point).spec
            points.add((spec.depth, spec.shortcut, spec.placement, spec.stages[0].kernels))
            if spec not in built:
                built[spec] = building.build(spec)
            assert abs(measured(built[spec]) - amount) <= 0.02 * amount
        assert len(points) == 24  # the points differ


def test_depths_without_a_width_are_left_out_and_told(digits):
    space = space_of(digits, parameters=4_000, blocks=(1, 2, 40))
    assert space.blocks == [1, 2]
    assert space.left_out == [40]
    with pytest.raises(ArgumentError, match=r"none of \[40\]"):
        space_of(digits, blocks=(40,))


def test_a_depth_is_kept_only_if_all_choices_leave_a_width(digits):
    alone = space_of(digits, parameters=3_000, blocks=(1, 6), unit=("B(3)",))
    assert 6 in alone.blocks
    both = space_of(digits, parameters=3_000, blocks=(1, 6), unit=("B(3)", "B(3,3,3,3)"))
    assert both.left_out == [6]
    # With four blocks a stage, 2,500 parameters leave a width for shortcuts A, not for C.
    assert space_of(digits, parameters=2_500, blocks=(2, 4), unit=("basic",), shortcut=("A",)).left_out == []
    assert space_of(digits, parameters=2_500, blocks=(2, 4), unit=("basic",), shortcut=("A", "C")).left_out == [4]


def test_what_is_chosen_reaches_network_recipe_and_paths(digits):
    space = space_of(
        digits,
        shortcut=("B", "A"),
        weight_decay=(0.0, 1e-3),
        dropout=kr.search.Range(0.1, 0.4, log=False),
        paths=("all", "bernoulli:0.5"),
    )
    hp = keras_tuner.HyperParameters()
    space.declare_hyperparameters(hp)
    hp.values.update(blocks=2, unit="B(3,1)", shortcut="A", weight_decay=1e-3, dropout=0.3, paths="bernoulli:0.5")
    plan = space.plan(hp)
    assert (plan.spec.shortcut, plan.spec.dropout, plan.recipe.weight_decay, plan.paths) == (
        "A",
        0.3,
        1e-3,
        "bernoulli:0.5",
    )
    assert {s.kernels for s in plan.spec.stages} == {(3, 1)}
    model = space.build(hp)
    assert model.spec == plan.spec
    assert model.paths.survival(6) == pytest.approx([0.5] * 6)
    first = keras_tuner.HyperParameters()
    plan = space.plan(first)
    assert (plan.spec.shortcut, plan.paths, plan.recipe.weight_decay) == ("B", None, 0.0)
    assert plan.spec.dropout == pytest.approx(0.25)


def test_stages_may_have_different_numbers_of_blocks(digits):
    space = space_of(digits, blocks=((1, 2, 1), 2), unit=("basic",))
    assert space.blocks == ["1-2-1", "2"]
    spec = space.plan(keras_tuner.HyperParameters()).spec
    assert [s.blocks for s in spec.stages] == [1, 2, 1]


def test_a_space_comes_back_from_its_config():
    space = kr.search.DepthWidth(
        "resnet20", "digits", "digits", macs=200_000, blocks=((1, 2, 1), 2), epochs=3, seed=4,
        validation=0.25, learning_rate=kr.search.Range(0.01, 0.1), shortcut=("A", "B"),
        zero_gamma=(True, False),
    )  # fmt: skip
    again = kr.search.DepthWidth.from_config(json.loads(json.dumps(space.config())))
    assert again.config() == space.config()
    ours, theirs = (keras_tuner.HyperParameters() for _ in range(2))
    space.declare_hyperparameters(ours)
    again.declare_hyperparameters(theirs)
    assert ours.get_config() == theirs.get_config()
    assert space.plan(ours).to_dict() == again.plan(theirs).to_dict()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"parameters": None}, "only one; got none"),
        ({"macs": 1000}, "only one; got"),
        ({"widths": (1, 2)}, "no 'widths'"),
        ({"shortcut": kr.search.Range(1, 2)}, "list of values"),
        ({"unit": ("basic", 3)}, "list of different"),
        ({"unit": ("basic", "basic")}, "list of different"),
        ({"paths": ("all", "fixd:3")}, "no policy 'fixd'"),
        ({"unit": ("basic", "tall")}, "unit must be"),
        ({"shortcut": ("A", "D")}, "shortcut must be"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_wrong_spaces_are_told(digits, arguments, said):
    with pytest.raises(ArgumentError, match=said):
        space_of(digits, **arguments)


def test_a_range_is_drawn_by_factors_or_by_differences(digits):
    for log, middle in ((True, 0.1), (False, 0.505)):
        space = space_of(digits, learning_rate=kr.search.Range(0.01, 1.0, log=log))
        hp = keras_tuner.HyperParameters()
        space.declare_hyperparameters(hp)
        (rate,) = (choice for choice in hp.space if choice.name == "learning_rate")
        drawn = [rate.random_sample(seed) for seed in range(2000)]
        assert np.median(drawn) == pytest.approx(middle, rel=0.15)
        assert 0.01 <= min(drawn) < max(drawn) <= 1


def test_ranges_rise():
    with pytest.raises(ArgumentError, match="smaller number to a larger"):
        kr.search.Range(0.3, 0.1)
    with pytest.raises(ArgumentError, match="positive"):
        kr.search.Range(0, 0.1)


# --- keras-tuner's own tuners


@pytest.mark.parametrize("kind", ["RandomSearch", "GridSearch", "BayesianOptimization", "Hyperband"])
def test_every_tuner_of_keras_tuner_takes_the_space(digits, kind, tmp_path):
    space = space_of(digits, unit=("basic",), learning_rate=(0.05, 0.1))
    own = {"max_epochs": 2, "factor": 2} if kind == "Hyperband" else {"max_trials": 2}
    tuner = getattr(keras_tuner, kind)(space, objective="val_accuracy", seed=1, directory=tmp_path, **own)
    if kind == "Hyperband":
        tuner.search(verbose=0)
    else:
        tuner.search(epochs=2, verbose=0)
    trials = tuner.oracle.trials.values()
    assert {trial.status for trial in trials} == {"COMPLETED"}
    for trial in trials:
        assert abs(kr.parameters(tuner.hypermodel.build(trial.hyperparameters)) / 4_000 - 1) <= 0.02
    if kind == "Hyperband":
        last = next(trial for trial in trials if trial.hyperparameters.values["tuner/initial_epoch"] == 1)
        model = tuner.load_model(last)
        # Two epochs of eight steps: the optimiser went on counting, and with it the schedule.
        assert int(model.optimizer.iterations) == 16


# --- the journal


def play(oracle, *, workers, seed, stop=None):
    """Drives an oracle by workers that are done in a random order; a trial's score follows from its values."""
    rng, held, done = random.Random(seed), {}, 0
    asking = [f"w{k}" for k in range(workers)]
    held = {name: trial.trial_id for name, trial in oracle.ongoing_trials.items()}
    events = 0
    while True:
        if stop is not None and events >= stop:
            return
        free = [name for name in asking if name not in held]
        # Whoever comes next is a function of what happened so far, as in the run that is not disturbed.
        rng = random.Random(f"{seed} {len(oracle.trials)} {len(oracle.end_order)}")
        if free and (not held or rng.random() < 0.6):
            trial = oracle.create_trial(free[0])
            if trial.status == "RUNNING":
                held[free[0]] = trial.trial_id
                events += 1
                continue
            if trial.status == "STOPPED":
                return
        name = rng.choice(sorted(held))
        trial = oracle.trials[held.pop(name)]
        values = json.dumps(trial.hyperparameters.values, sort_keys=True)
        score = random.Random(values).random()
        oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        events += 1
        done += 1


def told(oracle):
    return [(t.trial_id, t.status, t.score, t.hyperparameters.values) for _, t in sorted(oracle.trials.items())]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", oracles.NAMES)
def test_an_oracle_told_the_journal_goes_on_as_the_one_that_wrote_it(digits, kind, workers, tmp_path):
    space = space_of(digits, blocks=(1, 2), epochs=9, learning_rate=kr.search.Range(0.01, 0.3))
    trials = {"grid": None, "hyperband": None, "random": 12, "bayesian": 12}[kind]

    def fresh(file):
        journal = Journal(file)
        oracle = journaled(oracles.make(kind, space, trials, seed=3), journal)
        events, torn = journal.read()
        assert torn == 0
        oracle.replay(events)
        return oracle

    undisturbed = fresh(tmp_path / "undisturbed.jsonl")
    play(undisturbed, workers=workers, seed=7)
    assert len(undisturbed.trials) >= 12
    assert undisturbed.stopped
    disturbed = fresh(tmp_path / "disturbed.jsonl")
    for stop in (1, 6, 8, None):
        play(disturbed, workers=workers, seed=7, stop=stop)
        disturbed = fresh(tmp_path / "disturbed.jsonl")
    assert told(disturbed) == told(undisturbed)
    assert disturbed.stopped
    assert disturbed.create_trial("w0").status == "STOPPED"
    assert Journal(tmp_path / "disturbed.jsonl").read() == Journal(tmp_path / "undisturbed.jsonl").read()


def test_of_a_journal_torn_anywhere_the_whole_lines_are_read(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    events = [
        {"event": "search", "asked": {"a": 1}},
        {"event": "begin", "trial": "0", "values": {"x": 0.1}},
        {"event": "stop"},
    ]
    for event in events:
        journal.append(event)
    content = journal.file.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        journal.file.write_bytes(content[:cut])
        found, torn = journal.read()
        assert found == events[: sum(end <= cut for end in ends)]
        assert torn == (cut not in (0, *ends))
    journal.file.write_bytes(content[: ends[0]] + b"\x00\x00\x00\n" + content[ends[0] :])
    assert journal.read() == (events[:1], 3)


def test_a_journal_of_another_oracle_is_refused(digits, tmp_path):
    space = space_of(digits, learning_rate=kr.search.Range(0.01, 0.3))
    journal = Journal(tmp_path / "j.jsonl")
    journaled(oracles.make("random", space, 3, seed=0), journal).create_trial("w0")
    with pytest.raises(ArgumentError, match="the oracle proposes"):
        journaled(oracles.make("random", space, 3, seed=1), journal).replay(journal.read()[0])


def test_the_trial_of_a_lost_worker_is_given_to_the_next_and_ends_once(digits, tmp_path):
    space, journal = space_of(digits), Journal(tmp_path / "j.jsonl")
    oracle = journaled(oracles.make("random", space, 2), journal)
    lost = oracle.create_trial("a")
    other = oracle.create_trial("b")
    assert oracle.create_trial("a") is lost  # the same worker gets its own again
    # Nobody is dismissed while a trial may be left behind.
    assert oracle.create_trial("c").status == "IDLE"
    oracle.lost = lambda trial: trial == lost.trial_id
    assert oracle.create_trial("c") is lost
    oracle.lost = lambda trial: False
    meanwhile = journaled(oracles.make("random", space, 2), journal)
    meanwhile.replay(journal.read()[0])
    assert {name: trial.trial_id for name, trial in meanwhile.ongoing_trials.items()} == {"c": "0", "b": "1"}
    for trial in (lost, other, lost):  # the third is the worker that was only slow
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert oracle.end_order == [lost.trial_id, other.trial_id]
    assert oracle.create_trial("a").status == "STOPPED"
    again = journaled(oracles.make("random", space, 2), journal)
    again.replay(journal.read()[0])
    assert again.end_order == oracle.end_order
    assert not again.ongoing_trials


# --- a search in one process


def stable(rows):
    """The table without what a clock gave."""
    return rows.drop(columns=[c for c in rows if c.startswith(("latency", "seconds", "front_latency"))])


def two_networks(data, out, tell=lambda line: None):
    return kr.search.search(space_of(data, unit=("basic",)), out=out, oracle="grid", trials=None, seeds=2, tell=tell)


@pytest.fixture(scope="module")
def found(digits, tmp_path_factory):
    out, lines = tmp_path_factory.mktemp("search"), []
    return out, two_networks(digits, out, lines.append), lines


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
    monkeypatch.setattr(training, "_fit", lambda *_: pytest.fail("trained again"))
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


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_search_stopped_in_trials_and_damaged_ends_as_undisturbed(found, digits, tmp_path, damage, monkeypatch):
    out, study, _ = found
    real, epochs, trained = training.Checkpoint.on_epoch_end, itertools.count(1), []

    def on_epoch_end(self, epoch, logs=None):
        real(self, epoch, logs)
        trained.append((str(self.run.path.relative_to(tmp_path)), epoch))
        if next(epochs) in (3, 6):  # the first epoch of a training, and the last
            raise Killed

    monkeypatch.setattr(training.Checkpoint, "on_epoch_end", on_epoch_end)
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

    monkeypatch.setattr(training.building, "build", broken)
    with pytest.raises(TypeError, match="a bug in the model"):
        kr.search.search(space_of(digits), out=tmp_path, oracle="grid", trials=None)


def test_a_trial_that_diverges_is_told_and_the_search_goes_on(digits, tmp_path):
    space = space_of(digits, blocks=(1,), unit=("basic",), learning_rate=(1e30, 1e31, 0.1, 1e32, 1e33))
    study = kr.search.search(space, out=tmp_path, oracle="grid", trials=None, objective="val_loss")
    assert list(study.rows["status"]) == ["diverged", "diverged", "completed", "diverged", "diverged"]
    assert study.summary["best"] == 2
    assert drawing.describe(study).startswith(
        "5 trials by grid at 4,000 parameters (within 2%): 4 diverged, 1 completed"
    )


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


# --- results


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


def test_tensorboard_shows_every_trial_with_its_cost(found):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    out, study, _ = found
    events = EventAccumulator(str(out / "logs"))
    events.Reload()
    content = events.summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert {c.name for c in experiment.hparam_infos if c.differs} == {"depth", "width", "parameters", "macs"}
    (unit,) = (c for c in experiment.hparam_infos if c.name == "unit")
    assert [value.string_value for value in unit.domain_discrete.values] == ["basic"]
    assert [metric.name.tag for metric in experiment.metric_infos] == ["val_accuracy"]
    for row in study.rows.to_dict("records"):
        events = EventAccumulator(str(out / "logs" / f"trial{row['trial']:04}"))
        events.Reload()
        content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
        values = metadata.parse_session_start_info_plugin_data(content).hparams
        for name in ("depth", "width", "parameters", "macs"):
            assert values[name].number_value == row[name]
        assert events.Scalars("val_accuracy")[-1].value == pytest.approx(row["score"])


def test_figure_and_text_tell_the_table(found):
    _, study, _ = found
    text = drawing.describe(study)
    for depth, rows in study.rows.groupby("depth"):
        assert f"{depth} layers: {len(rows)} trials, validation error median {rows['error'].median():.2%}" in text
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


# --- arguments


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
    bare = kr.search.DepthWidth("preresnet20", "digits", parameters=4_000, blocks=(1,), validation=0)
    with pytest.raises(ArgumentError, match="validation must be"):
        kr.search.search(bare, out=tmp_path / "x", trials=1)


def test_recipes_come_back_from_json():
    for recipe in recipes.RECIPES.values():
        assert recipes.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ArgumentError, match="no field 'rate'"):
        recipes.Recipe.from_dict({"name": "x", "epochs": 1, "rate": 1})


# --- the command line


def command(*arguments):
    from keras_resnets.cli import main

    return main(["search", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "One of --budget-params, --budget-macs and --budget-memory is needed"),
        (("--budget-params", 5000, "--budget-macs", 5000), "and only one"),
        (("--budget-params", 5000, "--blocks", "1,x"), "--blocks takes numbers"),
        (("--budget-params", 5000, "--choose", "unit"), "--choose takes FIELD=A,B,C"),
        (("--budget-params", 5000, "--choose", "units=basic"), "no 'units'"),
        (("--budget-params", 5000, "--address", "127.0.0.1:0"), "--address is for --role chief"),
        (("--budget-params", 5000, "--oracle", "best"), "no 'best'"),
        (("--budget-params", 50), "leaves a width"),
        (("--budget-params", 5000, "--role", "chief", "--address", "nowhere"), "HOST:PORT"),
        (("--role", "worker", "--trials", 3), "trials is the chief's"),
        (("plain19", "--budget-params", 5000), "plain19"),
        (("--budget-params", 5000, "--recipe", "none.json"), "cannot be read"),
    ],
)
def test_wrong_commands_are_told_and_leave_nothing(arguments, said, tmp_path, capsys):
    assert command(*arguments, "--out", tmp_path / "x") == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_worker_without_a_search_is_told(tmp_path, capsys):
    assert command("--role", "worker", "--out", tmp_path / "x") == 1
    assert "Start its chief first" in capsys.readouterr().err


def test_the_command_says_how_to_train_the_best_and_that_runs(tmp_path, capsys):
    from keras_resnets.cli import main

    asked = ("--budget-params", 3000, "--blocks", "1,30", "--choose", "unit=B(3,1),basic", "--choose", "paths=drop:0.1")
    assert command(*asked, "--epochs", 1, "--oracle", "grid", "--out", tmp_path / "s") == 0
    said, error = capsys.readouterr()
    assert "left out, for no width meets the budget: 30 blocks" in error
    assert "2 trials by grid at 3,000 parameters" in said
    again = said.split("train it: keras-resnets ")[1].split("\n")[0].replace("--out DIR", f"--out {tmp_path / 'run'}")
    assert "--paths drop:0.1" in again
    assert main(again.split()) == 0
    spec = kr.Spec.from_json((tmp_path / "s" / "best.json").read_text())
    assert kr.load_model(tmp_path / "run").spec == spec
    assert command(*asked, "--epochs", 1, "--oracle", "grid", "--out", tmp_path / "s") == 0
    assert "2 trials by grid" in capsys.readouterr().out
