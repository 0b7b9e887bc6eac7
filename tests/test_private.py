"""The names of other libraries that these do not promise: each is there, and does what the package needs of it.

Each case calls one function of a `private.py`. Where a new version of a library drops or changes a name, the case fails
with a sentence: which name, what of the package needs it, what to do.
"""

import importlib.metadata
import inspect
from dataclasses import dataclass
from typing import Any

import h5py
import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_resnets.export import private as of_tensorflow
from keras_resnets.network import private as of_keras
from keras_resnets.reports import private as of_tensorboard
from keras_resnets.reports.events import Node
from keras_resnets.search import private as of_tuner

LIBRARIES = {
    of_keras: "keras",
    of_tensorboard: "tensorboard",
    of_tuner: "keras-tuner",
    of_tensorflow: "tensorflow",
}


@dataclass(frozen=True)
class Case:
    """Where a function is, which name it takes, who needs it, what else there may be, and whether it works."""

    room: Any
    function: str
    name: str
    needs: str
    instead: str
    works: Any

    def __str__(self):
        return f"{LIBRARIES[self.room]}-{self.function}"


def keeping_doubles(_):
    from keras.src.backend.common import dtypes

    with of_keras.keeping_doubles():
        return dtypes.BIT64_TO_BIT32_DTYPE["float64"] == keras.backend.result_type("float64", "float32") == "float64"


def calls(_):
    x, layer = keras.Input((4,)), keras.layers.Dense(4)
    model = keras.Model(x, layer(layer(x)) + x)
    (entry, *_), (first, *_, once), (second, args, _, twice), (add, *_, end) = of_keras.calls(model)
    # Identities: Keras' symbolic tensors compare to tensors.
    found = [(entry, model.layers[0]), (first, layer), (second, layer), (args[0], once[0]), (end[0], model.outputs[0])]
    return all(one is other for one, other in found) and once[0] is not twice[0] and add is not layer


def operation_of(_):
    x, layer = keras.Input((4,)), keras.layers.Dense(4)
    return of_keras.operation_of(layer(x)) is layer and isinstance(of_keras.operation_of(x), keras.layers.InputLayer)


def read_for(_):
    x, layer = keras.Input((4,)), keras.layers.Dense(4)
    once = layer(x)
    (of_second,), (of_first,) = of_keras.read_for(layer(once)), of_keras.read_for(once)
    return of_second is once and of_first is x


def flattened(_):
    inner = keras.layers.Dense(2)
    between = keras.layers.TimeDistributed(inner)
    outer = keras.Sequential([keras.Input((3, 4)), between])
    return {id(layer) for layer in of_keras.flattened(outer)} >= {id(layer) for layer in (outer, between, inner)}


def is_masked(_):
    x = keras.Input((4, 2))
    return [of_keras.is_masked(tensor) for tensor in (keras.layers.Masking()(x), keras.layers.ReLU()(x))] == [1, 0]


def is_sum(_):
    x, y = keras.Input((4,)), keras.Input((4,))
    results = [ops.add(x, y), x + y, x * y, keras.layers.Add()([x, y])]
    return [of_keras.is_sum(of_keras.operation_of(result)) for result in results] == [True, True, False, False]


def logits_of(_):
    x = ops.convert_to_tensor([[1.0, 2.0]])
    given = of_keras.logits_of(keras.layers.Activation("softmax")(x))
    return given is not None and bool(ops.all(given == x)) and of_keras.logits_of(x) is None


def index_of(_):
    variables, places = [keras.Variable(float(k)) for k in range(3)], {}

    class Noting(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            places[of_keras.index_of(self, variable)] = float(ops.convert_to_numpy(variable))

    optimizer = Noting()
    optimizer.build(variables)
    optimizer.apply([ops.ones(()), ops.ones(())], variables[:0:-1])
    return places == {1: 1.0, 2: 2.0}


def replaced(_):
    x = np.ones((1, 3, 3, 1), "float32")
    layers = [
        keras.layers.Conv2D(2, 3, activation=keras.layers.ReLU()),  # an activation that Keras tracks
        keras.layers.Conv2D(2, 3),
        keras.layers.Conv2D(2, 3),
    ]
    before = [ops.convert_to_numpy(layer(x)) for layer in layers]
    attributes = [dict(vars(layer)) for layer in layers]
    changes = [
        (layers[0], "activation", lambda x: x * 0 + 5),
        (layers[1], "call", lambda inputs: inputs * 0 + 6),
        (layers[2], "convolution_op", lambda inputs, kernel: inputs * 0 + 7),
    ]
    with of_keras.replaced(changes):
        during = [ops.convert_to_numpy(layer(x)) for layer in layers]
    after = [ops.convert_to_numpy(layer(x)) for layer in layers]
    return (
        [set(y.flat) for y in during] == [{5.0}, {6.0}, {7.0}]
        and all((one == other).all() for one, other in zip(before, after, strict=True))
        and [vars(layer).keys() for layer in layers] == [known.keys() for known in attributes]
    )


def in_xla(_):
    seen = []

    def note():
        seen.append(of_keras.in_xla())
        return tf.constant(0)

    note()
    tf.function(note)()
    tf.function(note, jit_compile=True)()
    tf.function(lambda: tf.function(note)(), jit_compile=True)()
    return seen == [False, False, True, True]


def built_by_shape(_):
    noted = []

    class Noting(of_keras.BuiltByShape):
        def call(self, *args, **kwargs):
            noted.append(self._only_shape)
            return super().call(*args, **kwargs)

    x = keras.Input((2,))
    model = Noting(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse", metrics=["mae"])
    # What fit does first, on TensorFlow only where several devices train.
    model._symbolic_build(data_batch=(np.ones((2, 2)), np.ones((2, 1))))
    built = list(noted)
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    return built == [True] and not any(noted[1:])


def expanded(tmp_path):
    class Pair(of_keras.Expanded, keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.second = keras.layers.Dense(2, name="inside")

        @property
        def layers(self):
            return [self.second]

        def call(self, x):
            return self.second(x)

    x, lines = keras.Input((2,)), []
    model = keras.Model(x, Pair()(x))
    model.summary(expand_nested=True, print_fn=lines.append)
    model.save_weights(tmp_path / "pair.weights.h5")
    with h5py.File(tmp_path / "pair.weights.h5") as file:
        names = list(file["layers/pair"])
    return "inside (Dense)" in "".join(lines) and "second" in names and "layers" not in names


def _written(folder, summary, step):
    writer = of_tensorboard.Writer(folder)
    writer.add_event(of_tensorboard.event(summary, step))
    writer.flush()
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def writer(tmp_path):
    _written(tmp_path, of_tensorboard.scalar("a", 0.5), 3)
    return len(list(tmp_path.glob("events.*"))) == 1


def event(_):
    made = of_tensorboard.event(of_tensorboard.scalar("a", 0.5), 3)
    return made.step == 3 and made.wall_time > 1.7e9 and made.summary.value[0].tag == "a"


def scalar(tmp_path):
    (found,) = _written(tmp_path, of_tensorboard.scalar("a", 0.5), 3).Scalars("a")
    return (found.step, found.value) == (3, 0.5)


def image(tmp_path):
    (found,) = _written(tmp_path, of_tensorboard.image("a", b"png", 4, 2), 3).Images("a")
    return (found.step, found.width, found.height, found.encoded_image_string) == (3, 4, 2, b"png")


def text(tmp_path):
    (found,) = _written(tmp_path, of_tensorboard.text("a", "| b |"), 3).Tensors("a")
    return (found.step, found.tensor_proto.string_val[0]) == (3, b"| b |")


def graph(tmp_path):
    events = of_tensorboard.Writer(tmp_path)
    nodes = [Node("x", "Input"), Node("a/b", "Conv2D", ["x"], [-1, 8], {"filters": "4"})]
    events.add_event(of_tensorboard.graph(nodes))
    events.flush()
    first, second = EventAccumulator(str(tmp_path)).Reload().Graph().node
    (shape,) = second.attr["_output_shapes"].list.shape
    known = (second.name, second.op, list(second.input), second.attr["filters"].s, [d.size for d in shape.dim])
    return first.name == "x" and known == ("a/b", "Conv2D", ["x"], b"4", [-1, 8])


def _oracle():
    kind = keras_tuner.oracles.RandomSearchOracle
    hp = keras_tuner.HyperParameters()
    hp.Int("blocks", 1, 9)
    made = type("Unsaved", (of_tuner.Unsaved, kind), {})(keras_tuner.Objective("loss", "min"), 2, hyperparameters=hp)
    made.verbose = 0
    return made


def unsaved(_):
    # An oracle that wrote its trials would fail here, where no tuner has told it where to.
    oracle = _oracle()
    trial = oracle.create_trial("w")
    oracle.update_trial(trial.trial_id, {"loss": 0.5})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    return oracle.trials[trial.trial_id].score == 0.5 and hasattr(keras_tuner.Oracle, "_save_trial")


def holder(tmp_path):
    held = of_tensorflow.holder()
    held.variables = [tf.Variable(2.0)]
    held.serve = tf.function(lambda x: x * held.variables[0], input_signature=[tf.TensorSpec((), "float32")])
    tf.saved_model.save(held, str(tmp_path))
    read = tf.saved_model.load(str(tmp_path))
    return float(read.serve(3.0)) == 6 and float(read.variables[0]) == 2


def frozen(_):
    factor = tf.Variable(2.0)
    function = tf.function(lambda x: x * factor).get_concrete_function(tf.TensorSpec((), "float32"))
    constant = of_tensorflow.frozen(function)
    return len(function.inputs) == 2 and len(constant.inputs) == 1 and float(constant(tf.constant(3.0))[0]) == 6


CASES = [
    Case(of_keras, "calls", "Function._nodes_by_depth or its nodes' operation, arguments and outputs",
         "adopt, and what reads within models", "follow how Function runs its operations", calls),
    Case(of_keras, "operation_of", "KerasTensor._keras_history", "adoption, export and a network's input_tensor",
         "look where Keras now notes what made a tensor", operation_of),
    Case(of_keras, "read_for", "KerasTensor._keras_history or Operation._inbound_nodes",
         "a network that is made around an input_tensor", "look how keras.utils.get_source_inputs goes back", read_for),
    Case(of_keras, "flattened", "Layer._flatten_layers", "recalibrate, export, paths and shared traces",
         "look how Model.layers is made", flattened),
    Case(of_keras, "is_masked", "_keras_mask, which a layer leaves on what it gives", "adopt, which refuses masks",
         "look where Layer.__call__ finds the mask of its input", is_masked),
    Case(of_keras, "is_sum", "keras.src.ops.numpy.Add", "adopt, which cuts models at their additions",
         "look what the operation of keras.ops.add is called now", is_sum),
    Case(of_keras, "logits_of", "_keras_logits, which a softmax leaves on what it gives", "segmentation.PixelLoss",
         "look where keras.losses.SparseCategoricalCrossentropy finds the logits", logits_of),
    Case(of_keras, "index_of", "Optimizer._get_variable_index", "optimizers.SGD",
         "look how keras.optimizers.SGD finds the momentum of a variable", index_of),
    Case(of_keras, "keeping_doubles", "keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE",
         "the spectrum in double precision on JAX and torch", "look how keras.backend.result_type ends",
         keeping_doubles),
    Case(of_keras, "replaced", "the rule that a layer's own call, activation or convolution_op goes first",
         "taps, the study of dynamics, and export", "look where Layer.__call__ now finds them", replaced),
    Case(of_keras, "in_xla", "tensorflow.python.ops.control_flow_util.GraphOrParentsInXlaContext", "layers.BatchNorm",
         "look how tensorflow tells that it traces for XLA, or compare gradients under jit_compile", in_xla),
    Case(of_keras, "BuiltByShape", "Trainer._symbolic_build", "ResidualNetwork, to start training sooner",
         "look what fit does before its first step, or go without", built_by_shape),
    Case(of_keras, "Expanded", "the rules that summary(expand_nested=True) shows what an attribute `layers` lists, and "
         "that what dir leaves out is not saved", "the summary of blocks, and the names of weights in saved networks",
         "look what print_summary unfolds, and what _walk_saveable of keras.saving visits", expanded),
    Case(of_tensorboard, "Writer", "tensorboard.summary.writer.record_writer", "reports.events.Events",
         "look what tensorboard.summary.Writer writes with", writer),
    Case(of_tensorboard, "event", "compat.proto.event_pb2", "reports.events.Events",
         "look where tensorboard.summary has its messages from", event),
    Case(of_tensorboard, "scalar", "compat.proto.summary_pb2 or simple_value", "reports.events.Events",
         "look where tensorboard.summary has its messages from", scalar),
    Case(of_tensorboard, "image", "compat.proto.summary_pb2 or Summary.Image", "reports.events.Events",
         "look where tensorboard.summary has its messages from", image),
    Case(of_tensorboard, "text", "compat.proto.tensor_pb2", "reports.events.Events",
         "look how tensorboard.plugins.text.summary_v2 makes its tensor", text),
    Case(of_tensorboard, "graph", "compat.proto.graph_pb2, node_def_pb2, attr_value_pb2 or tensor_shape_pb2",
         "the graph of blocks", "look what tensorboard.plugins.graph.keras_util makes", graph),
    Case(of_tuner, "Unsaved", "Oracle._save_trial", "the journal of a search, which is to be its only state",
         "look what Oracle.create_trial, update_trial and end_trial write", unsaved),
    Case(of_tensorflow, "holder", "tf.__internal__.tracking.AutoTrackable", "export.saved_model",
         "look what keras.export.ExportArchive saves", holder),
    Case(of_tensorflow, "frozen", "python.framework.convert_to_constants", "export.onnx",
         "look how tf2onnx freezes a Keras model", frozen),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_private_name_is_there_and_does_what_it_did(case, tmp_path):
    library = LIBRARIES[case.room]
    try:
        works, reason = case.works(tmp_path), "it does something else"
    except Exception as error:
        works, reason = False, f"{type(error).__name__}: {error}"
    assert works, (
        f"{library} {importlib.metadata.version(library)} has dropped or changed {case.name} ({reason}). "
        f"Needed by {case.needs}. To mend `{case.function}` of {case.room.__name__}, {case.instead}."
    )


def test_every_private_name_has_a_case():
    held = {
        (room, name)
        for room in LIBRARIES
        for name, value in vars(room).items()
        if inspect.isroutine(value) or inspect.isclass(value)
        if value.__module__ == room.__name__
    }
    assert held == {(case.room, case.function) for case in CASES}
