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
