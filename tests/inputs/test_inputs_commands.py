"""Every command with options of any value: done, or one line and its status; written is where it was asked."""

import contextlib
import io
import shutil

import hypothesis
import pytest
from helpers import input_commands
from helpers.input_watch import Fault, ask, snapshot
from hypothesis import strategies as st

from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError

COMMANDS = input_commands.commands()
# These do no more than read arguments; the others may train.
QUICK = {("models",), ("weights",)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    input_commands.prepare(folder)
    return folder


def run(arguments):
    """Runs a command line in this process; a refusal of its arguments becomes an `ArgumentError`."""
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        try:
            status = cli.main(["--debug", *arguments])
        except SystemExit as error:
            raise Fault(f"left by SystemExit({error.code})") from error
    text = told.getvalue()
    if "Traceback" in text:
        raise Fault(f"a traceback: {text[-300:]}")
    if status == 2:
        last = [line for line in text.splitlines() if line.startswith("keras-resnets: ")]
        if not last:
            raise Fault(f"refused without a word: {text[-300:]!r}")
        raise ArgumentError(last[-1])
    return status


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(w, id=" ".join(w), marks=[] if w in QUICK else [pytest.mark.thorough])
        for w in COMMANDS
        if w != ("demo",)
    ],
)
def test_any_options(words, prepared, tmp_path):
    @hypothesis.given(st.data())
    def call(drawn):
        arguments = drawn.draw(input_commands.lines(words, COMMANDS[words]))
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(prepared, work)
        before = snapshot(work)
        ask(" ".join(words), lambda: run(arguments), out=[work, "/tmp"], work=work, seconds=300)
        outs = [
            a.partition("=")[2] if a.startswith("--out=") else b
            for a, b in zip(arguments, [*arguments[1:], ""], strict=True)
            if a.startswith("--out")
        ]
        after = snapshot(work)
        added = [
            p
            for p in after.keys() - before.keys()
            if not any(
                str(work / p).startswith(str(work / out)) or str(work / out).startswith(str(work / p))
                for out in [*outs, "out"]
            )
        ]
        assert not added, f"written beside --out: {added}"
        assert not before.keys() - after.keys(), "removed"

    call()
