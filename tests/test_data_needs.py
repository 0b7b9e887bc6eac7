"""Data that were loaded for no network in particular: each network is measured and tuned on them as it needs them."""

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError, Notice
from keras_resnets.studies.paths import first_examples
from keras_resnets.studies.watch import EffectiveDepth

SLOW = {"epochs": 1, "verbose": 0}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A network trained on images less their mean image, its data, and the same set as it is loaded by default."""
    out = tmp_path_factory.mktemp("taught") / "run"
    own = kr.data.load("digits", normalize="pixel", batch_size=200).first(60)
    kr.train("preresnet8", own, "digits", out=out, epochs=1, seed=0, verbose=0)
    return kr.load_model(out), own, kr.data.load("digits", batch_size=200).first(60), out


def test_studies_measure_on_images_normalised_as_the_network_needs_them(taught, recwarn):
    model, own, other, _ = taught
    for name, column in (("lesion", "loss"), ("responses", "std")):
        expected, found = (getattr(kr.studies, name)(model, data).rows[column] for data in (own, other))
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)
    expected, found = (first_examples(model, data, 60) for data in (own, other))  # of paths and cancellation
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    watched = [EffectiveDepth(data, "nowhere", examples=60) for data in (own, other)]
    for callback in watched:
        callback.set_model(model)
    np.testing.assert_allclose(*(callback._examples() for callback in watched), atol=1e-5)
    assert not [w for w in recwarn.list if issubclass(w.category, Notice)], "nobody chose the normalisation"


def test_so_do_evaluation_statistics_pruning_and_tuning(taught, tmp_path):
    model, own, other, _ = taught
    assert kr.evaluate(model, other).summary["accuracy"] == kr.evaluate(model, own).summary["accuracy"]
    worst = [kr.export.sensitivity(model, data, examples=20).set_index("block")["loss"] for data in (own, other)]
    np.testing.assert_allclose(worst[1].loc[worst[0].index], worst[0], rtol=1e-6)
    weights = []
    for data in (own, other):
        edited = kr.delete(model, 1, copy=True)
        kr.recalibrate(edited, data, batches=1)
        weights.append(edited.get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    studies = [kr.prune(model, data, blocks=1, timed=0)[1].rows for data in (own, other)]
    np.testing.assert_allclose(studies[1]["loss"], studies[0]["loss"], rtol=1e-4)
    tuned = kr.fine_tune(model, other, out=tmp_path / "tuned", **SLOW)
    assert tuned.preprocessing.same_pixels(model.preprocessing)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_normalisation_of_the_callers_stays_and_is_told_and_a_network_tuned_on_it_knows_it(taught, tmp_path):
    model, _, _, _ = taught
    chosen = kr.data.load("digits", normalize=None, batch_size=200).first(60)
    with pytest.warns(Notice, match="another normalisation than 'preresnet8' was made for"):
        study = kr.studies.lesion(model, chosen)
    x, y = (np.concatenate(part) for part in zip(*chosen.test.as_numpy_iterator(), strict=True))
    assert study.summary["intact"]["error"] == pytest.approx(float((model.predict(x, verbose=0).argmax(1) != y).mean()))
    with pytest.warns(Notice, match="another normalisation"):
        tuned = kr.fine_tune(model, chosen, out=tmp_path / "tuned", **SLOW)
    assert tuned.preprocessing.same_pixels(chosen.preprocessing)
    assert not tuned.preprocessing.same_pixels(model.preprocessing)
    by_function = kr.data.load("digits", batch_size=200).prepared(keras.ops.convert_to_tensor)
    assert kr.studies.lesion(model, by_function.first(60)).summary["intact"] == study.summary["intact"]


def test_networks_side_by_side_in_the_shell_get_their_own_images(taught, tmp_path, capsys):
    model, _, _, run = taught
    keras.utils.set_random_seed(1)
    other = kr.build("resnet8", (8, 8, 1))
    other.preprocessing = kr.Preprocessing((3.0,), (2.0,))
    other.save(tmp_path / "other.keras")
    command = ["study", "lesion", str(run), "--beside", str(tmp_path / "other.keras"), "--examples", "60"]
    assert cli.main([*command, "--out", str(tmp_path / "beside"), "--quiet"]) == 0
    found = kr.studies.Study.load(tmp_path / "beside").summary
    raw = kr.data.load("digits", normalize=None).first(60)
    x, y = (np.concatenate(part) for part in zip(*raw.test.as_numpy_iterator(), strict=True))
    for network, facts in ((model, found), (other, found["beside"]["resnet8"])):
        scores = network.predict(network.preprocessing(x), verbose=0)
        probabilities = scores if np.allclose(scores.sum(1), 1) else np.exp(scores) / np.exp(scores).sum(1)[:, None]
        assert facts["intact"]["loss"] == pytest.approx(-np.log(probabilities[range(60), y]).mean(), rel=1e-4)
    capsys.readouterr()


def test_a_network_beside_one_whose_images_are_prepared_for_it_alone_is_refused(monkeypatch):
    from keras_resnets.commands import console

    first, other = kr.build("resnet8", (8, 8, 1)), kr.build("resnet8", (8, 8, 1))
    other.preprocessing = first.preprocessing = kr.Preprocessing((3.0,), (2.0,))
    opened = {"run": (other, None), "keras.applications:X": (keras.Model(), lambda x: x)}
    opened["keras.applications:X"][0].preprocessing = None
    monkeypatch.setattr(console, "open_source", lambda source, weights, size: opened[source])
    assert console.open_beside("run", "imagenet", None, first) is other
    other.preprocessing = kr.Preprocessing((4.0,), (2.0,))
    with pytest.raises(ArgumentError, match="'run' takes images normalised in another way"):
        console.open_beside("run", "imagenet", None, first)
    assert console.open_beside("run", "imagenet", None) is other
    with pytest.raises(ArgumentError, match="by a function of Keras"):
        console.open_beside("keras.applications:X", "imagenet", None)
