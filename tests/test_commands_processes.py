"""The command line as a process: its exit status, what it prints, and that help does not wait for Keras."""

import subprocess
import sys

import pytest
from helpers import wrong_calls


@pytest.mark.parametrize(
    ("arguments", "status", "lines"),
    [
        (["models", "resnet20"], 0, 0),
        (["models", "resnet21"], 2, 1),
        (["train", "resnet8", "--out", "{held}"], 1, 1),
    ],
    ids=["done", "wrong usage", "failed"],
)
def test_command_as_a_process(arguments, status, lines, place):
    ran = subprocess.run(
        [sys.executable, "-m", "keras_resnets", *wrong_calls.filled(arguments, place)],
        capture_output=True,
        text=True,
        env=wrong_calls.ENVIRONMENT,
        cwd=wrong_calls.PACKAGE,
        check=False,
    )
    assert ran.returncode == status, ran.stderr
    assert ran.stderr.count("\n") == lines, ran.stderr
    assert "Traceback" not in ran.stderr


HELP = """
import sys
from keras_resnets.commands.cli import main
status = main(sys.argv[1:])
loaded = {"keras", "tensorflow", "sklearn", "pandas"} & set(sys.modules)
sys.exit(f"status {status}, imported {loaded}" if status or loaded else 0)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["study", "-h"], ["models", "resnet20"]], ids=" ".join
)
def test_help_does_not_wait_for_keras(arguments):
    ran = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, cwd=wrong_calls.PACKAGE, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "resnet" in ran.stdout


STOPPED = """
import builtins, sys
load = builtins.__import__

def stopped(name, *arguments):
    if name == "click":
        raise KeyboardInterrupt
    return load(name, *arguments)

builtins.__import__ = stopped
from keras_resnets.__main__ import entry
entry()
"""


def test_ctrl_c_while_commands_are_imported_gets_its_word():
    ran = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, cwd=wrong_calls.PACKAGE, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "keras-resnets: stopped; the same command resumes.\n"
