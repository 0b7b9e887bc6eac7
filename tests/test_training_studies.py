"""Studies that train: their networks against `train` called by hand, their statistics against NumPy and SciPy."""

import functools
import itertools
import json

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from helpers.comparisons import wrong
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError
from keras_resnets.reports.statistics import paired, verdict
from keras_resnets.studies.cells import Cell, train_cells
from keras_resnets.training.stopwatch import Stopwatch

SECONDS = ["seconds", "epoch_seconds", "epoch_seconds_25", "epoch_seconds_75"]


@pytest.fixture(scope="module")
def few():
    """A third of the digits to train on: 9 steps an epoch."""
    return kr.data.load("digits", validation=0.6, batch_size=64)


@pytest.fixture(scope="module")
def spec():
    """Three blocks."""
    return kr.Spec("three", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)


class Watch(keras.callbacks.Callback):
    """Notes which epochs were begun, and is interrupted in one of them."""

    def __init__(self, begun, interrupt=None):
        super().__init__()
        self._begun, self._interrupt = begun, interrupt

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 4 and self._begun[-1] == self._interrupt:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self._begun.append(epoch)


@pytest.mark.thorough
def test_cells_stopped_in_the_middle_end_in_the_same_table(few, spec, tmp_path, capsys):
    begun = []

    def cells(interrupt=None):
        return [
            Cell({"kind": "a"}, spec, epochs=1),
            Cell({"kind": "b"}, spec, epochs=3, seed=1, callbacks=lambda: [Watch(begun, interrupt)]),
        ]

    expected = train_cells(cells()[1:], few, out=tmp_path / "whole", verbose=True)
    assert begun == [0, 1, 2]
    assert capsys.readouterr().out.startswith("1 of 1  kind b, seed 1: error ")
    with pytest.raises(KeyboardInterrupt):
        train_cells(cells(interrupt=1), few, out=tmp_path / "stopped")
    begun[:] = []
    table = train_cells(cells(), few, out=tmp_path / "stopped")
    assert begun == [1, 2], "not gone on with where it stopped"
    assert table[1:].reset_index(drop=True).drop(columns=SECONDS).equals(expected.drop(columns=SECONDS))

    begun[:], files = [], {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = train_cells(cells(), few, out=tmp_path / "stopped", verbose=True)
    assert again.equals(table)
    assert capsys.readouterr().out.count("(done before)") == 2
    assert not begun
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}

    assert list(table["steps"]) == [9, 27]
    assert list(table["epochs"]) == [1, 3]
    for row in table.itertuples():
        place = tmp_path / "stopped" / row.run
        assert row.error == pytest.approx(wrong(kr.load_model(place), few), abs=1e-9)
        times = pd.read_csv(place / "times.csv")
        assert list(times["epoch"]) == list(range(1, row.epochs + 1))
        assert row.seconds == pytest.approx(times["seconds"].sum())
        quartiles = np.percentile(times["seconds"], [25, 50, 75])
        assert [row.epoch_seconds_25, row.epoch_seconds, row.epoch_seconds_75] == pytest.approx(list(quartiles))
        centre, n, z = row.error, 397, 1.959964
        half = z / (1 + z**2 / n) * np.sqrt(centre * (1 - centre) / n + z**2 / (4 * n**2))
        centre = (centre + z**2 / (2 * n)) / (1 + z**2 / n)
        assert (row.error_low, row.error_high) == pytest.approx((centre - half, centre + half), abs=1e-5)
    # What is asked of a cell is compared, not its name alone.
    with pytest.raises(ArgumentError, match="epochs"):
        train_cells([Cell({"kind": "a"}, spec, epochs=2)], few, out=tmp_path / "stopped")
    other = kr.data.load("digits", validation=0.6, batch_size=32)
    with pytest.raises(ArgumentError, match="batch_size"):
        train_cells([Cell({"kind": "a"}, spec, epochs=1)], other, out=tmp_path / "stopped")
    with pytest.raises(ArgumentError, match="twice"):
        train_cells([Cell({"kind": "a"}, spec)] * 2, few, out=tmp_path / "twice")


def test_stopwatch_leaves_out_first_steps_and_validation(tmp_path):
    watch = Stopwatch(tmp_path / "times.csv")
    watch.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))

    def epoch(number, ends, validated):
        """An epoch that begins at 0, whose steps end at `ends`; half a second later validation begins, for 1000."""
        now = 0.0
        watch._clock = lambda: now
        watch.on_epoch_begin(number)
        for step, now in enumerate(ends):  # noqa: B007
            watch.on_train_batch_end(step)
        now += 0.5
        if validated:
            watch.on_test_begin()
            now += 500
            watch.on_test_begin()  # by another callback, say
            now += 500
        watch.on_epoch_end(number)

    epoch(0, [100.0, 102.0, 104.0], validated=True)
    epoch(1, [1.0, 1.5], validated=False)
    epoch(1, [2.0, 3.5], validated=True)  # again, after a kill
    epoch(2, [7.0], validated=True)
    times = pd.read_csv(tmp_path / "times.csv")
    assert list(times["epoch"]) == [1, 2, 3]
    assert list(times["steps"]) == [3, 2, 1]
    # (104.5 - 100) 3/2, (4 - 2) 2/1; a single step is all there is to an epoch of one.
    assert list(times["seconds"]) == pytest.approx([6.75, 4.0, 7.5])


@pytest.mark.parametrize(
    "d",
    [[0.01, 0.02, 0.03, -0.01], [0.1, 0.1, 0.1], [-0.2, 0.1], [0.05, 0.01, 0.02, 0.07, 0.03, 0.01, 0.0]],
    ids=["four", "alike", "two", "seven"],
)
def test_paired_against_scipy_and_every_choice_of_signs(d):
    found = paired(d)
    assert found["mean"] == pytest.approx(np.mean(d))
    assert found["sd"] == pytest.approx(np.sqrt(sum((x - np.mean(d)) ** 2 for x in d) / (len(d) - 1)), abs=1e-12)
    as_far = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) > abs(sum(d)) - 1e-9
        for signs in itertools.product((1, -1), repeat=len(d))
    ]
    assert found["p_signs"] == pytest.approx(np.mean(as_far))
    assert found["least_p_signs"] == 2 / 2 ** len(d)
    if len(set(d)) == 1:
        assert found["p_t"] is None
    else:
        test = scipy.stats.ttest_rel(np.add(d, 0.5), np.full(len(d), 0.5))
        assert found["p_t"] == pytest.approx(test.pvalue)
        assert (found["low"], found["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_paired_by_hand_and_its_verdict():
    # Mean 2, standard deviation 1, over the root of 3 and times 4.302653: 2 +- 2.484.
    found = paired([1, 2, 3])
    assert (found["low"], found["high"]) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)
    assert "no significant difference" in verdict(found)
    assert verdict(paired([0.012, 0.013, 0.014])).endswith("significantly higher")
    assert verdict(paired([-0.012, -0.013, -0.014])).endswith("significantly lower")
    nothing = paired([0.0, 0.0])
    assert (nothing["p_t"], nothing["p_signs"], nothing["low"], nothing["high"]) == (None, 1, 0, 0)
    # 19/397 less each of these: alike but for rounding, and no proof of anything.
    assert "no spread" in verdict(paired([33 / 397 - 14 / 397, 43 / 397 - 24 / 397]))
    for few in ([0.1], [0.1] * 17):
        with pytest.raises(ArgumentError, match="2 to 16"):
            paired(few)


@pytest.fixture(scope="module")
def effective(few, spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("effective")
    return out, kr.studies.effective(spec, few, out=out, blocks=2, seeds=2, epochs=1, seed=4)


def test_effective_trains_what_it_says(effective, few, spec, tmp_path):
    out, study = effective
    rows = study.rows.set_index(["arm", "seed"]).sort_index()
    # 2 of 3 blocks: 2/3 of the branches in an epoch, and 4/3 in two, to which 1 x 3/2 is rounded.
    for arm, (epochs, blocks, compute) in {
        "all blocks": (1, 3, 1.0),
        "same epochs": (1, 2, 2 / 3),
        "same compute": (2, 2, 4 / 3),
    }.items():
        for seed in (4, 5):
            row = rows.loc[arm, seed]
            assert (row["epochs"], row["blocks"], row["steps"]) == (epochs, blocks, 9 * epochs)
            assert row["compute"] == pytest.approx(compute)
            asked = json.loads((out / row["run"] / "run.json").read_text())["asked"]
            assert (asked["seed"], asked["data"]["seed"], asked["recipe"]["epochs"]) == (seed, seed, epochs)
            config = asked.get("paths", {"config": {"blocks": 3, "seed": seed}})["config"]
            assert (config["blocks"], config["seed"]) == (blocks, seed)
    assert len(rows) == 6
    options = {"out": tmp_path / "run", "epochs": 2, "seed": 5, "verbose": 0}
    data = kr.data.load("digits", validation=0.6, batch_size=64, seed=5)
    expected = kr.train(spec, data, paths=kr.paths.FixedSize(2, rescale=True), **options)
    run = out / rows.loc["same compute", 5]["run"]
    for a, b in zip(kr.load_model(run).weights, expected.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_effective_compares_seed_by_seed(effective):
    _, study = effective
    errors = {arm: rows.sort_values("seed")["error"].to_numpy() for arm, rows in study.rows.groupby("arm")}
    for arm in ("same epochs", "same compute"):
        d = errors[arm] - errors["all blocks"]
        found = study.summary["differences"][arm]["error"]
        assert (found["mean"], found["sd"]) == pytest.approx((d.mean(), abs(d[0] - d[1]) / 2**0.5), abs=1e-12)
        assert study.summary["arms"][arm]["error_mean"] == pytest.approx(errors[arm].mean())
        half = scipy.stats.t.interval(0.95, 1, 0, scipy.stats.sem(errors[arm]))[1]
        assert study.summary["arms"][arm]["error_half_interval"] == pytest.approx(half)
        seconds = study.rows.pivot(index="seed", columns="arm", values="epoch_seconds")
        ratio = np.median(seconds[arm] / seconds["all blocks"])
        assert study.summary["arms"][arm]["time_of_an_epoch"] == pytest.approx(ratio)


@pytest.mark.parametrize(("length", "blocks"), [(11.5, 23), (1, 2), (0.5, 1), (27, 54), (8.7, 17)])
def test_paths_of_a_length_are_those_of_twice_as_many_blocks(length, blocks):
    from keras_resnets.studies.effective import _blocks

    spec = kr.variants.spec("preresnet110")
    assert _blocks(spec, None, length) == blocks
    mean = kr.paths.FixedSize(blocks).path_lengths(54) @ np.arange(55)
    assert mean == pytest.approx(blocks / 2)
    assert abs(mean - length) <= 0.25


@pytest.fixture(scope="module")
def survival(few, spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("survival")
    options = {"survivals": [1.0, 0.5], "decays": ("linear", "uniform"), "seeds": 2, "epochs": 1}
    return out, kr.studies.survival(spec, few, out=out, **options)


def test_survival_trains_what_it_says(survival, few):
    out, study = survival
    rows = study.rows[study.rows["kind"] == "trained"].set_index(["decay", "survival", "seed"]).sort_index()
    # Huang et al. 2016, section 3: (3L - 1) / 4 blocks of L with linear decay to 0.5; half of them with uniform.
    shares = {("linear", 0.5): (3 * 3 - 1) / (4 * 3), ("uniform", 0.5): 0.5, ("linear", 1.0): 1.0}
    assert len(rows) == 6
    for (decay, p), share in shares.items():
        for seed in (0, 1):
            row = rows.loc[decay, p, seed]
            assert row["compute"] == pytest.approx(share)
            asked = json.loads((out / row["run"] / "run.json").read_text())["asked"]
            assert asked["seed"] == seed
            network = kr.load_model(out / row["run"])
            assert row["error"] == pytest.approx(wrong(network, few), abs=1e-9)
            scales = np.array([block.scale for block in network.blocks])
            if p == 1:
                assert "paths" not in asked
                assert scales.tolist() == [1, 1, 1]
            else:
                expected = [1 - k / 3 * 0.5 for k in (1, 2, 3)] if decay == "linear" else [0.5] * 3
                np.testing.assert_allclose(scales, expected)
            seconds, base = (
                pd.read_csv(out / r["run"] / "times.csv")["seconds"].median()
                for r in (row, rows.loc["linear", 1.0, seed])
            )
            assert row["time"] == pytest.approx(seconds / base)
    for arm in study.summary["arms"]:
        times = rows.loc[arm["decay"], arm["survival"]]["time"]
        assert (arm["time"]["min"], arm["time"]["50%"]) == pytest.approx((times.min(), np.median(times)))
        errors = rows.loc[arm["decay"], arm["survival"]]["error"].to_numpy()
        assert (arm["error_mean"], arm["error_sd"]) == pytest.approx((errors.mean(), errors.std(ddof=1)))
        if arm["survival"] < 1:
            d = errors - rows.loc["linear", 1.0]["error"].to_numpy()
            assert arm["difference"]["mean"] == pytest.approx(d.mean())


@pytest.mark.thorough
def test_lesions_of_survival_are_those_of_the_networks_reloaded(survival, few):
    out, study = survival
    trained = study.rows[(study.rows["kind"] == "trained") & (study.rows["decay"] == "linear")]
    lesions = study.rows[study.rows["kind"] == "lesion"].set_index(["survival", "seed"]).sort_index()
    assert len(lesions) == 4 * 3
    rises = {}
    for row in trained.itertuples():
        expected = kr.studies.lesion(kr.load_model(out / row.run), few)
        found = lesions.loc[row.survival, row.seed]
        assert list(found["block"]) == list(expected.rows["block"])
        for column in ("error", "error_low", "error_high", "loss", "agreement"):
            np.testing.assert_array_equal(found[column], expected.rows[column])
        rises[row.survival, row.seed] = expected.rows["error"].to_numpy() - row.error
        np.testing.assert_allclose(found["rise"], rises[row.survival, row.seed], atol=1e-9)
    told = study.summary["lesion"]
    assert (told["survival"], told["down_sampling_blocks"]) == (0.5, ["stage2_block1"])
    for name, measure in {"all": np.median, "down_sampling": lambda rise: rise[2]}.items():
        d = [measure(rises[0.5, seed]) - measure(rises[1.0, seed]) for seed in (0, 1)]
        assert told["errors"][name]["difference_of_rises"]["mean"] == pytest.approx(np.mean(d), abs=1e-9)
        expected = np.median([measure(rises[0.5, seed]) for seed in (0, 1)])
        assert told["errors"][name]["rise_with"]["50%"] == pytest.approx(expected, abs=1e-9)


def test_training_studies_done_are_read_and_not_trained(survival, few, spec, monkeypatch):
    from keras_resnets.studies import cells

    out, study = survival
    monkeypatch.setattr(cells, "train", None)
    monkeypatch.setattr("keras_resnets.studies.robustness.lesion", None)
    options = {"survivals": [1.0, 0.5], "decays": ("linear", "uniform"), "seeds": 2, "epochs": 1}
    again = kr.studies.survival(spec, few, out=out, **options)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary


@pytest.mark.parametrize("name", [pytest.param("effective", marks=pytest.mark.thorough), "survival"])
def test_training_studies_are_saved_drawn_and_told(name, request, tmp_path):
    _, study = request.getfixturevalue(name)
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    drawn = [text.get_text() for text in loaded.figure().findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("three" in text for text in drawn)
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    told = kr.studies.describe(loaded)
    if name == "effective":
        rows = study.rows[study.rows["arm"] == "same_epochs".replace("_", " ")]
        scalars = events.Scalars("effective/same_epochs")
        assert [(e.step, e.value) for e in scalars] == [(r.seed, pytest.approx(r.error)) for r in rows.itertuples()]
        bars = [bar.lines[2][0].get_segments()[0][:, 0] for bar in loaded.figure().axes[0].containers]
        half = [arm["error_half_interval"] for arm in study.summary["arms"].values()]
        assert [np.ptp(bar) / 2 for bar in bars] == pytest.approx(half)
        assert "same compute, 2 blocks, 2 epochs, compute 1.33: error" in told
    else:
        scalars = events.Scalars("survival/uniform/error")
        assert [(e.step, e.value) for e in scalars] == [
            (50, pytest.approx(study.rows[study.rows["decay"] == "uniform"]["error"].mean()))
        ]
        assert "computes 67% of the residual branches" in told
        assert "a down-sampling block deleted" in told


def test_command_of_a_training_study(effective, spec, tmp_path, monkeypatch, capsys):
    """What is typed reaches the study, which is stood in for by one that is done."""
    (tmp_path / "three.json").write_text(spec.to_json())
    asked, (_, done) = [], effective

    @functools.wraps(kr.studies.effective)
    def study(*args, **options):
        asked.append((args, options))
        return done

    monkeypatch.setattr(kr.studies, "effective", study)
    how = ["--epochs", "1", "--seeds", "2", "--length", "0.5", "--set", "dropout=0.1", "--no-rescale", "--seed", "7"]
    arguments = ["study", "effective", str(tmp_path / "three.json"), *how, "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    [(args, options)] = asked
    assert args == (spec.replace(dropout=0.1), "digits", "digits")
    expected = {"epochs": 1, "seeds": 2, "length": 0.5, "rescale": False, "seed": 7, "out": tmp_path / "out"}
    assert {key: options[key] for key in expected} == expected
    assert options.keys() - expected.keys() == {"verbose", "data_dir", "image_size", "download"}
    assert kr.studies.describe(done) in capsys.readouterr().out
    assert kr.studies.Study.load(tmp_path / "out").rows.equals(done.rows)


def test_command_of_survival_with_a_variant(survival, tmp_path, monkeypatch):
    asked, (_, done) = [], survival

    @functools.wraps(kr.studies.survival)
    def study(*args, **options):
        asked.append((args, options))
        return done

    monkeypatch.setattr(kr.studies, "survival", study)
    how = ["--survival", "0.2", "--survival", "1", "--decay", "uniform", "--no-lesion", "--recipe", "he15"]
    assert cli.main(["study", "survival", "preresnet8", *how, "--out", str(tmp_path / "out")]) == 0
    [(args, options)] = asked
    assert args == (kr.variants.spec("preresnet8"), "digits", "he15")
    assert (options["survivals"], options["decays"], options["lesion"]) == ((0.2, 1.0), ("uniform",), False)
