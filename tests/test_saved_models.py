"""What is committed in saved_models: each file opens, and is as accurate as its card says."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_resnets as kr

PLACE = Path(__file__).parents[1] / "saved_models"
NETWORKS = sorted(path.name for path in PLACE.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def raw():
    """The test split's pixels as they are, and labels."""
    data = kr.data.load("digits", normalize=None)
    images, labels = zip(*data.test.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def accuracy(answers, labels):
    return np.mean(np.asarray(answers).argmax(-1) == labels)


def card(name, file):
    return json.loads((PLACE / name / f"{file}.card.json").read_text())["accuracy"]


@pytest.mark.parametrize("name", NETWORKS)
def test_keras(name, raw):
    model = kr.load_model(PLACE / name / "model.keras")
    answers = model.predict(model.preprocessing(raw[0]), verbose=0)
    for file in ("saved_model", "int8.tflite"):
        assert accuracy(answers, raw[1]) == pytest.approx(card(name, file)["before"]["value"], abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_model(name, raw):
    loaded = tf.saved_model.load(str(PLACE / name / "saved_model"))
    answers = loaded.serve(tf.constant(raw[0], tf.float32))
    assert accuracy(answers, raw[1]) == pytest.approx(card(name, "saved_model")["after"]["value"], abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_litert(name, raw):
    interpreter = Interpreter(str(PLACE / name / "int8.tflite"), num_threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], raw[0].shape)
    interpreter.allocate_tensors()
    scale, zero = source["quantization"]
    interpreter.set_tensor(source["index"], np.clip(np.rint(raw[0] / scale) + zero, -128, 127).astype("int8"))
    interpreter.invoke()
    answers = interpreter.get_tensor(target["index"])
    # Rounding in the last bit differs from processor to processor: one image of 397.
    assert accuracy(answers, raw[1]) == pytest.approx(card(name, "int8.tflite")["after"]["value"], abs=0.003)


def test_they_are_small():
    files = [file for file in PLACE.rglob("*") if file.is_file()]
    assert NETWORKS
    assert sum(file.stat().st_size for file in files) < 15e6
