"""Effective depth while training: the callback and the study against trainings without them or not stopped."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.watched_training import fit
from scipy.stats import kendalltau
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments import teaching
from keras_resnets.instruments.energy import measure
from keras_resnets.instruments.spectrum import Spectrum


def foreign():
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Add(name="first_add")([inputs, keras.layers.Conv2D(1, 3, padding="same")(inputs)])
    return keras.Model(inputs, keras.layers.Dense(5, "softmax")(keras.layers.Flatten()(h)))


def test_a_foreign_model_is_measured_while_it_trains(images, tmp_path):
    model, (x, y) = foreign(), images
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    callback = kr.callbacks.EffectiveDepth((x[:7], None), tmp_path)
    model.fit(x, y, epochs=1, callbacks=[callback], verbose=0)
    f = np.asarray(model.layers[1](x[:7]))
    assert callback.rows["energy_ratio"][1] == pytest.approx((f**2).sum() / (x[:7] ** 2).sum(), rel=1e-5)
    assert callback.rows["gamma"].isna().all()
    # Without labels, its answers: as if they had been given. One block, so all of the blocks' gradient.
    kernel = model.layers[1].kernel
    answers = model.predict(x[:7], verbose=0).argmax(1)
    with tf.GradientTape() as tape:
        h = x[:7] + model.layers[1](x[:7])
        loss = keras.losses.sparse_categorical_crossentropy(answers, model.layers[-1](model.layers[-2](h)))
    assert np.abs(tape.gradient(loss, kernel.value)).max() > 0
    assert callback.rows["gradient_share"].tolist()[1:] == [1.0]
    assert callback.rows["taught_by"].tolist()[1:] == [1.0]
    summary = callback.study().summary
    assert "gamma" not in summary["grown"]
    assert "study/dynamics/first: gamma" not in EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert "gamma" not in kr.studies.describe(callback.study())


def test_the_callback_measures_at_its_epochs_and_leaves_the_training_alone(tiny, images, tmp_path):
    tiny = tiny.replace(dropout=0.3)
    callback = kr.callbacks.EffectiveDepth(images, tmp_path, every=2, examples=9)
    watched, alone = fit(tiny, images, [callback]), fit(tiny, images, [])
    for a, b in zip(watched.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert callback.rows["epoch"].tolist() == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    for epoch, model in ((2, fit(tiny, images, [], 2)), (4, alone)):
        found = callback.rows[callback.rows["epoch"] == epoch].reset_index(drop=True).drop(columns="epoch")
        assert found.drop(columns=teaching.COLUMNS).equals(measure(model, images[0][:9]))
        # What teaches a block: its parts one by one, and what is left beyond a length.
        parts = [p for p in Spectrum(model).exact(*(a[:9] for a in images), weights=True) if p.of == "weights"]
        parts = {p.at: p for p in parts if p.at != "stem"}
        wholes = [parts[name].whole[0] for name in found["block"]]
        np.testing.assert_allclose(found["gradient_share"], np.array(wholes) / sum(wholes), rtol=1e-3)
        for name, length in zip(found["block"], found["taught_by"], strict=True):
            rest = parts[name].rest[:, 0]
            assert rest[int(length)] <= 0.05
            assert (rest[: int(length)] > 0.05).all()
    assert callback.rows[teaching.COLUMNS][:3].isna().all(axis=None)

    events = EventAccumulator(str(tmp_path)).Reload()
    for name in ("energy_ratio", "gamma"):
        scalars = events.Scalars(f"study/dynamics/stage2_block1: {name.replace('_', ' ')}")
        assert [event.step for event in scalars] == [0, 2, 4]
        assert [event.value for event in scalars] == pytest.approx(list(callback.rows[name][2::3]))
    shares = [r / (1 + r) for r in callback.rows["energy_ratio"]]
    depths = [sum(shares[i : i + 3]) for i in (0, 3, 6)]
    means, peaks = "effective depth, mean", "effective depth, length of most energy"
    assert [event.value for event in events.Scalars(f"study/dynamics/{means}")] == pytest.approx(depths)
    assert [event.step for event in events.Scalars(f"study/dynamics/{peaks}")] == [0, 2, 4]
    assert [event.step for event in events.Images("study/dynamics/figure")] == [0, 2, 4]


class Stop(keras.callbacks.Callback):
    """Ends the process before an epoch, or behind one, when other callbacks have done their work."""

    def __init__(self, before=None, behind=None):
        super().__init__()
        self._before, self._behind = before, behind

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._before:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self._behind:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def unbroken(few, tmp_path_factory):
    """A spec, how it was trained, the run and its study."""
    spec = kr.Spec("small", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)
    how = {"epochs": 3, "seed": 4, "examples": 50, "verbose": 0}
    out = tmp_path_factory.mktemp("unbroken") / "run"
    return spec, how, out, kr.studies.dynamics(spec, few, out=out, **how)


def test_a_stopped_study_has_the_rows_of_one_never_stopped(unbroken, few, tmp_path):
    spec, how, whole, expected = unbroken
    out = tmp_path / "run"
    for stop in (Stop(before=0), Stop(before=1), Stop(behind=1)):
        with pytest.raises(KeyboardInterrupt):
            kr.studies.dynamics(spec, few, out=out, callbacks=[stop], **how)
    # Stopped between the measurement of the second epoch and its checkpoint: that epoch is trained and measured again.
    assert max(json.loads((out / "depth" / "effective_depth.json").read_text())["rows"]["epoch"]) == 2
    study = kr.studies.dynamics(spec, few, out=out, **how)
    assert study.rows.equals(expected.rows)
    assert study.summary == expected.summary
    for a, b in zip(kr.load_model(out).weights, kr.load_model(whole).weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_run_is_read(unbroken, few):
    spec, how, out, expected = unbroken
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = kr.studies.dynamics(spec, few, out=out, **how)
    assert again.rows.equals(expected.rows)
    assert again.summary == expected.summary
    assert files == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ArgumentError, match="measured with every = 1, now it is 2"):
        kr.studies.dynamics(spec, few, out=out, every=2, **how)
    with pytest.raises(ArgumentError, match="measured with probe = "):
        kr.studies.dynamics(spec, few, out=out, **how | {"examples": 51})


def test_the_summary_is_that_of_the_rows(unbroken, few):
    _, _, out, study = unbroken
    ratios = study.rows["energy_ratio"].to_numpy().reshape(4, 3)
    depths = (ratios / (1 + ratios)).sum(1)
    summary = study.summary
    assert (summary["start"]["mean"], summary["end"]["mean"]) == pytest.approx((depths[0], depths[-1]))
    assert summary["growth"] == pytest.approx(depths[-1] - depths[0])
    assert summary["largest"] == {"epoch": depths.argmax(), "mean": pytest.approx(depths.max())}
    assert summary["trend"]["kendall_tau"] == pytest.approx(kendalltau(range(4), depths).statistic)
    assert summary["grown"]["energy_ratio"]["blocks"] == (ratios[-1] > ratios[0]).sum()
    gammas = study.rows["gamma"].to_numpy().reshape(4, 3)
    assert summary["grown"]["gamma"] == {
        "blocks": (gammas[-1] > gammas[0]).sum(),
        "start": 1,
        "end": pytest.approx(np.median(gammas[-1])),
    }
    beta = np.sqrt(ratios[-1])
    amplitudes = np.array([1, beta.sum(), beta.sum() ** 2 / 2 - (beta**2).sum() / 2, beta.prod()])
    assert summary["end"]["mean_in_phase"] == pytest.approx(amplitudes**2 @ range(4) / (amplitudes**2).sum())
    # The last epoch measured is the network that was trained, on the test split.
    x = next(few.test.rebatch(50).as_numpy_iterator())[0]
    rows = study.rows[9:].reset_index(drop=True)
    assert measure(kr.load_model(out), x).equals(rows.drop(columns=["epoch", *teaching.COLUMNS]))
    taught = summary["taught"]
    assert (taught["first_epoch"], taught["length"]) == (1, rows["taught_by"].max())
    assert taught["over_deepened"] == (rows["taught_by"].max() < 3)
    assert (
        taught["its_share"]
        == rows["gradient_share"].max()
        == rows.set_index("block")["gradient_share"].get(taught["most_of_gradient"])
    )


def test_the_study_is_saved_drawn_and_told(unbroken, tmp_path):
    study = unbroken[-1]
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    said = kr.studies.describe(loaded)
    assert f"{study.summary['start']['mean']:.2f} residual branches of 3" in said
    assert ("did not grow" in said) == (study.summary["growth"] <= 0)
    figure = study.figure()
    assert "small" in figure.get_suptitle()
    drawn = {axes.get_ylabel().split("\n")[0]: axes.lines[-1].get_ydata() for axes in figure.axes}
    np.testing.assert_allclose(drawn["energy of the residual branch"], study.rows["energy_ratio"][-3:])
    np.testing.assert_allclose(drawn["share of the gradient's norm"], study.rows["gradient_share"][-3:])
    np.testing.assert_allclose(drawn["length of path beyond which"], study.rows["taught_by"][-3:])
    assert f"no block is taught by paths longer than {study.summary['taught']['length']}" in said
    scalars = EventAccumulator(str(tmp_path / "logs")).Reload().Scalars("study/dynamics/effective depth, mean")
    assert [event.step for event in scalars] == [0, 1, 2, 3]
    assert scalars[3].value == pytest.approx(study.summary["end"]["mean"])


def test_a_run_not_measured_from_the_start_is_refused(few, unbroken, tmp_path):
    spec, how, *_ = unbroken
    kr.train(spec, few, out=tmp_path, epochs=1, verbose=0)
    with pytest.raises(ArgumentError, match="not measured from the start; give another"):
        kr.studies.dynamics(spec, few, out=tmp_path, **how)
    with pytest.raises(ArgumentError, match="Nothing was measured yet"):
        kr.callbacks.EffectiveDepth(few, tmp_path / "logs").study()


def test_a_training_watched_from_its_middle_on(tiny, images, tmp_path):
    """Measured at once; of what the folder holds, epochs behind the start are dropped."""
    model, logs = fit(tiny, images, [], 2), tmp_path / "logs"
    start = measure(model, images[0])
    for stale in (False, True):
        callback = kr.callbacks.EffectiveDepth(images, logs, every=1)
        model.fit(*images, initial_epoch=2, epochs=3, callbacks=[callback], verbose=0)
        assert callback.rows["epoch"].tolist() == [2, 2, 2, 3, 3, 3], stale
        if not stale:
            assert callback.rows[:3].drop(columns=["epoch", *teaching.COLUMNS]).equals(start)
    assert "residual branches of 3 after epoch 2" in kr.studies.describe(callback.study())
    # Another training of the same callback; its folder may be cleared meanwhile.
    clear = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: shutil.rmtree(logs))
    model.fit(*images, epochs=2, callbacks=[callback, clear], verbose=0)
    assert callback.rows["epoch"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("argument", ["every", "examples"])
def test_numbers_of_the_callback(argument, images, tmp_path):
    with pytest.raises(ArgumentError, match=f"{argument} must be a whole number"):
        kr.callbacks.EffectiveDepth(images, tmp_path, **{argument: 0})


def test_command_line(tmp_path, capsys):
    arguments = ["study", "dynamics", "preresnet8", "--data", "digits", "--epochs", "1", "--examples", "40"]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    assert "effective depth" in capsys.readouterr().out
    study = kr.studies.Study.load(tmp_path)
    x = next(kr.data.load("digits").test.rebatch(40).as_numpy_iterator())[0]
    assert study.rows[3:]["energy_ratio"].tolist() == measure(kr.load_model(tmp_path), x)["energy_ratio"].tolist()
