"""The space of a search: what it holds, what it leaves out, and that keras-tuner's own tuners take it."""

import itertools
import json

import keras_tuner
import numpy as np
import pytest
from helpers.search_setting import space_of

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.models import building


@pytest.mark.thorough  # tests of the budget try single networks
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
                model = building.build(spec)
                built[spec] = {measure: measure(model) for measure in (kr.parameters, kr.macs)}
            assert abs(built[spec][measured] - amount) <= 0.02 * amount
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
        "resnet20", kr.data.load("digits", validation=0.25), "digits", macs=200_000, blocks=((1, 2, 1), 2), epochs=3,
        seed=4, learning_rate=kr.search.Range(0.01, 0.1), shortcut=("A", "B"),
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


@pytest.mark.parametrize(
    "kind",
    [
        "RandomSearch",
        *(
            pytest.param(kind, marks=pytest.mark.thorough)
            for kind in ("GridSearch", "BayesianOptimization", "Hyperband")
        ),
    ],
)
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


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (
            {"ray": "127.0.0.1:99999"},
            "workers must be at least 1 for trials on the Ray cluster '127.0.0.1:99999'; got 0",
        ),
        ({"gpus": float("nan")}, "gpus must be a number from 0; got nan"),
        ({"workers": -1}, "workers must be a whole number of at least 0; got -1"),
    ],
)
def test_what_a_search_would_wait_for_without_end_is_refused(digits, tmp_path, wrong, parts):
    with pytest.raises(ArgumentError, match=parts):
        kr.search.search(space_of(digits), out=tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_a_range_ends():
    for low, high in ((0.1, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ArgumentError, match="both finite"):
            kr.search.Range(low, high)
