"""What is committed in saved_models: each file opens, and is as accurate as its card says."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy.stats import binomtest

import keras_resnets as kr
from keras_resnets.weights import public

TFDS = Path(kr.__file__).parents[2] / "shared" / "data" / "tfds"
PLACE = Path(__file__).parents[1] / "saved_models"
NETWORKS = sorted(path.name for path in PLACE.iterdir() if path.is_dir())
CIFAR = [name for name in NETWORKS if name.startswith("cifar10_")]
# All 10,000 images of CIFAR-10 take a while.
EACH = ["digits_resnet20", *(pytest.param(name, marks=pytest.mark.thorough) for name in CIFAR)]


@functools.cache
def raw(name):
    """The test split's pixels as they are, and labels."""
    if name in CIFAR and not (TFDS / "cifar10").exists():
        pytest.skip("CIFAR-10 is not on this machine")
    data = kr.data.load(name.partition("_")[0], normalize=None, **({"data_dir": TFDS} if name in CIFAR else {}))
    images, labels = zip(*data.test.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def accuracy(answers, labels):
    return np.mean(np.asarray(answers).argmax(-1) == labels)


def card(name, file):
    return json.loads((PLACE / name / f"{file}.card.json").read_text())["accuracy"]


def litert(name, pixels):
    interpreter = Interpreter(str(PLACE / name / "int8.tflite"), num_threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = source["quantization"]
    answers = []
    for part in np.array_split(pixels, -(-len(pixels) // 500)):
        interpreter.resize_tensor_input(source["index"], part.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], np.clip(np.rint(part / scale) + zero, -128, 127).astype("int8"))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target["index"]))
    return np.concatenate(answers)


@pytest.mark.parametrize("name", EACH)
def test_keras(name):
    pixels, labels = raw(name)
    model = kr.load_model(PLACE / name / "model.keras")
    answers = model.predict(model.preprocessing(pixels), verbose=0)
    for file in PLACE.joinpath(name).glob("*.card.json"):
        stated = card(name, file.name.removesuffix(".card.json"))["before"]["value"]
        # Of near ties among 10,000 images, rounding on another processor may decide a few.
        assert accuracy(answers, labels) == pytest.approx(stated, abs=3e-4 if name in CIFAR else 1e-6)


def test_saved_model():
    pixels, labels = raw("digits_resnet20")
    loaded = tf.saved_model.load(str(PLACE / "digits_resnet20" / "saved_model"))
    answers = loaded.serve(tf.constant(pixels, tf.float32))
    stated = card("digits_resnet20", "saved_model")["after"]["value"]
    assert accuracy(answers, labels) == pytest.approx(stated, abs=1e-6)


@pytest.mark.parametrize("name", EACH)
def test_litert(name):
    pixels, labels = raw(name)
    # Rounding in the last bit differs from processor to processor: one image of 397.
    assert accuracy(litert(name, pixels), labels) == pytest.approx(
        card(name, "int8.tflite")["after"]["value"], abs=0.003
    )


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_by_name(name):
    pixels, labels = (part[:256] for part in raw(name))
    known = public.find(f"keras_resnets/{name}")
    assert (PLACE / name / "model.keras").stat().st_size == pytest.approx(known.megabytes * 2**20, rel=0.05)
    model = kr.weights.network(known.name)
    assert model.class_names == kr.weights.classes.names("cifar10")
    stated = known.top1 / 100
    assert stated == pytest.approx(card(name, "int8.tflite")["before"]["value"], abs=1e-4)
    for answers in (model.predict(model.preprocessing(pixels), verbose=0), litert(name, pixels)):
        right = round(accuracy(answers, labels) * len(labels))
        assert binomtest(right, len(labels), stated).pvalue > 1e-3


def test_they_are_small():
    sizes = {name: sum(file.stat().st_size for file in PLACE.joinpath(name).rglob("*")) for name in NETWORKS}
    assert sum(sizes[name] for name in CIFAR) < 15e6
    assert sum(sizes.values()) < 20e6
