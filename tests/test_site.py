"""The site: its reference has every public name, its commands are accepted, an example runs as a notebook."""

import importlib
import inspect
import json
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from helpers.public_names import public_names

import keras_resnets as kr
from keras_resnets.commands.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]


def listed():
    """The names of the reference, with what they stand for."""
    text = (ROOT / "docs" / "api.md").read_text()
    names = [
        name
        for block in re.findall(r":nosignatures:\n\n((?: {3}\S+\n)+)", text)
        for name in block.replace("~", "").split()
    ]
    assert len(names) == len(set(names)) > 150
    found = {}
    for name in names:
        *path, last = name.split(".")
        try:
            owner = kr
            for part in path:
                owner = getattr(owner, part)
        except AttributeError:
            owner = importlib.import_module(".".join(["keras_resnets", *path]))
        found[name] = getattr(owner, last)
    constants = re.findall(r"^\.\. py:data:: keras_resnets\.(\S+)$", text, re.MULTILINE)
    return found, set(constants)


def test_the_reference_has_every_public_name():
    found, constants = listed()
    shown = {id(item) for item in found.values()}
    assert [name for name, item in public_names().items() if id(item) not in shown and name not in constants] == []


def test_no_page_of_the_reference_is_empty():
    found, _ = listed()
    for name, item in found.items():
        words = item.__doc__ or ""
        assert words.strip(), name
        inherited = [base.__doc__ for base in item.__mro__[1:]] if inspect.isclass(item) else []
        assert words not in inherited, f"{name} has the docstring of its base"
        if inspect.isfunction(item):
            arguments = inspect.signature(item).parameters
            unsaid = [argument for argument in arguments if not re.search(rf"\b{argument}\b", words)]
            assert unsaid == [], f"{name} does not say what these are"


def test_every_page_has_its_place():
    """In a table of contents; the build refuses others, too, but takes minutes."""
    pages = {page.stem for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".rst")}
    placed = {"index"}
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n:hidden:\n\n(.*?)```", page.read_text(), re.DOTALL):
            placed |= {re.sub(r".*<(.*)>", r"\1", line) for line in tree.split("\n") if line}
    assert pages == placed - {"gallery/index"}


def test_numbers_of_what_there_is_are_those_of_the_package():
    sets = {number for page in PAGES for number in re.findall(r"(\d+) sets (?:of|by|\|)", page.read_text())}
    assert sets == {str(len(kr.weights.available()))}


def commands(text):
    """The lines of a page that call the command, each with its output left out."""
    lines = re.findall(r"^\s*(?:\$ |KERAS_BACKEND=\w+ )?(keras-resnets(?: .*)?)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines if not line.endswith("\\")]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page.read_text())], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_commands_of_a_page_are_accepted(page, monkeypatch):
    """Each is read as the command reads it, and stops before it acts."""
    monkeypatch.setattr(click.Command, "invoke", lambda *_: None)
    for name, *arguments in commands(page.read_text()):
        try:
            cli.main(arguments, prog_name=name, standalone_mode=False)
        except click.ClickException as error:
            pytest.fail(f"{shlex.join([name, *arguments])}: {error.format_message()}")


def test_code_that_needs_files_from_elsewhere_is_python():
    """The other blocks are run by `test_structure.py`."""
    blocks = [
        b for page in PAGES for b in re.findall(r"```\{code-block\} python\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    assert blocks
    for block in blocks:
        compile(block, "a page", "exec")
    indented = [
        line
        for page in PAGES
        for line in re.findall(r"^ {4}(?:import|from|model|kr\.).*", page.read_text(), re.MULTILINE)
    ]
    assert [line for line in indented if re.match(r" {4}(import|from) \w+", line)] == [], (
        "Python in a fence, not indented"
    )


@pytest.mark.thorough
def test_the_commands_of_the_first_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line for line in commands((ROOT / "docs" / "start.md").read_text()) if line[1:2] != ["--help"]]
    assert [line[1] for line in lines] == ["train", "study", "report"]
    for _, *arguments in lines:
        cli.main(arguments, standalone_mode=False)
    assert "stage2_block1" in (tmp_path / "runs" / "first" / "report.html").read_text()
    # The Python of the page goes on in the same run: it trains nothing again.
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "start.md").read_text(), re.DOTALL)
    before = (tmp_path / "runs" / "first" / "model.keras").stat().st_mtime_ns
    exec(block, {"__name__": "__main__"})
    assert (tmp_path / "runs" / "first" / "model.keras").stat().st_mtime_ns == before


def test_every_example_has_its_page(monkeypatch):
    pytest.importorskip("sphinx_gallery")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_extensions")
    from gallery import OPTIONS, SHOWN, WRITES_NOTHING

    scripts = {script.stem: script.read_text() for script in (ROOT / "examples").glob("*.py")}
    assert sorted([*OPTIONS, *SHOWN]) == sorted(scripts)
    for name, options in OPTIONS.items():
        taken = set(re.findall(r'add_argument\("(--\w+)"', scripts[name]))
        assert {option for option in options.split() if option.startswith("--")} <= taken
        assert ("--out" in taken) == (name not in WRITES_NOTHING)


@pytest.mark.thorough
def test_an_example_runs_as_a_notebook(tmp_path, monkeypatch):
    """The notebook that sphinx-gallery makes, in a kernel of its own."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_extensions")
    from gallery import CONFIG
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    _, blocks, _ = split_code_and_text_blocks(str(ROOT / "examples" / "custom_network.py"), return_node=True)
    made = jupyter_notebook(blocks, {**DEFAULT_GALLERY_CONF, **CONFIG}, str(tmp_path))
    notebook = nbformat.reads(json.dumps(made), as_version=4)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": sys.version, "language": "python"}
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "loaded: same spec True, largest difference 0.0e+00" in printed
    assert (tmp_path / "runs" / "custom" / "mixed.keras").is_file()
    assert any(cell.cell_type == "markdown" and "A spec is plain data" in cell.source for cell in notebook.cells)
