"""The real TensorBoard, asked by its HTTP API and looked at in a headless browser."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import pytest

import keras_resnets as kr

pytestmark = pytest.mark.thorough
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-sync", "--disable-dev-shm-usage", "--virtual-time-budget=20000", "--window-size=1400,1000")
# Lets a page read another one inside it.
FLAGS += ("--disable-web-security", "--disable-site-isolation-trials")
# A page that shows another one, and writes out what is read there: most tabs stand in shadow trees, which no dump has.
READER = """<iframe id="shown" width="1400" height="1000" src="{}"></iframe><pre id="words"></pre><script>
const words = (node) => node.nodeType === 3 ? node.data + " " : ["STYLE", "SCRIPT"].includes(node.nodeName) ? ""
    : (node.shadowRoot ? words(node.shadowRoot) : "") + [...node.childNodes].map(words).join("");
setInterval(() => document.getElementById("words").textContent =
    words(document.getElementById("shown").contentDocument.documentElement), 1000);
</script>"""


@pytest.fixture(scope="module")
def runs(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, rate in (("slow", 0.01), ("fast", 0.1)):
        recipe = kr.recipes.get("digits").replace(learning_rate=rate)
        model = kr.train("resnet8", digits, recipe, out=folder / name, epochs=2, verbose=0)
    kr.studies.delete(model, digits, most=2, draws=2).save(folder / "fast" / "studies" / "delete")
    return folder


@pytest.fixture(scope="module")
def board(runs, tmp_path_factory):
    """The address of a TensorBoard that shows the runs, on a free port of this machine alone."""
    said = tmp_path_factory.mktemp("board") / "said.txt"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), "--host", "127.0.0.1", "--port", "0"]
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "200"})
    try:
        address, end = None, time.monotonic() + 120
        while address is None:
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.5)
            address = re.search(r"http://127\.0\.0\.1:\d+", said.read_text())
        address = address[0]
        while "fast/logs/validation" not in (found := asked(address, "runs")):
            assert time.monotonic() < end, found
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def asked(address, path, body=None, **options):
    query = f"?{urllib.parse.urlencode(options)}" if options else ""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/data/{path}{query}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read().decode()
    return json.loads(content) if answer.headers["Content-Type"].startswith("application/json") else content


def test_scalars_have_their_names_with_accuracy_first(board, runs):
    tags = asked(board, "plugin/scalars/tags")
    assert sorted(tags["fast/logs/train"])[0] == sorted(tags["fast/logs/validation"])[0] == "epoch_accuracy"
    assert set(tags["fast/logs/test"]) == {"epoch_accuracy", "epoch_loss"}
    told = tags["fast/studies/delete/logs"]["study/delete/error, chosen to cost least"]
    assert "number of deleted blocks" in told["description"]
    points = asked(board, "plugin/scalars/scalars", run="fast/logs/validation", tag="epoch_accuracy")
    history = (runs / "fast" / "history.csv").read_text().splitlines()
    column = history[0].split(",").index("val_accuracy")
    assert [value for *_, value in points] == pytest.approx([float(row.split(",")[column]) for row in history[1:]])


def test_hyperparameters_of_the_runs_can_be_compared(board):
    experiment = asked(board, "plugin/hparams/experiment", {"experimentName": ""})
    assert {info["name"] for info in experiment["hparamInfos"] if info.get("differs")} == {"learning_rate"}
    metrics = {(info["name"].get("group", ""), info["name"]["tag"]) for info in experiment["metricInfos"]}
    assert {("validation", "epoch_accuracy"), ("test", "epoch_accuracy")} <= metrics
    assert not any(tag.startswith("study") for _, tag in metrics)


def test_texts_and_graphs_are_there(board):
    assert "about/recipe" in asked(board, "plugin/text/tags")["slow/logs"]
    (recipe,) = asked(board, "plugin/text/text", run="slow/logs", tag="about/recipe")
    assert "<td>0.01</td>" in recipe["text"]
    assert asked(board, "plugin/graphs/info")["slow/logs"]["run_graph"]
    graph = asked(board, "plugin/graphs/graph", run="slow/logs", conceptual="false")
    assert 'name: "stage3/stage3_block1/residual/conv2"' in graph


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, in which the tabs would be looked at")
@pytest.mark.parametrize(
    ("tab", "names"),
    [
        ("timeseries", ["epoch_accuracy", "epoch_learning_rate", "fast/logs/validation"]),
        ("scalars", ["epoch_accuracy", "epoch_loss", "fast/logs/validation", "study"]),
        ("text", ["about/data", "digits"]),
        ("images", ["study/delete/figure"]),
        ("graphs", ["stage1", "stage3", "stem", "head"]),
        ("hparams", ["learning_rate", "fast", "slow", "validation.epoch_accuracy"]),
    ],
)
def test_a_browser_shows_the_names(board, tab, names, tmp_path):
    (tmp_path / "page.html").write_text(READER.replace("{}", f"{board}/#{tab}", 1))
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}/page.html"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page]
        dump = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        server.shutdown()
    shown = dump.split('<pre id="words">')[1]
    assert [name for name in names if name not in shown] == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
