"""Public weights are fetched from a server on this machine, and from a folder laid out as the hub's client does."""

import configparser
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import keras
import numpy as np
import pytest
from helpers import file_server, notices
from helpers import weight_references as reference
from safetensors.numpy import save

import keras_resnets as kr
from keras_resnets.architecture.preprocessing import Resizing
from keras_resnets.commands.cli import main
from keras_resnets.errors import ArgumentError
from keras_resnets.weights import fetching, public

NAME = "akamaster/resnet8"
ARRAYS = reference.draw_akamaster(1, 16, 10)
CONTENT = save(ARRAYS)
EXAMPLE = public.find("akamaster/resnet20")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for fetched files, and no other cache of this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(fetching.VARIABLE, str(tmp_path / "fetched"))
    for name in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetching, "TIMEOUT", 0.3)
    return tmp_path / "fetched"


@pytest.fixture(scope="module")
def server():
    with file_server.serving(CONTENT, pause=0.8) as found:
        yield found


@pytest.fixture
def listed(monkeypatch):
    """Puts one set in the place of the table: a small network of CIFAR's classes at some address."""

    def listed(address, **changes):
        known = dataclasses.replace(
            EXAMPLE,
            name=NAME,
            variant="resnet8",
            address=address,
            file="resnet8.th",
            sha256=hashlib.sha256(CONTENT).hexdigest()[:8],
            **changes,
        )
        for module in (public, fetching):
            monkeypatch.setattr(module, "table", lambda: (known,))
        return known

    return listed


def _expected(x):
    return keras.ops.convert_to_numpy(keras.ops.softmax(reference.akamaster(ARRAYS, x)))


def test_a_set_is_fetched_once_and_fills_its_network(folder, server, listed):
    address, asked = server
    listed(f"{address}/right/once.th")
    x = reference.images(2, 3, 32, 32)
    for weights in ("cifar10", NAME):
        model = kr.build("resnet8", weights=weights)
        reference.close(reference.scores(model, x), _expected(x))
        assert model.class_names[:2] == ("airplane", "automobile")
        assert model.preprocessing.std[0] == pytest.approx(58.395)
    assert asked.count("/right/once.th") == 1
    assert [file.name for file in folder.iterdir()] == ["resnet8.th"]
    assert kr.weights.network(NAME).name == "resnet8"
    assert "resnet8.th: akamaster" in str(kr.weights.plan(model, NAME))


def test_a_file_is_known_by_its_checksum_wherever_it_lies(folder, listed, tmp_path):
    listed("http://127.0.0.1:9/none")
    (tmp_path / "resnet8.th").write_bytes(CONTENT)
    assert kr.weights.network(tmp_path / "resnet8.th").class_names[0] == "airplane"
    (tmp_path / "mine.th").write_bytes(CONTENT)
    assert kr.weights.network(tmp_path / "mine.th").class_names is None


REASONS = {
    "wrong": ["sent has", "SHA-256", "not that of the file"],
    "cut": ["was cut short"],
    "missing": ["answers 404 Not Found"],
    "slow": ["does not answer within 0.3 seconds"],
    "silent": ["does not answer within 0.3 seconds"],
}


@pytest.mark.parametrize("how", [*REASONS, "gone"])
def test_what_cannot_be_fetched_is_told_in_one_sentence_and_leaves_nothing(how, folder, server, listed, capsys):
    address = "http://127.0.0.1:9" if how == "gone" else server[0]
    listed(f"{address}/{how}/net.th")
    with pytest.raises(OSError, match="cannot be fetched") as caught:
        kr.build("resnet8", weights="cifar10")
    text = str(caught.value)
    for part in [f"'{NAME}'", *REASONS.get(how, ["127.0.0.1:9 cannot be reached"])]:
        assert part in text
    assert f"put the file resnet8.th from {address}/{how}/net.th into '{folder}'; make that folder if it" in text
    assert "\n" not in text
    assert len(text) < 600
    assert not folder.exists()
    # The remedy that it names.
    folder.mkdir()
    (folder / "resnet8.th").write_bytes(CONTENT)
    assert kr.build("resnet8", weights="cifar10").class_names


def test_a_file_with_another_checksum_is_fetched_anew_and_told_where_that_fails(folder, server, listed):
    folder.mkdir()
    (folder / "resnet8.th").write_bytes(CONTENT[:-1])
    listed(f"{server[0]}/missing/net.th")
    with pytest.raises(OSError, match="one with another checksum is there"):
        kr.build("resnet8", weights=NAME)
    assert (folder / "resnet8.th").read_bytes() == CONTENT[:-1]
    listed(f"{server[0]}/right/net.th")
    assert kr.build("resnet8", weights=NAME).class_names
    assert (folder / "resnet8.th").read_bytes() == CONTENT


def test_files_that_torch_and_keras_have_fetched_are_used(folder, listed, tmp_path, monkeypatch):
    known = listed("http://127.0.0.1:9/net.th")
    torch = tmp_path / "cache" / "torch" / "hub" / "checkpoints"
    torch.mkdir(parents=True)
    (torch / "resnet8.th").write_bytes(CONTENT)
    assert fetching.fetch(known)[0] == torch / "resnet8.th"
    of_keras = dataclasses.replace(known, name="keras/resnet8")
    assert fetching.folders(of_keras) == [folder, tmp_path / "keras" / "models"]
    monkeypatch.delenv(fetching.VARIABLE)
    assert fetching.folders(of_keras)[0] == tmp_path / "keras" / "models"
    assert fetching.folders(known)[0] == tmp_path / "cache" / "keras_resnets"


def test_a_set_that_is_no_longer_served_says_so(folder):
    with pytest.raises(
        OSError, match=r"no longer serves it\. Put the file ilsvrc-cls_rna-a_cls1000_ep-0001.params into"
    ):
        kr.ResNet38(weights="imagenet")


def test_commands_take_the_name_and_prepare_images_as_the_weights_need_them(
    folder, server, listed, tmp_path, capsys, monkeypatch
):
    listed(f"{server[0]}/right/net.th")
    out, images, seen = tmp_path / "net.keras", tmp_path / "images", []
    assert main(["convert", NAME, "--out", str(out)]) == 0
    assert "resnet8.th: akamaster" in capsys.readouterr().out
    model = kr.load_model(out)
    assert model.class_names[-1] == "truck"
    # Each of one colour, so that nothing that resizes can change it.
    colours = np.random.default_rng(0).integers(0, 256, (3 * len(model.class_names), 1, 1, 3), "uint8")
    pixels = np.tile(colours, (1, 32, 32, 1))
    for number, picture in enumerate(pixels):
        place = images / ("train", "test", "train")[number % 3] / model.class_names[number // 3] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(place, picture, scale=False)

    def lesion(network, data, **_):
        batches = data.test if hasattr(data, "test") else data
        seen.append(np.concatenate([np.asarray(x) for x, _ in batches]))
        raise ArgumentError("Seen.")

    monkeypatch.setattr(kr.studies, "lesion", lesion)
    for source in (NAME, str(out)):
        command = ["study", "lesion", source, "--data", str(images), "--image-size", "32"]
        assert main([*command, "--out", str(tmp_path / "study")]) == 2
        assert capsys.readouterr().err.endswith("keras-resnets: Seen.\n")
    expected = model.preprocessing(pixels[1::3])
    for found in seen:
        # In whatever order.
        np.testing.assert_allclose(np.sort(found[:, 0, 0, 0]), np.sort(expected[:, 0, 0, 0]), rtol=1e-5)


def test_nothing_is_fetched_at_import_or_for_help(folder):
    script = (
        "import socket, sys\n"
        "def none(*_, **__): raise OSError('a connection')\n"
        "socket.socket.connect = socket.getaddrinfo = none\n"
        "import keras_resnets as kr\n"
        "kr.weights.available('resnet18')\n"
        "from keras_resnets.commands.cli import main\n"
        "assert main(['weights', 'resnet18']) == 0\n"
        "assert not {'keras', 'tensorflow', 'pooch', 'requests', 'huggingface_hub'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL, env={**os.environ})


# The hub.


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """Lays files out as the hub's client keeps those of a repository."""
    pytest.importorskip("huggingface_hub")
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def lay(repository, files):
        root = cache / f"models--{repository.replace('/', '--')}"
        snapshot = root / "snapshots" / ("a" * 40)
        for part in (root / "refs", root / "blobs", snapshot):
            part.mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text("a" * 40)
        for name, content in files.items():
            blob = root / "blobs" / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (snapshot / name).symlink_to(blob)
        return root

    return lay


def test_a_listed_repository_brings_its_facts(hub):
    known = public.find("hf:timm/resnet18.a3_in1k")
    hub("timm/resnet18.a3_in1k", {"model.safetensors": b"content"})
    file, same = fetching.fetch(known)
    assert file.read_bytes() == b"content"
    assert same is known
    assert known.preprocessing.resizing == Resizing(0.95, "bicubic")
    assert fetching.is_here(known)


def test_a_repository_says_itself_how_images_are_prepared(hub):
    config = {
        "label_names": [f"kind {n}" for n in range(10)],
        "pretrained_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "crop_pct": 0.9,
            "interpolation": "bicubic",
            "input_size": [3, 24, 24],
        },
    }
    hub("me/mine", {"model.safetensors": CONTENT, "config.json": json.dumps(config).encode()})
    model = kr.weights.network("hf:me/mine")
    assert model.input_shape == (None, 24, 24, 3)
    assert model.preprocessing.mean == (127.5,) * 3
    assert model.preprocessing.std == (63.75,) * 3
    assert (model.preprocessing.resizing.crop, model.preprocessing.resizing.interpolation) == (0.9, "bicubic")
    assert model.class_names == tuple(config["label_names"])
    images = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": 32, "crop_pct": 0.875, "resample": 3}
    labels = {str(n): f"kind {n}" for n in range(10)}
    hub(
        "me/other",
        {
            "model.safetensors": CONTENT,
            "config.json": json.dumps({"id2label": labels}).encode(),
            "preprocessor_config.json": json.dumps(images).encode(),
        },
    )
    other = kr.weights.network("hf:me/other")
    assert other.class_names == tuple(config["label_names"])
    assert other.preprocessing.resizing.crop == 0.875
    assert other.preprocessing.mean == (127.5,) * 3


def test_a_repository_that_says_nothing_is_told(hub):
    hub("me/silent", {"model.safetensors": CONTENT})
    with notices.told("'hf:me/silent' does not say how images are prepared"):
        model = kr.weights.network("hf:me/silent")
    assert model.class_names is None
    assert model.preprocessing.std[0] == pytest.approx(58.395)


def test_a_damaged_file_of_the_hub_is_refused(hub):
    root = hub("me/damaged", {"model.safetensors": CONTENT})
    next((root / "blobs").iterdir()).write_bytes(CONTENT[:-4] + b"aaaa")
    with pytest.raises(OSError, match=r"'hf:me/damaged' are damaged.*SHA-256 that the hub states\. Remove"):
        kr.weights.network("hf:me/damaged")


def test_a_repository_that_is_not_here_says_which_file_to_put_where(hub, folder):
    with pytest.raises(OSError, match=r"huggingface\.co cannot be reached") as caught:
        kr.weights.network("hf:microsoft/resnet-18")
    stored = "microsoft--resnet-18.safetensors"
    assert (
        f"put the file model.safetensors from https://huggingface.co/microsoft/resnet-18 into '{folder}' as {stored}; "
        "make that folder if it is not there." in str(caught.value)
    )
    folder.mkdir()
    (folder / stored).write_bytes(b"x")
    assert fetching.fetch(public.find("hf:microsoft/resnet-18"))[0] == folder / stored
    with pytest.raises(ArgumentError, match="is no name of a repository"):
        kr.weights.network("hf:a b/c")


def test_without_the_hubs_client_the_sentence_names_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ArgumentError, match=r"pip install 'keras_resnets\[hf\]'"):
        kr.weights.network("hf:timm/resnet18.a1_in1k")


def test_own_networks_come_with_every_installation(monkeypatch, tmp_path, folder):
    setup = configparser.ConfigParser()
    setup.read(Path(kr.__file__).parents[1] / "setup.cfg")
    shipped = dict(setup["options.data_files"].items())
    own = [known for known in public.table() if known.is_own]
    assert {f"share/keras_resnets/saved_models/{known.file.partition('/')[0]}": known.file for known in own} == {
        place: file.removeprefix("saved_models/") for place, file in shipped.items()
    }

    # As pip installs it: the files stand in the list of the distribution, and not beside the package.
    known = next(known for known in own if known.variant == "resnet20")
    checkout = Path(kr.__file__).parents[1] / "saved_models" / known.file
    installed = tmp_path / "share" / "saved_models" / known.file
    installed.parent.mkdir(parents=True)
    installed.write_bytes(checkout.read_bytes())

    class Listed(PurePosixPath):
        def locate(self):
            return installed

    monkeypatch.setattr(fetching.importlib.metadata, "files", lambda name: [Listed("..", "saved_models", known.file)])
    monkeypatch.setattr(fetching, "__file__", str(tmp_path / "site-packages" / "keras_resnets" / "weights" / "x.py"))
    fetching._shipped.cache_clear()
    try:
        assert fetching.fetch(known)[0] == installed
        assert kr.weights.network(known.name).class_names == kr.weights.classes.names("cifar10")

        # A file that was damaged is not used.
        installed.write_bytes(checkout.read_bytes()[:-1])
        with pytest.raises(OSError, match=r"this installation came without it, or with another one\. Put the file"):
            kr.build("resnet20", weights=known.name)
    finally:
        fetching._shipped.cache_clear()
