"""How a training is executed: what it changes, what a run directory says of it, and what is refused."""

import json

import keras
import numpy as np
import pytest
from helpers.notices import told

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError
from keras_resnets.network.private import flattened
from keras_resnets.runs import write_json
from keras_resnets.training.devices import Team
from keras_resnets.training.execution import words
from keras_resnets.training.stopwatch import Stopwatch

pytestmark = pytest.mark.backends
SPEC = kr.Spec("tiny", (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)
# 9 steps an epoch, the last of 48 images.
DATA = {"validation": 0.6, "batch_size": 64}
AUTO = keras.config.backend() == "jax"


def train(out, epochs=2, until=None, callbacks=(), **execution):
    how = {"epochs": epochs, "until": until, "callbacks": callbacks, "paths": "fixed:1", "verbose": 0}
    return kr.train(SPEC, kr.data.load("digits", **DATA), "digits", out=out, execution=kr.Execution(**execution), **how)


def record(out):
    return json.loads((out / "run.json").read_text())


def equal(one, other):
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    out = tmp_path_factory.mktemp("plain")
    return out, train(out)


class Ends(keras.callbacks.Callback):
    """Notes the steps after which Keras looks up."""

    def __init__(self):
        super().__init__()
        self._ends = []

    def on_train_batch_end(self, batch, logs=None):
        self._ends.append((batch, int(self.model.optimizer.iterations) if keras.config.backend() != "jax" else None))


def test_several_steps_in_an_execution_are_the_same_steps(plain, tmp_path):
    """The last execution of an epoch has one step, and takes none of the next epoch's batches."""
    ends = Ends()
    model = train(tmp_path, callbacks=[ends], steps_per_execution=4)
    equal(plain[1], model)
    assert [end for end, _ in ends._ends] == [3, 7, 11] * 2
    if keras.config.backend() != "jax":
        assert [steps for _, steps in ends._ends] == [4, 8, 9, 13, 17, 18]
    assert (tmp_path / "history.csv").read_text() == (plain[0] / "history.csv").read_text()
    entry = {"backend": keras.config.backend(), "precision": "float32", "jit": AUTO, "devices": 1}
    assert record(tmp_path)["execution"] == [{"epoch": 1, **entry, "steps_per_execution": 4}]
    assert record(plain[0])["execution"] == [{"epoch": 1, **entry, "steps_per_execution": 1}]
    assert model.steps_per_execution == 1, "the network is opened as it was executed"


def test_a_stream_ends_its_epochs_only_where_an_execution_does():
    team = Team.of(kr.Execution(steps_per_execution=4))
    stream = object()
    assert team.trained(stream, (None, 8, 8, 1), 8)[0] == {"x": stream, "class_weight": None, "steps_per_epoch": 8}
    with pytest.raises(ArgumentError, match=r"must divide the 9 steps of an epoch.* got 4. Give one of 1, 3, 9"):
        team.trained(stream, (None, 8, 8, 1), 9)


def test_an_execution_that_changes_the_last_digits_is_told_and_recorded(plain, tmp_path, recwarn):
    train(tmp_path, until=1)
    # A run of an early version, which has no word of it, goes on without one.
    early = {name: value for name, value in record(tmp_path).items() if name != "execution"}
    write_json(tmp_path / "run.json", early, sealed=True)
    equal(train(tmp_path), plain[1])
    assert not [warning for warning in recwarn if "goes on after epoch" in str(warning.message)]


@pytest.mark.thorough
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="JAX takes minutes where it does not compile")
def test_compilation_is_told_where_it_changes(tmp_path, plain):
    train(tmp_path, until=1, jit=True)
    with told(r"goes on after epoch 1 with jit off, and was with jit on until then"):
        model = train(tmp_path, jit=False)
    assert [(entry["epoch"], entry["jit"]) for entry in record(tmp_path)["execution"]] == [(1, True), (2, False)]
    for a, b in zip(model.trainable_variables, plain[1].trainable_variables, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.thorough)])
def test_a_run_in_16_bits_resumes_to_the_bit_and_in_its_precision_alone(tmp_path, precision):
    whole = train(tmp_path / "whole", precision=precision)
    train(tmp_path / "stopped", until=1, precision=precision)
    for other in ("float32", None):
        with pytest.raises(ArgumentError, match=rf"precision must be '{precision}', in which .* got 'float32'"):
            train(tmp_path / "stopped", precision=other)
    model = train(tmp_path / "stopped", precision=precision)
    equal(whole, model)
    assert keras.config.dtype_policy().name == "float32"
    assert {block.compute_dtype for block in model.blocks} == {precision.removeprefix("mixed_")}
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}
    assert (type(model.optimizer).__name__ == "LossScaleOptimizer") == (precision == "mixed_float16")
    assert record(tmp_path / "whole")["asked"]["dtype"] == precision
    scores = model.evaluate(kr.data.load("digits", **DATA).test, verbose=0, return_dict=True)
    assert scores["accuracy"] == pytest.approx(record(tmp_path / "whole")["results"]["test_accuracy"], abs=0.01)


def test_fine_tuning_in_another_precision(plain, tmp_path):
    data, how = kr.data.load("digits", **DATA), {"epochs": 1, "verbose": 0}
    tuned = kr.fine_tune(plain[1], data, out=tmp_path, execution=kr.Execution("mixed_bfloat16"), **how)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        built = kr.build(SPEC)
    finally:
        keras.config.set_dtype_policy("float32")
    policies = [
        [
            layer.dtype_policy.name
            for layer in flattened(model)
            if (layer.variables and not isinstance(layer, keras.Model)) or layer.name == "predictions"
        ]
        for model in (built, tuned)
    ]
    assert policies[0] == policies[1]
    assert set(policies[0]) == {"float32", "mixed_bfloat16"}, "the softmax is not in 32 bits"
    assert record(tmp_path)["asked"]["dtype"] == record(tmp_path)["execution"][0]["precision"] == "mixed_bfloat16"
    with pytest.raises(ArgumentError, match="dtype"):
        kr.fine_tune(plain[1], data, out=tmp_path, **how)


def test_the_command_takes_them(tmp_path):
    (tmp_path / "spec.json").write_text(SPEC.to_json())
    spec, out = str(tmp_path / "spec.json"), str(tmp_path / "a")
    command = ["train", spec, "--epochs", "1", "--batch-size", "300", "--out", out]
    jit, compiled = ("--jit", ", compiled by XLA") if AUTO else ("--no-jit", "")
    how = ["--precision", "mixed_bfloat16", jit, "--steps-per-execution", "3", "--devices", "1"]
    assert cli.main([*command, *how]) == 0
    (entry,) = record(tmp_path / "a")["execution"]
    assert words([entry]) == f"{keras.config.backend()}, mixed_bfloat16{compiled}, 3 steps per execution"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"precision": "float16"}, r"precision must be one of .* got 'float16'"),
        ({"jit": "auto"}, r"jit must be one of None, True, False; got 'auto'"),
        ({"steps_per_execution": 0}, r"steps_per_execution must be a whole number .* got 0"),
        ({"devices": "both"}, r"devices must be a whole number or 'all'; got 'both'"),
        ({"devices": 0}, r"devices must be a whole number of at least 1; got 0"),
    ],
)
def test_what_is_no_execution_is_refused(fields, said):
    with pytest.raises(ArgumentError, match=said):
        kr.Execution(**fields)


def test_stopwatch_counts_steps_and_leaves_out_the_first_execution(tmp_path):
    watch, now = Stopwatch(tmp_path), 0.0
    watch.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    watch.set_params({"steps": 9})
    watch._clock = lambda: now
    watch.on_epoch_begin(0)
    for end, now in ((3, 100.0), (7, 102.0), (11, 102.5)):  # noqa: B007
        watch.on_train_batch_end(end)
    watch.on_epoch_end(0)
    # 2.5 seconds for five steps of nine.
    assert (tmp_path / "times.csv").read_text().split() == ["epoch,steps,seconds", "1,9,4.5"]
