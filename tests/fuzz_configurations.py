"""Damages the configurations of saved networks at random: `python tests/fuzz_configurations.py --files 2000 --seed 0`.

A saved network is JSON beside arrays. Names in it are exchanged for others of Keras and of Python, values for others,
and parts are left out, doubled or moved. Each file must be opened, or refused with an `ArgumentError`; and whichever it
is, no process may be started, no connection opened, no file written, and no setting of Keras changed. The exit status
is 1 if that happened.
"""

import argparse
import contextlib
import copy
import json
import random
import signal
import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

SECONDS = 60
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen", "socket.connect")
NAMES = """
    Lambda TFSMLayer TorchModuleWrapper function ReLU Graph Add Sequential Functional Dense Adam Held load_model
    save_img set_floatx clear_session disable_interactive_logging get_file system enable_unsafe_deserialization eval
    set_max_epochs set_backend open __numpy__ __tensor__ __tuple__ __lambda__ keras_resnets>Segment keras_resnets>Graph
"""
MODULES = """
    keras keras.layers keras.ops keras.utils keras.config keras.saving keras.models keras.src.saving.saving_lib
    keras.src.utils.file_utils keras_resnets.errors builtins os subprocess
"""
VALUES = [
    None,
    True,
    0,
    1,
    -1,
    3,
    0.5,
    "",
    "same",
    "relu",
    "x" * 1000,
    [],
    {},
    [1, 2],
    {"class_name": "Dense"},
    "__import__",
]


def samples(folder):
    """Writes saved networks of every kind of ours, and returns their files."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.Add()([x, keras.layers.ReLU()(keras.ops.multiply(x, 0.5))])
    foreign = kr.adopt(keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x))))
    gated = kr.build("resnet8", (8, 8, 1), 3, skip="gate:-2")
    gated.compile(kr.optimizers.SGD(0.1), "sparse_categorical_crossentropy", paths="stochastic:0.5")
    dense = kr.segmentation.fcn("resnet18", 3, width=0.0625, stem_width=4, head_dilation=1)
    files = []
    for name, network in {"foreign": foreign, "gated": gated, "dense": dense}.items():
        files.append(folder / f"{name}.keras")
        network.save(files[-1])
    return files


def places(item, found=None):
    """Returns all dictionaries and lists inside an item that have something in them."""
    found = [] if found is None else found
    if isinstance(item, dict | list) and item:
        found.append(item)
        for part in item.values() if isinstance(item, dict) else item:
            places(part, found)
    return found


def damaged(config, rng):
    """Returns a copy of a configuration with a few changes."""
    config = copy.deepcopy(config)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        spots = places(config)
        spot = rng.choice(spots)
        key = rng.choice(list(spot)) if isinstance(spot, dict) else rng.randrange(len(spot))
        named = [s for s in spots if isinstance(s, dict) and "class_name" in s]
        change = rng.choice(["name", "name", "module", "function", "value", "leave out", "move", "array"])
        if change in ("name", "module", "function") and named:
            item = rng.choice(named)
            if change == "function":
                item.update(class_name="function", config=rng.choice(NAMES.split()), registered_name="function")
            if change == "name":
                item["class_name"] = rng.choice(NAMES.split())
                item["registered_name"] = rng.choice([None, item["class_name"], *NAMES.split()])
            item["module"] = rng.choice([None, *MODULES.split()])
        elif change == "leave out":
            del spot[key]
        elif change == "move":
            spot[key] = copy.deepcopy(rng.choice(spots))
        elif change == "array":
            spot[key] = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float32"}}
        else:
            spot[key] = rng.choice(VALUES)
    return config


def settings():
    """Returns what a file must not change."""
    names = ("floatx", "epsilon", "image_data_format", "backend", "dtype_policy", "is_interactive_logging_enabled")
    found = {name: str(getattr(keras.config, name)()) for name in names}
    return found | {"max_epochs": str(keras.config.max_epochs()), "unsafe": str(in_safe_mode())}


def in_safe_mode():
    """Keras has no public word for whether lambdas are allowed; it says so in a refusal."""
    config = {"class_name": "__lambda__", "config": {"value": "4wAA"}}
    try:
        keras.saving.deserialize_keras_object(config)
    except Exception as error:
        return "safe_mode" in str(error)
    return False


class Watch:
    """Notes what a file has done that none may."""

    def __init__(self, folder):
        self.folder, self.seen, self.on = str(folder), [], False
        sys.addaudithook(self)

    def __call__(self, event, args):
        if not self.on:
            return
        written = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if (written and not str(args[0]).startswith(self.folder)) or event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {args!r}"[:200])


def late(*_):
    raise TimeoutError(f"not done after {SECONDS} s")


def run(files, seed, folder):
    """Opens damaged files; returns how many were opened and refused, and what went wrong."""
    rng, watch, before = random.Random(seed), Watch(folder), settings()
    sources = []
    for file in samples(folder):
        with zipfile.ZipFile(file) as archive:
            sources.append((json.loads(archive.read("config.json")), {n: archive.read(n) for n in archive.namelist()}))
    opened = refused = 0
    failures = []
    signal.signal(signal.SIGALRM, late)
    for number in range(files):
        config, members = rng.choice(sources)
        config, target = damaged(config, rng), folder / "damaged.keras"
        with zipfile.ZipFile(target, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, json.dumps(config) if name == "config.json" else content)
        watch.seen, watch.on = [], True
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stdout(None):
                network = kr.load_model(target)
                if getattr(network, "input_shape", None) == (None, 8, 8, 1):
                    with contextlib.suppress(Exception):  # what Keras opens may still not fit together
                        network(np.zeros((1, 8, 8, 1), "float32"))
            opened += 1
        except ArgumentError:
            refused += 1
        except Exception as error:
            failures.append((number, f"{type(error).__name__}: {error}"[:300]))
        finally:
            signal.alarm(0)
            watch.on = False
        failures += [(number, event) for event in watch.seen]
        if settings() != before:
            failures.append((number, f"settings changed: {settings()}"))
            before = settings()
        keras.backend.clear_session()
    return opened, refused, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        opened, refused, failures = run(given.files, given.seed, Path(folder))
    for number, failure in failures[:20]:
        print(f"file {number}: {failure}")
    print(f"{given.files} files: {opened} opened, {refused} refused, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
