"""What exported files carry: any program finds it, and early files have it in the card beside them."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

import keras_resnets as kr
from keras_resnets.architecture.preprocessing import Resizing
from keras_resnets.errors import ArgumentError
from keras_resnets.export import carried
from keras_resnets.export.carried import Carried

CARDS = Path(__file__).parent / "golden" / "cards"
STEPS = kr.Preprocessing((1.0, 2.0, 3.0), (4.0,), "bgr", Resizing(0.9, "bicubic"), 1.0)
WHOLE = Carried("net", ("a cat", "Ärger"), STEPS, True, "softmax")


def test_class_names_are_found_without_this_package(tmp_path):
    content = b"TFL3 and what an interpreter reads"
    (tmp_path / "net.tflite").write_bytes(content)
    carried.into_litert(WHOLE, tmp_path / "net.tflite")
    assert (tmp_path / "net.tflite").read_bytes().startswith(content)
    with zipfile.ZipFile(tmp_path / "net.tflite") as archive:
        assert archive.read("labels.txt").decode().splitlines() == ["a cat", "Ärger"]
    carried.into_folder(WHOLE, tmp_path)
    assert (tmp_path / "assets.extra" / "labels.txt").read_text(encoding="utf-8") == "a cat\nÄrger\n"
    # All of it comes back, and as much as is known of a network that says nothing.
    assert carried.read(tmp_path / "net.tflite") == carried.read(tmp_path) == WHOLE
    for one in (WHOLE, Carried("net", None, None, False, None)):
        assert carried.read(tmp_path / "net.onnx", one.text) == one


@pytest.mark.parametrize("name", ["saved_model", "litert"])
def test_early_files_have_it_in_their_card(name, tmp_path):
    shutil.copy(CARDS / f"{name}.card.json", tmp_path / "net.tflite.card.json")
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    card = json.loads((tmp_path / "net.tflite.card.json").read_text())
    found = carried.read(tmp_path / "net.tflite")
    assert (found.network, found.class_names, found.end) == (card["network"]["name"], None, None)
    assert found.preprocessing == kr.Preprocessing.from_dict(card["preprocessing"])
    assert found.inside == card["preprocessing"]["inside"]


@pytest.mark.parametrize("text", ["{", "[]", '{"network": "a", "preprocessing": {"mean": [1]}}', '{"class_names": 3}'])
def test_what_is_damaged_is_refused(text, tmp_path):
    with pytest.raises(ArgumentError, match=r"net.onnx'"):
        carried.read(tmp_path / "net.onnx", text)
    assert carried.read(tmp_path / "net.onnx") is None
