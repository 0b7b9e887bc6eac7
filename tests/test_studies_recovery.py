"""Networks without a skip or a branch, before and after statistics are taken anew and they are trained further."""

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

import keras_resnets as kr
from keras_resnets.commands.cli import main
from keras_resnets.errors import ArgumentError
from keras_resnets.studies.recovery import _blocks


@pytest.fixture(scope="module")
def digits():
    return kr.data.load("digits", batch_size=200).first(400)


@pytest.fixture
def model(scramble):
    spec = kr.Spec("slim", (kr.Stage(2, (4, 4)), kr.Stage(2, (8, 8), stride=2)), (8, 8, 1), stem_width=4)
    return scramble(kr.build(spec))


def error(network, data):
    x, y = (np.concatenate(parts) for parts in zip(*data.test.as_numpy_iterator(), strict=True))
    return 1 - accuracy_score(y, keras.ops.convert_to_numpy(network(x)).argmax(1))


def by_hand(model, kind, block):
    edits = {"unskip": kr.unskip, "delete": kr.delete}
    return kr.delete(model, [], copy=True) if kind == "whole" else edits[kind](model, block, copy=True)


@pytest.mark.backends
def test_rows_are_those_of_networks_edited_by_hand(model, digits, tmp_path):
    before = model.get_weights()
    # The last block's skip is behind all statistics: those of its network are the whole one's, whose rows are others.
    names = ["stage1_block2", "stage2_block2"]
    study = kr.studies.recovery(model, digits, out=tmp_path, blocks=names, epochs=0)
    rows = study.rows.set_index(["kind", "block", "state"])["error"]
    assert len(rows) == 2 * 5
    for kind, block in [("whole", "-"), *((kind, name) for kind in ("unskip", "delete") for name in names)]:
        own = by_hand(model, kind, block)
        found = [error(own, digits)]
        kr.recalibrate(own, digits)
        found.append(error(own, digits))
        expected = [rows[kind, block, state] for state in ("before", "recalibrated")]
        assert found == pytest.approx(expected, abs=1e-9), (kind, block)
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    middle = np.median([rows["unskip", name, "recalibrated"] for name in names])
    assert f"{middle:.2%} with statistics taken anew" in kr.studies.describe(study)


@pytest.mark.thorough
def test_networks_are_fine_tuned_alike_and_opened_again(model, digits, tmp_path):
    study = kr.studies.recovery(model, digits, out=tmp_path, blocks=["stage1_block2"], epochs=1, seed=3)
    rows = study.rows.set_index(["kind", "state"])["error"]
    for kind in ("whole", "unskip", "delete"):
        own = by_hand(model, kind, "stage1_block2")
        kr.recalibrate(own, digits)
        tuned = kr.fine_tune(own, digits, out=tmp_path / "by hand" / kind, epochs=1, seed=3, verbose=0)
        assert rows[kind, "fine-tuned"] == pytest.approx(error(tuned, digits), abs=1e-9)
    study.save(tmp_path)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("networks/*/model.keras")}
    again = kr.studies.recovery(model, digits, out=tmp_path, blocks=["stage1_block2"], epochs=1, seed=3)
    assert again.rows.equals(study.rows)
    assert len(times) == 3
    assert times == {file: file.stat().st_mtime_ns for file in times}


def test_blocks_are_chosen(model, digits, tmp_path):
    assert _blocks(model, None) == [0, 1, 3]  # the first block of the second stage has a projection
    assert _blocks(model, 2) == [0, 3]
    study = kr.studies.recovery(model, digits, out=tmp_path, blocks=["stage1_block2"], epochs=0, examples=20)
    assert study.summary["edited"] == ["stage1_block2"]
    assert (study.summary["examples"], list(study.rows["state"].unique())) == (20, ["before", "recalibrated"])
    assert study.figure().axes[0].get_xticklabels()[0].get_text() == "stage1_block2"


WRONG = {
    "a projection": ({"blocks": ["stage2_block1"]}, ["blocks", "stage2_block2", "'stage2_block1'"]),
    "no such block": ({"blocks": ["stage9"]}, ["no block 'stage9'"]),
    "too many": ({"blocks": 4}, ["blocks", "from 1 to 3", "got 4"]),
    "epochs": ({"epochs": -1}, ["epochs", "at least 0", "-1"]),
    "examples": ({"examples": 0}, ["examples", "at least 1", "got 0"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name, model, digits, tmp_path):
    arguments, parts = WRONG[name]
    with pytest.raises(ArgumentError) as raised:
        kr.studies.recovery(model, digits, out=tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()
    for part in parts:
        assert part in str(raised.value)


def test_a_network_without_skips_is_refused(digits, tmp_path):
    with pytest.raises(ArgumentError, match="has an identity for a skip"):
        kr.studies.recovery(kr.build("plain20", (8, 8, 1)), digits, out=tmp_path / "new")


def test_command(model, tmp_path, capsys):
    model.save(tmp_path / "net.keras")
    out = str(tmp_path / "out")
    words = ["study", "recovery", str(tmp_path / "net.keras"), "--data", "digits", "--out", out]
    assert main([*words, "--blocks", "1", "--epochs", "0", "--examples", "40"]) == 0
    assert "one skip removed, that of stage1_block1" in capsys.readouterr().out
    saved = kr.studies.Study.load(out)
    study = kr.studies.recovery(model, kr.data.load("digits"), out=tmp_path / "again", blocks=1, epochs=0, examples=40)
    assert saved.rows.equals(study.rows)
    assert main([*words, "--epochs", "0", "--recipe", "nothing"]) != 0
    assert "nothing" in capsys.readouterr().err
