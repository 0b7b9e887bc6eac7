"""What a saved network may name: a file of a stranger has nothing called but layers and operations."""

import contextlib
import json
import random
import zipfile

import fuzz_configurations
import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.network import trusted

POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}


def function(name, module):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def klass(class_name, module, /, **config):
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def graph(*steps):
    config = {"name": "graph", "trainable": True, "dtype": POLICY, "steps": list(steps), "output": 1, "owns": False}
    return klass("Graph", "keras_resnets.network.graph", **config) | {"registered_name": "keras_resnets>Graph"}


def step(operation, *args, **kwargs):
    return {"operation": operation, "args": list(args), "kwargs": kwargs, "outputs": [1]}


def segment(body):
    config = {"name": "probabilities", "trainable": True, "dtype": POLICY, "body": body}
    return klass("Segment", "keras_resnets.network.blocks", **config) | {"registered_name": "keras_resnets>Segment"}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A saved network, one of whose links was adopted and has operations of keras.ops for steps."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Add()([x, keras.ops.multiply(keras.layers.Conv2D(4, 3, padding="same")(x), 0.5)])
    x = keras.layers.Add()([x, keras.layers.Conv2D(4, 1)(x)])
    outputs = keras.layers.Dense(3, activation="softmax")(keras.ops.mean(x[:, 1:, ..., :2], axis=(1, 2)))
    network = kr.adopt(keras.Model(inputs, outputs))
    network.compile(
        kr.optimizers.SGD(kr.recipes.get("wu").rate(10)), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    file = tmp_path_factory.mktemp("honest") / "net.keras"
    network.save(file)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    return file, x, network.predict(x, verbose=0)


def rewritten(honest, file, change):
    """The file with another configuration."""
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                content = json.dumps(change(config) or config)
            target.writestr(name, content)
    return file


def test_an_honest_network_is_opened(honest):
    file, x, answers = honest
    np.testing.assert_array_equal(kr.load_model(file).predict(x, verbose=0), answers)


def written(target):
    """Steps that write a picture, change a setting of Keras, or run a stranger's SavedModel."""
    pixels = klass("__numpy__", None, value=[[[[200.0, 0.0, 0.0]] * 8] * 8] * 4, dtype="float32")
    picture = {"path": str(target), "rows": 2, "cols": 2}
    layer, tree = function("TFSMLayer", "keras.layers"), function("map_structure", "keras.tree")
    return {
        "picture": step(function("plot_image_gallery", "keras.visualization"), pixels, **picture),
        "picture by class": step(klass("plot_image_gallery", "keras.visualization"), pixels, **picture),
        "picture from its module": step(
            function("plot_image_gallery", "keras.src.visualization.plot_image_gallery"), pixels, **picture
        ),
        "setting": step(function("set_max_steps_per_epoch", "keras.config"), 1),
        "argument": step(klass("Identity", "keras.layers"), function("clear_session", "keras.utils")),
        "saved model": step(tree, layer, str(target)),
        "saved model as a layer": step(klass("TFSMLayer", "keras.layers", filepath=str(target))),
        "lambda": step(klass("Lambda", "keras.layers", function=function("relu", "keras.activations"))),
        "operation of no kind": step(klass("Zeros", "keras.initializers")),
        "function of ops": step(function("relu", "keras.ops"), {"value": 0}),
        "text": step("relu", {"value": 0}),
    }


OPENERS = {
    "load_model": lambda file, folder: kr.load_model(file),
    "run directory": lambda file, folder: kr.load_model(folder),
    "weights": lambda file, folder: kr.build("preresnet8", (8, 8, 3), 3, weights=file),
    "keras": lambda file, folder: keras.saving.load_model(file),
}


@pytest.mark.parametrize("opened", OPENERS)
@pytest.mark.parametrize("kind", written(""))
def test_a_strangers_step_is_refused_and_not_called(kind, opened, honest, tmp_path):
    victim = tmp_path / "victim.png"
    victim.write_bytes(b"precious")
    bad = graph(written(victim)[kind])

    def change(config):
        if opened == "weights":
            config["class_name"], config["registered_name"] = "ResidualNetwork", "keras_resnets>ResidualNetwork"
        config["config"]["chain"].append(segment(bad))

    file = rewritten(honest[0], tmp_path / "model.keras", change)
    with pytest.raises((ArgumentError, TypeError, ValueError)) as refused:
        OPENERS[opened](file, tmp_path)
    assert victim.read_bytes() == b"precious"
    assert keras.config.max_steps_per_epoch() is None
    if opened != "keras":
        assert isinstance(refused.value, ArgumentError)
        assert "\n" not in str(refused.value)


def test_a_layer_that_brings_code_is_refused_wherever_it_stands(honest, tmp_path):
    lam = klass("Lambda", "keras.layers", name="lam", trainable=True, dtype=POLICY, function=graph(), arguments={})
    places = {
        "segment": lambda config: config["config"]["chain"].append(segment(lam)),
        "compiled": lambda config: config["compile_config"].update(loss=lam),
        "whole": lambda config: klass("Sequential", "keras", name="s", layers=[lam]),
    }
    for name, change in places.items():
        file = rewritten(honest[0], tmp_path / f"{name}.keras", change)
        with pytest.raises(ArgumentError, match=r"has a layer Lambda, which runs code.*is refused"):
            kr.load_model(file)


def test_a_configuration_without_bounds_is_refused(honest, tmp_path, monkeypatch):
    deep = tmp_path / "deep.keras"
    with zipfile.ZipFile(deep, "w") as archive:
        archive.writestr("config.json", "[" * 100_000 + "]" * 100_000)
    with pytest.raises(ArgumentError, match=r"deep.keras"):
        kr.load_model(deep)
    monkeypatch.setattr(trusted, "MOST_BYTES", 1000)
    with pytest.raises(ArgumentError, match="configuration of more than"):
        kr.load_model(honest[0])


def test_what_a_user_registers_is_opened(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    @keras.saving.register_keras_serializable("mine")
    def halved(x):
        return x / 2

    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Activation(halved)(Doubled()(inputs))).save(tmp_path / "mine.keras")
    x = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(kr.load_model(tmp_path / "mine.keras").predict(x, verbose=0), x)


def test_names_changed_at_random_are_opened_or_refused_and_never_called(honest, tmp_path):
    """Each name of the configuration becomes another one of Keras' public API."""
    rng = random.Random(0)
    modules = ("keras", "keras.layers", "keras.utils", "keras.config", "keras.tree", "keras.visualization", "keras.ops")
    names = [(m, n) for m in modules for n in dir(_module(m)) if not n.startswith("_")]
    before = set(tmp_path.iterdir())
    for _ in range(60):

        def change(config):
            named = [item for item in _dicts(config) if "class_name" in item]
            module, name = rng.choice(names)
            chosen = rng.choice(named)
            chosen.update(module=module, class_name=name, registered_name=None)
            if rng.random() < 0.5:
                chosen.update(class_name="function", config=name, registered_name=name)

        file = rewritten(honest[0], tmp_path / "fuzzed.keras", change)
        with contextlib.suppress(ArgumentError):  # anything else is a fault
            kr.load_model(file)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "fuzzed.keras"}
    assert keras.config.max_steps_per_epoch() is None
    assert keras.config.dtype_policy().name == "float32"
    assert keras.config.image_data_format() == "channels_last"


def _module(name):
    found = keras
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def _dicts(config):
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from _dicts(value)
    elif isinstance(config, list):
        for value in config:
            yield from _dicts(value)


@pytest.mark.parametrize("key", ["class_name", "module", "registered_name"])
@pytest.mark.parametrize("value", [["ReLU"], {"class_name": "ReLU"}, 3])
def test_a_name_is_text(key, value):
    item = {**keras.saving.serialize_keras_object(keras.layers.ReLU()), key: value}
    with pytest.raises(ArgumentError, match=f"{key!r} of a part must be a name"):
        trusted.check({"layers": [item]}, "the file")


@pytest.mark.thorough
def test_damaged_configurations_are_opened_or_refused_and_do_nothing_else(tmp_path):
    opened, refused, failures = fuzz_configurations.run(60, 2, tmp_path)
    assert not failures
    assert opened + refused == 60
    assert min(opened, refused) > 0
