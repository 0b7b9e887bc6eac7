"""What commands refuse before Keras is imported: in a process that has neither it nor TensorFlow afterwards."""

import json
import subprocess
import sys

import pytest

# What is typed, the status, and what the sentence holds. `{bad}` is a folder with broken things.
MISTAKES = [
    (["train", "resnet21", "--out", "{bad}/new"], 2, "resnet20"),
    (["train", "resnet8", "--recipe", "he17", "--out", "{bad}/new"], 2, "'he17'"),
    (["train", "resnet8", "--set", "shortcuts=C", "--out", "{bad}/new"], 2, "'shortcuts'"),
    (["train", "resnet8", "--set-recipe", "rate=1", "--out", "{bad}/new"], 2, "'rate'"),
    (["train", "resnet8", "--epochs", "-3", "--out", "{bad}/new"], 2, "--epochs must be a whole number of at least 1"),
    (["study", "delete", "{bad}/torn", "--draws", "0"], 2, "--draws must be a whole number of at least 1; got 0"),
    (["train", "resnet8", "--seed", "-1", "--out", "{bad}/new"], 2, "--seed must be a whole number from 0 to 2147"),
    (["train", "resnet8", "--learning-rate", "0", "--out", "{bad}/new"], 2, "learning_rate"),
    (["train", "resnet8", "--data", "{bad}/no", "--out", "{bad}/new"], 1, "There is no folder"),
    (["train", "resnet8", "--data", "scenes", "--out", "{bad}/new"], 2, "'segmentation'"),
    (["train", "resnet8", "--weights", "{bad}/no.keras", "--out", "{bad}/new"], 2, "no.keras"),
    (["train", "resnet8", "--weights", "torchvision/resnet1", "--out", "{bad}/new"], 2, "'torchvision/resnet1'"),
    (["train", "resnet8", "--out", "{bad}/regular/run"], 1, "regular/run' cannot be written"),
    (["demo", "--model", "resnet9", "--out", "{bad}/new"], 2, "'resnet9'"),
    (["evaluate", "{bad}/no.keras", "--data", "digits"], 2, "no saved network"),
    (["evaluate", "{bad}/torn"], 2, "run.json' is missing or damaged"),
    (["evaluate", "{bad}/begun"], 2, "not ended an epoch"),
    (["evaluate", "{bad}/empty", "--data", "digits"], 2, "no saved network"),
    (["compare", "{bad}/no.keras", "{bad}/torn", "--data", "digits", "--out", "{bad}/new"], 2, "no.keras"),
    (["predict", "{bad}/no.tflite", "new.jpg"], 2, "no.tflite"),
    (["predict", "akamaster/resnet56", "{bad}/no.jpg"], 2, "no.jpg"),
    (["predict", "akamaster/resnet57", "new.jpg"], 2, "akamaster/resnet56"),
    (["study", "lesions", "{bad}/torn"], 2, "'lesions'; the nearest are: lesion"),
    (["study", "lesion", "{bad}/no.keras", "--data", "digits", "--out", "{bad}/new"], 2, "no saved network"),
    (["study", "survival", "resnet9", "--out", "{bad}/new"], 2, "'resnet9'"),
    (["study", "degradation", "--data", "{bad}/no", "--out", "{bad}/new"], 1, "There is no folder"),
    (["study", "segment", "--data", "digits", "--out", "{bad}/new"], 2, "'scenes'"),
    (["search", "resnet8", "--budget-params", "9", "--recipe", "he17", "--out", "{bad}/new"], 2, "'he17'"),
    (["prune", "{bad}/begun", "--blocks", "1", "--out", "{bad}/new"], 2, "not ended an epoch"),
    (["export", "{bad}/no", "--out", "{bad}/new"], 2, "no saved network"),
    (["export", "akamaster/resnet56", "--format", "litert", "--out", "{bad}/new"], 2, ".tflite"),
    (["convert", "{bad}/no.pth", "--out", "{bad}/new.keras"], 2, "no.pth"),
    (["convert", "{bad}/regular", "--out", "{bad}/new.keras"], 2, "of no known kind"),
    (["report", "{bad}/no"], 2, "'{bad}/no'"),
    (["trian"], 2, "'trian'; the nearest are: train"),
]
# Of a set of tensorflow-datasets, which itself takes a while.
OF_SETS = [
    (["train", "resnet8", "--data", "cifar11", "--out", "{bad}/new"], 2, "'cifar11'"),
    (["evaluate", "{bad}/file.keras", "--data", "cifar10", "--data-dir", "{bad}/sets"], 1, "not in '{bad}/sets'"),
]

SCRIPT = """
import contextlib, io, json, sys
from keras_resnets.commands import cli
found = []
for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = cli.main(line)
    found.append([status, said.getvalue(), sorted({"keras", "tensorflow", "jax"} & sys.modules.keys())])
print(json.dumps(found))
"""


@pytest.mark.backends
def test_mistakes_are_told_before_keras_is_imported(tmp_path):
    (tmp_path / "regular").write_text("a file")
    (tmp_path / "file.keras").write_bytes(b"a file")
    (tmp_path / "empty").mkdir()
    for name, record in (("torn", '{"asked"'), ("begun", '{"format": 2, "asked": {"seed": 0}}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(record)
    mistakes = MISTAKES
    try:
        import tensorflow  # noqa: F401
        import tensorflow_datasets  # noqa: F401
    except ImportError:
        pass
    else:
        mistakes = MISTAKES + OF_SETS
    filled = [[part.format(bad=tmp_path) for part in line] for line, _, _ in mistakes]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(filled), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for (line, status, part), (found, said, imported) in zip(mistakes, json.loads(ran.stdout), strict=True):
        assert (found, said.count("\n")) == (status, 1), (line, said)
        assert part.format(bad=tmp_path) in said, line
        assert imported == [], line
    assert not list(tmp_path.glob("new*"))
