"""Trainings that end before their recipe does: stopped, shortened, out of patience; and their losses."""

import json

import keras
import numpy as np
import pytest
from helpers.notices import told
from sklearn.utils.class_weight import compute_class_weight

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run, write_json
from keras_resnets.training import fitting, training
from keras_resnets.training.checkpoints import Checkpoint
from keras_resnets.training.losses import SmoothedCrossentropy

SMALL = kr.Spec("small", (kr.Stage(1, (4, 4)),), (8, 8, 1), 10, stem_width=4)
RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (200, 8, 8, 1)).astype("uint8"), np.arange(200) % 10
RECIPE = kr.recipes.get("digits").replace(batch_size=64)


def results(out):
    return json.loads((out / "run.json").read_text()).get("results")


class Interrupts(keras.callbacks.Callback):
    """Stops a training as a user does, at the start of its second epoch; notes the weights of the first."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.first = [np.asarray(w) for w in self.model.weights]

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_a_stopped_run_has_its_best_network_and_may_be_finished_where_it_is(tmp_path, monkeypatch):
    out, how = tmp_path / "run", {"verbose": 0}
    stop = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=4, callbacks=[stop], **how)
    for one, other in zip(kr.load_model(out / "best.keras").weights, stop.first, strict=True):
        np.testing.assert_array_equal(one, other)
    assert results(out) is None

    said = []
    kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=2, tell=said.append, **how)
    assert said[0] == "end       after 2 epochs of the 4 that this run was begun with, by the schedule of those"
    assert said[-1] == "part      epochs 2 to 2 of 4, by the schedule of the whole"
    assert (results(out)["epochs"], results(out)["of_epochs"]) == (2, 4)
    rates = [float(line.split(",")[-1]) for line in (out / "history.csv").read_text().split()[1:]]
    schedule = RECIPE.lasting(4, 3).rate(3)
    np.testing.assert_allclose(rates, [float(schedule(3)), float(schedule(6))], rtol=1e-5)

    # Asked for again, it is opened; other images are refused; asked for the whole length, it goes on.
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained again"))
        kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=2, **how)
        with pytest.raises(ArgumentError, match=r"started with data\.contents = '\w+', now"):
            kr.train(SMALL, (X[::-1], Y), RECIPE, out=out, epochs=2, **how)
        with pytest.raises(ArgumentError, match=r"recipe\.epochs = 4, now 5"):
            kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=5, **how)
    went_on = []
    monkeypatch.setattr(training, "fit", lambda *_, end, **__: went_on.append(end))
    kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=4, **how)
    kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=3, **how)
    assert went_on == [None, 3]
    # A run that came to its end is not shortened any more.
    record = json.loads((out / "run.json").read_text())
    del record["results"]["of_epochs"]
    write_json(out / "run.json", record, sealed=True)
    with pytest.raises(ArgumentError, match=r"recipe\.epochs = 4, now 2"):
        kr.train(SMALL, (X, Y), RECIPE, out=out, epochs=2, **how)


class Spoils(keras.callbacks.Callback):
    """Makes every epoch after the first worse than it."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.first = [np.asarray(w) for w in self.model.weights]
        logs["val_accuracy"] = 0.5 - epoch / 10


def test_out_of_patience_the_best_network_is_kept(tmp_path):
    spoils = Spoils()
    recipe = RECIPE.replace(patience=2, label_smoothing=0.1, class_weight="balanced")
    model = kr.train(SMALL, (X, Y), recipe, out=tmp_path, epochs=9, callbacks=[spoils], verbose=0)
    assert results(tmp_path)["epochs"] == 3
    assert (results(tmp_path)["best_epoch"], results(tmp_path)["network_of"]) == (1, "best_epoch")
    assert "of_epochs" not in results(tmp_path)
    for one, other in zip(model.weights, spoils.first, strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.loss.smoothing == 0.1
    (tmp_path / "model.keras").unlink()
    with told("was made again"):
        again = kr.load_model(tmp_path)
    np.testing.assert_array_equal(again.weights[0], spoils.first[0])


@pytest.mark.parametrize(
    ("scores", "freeze", "stops"),
    [
        ([0.1, 0.2, 0.2, 0.1], 0, 4),  # the first of equals is the best
        ([0.1, 0.2, 0.3, 0.4], 0, None),
        ([0.5, 0.1, 0.1, 0.1, 0.1], 2, 4),  # epochs of the classifier alone do not count
    ],
)
def test_when_patience_ends(scores, freeze, stops, tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with Run(tmp_path, {}) as run:
        checkpoint = Checkpoint(run, [], "val_accuracy", patience=2, freeze=freeze)
        checkpoint.set_model(model)
        model.stop_training = False
        for epoch, score in enumerate(scores):
            checkpoint.on_epoch_end(epoch, {"loss": 1.0, "val_accuracy": score})
            if model.stop_training:
                break
        assert (epoch + 1 if model.stop_training else None) == stops


def test_recipes_that_do_not_fit_their_data():
    data, scenes = kr.data.load((X, Y), validation=0), kr.data.load("scenes", task="segmentation", image_size=16)
    for recipe, on, sentence in (
        (RECIPE.replace(patience=2), data, "patience needs a validation split to choose by; got 2 and validation=0"),
        (RECIPE.replace(class_weight=(1.0, 2.0)), data, "a number for each of the 10 classes of 'arrays'; got 2"),
        (RECIPE.replace(class_weight="balanced"), scenes, "class_weight is for labels of whole images"),
        (RECIPE.replace(label_smoothing=0.1), scenes, "label_smoothing is for labels of whole images"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            fitting.check_recipe(recipe, on)


def test_weights_of_the_classes_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    data = kr.data.load((X, labels), validation=0)
    trained = np.asarray(data._splits["train"].labels)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=trained)
    found = fitting.class_weights(RECIPE.replace(class_weight="balanced"), data)
    np.testing.assert_allclose(list(found.values()), expected)
    assert fitting.class_weights(RECIPE.replace(class_weight=(1.0, 0.0, 3.0)), data) == {0: 1.0, 1: 0.0, 2: 3.0}


@pytest.mark.parametrize("from_logits", [False, True])
def test_label_smoothing(from_logits):
    logits = RNG.normal(size=(6, 4)).astype("float32")
    scores = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    labels = np.array([0, 3, 1, 1, 2, 0])
    target = 0.9 * np.eye(4)[labels] + 0.1 / 4
    loss = SmoothedCrossentropy(0.1, from_logits)
    found = loss(labels, logits if from_logits else np.exp(scores))
    assert float(found) == pytest.approx(-(target * scores).sum(1).mean(), rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(labels[:, None], logits if from_logits else np.exp(scores))) == pytest.approx(float(found))


@pytest.mark.parametrize(("name", "value"), [("batch_size", 16), ("learning_rate", 0.1), ("patience", 3)])
def test_what_belongs_to_the_recipe_says_so(name, value, tmp_path):
    sentence = rf"{name} is a field of the recipe.*replace\({name}={value}\)"
    with pytest.raises(ArgumentError, match=sentence):
        kr.train("resnet8", "digits", out=tmp_path, **{name: value})
    with pytest.raises(ArgumentError, match=r"image_size is an argument of the data.*kr\.data\.load"):
        kr.train("resnet8", "digits", out=tmp_path, image_size=32)
