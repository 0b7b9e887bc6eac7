"""The table of public weights, checked against the libraries that publish them, and the calls that take their names."""

import importlib.resources
import inspect
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.architecture import counting, variants
from keras_resnets.commands.cli import main
from keras_resnets.errors import ArgumentError
from keras_resnets.weights import fetching, public

SHARED = Path(kr.__file__).parents[2] / "shared" / "data"
TABLE = public.table()
BY_NAME = {known.name: known for known in TABLE}


# In processes of their own: torch and TensorFlow do not get along in one.
TORCHVISION = """
import json, torchvision.models as models
names = ["ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152", "Wide_ResNet50_2", "Wide_ResNet101_2"]
def facts(weights):
    preset, meta = weights.transforms(), weights.meta
    accuracy = meta["_metrics"]["ImageNet-1K"]
    return {
        "address": weights.url, "top1": accuracy["acc@1"], "top5": accuracy["acc@5"], "megabytes": meta["_file_size"],
        "classes": meta["categories"], "parameters": meta["num_params"], "size": preset.crop_size[0],
        "resized": preset.resize_size[0], "interpolation": preset.interpolation.value,
        "mean": preset.mean, "std": preset.std,
    }
print(json.dumps([facts(weights) for name in names for weights in getattr(models, name + "_Weights")]))
"""
TIMM = """
import json, timm
from timm.models._registry import _model_pretrained_cfgs as configs
names = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2"]
print(json.dumps({
    name: {
        "size": c.input_size[1], "crop": c.crop_pct, "interpolation": c.interpolation, "mean": c.mean, "std": c.std,
        "licence": c.license or "",
    }
    for name, c in configs.items()
    if "." in name and name.split(".")[0] in names and c.has_weights and c.num_classes == 1000
}))
"""


def _facts(script):
    """What a library says that need not be installed."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_row_is_whole():
    assert len(BY_NAME) == len(TABLE) > 90
    for known in TABLE:
        functions = hasattr(kr, known.variant) and known.variant.startswith("ResNet")
        assert functions or variants.spec(known.variant).name == known.variant, known
        assert known.size in ((32,) if known.data.startswith("cifar") else (160, 176, 224)), known
        assert known.on_hub or len(known.sha256) in (8, 64) or len(known.md5) == 32, known
        assert set(known.sha256 + known.md5) <= set("0123456789abcdef")
        assert known.address.startswith("https://") or known.name.startswith(("ademxapp/", "keras_resnets/"))
        assert (known.address.endswith(f"/{known.file}") or known.on_hub) or not known.address
        assert (known.top1 is None) == (known.measured == "") == (known.source == ""), known
        # The beginning of a checksum in a file's name is the publisher's.
        if known.name.startswith(("torchvision/", "akamaster/", "chenyaofo/")):
            assert Path(known.file).stem.endswith(f"-{known.sha256[:8]}")
        # A number stands for 4 bytes, but in two files for 2.
        if (
            known.megabytes
            and not known.is_own
            and not known.variant.endswith("V2")
            and known.variant in variants.list_models()
        ):
            numbers = counting.count(variants.spec(known.variant)).parameters
            halved = known.name.endswith(("wide_resnet50_2-95faca4d", "wide_resnet101_2-32ee1156"))
            assert known.megabytes * 2**20 == pytest.approx(numbers * (2 if halved else 4), rel=0.02, abs=5e5), known


def test_the_table_has_what_torchvision_says():
    found = set()
    for facts in _facts(TORCHVISION):
        known = next(known for known in TABLE if known.address == facts["address"])
        found.add(known.name)
        for field in ("top1", "top5", "megabytes", "size"):
            assert getattr(known, field) == facts[field], (known.name, field)
        assert known.class_names == tuple(facts["classes"])
        assert counting.count(variants.spec(known.variant)).parameters == facts["parameters"]
        resizing = known.preprocessing.resizing
        assert resizing.scaled((500, 500), (known.size,) * 2) == (facts["resized"],) * 2
        assert resizing.interpolation == facts["interpolation"]
        np.testing.assert_allclose(known.preprocessing.mean, 255 * np.array(facts["mean"]))
        np.testing.assert_allclose(known.preprocessing.std, 255 * np.array(facts["std"]))
    assert found == {known.name for known in TABLE if known.name.startswith("torchvision/")}


def test_the_table_has_what_timm_says():
    configs = _facts(TIMM)
    assert {f"hf:timm/{name}" for name in configs} == {name for name in BY_NAME if name.startswith("hf:timm/")}
    for name, facts in configs.items():
        known = BY_NAME[f"hf:timm/{name}"]
        resizing = known.preprocessing.resizing
        ours = (known.size, resizing.crop, resizing.interpolation, known.licence.lower())
        assert ours == (facts["size"], facts["crop"], facts["interpolation"], facts["licence"]), name
        np.testing.assert_allclose(known.preprocessing.mean, 255 * np.array(facts["mean"]))
        np.testing.assert_allclose(known.preprocessing.std, 255 * np.array(facts["std"]))


def test_the_table_has_what_keras_says():
    module = sys.modules[keras.applications.ResNet50.__module__]
    for known in (known for known in TABLE if known.name.startswith("keras/")):
        name = known.name.removeprefix("keras/").removesuffix("_notop")
        assert known.md5 == module.WEIGHTS_HASHES[name][0 if known.has_classifier else 1]
        assert known.address == module.BASE_WEIGHTS_PATH + known.file
        assert known.file == f"{name}_weights_tf_dim_ordering_tf_kernels{'' if known.has_classifier else '_notop'}.h5"
        other = keras.applications.resnet_v2 if name.endswith("v2") else keras.applications.resnet
        pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3)).astype("float32")
        expected = other.preprocess_input(pixels.copy(), data_format="channels_last")
        np.testing.assert_allclose(kr.preprocess_input(pixels, known.name), expected, atol=1e-5)


def test_names_of_classes_are_those_of_the_data_sets():
    files = importlib.resources.files("tensorflow_datasets")
    codes = files.joinpath("datasets/imagenet2012/labels.txt").read_text().split()
    decoded = kr.decode_predictions(np.eye(1000), top=1)
    assert [row[0][0] for row in decoded] == codes
    assert [row[0][1] for row in decoded] == list(BY_NAME["keras/resnet50"].class_names)
    for data, count in (("imagenet", 1000), ("cifar10", 10), ("cifar100", 100)):
        assert len(set(kr.weights.classes.names(data))) == count
    assert list(kr.weights.classes.names("cifar100")) == sorted(kr.weights.classes.names("cifar100"))
    labels = SHARED / "tfds" / "cifar10" / "3.0.2" / "label.labels.txt"
    if not labels.exists():
        pytest.skip("CIFAR-10 is not on this machine")
    assert list(kr.weights.classes.names("cifar10")) == labels.read_text().split()


def test_predictions_are_decoded_as_keras_does(monkeypatch):
    scores = np.random.default_rng(0).dirichlet(np.ones(1000), 3).astype("float32")
    codes = kr.decode_predictions(np.eye(1000), top=1)
    utilities = sys.modules[keras.applications.imagenet_utils.decode_predictions.__module__]
    monkeypatch.setattr(utilities, "CLASS_INDEX", {str(n): row[0][:2] for n, row in enumerate(codes)})
    assert kr.decode_predictions(scores, top=7) == utilities.decode_predictions(scores, top=7)
    model = kr.build("resnet8", (8, 8, 3), 3)
    model.class_names = ("cat", "dog", "cow")
    rows = kr.decode_predictions(keras.ops.convert_to_tensor([[0.25, 0.5, 0.25]]), classes=model)
    assert rows == [[(1, "dog", 0.5), (0, "cat", 0.25), (2, "cow", 0.25)]]


@pytest.fixture
def asked(monkeypatch):
    """The sets that are fetched, in place of the fetching."""
    names = []

    def fetch(known):
        names.append(known.name)
        raise OSError("Asked.")

    monkeypatch.setattr(fetching, "fetch", fetch)
    return names


CALLS = {
    "keras/resnet50": lambda: kr.ResNet50(),
    "keras/resnet101_notop": lambda: kr.ResNet101(include_top=False, classes=7),
    "keras/resnet152v2_notop": lambda: kr.ResNet152V2(include_top=False, pooling="avg"),
    "keras/resnet50v2": lambda: kr.ResNet50V2(),
    "torchvision/resnet18-f37072fd": lambda: kr.build("resnet18", weights="imagenet"),
    "torchvision/resnet50-0676ba61": lambda: kr.ResNet50V15(),
    "torchvision/wide_resnet101_2-32ee1156": lambda: kr.WRN101_2(),
    "torchvision/resnet50-11ad3fa6": lambda: kr.ResNet50V15(weights="torchvision/resnet50-11ad3fa6"),
    "akamaster/resnet1202": lambda: kr.build("resnet1202", weights="cifar10"),
    "chenyaofo/cifar100_resnet20": lambda: kr.build("resnet20", weights="cifar100"),
    "keras_resnets/cifar10_preresnet110": lambda: kr.build("preresnet110", weights="cifar10"),
    "keras_resnets/cifar10_resnet20": lambda: kr.weights.network("keras_resnets/cifar10_resnet20"),
    "hf:timm/resnet50.a1_in1k": lambda: kr.weights.network("hf:timm/resnet50.a1_in1k"),
    "hf:me/mine@v1": lambda: kr.weights.network("hf:me/mine@v1"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_name_means_a_set(name, asked):
    with pytest.raises(OSError, match="Asked"):
        CALLS[name]()
    assert asked == [name]


def test_functions_default_to_public_weights_where_there_are_any():
    defaults = {
        name: inspect.signature(vars(kr.applications)[name]).parameters["weights"].default for name in FUNCTIONS
    }
    assert defaults == FUNCTIONS


FUNCTIONS = dict.fromkeys(["ResNet50", "ResNet152", "ResNet18", "ResNet101V15", "WRN50_2", "ResNet50V2"], "imagenet")
FUNCTIONS |= dict.fromkeys(["ResNet38", "ResNet200V2", "Plain18", "WRN18W2", "Wu16"])


WRONG = [
    (
        "classes",
        lambda p: kr.ResNet50(classes=10),
        ArgumentError,
        ["classes must be 1000", "got 10", "include_top=False"],
    ),
    (
        "classes of V2",
        lambda p: kr.ResNet50V2(classes=10),
        ArgumentError,
        ["classes must be 1000", "got 10", "weights=None"],
    ),
    (
        "classes of a spec",
        lambda p: kr.build(variants.spec("resnet18", classes=7), weights="imagenet"),
        ArgumentError,
        ["classes must be 1000", "'torchvision/resnet18-f37072fd'", "got 7"],
    ),
    (
        "channels",
        lambda p: kr.build("resnet18", (64, 64, 1), weights="imagenet"),
        ArgumentError,
        ["input_shape", "3 channels", "got 1"],
    ),
    (
        "another network",
        lambda p: kr.build("resnet20", weights="hf:timm/resnet50.a1_in1k"),
        ArgumentError,
        ["'hf:timm/resnet50.a1_in1k' is of 'resnet50_v15', not of 'resnet20'", "weights.network"],
    ),
    (
        "no such data",
        lambda p: kr.build("resnet18", weights="cifar10"),
        ArgumentError,
        ["'cifar10' of 'resnet18'", "there are 'imagenet'", "available()"],
    ),
    (
        "no such set",
        lambda p: kr.build("resnet50_v15", weights="torchvision/resnet50"),
        ArgumentError,
        ["'torchvision/resnet50'", "nearest", "torchvision/resnet50-"],
    ),
    (
        "no network",
        lambda p: kr.weights.network("imagenet"),
        ArgumentError,
        ["'imagenet' names no network", "full name"],
    ),
    (
        "none of a variant",
        lambda p: kr.weights.available("resnt18"),
        ArgumentError,
        ["'resnt18'", "nearest", "resnet18"],
    ),
    ("scores", lambda p: kr.decode_predictions(np.ones(3)), ArgumentError, ["predictions", "row of scores", "(3,)"]),
    ("other scores", lambda p: kr.decode_predictions(np.ones((1, 3))), ArgumentError, ["1,000", "got 3", "classes="]),
    ("top", lambda p: kr.decode_predictions(np.ones((1, 1000)), top=0), ArgumentError, ["top", "at least 1", "got 0"]),
    (
        "names",
        lambda p: kr.decode_predictions(np.ones((1, 5)), classes=p.tiny),
        ArgumentError,
        ["classes", "class_names"],
    ),
    (
        "classes named",
        lambda p: kr.decode_predictions(np.ones((1, 5)), classes="mnist"),
        ArgumentError,
        ["'cifar10'", "'mnist'"],
    ),
    (
        "preprocessing",
        lambda p: kr.preprocess_input(p.x, p.tiny),
        ArgumentError,
        ["network", "'tiny'", "Preprocessing"],
    ),
]


@wrong_calls.table(WRONG)
def test_wrong_call_gets_one_sentence(call, kind, parts, place, asked):
    wrong_calls.assert_refused(call, kind, parts, place)
    assert asked == []


def test_the_table_and_the_command_list_all(capsys):
    frame = kr.weights.available()
    assert list(frame["name"]) == list(BY_NAME)
    one = kr.weights.available("resnet56").set_index("name")
    assert list(one.index) == ["akamaster/resnet56", "chenyaofo/cifar10_resnet56", "chenyaofo/cifar100_resnet56"]
    assert one.loc["akamaster/resnet56", "top1"] == 93.39
    assert pd.isna(kr.weights.available("resnet50").set_index("name").loc["keras/resnet50_notop", "top1"])
    assert main(["weights", "resnet56"]) == 0
    said = capsys.readouterr().out
    assert "akamaster/resnet56" in said
    assert "93.39" in said
    assert "torchvision" not in said
    assert main(["weights", "resnet57"]) == 2
    assert "resnet56" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.parametrize("top", [True, False])
def test_the_weights_of_keras_compute_what_keras_computes(top, tmp_path, monkeypatch):
    size = {"input_shape": (64, 64, 3)}
    original = keras.applications.ResNet50(weights=None, include_top=top, **size)
    known = BY_NAME["keras/resnet50" if top else "keras/resnet50_notop"]
    original.save(tmp_path / known.file)  # in HDF5
    monkeypatch.setenv(fetching.VARIABLE, str(tmp_path))
    monkeypatch.setattr(fetching, "_agrees", lambda *_: True)
    ours = kr.ResNet50(include_top=top, **size)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(ours.predict(x, verbose=0), original.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    assert ours.preprocessing == known.preprocessing
    assert (ours.class_names or [None])[0] == ("tench" if top else None)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("depth", "accuracy"), [(20, 91.73), (32, 92.63), (44, 93.10), (56, 93.39)])
def test_the_published_accuracy_is_reached_on_all_of_cifar10(depth, accuracy, monkeypatch):
    if not (SHARED / "weights").is_dir() or not (SHARED / "tfds" / "cifar10").is_dir():
        pytest.skip("the weights or CIFAR-10 are not on this machine")
    monkeypatch.setenv(fetching.VARIABLE, str(SHARED / "weights"))
    model = kr.build(f"resnet{depth}", weights="cifar10")
    known = public.find(f"akamaster/resnet{depth}")
    assert known.top1 == accuracy
    data = kr.data.load("cifar10", data_dir=SHARED / "tfds", batch_size=500).prepared(model.preprocessing)
    assert data.class_names == model.class_names
    right = sum(int((model.predict_on_batch(x).argmax(-1) == np.asarray(y)).sum()) for x, y in data.test)
    assert right == round(100 * accuracy)
