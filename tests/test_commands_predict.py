"""From a folder of pictures to the class of a new one, by commands alone, in every kind of file."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import shapes
from PIL import Image

import keras_resnets as kr

ONNX = all(map(importlib.util.find_spec, ("onnx", "tf2onnx", "onnxruntime")))


def test_a_folder_ends_in_the_same_class_and_name_everywhere(tmp_path, monkeypatch, capsys):
    from keras_resnets.commands import cli

    monkeypatch.chdir(tmp_path)
    shapes.fill(tmp_path / "shapes", 20, smallest=16)
    shapes.draw("disc", np.random.default_rng(9)).save("new.jpg")
    spec = kr.Spec("tiny", (kr.Stage(1, (8, 8)), kr.Stage(1, (16, 16), stride=2)), stem_width=8)
    (tmp_path / "spec.json").write_text(spec.to_json())
    recipe = {**kr.recipes.get("digits").to_dict(), "batch_size": 16}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    how = ["--data", "shapes", "--image-size", "16", "--recipe", "recipe.json", "--epochs", "3", "--out", "runs/a"]
    assert cli.main(["train", "spec.json", *how]) == 0
    files = {"saved_model": "net", "litert": "net.tflite"} | ({"onnx": "net.onnx"} if ONNX else {})
    for form, file in files.items():
        how = ["--format", form, "--preprocessing", "--calls", "0", "--out", file]
        assert cli.main(["export", "runs/a", *how]) == 0
        card = (tmp_path / f"{file}.card.md").read_text()
        assert "| classes | 3: bars, cross, disc |" in card
        assert "scaled to cover 18 x 18, of which the central 16 x 16 is kept" in card
        assert ("serving_files" in card) == (form == "saved_model")
    capsys.readouterr()
    found = []
    for source in ("runs/a", "runs/a/best.keras", *files.values()):
        assert cli.main(["predict", source, "new.jpg", "--json"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        (answer,) = json.loads(said.out)
        assert {part["class"] for part in answer["top"]} == set(shapes.CLASSES)
        if source != "runs/a/best.keras":  # another epoch's
            found.append(answer)
    for answer in found:
        assert answer["class"] == found[0]["class"]
        assert answer["probability"] == pytest.approx(found[0]["probability"], abs=1e-5)


def test_a_file_of_litert_is_run_without_keras(tmp_path):
    """The import of Keras and TensorFlow would take ten times as long as the rest."""
    script = (
        "import sys; from keras_resnets.commands.cli import main; status = main(sys.argv[1:]); "
        "assert not {'keras', 'tensorflow', 'pandas', 'matplotlib', 'scipy'} & sys.modules.keys(); sys.exit(status)"
    )
    Image.fromarray(np.zeros((8, 8), "uint8")).save(tmp_path / "black.png")
    net = Path(__file__).parent.parent / "saved_models" / "digits_resnet20" / "int8.tflite"
    options = ["--preprocessing", '{"mean": [0], "std": [1]}', "--json"]
    command = [sys.executable, "-c", script, "predict", str(net), str(tmp_path / "black.png"), *options]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(json.loads(answer.stdout)[0]["top"]) == 5


@pytest.mark.thorough
def test_keras_is_imported_without_what_no_command_needs():
    script = (
        "import sys; from keras_resnets.commands import console; console.start(); "
        "assert not {'sklearn', 'matplotlib'} & sys.modules.keys(); import matplotlib.pyplot, sklearn.base"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
