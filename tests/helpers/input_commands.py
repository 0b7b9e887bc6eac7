"""Hypothesis strategies for command lines: right ones of every command, with options that take any value."""

import click
import keras
import numpy as np
from hypothesis import strategies as st

from keras_resnets.commands.cli import cli

# Values of options on which the work depends stay small where they are right.
WHOLE = ["0", "-1", "1", "2", "x", "", "1.5", "1e3", "9" * 40, "٣", "0x10", " 1", "nan", "None", "-0"]
NUMBER = ["0", "-1", "0.5", "1", "nan", "inf", "-inf", "1e999", "1e-320", "x", "", "0,5", "½"]
TEXT = [
    "",
    " ",
    "-",
    "--",
    "-x",
    "--out",
    "digits",
    "resnet8",
    "all",
    "a b",
    "é\u0301",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    "../..",
    "x" * 300,
]
TEXT += [
    "{}",
    "[]",
    "null",
    "=",
    "a=b",
    "width=0.5",
    "shortcut=Z",
    "epochs=nan",
    "augmentation=[]",
    "{name}",
    "%s",
    "0.5",
    "1",
    "-1",
]
TEXT += [
    "stochastic:0.5",
    "stochastic:x",
    "fixed:9",
    "keras.applications:",
    "akamaster/resnet20",
    "resnet20.json",
    "no.keras",
]
PLACES = [
    "out",
    "a b\n é",
    "-dash",
    "deep/er/still",
    "data.npz",
    "net.keras/x",
    "\udcff",
    "x" * 300,
    "",
    ".",
    "bad.keras",
]


def prepare(folder):
    """Fills a folder with what commands are pointed at: a network, data, pictures, and what is wrong with each."""
    from helpers.input_arguments import arrays, network

    network().save(folder / "net.keras")
    x, y = arrays(24)
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    (folder / "bad.keras").write_bytes(b"PK\x03\x04 none")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "list.json").write_text("[[1, {}], null]")
    (folder / "names.txt").write_text("a\nb\nc\n")
    for kind in ("cat", "dog é"):
        (folder / "images" / kind).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((9, 8, 3), 20 * i)
            keras.utils.save_img(folder / "images" / kind / f"-{i} \n.png", pixels, "channels_last", scale=False)


def commands():
    """All commands by their words, with their parameters."""
    found = {}

    def walk(command, words):
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                walk(command.get_command(click.Context(command), name), (*words, name))
        else:
            found[words] = [p for p in command.params if p.name != "help"]

    walk(cli, ())
    return found


# Right values of parameters by their names; others are left out of a right command line.
RIGHT = {
    "source": ["net.keras"],
    "data": ["data.npz"],
    "network": ["resnet8"],
    "model": ["resnet8"],
    "runs": ["net.keras", "net.keras"],
    "images": ["images"],
    "folders": ["."],
    "file": ["net.keras"],
    "epochs": ["1"],
    "seeds": ["1"],
    "draws": ["1"],
    "most": ["1"],
    "trials": ["1"],
    "timed": ["1"],
    "calls": ["1"],
    "blocks": ["1"],
    "budget_params": ["3000"],
    "format": ["saved_model"],
}
# Right where a command has no such option, or another of the name.
NOT_GIVEN = {("study", "recovery"): {"blocks"}, ("search",): {"blocks"}, ("report",): {"images"}}
FILES = [
    "net.keras",
    "bad.keras",
    "empty.npz",
    "data.npz",
    "list.json",
    "names.txt",
    "images",
    ".",
    "no/such",
    "/dev/null",
    "images/cat",
]


def value(parameter):
    """A strategy of values of a parameter of any kind."""
    if parameter.name == "out":
        return st.sampled_from(PLACES)
    if isinstance(parameter.type, click.Choice):
        return st.sampled_from([*map(str, parameter.type.choices), "", "x"])
    if parameter.type is click.INT:
        return st.sampled_from(WHOLE)
    if parameter.type is click.FLOAT:
        return st.sampled_from(NUMBER)
    texts = st.one_of(
        st.sampled_from(TEXT), st.sampled_from(FILES), st.text(max_size=6).filter(lambda t: "\0" not in t)
    )
    return st.one_of(st.sampled_from(FILES), texts) if parameter.name in ("source", "file", "images", "data") else texts


@st.composite
def lines(draw, words, parameters):
    """Draws a command line: right values, of which up to three are exchanged or added."""
    left_out = NOT_GIVEN.get(words, ())
    given = {p.name: RIGHT[p.name] for p in parameters if p.name in RIGHT and p.name not in left_out}
    given |= {p.name: ["out"] for p in parameters if p.name == "out"}
    # Ray would be started, or a set fetched.
    free = [p for p in parameters if p.name not in ("download", "ray", "workers", "gpus", "devices")]
    for parameter in draw(st.lists(st.sampled_from(free), min_size=1, max_size=3, unique_by=lambda p: p.name)):
        if draw(st.integers(0, 9)) == 0:
            given.pop(parameter.name, None)
        elif getattr(parameter, "is_flag", False):
            given[parameter.name] = [] if draw(st.booleans()) else given.get(parameter.name)
        else:
            given[parameter.name] = [draw(value(parameter)) for _ in range(2 if draw(st.integers(0, 9)) == 0 else 1)]
    options, arguments = [], []
    for parameter in parameters:
        values = given.get(parameter.name)
        if values is None:
            continue
        if isinstance(parameter, click.Argument):
            arguments += values
        elif getattr(parameter, "is_flag", False):
            options += [draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts]))]
        else:
            for one in values:
                options += [parameter.opts[-1], one] if draw(st.booleans()) else [f"{parameter.opts[-1]}={one}"]
    order = [options, ["--", *arguments] if draw(st.booleans()) else arguments]
    return [*words, *order[0], *order[1]]
