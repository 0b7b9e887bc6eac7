"""Slimming against loops over edited networks: which blocks go, what is told of what is left, what is refused."""

import dataclasses
import types

import keras
import numpy as np
import pytest
from helpers.foreign_models import residual_model
from helpers.notices import told
from helpers.pruned_networks import SPEC, answers, brute_force, measured

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments import evaluation
from keras_resnets.pruning import costs, pruning
from keras_resnets.runs import read_csv
from keras_resnets.training.checkpoints import Checkpoint


@pytest.fixture(scope="module")
def it(scramble):
    """A network, examples to choose on and others to report on, labelled by its own answers with some mistakes."""
    keras.utils.set_random_seed(9)
    model, rng = scramble(kr.build(SPEC)), np.random.default_rng(1)
    x = rng.normal(size=(70, 8, 8, 1)).astype("float32")
    # So that its answers differ from image to image.
    kr.recalibrate(model, (x, None))
    logits = next(v for v in model.weights if v.path.endswith("logits/kernel"))
    logits.assign(4 * logits.numpy())
    y = np.where(rng.random(70) < 0.2, rng.integers(0, 5, 70), answers(model, x).argmax(1))
    return types.SimpleNamespace(model=model, chosen=(x[:30], y[:30]), reported=(x[30:], y[30:]))


@pytest.fixture(scope="module")
def found(it):
    return kr.prune(it.model, it.reported, calibration=it.chosen, blocks=3, timed=0)


@pytest.mark.backends
def test_greedy_is_brute_force(it, found):
    names, errors, tie = brute_force(it.model, it.chosen, 3)
    assert tie, "choose other examples: no tie is broken by loss"
    assert found.study.summary["dropped"] == names
    rows = found.study.rows[found.study.rows["state"].isin(["whole", "dropped"])]
    assert list(rows["block"]) == ["-", *names]
    assert list(rows["calibration_error"]) == pytest.approx(errors)
    whole = answers(it.model, it.reported[0]).argmax(1)
    for n, row in enumerate(rows.to_dict("records")):
        left = kr.delete(it.model, names[:n]) if n else it.model
        assert (row["error"], row["loss"]) == pytest.approx(measured(left, *it.reported), rel=1e-4)
        assert row["agreement"] == np.mean(answers(left, it.reported[0]).argmax(1) == whole)


def test_statistics_are_taken_anew_for_each_row_and_the_network_is_left_alone(it, found):
    before, rows = it.model.get_weights(), found.study.rows
    names = found.study.summary["dropped"]
    whole = answers(it.model, it.reported[0]).argmax(1)
    for n in range(4):
        left = kr.delete(it.model, names[:n], copy=True)
        assert kr.recalibrate(left, it.chosen) == found.study.summary["recalibrated_on"] == 30
        row = rows[(rows["state"] == "recalibrated") & (rows["dropped"] == n)].iloc[0]
        assert (row["error"], row["loss"]) == pytest.approx(measured(left, *it.reported), rel=1e-4)
        assert row["agreement"] == np.mean(answers(left, it.reported[0]).argmax(1) == whole)
        assert kr.parameters(left) == row["parameters"]
        assert kr.macs(left) == row["macs"]
    np.testing.assert_allclose(answers(found.network, it.reported[0]), answers(left, it.reported[0]), atol=1e-6)
    for old, new in zip(before, it.model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_one_shot_goes_by_the_lesion_sweep(it, found):
    network, study = kr.prune(
        it.model, it.reported, calibration=it.chosen, blocks=3, method="one_shot", recalibrate=False, timed=0
    )
    sweep = kr.studies.lesion(it.model, it.chosen).rows.sort_values(["error", "loss"], kind="stable")
    names = list(sweep["block"][:3])
    assert study.summary["dropped"] == names != found.study.summary["dropped"]
    errors = [measured(kr.delete(it.model, names[:n]) if n else it.model, *it.chosen)[0] for n in range(4)]
    assert list(study.rows["calibration_error"]) == pytest.approx(errors)
    assert set(study.rows["state"]) == {"whole", "dropped"}
    # Nothing was recalibrated: what is left has the weights of the whole.
    expected = answers(kr.delete(it.model, names), it.reported[0])
    np.testing.assert_array_equal(answers(network, it.reported[0]), expected)


@pytest.mark.parametrize("method", ["greedy", "one_shot"])
def test_blocks_go_until_the_tolerance_is_passed(it, method):
    if method == "greedy":
        names, errors, _ = brute_force(it.model, it.chosen, 4)
    else:
        sweep = kr.studies.lesion(it.model, it.chosen).rows.sort_values(["error", "loss"], kind="stable")
        names = list(sweep["block"])
        errors = [measured(kr.delete(it.model, names[:n]) if n else it.model, *it.chosen)[0] for n in range(5)]
    rises = np.array(errors) - errors[0]
    passed = int(np.argmax(rises > rises[1] + 1e-9))  # the first that is worse than one block dropped
    assert passed > 1, "choose other examples"
    options = {"calibration": it.chosen, "method": method, "recalibrate": False, "timed": 0}
    study = kr.prune(it.model, it.reported, tolerance=max(float(rises[1]), 0.0), **options).study
    assert study.summary["dropped"] == names[: passed - 1]
    if rises[1] > 0:
        network, study = kr.prune(it.model, it.reported, tolerance=0, **options)
        assert study.summary["dropped"] == []
        assert len(network.blocks) == 5
        assert "no block" in kr.studies.describe(study)


def test_what_is_reported_does_not_choose(it, found):
    x, y = it.reported
    other = kr.prune(it.model, (x, (y + 1) % 5), calibration=it.chosen, blocks=3, timed=0).study
    assert other.summary["dropped"] == found.study.summary["dropped"]
    assert (other.rows["error"] > found.study.rows["error"]).any()
    assert list(other.rows["calibration_error"]) == list(found.study.rows["calibration_error"])


def test_kept_blocks_stay_and_examples_are_limited(it):
    x, y = it.chosen
    keep = ["stage1_block1", 1]
    arrays = {"calibration": (x[:7], y[:7]), "recalibrate": False}
    few = kr.prune(it.model, it.reported, share=0.4, keep=keep, timed=0, **arrays).study.summary
    same = kr.prune(
        it.model, it.reported, calibration=it.chosen, examples=7, blocks=2, keep=keep, timed=0
    ).study.summary
    assert few["dropped"] == same["dropped"]
    assert len(few["dropped"]) == 2
    assert not {"stage1_block1", "stage1_block2"} & {*few["dropped"]}
    assert same["recalibrated_on"] == 7


def test_without_labels_the_whole_network_answers(it):
    study = kr.prune(it.model, (it.reported[0], None), calibration=it.chosen, blocks=2, timed=0).study
    np.testing.assert_allclose(study.rows["error"], 1 - study.rows["agreement"])
    assert study.rows["error"].iloc[0] == 0 < study.rows["error"].iloc[-1]


def test_an_adopted_network_is_pruned(scramble):
    original, rng = scramble(residual_model(classes=5)), np.random.default_rng(0)
    x, y = rng.normal(size=(24, 32, 32, 3)).astype("float32"), rng.integers(0, 5, 24)
    before = original.get_weights()
    network, study = kr.prune(original, (x[:12], y[:12]), calibration=(x[12:], y[12:]), blocks=1, timed=0)
    adopted = kr.adopt(original)
    names, _, _ = brute_force(adopted, (x[12:], y[12:]), 1)
    assert study.summary["dropped"] == names
    expected = kr.delete(adopted, names, copy=True)
    kr.recalibrate(expected, (x[12:], None))
    np.testing.assert_allclose(answers(network, x), answers(expected, x), atol=1e-6)
    assert network.spec is None
    for old, new in zip(before, original.weights, strict=True):
        np.testing.assert_array_equal(old, new)


class Killed(BaseException):
    pass


@pytest.mark.backends
def test_all_of_it_on_a_data_set_with_a_kill_in_between(digits, tmp_path, monkeypatch, scramble):
    spec = kr.Spec("slim", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), stem_width=4)
    model = scramble(kr.build(spec))
    how = {"blocks": 1, "keep": [2], "fine_tune": 2, "control": True, "timed": 0, "seed": 3}
    network, study = kr.prune(model, digits, out=tmp_path / "whole", **how)
    rows, summary = study.rows, study.summary
    assert summary["chosen_on"] == "the validation split"
    held = [np.concatenate(parts) for parts in zip(*digits.validation.as_numpy_iterator(), strict=True)]
    test = [np.concatenate(parts) for parts in zip(*digits.test.as_numpy_iterator(), strict=True)]
    assert summary["dropped"] == brute_force(model, held, 1, keep=(2,))[0]
    assert summary["recalibrated_on"] == 256

    last = rows.iloc[-1]
    assert (last["state"], last["dropped"]) == ("fine-tuned", 1)
    assert (last["error"], last["loss"]) == pytest.approx(measured(network, *test), rel=1e-4)
    whole = answers(model, test[0]).argmax(1)
    assert last["agreement"] == np.mean(answers(network, test[0]).argmax(1) == whole)
    # The control is the whole network after the same fine-tuning.
    tuned = kr.fine_tune(model, digits, out=tmp_path / "control", epochs=2, seed=3, verbose=0)
    control = rows[rows["state"] == "whole fine-tuned"].squeeze()
    assert (control["dropped"], control["macs"]) == (0, rows["macs"].iloc[0])
    assert (control["error"], control["loss"]) == pytest.approx(measured(tuned, *test), rel=1e-4)
    history = "fine_tuning/history.csv"
    epochs = read_csv(tmp_path / "whole" / history)
    # The recipe's 0.1 by a tenth, on a cosine over two epochs.
    assert epochs["learning_rate"].tolist() == pytest.approx([0.005, 0], abs=1e-8)
    assert epochs["loss"].iloc[1] < epochs["loss"].iloc[0]

    original = Checkpoint.on_epoch_end

    def kill(self, epoch, logs=None):
        original(self, epoch, logs)
        raise Killed

    monkeypatch.setattr(Checkpoint, "on_epoch_end", kill)
    with pytest.raises(Killed):
        kr.prune(model, digits, out=tmp_path / "killed", **how)
    monkeypatch.setattr(Checkpoint, "on_epoch_end", original)
    resumed = kr.prune(model, digits, out=tmp_path / "killed", **how)
    for a, b in zip(network.weights, resumed.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.study.rows.equals(rows)
    assert not list(tmp_path.glob("*/.unfinished"))

    # Finished, it is opened and not done again; it is a network like any other, and so is its directory.
    monkeypatch.setattr(pruning, "choose", lambda *_, **__: pytest.fail("chosen again"))
    again = kr.prune(model, digits, out=tmp_path / "whole", **how)
    assert again.study.rows.equals(rows)
    assert again.study.summary == summary
    np.testing.assert_array_equal(answers(again.network, test[0]), answers(network, test[0]))
    # What is damaged in its fine-tunings is mended, or made again.
    right = (tmp_path / "whole" / history).read_bytes()
    (tmp_path / "whole" / history).write_bytes(right[:40])
    (tmp_path / "whole" / "control" / "model.keras").unlink()
    with told("history.csv' was damaged and is mended"):
        kr.prune(model, digits, out=tmp_path / "whole", **how)
    assert (tmp_path / "whole" / history).read_bytes() == right
    np.testing.assert_array_equal(
        answers(kr.load_model(tmp_path / "whole" / "control"), test[0]), answers(tuned, test[0])
    )
    assert kr.build(again.network.spec, weights=tmp_path / "whole").spec.blocks == 2
    assert len(kr.studies.lesion(kr.load_model(tmp_path / "whole"), tuple(test)).rows) == 2
    with pytest.raises(ArgumentError, match="fine_tune = 2, now 1"):
        kr.prune(model, digits, out=tmp_path / "whole", **{**how, "fine_tune": 1})


def test_the_training_split_chooses_where_nothing_is_held_out(digits, scramble):
    model = scramble(kr.build("resnet8", (8, 8, 1)))
    splits = {name: split for name, split in digits._splits.items() if name != "validation"}
    data = dataclasses.replace(digits, _splits=splits)
    study = kr.prune(model, data, blocks=1, examples=50, recalibrate=False, timed=0).study
    assert study.summary["chosen_on"] == "the training split"
    x, y = (np.concatenate(parts)[:50] for parts in zip(*data.train_in_order.as_numpy_iterator(), strict=True))
    assert study.rows["calibration_error"].iloc[0] == pytest.approx(measured(model, x, y)[0])


def test_exports_that_are_timed_compute_what_the_network_does(it, tmp_path):
    x = it.reported[0][:1]
    for name in costs.timed_forms():
        call = costs._runnable(name, it.model, tmp_path / "net", x)
        np.testing.assert_allclose(call(), answers(it.model, x), atol=1e-5)
    rows = costs.costs(it.model, [1, 2], x, timed=2)
    for name in costs.timed_forms():
        assert rows[f"{name}_latency"].notna().tolist() == [True, False, True]
        assert (rows[f"{name}_latency_low"] <= rows[f"{name}_latency_high"]).sum() == 2
    assert rows["parameters"].tolist() == [kr.parameters(kr.delete(it.model, gone)) for gone in ([], [1], [1, 2])]


# What is wrong, the arguments, and what the sentence must hold.
WRONG = {
    "nothing": ({}, ["blocks, share or tolerance", "blocks=None"]),
    "two": ({"blocks": 1, "share": 0.5}, ["no two", "share=0.5"]),
    "too many": ({"blocks": 5}, ["blocks", "from 1 to 4", "got 5"]),
    "share": ({"share": 1.0}, ["share", "not including, 1", "1.0"]),
    "no share": ({"share": 0.01}, ["share", "1 to 4 of the 5", "0.01", "comes to 0"]),
    "tolerance": ({"tolerance": -0.1}, ["tolerance", "-0.1"]),
    "method": ({"blocks": 1, "method": "best"}, ["method", "'greedy'", "'best'"]),
    "keep": ({"blocks": 1, "keep": "stage9"}, ["no block 'stage9'", "stage2_block2"]),
    "keep all": ({"blocks": 1, "keep": range(5)}, ["keep", "5 blocks, 0", "Keep fewer"]),
    "no calibration": ({"blocks": 1, "calibration": None}, ["calibration", "not chosen on", "got None"]),
    "examples": ({"blocks": 1, "examples": 0}, ["examples", "at least 1"]),
    "timed": ({"blocks": 1, "timed": 1}, ["timed", "unless it is 0", "at least 2", "got 1"]),
    "a control without fine-tuning": ({"blocks": 1, "control": True}, ["fine_tune", "at least 1", "got 0"]),
    "fine-tuning of arrays": ({"blocks": 1, "fine_tune": 1}, ["data", "keras_resnets.data.load", "tuple"]),
    "labels": ({"blocks": 1, "calibration": (np.zeros((2, 8, 8, 1)), np.array([0, 9]))}, ["labels", "0 to 4", "got 9"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name, it, tmp_path):
    arguments, parts = WRONG[name]
    with pytest.raises(ArgumentError) as raised:
        kr.prune(it.model, it.reported, **{"calibration": it.chosen, "timed": 0, "out": tmp_path / "new", **arguments})
    assert not (tmp_path / "new").exists()
    for part in parts:
        assert part in str(raised.value)


def test_classes_of_fine_tuning_must_fit(it, digits, tmp_path):
    with pytest.raises(ArgumentError, match="as many classes as 'small' has outputs, 5; got 'digits' with 10"):
        kr.fine_tune(it.model, digits, out=tmp_path / "new", epochs=1)
    with pytest.raises(ArgumentError, match="rate must be a positive share"):
        kr.fine_tune(it.model, digits, out=tmp_path / "new", epochs=1, rate=0)
    with pytest.raises(ArgumentError, match=r"calibration must be \(x, y\) arrays"):
        kr.prune(it.model, it.reported, calibration=digits, blocks=1)


def test_engine_beside_answers_for_the_whole(it):
    """Rows that a budget allows are those of the smaller of the two."""
    from keras_resnets.pruning.pruning import _Beside

    lanes = evaluation.engine_for(it.model, 2**30)
    small = evaluation.engine_for(it.model, 2**20)
    assert _Beside(lanes, it.model, small).rows(256) == small.rows(256) < lanes.rows(256)
