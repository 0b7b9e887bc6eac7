"""The same training on every backend: the weights after some steps are those that TensorFlow computed."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.notices import told
from safetensors.numpy import load_file, save_file

import keras_resnets as kr
from keras_resnets.network.saving import copy_weights
from keras_resnets.runs import write_json

# Written on TensorFlow by `python tests/test_training_backends.py`.
GOLDEN = Path(__file__).parent / "golden" / "steps.safetensors"
SPEC = kr.Spec("tiny", (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)


def _start(model):
    """Gives a network weights that NumPy draws, as He et al. 2015 initialise it; backends draw others of a seed."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name == "kernel":
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape))
    return model


def _trained(folder, steps, **fields):
    """The weights after a training of one epoch of so many steps: shuffled, augmented, with momentum and decay."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 17, (200, 8, 8, 1)).astype("uint8"), rng.integers(0, 10, 200)
    data = kr.data.load(tuple((x[part], y[part]) for part in (slice(32 * steps), slice(100, 150), slice(150, 200))))
    _start(kr.build(SPEC)).save(folder / "start.keras")
    recipe = kr.recipes.get("digits").replace(weight_decay=1e-3, warmup_iterations=0, learning_rate=0.05, **fields)
    how = {"weights": folder / "start.keras", "epochs": 1, "seed": 3, "verbose": 0, "new_head": False}
    model = kr.train(SPEC, data, recipe, out=folder / "run", **how)
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


CASES = {"one step": {"steps": 1}, "three steps": {"steps": 3, "nesterov": True, "label_smoothing": 0.1}}


@pytest.mark.backends
@pytest.mark.parametrize("case", [pytest.param("one step", marks=pytest.mark.thorough), "three steps"])
def test_steps_are_those_of_tensorflow(case, tmp_path):
    known = load_file(GOLDEN)
    start = {variable.path: keras.ops.convert_to_numpy(variable) for variable in _start(kr.build(SPEC)).weights}
    for path, value in _trained(tmp_path, **CASES[case]).items():
        then = known[f"{case} {path}"]
        np.testing.assert_allclose(value, then, rtol=0, atol=1e-5 * max(1, np.abs(then).max()), err_msg=path)
        assert np.abs(then - start[path]).max() > 1e-4, path


@pytest.mark.backends
def test_a_run_that_goes_on_on_another_backend_says_so(tmp_path):
    data = kr.data.load("digits", validation=0.6, batch_size=280)
    recipe = kr.recipes.get("digits").replace(batch_size=280)
    how = {"data": data, "recipe": recipe, "out": tmp_path, "epochs": 2, "verbose": 0}
    kr.train(SPEC.replace(dropout=0.2), until=1, **how)
    record = json.loads((tmp_path / "run.json").read_text())
    write_json(tmp_path / "run.json", record | {"backend": "another"}, sealed=True)
    with told(f"begun with Keras on another, and goes on on {keras.config.backend()}"):
        kr.train(SPEC.replace(dropout=0.2), **how)


def _write(folder):
    """Writes what the tests compare with."""
    written = {}
    for case, fields in CASES.items():
        (folder / case).mkdir()
        written |= {f"{case} {path}": value for path, value in _trained(folder / case, **fields).items()}
    save_file(written, GOLDEN)


@pytest.mark.backends
def test_weights_that_are_copied_have_memory_of_their_own(tiny, images):
    """JAX gives up the arrays of a network that is trained, and another that shared them would lose them."""
    source, target = kr.build(tiny), kr.build(tiny)
    expected = np.asarray(source.predict_on_batch(images[0]))
    copy_weights(source, target, "source")
    target.compile(kr.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    target.train_on_batch(*images)
    np.testing.assert_array_equal(source.predict_on_batch(images[0]), expected)


if __name__ == "__main__":
    import tempfile

    assert keras.config.backend() == "tensorflow"
    _write(Path(tempfile.mkdtemp()))
