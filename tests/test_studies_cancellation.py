"""The study of how far paths cancel in several networks."""

import numpy as np
import pandas as pd
import pytest

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError


@pytest.fixture
def pair(tiny, scramble):
    return {name: scramble(kr.build(tiny, placement="pre"), seed) for seed, name in enumerate(("1", "20"))}


def test_each_network_is_measured_as_by_the_study_of_paths_and_drawn_and_told(pair, images, tmp_path):
    study = kr.studies.cancellation(pair, images, examples=10, draws=20, seed=3)
    for name, model in list(pair.items())[1:]:
        alone = kr.studies.paths(model, images, examples=10, draws=20, seed=3, weights=False)
        rows, own = study.rows[study.rows["network"] == name], alone.rows[alone.rows["kind"] == "input"]
        for column in ("length", "norm", "sampled", "coherence", "coherence_error"):
            np.testing.assert_allclose(rows[column], own[column], rtol=1e-6, err_msg=column)
        facts = study.summary["networks"][name]
        assert facts["peak"] == alone.summary["coherence_at_the_peak"]
        assert facts["mean_length"]["exact"] == alone.summary["exact"]["mean_length"]
        at = own[own["length"] == study.summary["length"]].iloc[0]
        assert facts["at_one_length"]["coherence"] == pytest.approx(at["coherence"])
    last = study.summary["networks"]["20"]
    assert study.summary["length"] == last["peak"]["length"]
    assert last["at_one_length"]["coherence"] == last["peak"]["coherence"]

    # Drawn and told.
    study.save(tmp_path)
    loaded = kr.studies.Study.load(tmp_path)
    by_length, by_network, lengths = loaded.figure().axes
    for line, name in zip(by_length.lines, pair, strict=False):
        np.testing.assert_allclose(line.get_ydata(), study.rows[study.rows["network"] == name]["coherence"])
    # Of 1, 3, 3 and 1 paths whose directions are independent, one over the root of their number is left.
    np.testing.assert_allclose(by_length.lines[-1].get_ydata(), [1, 3**-0.5, 3**-0.5, 1])
    facts = study.summary["networks"]
    np.testing.assert_allclose(
        by_network.lines[0].get_ydata(), [f["at_one_length"]["coherence"] for f in facts.values()]
    )
    np.testing.assert_allclose(lengths.lines[0].get_ydata(), [f["mean_length"]["exact"] for f in facts.values()])
    assert [label.get_text() for label in by_network.get_xticklabels()] == ["1", "20"]
    said = kr.studies.describe(loaded).splitlines()
    assert len(said) == 3
    assert said[1].startswith(f"1: {facts['1']['at_one_length']['coherence']:.1%} (standard error ")


@pytest.mark.thorough
def test_networks_without_paths_of_that_length_are_compared_at_their_own_peak(tiny, images, scramble):
    shallow = scramble(kr.delete(kr.build(tiny), [0, 1, 2]))
    deep = scramble(kr.build(tiny))
    study = kr.studies.cancellation({"shallow": shallow, "deep": deep}, images, examples=10, draws=5)
    assert study.summary["length"] > 0
    assert study.summary["networks"]["shallow"]["at_one_length"] is None
    assert "no path of that length; 100.0%" in kr.studies.describe(study)
    study.figure()


def test_what_cannot_be_compared_is_refused(tiny, images, pair):
    model = pair["1"]
    for networks, more, words in (
        ([model], {}, "networks must be two or more networks; got 1"),
        (model, {}, "networks must be two or more networks"),
        (
            [model, kr.build(tiny.replace(classes=4))],
            {},
            "networks must take the same images and have the same classes",
        ),
        (pair, {"draws": 0}, "draws must be"),
    ):
        with pytest.raises(ArgumentError, match=words):
            kr.studies.cancellation(networks, images, **more)


def test_the_command_takes_several_networks_by_the_names_of_their_files(tmp_path, capsys, monkeypatch):
    seen = {}

    def study(networks, data, **options):
        seen.update(networks=networks, **options)
        return kr.studies.Study("lesion", pd.DataFrame(), {})

    monkeypatch.setattr(kr.studies, "cancellation", study)
    monkeypatch.setattr(kr.studies.Study, "save", lambda *_: [])
    monkeypatch.setattr("keras_resnets.reports.study.describe", lambda _: "done")
    for name in ("01", "20"):
        kr.build("resnet8", (8, 8, 1)).save(tmp_path / f"{name}.keras")
    files = [str(tmp_path / f"{name}.keras") for name in ("01", "20")]
    how = ["--data", "digits", "--examples", "10", "--draws", "3", "--out", str(tmp_path / "study"), "--quiet"]
    assert cli.main(["study", "cancellation", *files, *how]) == 0
    assert list(seen["networks"]) == ["01", "20"]
    assert (seen["examples"], seen["draws"]) == (10, 3)
    capsys.readouterr()
    assert cli.main(["study", "cancellation", files[0], *how]) == 2
    assert "SOURCE must be two or more networks" in capsys.readouterr().err
