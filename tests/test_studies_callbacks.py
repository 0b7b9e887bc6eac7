"""Callbacks against the studies that they stand for."""

import keras
import numpy as np
import pytest
from helpers.watched_training import fit
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_resnets as kr
from keras_resnets.errors import ArgumentError


def test_lesion_is_the_study_at_that_epoch_and_leaves_the_training_alone(tiny, images, tmp_path):
    callback = kr.callbacks.Lesion(images, tmp_path, every=2)
    watched, alone = fit(tiny, images, [callback]), fit(tiny, images, [])
    for a, b in zip(watched.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(callback.studies) == [2, 4]
    for done in (2, 4):
        expected = kr.studies.lesion(fit(tiny, images, [], done), images)
        np.testing.assert_allclose(callback.studies[done].rows["loss"], expected.rows["loss"], rtol=1e-4)
        np.testing.assert_allclose(callback.studies[done].rows["error"], expected.rows["error"])
    assert not callback.studies[2].rows["loss"].equals(callback.studies[4].rows["loss"])

    events = EventAccumulator(str(tmp_path)).Reload()
    for row in callback.studies[4].rows.itertuples():
        scalars = events.Scalars(f"study/lesion/error without {row.block}")
        assert [event.step for event in scalars] == [2, 4]
        assert scalars[1].value == pytest.approx(row.error)
    whole = events.Scalars("study/lesion/error, left whole")[1].value
    assert whole == pytest.approx(callback.studies[4].summary["intact"]["error"])
    assert [event.step for event in events.Images("study/lesion/figure")] == [2, 4]


def test_lesion_reports_its_share_of_the_time(tiny, images, tmp_path):
    callback = kr.callbacks.Lesion(images, tmp_path)
    times = iter([100.0, 110.0, 112.0])  # begin, end of the epoch, end of the sweep
    callback._clock = lambda: next(times)
    callback.set_model(kr.build(tiny))
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0)
    assert callback.shares == {1: pytest.approx(0.2)}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("study/lesion/time of this study, as a share of its epoch")[0].value == pytest.approx(0.2)


def test_lesion_of_a_foreign_model_while_it_trains(images, tmp_path):
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Add(name="first_add")([inputs, keras.layers.Conv2D(1, 3, padding="same")(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(5, "softmax")(keras.layers.Flatten()(h)))
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    callback = kr.callbacks.Lesion(images, tmp_path)
    model.fit(*images, epochs=2, callbacks=[callback], verbose=0)
    expected = kr.studies.lesion(model, images)
    np.testing.assert_allclose(callback.studies[2].rows["loss"], expected.rows["loss"], rtol=1e-5)


def test_responses_are_the_study_at_that_epoch_and_leave_the_training_alone(tiny, images, tmp_path):
    callback = kr.callbacks.Responses(images, tmp_path, every=2)
    watched, alone = fit(tiny, images, [callback]), fit(tiny, images, [])
    for a, b in zip(watched.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(callback.studies) == list(callback.shares) == [2, 4]
    for done in (2, 4):
        expected = kr.studies.responses(fit(tiny, images, [], done), images)
        assert callback.studies[done].rows.equals(expected.rows)
        assert callback.studies[done].summary == expected.summary
    assert not callback.studies[2].rows["std"].equals(callback.studies[4].rows["std"])

    events = EventAccumulator(str(tmp_path)).Reload()
    for row in callback.studies[4].rows.itertuples():
        scalars = events.Scalars(f"study/responses/standard deviation of {row.name}")
        assert [event.step for event in scalars] == [2, 4]
        assert scalars[1].value == pytest.approx(row.std)
    share = events.Scalars("study/responses/time of this study, as a share of its epoch")[1].value
    assert share == pytest.approx(callback.shares[4])
    assert [event.step for event in events.Images("study/responses/figure")] == [2, 4]


@pytest.mark.parametrize("kind", [kr.callbacks.Lesion, kr.callbacks.Responses])
@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_every_is_a_whole_number(every, kind, images, tmp_path):
    with pytest.raises(ArgumentError, match="every must be"):
        kind(images, tmp_path, every=every)


@pytest.mark.thorough
def test_the_path_spectrum_is_the_study_at_that_epoch_and_leaves_the_training_alone(tiny, images, tmp_path):
    callback = kr.callbacks.PathSpectrum(images, tmp_path, every=2, examples=8, draws=3)
    watched, alone = fit(tiny, images, [callback]), fit(tiny, images, [])
    for a, b in zip(watched.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(callback.studies) == [2, 4]
    events = EventAccumulator(str(tmp_path)).Reload()
    for done in (2, 4):
        expected = kr.studies.paths(fit(tiny, images, [], done), images, examples=8, draws=3)
        for column in ("norm", "share", "sampled"):
            np.testing.assert_allclose(
                callback.studies[done].rows[column], expected.rows[column], rtol=1e-3, atol=1e-6, err_msg=column
            )
        scalar = events.Scalars("study/paths/mean length, exact")[done // 2 - 1]
        assert scalar.step == done
        assert scalar.value == pytest.approx(expected.summary["exact"]["mean_length"], rel=1e-3)
    assert not np.allclose(callback.studies[2].rows["norm"], callback.studies[4].rows["norm"])
    assert [event.step for event in events.Images("study/paths/figure")] == [2, 4]
