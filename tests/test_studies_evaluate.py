"""`evaluate` against scikit-learn, SciPy and counts by hand, on networks whose answers are chosen."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.special
import sklearn.metrics

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError, Notice
from keras_resnets.studies import scores

GOLDEN = Path(__file__).parent / "golden" / "trainings"


def answering(shape, activation="linear"):
    """A network whose answers are its inputs."""
    source = keras.Input(shape)
    return keras.Model(source, keras.layers.Activation(activation)(source), name="echo")


def one_hot(answers, classes, at=4.0):
    return at * np.eye(classes, dtype="float32")[answers]


def test_scores_of_a_confusion_counted_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    answers = np.array([0, 0, 1, 1, 1, 0, 1, 0])  # 2 is never answered
    study = kr.evaluate(answering((4,)), (one_hot(answers, 4), labels))
    rows = study.rows.set_index("class")
    assert study.tables["confusion"].iloc[:, 1:].to_numpy().tolist() == [
        [2, 1, 0, 0],
        [0, 2, 0, 0],
        [2, 1, 0, 0],
        [0, 0, 0, 0],
    ]
    assert rows["support"].tolist() == [3, 2, 3, 0]
    assert rows["answered"].tolist() == [4, 4, 0, 0]
    np.testing.assert_allclose(rows["precision"], [2 / 4, 2 / 4, np.nan, np.nan])
    np.testing.assert_allclose(rows["recall"], [2 / 3, 1, 0, np.nan])
    np.testing.assert_allclose(rows["f1"], [4 / 7, 4 / 6, 0, np.nan])
    s = study.summary
    assert (s["accuracy"], s["examples"], s["split"]) == (0.5, 8, "given")
    assert s["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert s["macro_f1"] == pytest.approx((4 / 7 + 4 / 6 + 0) / 3)
    # Wilson by its formula, for 4 of 8 and for 2 of 3.
    for found, (right, count) in (
        ((s["accuracy_low"], s["accuracy_high"]), (4, 8)),
        ((rows["recall_low"][0], rows["recall_high"][0]), (2, 3)),
    ):
        p, z = right / count, 1.959964
        middle, half = p + z**2 / (2 * count), z * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
        expected = ((middle - half) / (1 + z**2 / count), (middle + half) / (1 + z**2 / count))
        assert found == pytest.approx(expected, abs=1e-6)
    assert s["confusions"][0] == {"label": "2", "answer": "0", "count": 2, "share": pytest.approx(2 / 3)}
    assert "top5_accuracy" not in s


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_all_numbers_against_scikit_learn_and_scipy(kind):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 12, 300), rng.normal(size=(300, 12)).astype("float32")
    logits[np.arange(300), labels] += 1.5
    likely = scipy.special.softmax(logits.astype("float64"), 1)
    study = kr.evaluate(answering((12,), "linear" if kind == "logits" else "softmax"), (logits, labels))
    answers, s = logits.argmax(1), study.summary
    assert s["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, answers))
    assert s["top5_accuracy"] == pytest.approx(sklearn.metrics.top_k_accuracy_score(labels, logits, k=5))
    assert s["loss"] == pytest.approx(sklearn.metrics.log_loss(labels, likely), rel=1e-5)
    assert s["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, answers, average="macro"))
    assert s["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, answers))
    confusion = study.tables["confusion"].iloc[:, 1:].to_numpy()
    np.testing.assert_array_equal(confusion, sklearn.metrics.confusion_matrix(labels, answers))
    examples = study.tables["examples"]
    np.testing.assert_array_equal(examples[["label", "answer"]], np.stack([labels, answers], 1))
    np.testing.assert_allclose(examples["confidence"], likely.max(1), rtol=1e-5)
    assert s["confidence"] == pytest.approx(likely.max(1).mean(), rel=1e-5)


def test_of_many_classes_the_confusions_that_occur():
    """The matrix of 21,000 classes would take 3.5 GB, and as long to sort."""
    rng = np.random.default_rng(0)
    labels, answers, names = rng.integers(0, 8, 300), rng.integers(0, 8, 300), [f"c{i}" for i in range(21_000)]
    few = scores.Confusion.of_matrix(sklearn.metrics.confusion_matrix(labels, answers))
    many = scores.Confusion.of_answers(labels + 20_992, answers + 20_992, 21_000)
    found = scores.confusion_table(many, names)
    whole = scores.matrix_of(scores.confusion_table(few, names[:8]))
    np.testing.assert_array_equal(whole, sklearn.metrics.confusion_matrix(labels, answers))
    assert found["count"].sum() == 300
    for row in found.itertuples():
        assert row.count == whole[int(row.label[1:]) - 20_992, int(row.answer[1:]) - 20_992] > 0
    assert len(found) == (whole > 0).sum()
    ours, of_few = scores.by_class(many, names), scores.by_class(few, names[:8])
    assert ours["support"][:20_992].sum() == 0
    columns = ["support", "answered", "precision", "recall", "f1"]
    pd.testing.assert_frame_equal(ours[columns][20_992:].reset_index(drop=True), of_few[columns])
    most = scores.confusions(many, names)
    assert [row["count"] for row in most] == sorted((whole - np.diag(np.diag(whole))).ravel(), reverse=True)[:20]
    assert scores.unique(["a", "b", "a"]) == ["a (0)", "b", "a (2)"]


def test_the_calibration_error_by_hand():
    confidence = np.array([0.95, 0.99, 0.55, 0.6, 1.0])
    right = np.array([True, False, False, True, True])
    # Bins of a tenth: (0.5, 0.6] holds the third and the fourth, (0.9, 1] the others.
    expected = (abs(1 - 0.55 - 0.6) + abs(2 - 0.95 - 0.99 - 1)) / 5
    assert scores.calibration_error(confidence, right, 10) == pytest.approx(expected)


def test_pixels_against_the_metrics_of_training_and_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4, 4, 3)).astype("float32"), rng.integers(0, 3, (6, 8, 8))
    y[:, :2] = 255
    model = answering((4, 4, 3), "softmax")
    study = kr.evaluate(model, (x, y))
    metrics = kr.segmentation.MeanIoU(3), kr.segmentation.PixelAccuracy()
    for metric in metrics:
        metric.update_state(y, model(x))
    s = study.summary
    assert (s["mean_iou"], s["accuracy"]) == pytest.approx([float(metric.result()) for metric in metrics])
    assert s["mean_iou_low"] < s["mean_iou"] < s["mean_iou_high"]
    large = np.asarray(keras.ops.image.resize(model(x), (8, 8), data_format="channels_last"))
    keep = y != 255
    assert (s["pixels"], study.rows["support"].sum()) == (keep.sum(), keep.sum())
    answers = large.argmax(-1)[keep]
    np.testing.assert_allclose(study.rows["iou"], sklearn.metrics.jaccard_score(y[keep], answers, average=None))
    np.testing.assert_allclose(study.rows["f1"], sklearn.metrics.f1_score(y[keep], answers, average=None))
    likely = np.take_along_axis(large, np.where(keep, y, 0)[..., None], -1)[..., 0][keep]
    assert s["loss"] == pytest.approx(-np.log(likely).mean(), rel=1e-5)
    image = np.mean([(large.argmax(-1) == y)[2][keep[2]].mean()])
    assert study.tables["images"]["accuracy"][2] == pytest.approx(image)


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(GOLDEN / "finished", tmp_path / "finished")


def test_a_run_is_evaluated_on_its_own_data(run, capsys):
    """Its record says what the training measured."""
    assert cli.main(["evaluate", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    recorded = json.loads((run / "run.json").read_text())["results"]
    assert found["summary"]["accuracy"] == pytest.approx(recorded["test_accuracy"], abs=1e-6)
    assert found["summary"]["loss"] == pytest.approx(recorded["test_loss"], rel=1e-4)
    assert found["summary"]["examples"] == recorded["test_examples"] == sum(row["support"] for row in found["classes"])
    saved = kr.studies.Study.load(run / "studies" / "evaluate")
    assert saved.summary["accuracy"] == found["summary"]["accuracy"]
    assert [row["recall"] for row in found["classes"]] == saved.rows["recall"].tolist()
    assert (run / "studies" / "evaluate" / "figure.png").stat().st_size > 10_000

    # The held-out part of its training split, which chose the best epoch.
    assert cli.main(["evaluate", str(run), "--split", "validation"]) == 0
    said = capsys.readouterr().out
    assert "over 840 examples" in said
    history = pd.read_csv(run / "history.csv")
    assert f"accuracy {history['val_accuracy'].iloc[-1]:.2%}" in said
    assert len(pd.read_csv(run / "studies" / "evaluate_validation" / "examples.csv")) == 840


@pytest.fixture
def pictures(tmp_path):
    """Pictures of another size than the network's, in a folder per class."""
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog", "owl"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for i in range(4):
            keras.utils.save_img(
                tmp_path / "pictures" / kind / f"{i}.png", rng.integers(0, 256, (20, 20, 3)), scale=False
            )
    return tmp_path / "pictures"


def network(names, **changes):
    spec = kr.Spec("small", (kr.Stage(1, (4, 4)),), (8, 8, 3), len(names), stem_width=4)
    model = kr.build(spec)
    model.class_names, model.preprocessing = names, kr.Preprocessing((100.0, 120.0, 90.0), (50.0, 60.0, 70.0))
    return model


@pytest.mark.parametrize("names", [("Cat", "dog", "owl"), ("owl", "ant", "cat", "dog")])
def test_a_folder_is_prepared_as_the_network_needs_it_and_its_classes_found_by_name(names, pictures, scramble):
    model = scramble(network(names))
    raw = kr.data.load(pictures, image_size=8, normalize=None)
    batches = [raw.train_in_order, raw.validation, raw.test]
    x, y = (
        np.concatenate(parts)
        for parts in zip(*(b for batch in batches for b in batch.as_numpy_iterator()), strict=True)
    )
    likely = model.predict((x - [100, 120, 90]) / np.array([50, 60, 70]), verbose=0)
    plain = [name.lower() for name in names]
    labels = np.array([plain.index(raw.class_names[label]) for label in y])
    if names[0] == "Cat":
        study = kr.evaluate(model, pictures, split="all")
    else:
        with pytest.warns(Notice, match="by their names"):
            study = kr.evaluate(model, pictures, split="all")
    assert sorted(y) == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(study.tables["examples"]["label"], labels)
    np.testing.assert_allclose(
        study.tables["examples"]["loss"], -np.log(likely[np.arange(12), labels]), rtol=1e-4, atol=1e-5
    )
    assert dict(zip(study.rows["name"], study.rows["support"], strict=True)) == {
        name: 0 if name == "ant" else 4 for name in names
    }


def test_classes_that_do_not_fit_are_refused(pictures):
    other, three = network(("ant", "bee", "fly")), network(("ant", "bee"))
    with pytest.raises(ArgumentError, match=r"ant, bee, fly; .* has cat, dog, owl.*match='number'"):
        kr.evaluate(other, pictures)
    assert kr.evaluate(other, pictures, split="all", match="number").summary["examples"] == 12
    with pytest.raises(ArgumentError, match=r"2 classes that 'small' tells apart; .* has 3"):
        kr.evaluate(three, pictures, match="number")
    with pytest.raises(ArgumentError, match="from 0 to 2"):
        kr.evaluate(other, (np.zeros((2, 8, 8, 3)), np.array([0, 3])))
    with pytest.raises(ArgumentError, match="label for each pixel"):
        kr.evaluate(answering((8, 8, 2)), kr.data.load("digits"))


def test_what_cannot_be_evaluated_is_refused(run, tmp_path, capsys):
    model = answering((3,))
    x, y = np.zeros((2, 3)), np.zeros(2, int)
    for arguments, more, words in (
        ((model,), {}, "data is needed"),
        ((model, (x, None)), {}, "must have labels"),
        ((model, (x, y)), {"split": "train"}, "no splits"),
        ((model, (x, y)), {"data_dir": "x"}, "data_dir is for data given by name"),
        ((model, (x, y)), {"split": "tests"}, "'test', 'validation'"),
        (
            (run, kr.data.load("digits", validation=0)),
            {"split": "validation"},
            "nothing is held out",
        ),
        ((answering((3,), "sigmoid"), (x, y)), {}, "softmax"),
    ):
        with pytest.raises(ArgumentError, match=words):
            kr.evaluate(*arguments, **more)
    assert cli.main(["evaluate", str(tmp_path / "no.keras"), "--data", "digits"]) == 2
    assert cli.main(["evaluate", str(run / "model.keras")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    assert "--data is needed" in said


def test_data_that_were_loaded_otherwise_than_for_the_training_are_told(run):
    with pytest.warns(Notice, match="another normalisation"):
        kr.evaluate(run, kr.data.load("digits", normalize=None).first(10))
    by_name, own = kr.evaluate(run, "digits"), kr.evaluate(run)
    np.testing.assert_allclose(by_name.tables["examples"]["loss"], own.tables["examples"]["loss"], rtol=1e-4)


def test_a_network_of_which_is_not_known_how_it_takes_images_is_told(tiny):
    model = kr.build(tiny.replace(classes=10))
    with pytest.warns(Notice, match="not known how 'tiny' takes its images"):
        found = kr.evaluate(model, "digits").summary
    assert found["accuracy"] == kr.evaluate(model, kr.data.load("digits")).summary["accuracy"]


def test_many_classes_are_drawn_and_told_by_those_that_stand_out(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, 200)
    answers = np.where(rng.random(200) < 0.5, labels, 7)
    study = kr.evaluate(answering((40,)), (one_hot(answers, 40), labels))
    study.save(tmp_path / "study")
    again = kr.studies.Study.load(tmp_path / "study")
    assert kr.studies.describe(again) == kr.studies.describe(study)
    assert all(confusion["answer"] == "7" for confusion in study.summary["confusions"])
    words = [text.get_text() for axes in again.figure().axes for text in axes.texts]
    assert any(text.startswith("lowest recall") for text in words)
