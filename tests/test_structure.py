"""The shape of the package: what costs an import, that the documentation runs. Who imports whom: `make check`."""

import dataclasses
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys

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


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_every_public_name_has_a_docstring_and_resolves():
    for name in kr.__all__:
        assert getattr(kr, name).__doc__, name


SHARED = {"self", "cls", "out", "seed", "verbose", "callbacks", "tell"}


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
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) > 5
    # In one process, for the sake of time, but with nothing left over from the block before.
    text = "".join(f"exec({block!r}, {{'__name__': '__main__'}})\n" for block in blocks)
    subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path)
