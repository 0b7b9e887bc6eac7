"""Right values of the arguments of public functions by their names, and what is not called or exchanged, and why."""

import functools

import keras
import numpy as np
from hypothesis import strategies as st

import keras_resnets as kr
from helpers import input_arrays as made

# Not called with made inputs, and why.
EXEMPT = {
    "Pruned": "plain data, made by prune",
    "data.Data": "made by data.load",
    "ResidualNetwork": "made by build and adopt",
    "ResidualBlock": "made by build and adopt",
    "Segment": "made by build and adopt",
    "runs.FORMAT": "a constant",
    "runs.LAST": "a constant",
    "runs.UNFINISHED": "a constant",
    "runs.Channel": "takes nothing; its other end is a process",
    "paths.Policy": "abstract",
    "lanes.traced": "takes functions of layers",
    "taps.run_link": "takes functions of layers",
    "taps.call_in_inference": "takes functions of layers",
    "taps.Tap": "plain data, made by taps_of",
    "spectrum.Parts": "plain data, made by Spectrum",
    "weights.Plan": "plain data, made by plan",
    "weights.Row": "plain data, made by plan",
    "weights.Parity": "plain data, made by parity",
    "studies.Study": "plain data, made by studies",
    "counting.Counts": "plain data, made by count",
    "segmentation.Scores": "plain data, made by score",
    "dilation.Grid": "plain data, made by grids",
    "Prediction": "plain data, made by predict",
    "lanes.Program": "plain data, made by program",
    "runs.environment": "names of installed libraries",
    "timing.interleaved": "takes functions",
    "timing.processor": "takes nothing",
    "list_models": "takes nothing",
    "variants.list_models": "takes nothing",
    "variants.imagenet_models": "takes nothing",
}
# Those that train, or write and run a network: minutes for a thousand calls.
SLOW = [
    "train",
    "fine_tune",
    "prune",
    "recalibrate",
    "report",
    "compare",
    "evaluate",
    "predict",
    "fold",
    "compact",
    "export.litert",
    "export.onnx",
    "export.saved_model",
    "export.sensitivity",
    "export.write",
    "search.search",
    "studies.activation",
    "studies.cancellation",
    "studies.degradation",
    "studies.delete",
    "studies.dynamics",
    "studies.effective",
    "studies.lesion",
    "studies.littwin",
    "studies.paths",
    "studies.recovery",
    "studies.reorder",
    "studies.responses",
    "studies.segment",
    "studies.shortcuts",
    "studies.survival",
    "studies.unskip",
    "studies.width_depth",
    "segmentation.evaluate",
    "segmentation.predict",
    "segmentation.probabilities",
    "segmentation.fcn",
    "timing.latency",
    "spectrum.Spectrum",
    "lanes.Lanes",
    "taps.Reader",
    "weights.network",
    "weights.parity",
    "weights.load",
    "weights.plan",
    "applications.foreign",
    "ResNet18",
    "ResNet50V2",
    "Plain18",
    "WRN50_2",
    "build",
    "adopt",
    "delete",
    "reorder",
    "unskip",
    "callbacks.Lesion",
    "load_model",
    "preprocess_input",
    "macs",
]


@functools.cache
def spec():
    return kr.Spec("tiny", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 3, stem_width=4)


@functools.cache
def network():
    keras.utils.set_random_seed(0)
    return kr.build(spec())


@functools.cache
def foreign():
    """Networks that are none of ours: with residual blocks, without, and not of images."""
    source = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same")(source)
    x = keras.layers.Add()([x, keras.layers.Conv2D(4, 3, padding="same")(x)])
    with_blocks = keras.Model(source, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    vector = keras.Input((4,))
    return with_blocks, keras.Model(vector, keras.layers.Dense(3)(vector)), keras.Sequential([keras.layers.Dense(2)])


@functools.cache
def dense():
    return kr.segmentation.fcn("resnet18", 3, width=0.0625, stem_width=4, input_shape=(32, 32, 3))


def arrays(n=12):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 8, 8, 1)).astype("float32"), np.arange(n) % 3


@functools.cache
def data():
    x, y = arrays(24)
    return kr.data.load(((x, y), (x[:6], y[:6]), (x[:9], y[:9])), batch_size=8, tell=lambda line: None)


@functools.cache
def scenes():
    random = np.random.default_rng(0)
    return random.normal(size=(3, 32, 32, 3)).astype("float32"), random.integers(0, 3, (3, 32, 32))


CONFUSION = st.builds(
    lambda n, s: np.random.default_rng(s).integers(0, 50, (n, n)), st.integers(1, 5), st.integers(0, 99)
)
RIGHT = {
    "model": st.builds(network),
    "network": st.builds(network),
    "name_or_spec": st.builds(spec),
    "spec": st.builds(spec),
    "data": st.builds(arrays),
    "recipe": st.just("digits"),
    "epochs": st.just(1),
    "seeds": st.just(1),
    "images": st.builds(lambda: arrays()[0]),
    "classes": st.just(3),
    "execution": st.none(),
    "verbose": st.just(False),
    "download": st.just(False),
    "callbacks": st.just(()),
    "tell": st.none(),
    "policy": st.sampled_from(["stochastic:0.5", "fixed:1", None]),
    "blocks": st.just(1),
    "order": st.just([0, 1, 2]),
    "draws": st.just(1),
    "examples": st.just(4),
    "calls": st.just(1),
    "confusion": CONFUSION,
    "runs": st.builds(lambda: [network(), network()]),
    "source": st.builds(network),
}
_MASKS = st.builds(lambda: scenes()[1])
_COLORS = st.just(np.array([[0, 0, 0], [200, 0, 0], [0, 9, 250]]))
TRAINING = {"network": st.builds(spec), "data": st.builds(data)}
OF = {
    "Preprocessing": {"mean": st.just((1.0,)), "std": st.just((2.0,))},
    "Spec": {"name": st.just("tiny"), "stages": st.builds(lambda: spec().stages)},
    "Stage": {"widths": st.just((4, 4))},
    "recipes.Recipe": {"name": st.just("mine"), "epochs": st.just(2)},
    "recipes.get": {"name": st.just("digits")},
    "recipes.default": {"network": st.just("resnet20"), "data": st.just("digits"), "examples": st.just(100)},
    "budget.with_unit": {"unit": st.just("bottleneck")},
    "budget.solve": {"measure": st.just("parameters"), "amount": st.just(3000)},
    "counting.pooled": {"window": st.just(3), "size": st.just((8, 8))},
    "dilation.strided": {"stage": st.builds(lambda: spec().stages[1])},
    "data.augment": {"augmentation": st.builds(kr.data.Augmentation), "random": st.builds(np.random.default_rng)},
    "data.load": {"name": st.builds(arrays), "tell": st.just(lambda line: None)},
    "decode_predictions": {"predictions": st.just(np.eye(3)), "classes": st.just(("a", "b", "c"))},
    "export.describe": {"report": st.just({})},
    "lanes.work": {"programs": st.builds(lambda: [kr.lanes.program(network())])},
    "layers.MaxPool": {"window": st.just(2)},
    "layers.PadChannels": {"channels": st.just(4)},
    "layers.TakeChannels": {"channels": st.just(4)},
    "load_model": {"path": st.just("no/such")},
    "optimizers.decays": {"variable": st.builds(lambda: network().trainable_variables[0]), "decay": st.just("all")},
    "paths.Bernoulli": {"probability": st.just(0.5)},
    "paths.DropPath": {"rate": st.just(0.5)},
    "paths.StochasticDepth": {"final_survival": st.just(0.5)},
    "paths.Weighted": {"weights": st.just((1.0, 2.0))},
    "paths.Schedule": {"phases": st.just(((1, None),))},
    "preprocess_input": {"images": st.just(np.zeros((1, 8, 8, 3), "uint8")), "network": st.just("resnet50")},
    "predict": {"source": st.builds(network), "preprocessing": st.builds(kr.Preprocessing)},
    "prune": {"timed": st.just(0), "blocks": st.just(1)},
    "runs.Run": {"asked": st.just({})},
    "runs.fingerprint": {"arrays": st.builds(lambda: [np.zeros(3)])},
    "runs.from_json": {"text": st.just("[1]")},
    "runs.to_json": {"values": st.just({"a": 1})},
    "runs.write_json": {"values": st.just({"a": 1})},
    "search.DepthWidth": {**TRAINING, "parameters": st.just(3000)},
    "search.Range": {"low": st.just(1), "high": st.just(2)},
    "search.search": {
        "space": st.builds(lambda: kr.search.DepthWidth(spec(), data(), parameters=3000)),
        "trials": st.just(1),
    },
    "segmentation.dense": {"network": st.just("resnet18")},
    "segmentation.fcn": {"backbone": st.builds(lambda: spec().replace(input_shape=(16, 16, 1)))},
    "segmentation.Overlays": {"colors": _COLORS},
    "segmentation.draw": {
        "images": st.builds(lambda: list(scenes()[0])),
        "labels": _MASKS,
        "answers": _MASKS,
        "colors": _COLORS,
        "names": st.just(["a", "b", "c"]),
    },
    "segmentation.overlay": {
        "image": st.builds(lambda: scenes()[0][0]),
        "labels": st.builds(lambda: scenes()[1][0]),
        "colors": _COLORS,
    },
    "segmentation.side_by_side": {
        "image": st.builds(lambda: scenes()[0][0]),
        "labels": st.builds(lambda: scenes()[1][0]),
        "answers": st.builds(lambda: scenes()[1][1]),
        "colors": _COLORS,
    },
    "segmentation.evaluate": {"model": st.builds(dense), "data": st.builds(scenes)},
    "segmentation.predict": {"model": st.builds(dense), "images": st.builds(lambda: scenes()[0])},
    "segmentation.probabilities": {"model": st.builds(dense), "images": st.builds(lambda: scenes()[0])},
    "segmentation.MeanIoU": {"num_classes": st.just(3)},
    "studies.describe": {"study": st.none()},
    "studies.littwin": {
        n: st.just(v)
        for n, v in {
            "layers": 2,
            "width": 4,
            "dimension": 3,
            "classes": 2,
            "samples": 8,
            "steps": 2,
            "seeds": 1,
        }.items()
    },
    "taps.Reader": {"taps": st.builds(lambda: kr.taps.taps_of(network())[:1])},
    "train": {**TRAINING},
    "fine_tune": {"data": st.builds(data)},
    "variants.cifar": {"name": st.just("mine")},
    "variants.cifar_bottleneck": {"name": st.just("mine")},
    "variants.cifar_plain": {"name": st.just("mine"), "layers": st.just(7)},
    "variants.wide": {"name": st.just("mine"), "factor": st.just(2)},
    "variants.imagenet": {"name": st.just("mine"), "blocks": st.just((1, 1, 1, 1))},
    "variants.imagenet_widths": {"name": st.just("mine"), "blocks": st.just((1, 1, 1, 1))},
    "variants.imagenet_plain": {"name": st.just("mine"), "blocks": st.just((1, 1, 1, 1))},
    "variants.vgg15": {"name": st.just("vgg")},
    "variants.wu": {
        "name": st.just("mine"),
        "units": st.just((1, 1, 1, 1, 1, 1, 1)),
        "side": st.just(56),
        "pools": st.just((1,)),
    },
    "weights.settings": {"file": st.just("no/such.h5")},
    "runs.read_csv": {"file": st.just("no/such.csv")},
    "variants.spec": {"name": st.just("resnet8")},
    "adopt": {"model": st.builds(lambda: foreign()[0])},
    "export.write": {"form": st.just("saved_model")},
    "applications.foreign": {"name": st.just("ResNet50")},
}
for _name in ["activation", "degradation", "dynamics", "effective", "shortcuts", "survival", "width_depth"]:
    OF[f"studies.{_name}"] = TRAINING
OF["studies.cancellation"] = {"networks": st.builds(lambda: [network(), network()])}
OF["studies.recovery"] = {"data": st.builds(data)}
OF["studies.survival"] = {**TRAINING, "survivals": st.just((0.5,))}
OF["studies.width_depth"] = {**TRAINING, "depths": st.just((1, 2))}
OF["studies.degradation"] = {"data": st.builds(data), "depths": st.just((8,))}
OF["studies.effective"] = {**TRAINING, "blocks": st.just(1)}
OF["studies.activation"] = {**TRAINING, "arms": st.just(("post",))}
OF["studies.shortcuts"] = {**TRAINING, "arms": st.just(("scale:0.5:1",))}
OF["studies.dynamics"] = {**TRAINING, "examples": st.just(4), "gradients": st.just(2)}

# A download needs a network, and what is written as JSON is the package's own. Of names and of what its optimizers
# have, Keras itself says what is wrong.
NOT_EXCHANGED = ("download", "learning_rate", "weight_decay", "dtype", "values", "text", "asked", "report")
# Arguments that are places to write to, and those that are read.
OUT = ("out", "log_dir", "logs")
# Those that only make the work longer: of them wrong values and small ones.
LENGTHS = [
    "epochs",
    "seeds",
    "draws",
    "examples",
    "calls",
    "steps",
    "samples",
    "trials",
    "blocks",
    "layers",
    "most",
    "depths",
    "width",
    "dimension",
    "classes",
    "units",
    "gradients",
    "batches",
    "fine_tune",
    "timed",
    "until",
    "every",
    "bins",
    "workers",
    "gpus",
    "devices",
    "batch_size",
    "image_size",
    "amount",
    "factor",
    "side",
    "tolerance",
    "measure",
    "steps_per_epoch",
    "warm_up",
    "rounds",
    "stages",
    "input_shape",
    "length",
    "levels",
    "top",
    "window",
    "patience",
    "macs",
    "parameters",
    "widths",
    "kernels",
    "budget",
    "channels",
    "pad",
    "multiple",
    "scales",
    "parallel",
    "resume",
    "oracle",
    "ray",
    "phases",
    "images_of",
    "iterations",
]
NETWORKS = st.one_of(
    st.builds(network),
    st.sampled_from(["tiny", "resnet8", 3, None, np.zeros(3)]),
    st.builds(lambda: foreign()[0]),
    st.builds(lambda: foreign()[1]),
    st.builds(lambda: foreign()[2]),
    st.builds(spec),
)
DATA = st.one_of(
    st.tuples(made.any_array(), made.WRONG_LABELS),
    st.tuples(made.images(6, (8, 8, 1)), made.WRONG_LABELS),
    st.tuples(
        made.images(6, (8, 8, 1)), st.sampled_from([np.arange(6) % 3, np.eye(3)[[0, 1, 2, 0, 1, 2]], np.zeros(6)])
    ),
    made.any_array(),
    made.PLAIN,
    st.builds(data),
)
IMAGES = st.one_of(
    made.any_array(), made.images(), made.images(4, (8, 8, 1)), made.PLAIN, st.lists(made.PLAIN, max_size=3)
)
WRONG = {
    "model": NETWORKS,
    "network": NETWORKS,
    "name_or_spec": st.one_of(st.builds(spec), made.ANYTHING),
    "backbone": NETWORKS,
    "source": NETWORKS,
    "data": DATA,
    "images": IMAGES,
    "image": IMAGES,
    "labels": IMAGES,
    "answers": IMAGES,
    "confusion": IMAGES,
    "predictions": IMAGES,
    "representative": IMAGES,
    "calibration": DATA,
}
