"""Studies that train by path policies: networks against `train` called by hand, statistics against NumPy."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from helpers.board import check_curve
from helpers.comparisons import wrong

import keras_resnets as kr
from keras_resnets.commands import cli


@pytest.fixture(scope="module")
def spec():
    """Three blocks."""
    return kr.Spec("three", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)


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
    told = kr.studies.describe(loaded)
    if name == "effective":
        means = {arm: study.rows[study.rows["arm"] == arm]["error"].mean() for arm in study.rows["arm"].unique()}
        check_curve(tmp_path, study, "error of each arm, mean over seeds", means)
        bars = [bar.lines[2][0].get_segments()[0][:, 0] for bar in loaded.figure().axes[0].containers]
        half = [arm["error_half_interval"] for arm in study.summary["arms"].values()]
        assert [np.ptp(bar) / 2 for bar in bars] == pytest.approx(half)
        assert "same compute, 2 blocks, 2 epochs, compute 1.33: error" in told
    else:
        mean = study.rows[study.rows["decay"] == "uniform"]["error"].mean()
        check_curve(tmp_path, study, "error, uniform decay, mean over seeds", {0.5: mean})
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
    network, data, recipe = args
    assert network == spec.replace(dropout=0.1)
    assert (data.name, data.options["batch_size"], recipe.name) == ("digits", 32, "digits")
    expected = {"epochs": 1, "seeds": 2, "length": 0.5, "rescale": False, "seed": 7, "out": tmp_path / "out"}
    assert {key: options[key] for key in expected} == expected
    assert options.keys() - expected.keys() == {"verbose"}
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
    network, data, recipe = args
    assert network == kr.variants.spec("preresnet8")
    assert (data.name, data.options["normalize"], recipe.name) == ("digits", "pixel", "he15")
    assert (options["survivals"], options["decays"], options["lesion"]) == ((0.2, 1.0), ("uniform",), False)
