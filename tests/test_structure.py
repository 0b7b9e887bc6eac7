"""The shape of the package: who imports whom, what costs an import, that the documentation runs."""

import ast
import doctest
import importlib
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


def imports(path):
    """Names of our modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_resnets"):
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
    return found


# From what everything reads to what reads everything; a module may import only what stands before it.
ORDER = [
    "errors", "quiet", "unit", "spec", "dilation", "variants", "counting", "budget", "preprocessing", "layers",
    "optimizers", "runs", "paths", "shared", "graph", "blocks", "skips", "layout", "gating", "network", "building",
    "cost", "adopt", "applications", "weights", "surgery", "lanes", "taps", "backward", "spectrum", "data",
    "segmentation", "recipes", "checkpoints", "training", "timing", "studies", "search", "callbacks", "export",
    "recalibration", "fine_tuning", "pruning", "demo", "console", "study_command", "search_command", "convert_command",
    "export_command", "prune_command", "cli",
]  # fmt: skip


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    module = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if module in ("__init__", "__main__"):
        return
    later = {name for name in imports(path) if name != module and ORDER.index(name) >= ORDER.index(module)}
    assert not later


@pytest.mark.parametrize(
    "module", ["errors", "unit", "spec", "dilation", "variants", "counting", "budget", "runs", "cli"]
)
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


def test_readme_example_runs_as_printed(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT.parent / "README.md").read_text(), re.DOTALL)
    assert blocks
    # In one process, for the sake of time, but with nothing left over from the block before.
    text = "".join(f"exec({block!r}, {{'__name__': '__main__'}})\n" for block in blocks)
    subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path)
