"""What all comparisons over seeds have in common: done trainings are read, studies saved, wrong ones refused."""

import pytest
from helpers.board import check_curve

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.studies import cells


def test_done_trainings_are_read_and_not_trained(
    shortcuts, degradation, width_depth, few, all_digits, four_blocks, monkeypatch
):
    monkeypatch.setattr(cells, "train", None)
    out, study = shortcuts
    how = {"seeds": 2, "epochs": 1}
    again = kr.studies.shortcuts(four_blocks, out=out, arms=["gate:-6"], **how)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary
    with pytest.raises(TypeError):  # another one is to be trained
        kr.studies.shortcuts(four_blocks, out=out, arms=["gate:-6", "B"], **how)
    out, study = degradation
    again = kr.studies.degradation(all_digits, out=out, depths=[8], seeds=2, epochs=2, seed=3)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary
    assert again.tables["epochs"].equals(study.tables["epochs"])
    out, study = width_depth
    again = kr.studies.width_depth(four_blocks, few, out=out, depths=(2, 1), seeds=2, epochs=1)
    assert again.rows.equals(study.rows)
    assert again.summary == study.summary


@pytest.mark.parametrize("name", ["degradation", "shortcuts", "width_depth"])
def test_comparisons_are_saved_drawn_and_told(name, request, tmp_path):
    _, study = request.getfixturevalue(name)
    files = study.save(tmp_path)
    assert all(file.exists() for file in files)
    loaded = kr.studies.Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary == study.summary
    assert loaded.tables.keys() == study.tables.keys()
    assert all(loaded.tables[table].equals(study.tables[table]) for table in study.tables)
    assert kr.studies.describe(loaded) == kr.studies.describe(study)
    if name == "shortcuts":
        means = {arm: study.rows[study.rows["arm"] == arm]["error"].mean() for arm in study.rows["arm"].unique()}
        check_curve(tmp_path, study, "error of each arm, mean over seeds", means)
    elif name == "width_depth":
        means = {d: study.rows[study.rows["depth"] == d]["error"].mean() for d in sorted(study.rows["depth"].unique())}
        check_curve(tmp_path, study, "error by depth, mean over seeds", means)


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("degradation", {"depths": []}, ["depths", "once", "[]"]),
        ("degradation", {"depths": [8, 8]}, ["depths", "once", "[8, 8]"]),
        ("degradation", {"families": "resnet"}, ["families", "once", "'resnet'"]),
        ("degradation", {"families": ["resnett"], "depths": [8]}, ["resnett8"]),
        ("degradation", {"depths": [21]}, ["21", "6n+2"]),
        ("degradation", {"depths": [44, 50], "families": ["resnet"]}, ["'resnet44'", "'resnet50'", "number of blocks"]),
        ("degradation", {"depths": [110, 164], "families": ["preresnet"]}, ["'preresnet164'", "number of blocks"]),
        ("degradation", {"depths": [50]}, ["'plain50'", "'resnet50'", "stem"]),
        ("degradation", {"data": "few"}, ["validation='test'", "got validation=0.6"]),
        ("degradation", {"seeds": 1}, ["seeds", "from 2 to 16", "got 1"]),
        ("shortcuts", {"arms": ["D"]}, ["arms", "A, B, C, none", "'D'"]),
        ("shortcuts", {"arms": ["gate:x"]}, ["arms", "'gate:x'", "'gate:-6'"]),
        ("shortcuts", {"arms": ["A"]}, ["arms", "'A'", "as it is"]),
        ("shortcuts", {"network": "plain8", "arms": ["gate:-6"]}, ["arms", "shortcut='none'"]),
        ("activation", {"arms": ["before"]}, ["placement", "'relu_before'", "'before'"]),
        ("activation", {"epochs": 0}, ["epochs", "at least 1", "got 0"]),
        ("width_depth", {"depths": [3]}, ["depths", "two or more", "[3]"]),
        ("width_depth", {"depths": [3, 3]}, ["depths", "once", "[3, 3]"]),
        ("width_depth", {"depths": [0, 1]}, ["depths", "at least 1", "got 0"]),
        ("width_depth", {"parameters": 9, "macs": 9}, ["budget", "parameters and macs"]),
        ("width_depth", {"parameters": 9, "data": "few"}, ["No width", "9 parameters"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_comparisons_are_refused_before_anything_is_trained(name, options, parts, few, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "train", None)
    options = {key: few if value == "few" else value for key, value in options.items()}
    with pytest.raises(ArgumentError) as refused:
        getattr(kr.studies, name)(out=tmp_path / "new", **options)
    for part in parts:
        assert part in str(refused.value)
    assert not (tmp_path / "new").exists()
