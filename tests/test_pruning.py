"""Slimming against loops over edited networks, statistics against NumPy, and what is left against what it came from."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest
from helpers.foreign_models import residual_model

import keras_resnets as kr
from keras_resnets.architecture import counting
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments import evaluation, timing
from keras_resnets.pruning import choosing, costs
from keras_resnets.training.checkpoints import Checkpoint

STAGES = (kr.Stage(3, (4, 4)), kr.Stage(2, (8, 8), stride=2))
SPEC = kr.Spec("small", STAGES, (8, 8, 1), 5, stem_width=4, placement="pre")


def measured(model, x, y):
    """Error and loss, by NumPy from the outputs."""
    p = answers(model, x).astype("float64")
    return float(np.mean(p.argmax(1) != y)), float(-np.mean(np.log(p[np.arange(len(y)), y])))


def answers(model, x):
    return np.asarray(model(np.asarray(x, "float32"), training=False))


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


def brute_force(model, data, count, keep=()):
    """Greedy by rebuilding: names, errors, and whether a tie of errors was broken against the order of the network."""
    gone, errors, tie = [], [measured(model, *data)[0]], False
    for _ in range(count):
        tried = {
            i: measured(kr.delete(model, [*gone, i]), *data)
            for i in range(len(model.blocks))
            if i not in (*gone, *keep)
        }
        best = min(tried, key=lambda i: (*tried[i], i))
        tie |= any(tried[i][0] == tried[best][0] and i < best for i in tried)
        gone.append(best)
        errors.append(tried[best][0])
    return [model.blocks[i].name for i in gone], errors, tie


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


# What is left of five blocks, the second and the fourth of them (the first of stage 2) deleted, in each placement.
LEFT = {"post": 4, "bn_after": 5, "relu_before": 4, "relu_only": 4, "pre": 4}


@pytest.mark.parametrize("placement", LEFT)
def test_compact_computes_the_same_with_fewer_links(placement, scramble):
    model = scramble(kr.build(SPEC, placement=placement))
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    lesioned = kr.delete(model, [1, 3])
    expected = answers(lesioned, x)
    short = kr.compact(lesioned, spec=model.spec)
    np.testing.assert_array_equal(answers(short, x), expected)
    assert len(short.blocks) == LEFT[placement]
    assert short.spec is None  # a transition of which only the shortcut is left is in no spec
    assert {id(v) for v in short.weights} <= {id(v) for v in model.weights}


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_a_spec_is_carried_where_it_lays_out_what_is_left(placement, scramble):
    model = scramble(kr.build(SPEC, placement=placement))
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    lesioned = kr.delete(model, ["stage1_block2", "stage2_block2"])
    short = kr.compact(lesioned, spec=model.spec, name="less", copy=True)
    assert [stage.blocks for stage in short.spec.stages] == [2, 1]
    assert [block.name for block in short.blocks] == ["stage1_block1", "stage1_block2", "stage2_block1"]
    rebuilt = kr.build(short.spec)
    assert [(v.path, v.shape) for v in rebuilt.weights] == [(v.path, v.shape) for v in short.weights]
    assert counting.count(short.spec).parameters == kr.parameters(short)
    rebuilt.set_weights(short.get_weights())
    for network in (rebuilt, short):
        np.testing.assert_array_equal(answers(network, x), answers(lesioned, x))
    # In a pre-activation network the first block has its first BN-ReLU in front of both branches, which stays.
    first = kr.compact(kr.delete(model, 0), spec=model.spec)
    assert (len(first.blocks), first.spec is None) == ((4, False) if placement == "post" else (5, True))
    assert kr.compact(kr.delete(model, [3, 4]), spec=model.spec).spec is None


def test_a_block_stays_whose_activation_does_something(scramble):
    """Behind a convolution without ReLU, and with a ReLU that leaks, an identity block is more than an identity."""

    def model(activation, leak):
        source = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", activation=activation, name="first")(source)
        for i in range(2):
            x = keras.layers.Add(name=f"b{i}_add")([x, keras.layers.Conv2D(4, 3, padding="same", name=f"c{i}")(x)])
            x = keras.layers.ReLU(negative_slope=leak, name=f"r{i}")(x)
        return kr.adopt(scramble(keras.Model(source, keras.layers.Dense(5)(keras.layers.Flatten()(x)))))

    x = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
    for network, block, left in ((model(None, 0), 0, 2), (model(None, 0), 1, 1), (model("relu", 0.3), 1, 2)):
        lesioned = kr.delete(network, block)
        short = kr.compact(lesioned)
        np.testing.assert_array_equal(answers(short, x), answers(lesioned, x))
        assert len(short.blocks) == left


@pytest.fixture
def normalised(scramble):
    """Batch-norm of both kinds, with dropout between, one frozen and one not trainable."""
    keras.utils.set_random_seed(0)
    bn = keras.layers.BatchNormalization
    steps = [
        keras.layers.Conv2D(4, 3, name="conv1"),
        kr.layers.BatchNorm(name="bn1"),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Conv2D(3, 3, name="conv2"),
        bn(name="bn2", momentum=0.7),
        kr.layers.BatchNorm(name="bn3", frozen=True),
        bn(name="bn4", trainable=False),
        keras.layers.GaussianDropout(0.5, name="noise"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, name="dense"),
        bn(name="bn5"),
    ]
    return scramble(keras.Sequential([keras.Input((6, 6, 2)), *steps]))


def test_statistics_are_those_of_numpy(normalised):
    x = np.random.default_rng(0).normal(2, 3, size=(10, 6, 6, 2)).astype("float32")
    before = {v.path: np.asarray(v) for v in normalised.weights}
    noted = {name: [] for name in ("bn1", "bn2", "bn5")}
    for part in (x[:6], x[6:]):
        h = part
        for layer in normalised.layers:
            if "bn" in layer.name:
                h = np.asarray(h, "float64")
                axes = tuple(range(h.ndim - 1))
                if layer.name in noted:
                    mean, variance = h.mean(axes), h.var(axes)
                    noted[layer.name].append((len(part), mean, variance))
                else:
                    mean, variance = (np.asarray(v) for v in (layer.moving_mean, layer.moving_variance))
                h = (h - mean) / np.sqrt(variance + layer.epsilon) * np.asarray(layer.gamma) + np.asarray(layer.beta)
                h = h.astype("float32")
            else:
                h = layer(h, training=False) if "drop" in layer.name or layer.name == "noise" else layer(h)
    assert kr.recalibrate(normalised, (x, None), batch_size=6) == 10
    after = {v.path: np.asarray(v) for v in normalised.weights}
    for name, batches in noted.items():
        mean = sum(n * m for n, m, _ in batches) / 10
        variance = sum(n * (v + m**2) for n, m, v in batches) / 10 - mean**2
        for statistic, expected in (("moving_mean", mean), ("moving_variance", variance)):
            path = next(path for path in after if path.endswith(f"{name}/{statistic}"))
            np.testing.assert_allclose(after.pop(path), expected, rtol=2e-4, atol=1e-5)
    for path, value in after.items():
        if "seed_generator" not in path:
            np.testing.assert_array_equal(value, before[path], err_msg=path)
    layers = {layer.name: layer for layer in normalised.layers}
    assert (layers["bn1"].momentum, layers["bn2"].momentum) == (0.9, 0.7)
    assert (layers["drop"].rate, layers["noise"].rate) == (0.5, 0.5)


def test_statistics_read_so_many_batches_and_survive_an_error(normalised):
    x = np.random.default_rng(0).normal(size=(10, 6, 6, 2)).astype("float32")
    one = keras.models.clone_model(normalised)
    one.set_weights(normalised.get_weights())
    assert kr.recalibrate(normalised, (x, None), batches=2, batch_size=3) == 6
    kr.recalibrate(one, (x[:6], None), batch_size=3)
    for a, b in zip(one.weights, normalised.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    before = normalised.get_weights()

    class Broken:
        def rebatch(self, rows):
            return self

        def as_numpy_iterator(self):
            yield x[:4]
            raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        kr.recalibrate(normalised, Broken())
    for old, new in zip(before, normalised.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert normalised.layers[1].momentum == 0.9


def test_of_a_data_set_the_training_split_gives_the_statistics(digits):
    model = kr.build("resnet8", (8, 8, 1))
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    assert kr.recalibrate(model, digits) == 256
    images = digits._splits["train"].images.numpy()
    kr.recalibrate(other, ((images.astype("float32") - digits._mean) / digits._std, None))
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


class Killed(BaseException):
    pass


def test_all_of_it_on_a_data_set_with_a_kill_in_between(digits, tmp_path, monkeypatch, scramble):
    spec = kr.Spec("slim", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), stem_width=4)
    model = scramble(kr.build(spec))
    how = {"blocks": 1, "keep": [2], "fine_tune": 2, "timed": 0, "seed": 3}
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
    history = evaluation_of(tmp_path / "whole" / "fine_tuning" / "history.csv")
    # The recipe's 0.1 by a tenth, on a cosine over two epochs.
    assert history["learning_rate"].tolist() == pytest.approx([0.005, 0], abs=1e-8)
    assert history["loss"].iloc[1] < history["loss"].iloc[0]

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
    monkeypatch.setattr(choosing, "choose", lambda *_, **__: pytest.fail("chosen again"))
    again = kr.prune(model, digits, out=tmp_path / "whole", **how)
    assert again.study.rows.equals(rows)
    assert again.study.summary == summary
    np.testing.assert_array_equal(answers(again.network, test[0]), answers(network, test[0]))
    assert kr.build(again.network.spec, weights=tmp_path / "whole").spec.blocks == 2
    assert len(kr.studies.lesion(kr.load_model(tmp_path / "whole"), tuple(test)).rows) == 2
    with pytest.raises(ArgumentError, match="fine_tune = 2, now 1"):
        kr.prune(model, digits, out=tmp_path / "whole", **{**how, "fine_tune": 1})


def evaluation_of(file):
    from keras_resnets.runs import read_csv

    return read_csv(file)


def test_the_training_split_chooses_where_nothing_is_held_out(digits, scramble):
    model = scramble(kr.build("resnet8", (8, 8, 1)))
    splits = {name: split for name, split in digits._splits.items() if name != "validation"}
    data = dataclasses.replace(digits, _splits=splits)
    study = kr.prune(model, data, blocks=1, examples=50, recalibrate=False, timed=0).study
    assert study.summary["chosen_on"] == "the training split"
    x, y = (np.concatenate(parts)[:50] for parts in zip(*data.train_in_order.as_numpy_iterator(), strict=True))
    assert study.rows["calibration_error"].iloc[0] == pytest.approx(measured(model, x, y)[0])


def test_fine_tuning_knows_logits_and_weight_decay(digits, tmp_path, scramble):
    """With a rate of next to nothing and still statistics, the loss told is that of the logits."""
    spec = kr.Spec("logits", (kr.Stage(1, (4, 4)),), (8, 8, 1), 10, stem_width=4, frozen_bn=True, weight_decay=1e-3)
    model = scramble(kr.build(spec, classifier_activation=None))
    tuned = kr.fine_tune(model, digits, out=tmp_path / "run", epochs=1, rate=1e-9, verbose=0)
    x, y = (np.concatenate(parts) for parts in zip(*digits.validation.as_numpy_iterator(), strict=True))
    z = answers(model, x).astype("float64")
    loss = np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(len(y)), y])
    # Keras adds the layers' own decay.
    decay = sum(1e-3 / 2 * float((np.asarray(v) ** 2).sum()) for v in model.trainable_variables if v.name == "kernel")
    history = evaluation_of(tmp_path / "run" / "history.csv")
    assert history["val_loss"].iloc[0] == pytest.approx(loss + decay, rel=1e-4)
    assert tuned.spec == spec
    assert json.loads((tmp_path / "run" / "run.json").read_text())["asked"]["recipe"]["weight_decay"] == 0
    assert {id(v) for v in tuned.weights}.isdisjoint({id(v) for v in model.weights})


def test_turns_are_taken_and_quartiles_told(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def call(name, seconds):
        def run():
            calls.append(name)
            clock[0] += seconds[min(len(calls) // 2, len(seconds) - 1)]

        return run

    found = timing.interleaved({"a": call("a", [9, 1, 2, 3, 4]), "b": call("b", [9, 10])}, rounds=4, warm_up=1)
    assert calls == ["a", "b"] * 5
    assert found["a"] == pytest.approx({"median": 2.5, "low": 1.75, "high": 3.25})
    assert found["b"] == {"median": 10, "low": 10, "high": 10}


def test_exports_that_are_timed_compute_what_the_network_does(it, tmp_path):
    x = it.reported[0][:1]
    for name in costs.TIMED:
        call = costs._exported(name, it.model, tmp_path / "net", x)
        np.testing.assert_allclose(call(), answers(it.model, x), atol=1e-5)
    rows = costs.costs(it.model, [1, 2], x, timed=2)
    for name in costs.TIMED:
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


def test_command(digits, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    kr.train("resnet8", digits, out=run, epochs=1, verbose=0)
    arguments = ["prune", str(run), "--blocks", "1", "--keep", "stage3_block1", "--timed", "2", "--examples", "60"]
    assert cli.main([*arguments, "--out", str(out)]) == 0
    said, study = capsys.readouterr().out, kr.studies.Study.load(out)
    [name] = study.summary["dropped"]
    for told in ("accuracy", "SavedModel", "recalibrated", f"wrote {out / 'model.keras'}", name):
        assert told in said
    model, data = kr.load_model(run), kr.data.load("digits", batch_size=32, validation=0.3)
    x, y = (np.concatenate(parts)[:60] for parts in zip(*data.validation.as_numpy_iterator(), strict=True))
    assert name == brute_force(model, (x, y), 1, keep=(2,))[0][0]
    x, y = (np.concatenate(parts) for parts in zip(*data.test.as_numpy_iterator(), strict=True))
    row = study.rows[study.rows["state"] == "dropped"].iloc[0]
    assert (row["error"], row["loss"]) == pytest.approx(measured(kr.delete(model, name), x, y), rel=1e-4)
    # The directory names its data and its recipe, so that what takes a run takes it, too.
    few = ["--examples", "20", "--timed", "0", "--no-recalibrate", "--method", "one_shot"]
    assert cli.main(["prune", str(out), "--share", "0.4", *few, "--out", str(tmp_path / "again")]) == 0
    assert kr.load_model(tmp_path / "again").name == "resnet8_pruned"
    assert kr.studies.Study.load(tmp_path / "again").summary["intact"]["error"] == study.rows["error"].iloc[-1]
    assert cli.main(["prune", str(tmp_path / "net.keras"), "--blocks", "1", "--out", str(tmp_path / "new")]) == 2
    assert "--data is needed" in capsys.readouterr().err


def test_command_on_a_foreign_network(tmp_path, monkeypatch, scramble, capsys):
    """Its preprocessing is applied; with other classes than the data's, the whole network's answers are the labels."""
    from keras_resnets.models import applications

    rng = np.random.default_rng(0)
    for kind in ("cat", "dog", "owl"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(6):
            keras.utils.save_img(
                tmp_path / "images" / kind / f"{i}.png", rng.integers(0, 256, (32, 32, 3)), scale=False
            )
    prepare = keras.applications.mobilenet_v2.preprocess_input
    for classes in (3, 5):
        original = scramble(residual_model(classes=classes))
        monkeypatch.setattr(applications, "foreign", lambda *_, found=original: (kr.adopt(found), prepare))
        out = tmp_path / f"out{classes}"
        arguments = [
            "prune",
            "keras.applications:MobileNetV2",
            "--data",
            str(tmp_path / "images"),
            "--image-size",
            "32",
        ]
        tuned = ["--fine-tune", "1", "--recipe", "digits"] if classes == 3 else []
        assert cli.main([*arguments, "--blocks", "1", "--timed", "0", *tuned, "--out", str(out)]) == 0
        study = kr.studies.Study.load(out)
        x, y = next(kr.data.load(tmp_path / "images", image_size=32, normalize=None).test.as_numpy_iterator())
        p = original.predict(prepare(np.array(x)), verbose=0)
        if classes == 3:
            assert study.rows["error"].iloc[0] == pytest.approx(np.mean(p.argmax(1) != y))
            assert study.rows["state"].iloc[-1] == "fine-tuned"
        else:
            assert study.rows["error"].iloc[0] == 0
            assert "stand in for the labels" in capsys.readouterr().err
        assert "data" not in json.loads((out / "run.json").read_text())["asked"]


def test_engine_beside_answers_for_the_whole(it):
    """Rows that a budget allows are those of the smaller of the two."""
    from keras_resnets.pruning.pruning import _Beside

    lanes = evaluation.engine_for(it.model, 2**30)
    small = evaluation.engine_for(it.model, 2**20)
    assert _Beside(lanes, it.model, small).rows(256) == small.rows(256) < lanes.rows(256)
