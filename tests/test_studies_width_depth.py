"""The study of width against depth at equal cost: budgets against built networks, choices against errors made up."""

import numpy as np
import pytest
from helpers.comparisons import assert_judged, differences, noisy, wrong

import keras_resnets as kr


def convolutions(network):
    """Convolutions of a network that are not in its shortcuts."""
    return [v for v in network.trainable_variables if len(v.shape) == 4 and "/shortcut/" not in v.path]


def test_width_depth_trains_networks_that_cost_the_same(width_depth, few, four_blocks):
    out, study = width_depth
    budget = kr.parameters(kr.build(four_blocks))
    assert (study.summary["measure"], study.summary["budget"]) == ("parameters", budget)
    assert list(study.rows[["depth", "blocks"]].itertuples(index=False, name=None)) == [(6, 1), (10, 2)] * 2
    for row in study.rows.itertuples():
        network = kr.load_model(out / row.run)
        assert row.parameters == kr.parameters(network)
        assert row.parameters == pytest.approx(budget, rel=0.02)
        assert row.macs == kr.macs(network)
        assert row.depth == len(convolutions(network)) + 1  # the classifier
        assert [len(network.blocks), row.width] == [2 * row.blocks, convolutions(network)[-1].shape[-1]]
        assert row.error == pytest.approx(wrong(network, few), abs=1e-9)
    widths = study.rows.drop_duplicates("depth")["width"].tolist()
    assert widths[1] == 8
    assert widths[0] > 8


@pytest.mark.parametrize(("measure", "amount"), [("parameters", 60_000), ("macs", 900_000), ("activations", 9_000)])
def test_width_depth_meets_every_kind_of_budget(measure, amount, pretend, tmp_path, few):
    asked = pretend(noisy)
    depths = (1, 2, 5)
    study = kr.studies.width_depth("preresnet20", few, out=tmp_path, depths=depths, seeds=2, **{measure: amount})
    own = kr.variants.spec("preresnet20").replace(input_shape=(8, 8, 1))
    for cell, n in zip(asked[:3], depths, strict=True):
        assert differences(cell.network, own) <= {"stages", "stem_width"}
        assert [stage.blocks for stage in cell.network.stages] == [n] * 3
        network = kr.build(cell.network)
        row = study.rows[study.rows["depth"] == 6 * n + 2].iloc[0]
        cost = {"parameters": kr.parameters(network), "macs": kr.macs(network), "activations": row["activations"]}
        assert cost[measure] == pytest.approx(amount, rel=0.02)
        assert (row["parameters"], row["macs"]) == (cost["parameters"], cost["macs"])


def test_best_depth_is_chosen_without_the_seed_it_is_judged_by(pretend, tmp_path, few):
    # Of no depth better than another, each seed favours its own: chosen by itself, it would be 4 points better.
    table = {(8, 0): 0.06, (8, 1): 0.10, (8, 2): 0.11, (14, 0): 0.10, (14, 1): 0.06, (14, 2): 0.10}
    table |= {(20, 0): 0.10, (20, 1): 0.10, (20, 2): 0.06}
    pretend(lambda columns: table[columns["depth"], columns["seed"]])
    study = kr.studies.width_depth("preresnet8", few, out=tmp_path, depths=(1, 2, 3), seeds=3)
    best = study.summary["best"]
    # Without seed 0: 0.105, 0.08, 0.08, of which the first is the shallower; without 1: 0.085, 0.10, 0.08; without 2:
    # 0.08, 0.08, 0.10. Together 0.27, 0.26, 0.26.
    assert best["chosen"] == [{"seed": 0, "depth": 14}, {"seed": 1, "depth": 20}, {"seed": 2, "depth": 8}]
    assert best["depth"] == 14
    chosen = [table[14, 0], table[20, 1], table[8, 2]]
    for end, depth in (("shallowest", 8), ("deepest", 20)):
        assert best["against"][end]["depth"] == depth
        assert_judged(best["against"][end]["error"], chosen, [table[depth, seed] for seed in range(3)])
    told = kr.studies.describe(study)
    assert "least mean error: 14 layers" in told
    assert "chosen for each seed by the others: 14, 20, 8" in told
    assert "so chosen, against the shallowest, 8 layers: +1.33 points" in told


def test_of_depths_equal_but_for_rounding_the_shallowest_is_best(pretend, tmp_path, few):
    assert (0.1 + 0.2) / 2 > (0.15 + 0.15) / 2
    pretend(lambda columns: 0.15 if columns["depth"] == 14 else (0.1, 0.2, 0.15)[columns["seed"]])
    study = kr.studies.width_depth("preresnet8", few, out=tmp_path, depths=(1, 2), seeds=3)
    assert study.summary["best"]["depth"] == 8
    assert study.summary["best"]["chosen"][2] == {"seed": 2, "depth": 8}


def test_best_depth_that_is_the_shallowest_is_said_to_be(pretend, tmp_path, few):
    pretend(lambda columns: columns["depth"] / 200)
    study = kr.studies.width_depth("preresnet8", few, out=tmp_path, depths=(1, 2), seeds=2)
    told = kr.studies.describe(study)
    assert "against the shallowest, 8 layers: it is that one" in told
    assert "against the deepest, 14 layers: -3.00 points with each of 2 seeds" in told
    left, right = study.figure().axes
    bars = [bar.lines[2][0].get_segments() for bar in left.containers]
    np.testing.assert_allclose([[s[:, 0].mean(), s[:, 1].mean()] for s in bars[0]], [[8, 0.04], [14, 0.07]])
    widths = study.rows["width"].iloc[:2].tolist()
    assert [label.get_text() for label in left.get_xticklabels()] == [f"8\n{widths[0]}", f"14\n{widths[1]}"]
    costs = [line.get_ydata() for line in right.get_lines()]
    expected = [[1, b / a] for a, b in (study.rows[m].iloc[:2] for m in ("parameters", "macs", "activations"))]
    np.testing.assert_allclose(costs, expected)
