"""Every example runs with --tiny, and what it prints is true."""

import json
import math
import re
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import keras_resnets as kr
from keras_resnets.data import scenes

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function that runs an example in an empty folder and returns what it printed.

    In this process, where TensorFlow has been imported.
    """

    def apply(name):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--tiny"])
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a script's warnings are no errors
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return apply


def found(pattern, output):
    """The groups of a pattern that the output must hold; numbers as numbers."""
    match = re.search(pattern, output)
    assert match, f"no {pattern!r} in:\n{output}"
    return [float(g.replace(",", "")) if re.fullmatch(r"[\d.,]+(e[-+]\d+)?", g) else g for g in match.groups()]


def recorded_accuracy(run_directory):
    return json.loads((run_directory / "run.json").read_text())["results"]["test_accuracy"]


@pytest.mark.slow
def test_train_cifar10(run, tmp_path):
    output = run("train_cifar10")
    percent, examples = found(r"test error ([\d.]+)% over (\d+) images", output)
    data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
    model = kr.load_model(tmp_path / "runs/cifar10")
    wrong = np.concatenate([model.predict_on_batch(x).argmax(1) != y for x, y in data.test.as_numpy_iterator()])
    assert len(wrong) == examples == 397
    assert percent == pytest.approx(100 * wrong.mean(), abs=0.01)
    assert percent < 60, "one epoch brings the error well below the 90 % of guessing"
    assert len(pd.read_csv(tmp_path / "runs/cifar10/history.csv")) == 1
    # Stem, three stages with one block each, two of them twice as wide as their input, classifier, normalisation.
    convolutions = 9 * (1 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    assert found(r"resnet8: ([\d,]+) parameters", output) == [
        convolutions + 64 * 10 + 10 + 2 * (16 * 3 + 32 * 2 + 64 * 2)
    ]


@pytest.mark.slow
def test_lesion_study(run, tmp_path):
    output = run("lesion_study")
    intact, examples = found(r"intact: error ([\d.]+) over (\d+) images", output)
    accuracy = recorded_accuracy(tmp_path / "runs/lesion/training")
    assert examples == 397
    assert intact == pytest.approx(1 - accuracy, abs=1e-4)
    worst, studied, rebuilt = found(r"without (\w+): error ([\d.]+) in the study, ([\d.]+) rebuilt", output)
    rows = pd.read_csv(tmp_path / "runs/lesion/study/rows.csv").set_index("block")
    assert list(rows.index) == ["stage1_block1", "stage2_block1", "stage3_block1"]
    assert rows["error"].max() == rows["error"][worst] > intact
    assert studied == rebuilt == pytest.approx(rows["error"][worst], abs=1e-4)
    assert (tmp_path / "runs/lesion/study/figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_export_and_serve(run, tmp_path):
    output = run("export_and_serve")
    served, examples = found(r"served: accuracy ([\d.]+) over (\d+) images", output)
    assert examples == 397
    assert served == pytest.approx(recorded_accuracy(tmp_path / "runs/export/training"), abs=1e-4)
    (difference,) = found(r"largest difference from the network ([\d.e+-]+)", output)
    assert difference < 1e-5
    (single,) = found(r"float32.tflite: accuracy ([\d.]+), [\d,]+ bytes", output)
    assert single == served
    small, size = found(r"int8.tflite: accuracy ([\d.]+), ([\d,]+) bytes", output)
    assert small == pytest.approx(served, abs=0.01)
    assert size == (tmp_path / "runs/export/int8.tflite").stat().st_size
    assert size < 0.4 * (tmp_path / "runs/export/float32.tflite").stat().st_size
    serving = (EXAMPLES / "export_and_serve.py").read_text().split("# 3. Serve")[1]
    assert not re.search(r"\b(kr|keras|model|data)\.", serving), "serving needs TensorFlow alone"


@pytest.mark.slow
def test_backbone(run):
    output = run("backbone")
    # The 7x7 stem shrinks 32 to 8, stages 2 to 4 halve it.
    for name, shape in (("stem", "8x8x64"), ("stage3", "2x2x256"), ("stage4", "1x1x512")):
        assert f"{name}: {shape}\n" in output
    # Normalisation and classifier on 256 + 512 features; then all that stage 4 consists of.
    head = 2 * 768 + 768 * 10 + 10
    stage4 = 9 * (256 * 512 + 3 * 512 * 512) + 256 * 512 + 5 * 2 * 512
    assert found(r"head: ([\d,]+) trainable", output) == [head]
    assert found(r"fine-tuning: ([\d,]+) trainable", output) == [head + stage4]
    assert "head: moved no block\n" in output
    assert "fine-tuning: moved stage4_block1, stage4_block2\n" in output


@pytest.mark.slow
def test_custom_network(run, tmp_path):
    output = run("custom_network")
    # Widths are a quarter of what the spec says, but for the stem's 32. Each block: convolutions, then normalisations.
    blocks = {
        "stage1_block1": 9 * (32 * 8 + 8 * 8) + 32 * 8 + 2 * (32 + 8),
        "stage1_block2": 9 * (8 * 8 + 8 * 8) + 2 * (8 + 8),
        "stage2_block1": 8 * 8 + 9 * 8 * 8 + 8 * 32 + 8 * 32 + 2 * (8 + 8 + 8),
        "stage2_block2": 32 * 8 + 9 * 8 * 8 + 8 * 32 + 2 * (32 + 8 + 8),
        "stage2_block3": 32 * 8 + 9 * 8 * 8 + 8 * 32 + 2 * (32 + 8 + 8),
        "stage3_block1": 9 * (32 * 32 + 32 * 32) + 2 * (32 + 32),
        "stage3_block2": 9 * (32 * 32 + 32 * 32) + 2 * (32 + 32),
    }
    stem, head = 9 * 3 * 32, 2 * 32 + 32 * 7 + 7
    for name, parameters in blocks.items():
        assert found(rf"{name}: ([\d,]+) parameters", output) == [parameters]
    assert found(r"\n([\d,]+) parameters, ", output) == [stem + head + sum(blocks.values())]
    assert found(r"largest difference ([\d.e+-]+)", output) == [0.0]
    assert "same spec True" in output
    assert kr.load_model(tmp_path / "runs/custom/mixed.keras").spec.width == 0.25


def test_examples_are_short_public_and_listed():
    listed = re.findall(r"^\| `(\w+)\.py` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    scripts = {path.stem: path.read_text() for path in EXAMPLES.glob("*.py")}
    assert sorted(listed) == sorted(scripts)
    for name, text in scripts.items():
        assert len(text.splitlines()) < 100, name
        assert f"\nCommand: `python examples/{name}.py" in text
        assert not re.search(r"keras_resnets\.\w|kr(\.\w+)*\._|from keras_resnets", text), (
            f"{name}: public imports only"
        )
        assert f"def test_{name}(" in Path(__file__).read_text()


def test_skip_removal(run, tmp_path):
    output = run("skip_removal")
    rows = pd.read_csv(tmp_path / "runs/skips/study/rows.csv")
    one = rows[rows["kind"] == "unskip"].set_index("block")["error"]
    for block, error in one.items():
        line = next(line for line in output.splitlines() if line.startswith(block))
        assert float(line.split()[-1]) == pytest.approx(error, abs=1e-6)
    assert len(one) == 3  # one block in each stage is behind the BN-ReLU that it shares with its shortcut
    # Removing skips takes no weights away.
    assert f"{kr.parameters(kr.build('preresnet14', (8, 8, 1))):,} parameters" in output


def test_dissect_resnet50(run, tmp_path):
    output = run("dissect_resnet50")
    rows = pd.read_csv(tmp_path / "runs/resnet50/rows.csv")
    assert len(rows) == 16
    assert (rows["error"] == 1 - rows["agreement"]).all()
    left, whole = (int(n.replace(",", "")) for n in re.search(r"([\d,]+) of ([\d,]+) parameters", output).groups())
    assert whole == 25_583_592  # the bias-free count of papers.md, section 1.1, and 26,560 biases of convolutions
    assert 0 < left < whole


def test_paths(run, tmp_path):
    output = run("paths")
    rows = pd.read_csv(tmp_path / "runs/paths/study/rows.csv")
    rows = rows[rows["kind"] == "input"]
    assert rows["paths"].tolist() == pytest.approx([math.comb(3, k) / 8 for k in range(4)])
    assert rows["share"].sum() == pytest.approx(1, abs=1e-4)
    mean = (rows["length"] * rows["norm_share"]).sum()
    blocks, length = found(r"(\d+) of 3 blocks a batch: paths of ([\d.]+) on average", output)
    assert (blocks, length) == (min(3, round(2 * mean)), pytest.approx(blocks / 2))
    asked = json.loads((tmp_path / "runs/paths/short/run.json").read_text())["asked"]["paths"]
    assert asked["config"] == {"blocks": blocks, "seed": 0, "rescale": True}
    for name, folder in (("all blocks", "all"), (rf"{blocks:.0f} a batch", "short")):
        (error,) = found(rf"\n{name}: test error ([\d.]+) over 397 images", output)
        assert error == pytest.approx(1 - recorded_accuracy(tmp_path / "runs/paths" / folder), abs=1e-4)


def test_width_or_depth(run, tmp_path):
    output = run("width_or_depth")
    printed = re.findall(r"(\d+) layers, \[([\d, ]+)\] channels: ([\d,]+) parameters", output)
    assert [int(depth) for depth, *_ in printed] == [8, 14]
    trials = pd.read_csv(tmp_path / "runs/width_or_depth/trials.csv")
    assert len(trials) == 2
    for count in [*(int(parameters.replace(",", "")) for *_, parameters in printed), *trials["parameters"]]:
        assert abs(count - 5000) <= 100
    best = trials.loc[trials["score"].idxmax()]
    (error,) = found(r"validation error ([\d.]+)% over 280, test", output)
    assert error == pytest.approx(100 * best["error"], abs=0.005)


def test_segmentation(run, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(scenes, "COUNTS", {"train": 60, "validation": 20, "test": 30})
    output = run("segmentation")
    iou, low, high, accuracy = found(
        r"mean IoU ([\d.]+) \(95 % interval ([\d.]+) to ([\d.]+)\), accuracy ([\d.]+)", output
    )
    background, share = found(r"everywhere: mean IoU ([\d.]+), accuracy ([\d.]+)", output)
    assert low <= iou <= high
    data = kr.data.load("scenes", task="segmentation", batch_size=50, image_size=64)
    model = kr.load_model(tmp_path / "runs/segmentation")
    wrong, pixels, ground = 0, 0, 0
    for images, labels in data.test:
        answers = kr.segmentation.predict(model, images, flip=False)
        wrong, pixels = wrong + (answers != np.asarray(labels)).sum(), pixels + answers.size
        ground += (np.asarray(labels) == 0).sum()
    assert accuracy == pytest.approx(1 - wrong / pixels, abs=1e-4)
    assert (share, background) == pytest.approx((ground / pixels, ground / pixels / 11), abs=1e-4)
    with Image.open(tmp_path / "runs/segmentation/overlays.png") as picture:
        assert picture.size == (3 * 330, 75 + 6 * 330)  # six rows of three; titles and a legend


def test_grad_cam(run, tmp_path):
    output = run("grad_cam")
    last, height, width, difference = found(
        r"(\w+): (\d+)x(\d+) places, largest difference from CAM ([\d.e+-]+)", output
    )
    assert (last, height, width) == ("stage3_block1", 4, 4)
    assert difference < 1e-5
    # The maps once more: mean gradients by differences of the logit, channel by channel.
    model = kr.load_model(tmp_path / "runs/grad_cam/training")
    data = kr.data.load("digits", image_size=16, normalize=kr.recipes.get("digits").normalize)
    images = next(data.test.as_numpy_iterator())[0][:6]
    features = np.asarray(model.features(images)["stage3"], "float64")
    head = [np.asarray(weight, "float64") for weight in model.get_layer("logits").weights]

    def logits(values):
        return values.mean((1, 2)) @ head[0] + head[1]

    answers = logits(features).argmax(1)
    steps = [features + np.eye(64)[channel] for channel in range(64)]
    rises = np.stack([(logits(step) - logits(features))[np.arange(6), answers] for step in steps], 1)
    # A step at all 16 places at once is the sum of 16 gradients, and their mean is 1/16 of it.
    expected = np.maximum(np.einsum("nhwc,nc->nhw", features, rises / 16), 0)
    with np.load(tmp_path / "runs/grad_cam/grad_cam.npz") as saved:
        np.testing.assert_array_equal(saved["answers"], answers)
        np.testing.assert_allclose(saved["maps"], expected, rtol=1e-3, atol=1e-5)
    assert (tmp_path / "runs/grad_cam/grad_cam.png").read_bytes().startswith(b"\x89PNG")
