"""Studies of shortcuts and of placements of the activation: what they train, and what they say of made-up errors."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from helpers.comparisons import assert_judged, differences, noisy, texts, wrong

import keras_resnets as kr


def test_shortcuts_trains_what_it_says(shortcuts, four_blocks):
    out, study = shortcuts
    data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
    specs = {"A": four_blocks, "gate:-6": four_blocks.replace(skip="gate:-6")}
    expected = [(arm, seed) for seed in (0, 1) for arm in specs]
    assert list(study.rows[["arm", "seed"]].itertuples(index=False, name=None)) == expected
    errors = {}
    for row in study.rows.itertuples():
        network = kr.load_model(out / row.run)
        assert network.spec == specs[row.arm]
        errors[row.arm, row.seed] = wrong(network, data)
        assert row.error == pytest.approx(errors[row.arm, row.seed], abs=1e-9)
        assert (row.parameters, row.macs) == (kr.parameters(network), kr.macs(network))
    [(arm, found)] = study.summary["differences"].items()
    assert arm == "gate:-6"
    d = [errors[arm, seed] - errors["A", seed] for seed in (0, 1)]
    assert found["error"]["mean"] == pytest.approx(np.mean(d), abs=1e-9)


def test_shortcuts_differ_in_nothing_else(pretend, tmp_path):
    asked = pretend(noisy)
    study = kr.studies.shortcuts(out=tmp_path, seeds=2)
    own = kr.variants.spec("resnet20")
    assert asked[0].network == own
    # He et al. 2015, Table 3, and He et al. 2016, Table 1.
    shortcut, gates = {"B", "C", "none"}, {"gate:0", "gate:-6", "gate:-7", "shortcut_gate:0", "shortcut_gate:-6"}
    skip = gates | {"scale:0.5:1", "scale:0.5:0.5", "dropout:0.5"}
    assert {cell.labels["arm"] for cell in asked} == {"A"} | shortcut | skip
    for cell in asked[1:12]:
        arm = cell.labels["arm"]
        changed = "shortcut" if arm in shortcut else "skip"
        assert differences(cell.network, own) == {changed}
        assert getattr(cell.network, changed) == arm
    for one, other in zip(asked[:12], asked[12:], strict=True):
        assert dataclasses.replace(one, seed=1) == other
    assert {(cell.recipe, cell.epochs, cell.paths) for cell in asked} == {("digits", 20, None)}
    assert study.summary["first"] == "A"


def test_shortcuts_start_from_the_network_as_it_is(pretend, tmp_path, four_blocks):
    asked = pretend(noisy)
    gated = four_blocks.replace(skip="gate:-6", shortcut="B")
    study = kr.studies.shortcuts(gated, out=tmp_path, arms=["A", "B", "gate:-6", "dropout:0.5"], seeds=2)
    assert list(study.summary["arms"]) == ["gate:-6", "A", "B", "dropout:0.5"]
    kinds = [(cell.network.shortcut, cell.network.skip) for cell in asked[:4]]
    assert kinds == [("B", "gate:-6"), ("A", "identity"), ("B", "identity"), ("B", "dropout:0.5")]


@pytest.mark.parametrize("name", ["resnet20", "preresnet20"])
def test_activations_differ_in_nothing_else(name, pretend, tmp_path):
    asked = pretend(noisy)
    study = kr.studies.activation(name, out=tmp_path, seeds=2)
    own = kr.variants.spec(name)
    assert [cell.network for cell in asked if cell.labels["arm"] == own.placement] == [own, own]
    assert next(iter(study.summary["arms"])) == own.placement
    assert sorted(study.summary["arms"]) == ["bn_after", "post", "pre", "relu_before", "relu_only"]
    for cell in asked:
        assert differences(cell.network, own) <= {"placement"}
        assert cell.network.placement == cell.labels["arm"]
        assert (cell.recipe, cell.epochs, cell.paths) == ("digits", 20, None)


def test_arms_are_compared_with_the_first_and_drawn(pretend, tmp_path):
    def error(columns):
        return 0.9 if columns["arm"] == "relu_before" and failing else noisy(columns)

    errors = {arm: [noisy({"arm": arm, "seed": seed}) for seed in (5, 6, 7)] for arm in ("post", "pre", "bn_after")}
    for failing in (True, False):
        pretend(error)
        chosen = ["pre", "bn_after", "relu_before"]
        study = kr.studies.activation(out=tmp_path / str(failing), arms=chosen, seeds=3, seed=5)
        for arm in ("pre", "bn_after"):
            assert_judged(study.summary["differences"][arm]["error"], errors[arm], errors["post"])
            assert_judged(
                study.summary["differences"][arm]["loss"], *(np.multiply(2, errors[a]) for a in (arm, "post"))
            )
        left, right = study.figure().axes
        assert (left.get_xscale(), right.get_xscale()) == (("symlog",) * 2 if failing else ("linear",) * 2)
        dots = [line.get_xdata() for line in right.get_lines() if line.get_marker() == "o"]
        np.testing.assert_allclose(dots[1], 100 * (np.array(errors["bn_after"]) - errors["post"]))
        bars = [bar.lines[2][0].get_segments()[0][:, 0] for bar in right.containers]
        found = [study.summary["differences"][arm]["error"] for arm in chosen]
        np.testing.assert_allclose(bars, [[100 * d["low"], 100 * d["high"]] for d in found], atol=1e-9)
        bars = [bar.lines[2][0].get_segments()[0][:, 0] for bar in left.containers]
        mean, half = np.mean(errors["pre"]), scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(errors["pre"])
        np.testing.assert_allclose(bars[1], [mean - half, mean + half])
        assert "pre: full pre-activation" in texts(study.figure())
    told = kr.studies.describe(study).split("\n")
    assert told[0].startswith(f"post: error {np.mean(errors['post']):.2%} (standard deviation ")
    assert f"against post {100 * (np.mean(errors['pre']) - np.mean(errors['post'])):+.2f} points" in told[1]
