"""The study of the gradient by path: its rows against the instrument, what it tells, and how it goes on."""

import itertools
import math
import sys

import numpy as np
import pytest
from helpers.board import check_curve

import keras_resnets as kr
from keras_resnets.instruments.spectrum import Spectrum


def test_rows_of_the_study(tiny, images, scramble):
    model = scramble(kr.build(tiny, placement="pre"))
    study = kr.studies.paths(model, images, examples=10, draws=40)
    rows = study.rows[study.rows["kind"] == "input"]
    assert rows["paths"].tolist() == pytest.approx([math.comb(3, k) / 8 for k in range(4)])
    given = images[0][:10], images[1][:10]
    [exact] = Spectrum(model).exact(*given)
    np.testing.assert_allclose(rows["norm"], exact.norm.mean(1), rtol=1e-5)
    np.testing.assert_allclose(rows["norm_sd"], exact.norm.std(1, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(rows["share"], exact.share.mean(1), rtol=1e-4, atol=1e-6)
    # All paths of length 0 and 3 are one; the others are drawn.
    assert (rows["sampled_count"] >= 40).all()
    for k in (0, 3):
        gates = np.full((1, 3, 10), bool(k))
        [gradient] = Spectrum(model).along(images[0][:10], images[1][:10], gates)
        norms = np.linalg.norm(np.reshape(gradient, (10, -1)), axis=1)
        assert norms.min() <= rows["sampled"].iloc[k] <= norms.max()
    product = rows["paths"] * rows["sampled"]
    np.testing.assert_allclose(rows["sampled_share"], product / product.sum(), rtol=1e-6)
    # A single path cannot cancel; of several, the draws estimate the sum of all, as precisely as they say.
    for k in range(4):
        paths = [gates for gates in itertools.product((False, True), repeat=3) if sum(gates) == k]
        gates = np.repeat(np.array(paths)[:, :, None], 10, 2)
        along = [np.linalg.norm(np.reshape(g, (10, -1)), axis=1) for g in Spectrum(model).along(*given, gates)]
        expected, row = exact.norm[k].sum() / np.sum(along), rows.iloc[k]
        assert row["coherence"] == pytest.approx(expected, rel=4 * row["coherence_error"] + 1e-4)
        assert (row["coherence_error"] < 1e-4) == (len(paths) == 1)
        assert row["coherence_error"] < 0.3
    weights = study.rows[study.rows["kind"] == "weights"]
    assert list(dict.fromkeys(weights["at"])) == ["stem", *(block.name for block in model.blocks)]
    np.testing.assert_allclose(weights.groupby("at")["share"].sum(), 1, rtol=1e-4)
    np.testing.assert_allclose(weights.groupby("at")["norm_share"].sum(), 1, rtol=1e-6)
    checked = study.summary["checked_in_double_precision"]
    assert checked["largest_error_of_sum"] < 1e-6
    assert 0 < checked["largest_difference_of_a_part"] < 1e-4
    low, high = study.summary["exact"]["low"], study.summary["exact"]["high"]
    assert rows["norm_share"][rows["length"].between(low, high)].sum() >= 0.95


def test_a_budget_parts_the_examples_and_changes_nothing_but_the_batches_of_weights(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    whole = kr.studies.paths(model, images, draws=3)
    parted = kr.studies.paths(model, images, draws=3, budget=100_000)
    assert parted.summary["batch_of_weights"] < whole.summary["batch_of_weights"] == 12
    columns = ["length", "paths", "sampled", "sampled_sd", "norm", "norm_sd", "share", "rest"]
    for column in columns:
        one, other = (s.rows[s.rows["kind"] == "input"][column] for s in (whole, parted))
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-6, err_msg=column)


def test_without_labels_the_answers_stand_in(tiny, images, scramble):
    model = scramble(kr.build(tiny))
    x = images[0]
    answers = model.predict(x, verbose=0).argmax(1)
    found, expected = kr.studies.paths(model, (x, None), draws=1), kr.studies.paths(model, (x, answers), draws=1)
    assert found.rows.equals(expected.rows)
    assert "answers" in found.summary["labels"]


def test_the_study_is_saved_drawn_and_told_and_leaves_the_network_alone(tiny, images, scramble, tmp_path):
    model = scramble(kr.build(tiny))
    before, nodes = model.get_weights(), [len(link._inbound_nodes) for link in model.chain]
    study = kr.studies.paths(model, images, draws=5)
    assert [len(link._inbound_nodes) for link in model.chain] == nodes
    for value, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, was)
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.summary == study.summary
    assert loaded.summary["data"] == "given"
    for column in study.rows:
        if study.rows[column].dtype == float:
            np.testing.assert_array_equal(loaded.rows[column], study.rows[column])
    rows, said = study.rows[study.rows["kind"] == "input"], kr.studies.describe(loaded)
    assert f"(mean {study.summary['exact']['mean_length']:.1f})" in said
    one, shares, blocks, _ = study.figure().axes
    np.testing.assert_allclose(one.lines[-1].get_ydata(), rows["norm"])
    assert any(np.array_equal(line.get_ydata(), rows["sampled_share"]) for line in shares.lines)
    shown = blocks.images[0].get_array()
    assert shown.shape == (4, 4)  # lengths 0 to 3, stem and three blocks
    np.testing.assert_allclose(shown.sum(0), 1, rtol=1e-5)
    shares = dict(rows.set_index("length")["norm_share"])
    check_curve(tmp_path, study, "share of the gradient, by norms of exact sums, by length", shares)


def test_a_study_that_was_stopped_goes_on_from_its_finished_batches(tiny, images, tmp_path, monkeypatch):
    module = sys.modules["keras_resnets.studies.paths"]  # the name is the function's
    model, original, calls = kr.build(tiny), module._measured, []
    how = {"draws": 3, "budget": 100_000}
    expected = kr.studies.paths(model, images, **how)

    def counted(*arguments):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "_measured", counted)
    stop = 0
    kr.studies.paths(model, images, **how)
    total, calls[:], stop = len(calls), [], 2
    assert total >= 3  # two batches and the check
    with pytest.raises(KeyboardInterrupt):
        kr.studies.paths(model, images, resume=tmp_path, **how)
    calls[:], stop = [], 0
    again = kr.studies.paths(model, images, resume=tmp_path, **how)
    assert len(calls) == total - 1
    assert again.rows.equals(expected.rows)
