"""What commands print: `--json` one document, `--quiet` the result alone, the same on all; and what shells complete."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

import keras_resnets as kr
from keras_resnets.architecture import counting, variants
from keras_resnets.commands import cli, output, studies
from keras_resnets.commands.study import study
from keras_resnets.weights import public

pytestmark = pytest.mark.backends

# A command that says something in every way there is.
SCRIPT = """
import os, sys
from keras_resnets.commands import cli, output
from keras_resnets.errors import notice

@cli.cli.command("speak")
@output.printing
def speak(say):
    say.note("a note")
    print("of a library")
    os.write(1, b"of native code\\n")
    notice("A warning.")
    say.written(["a/file"])
    say.result({"share": float("nan"), "name": "\\u00e9"}, "the result")
    print("late")

sys.exit(cli.main(["speak", *sys.argv[1:]]))
"""
BESIDE = {"a note", "of a library", "of native code", "wrote a/file", "late"}


def spoken(*flags):
    ran = subprocess.run([sys.executable, "-c", SCRIPT, *flags], capture_output=True, text=True, check=True)
    return ran.stdout, {line for line in ran.stderr.splitlines() if line}


def test_standard_output_has_the_document_alone():
    out, err = spoken("--json")
    assert json.loads(out) == {"share": "NaN", "name": "é", "written": ["a/file"]}
    assert err == BESIDE | {"keras-resnets: A warning."}


def test_quiet_leaves_the_result_and_warnings():
    assert spoken("--quiet") == ("the result\n", {"keras-resnets: A warning."})
    out, err = spoken("--quiet", "--json")
    assert (json.loads(out)["written"], err) == (["a/file"], {"keras-resnets: A warning."})


def test_without_either_everything_is_printed():
    out, err = spoken()
    assert set(out.splitlines()) == BESIDE | {"the result"}
    assert err == {"keras-resnets: A warning."}


def commands(group, *path):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


def test_every_command_has_both():
    found = dict(commands(cli.cli))
    assert {("train",), ("study", "lesion"), ("models",), ("demo",)} <= found.keys()
    for path, command in found.items():
        flags = {flag for param in command.params for flag in param.opts}
        assert {"--json", "--quiet"} <= flags, path


def test_models_are_grouped_by_purpose_and_sorted_by_number(capsys):
    assert cli.main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert sorted(row["name"] for row in rows) == variants.list_models()
    assert all(row["for"] for row in rows), "a new variant needs its purpose in architecture/purposes.py"
    names = [row["name"] for row in rows]
    depths = [name for name in names if name.startswith("resnet") and name[6:].isdigit()]
    assert depths == [f"resnet{n}" for n in (18, 34, 50, 101, 152, 38, 20, 32, 44, 56, 110, 1202)]
    assert [name for name in names if name.startswith("wrn_40")] == [f"wrn_40_{k}" for k in (1, 2, 4, 8, 10)]
    for row in rows:
        spec = variants.spec(row["name"])
        assert (row["parameters"], row["depth"]) == (counting.count(spec).parameters, spec.depth)
        assert ("ImageNet" in row["for"].split()[0]) == (spec.input_shape[0] != 32), row["name"]
    assert cli.main(["models"]) == 0
    said = capsys.readouterr().out
    assert said.index("ImageNet (He et al. 2015)") < said.index("resnet152 ") < said.index("CIFAR (He et al. 2015)")


def test_weights_as_json_are_those_of_the_table(capsys):
    assert cli.main(["weights", "resnet18", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["weights"]
    with (Path(public.__file__).parent / "sets.csv").open(newline="", encoding="utf-8") as file:
        expected = [row["name"] for row in csv.DictReader(file) if row["variant"] == "resnet18"]
    assert [row["name"] for row in rows] == expected
    assert {"variant", "licence", "top1", "here"} <= rows[0].keys()


@pytest.mark.parametrize("name", [*studies.STUDIES])
def test_a_study_has_its_own_options_alone_and_an_example_that_is_read(name):
    command, entry = study.commands[name], studies.STUDIES[name]
    own = {param.name for param in command.params} - {"as_json", "quiet", "out", "source"}
    assert own & studies.OPTIONS.keys() - {"examples"} == entry.options.keys() - {"examples"}
    context = command.make_context(name, entry.example.split())
    assert {"paths": 1000, "cancellation": 1000, "delete": 20, "reorder": 20}.get(name) == context.params.get("draws")
    text = command.get_help(click.Context(command, info_name=name, max_content_width=100))
    assert f"keras-resnets study {name} {entry.example}" in text
    assert len(text.splitlines()) < 32


def test_the_list_of_commands_says_of_each_in_whole_what_it_does():
    text = cli.cli.get_help(click.Context(cli.cli, info_name="keras-resnets", terminal_width=80))
    lines = text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == sorted(cli.cli.commands), "one line for each"
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def test_the_help_of_the_group_has_two_sections():
    text = study.get_help(click.Context(study, info_name="study"))
    head, _, rest = text.partition("Of a trained network:")
    trained, _, training = rest.partition("That train:")
    assert head
    for name, entry in studies.STUDIES.items():
        assert (f"  {name} " in training) == entry.trains
        assert (f"  {name} " in trained) != entry.trains


def completed(line, begun):
    found = ShellComplete(cli.cli, {}, "keras-resnets", "_X").get_completions(line.split(), begun)
    return [item.value for item in found if item.type == "plain"], {item.type for item in found}


def test_shells_complete_names():
    names = sorted(name for name in studies.STUDIES if name.startswith("re"))
    assert completed("study", "re") == (names, {"plain"})
    assert completed("train", "preresnet11") == (["preresnet110"], {"plain", "file"})
    assert completed("models", "wrn_28") == (["wrn_28_10", "wrn_28_12", "wrn_28_2"], {"plain"})
    recipes = sorted(name for name in kr.recipes.RECIPES if name.startswith("he1"))
    assert completed("train resnet20 --recipe", "he1") == (recipes, {"plain", "file"})
    weights = sorted(known.name for known in public.table() if known.name.startswith("akamaster/"))
    for line in ("evaluate", "study lesion", "train resnet56 --weights", "convert", "predict", "compare akamaster/x"):
        assert completed(line, "akamaster/") == (weights, {"plain", "file"}), line
    assert completed("train resnet20 --data", "dig")[0] == ["digits"]
    assert "resnet56" in completed("weights", "resnet")[0]
    assert completed("study delete x", "--dr")[0] == ["--draws"]
    assert completed("study lesion x", "--dr")[0] == []


def test_completion_by_a_shell_imports_no_keras():
    script = (
        "import os, sys; from keras_resnets.commands import cli\n"
        "os.environ |= {'_KERAS_RESNETS_COMPLETE': 'bash_complete', 'COMP_CWORD': '4',\n"
        "               'COMP_WORDS': 'keras-resnets train resnet20 --recipe wr'}\n"
        "try: cli.main([])\n"
        "finally: assert not {'keras', 'tensorflow', 'jax'} & sys.modules.keys()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[:2] == ["plain,wrn", "plain,wrn_svhn"]


def test_a_study_is_a_document():
    done = kr.studies.Study.load(Path(__file__).parent / "golden" / "studies" / "shortcuts")
    document = output.of_study(done)
    assert document.keys() == {"study", "summary", "rows", "environment", *done.tables}
    assert [row["error"] for row in document["rows"]] == done.rows["error"].tolist()
