"""Files and folders that appear whole or not at all, and never in place of what is of another kind."""

import pytest

from keras_resnets.commands import cli
from keras_resnets.runs import whole


def test_a_file_does_not_replace_a_folder_with_all_in_it(tmp_path):
    folder = tmp_path / "thesis.keras"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("three years")
    with pytest.raises(OSError, match=r"thesis.keras' is a folder, .* Give another place"), whole(folder) as part:
        part.write_text("a file")
    assert (folder / "chapter1.tex").read_text() == "three years"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.keras"]


def test_files_and_folders_replace_their_like(tmp_path):
    for name, write in (
        ("file", lambda part, text: part.write_text(text)),
        ("folder", lambda part, text: (part.mkdir(), (part / text).write_text(text))),
    ):
        for text in ("old", "new"):
            with whole(tmp_path / name) as part:
                write(part, text)
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_convert_leaves_a_folder_alone(tmp_path, capsys):
    from helpers import weight_references as reference
    from safetensors.numpy import save_file

    save_file(reference.draw_torchvision((2, 2, 2, 2), 2), tmp_path / "net.safetensors")
    folder = tmp_path / "out.keras"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    arguments = ["convert", str(tmp_path / "net.safetensors"), "resnet18", "--image-size", "32", "--out", str(folder)]
    assert cli.main(arguments) in (1, 2)
    assert "is a folder" in capsys.readouterr().err
    assert (folder / "precious").read_text() == "kept"


def test_a_study_replaces_nothing_that_no_study_wrote(tmp_path):
    import pandas as pd

    from keras_resnets.errors import ArgumentError
    from keras_resnets.reports.figures import panels
    from keras_resnets.reports.study import DRAWINGS, Drawing, Study

    DRAWINGS["plain"] = Drawing(lambda study: panels(1)[0], lambda study: "", lambda study: {})
    study = Study("plain", pd.DataFrame({"a": [1.5, float("nan")]}), {"b": float("nan")}, {})
    for name in ("rows.csv", "study.json", "figure.png", "figure.svg"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ArgumentError, match=rf"{name}' was not written by a study"):
            study.save(tmp_path)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1.mine").write_text("mine")
    for _ in range(2):
        study.save(tmp_path)
    assert (tmp_path / "logs" / "events.out.tfevents.1.mine").read_text() == "mine"
    assert len(list((tmp_path / "logs").iterdir())) == 2
    loaded = Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary["b"] != loaded.summary["b"]
    del DRAWINGS["plain"]


def test_damage_is_noticed_and_what_has_a_copy_is_mended(tmp_path):
    from helpers.notices import told

    from keras_resnets.runs import Damaged, read_csv, read_json, sound, write_json

    values = {"accuracy": 0.8816, "loss": float("inf"), "name": "net"}
    write_json(tmp_path / "a.json", values, sealed=True)
    text = (tmp_path / "a.json").read_text()
    for damaged in (text.replace("0.88", "0.98"), "", text[:9]):
        (tmp_path / "a.json").write_text(damaged)
        with told("mended from its copy"):
            assert read_json(tmp_path / "a.json") == values
        assert (tmp_path / "a.json.damaged").read_text() == damaged
    # A damaged checksum is not damage of the file; without one, as of early versions, files are read as they are.
    sums = tmp_path / ".sums" / "a.json.json"
    sums.write_text(sums.read_text().replace('"sha256": [\n  "', '"sha256": [\n  "0'))
    with told():
        assert read_json(tmp_path / "a.json") == values
        sums.unlink()
        (tmp_path / "a.json").write_text(text.replace("0.88", "0.98"))
        assert read_json(tmp_path / "a.json")["accuracy"] == 0.9816
    for content in ("", "[" * 100_000, "{"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(Damaged, match="is damaged: it is not JSON"):
            read_json(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(Damaged, match=r"it is not a table .* Move it away"):
        read_csv(tmp_path / "a.csv")

    with whole(tmp_path / "big.npy", sealed=True) as part:
        part.write_bytes(b"12345")
    assert sound(tmp_path / "big.npy")
    (tmp_path / "big.npy").write_bytes(b"12344")
    assert not sound(tmp_path / "big.npy")


def test_a_kill_between_checksum_and_file_is_no_damage(tmp_path):
    from keras_resnets.runs import read_json, seal, write_json

    write_json(tmp_path / "a.json", {"a": 1}, sealed=True)
    write_json(tmp_path / "new", {"a": 2})
    seal(tmp_path / "a.json", tmp_path / "new")
    assert read_json(tmp_path / "a.json") == {"a": 1}


KILLED = """
import os, sys, pathlib
from keras_resnets.runs import whole
with whole(sys.argv[1]) as part:
    part.mkdir()
    if sys.argv[2] == "replacing":
        os.rename(sys.argv[1], part.parent / "old")
    os._exit(1)
"""


def test_what_a_killed_process_left_is_swept_by_the_next_and_a_living_ones_is_not(tmp_path):
    import subprocess
    import sys

    target = tmp_path / "saved_model"
    for moment in ("writing", "replacing"):
        if moment == "replacing":
            target.mkdir()
            (target / "old_export").write_text("")
        subprocess.run([sys.executable, "-c", KILLED, target, moment], check=False)
        assert len(list(tmp_path.iterdir())) == 1
    with whole(target) as part:
        assert (target / "old_export").exists(), "the export that was to be replaced is lost"
        with whole(target) as other:
            assert part.parent.exists()
            other.mkdir()
        part.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


def test_sigterm_ends_a_command_with_a_word_and_what_is_told_is_one_line(monkeypatch, capsys):
    import os
    import signal

    from keras_resnets.errors import notice

    def stopped(*_, **__):
        notice("a file was mended.")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli.cli, "main", stopped)
    assert cli.main(["models"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "keras-resnets: a file was mended.",
        "keras-resnets: stopped; the same command resumes.",
    ]
    assert signal.getsignal(signal.SIGTERM) == before
