"""The command that prunes, on a run and on a network of others."""

import json

import keras
import numpy as np
import pytest
from helpers.foreign_models import residual_model
from helpers.pruned_networks import brute_force, measured

import keras_resnets as kr
from keras_resnets.commands import cli


def test_command(digits, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    kr.train("resnet8", digits, out=run, epochs=1, verbose=0)
    arguments = ["prune", str(run), "--blocks", "1", "--keep", "stage3_block1", "--timed", "2", "--examples", "60"]
    assert cli.main([*arguments, "--out", str(out)]) == 0
    said, study = capsys.readouterr().out, kr.studies.Study.load(out)
    [name] = study.summary["dropped"]
    for told in ("accuracy", "SavedModel", "recalibrated", f"wrote {out / 'model.keras'}", name):
        assert told in said
    model, data = kr.load_model(run), kr.data.load("digits", batch_size=32, validation=0.3)
    x, y = (np.concatenate(parts)[:60] for parts in zip(*data.validation.as_numpy_iterator(), strict=True))
    assert name == brute_force(model, (x, y), 1, keep=(2,))[0][0]
    x, y = (np.concatenate(parts) for parts in zip(*data.test.as_numpy_iterator(), strict=True))
    row = study.rows[study.rows["state"] == "dropped"].iloc[0]
    assert (row["error"], row["loss"]) == pytest.approx(measured(kr.delete(model, name), x, y), rel=1e-4)
    # The directory names its data and its recipe, so that what takes a run takes it, too.
    few = ["--examples", "20", "--timed", "0", "--no-recalibrate", "--method", "one_shot"]
    assert cli.main(["prune", str(out), "--share", "0.4", *few, "--json", "--out", str(tmp_path / "again")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"][0] == str(tmp_path / "again" / "model.keras")
    assert kr.load_model(tmp_path / "again").name == "resnet8_pruned"
    assert kr.studies.Study.load(tmp_path / "again").summary == found["summary"]
    assert found["summary"]["intact"]["error"] == study.rows["error"].iloc[-1]
    assert cli.main(["prune", str(tmp_path / "net.keras"), "--blocks", "1", "--out", str(tmp_path / "new")]) == 2
    assert "--data is needed" in capsys.readouterr().err


def test_command_on_a_foreign_network(tmp_path, monkeypatch, scramble, capsys):
    """Its preprocessing is applied; with other classes than the data's, the whole network's answers are the labels."""
    from keras_resnets.models import applications

    rng = np.random.default_rng(0)
    for kind in ("cat", "dog", "owl"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(6):
            keras.utils.save_img(
                tmp_path / "images" / kind / f"{i}.png", rng.integers(0, 256, (32, 32, 3)), scale=False
            )
    prepare = keras.applications.mobilenet_v2.preprocess_input
    for classes in (3, 5):
        original = scramble(residual_model(classes=classes))
        monkeypatch.setattr(applications, "foreign", lambda *_, found=original: (kr.adopt(found), prepare))
        out = tmp_path / f"out{classes}"
        arguments = [
            "prune",
            "keras.applications:MobileNetV2",
            "--data",
            str(tmp_path / "images"),
            "--image-size",
            "32",
        ]
        tuned = ["--fine-tune", "1", "--recipe", "digits"] if classes == 3 else []
        assert cli.main([*arguments, "--blocks", "1", "--timed", "0", *tuned, "--out", str(out)]) == 0
        study = kr.studies.Study.load(out)
        x, y = next(kr.data.load(tmp_path / "images", image_size=32, normalize=None).test.as_numpy_iterator())
        p = original.predict(prepare(np.array(x)), verbose=0)
        if classes == 3:
            assert study.rows["error"].iloc[0] == pytest.approx(np.mean(p.argmax(1) != y))
            assert study.rows["state"].iloc[-1] == "fine-tuned"
        else:
            assert study.rows["error"].iloc[0] == 0
            assert "stand in for the labels" in capsys.readouterr().err
        assert "data" not in json.loads((out / "run.json").read_text())["asked"]
