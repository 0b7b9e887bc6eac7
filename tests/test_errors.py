"""Wrong calls: each gets one sentence with the argument, the rule, the value that came and the remedy."""

import json
import os
import shutil
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError

PACKAGE = Path(kr.__file__).parents[1]
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}

HOLDER = """
import sys
from keras_resnets.runs import Run
with Run(sys.argv[1], {"seed": 0}):
    print("held", flush=True)
    sys.stdin.read()
"""


def _train(place, **changes):
    arguments = {"network": "resnet8", "data": "digits", "out": place.new / "out", "epochs": 1, "verbose": 0}
    return kr.train(**{**arguments, **changes})


def _noisy():
    """A network with a loss inside of a residual branch."""
    conv = keras.layers.Conv2D(1, 3, padding="same", activity_regularizer="l2", name="loud")
    return kr.ResidualNetwork([kr.ResidualBlock(conv, keras.layers.Identity(), name="block")], (4, 4, 1))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What wrong calls are made with: networks, good and bad files, run directories, one of them in use."""
    root = tmp_path_factory.mktemp("errors")
    spec = kr.Spec("tiny", (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 5, stem_width=4)
    it = types.SimpleNamespace(
        root=root, new=root / "new", spec=spec, tiny=kr.build(spec), plain=kr.build(spec, shortcut="none")
    )
    it.x, it.y = np.zeros((4, 8, 8, 1), "float32"), np.zeros(4, "int32")
    source = keras.Input((4,))
    it.dense = keras.Model(source, keras.layers.Add()([source, keras.layers.Dense(4)(source)]), name="dense")
    it.small = root / "tiny.keras"
    it.tiny.save(it.small)
    it.regular = root / "regular"
    it.regular.write_text("a file, not a folder")
    it.garbage = root / "garbage.keras"
    it.garbage.write_bytes(b"no zip file")
    it.hollow = root / "hollow.keras"
    with zipfile.ZipFile(it.hollow, "w") as archive:
        archive.writestr("config.json", "{}")

    it.run = root / "run"
    _train(it, out=it.run)
    record = json.loads((it.run / "run.json").read_text())
    it.torn = root / "torn"
    shutil.copytree(it.run, it.torn)
    (it.torn / "run.json").write_text((it.run / "run.json").read_text()[:100])
    (it.torn / "checkpoints" / "last.safetensors").unlink()  # from which it would be written anew
    it.cut = root / "cut"
    shutil.copytree(it.run, it.cut)
    # As after a crash of the machine: not finished, and only the first half of the checkpoint on disk.
    (it.cut / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k != "results"}))
    last = it.cut / "checkpoints" / "last.safetensors"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    it.foreign = root / "foreign"
    it.foreign.mkdir()
    (it.foreign / "thesis.tex").write_text("precious")

    it.images = root / "images"
    for kind in ("cat", "dog"):
        (it.images / kind).mkdir(parents=True)
        for i in range(5):
            pixels = np.full((8, 8, 3), 20 * i)
            keras.utils.save_img(it.images / kind / f"{i}.png", pixels, scale=False)
    (it.images / "dog" / "bad.png").write_bytes(b"no image")
    it.bare = root / "bare"
    (it.bare / "cat").mkdir(parents=True)
    (it.bare / "cat" / "notes.txt").write_text("no image")

    it.held = root / "held"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, it.held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=PACKAGE,
    )
    assert holder.stdout.readline() == "held\n"
    yield it
    holder.communicate("")
    assert holder.returncode == 0


# What is wrong, the call, the exception, and what its sentence must hold, in this order.
CALLS = [
    # Names.
    ("unknown variant", lambda p: kr.build("resnett50"), ArgumentError, ["'resnett50'", "nearest", "resnet50,"]),
    ("misspelt variant", lambda p: kr.build("wrn_28-10"), ArgumentError, ["'wrn_28-10'", "nearest", "wrn_28_10,"]),
    ("no name", lambda p: kr.build(None), ArgumentError, ["variant must be a string", "None"]),
    ("depth", lambda p: kr.build("resnet21"), ArgumentError, ["6n+2", "got 21", "resnet20 and resnet26"]),
    ("depth of plain", lambda p: kr.build("plain9"), ArgumentError, ["6n+2", "got 9", "plain8 and plain14"]),
    ("depth 2", lambda p: kr.build("resnet2"), ArgumentError, ["6n+2", "at least 1", "got 2", "resnet8"]),
    ("depth of wide", lambda p: kr.build("wrn_29_2"), ArgumentError, ["6n+4", "got 29", "wrn_28_2 and wrn_34_2"]),
    ("widening factor", lambda p: kr.build("wrn_28_0"), ArgumentError, ["at least 1", "got 0"]),
    ("pattern of an ImageNet name", lambda p: kr.build("resnet49"), ArgumentError, ["got 49", "resnet44", "resnet56"]),
    # Fields of a spec.
    ("small input", lambda p: kr.build("resnet50", (31, 64, 3)), ArgumentError, ["height", "32", "(31, 64, 3)", "Use"]),
    ("narrow input", lambda p: kr.build("resnet8", (8, 2, 1)), ArgumentError, ["width", "4", "(8, 2, 1)", "Use"]),
    ("two sizes", lambda p: kr.build("resnet8", (8, 8)), ArgumentError, ["input_shape", "channels", "(8, 8)"]),
    ("width", lambda p: kr.build("resnet8", width=-1), ArgumentError, ["width", "positive", "-1"]),
    ("width no number", lambda p: kr.build("resnet8", width=float("nan")), ArgumentError, ["width", "positive", "nan"]),
    ("stage width", lambda p: kr.Stage(1, (16, -16)), ArgumentError, ["Stage.widths", "at least 1", "-16"]),
    ("stage kernels", lambda p: kr.Stage(1, (16, 16), (3, 2)), ArgumentError, ["kernels", "odd", "(3, 2)"]),
    ("stage without kernel", lambda p: kr.Stage(1, (16,)), ArgumentError, ["widths", "kernels", "(16,)", "(3, 3)"]),
    ("blocks", lambda p: kr.Stage(0, (16, 16)), ArgumentError, ["Stage.blocks", "at least 1", "got 0"]),
    ("classes", lambda p: kr.build("resnet8", classes=0), ArgumentError, ["classes", "at least 1", "got 0"]),
    ("half a class", lambda p: kr.build("resnet8", classes=2.5), ArgumentError, ["classes", "whole", "got 2.5"]),
    ("dropout", lambda p: kr.build("resnet8", dropout=1.0), ArgumentError, ["dropout", "not including, 1", "got 1.0"]),
    ("dropout below 0", lambda p: kr.build("resnet8", dropout=-0.1), ArgumentError, ["dropout", "from 0", "-0.1"]),
    ("epsilon", lambda p: kr.build("resnet8", bn_epsilon=0), ArgumentError, ["bn_epsilon", "positive", "got 0"]),
    ("momentum", lambda p: kr.build("resnet8", bn_momentum=1), ArgumentError, ["bn_momentum", "not including, 1"]),
    ("weight decay", lambda p: kr.build("resnet8", weight_decay=-1), ArgumentError, ["weight_decay", "from 0", "-1"]),
    ("shortcut", lambda p: kr.build("resnet8", shortcut="D"), ArgumentError, ["shortcut", "'A', 'B', 'C'", "'D'"]),
    ("placement", lambda p: kr.build("resnet8", placement="mid"), ArgumentError, ["placement", "'pre'", "'mid'"]),
    ("skip no text", lambda p: kr.build("resnet8", skip=0.5), ArgumentError, ["skip", "such as identity", "got 0.5"]),
    ("skip", lambda p: kr.build("resnet8", skip="gated:-6"), ArgumentError, ["skip", "'gate'", "'gated'"]),
    ("skip without number", lambda p: kr.build("resnet8", skip="gate"), ArgumentError, ["'gate:-6'", "got 'gate'"]),
    ("skip, a word", lambda p: kr.build("resnet8", skip="gate:low"), ArgumentError, ["'gate:-6'", "got 'gate:low'"]),
    ("skip, endless", lambda p: kr.build("resnet8", skip="gate:inf"), ArgumentError, ["finite", "got 'gate:inf'"]),
    ("one scale", lambda p: kr.build("resnet8", skip="scale:0.5"), ArgumentError, ["'scale:0.5:1'", "'scale:0.5'"]),
    ("identity:1", lambda p: kr.build("resnet8", skip="identity:1"), ArgumentError, ["'identity'", "'identity:1'"]),
    ("no shortcut", lambda p: kr.build("resnet8", skip="scale:0:1"), ArgumentError, ["plain", "Use shortcut='none'"]),
    ("scale below 0", lambda p: kr.build("resnet8", skip="scale:-1:1"), ArgumentError, ["positive", "'scale:-1:1'"]),
    ("no residual", lambda p: kr.build("resnet8", skip="scale:1:0"), ArgumentError, ["positive", "'scale:1:0'"]),
    ("all dropped", lambda p: kr.build("resnet8", skip="dropout:1"), ArgumentError, ["less than 1", "'dropout:1'"]),
    ("none dropped", lambda p: kr.build("resnet8", skip="dropout:0"), ArgumentError, ["more than 0", "'dropout:0'"]),
    (
        "skip of a plain network",
        lambda p: kr.build("plain8", skip="dropout:0.5"),
        ArgumentError,
        ["skip", "'identity'", "shortcut='none'", "'dropout:0.5'", "Choose"],
    ),
    (
        "zero gamma before a ReLU",
        lambda p: kr.build("resnet8", zero_gamma=True, placement="relu_before"),
        ArgumentError,
        ["zero_gamma", "'relu_before'", "no gradient", "got True", "Choose"],
    ),
    ("stem", lambda p: kr.build("resnet8", stem="conv5"), ArgumentError, ["stem", "'conv3', 'conv7'", "'conv5'"]),
    ("name", lambda p: kr.build("resnet8", name="a/b"), ArgumentError, ["name", "without '/'", "'a/b'"]),
    (
        "override",
        lambda p: kr.build("resnet8", shortcuts="A"),
        ArgumentError,
        ["'shortcuts'", "did you mean", "shortcut"],
    ),
    (
        "field of Spec",
        lambda p: kr.Spec.from_dict({**p.spec.to_dict(), "clases": 3}),
        ArgumentError,
        ["Spec", "'clases'", "did you mean", "classes"],
    ),
    (
        "field of Stage",
        lambda p: kr.Spec.from_dict({"name": "x", "stages": [{"blocks": 1, "width": [4, 4]}]}),
        ArgumentError,
        ["Stage", "'width'", "did you mean", "widths"],
    ),
    ("no stages", lambda p: kr.Spec("x", ()), ArgumentError, ["stages", "non-empty", "()"]),
    (
        "shortcut A that removes channels",
        lambda p: kr.build(p.spec, stem_width=32),
        ArgumentError,
        ["shortcut 'A'", "32", "4", "Use shortcut 'B'"],
    ),
    ("pooling", lambda p: kr.build("resnet8", include_top=False, pooling="mean"), ArgumentError, ["pooling", "'mean'"]),
    ("block of nothing", lambda p: kr.ResidualBlock(name="b"), ArgumentError, ["'b'", "residual", "neither"]),
    (
        "input tensor",
        lambda p: kr.build("resnet8", input_tensor=3),
        ArgumentError,
        ["input_tensor", "keras.Input", "3"],
    ),
    ("open size", lambda p: kr.macs(kr.build("resnet8", (None, None, 3))), ArgumentError, ["input_shape", "None"]),
    # Weights and files.
    (
        "weights with other paths",
        lambda p: kr.build(p.spec.replace(stages=(kr.Stage(2, (4, 4)), p.spec.stages[1])), weights=p.small),
        ArgumentError,
        ["weights", "tiny.keras", "another network", "lacks", "stage1_block2/", "build"],
    ),
    (
        "weights with more paths",
        lambda p: kr.build(p.spec.replace(stages=p.spec.stages[:1]), weights=p.small),
        ArgumentError,
        ["weights", "tiny.keras", "another network", "has an extra", "stage2_block1/", "build"],
    ),
    (
        "weights with other shapes",
        lambda p: kr.build(p.spec, classes=7, weights=p.small),
        ArgumentError,
        ["weights", "tiny.keras", "another network", "head/", "shape", "5", "7", "build"],
    ),
    ("no weights", lambda p: kr.build("resnet8", weights="imagenet"), ArgumentError, ["'imagenet'", "give a .keras"]),
    ("no .keras", lambda p: kr.load_model(p.root / "no.keras"), ArgumentError, ["no.keras", "give a .keras file"]),
    ("garbage .keras", lambda p: kr.load_model(p.garbage), ArgumentError, ["garbage.keras", "cannot be opened"]),
    ("hollow .keras", lambda p: kr.load_model(p.hollow), ArgumentError, ["hollow.keras", "cannot be opened"]),
    ("text as .keras", lambda p: kr.load_model(p.regular), ArgumentError, ["regular", "cannot be opened"]),
    ("no run", lambda p: kr.load_model(p.foreign), ArgumentError, ["foreign", "finished run directory"]),
    # Data.
    ("data unknown", lambda p: kr.data.load("cifar11"), ArgumentError, ["'cifar11'", "give 'digits'"]),
    (
        "data absent",
        lambda p: kr.data.load("cifar10", data_dir=p.root / "tfds"),
        FileNotFoundError,
        ["'cifar10'", "/tfds", "data_dir", "--download"],
    ),
    ("data nothing", lambda p: kr.data.load(None), ArgumentError, ["data", "name", "got None"]),
    ("folder absent", lambda p: kr.data.load(p.root / "no"), FileNotFoundError, ["no folder", "/no'", "give a folder"]),
    ("folder bare", lambda p: kr.data.load(p.bare, image_size=8), FileNotFoundError, ["bare", "per class", ".png"]),
    ("folder without size", lambda p: kr.data.load(p.images), ArgumentError, ["image_size", "needed", "None"]),
    ("image damaged", lambda p: kr.data.load(p.images, image_size=8), ArgumentError, ["/dog/bad.png'", "remove it"]),
    (
        "image damaged in a stream",
        lambda p: kr.data.load(p.images, image_size=8, augmentation=kr.data.Augmentation(resized_crop=True)),
        ArgumentError,
        ["/dog/bad.png'", "remove it"],
    ),
    ("batch", lambda p: kr.data.load("digits", batch_size=0), ArgumentError, ["batch_size", "from 1", "got 0"]),
    ("image size", lambda p: kr.data.load("digits", image_size=0), ArgumentError, ["image_size", "from 1", "got 0"]),
    (
        "validation",
        lambda p: kr.data.load("digits", validation=1),
        ArgumentError,
        ["validation", "including, 1", "got 1"],
    ),
    (
        "validation text",
        lambda p: kr.data.load("digits", validation="x"),
        ArgumentError,
        ["validation", "share", "or 'test'", "'x'"],
    ),
    ("all held out", lambda p: kr.data.load("digits", validation=0.9999), ArgumentError, ["0.9999", "1400", "smaller"]),
    ("normalize", lambda p: kr.data.load("digits", normalize="std"), ArgumentError, ["normalize", "'unit'", "'std'"]),
    (
        "batch larger than all",
        lambda p: kr.data.load("digits", batch_size=1300, drop_remainder=True),
        ArgumentError,
        ["batch_size", "1260", "got 1300"],
    ),
    ("augmentation", lambda p: kr.data.load("digits", augmentation="flip"), ArgumentError, ["augmentation", "'flip'"]),
    ("pad", lambda p: kr.data.Augmentation(pad=-1), ArgumentError, ["pad", "at least 0", "-1"]),
    ("pad mode", lambda p: kr.data.Augmentation(pad_mode="wrap"), ArgumentError, ["pad_mode", "'reflect'", "'wrap'"]),
    (
        "reflection beyond the image",
        lambda p: kr.data.load("digits", augmentation=kr.data.Augmentation(pad=8, pad_mode="reflect")),
        ArgumentError,
        ["pad", "less than", "8", "got 8"],
    ),
    (
        "colour without crop",
        lambda p: kr.data.Augmentation(color=0.4),
        ArgumentError,
        ["color", "0.4", "resized_crop=True"],
    ),
    # Training.
    (
        "recipe",
        lambda p: _train(p, recipe="he17"),
        ArgumentError,
        ["'he17'", "camvid, digits, he15, he16, imagenet, scenes, segmentation, wrn, wu"],
    ),
    ("epochs", lambda p: _train(p, epochs=0), ArgumentError, ["epochs", "at least 1", "got 0"]),
    ("half an epoch", lambda p: _train(p, epochs=1.5), ArgumentError, ["epochs", "whole", "got 1.5"]),
    ("seed", lambda p: _train(p, seed=-1), ArgumentError, ["seed", "from 0", "-1"]),
    ("seed with data", lambda p: _train(p, seed=1.5, data=kr.data.load("digits")), ArgumentError, ["seed", "got 1.5"]),
    (
        "network for larger images",
        lambda p: _train(p, network="resnet50"),
        ArgumentError,
        ["height", "32", "(8, 8, 1)"],
    ),
    ("rate", lambda p: kr.recipes.get("wrn").replace(learning_rate=0), ArgumentError, ["learning_rate", "positive"]),
    ("field of Recipe", lambda p: kr.recipes.get("wrn").replace(epoch=1), ArgumentError, ["'epoch'", "mean", "epochs"]),
    (
        "schedule",
        lambda p: kr.recipes.get("wrn").replace(schedule="exp"),
        ArgumentError,
        ["schedule", "'cosine'", "'exp'"],
    ),
    ("endless recipe", lambda p: kr.recipes.Recipe("x"), ArgumentError, ["epochs", "at least 1", "got 0"]),
    ("l2", lambda p: kr.optimizers.SGD(l2=-1), ArgumentError, ["l2", "from 0", "-1"]),
    ("form", lambda p: kr.optimizers.SGD(form="caffe"), ArgumentError, ["form", "'torch'", "'caffe'"]),
    ("scope of decay", lambda p: kr.optimizers.SGD(decay="biases"), ArgumentError, ["decay", "'kernels'", "'biases'"]),
    # Run directories.
    (
        "out below a file",
        lambda p: _train(p, out=p.regular / "run"),
        OSError,
        ["regular/run'", "written", "Give another"],
    ),
    ("out is a file", lambda p: _train(p, out=p.regular), OSError, ["regular'", "written", "Give another --out"]),
    ("out in /proc", lambda p: _train(p, out="/proc/run"), OSError, ["'/proc/run'", "written", "Give another --out"]),
    ("out in use", lambda p: _train(p, out=p.held), OSError, ["Another process", "held'", "Wait", "another --out"]),
    ("out with another seed", lambda p: _train(p, out=p.run, seed=1), ArgumentError, ["seed = 0", "now 1", "--out"]),
    (
        "out with another length",
        lambda p: _train(p, out=p.run, epochs=2),
        ArgumentError,
        ["recipe.epochs = 1", "now 2", "--out"],
    ),
    (
        "out with another network",
        lambda p: _train(p, out=p.run, network="resnet14"),
        ArgumentError,
        ["spec.name = 'resnet8'", "now 'resnet14'", "--out"],
    ),
    (
        "out of others",
        lambda p: _train(p, out=p.foreign),
        ArgumentError,
        ["'thesis.tex'", "not a run directory", "give an empty"],
    ),
    ("run.json damaged", lambda p: _train(p, out=p.torn), ArgumentError, ["run.json'", "damaged", "remove"]),
    ("checkpoint damaged", lambda p: _train(p, out=p.cut), ArgumentError, ["last.safetensors'", "damaged", "remove"]),
    # Edits, studies, export.
    (
        "delete again",
        lambda p: kr.delete(kr.delete(p.tiny, 0), 0),
        ArgumentError,
        ["'stage1_block1'", "no residual branch", "choose"],
    ),
    (
        "unskip without skip",
        lambda p: kr.unskip(p.plain, 0),
        ArgumentError,
        ["'stage1_block1'", "no shortcut branch", "choose"],
    ),
    (
        "unskip the deleted",
        lambda p: kr.unskip(kr.delete(p.tiny, 0), 0),
        ArgumentError,
        ["'stage1_block1'", "nothing but its shortcut", "choose"],
    ),
    ("reorder too few", lambda p: kr.reorder(p.tiny, [0]), ArgumentError, ["all 2 blocks", "'tiny'", "got 1"]),
    (
        "reorder unlike shapes",
        lambda p: kr.reorder(p.tiny, [1, 0]),
        ArgumentError,
        ["'stage2_block1'", "does not fit", "'stage1_block1'", "equal shapes"],
    ),
    ("adopt a name", lambda p: kr.adopt("resnet50"), ArgumentError, ["Keras model", "got str"]),
    (
        "too many deletions",
        lambda p: kr.studies.delete(p.tiny, (p.x, p.y), most=3),
        ArgumentError,
        ["most", "from 1 to 2", "got 3"],
    ),
    ("no draws", lambda p: kr.studies.reorder(p.tiny, (p.x, p.y), draws=0), ArgumentError, ["draws", "got 0"]),
    ("half a draw", lambda p: kr.studies.delete(p.tiny, (p.x, p.y), draws=1.5), ArgumentError, ["draws", "got 1.5"]),
    ("seed below 0", lambda p: kr.studies.delete(p.tiny, (p.x, p.y), seed=-1), ArgumentError, ["seed", "got -1"]),
    ("nothing to exchange", lambda p: kr.studies.reorder(p.tiny, (p.x, p.y)), ArgumentError, ["no two", "'tiny'"]),
    ("no skip to remove", lambda p: kr.studies.unskip(p.plain, (p.x, p.y)), ArgumentError, ["'tiny'", "skips"]),
    (
        "no convolution",
        lambda p: kr.studies.responses(p.dense, (p.x, p.y)),
        ArgumentError,
        ["'dense'", "no conv", "use"],
    ),
    (
        "taps of another network",
        lambda p: kr.taps.Reader(p.tiny, kr.taps.taps_of(p.plain)[:1]),
        ArgumentError,
        ["taps", "of 'tiny'", "'stem/conv' of another", "Take"],
    ),
    ("labels beyond", lambda p: kr.studies.lesion(p.tiny, (p.x, p.y + 99)), ArgumentError, ["labels", "from 0 to"]),
    ("sweeps never", lambda p: kr.callbacks.Lesion((p.x, p.y), p.new, every=0), ArgumentError, ["every", "got 0"]),
    (
        "application unknown",
        lambda p: kr.applications.foreign("ResNet51"),
        ArgumentError,
        ["'ResNet51'", "nearest", "ResNet50"],
    ),
    (
        "application refuses",
        lambda p: kr.applications.foreign("ResNet50", None, (8, 8, 3)),
        ArgumentError,
        ["ResNet50", "refused", "32"],
    ),
    (
        "delete unknown",
        lambda p: kr.delete(p.tiny, "stage1_block9"),
        ArgumentError,
        ["'stage1_block9'", "stage1_block1"],
    ),
    ("delete far", lambda p: kr.delete(p.tiny, 2), ArgumentError, ["from 0 to 1", "'tiny'", "got 2"]),
    ("delete twice", lambda p: kr.delete(p.tiny, [1, "stage2_block1"]), ArgumentError, ["once", "'stage2_block1'"]),
    (
        "delete of a stranger",
        lambda p: kr.delete(keras.Sequential(), 0),
        ArgumentError,
        ["ResidualNetwork", "Sequential"],
    ),
    ("lesion on a name", lambda p: kr.studies.lesion(p.tiny, "digits"), ArgumentError, ["data", "(x, y)", "got str"]),
    (
        "lesion on a list",
        lambda p: kr.studies.lesion(p.tiny, [p.x, p.y]),
        ArgumentError,
        ["data", "(x, y)", "got list"],
    ),
    ("lesion on halves", lambda p: kr.studies.lesion(p.tiny, (p.x, p.y[:3])), ArgumentError, ["4 inputs and 3 labels"]),
    (
        "lesion on nothing",
        lambda p: kr.studies.lesion(p.tiny, (p.x[:0], p.y[:0])),
        ArgumentError,
        ["at least one", "none"],
    ),
    # Path policies and the gradient by path.
    (
        "too many blocks on",
        lambda p: p.tiny.compile(paths=kr.paths.FixedSize(3)),
        ArgumentError,
        ["at most 2", "got 3"],
    ),
    ("blocks on", lambda p: kr.paths.FixedSize(-1), ArgumentError, ["FixedSize.blocks", "at least 0", "-1"]),
    ("survival of blocks", lambda p: kr.paths.StochasticDepth(1.2), ArgumentError, ["final_survival", "0 to 1", "1.2"]),
    ("decay of survival", lambda p: kr.paths.StochasticDepth(0.5, "cosine"), ArgumentError, ["decay", "'cosine'"]),
    ("a chance", lambda p: kr.paths.Bernoulli((0.5, -0.1)), ArgumentError, ["of each block", "0 to 1", "-0.1"]),
    ("chances", lambda p: kr.paths.Bernoulli((0.5,)).draw(0, 2), ArgumentError, ["each of the 2", "got 1"]),
    ("weights of blocks", lambda p: kr.paths.Weighted(1, (1.0, 0.0)), ArgumentError, ["weights", "positive", "0.0"]),
    ("more than weighted", lambda p: kr.paths.Weighted(3, (1.0, 2.0)), ArgumentError, ["from 0 to 2", "got 3"]),
    ("rate of drops", lambda p: kr.paths.DropPath(1.0), ArgumentError, ["rate", "not including, 1", "1.0"]),
    ("drops rescaled", lambda p: kr.paths.DropPath(0.1, rescale=True), ArgumentError, ["rescale", "False", "True"]),
    ("drops of no batch", lambda p: kr.paths.DropPath(0.1).draw(0, 2), ArgumentError, ["examples", "None"]),
    ("late schedule", lambda p: kr.paths.Schedule(((5, None),)), ArgumentError, ["phases", "rising from 0", "5"]),
    (
        "schedule of examples",
        lambda p: kr.paths.Schedule(((0, kr.paths.DropPath(0.1)),)),
        ArgumentError,
        ["phases", "whole batch", "DropPath"],
    ),
    ("seed of a policy", lambda p: kr.paths.FixedSize(1, seed=-1), ArgumentError, ["seed", "from 0", "-1"]),
    ("policy's name", lambda p: kr.paths.get("fixd:3"), ArgumentError, ["'fixd'", "nearest", "fixed"]),
    ("policy's number", lambda p: kr.paths.get("fixed:many"), ArgumentError, ["fixed:23", "'fixed:many'"]),
    ("no policy", lambda p: p.tiny.compile(paths=3), ArgumentError, ["paths", "keras_resnets.paths", "got 3"]),
    (
        "gates",
        lambda p: p.tiny.masked(p.x, [True]),
        ArgumentError,
        ["gates", "2 blocks", "(1,)"],
    ),
    (
        "loss of a branch that may be off",
        lambda p: _noisy().compile(paths=kr.paths.FixedSize(1)),
        ArgumentError,
        ["'loud'", "'block'", "activity_regularizer", "remove"],
    ),
    ("precision", lambda p: kr.spectrum.Spectrum(p.tiny, "float16"), ArgumentError, ["precision", "'float16'"]),
    ("examples of paths", lambda p: kr.studies.paths(p.tiny, (p.x, p.y), examples=0), ArgumentError, ["examples", "0"]),
    ("draws of paths", lambda p: kr.studies.paths(p.tiny, (p.x, p.y), draws=0), ArgumentError, ["draws", "got 0"]),
    # Studies that train.
    (
        "study of a trained network",
        lambda p: kr.studies.effective(p.tiny, out=p.new, blocks=1),
        ArgumentError,
        ["network", "variant's name or a Spec", "ResidualNetwork"],
    ),
    (
        "neither blocks nor length",
        lambda p: kr.studies.effective("resnet8", out=p.new),
        ArgumentError,
        ["blocks", "length", "None"],
    ),
    (
        "blocks and length",
        lambda p: kr.studies.effective("resnet8", out=p.new, blocks=2, length=1.0),
        ArgumentError,
        ["not both", "blocks=2", "length=1.0"],
    ),
    (
        "blocks of a batch",
        lambda p: kr.studies.effective("resnet8", out=p.new, blocks=4),
        ArgumentError,
        ["blocks", "from 1 to 3", "got 4"],
    ),
    (
        "length of paths",
        lambda p: kr.studies.effective("resnet8", out=p.new, length=1.8),
        ArgumentError,
        ["length", "from 0.5 to 1.5", "'resnet8'", "got 1.8"],
    ),
    (
        "one seed",
        lambda p: kr.studies.effective("resnet8", out=p.new, blocks=2, seeds=1),
        ArgumentError,
        ["seeds", "from 2 to 16", "got 1"],
    ),
    (
        "survival",
        lambda p: kr.studies.survival("resnet8", out=p.new, survivals=[0.5, 1.5]),
        ArgumentError,
        ["final_survival", "from 0 to 1", "1.5"],
    ),
    (
        "decay",
        lambda p: kr.studies.survival("resnet8", out=p.new, decays=("cosine",)),
        ArgumentError,
        ["decay", "'linear'", "'cosine'"],
    ),
    (
        "no decay",
        lambda p: kr.studies.survival("resnet8", out=p.new, decays=()),
        ArgumentError,
        ["decays", "at least one", "none"],
    ),
    (
        "survival to lesion",
        lambda p: kr.studies.survival("resnet8", out=p.new, survivals=[0.5, 0.8], lesion=0.6),
        ArgumentError,
        ["lesion", "0.5, 0.8", "0.6"],
    ),
    (
        "export onto others",
        lambda p: kr.export.saved_model(p.tiny, p.foreign),
        ArgumentError,
        ["foreign", "new folder"],
    ),
    (
        "export below a file",
        lambda p: kr.export.saved_model(p.tiny, p.regular / "x"),
        OSError,
        ["regular/x'", "written"],
    ),
    (
        "export of no model",
        lambda p: kr.export.saved_model("resnet8", p.new),
        ArgumentError,
        ["model", "Keras model", "str"],
    ),
    (
        "name of a LiteRT file",
        lambda p: kr.export.litert(p.tiny, p.new / "net.lite"),
        ArgumentError,
        ["path must end in .tflite", "net.lite"],
    ),
    (
        "kind of a LiteRT file",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", "int4"),
        ArgumentError,
        ["kind", "'int8'", "'int4'"],
    ),
    (
        "ranges of floats",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", "float16", p.x),
        ArgumentError,
        ["representative", "'int8'", "'float16'"],
    ),
    (
        "raw pixels of a network that does not know them",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", preprocessing=True),
        ArgumentError,
        ["preprocessing", "'tiny'", "set model.preprocessing"],
    ),
    (
        "output of an export",
        lambda p: kr.export.saved_model(p.tiny, p.new, output="classes"),
        ArgumentError,
        ["output", "'logits'", "'classes'"],
    ),
    (
        "int8 of nothing real",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", "int8", examples=p.x),
        ArgumentError,
        ["representative", "real inputs", "keras_resnets.data.load"],
    ),
    (
        "size of an example",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", examples=p.x[:, :7]),
        ArgumentError,
        ["examples", "(8, 8, 1)", "(7, 8, 1)", "'tiny'"],
    ),
    (
        "data of an export",
        lambda p: kr.export.saved_model(p.tiny, p.new, data=p.x),
        ArgumentError,
        ["data", "(x, y)", "ndarray"],
    ),
]


@pytest.mark.parametrize(("call", "kind", "parts"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    with pytest.raises(kind) as caught:
        call(place)
    text = str(caught.value)
    assert (type(caught.value) is ArgumentError) == (kind is ArgumentError)
    assert "\n" not in text
    assert len(text) < 600
    assert text[-1] in ".?", "the sentence is cut off"
    position = 0
    for part in parts:
        assert part in text[position:], f"{part!r} is missing, or not in its place, in: {text}"
        position = text.index(part, position)
    assert not place.new.exists(), "a wrong call left something behind"


def test_absent_data_is_told_at_once(tmp_path):
    kr.data.load("digits")  # what is measured is the answer, not the imports
    with pytest.raises(ArgumentError):
        kr.data.load("no_such_set")
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError):
        kr.data.load("cifar10", data_dir=tmp_path)
    assert time.perf_counter() - start < 1


def test_wrong_calls_do_no_harm(place):
    """What the table's calls were pointed at is as it was."""
    assert (place.foreign / "thesis.tex").read_text() == "precious"
    assert sorted(p.name for p in place.foreign.iterdir() if p.name != ".lock") == ["thesis.tex"]
    assert place.regular.read_text() == "a file, not a folder"
    assert json.loads((place.run / "run.json").read_text())["asked"]["recipe"]["epochs"] == 1
    assert isinstance(kr.load_model(place.run), kr.ResidualNetwork)


# What is wrong, the command line, its exit status, and what its one line must hold.
COMMANDS = [
    ("no command", ["trian"], 2, ["'trian'"]),
    ("option", ["train", "resnet8", "--out", "{new}", "--epoch", "x"], 2, ["--epoch"]),
    ("no out", ["train", "resnet8"], 2, ["--out"]),
    ("no model", ["train", "--out", "{new}"], 2, ["MODEL"]),
    ("epochs no number", ["train", "resnet8", "--epochs", "two", "--out", "{new}"], 2, ["--epochs", "'two'"]),
    ("epochs", ["train", "resnet8", "--epochs", "0", "--out", "{new}"], 2, ["epochs", "got 0"]),
    ("seed", ["train", "resnet8", "--seed", "-1", "--out", "{new}"], 2, ["seed", "-1"]),
    ("variant", ["train", "resnet21", "--out", "{new}"], 2, ["6n+2", "resnet20"]),
    ("variant to list", ["models", "resnett50"], 2, ["'resnett50'", "resnet50"]),
    ("recipe", ["train", "resnet8", "--recipe", "he17", "--out", "{new}"], 2, ["'he17'", "he16"]),
    ("field", ["train", "resnet8", "--set", "shortcuts=C", "--out", "{new}"], 2, ["'shortcuts'", "shortcut"]),
    ("field of training", ["train", "resnet8", "--set", "data=x", "--out", "{new}"], 2, ["'data'", "did you mean"]),
    ("field without value", ["train", "resnet8", "--set", "shortcut", "--out", "{new}"], 2, ["FIELD=VALUE"]),
    ("value of a field", ["train", "resnet8", "--set", "dropout=1.5", "--out", "{new}"], 2, ["dropout", "1.5"]),
    ("spec file absent", ["train", "{root}/no.json", "--out", "{new}"], 2, ["no.json", "cannot be read"]),
    ("data unknown", ["train", "resnet8", "--data", "cifar11", "--out", "{new}"], 2, ["'cifar11'"]),
    (
        "data absent",
        ["train", "resnet8", "--data", "cifar10", "--data-dir", "{root}/tfds", "--out", "{new}"],
        1,
        ["'cifar10'", "--download"],
    ),
    ("folder absent", ["train", "resnet8", "--data", "{root}/no", "--out", "{new}"], 1, ["/no'", "give a folder"]),
    ("out below a file", ["train", "resnet8", "--out", "{regular}/run"], 1, ["regular/run'", "Give another --out"]),
    ("out in use", ["train", "resnet8", "--out", "{held}"], 1, ["Another process", "held'"]),
    (
        "out with other arguments",
        ["train", "resnet14", "--epochs", "1", "--out", "{run}"],
        2,
        ["'resnet8'", "'resnet14'"],
    ),
    ("run.json damaged", ["train", "resnet8", "--epochs", "1", "--out", "{torn}"], 2, ["run.json'", "damaged"]),
    (
        "checkpoint damaged",
        ["train", "resnet8", "--epochs", "1", "--out", "{cut}"],
        2,
        ["last.safetensors'", "damaged"],
    ),
    ("study unknown", ["study", "lesions", "{run}"], 2, ["'lesions'", "lesion"]),
    ("study of nothing", ["study", "lesion", "{root}/no.keras", "--data", "digits", "--out", "{new}"], 2, ["no.keras"]),
    ("study of garbage", ["study", "lesion", "{garbage}", "--data", "digits", "--out", "{new}"], 2, ["garbage.keras"]),
    ("study without data", ["study", "lesion", "{small}", "--out", "{new}"], 2, ["--data"]),
    ("study of draws", ["study", "lesion", "{run}", "--draws", "3", "--out", "{new}"], 2, ["--draws", "'lesion'"]),
    (
        "study of no application",
        ["study", "lesion", "keras.applications:ResNet51", "--data", "digits", "--out", "{new}"],
        2,
        ["'ResNet51'", "ResNet50"],
    ),
    (
        "study of DenseNet",
        [
            *["study", "lesion", "keras.applications:DenseNet121", "--weights", "random", "--image-size", "32"],
            *["--data", "digits", "--out", "{new}"],
        ],
        2,
        ["'conv2_block1_concat'", "no addition"],
    ),
    ("study that trains without out", ["study", "dynamics", "resnet8", "--epochs", "1"], 2, ["--out", "'dynamics'"]),
    ("dynamics of no variant", ["study", "dynamics", "resnet9", "--out", "{new}"], 2, ["'resnet9'"]),
    ("dynamics of a run not measured", ["study", "dynamics", "resnet8", "--out", "{run}"], 2, ["run'", "not measured"]),
    ("littwin of something", ["study", "littwin", "resnet8", "--out", "{new}"], 2, ["SOURCE", "not for", "'littwin'"]),
    ("littwin on data", ["study", "littwin", "--data", "digits", "--out", "{new}"], 2, ["--data", "'littwin'"]),
    ("lesion of nothing", ["study", "lesion", "--out", "{new}"], 2, ["SOURCE", "needed", "'lesion'"]),
    ("lesion of epochs", ["study", "lesion", "{run}", "--epochs", "2"], 2, ["--epochs", "'lesion'"]),
    ("study without out", ["study", "lesion", "{small}", "--data", "digits"], 2, ["--out"]),
    ("paths of a training", ["train", "resnet8", "--paths", "fixed:4", "--out", "{new}"], 2, ["at most 3", "got 4"]),
    ("no such policy", ["train", "resnet8", "--paths", "dropp:1", "--out", "{new}"], 2, ["'dropp'", "drop"]),
    ("training study without out", ["study", "effective", "resnet8", "--blocks", "2"], 2, ["--out", "'effective'"]),
    ("training study of a run", ["study", "survival", "{run}", "--out", "{new}"], 2, ["run'", "variant"]),
    ("epochs of no training", ["study", "lesion", "{run}", "--epochs", "3"], 2, ["--epochs", "'lesion'"]),
    ("recipe of no training", ["study", "lesion", "{run}", "--recipe", "he15"], 2, ["--recipe", "'lesion'"]),
    (
        "survival of effective paths",
        ["study", "effective", "resnet8", "--blocks", "2", "--survival", "0.5", "--out", "{new}"],
        2,
        ["--survival", "'effective'"],
    ),
    (
        "examples of a training study",
        ["study", "survival", "resnet8", "--examples", "2", "--out", "{new}"],
        2,
        ["--examples", "'survival'"],
    ),
    ("format", ["export", "{run}", "--format", "gguf", "--out", "{new}"], 2, ["'gguf'", "saved_model"]),
    (
        "int8 without data",
        ["export", "{small}", "--format", "litert-int8", "--out", "{new}.tflite"],
        2,
        ["real inputs"],
    ),
    ("name of a file", ["export", "{small}", "--format", "litert", "--out", "{new}"], 2, [".tflite"]),
    (
        "raw pixels not known",
        ["export", "{small}", "--preprocessing", "--out", "{new}"],
        2,
        ["preprocessing", "'tiny'"],
    ),
    ("export of nothing", ["export", "{root}/no", "--out", "{new}"], 2, ["/no'", "give a .keras file"]),
    ("export below a file", ["export", "{small}", "--out", "{regular}/x"], 1, ["regular/x'", "written"]),
    ("demo below a file", ["demo", "--model", "resnet8", "--epochs", "1", "--out", "{regular}/x"], 1, ["regular/x'"]),
]


def _filled(arguments, place):
    return [argument.format(**{k: v for k, v in vars(place).items() if isinstance(v, Path)}) for argument in arguments]


@pytest.mark.parametrize(("arguments", "status", "parts"), [c[1:] for c in COMMANDS], ids=[c[0] for c in COMMANDS])
def test_wrong_command_gets_one_line_and_its_status(arguments, status, parts, place, capsys):
    assert cli.main(_filled(arguments, place)) == status
    said = capsys.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("keras-resnets: ")
    for part in parts:
        assert part in said.err
    assert "Traceback" not in said.err + said.out
    assert not place.new.exists(), "a wrong command left something behind"


def test_debug_shows_where_it_went_wrong(tmp_path):
    with pytest.raises(ArgumentError):
        cli.main(["--debug", "models", "resnet21"])


@pytest.mark.parametrize(
    ("arguments", "status", "lines"),
    [
        (["models", "resnet20"], 0, 0),
        (["models", "resnet21"], 2, 1),
        (["train", "resnet8", "--out", "{held}"], 1, 1),
    ],
    ids=["done", "wrong usage", "failed"],
)
def test_command_as_a_process(arguments, status, lines, place):
    ran = subprocess.run(
        [sys.executable, "-m", "keras_resnets", *_filled(arguments, place)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=PACKAGE,
        check=False,
    )
    assert ran.returncode == status, ran.stderr
    assert ran.stderr.count("\n") == lines, ran.stderr
    assert "Traceback" not in ran.stderr


HELP = """
import sys
from keras_resnets.commands.cli import main
status = main(sys.argv[1:])
loaded = {"keras", "tensorflow", "sklearn", "pandas"} & set(sys.modules)
sys.exit(f"status {status}, imported {loaded}" if status or loaded else 0)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["study", "-h"], ["models", "resnet20"]], ids=" ".join
)
def test_help_does_not_wait_for_keras(arguments):
    ran = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, cwd=PACKAGE, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "resnet" in ran.stdout
