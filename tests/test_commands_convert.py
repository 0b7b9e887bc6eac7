"""The command that converts a weight file."""

import json

import keras
import pytest
from helpers import weight_references as reference
from safetensors.numpy import save_file

import keras_resnets as kr
from keras_resnets.commands.cli import main


def test_the_command_converts(tmp_path, capsys):
    arrays = reference.draw_akamaster(3, 16, 10)
    file, out = tmp_path / "model.safetensors", tmp_path / "out" / "net.keras"
    save_file(arrays, file)
    assert main(["convert", str(file), "--image-size", "24", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    model = kr.load_model(out)
    assert f"{file}: akamaster" in said
    assert "97 fits of 97 variables; 0 unused, 0 left" in said
    assert f"resnet20, {kr.parameters(model):,} parameters, as counted from its spec" in said
    assert "preprocessing: (RGB from 0 to 255 - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]" in said
    assert "largest difference of logits from torch" in said or "no independent computation" in said
    x = reference.images(1, 3, 24, 24)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(reference.akamaster(arrays, x)))
    reference.close(reference.scores(model, x), expected)
    assert model.preprocessing.std[0] == pytest.approx(58.395)
    assert main(["convert", str(file), "--image-size", "24", "--no-top", "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["network"], found["parameters"]) == ("resnet20", kr.parameters(model) - 65 * 10)
    assert (len(found["variables"]), {row["status"] for row in found["variables"]}) == (95, {"fits"})
    assert (found["unused"], len(found["left"])) == ([], 2)
    assert found["preprocessing"]["std"] == pytest.approx(model.preprocessing.std)
    assert found["written"] == [str(out)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pth", "--out", "x.keras"], "none.pth"),
        (["none.pth", "--out", "x.h5"], "--out must end in .keras; got 'x.h5'."),
    ],
)
def test_the_command_refuses(arguments, message, capsys):
    assert main(["convert", *arguments]) == 2
    assert message in capsys.readouterr().err
