"""`compare` against tests by hand and by SciPy, on networks whose answers are chosen and on golden runs."""

import importlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError, Notice
from keras_resnets.reports.statistics import holm, mcnemar
from keras_resnets.studies import compare_drawing
from keras_resnets.studies.answers import Answers, Subject, batches_of
from keras_resnets.studies.measured import Measured, images_of, names_of, origin_of

compare = importlib.import_module("keras_resnets.studies.compare")  # the module, not the function of its name

GOLDEN = Path(__file__).parent / "golden" / "trainings"


def columns(which, classes, name):
    """A network that answers by some of its inputs."""
    source = keras.Input((3 * classes,))
    part = keras.layers.Lambda(lambda x: x[:, which * classes : (which + 1) * classes], output_shape=(classes,))
    return keras.Model(source, part(source), name=name)


def rights(*counts):
    """Answers of two networks: so often both right, the first alone, the second alone, none."""
    first, second = (np.repeat(pattern, counts) for pattern in ([1, 1, 0, 0], [1, 0, 1, 0]))
    return first.astype(bool), second.astype(bool)


def test_mcnemar_by_hand():
    # Of 8 examples that tell them apart 7 are the first's: (1 + 8) / 2^8 on each side.
    test = mcnemar(*rights(20, 7, 1, 12))
    assert (test["examples"], test["first_only"], test["second_only"]) == (40, 7, 1)
    assert test["p"] == pytest.approx(2 * 9 / 2**8)
    assert test["difference"] == pytest.approx(6 / 40)
    alike = mcnemar(*rights(10, 0, 0, 0))
    assert (alike["p"], alike["difference"]) == (1, 0)
    assert alike["low"] == pytest.approx(-alike["high"])
    assert alike["high"] > 0.1, "ten examples do not show that there is no difference"
    with pytest.raises(ArgumentError, match="same examples"):
        mcnemar(np.ones(3, bool), np.ones(2, bool))


@pytest.mark.parametrize("counts", [(20, 5, 2, 13), (43, 1, 0, 0), (300, 30, 12, 55), (0, 9, 1, 0)])
def test_the_interval_ends_where_the_score_test_rejects(counts):
    """The test's own likeliest proportions for a given difference are found numerically."""
    _, ours, theirs, _ = counts
    count, test = sum(counts), mcnemar(*rights(*counts))

    def z(difference):
        def unlikely(of_theirs):
            parts = (ours, of_theirs + difference), (theirs, of_theirs)
            parts += ((count - ours - theirs, 1 - 2 * of_theirs - difference),)
            return -sum(k * np.log(max(p, 1e-300)) for k, p in parts if k)

        bounds = max(0, -difference), (1 - difference) / 2
        found = scipy.optimize.minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (ours - theirs - count * difference) / np.sqrt(count * (2 * found + difference * (1 - difference)))

    assert (z(test["low"]), z(test["high"])) == pytest.approx((1.959964, -1.959964), abs=1e-5)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.2]) == pytest.approx([0.09, 0.04, 0.09, 0.2])
    assert holm([0.9, 0.8]) == [1, 1]


@pytest.fixture
def three():
    """Networks for the same 60 examples, and whether each is right about each."""
    rng = np.random.default_rng(0)
    labels, chance = rng.integers(0, 4, 60), rng.random((3, 60))
    right = chance < np.array([0.9, 0.6, 0.85])[:, None]
    answers = np.where(right, labels, (labels + 1) % 4)
    x = np.concatenate([np.eye(4, dtype="float32")[part] for part in answers], 1)
    models = {name: columns(i, 4, name) for i, name in enumerate(("good", "bad", "fair"))}
    return models, (x, labels), dict(zip(models, right, strict=True))


def test_pairs_of_networks_by_the_same_examples(three, tmp_path):
    models, data, right = three
    study = kr.compare(models, data, timed=0)
    assert study.rows["network"].tolist() == list(models)
    assert study.rows["accuracy"].tolist() == pytest.approx([right[name].mean() for name in models])
    pairs = study.tables["pairs"].set_index(["first", "second"])
    assert list(pairs.index) == [("good", "bad"), ("good", "fair"), ("bad", "fair")]
    for (first, second), pair in pairs.iterrows():
        a, b = right[first], right[second]
        assert (pair["first_only"], pair["second_only"]) == ((a & ~b).sum(), (b & ~a).sum())
        assert pair["p"] == pytest.approx(scipy.stats.binomtest((a & ~b).sum(), (a ^ b).sum()).pvalue)
        assert pair["difference"] == pytest.approx(a.mean() - b.mean())
        assert pair["low"] < pair["difference"] < pair["high"]
        assert not pair["repeats"]
    assert pairs["p_holm"].tolist() == pytest.approx(holm(pairs["p"].tolist()))
    told = kr.studies.describe(study)
    assert "good less bad" in told
    assert "a difference" in told.split("good less bad")[1].split("\n")[0]
    assert "no significant difference" in told.split("good less fair")[1].split("\n")[0]
    study.save(tmp_path / "out")
    again = kr.studies.Study.load(tmp_path / "out")
    assert kr.studies.describe(again) == told
    words = [text.get_text() for axes in again.figure().axes for text in axes.texts]
    assert f"{100 * pairs['difference'].iloc[0]:+.2f}*" in words


def test_networks_named_like_numbers_are_read_again_by_their_names(scramble, tmp_path):
    x, y = np.eye(3, dtype="float32")[np.arange(12) % 3], np.arange(12) % 3
    source = keras.Input((3,))
    echo = keras.Model(source, keras.layers.Activation("linear")(source))
    names = ["01", "1e3", "None", "True"]
    study = kr.compare({n: scramble(keras.models.clone_model(echo)) for n in names}, (x, y), timed=0)
    study.save(tmp_path)
    again = kr.studies.Study.load(tmp_path)
    assert again.rows["network"].tolist() == names
    assert again.tables["pairs"][["first", "second"]].values.tolist() == [
        [a, b] for i, a in enumerate(names) for b in names[i + 1 :]
    ]
    assert kr.studies.describe(again) == kr.studies.describe(study)
    assert again.rows.dtypes.tolist() == study.rows.dtypes.tolist()
    ticks = [[text.get_text() for text in axes.get_yticklabels()] for axes in study.figure().axes]
    assert [[text.get_text() for text in axes.get_yticklabels()] for axes in again.figure().axes] == ticks


def test_pixels_are_compared_by_images(scramble):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4, 4, 3)).astype("float32"), rng.integers(0, 3, (12, 4, 4))
    x[:9] += 2 * np.eye(3, dtype="float32")[y[:9]]  # most images are told by the first
    source = keras.Input((4, 4, 3))
    echo = keras.Model(source, keras.layers.Activation("linear")(source), name="echo")
    other = keras.Model(source, keras.layers.Conv2D(3, 1)(source), name="other")
    study = kr.compare([echo, scramble(other)], (x, y), timed=0)
    [pair] = study.tables["pairs"].to_dict("records")
    ious = dict(zip(study.rows["network"], study.rows["mean_iou"], strict=True))
    assert pair["difference"] == pytest.approx(ious["echo"] - ious["other"])
    # The bootstrap once more, image by image.
    answers = {"echo": x.argmax(-1), "other": other.predict(x, verbose=0).argmax(-1)}
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 1000)
    differences = []
    for counts in drawn:
        chosen = np.repeat(np.arange(12), counts)
        scores = []
        for found in answers.values():
            a, b = found[chosen], y[chosen]
            scores.append(np.mean([((a == c) & (b == c)).sum() / ((a == c) | (b == c)).sum() for c in range(3)]))
        differences.append(scores[0] - scores[1])
    assert (pair["low"], pair["high"]) == pytest.approx(tuple(np.quantile(differences, (0.025, 0.975))))
    assert "by the same 12 images" in kr.studies.describe(study)
    study.figure()


@pytest.fixture
def runs(tmp_path):
    """The golden run, repeats of it with other seeds and weights, and one of another recipe."""
    made = {}
    for name, seed, epochs in (("a0", 0, 2), ("a1", 1, 2), ("b0", 0, 5), ("b1", 1, 5)):
        run = shutil.copytree(GOLDEN / "finished", tmp_path / name)
        record = json.loads((run / "run.json").read_text())
        record["asked"]["seed"] = record["asked"]["data"]["seed"] = seed
        record["asked"]["recipe"]["epochs"] = epochs
        (run / "run.json").write_text(json.dumps(record))
        model = keras.saving.load_model(run / "model.keras")
        kernel = [weight for weight in model.weights if weight.path.endswith("kernel")][-1]
        kernel.assign(kernel + np.random.default_rng([seed, epochs]).normal(0, 1, kernel.shape))
        model.save(run / "model.keras")
        made[name] = run
    return made


def test_a_history_that_is_gone_or_damaged_is_told(runs):
    for name in ("a0", "a1"):
        kr.runs.seal(runs[name] / "history.csv")
    (runs["a0"] / "history.csv").unlink()
    (runs["a1"] / "history.csv").write_text("epoch\n1\n")
    (runs["a1"] / ".sums" / "history.csv.json").write_text('{"sha256": ["0"]}')
    with pytest.warns(Notice) as told:
        study = kr.compare([runs[name] for name in ("a0", "a1", "b0")], kr.data.load("digits"), timed=0)
    said = [str(one.message) for one in told if "the curves are without it" in str(one.message)]
    assert ["a0" in said[0], "a1" in said[1]] == [True, True]
    assert set(study.tables["curves"]["network"]) == {"b0"}


def test_repeats_of_a_recipe_are_recognised_and_their_spread_told(runs, tmp_path, capsys):
    out = tmp_path / "compared"
    assert cli.main(["compare", *map(str, runs.values()), "--timed", "2", "--out", str(out)]) == 0
    said, study = capsys.readouterr().out, kr.studies.Study.load(out)
    rows = study.rows.set_index("network")
    assert list(rows.index) == list(runs)
    assert rows["recipe"].nunique() == 2
    assert rows["recipe"]["a0"] == rows["recipe"]["a1"] != rows["recipe"]["b0"] == rows["recipe"]["b1"]
    assert rows["accuracy"]["b1"] == pytest.approx(kr.evaluate(runs["b1"]).summary["accuracy"])
    accuracy = rows["accuracy"]
    assert accuracy.nunique() == 4
    a, b = (np.array([accuracy[f"{letter}{seed}"] for seed in (0, 1)]) for letter in "ab")
    recipes = study.tables["recipes"]
    assert recipes["mean"].tolist() == pytest.approx([a.mean(), b.mean()])
    assert recipes["sd"].tolist() == pytest.approx([a.std(ddof=1), b.std(ddof=1)])
    [between] = study.tables["recipe_pairs"].to_dict("records")
    test = scipy.stats.ttest_rel(a, b)
    assert (between["difference"], between["p"]) == pytest.approx(((a - b).mean(), test.pvalue))
    assert (between["low"], between["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    pairs = study.tables["pairs"].set_index(["first", "second"])
    assert pairs["paired"].all()
    assert pairs["repeats"].to_dict() == {pair: pair[0][0] == pair[1][0] for pair in pairs.index}
    # What differs between the runs, and their epochs.
    assert study.tables["settings"].set_index("setting").loc["recipe.epochs"].tolist() == ["2", "2", "5", "5"]
    curves = study.tables["curves"]
    history = pd.read_csv(GOLDEN / "finished" / "history.csv")
    assert curves[curves["network"] == "b1"]["val_accuracy"].tolist() == history["val_accuracy"].tolist()
    # Cost and time.
    model = kr.load_model(runs["a0"])
    assert rows["parameters"].tolist() == [kr.parameters(model)] * 4
    assert rows["macs"].tolist() == [kr.macs(model)] * 4
    assert (rows["latency_low"] > 0).all()
    assert (rows["latency_low"] <= rows["latency"]).all()
    for words in ("a0 less b0, by the same 397 examples", "2 seeds: accuracy", "over the same seeds"):
        assert words in said
    assert "a0 less a1" not in said


def measured(data, name="a", split="test", asked=None, seed=0):
    """What is known of a network that was measured on data, without measuring it; its answers are drawn."""
    subject = Subject(name, keras.Model(), batches_of(data, split), data, split, asked and {"asked": asked})
    right = np.random.default_rng(seed).random(data.evaluated(split)) < 0.5
    numbers = np.zeros(len(right))
    answers = Answers(right, np.ones(len(right), bool), numbers, numbers, numbers, {})
    return Measured(subject, answers, images_of(subject, answers, {}), origin_of(subject), None)


def test_images_are_the_same_whatever_their_normalisation_and_size_and_others_are_not_paired():
    how = {"normalize": "channel", "validation": 0.6}
    first = kr.data.load("digits", **how)
    same = {
        "normalised otherwise": kr.data.load("digits", **{**how, "normalize": None}),
        "prepared": first.prepared(lambda x: x / 16),
        "cut and enlarged": kr.data.load("digits", **how, image_size=10),
        "batches": first.batched(batch_size=50).seeded(3),
    }
    other = kr.data.load("digits", **{**how, "validation": 0.5})
    one = measured(first, split="validation")
    for name, data in same.items():
        assert one.on_the_same(measured(data, split="validation")), name
    assert measured(first).on_the_same(measured(other))  # the test split is the set's own
    assert not one.on_the_same(measured(other, split="validation"))
    assert not one.on_the_same(measured(first.first(100), split="validation"))

    runs = [one, measured(same["prepared"], "b", "validation", seed=1), measured(other, "c", "validation")]
    pairs = compare._pairs(runs, {"a": "a", "b": "b", "c": "c"})
    assert pairs["paired"].tolist() == [True, False, False]
    assert pairs["examples"].tolist()[:1] == [840]
    assert pairs.iloc[1:].loc[:, "examples":].isna().all(axis=None)
    told = compare_drawing._describe_pairs(pairs)
    assert told[1] == "measured on different images, so not compared by example: a and c; b and c"


def test_recipes_with_other_seeds_are_compared_by_welch_and_one_seed_twice_is_no_repeat(digits):
    data = digits.first(20)

    def table(seeds):
        accuracy = np.random.default_rng(0).random(len(seeds))
        names = [f"{recipe}{seed}" for recipe, seed in seeds]
        columns = {"network": names, "recipe": [r for r, _ in seeds], "seed": [seed for _, seed in seeds]}
        return [measured(data, name) for name in names], pd.DataFrame({**columns, "accuracy": accuracy})

    runs, rows = table([("a", 0), ("a", 1), ("a", 2), ("b", 2), ("b", 3)])
    spread = compare._spread(rows, "accuracy")
    [between] = compare._recipe_pairs(runs, rows, spread, "accuracy").to_dict("records")
    test = scipy.stats.ttest_ind(rows["accuracy"][:3], rows["accuracy"][3:], equal_var=False)
    assert (between["p"], between["by"]) == (pytest.approx(test.pvalue), "other seeds")
    assert (between["low"], between["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))

    asked = {"recipe": {"name": "digits"}, "data": {"seed": 4}, "seed": 4}
    others = [asked | {"data": {"seed": 5}, "seed": 5}, asked | {"recipe": {"name": "he15"}}]
    groups = compare._recipes(
        [measured(data, name, asked=each) for name, each in zip("abc", [asked, *others], strict=True)]
    )
    assert groups["a"] == groups["b"] != groups["c"]
    with pytest.warns(Notice, match="the same seed, 4"):
        groups = compare._recipes([measured(data, name, asked=asked) for name in "ab"])
    assert groups["a"] == groups["b"]
    assert compare._spread(rows.assign(recipe="a", seed=4), "accuracy").empty


def test_names_tell_networks_apart_and_wrong_calls_are_refused(three, tmp_path, capsys):
    paths = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "z" / "model.keras", tmp_path / "w.keras"]
    assert list(names_of(paths)) == ["x/run", "y/run", "z", "w.keras"]
    models, data, _ = three
    assert list(names_of([models["good"]] * 2)) == ["good", "good (2)"]
    pixels = keras.Input((4, 4, 3))
    dense = keras.Model(pixels, keras.layers.Activation("linear")(pixels))
    with pytest.raises(ArgumentError, match="different ones"):
        kr.compare([paths[0], paths[0]])
    for wrong, words in (
        (models["good"], "got .* alone"),
        ([models["good"]], "two or more"),
        ([models["good"], dense], "answer for images"),
    ):
        with pytest.raises(ArgumentError, match=words):
            kr.compare(wrong, data)
    assert cli.main(["compare", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "two or more" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
