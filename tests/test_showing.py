"""What notebooks show of studies, plans, data and specs: right values, escaped texts, well-formed HTML."""

import dataclasses
import html
import io
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_resnets as kr
from keras_resnets.architecture import counting, variants
from keras_resnets.architecture.plan import plan
from keras_resnets.instruments import evaluation
from keras_resnets.reports.study import DRAWINGS, describe
from keras_resnets.showing import MOST_ROWS, number
from keras_resnets.weights.plans import Plan, Row

pytestmark = pytest.mark.backends
EVIL = "<script>alert('&')</script>"
GOLDEN = Path(__file__).parent / "golden" / "studies"


class Shown(HTMLParser):
    """What an object shows: its texts, tables of texts and images. Every element must be closed in order."""

    def __init__(self, shown):
        super().__init__()
        self.open, self.tables, self.images, self.texts = [], [], [], []
        self.feed(shown._repr_html_())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in {"div", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "img"}
        if tag == "img":
            self.images.append(dict(attributes))
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1].append(text)
        elif text.strip():
            self.texts.append(text.strip())


def test_a_spec_shows_its_stages_and_what_is_not_usual():
    spec = variants.spec("wrn_28_10", dropout=0.3)
    facts, stages = Shown(spec).tables
    assert dict(facts) == {
        "input": "32x32x3",
        "classes": "10",
        "depth": str(spec.depth),
        "blocks": "12",
        "parameters": f"{counting.count(spec).parameters:,}",
        "multiply-adds": f"{counting.count(spec).macs:,}",
        "placement": "pre",
        "shortcut": "B",
        "shared_preactivation": "projection",
        "dropout": "0.3",
    }
    assert stages[0] == ["stage", "blocks", "widths", "kernels", "stride", "pool", "dilation"]
    assert stages[1:] == [
        [str(i), "4", f"{w}, {w}", "3, 3", s, "0", "1"] for i, w, s in ((1, 160, "1"), (2, 320, "2"), (3, 640, "2"))
    ]
    assert "input" in dict(Shown(spec.replace(input_shape=(None, None, 3))).tables[0])


def test_the_plan_of_a_network_shows_its_first_links():
    shown = Shown(plan(variants.spec("resnet56")))
    facts, links = shown.tables
    assert dict(facts)["stem"] == "3x3 convolution, bn, relu"
    assert len(links) == 1 + MOST_ROWS
    assert links[10] == ["stage2_block1", "block", "16", "32", "3, 3", "2", "1, 1", "identity or padding"]
    assert shown.texts[-1] == "and 7 more rows"
    pooled = Shown(plan(variants.spec("vgg15"))).tables[-1]
    assert next(row for row in pooled if row[1] == "max-pool")[1:5] == ["max-pool", "–", "–", "2"]


def test_the_plan_of_weights_shows_what_is_missing_first():
    rows = tuple(Row(f"block{i}/kernel", f"{i}.weight", (3, 3, 1, i), "fits") for i in range(30))
    rows += (Row("head/kernel", "fc.weight", (64, 10), "missing"),)
    shown = Shown(Plan(EVIL, "torch", None, rows, ("extra.weight",), (), ("A <note>.",)))
    facts, table = shown.tables
    assert dict(facts) == {"format": "torch", "preprocessing": "not known", "unused": "extra.weight"}
    assert table[1] == ["head/kernel", "fc.weight", "64x10", "missing"]
    assert (len(table), shown.texts[-1]) == (1 + MOST_ROWS, "and 11 more rows")
    assert {EVIL, "A <note>.", "30 fits, 1 missing of 31 variables; 1 unused, 0 left"} <= set(shown.texts)


def test_data_show_their_classes_and_splits():
    data = kr.data.load("digits", batch_size=24, augmentation=kr.data.Augmentation(pad=2, flip=True))
    shown = Shown(data)
    facts, sizes = shown.tables
    assert dict(facts) | {"classes": ""} == {
        "task": "classification",
        "images": "8x8x1",
        "classes": "",
        "batch size": "24",
        "normalisation": "channel",
        "augmentation": "pad 2, flip True",
    }
    assert dict(facts)["classes"].startswith("10: 0, 1, 2")
    assert sizes[1:] == [[split, f"{size:,}"] for split, size in data.sizes.items()]
    named = dataclasses.replace(data, name=EVIL, class_names=(EVIL, *data.class_names[1:]))
    assert EVIL not in named._repr_html_()
    assert html.escape("<script>") in named._repr_html_()
    assert Shown(named).texts[0] == EVIL


def test_a_study_shows_its_result_its_figure_and_its_first_rows():
    from matplotlib import pyplot

    study = kr.studies.Study.load(GOLDEN / "lesion")
    before = pyplot.get_fignums()
    shown = Shown(study)
    assert pyplot.get_fignums() == before, "it would be drawn a second time"
    assert [line.strip() for line in describe(study).splitlines()] == shown.texts[
        1 : 1 + len(describe(study).splitlines())
    ]
    [picture], [rows] = shown.images, shown.tables
    kind, _, content = picture["src"].partition("base64,")
    assert kind == "data:image/png;"
    import base64

    image = Image.open(io.BytesIO(base64.b64decode(content)))
    drawn = study.figure()
    assert image.size == tuple(np.round(drawn.get_size_inches() * 100).astype(int))
    assert drawn.axes[0].get_xlabel() in picture["alt"]
    pyplot.close(drawn)
    assert rows[0] == list(study.rows)
    column = list(study.rows).index("error")
    assert [row[column] for row in rows[1:]] == [number(e, "error") for e in study.rows["error"][:MOST_ROWS]]


def test_a_study_of_another_version_shows_its_summary_and_rows(monkeypatch):
    study = kr.studies.Study.load(GOLDEN / "lesion")
    monkeypatch.delitem(DRAWINGS, "lesion")
    study.summary = {"examples": 5, "of": {"a": EVIL}}
    facts, rows = Shown(study).tables
    assert dict(facts)["examples"] == "5"
    assert len(rows) == 1 + min(MOST_ROWS, len(study.rows))
    assert EVIL not in study._repr_html_()


@pytest.mark.parametrize("widgets", [True, False])
def test_bars_are_drawn_by_widgets_where_a_notebook_has_them(widgets, monkeypatch):
    shell = type("ZMQInteractiveShell", (), {"__module__": "ipykernel.zmqshell"})
    monkeypatch.setattr("builtins.get_ipython", lambda: shell(), raising=False)
    monkeypatch.setattr(
        evaluation.importlib.util, "find_spec", lambda name: types.SimpleNamespace() if widgets else None
    )
    console = evaluation._console()
    assert console.is_jupyter == widgets
    assert console.file is sys.stderr
    assert widgets or console.is_terminal


def test_bars_are_no_result(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with evaluation.progress("reading", 3, True) as advance:
        advance(3)
    said = capsys.readouterr()
    assert (said.out, "reading" in said.err) == ("", True)
