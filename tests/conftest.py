"""A network of three blocks, data it can be measured on, and a seed."""

import dataclasses
import importlib.util
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fuzz_weight_files as fuzzer
import hypothesis
import keras
import numpy as np
import pytest
from helpers import mask_files
from helpers import weight_references as reference

import keras_resnets as kr

pytest_plugins = ["helpers.comparisons", "helpers.searches", "helpers.wrong_calls"]  # for their fixtures

# Few examples, the same each time; `--hypothesis-profile=soak` looks for others.
OF_TESTS = {"deadline": None, "database": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("tests", max_examples=4, derandomize=True, **OF_TESTS)
hypothesis.settings.register_profile("soak", max_examples=1000, report_multiple_bugs=True, print_blob=True, **OF_TESTS)
hypothesis.settings.load_profile("tests")


def pytest_ignore_collect(collection_path):
    """Where TensorFlow is not installed, files without a test that can run are not read; many import it."""
    if collection_path.suffix != ".py" or importlib.util.find_spec("tensorflow"):
        return None
    return not re.search(r"pytest\.mark\.(backends|torch)\b", collection_path.read_text()) or None


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def tiny():
    """The spec of a post-activation network of three basic blocks, one of them strided."""
    return kr.Spec("tiny", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 5, stem_width=4)


@pytest.fixture
def images():
    """Inputs and labels that fit `tiny`."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 8, 8, 1)).astype("float32"), rng.integers(0, 5, 12)


@pytest.fixture(scope="session")
def scramble():
    """A function that gives every weight, moving statistics too, a value that a trained network could have."""

    def apply(model, seed=0):
        rng = np.random.default_rng(seed)
        for variable in model.weights:
            if variable.path.endswith(("gamma", "moving_variance")):
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
            elif variable.path.endswith(("beta", "moving_mean", "bias")):
                variable.assign(rng.normal(0, 0.3, variable.shape))
        return model

    return apply


@pytest.fixture(scope="session")
def digits():
    """A few hundred of the digits, so that an epoch takes no time."""
    data = kr.data.load("digits", batch_size=32, validation=0.3, augmentation=None)
    most = {"train": 256, "validation": 64, "test": 64}
    splits = {
        name: kr.data.sources.Arrays(split.images[: most[name]], split.labels[: most[name]])
        for name, split in data._splits.items()
    }
    return dataclasses.replace(data, _splits=splits)


@pytest.fixture(scope="session")
def few():
    """A third of the digits to train on: 9 steps an epoch."""
    return kr.data.load("digits", validation=0.6, batch_size=64)


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes."""

    def opened(content, name="weights.bin"):
        (tmp_path / name).write_bytes(content)
        return kr.weights.open_archive(tmp_path / name)

    return opened


@pytest.fixture
def said(tmp_path):
    """The sentence that refuses a file of these bytes, or one of its arrays."""

    def said(content):
        (tmp_path / "weights.bin").write_bytes(content)
        sentence = fuzzer.read_all(tmp_path / "weights.bin")
        assert sentence is not None
        assert sentence.startswith(f"'{tmp_path}/weights.bin' ")
        assert sentence.endswith(".")
        return sentence

    return said


@pytest.fixture
def folder(tmp_path):
    """A folder of images and masks with a split for training and one for tests."""
    mask_files.fill(tmp_path / "train", range(10, 130, 10))
    mask_files.fill(tmp_path / "test", range(201, 205), palette=False)
    (tmp_path / "classes.txt").write_text("sky\nsea\n\nsand\n")
    return tmp_path


@pytest.fixture(scope="session")
def wu38():
    """Arrays of a file of Wu et al. 2016's model A."""
    return reference.classifier(reference.draw_wu("mxnet", reference.WU_A))
