"""The shape of the package: what costs an import, that the documentation runs. Who imports whom: `make check`."""

import ast
import configparser
import dataclasses
import doctest
import importlib
import inspect
import os
import pathlib
import pkgutil
import re
import subprocess
import sys

import keras
import pytest

import keras_resnets as kr

ROOT = pathlib.Path(kr.__file__).parent
MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages([str(ROOT)], "keras_resnets.") if not name.endswith("__main__")
)


@pytest.mark.parametrize("module", ["errors", "architecture", "archives", "runs", "commands.cli"])
def test_light_modules_do_not_import_keras(module):
    script = f"import sys, keras_resnets.{module}; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# What takes long to import, or is not installed everywhere.
HEAVY = {
    "tensorflow",
    "tensorflow_datasets",
    "ai_edge_litert",
    "pandas",
    "matplotlib",
    "sklearn",
    "scipy",
    "PIL",
    "rich",
}
HEAVY |= {"tensorboard", "keras_tuner", "jax", "torch", "ray", "onnx", "onnxruntime", "tf2onnx", "huggingface_hub"}


@pytest.mark.backends
def test_heavy_imports_stand_in_what_needs_them():
    """Inside functions; only the search, which nothing imports by the way, is made of keras-tuner's classes."""
    for file in ROOT.rglob("*.py"):
        allowed = {"keras_tuner"} if file.parent.name == "search" else set()
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & HEAVY - allowed, file


@pytest.mark.backends
def test_what_there_may_be_one_of_is_counted_in_words():
    """No "1 epochs": `showing.counted` knows the singular."""
    for file in ROOT.rglob("*.py"):
        assert not re.findall(r".*\} (?:epochs|seeds|trials)\b.*", file.read_text()), file


@pytest.mark.backends
def test_every_module_can_be_imported_without_tensorflow():
    if keras.config.backend() == "tensorflow":
        pytest.skip("Keras itself imports TensorFlow where it computes with it; make test-jax does not")
    script = """
import importlib, sys
sys.modules |= dict.fromkeys(["tensorflow", "tensorflow_datasets"])
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    names = [name for name in MODULES if not name.endswith("_child")]
    subprocess.run([sys.executable, "-c", script, *names], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


@pytest.mark.backends
def test_what_is_required_without_tensorflow_is_what_is_required():
    setup = configparser.ConfigParser()
    setup.read(ROOT.parent / "setup.cfg")

    def lines(text):
        return {line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")}

    by_tensorflow = ("tensorflow", "importlib_resources")
    required = {line for line in lines(setup["options"]["install_requires"]) if not line.startswith(by_tensorflow)}
    given = lines((ROOT.parent / "requirements-jax.txt").read_text())
    assert given == required | lines(setup["options.extras_require"]["jax"])
    pinned = {line.partition("==")[0] for line in lines((ROOT.parent / "constraints.txt").read_text())}
    bare = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in given}
    assert bare <= {name.lower().replace("_", "-") for name in pinned}


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_every_public_name_has_a_docstring_and_resolves():
    for name in kr.__all__:
        assert getattr(kr, name).__doc__, name


SHARED = {"self", "cls", "out", "seed", "verbose", "callbacks", "tell", "execution"}


def own_arguments(function):
    """Names of the arguments of a function that not all functions have."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name for p in inspect.signature(function).parameters.values() if p.kind not in kinds and p.name not in SHARED
    ]


def _is_error(item):
    return inspect.isclass(item) and issubclass(item, Exception)


def test_no_public_function_has_more_than_nine_arguments_of_its_own():
    rooms = [kr.data, kr.export, kr.paths, kr.search, kr.segmentation, kr.studies, kr.weights, kr.callbacks, kr.timing]
    public = [getattr(kr, name) for name in kr.__all__]
    public += [getattr(room, name) for room in rooms for name in dir(room) if not name.startswith("_")]
    # Plain data, whose arguments are its fields, and Keras' own signatures are counted elsewhere.
    functions = [f for f in public if inspect.isfunction(f) or (inspect.isclass(f) and not dataclasses.is_dataclass(f))]
    # The exceptions of a module that is public as it is have Python's own signature.
    ours = {f for f in functions if f.__module__.startswith("keras_resnets") and not _is_error(f)}
    assert len(ours) > 60
    many = {f"{f.__module__}.{f.__qualname__}": own_arguments(f) for f in ours}
    assert {name: own for name, own in many.items() if len(own) > 9} == {}


def test_the_map_names_what_is_there():
    rooms = {path.name: path for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    text = (ROOT.parent / "docs" / "map.md").read_text()
    sections = re.findall(r"^\*\*(\w+)\*\*(.*?)(?=^\*\*|^## |^\[)", text, re.DOTALL | re.MULTILINE)
    assert {name for name, _ in sections} == rooms.keys() | {"errors", "quiet", "runs"} - {"quiet"}
    for name, words in sections:
        named = set(re.findall(r"`([a-z_0-9]+)`", words))
        modules = {file.stem for file in rooms[name].glob("*.py")} - {"__init__"} if name in rooms else set()
        assert modules <= named, (name, modules - named)


def test_examples_of_the_documentation_run_as_printed(tmp_path):
    pages = [ROOT.parent / "README.md", *sorted((ROOT.parent / "docs").glob("*.md"))]
    pages += sorted(ROOT.parent.glob("*/README.md"))
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) > 5
    # In one process, for the sake of time, but with nothing left over from the block before.
    text = "".join(f"exec({block!r}, {{'__name__': '__main__'}})\n" for block in blocks)
    subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path)
