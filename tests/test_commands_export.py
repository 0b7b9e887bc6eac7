"""The command that exports, on a run of the digits."""

import json

import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.export.formats import FORMATS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory of a network trained for an epoch."""
    out = tmp_path_factory.mktemp("run") / "net"
    kr.train("resnet8", "digits", out=out, epochs=1, verbose=0)
    return out


@pytest.mark.parametrize("form", ["saved_model", "litert-int8"])
def test_command_exports_a_run_on_its_own_data(form, run, tmp_path, capsys):
    from keras_resnets.commands import cli

    out = tmp_path / ("net" if form == "saved_model" else "net.tflite")
    arguments = ["export", str(run), "--format", form, "--out", str(out), "--calls", "0"]
    arguments += ["--preprocessing", "--output", "logits", "--examples", "100"]
    assert cli.main(arguments if form == "saved_model" else [*arguments, "--json"]) == 0
    said = capsys.readouterr()
    report = json.loads((tmp_path / f"{out.name}.card.json").read_text())
    written = [str(out), f"{out}.card.json", f"{out}.card.md"]
    if form == "saved_model":
        assert said.err == ""
        assert f"wrote {out}.card.md" in said.out
    else:
        assert json.loads(said.out) == report | {"written": written}
    assert report["format"] == form
    assert report["examples"] == 100
    assert report["input"]["range"] == [0, 16]  # raw
    data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize).first(100)
    x, y = (np.concatenate(parts) for parts in zip(*data.test.as_numpy_iterator(), strict=True))
    wanted = np.mean(kr.load_model(run).predict(x, verbose=0).argmax(1) == y)
    assert report["accuracy"]["before"]["value"] == pytest.approx(wanted, abs=0.011)


def test_command_names_the_formats():
    from keras_resnets.commands import export as export_command

    assert export_command.FORMATS.keys() == FORMATS.keys()
