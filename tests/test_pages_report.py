"""The page of a folder: its numbers are those of the files, it stands alone, and what cannot be shown is said."""

import base64
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.pages import Page
from PIL import Image

import keras_resnets as kr
from keras_resnets.commands.cli import main
from keras_resnets.errors import ArgumentError
from keras_resnets.pages import curves
from keras_resnets.reports import study as study_module
from keras_resnets.runs import seal
from keras_resnets.studies.answers import Answers
from keras_resnets.studies.evaluate import of_answers

GOLDEN = Path(__file__).parent / "golden"
JOINED = ("lesion", "unskip", "responses", "paths")
STRANGE = "<script>alert('x')</script>"
pytestmark = pytest.mark.backends


def page_of(*folders, out, **options):
    return Page(kr.report(*folders, out=out, **options).read_text())


def copied(name, folder):
    """A copy without network and checkpoints, which a report does not open."""
    names = shutil.ignore_patterns("*.keras", "*.safetensors")
    return Path(shutil.copytree(GOLDEN / name, folder, ignore=names, dirs_exist_ok=True))


def evaluated(data, names):
    """An evaluation of answers of which every fifth is wrong, with a confidence that rises with the number."""
    labels = np.concatenate([y for _, y in data.test])
    count = len(labels)
    answers = np.where(np.arange(count) % 5 == 0, (labels + 1) % 10, labels)
    numbers = np.linspace(0.3, 0.9, count)
    given = Answers(labels, answers, numbers, numbers, (answers != labels).astype(int), {"weights_fingerprint": "f00d"})
    model = SimpleNamespace(name="tiny")
    return of_answers(
        SimpleNamespace(model=model, data=data, split="test", segments=False, classes=10, class_names=names), given
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a <b>run"
    copied("trainings/finished", folder)
    for name in JOINED:
        copied(f"studies/{name}", folder / "studies" / name)
    data = kr.data.load("digits", validation=0.6)
    names = [STRANGE, *map(str, range(1, 10))]
    study = evaluated(data, names)
    study.save(folder / "studies" / "evaluate")
    return SimpleNamespace(folder=folder, data=data, page=page_of(folder, out=folder / "report.html"), answers=study)


def test_tables_hold_the_rows_to_the_last_bit(run):
    for name in (*JOINED, "evaluate"):
        rows = kr.runs.read_csv(run.folder / "studies" / name / "rows.csv")
        table = run.page.tables[f"{name}: rows"]
        assert [label.replace(" ", "_") for label in table] == list(rows)
        for label, cells in table.items():
            column = rows[label.replace(" ", "_")]
            shown = [float(cell) if cell else np.nan for cell in cells] if column.dtype.kind in "if" else cells
            expected = column.astype(int).astype(str) if column.dtype.kind == "b" else column
            np.testing.assert_array_equal(shown, expected.to_numpy(), err_msg=f"{name} {label}")
        assert run.page.content(f"{name}_rows.csv") == (run.folder / "studies" / name / "rows.csv").read_bytes()


def test_blocks_are_joined_over_studies(run):
    rows = {name: pd.read_csv(GOLDEN / "studies" / name / "rows.csv").to_dict("records") for name in JOINED}
    lengths = {}
    for row in rows["paths"]:
        if row["kind"] == "weights":
            total, weight = lengths.get(row["at"], (0, 0))
            lengths[row["at"]] = total + row["length"] * row["norm_share"], weight + row["norm_share"]
    expected = {row["block"]: [row["error"]] for row in rows["lesion"] if row["model"] == "tiny"}
    unskipped = {row["block"]: row["error"] for row in rows["unskip"] if row["kind"] == "unskip" and row["count"] == 1}
    responses = {row["block"]: row["std"] for row in rows["responses"] if "conv2" in row["name"]}
    for block, values in expected.items():
        values += [unskipped.get(block, np.nan), responses[block], lengths[block][0] / lengths[block][1]]
    table = run.page.tables["Each block, by all studies"]
    assert list(table) == ["block", "deleted", "unskipped", "response", "mean path length"]
    shown = [[float(cell) if cell else np.nan for cell in table[label]] for label in list(table)[1:]]
    assert table["block"] == list(expected)
    np.testing.assert_allclose(np.transpose(shown), list(expected.values()), rtol=1e-12)


def test_the_page_says_what_was_asked_and_found(run):
    for name in (*JOINED, "evaluate"):
        for line in kr.studies.describe(kr.studies.Study.load(run.folder / "studies" / name)).splitlines():
            assert line.strip() in run.page.text
    record = json.loads((run.folder / "run.json").read_text())
    assert json.loads(run.page.content("run.json")) == record
    n, p, z = 397, 41 / 397, 1.959964
    middle, half = p + z * z / 2 / n, z * (p * (1 - p) / n + (z / 2 / n) ** 2) ** 0.5
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert f"answers 10.33 % (95 % interval {100 * low:.2f} to {100 * high:.2f})" in run.page.text
    for word in ("tensorflow 2.21.0", "f00d", "Wilson interval", "seed 0", "make_golden.py"):
        assert word in run.page.text


def test_the_page_stands_alone_and_can_be_heard(run):
    page = run.page
    links = [a.get("src") or a.get("href") for _, a in page.elements if "src" in a or "href" in a]
    assert all(link.startswith(("data:", "#")) for link in links)
    source = (run.folder / "report.html").read_text()
    assert not re.search(r"@import|url\(|https?:", source)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#") and len(link) > 1} <= set(ids)
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(len(image["alt"]) > 10 for image in page.of("img"))
    assert all(head["scope"] in ("col", "row") for head in page.of("th"))
    assert page.of("html") == [{"lang": "en"}]
    figures = [image["src"] for image in page.of("img") if image["src"].startswith("data:image/svg")]
    assert len(figures) == 6  # the curves, and one of each study
    for figure in figures:
        svg = base64.b64decode(figure.partition("base64,")[2]).decode()
        assert "<script" not in svg
        assert not re.search(r'href="(?!#)', re.sub(r"data:image/png[^\"]*", "#", svg))


def test_texts_of_files_stay_texts(run):
    assert len(run.page.of("script")) == 1
    assert STRANGE in run.page.text
    assert "a <b>run" in run.page.text
    assert not run.page.of("b")


def test_sample_images_are_those_of_the_answers(run):
    pictures = [image for image in run.page.of("img") if image["src"].startswith("data:image/png")]
    assert len(pictures) == 24
    images = np.concatenate([x for x, _ in run.data.raw.test])
    examples = run.answers.tables["examples"]
    wrong = examples[examples["label"] != examples["answer"]].sort_values("confidence", ascending=False)["example"]
    numbers = [int(re.search(r"Example (\d+)", picture["alt"])[1]) for picture in pictures]
    assert numbers[:12] == list(wrong[:12])
    assert {examples["label"][number] for number in numbers[12:]} == set(range(10))
    for number, picture in zip(numbers, pictures, strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["src"].partition("base64,")[2]))))
        np.testing.assert_allclose(shown / 255, images[number, ..., 0] / images.max(), atol=0.002)


def test_other_data_than_were_evaluated_are_not_shown(run, tmp_path):
    copied("trainings/finished", tmp_path / "run")
    study = run.answers
    tables = study.tables | {"examples": study.tables["examples"].assign(label=0, answer=1)}
    kr.studies.Study("evaluate", study.rows, study.summary, tables=tables).save(
        tmp_path / "run" / "studies" / "evaluate"
    )
    page = page_of(tmp_path / "run", out=tmp_path / "page.html")
    assert "has another label now than when it was evaluated" in page.text
    assert not [image for image in page.of("img") if image["src"].startswith("data:image/png")]


@pytest.mark.parametrize(("name", "shown"), [("/full/path/of/digits", 24), ("/full/path/of/others", 0)])
def test_a_folder_is_the_same_by_its_full_path(run, tmp_path, name, shown):
    copied("trainings/finished", tmp_path / "run")
    kr.studies.Study(
        "evaluate", run.answers.rows, run.answers.summary | {"data": name}, tables=run.answers.tables
    ).save(tmp_path / "run" / "studies" / "evaluate")
    page = page_of(tmp_path / "run", out=tmp_path / "page.html")
    assert len([image for image in page.of("img") if image["src"].startswith("data:image/png")]) == shown


def test_several_runs_are_compared(tmp_path):
    copied("trainings", tmp_path)
    page = page_of(tmp_path, out=tmp_path / "page.html")
    table = page.tables["8 trainings"]
    accuracy = dict(zip(table["run"], table["test accuracy"], strict=True))
    for name, shown in accuracy.items():
        results = json.loads((tmp_path / name / "run.json").read_text()).get("results") or {}
        assert shown == str(results.get("test_accuracy", ""))
    assert "tuned answers most test examples rightly: 14.11 %. By their intervals, none of the others lies" in page.text
    assert "The curves leave out what was trained on other data: scenes." in page.text
    assert page.text.count("This training is not finished") == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("searches/stopped", "This search is not finished."),
        ("searches/finished", "best: trial 0"),
        ("unfinished/survival", "3 of the 4 trainings that it began are."),
        ("pruned/stopped", "This pruning is not finished."),
    ],
)
def test_what_is_finished_and_what_is_not(name, said, tmp_path):
    page = page_of(copied(name, tmp_path / "it"), out=tmp_path / "page.html")
    assert said in page.text
    assert "cannot be shown" not in page.text


def test_damage_costs_its_part_alone(tmp_path):
    folder = copied("trainings/finished", tmp_path / "run")
    for name in ("lesion", "unskip", "responses", "delete", "prune"):
        copied(f"studies/{name}", folder / "studies" / name)
    (folder / "history.csv").write_bytes(b'\xff\xfe"')
    (folder / "studies/lesion/study.json").write_text('{"study": "lesion", "summ')
    (folder / "studies/unskip/rows.csv").write_text("a,b\n1,2\n")
    record = json.loads((folder / "studies/responses/study.json").read_text())
    (folder / "studies/responses/study.json").write_text(json.dumps({**record, "summary": [1, 2]}))
    (folder / "studies/delete/study.json").write_text(json.dumps({**record, "study": "of another version"}))
    (folder / "studies/delete/figure.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "studies/prune/study.json").write_text(json.dumps({**record, "study": ["a list"], "environment": 3}))
    (folder / "studies/later/.unfinished").mkdir(parents=True)
    asked = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**asked, "results": [], "command": {"a": 1}}))
    page = page_of(folder, out=tmp_path / "page.html")
    for sentence in (
        "history.csv' is damaged",
        "study.json' is damaged",
        "The figure of unskip cannot be shown",
        "The verdict of responses cannot be shown",
        "There is no drawing of the study 'of another version'",
        "The study later is not finished",
        "This training is not finished",
    ):
        assert sentence in page.text, sentence
    assert page.tables["unskip: rows"] == {"a": ["1"], "b": ["2"]}
    assert "dropped" in page.tables["['a list']: rows"]
    assert [image for image in page.of("img") if "that the study of another version saved" in image["alt"]]


def test_a_table_of_epochs_that_is_gone_is_told(tmp_path):
    folder = copied("trainings/finished", tmp_path / "run")
    seal(folder / "history.csv")
    (folder / "history.csv").unlink()
    page = page_of(folder, out=tmp_path / "page.html")
    assert "The table of epochs of run, history.csv, is gone" in page.text


def test_folders_that_are_none_of_ours_are_refused(tmp_path, capsys):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "page.html").write_text("<p>mine")
    for argument, words in (("theirs", "holds no run, search or study"), ("nowhere", "is not there")):
        with pytest.raises(ArgumentError, match=words):
            kr.report(tmp_path / argument)
    study = copied("studies/lesion", tmp_path / "lesion")
    with pytest.raises(ArgumentError, match="is not a report"):
        kr.report(study, out=tmp_path / "theirs" / "page.html")
    with pytest.raises(ArgumentError, match="is a folder"):
        kr.report(study, out=tmp_path)
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "nowhere' is not there" in capsys.readouterr().err


def test_folders_are_refused_before_keras_is_imported(tmp_path):
    script = f"""
import sys
from keras_resnets.commands.cli import main
status = main(["report", {str(tmp_path)!r}])
sys.exit(status != 2 or "keras" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "holds no run, search or study" in ended.stderr


def test_texts_stand_out_from_their_ground_in_both_themes(run):
    """By a ratio of 4.5 at least, WCAG 2.2, 1.4.3 (AA)."""

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    themes = re.findall(r":root \{(.*?)\}", (run.folder / "report.html").read_text(), re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", theme))
        for text in ("text", "quiet", "link"):
            for ground in ("page", "soft", "note"):
                low, high = sorted(luminance(colours[name]) for name in (text, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


@pytest.mark.thorough
@pytest.mark.skipif(not shutil.which("chromium"), reason="the browser, chromium, is not installed")
def test_tables_sort_in_a_browser(run, tmp_path):
    click = """<script>
const table = [...document.querySelectorAll("table")].find(t => t.caption.textContent.startsWith("lesion"));
const heads = [...table.tHead.rows[0].cells], column = heads.findIndex(head => head.textContent === "error");
const values = () => [...table.tBodies[0].rows].map(row => row.cells[column].dataset.value);
const seen = [0, 1].map(() => { heads[column].querySelector("button").click(); return values(); });
document.body.textContent = JSON.stringify(seen);
</script></body>"""
    page = tmp_path / "page.html"
    page.write_text((run.folder / "report.html").read_text().replace("</body>", click))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = subprocess.run(["chromium", *options, page.as_uri()], check=True, capture_output=True, text=True).stdout
    up, down = json.loads(re.search(r"<body>(.*)</body>", shown, re.DOTALL)[1])
    errors = sorted(run.page.tables["lesion: rows"]["error"], key=float)
    assert up == errors
    assert down == errors[::-1]


def test_the_command_writes_the_page_and_replaces_its_own(tmp_path, capsys):
    study = copied("studies/reorder", tmp_path / "reorder")
    assert main(["report", str(study)]) == 0
    assert capsys.readouterr().out == f"wrote {study / 'report.html'}\n"
    assert main(["report", str(study), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{study / 'report.html'}\n"
    assert "reorder: rows" in Page((study / "report.html").read_text()).tables


def test_words_in_columns_stay_in_columns(tmp_path, monkeypatch):
    folder = copied("studies/reorder", tmp_path / "reorder")
    told = SimpleNamespace(describe=lambda study: "network  error\na        1 %\nb       20 %\nb is worse", draw=None)
    monkeypatch.setitem(study_module.DRAWINGS, "reorder", told)
    kr.report(folder, out=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert re.search(r"<pre[^>]*>network  error\na        1 %\nb       20 %</pre>", text)
    assert "<li>b is worse</li>" in text


@pytest.mark.parametrize("best", [0, 3])
def test_of_many_curves_the_best_stands_out(best):
    scores = {str(i): [0.5, 0.9 if i == best else 0.6] for i in range(8)}
    histories = {name: pd.DataFrame({"epoch": [1, 2], "val_accuracy": values}) for name, values in scores.items()}
    figure = curves.of_several(histories, "eight")
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {f"best: {best}", "the other 7"}
    strong = [line for line in figure.axes[0].lines if line.get_color() != "0.7"]
    assert [list(line.get_ydata()) for line in strong] == [[0.5, 0.9]]
