"""The shape of the package: what costs an import, that the documentation runs. Who imports whom: `make check`."""

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


def test_examples_of_the_documentation_run_as_printed(tmp_path):
    pages = [ROOT.parent / "README.md", *sorted((ROOT.parent / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) > 5
    # In one process, for the sake of time, but with nothing left over from the block before.
    text = "".join(f"exec({block!r}, {{'__name__': '__main__'}})\n" for block in blocks)
    subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path)
