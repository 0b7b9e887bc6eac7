"""How does the cost grow with the work: blocks, images, classes, trials?

    python benchmarks/growth.py                      all curves
    python benchmarks/growth.py --only search        those whose names begin so
    python benchmarks/growth.py --only lesion --large    and their largest points, which take minutes
    python benchmarks/growth.py --quick              the two smallest points of each: does it run?

Each point is a process of its own. Its seconds are of processor time, all threads together, so that other work on the
machine counts little; its peak is the memory above what it held before the work began. Networks are tiny, a few
channels on images of 8x8 or 4x4, and are built and traced before the clock starts, as far as the study does not
trace them itself. The exponent is the slope of a straight line through the last three points, on logarithmic axes; of
a curve that is not steeper than `stated`, constant costs make it smaller.
"""

import argparse
import importlib
import json
import math
import multiprocessing
import os
import platform
import random
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np


def network(blocks, side=8, width=4, classes=10):
    """A network of that many basic blocks, in three stages."""
    import keras_resnets as kr

    stages = [kr.Stage(blocks // 3, (width, width), stride=stride) for stride in (1, 2, 1)]
    model = kr.build(kr.Spec("growth", tuple(stages), (side, side, 1), classes, stem_width=width))
    model.predict_on_batch(np.zeros((1, side, side, 1)))
    return model


def images(count, side=8, classes=10):
    rng = np.random.default_rng(0)
    return rng.random((count, side, side, 1), "float32"), rng.integers(0, classes, count)


def lesion(blocks=3, count=16, side=8):
    import keras_resnets as kr

    model, data = network(blocks, side), images(count, side)
    return lambda: kr.studies.lesion(model, data)


def delete(blocks=3, count=16, side=8, budget=2**30):
    import keras_resnets as kr

    model, data = network(blocks, side), images(count, side)
    return lambda: kr.studies.delete(model, data, most=3, draws=1, budget=budget)


def paths(blocks=3, count=4, side=4):
    import keras_resnets as kr

    model, data = network(blocks, side), images(count, side)
    return lambda: kr.studies.paths(model, data, examples=count, draws=2, weights=False)


def evaluate(count=1000, classes=10, side=4):
    import keras_resnets as kr

    model, data, folder = network(3, side, classes=classes), images(count, side, classes), tempfile.mkdtemp()
    return lambda: kr.evaluate(model, data).save(folder)


def compare(count=1000, networks=2, side=4):
    import keras_resnets as kr

    data = images(count, side)
    models = {f"network {i}": network(3, side) for i in range(networks)}
    return lambda: kr.compare(models, data, timed=0)


def first_step(blocks=3):
    model, (x, y) = network(blocks), images(2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return lambda: model.train_on_batch(x, y)


def _oracle(kind, trials, file):
    import keras_resnets as kr
    from keras_resnets.search import oracles
    from keras_resnets.search.journal import Journal

    rate = kr.search.Range(0.01, 0.3)
    space = kr.search.DepthWidth("preresnet20", "digits", parameters=4_000, blocks=(1, 2), learning_rate=rate)
    return oracles.make(kind, space, trials, journal=Journal(file))


def _play(oracle):
    """One worker, whose trials need no time."""
    while (trial := oracle.create_trial("w0")).status == "RUNNING":
        oracle.update_trial(trial.trial_id, {"val_accuracy": random.Random(trial.trial_id).random()})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)


def asking(trials, kind="random"):
    oracle = _oracle(kind, trials, Path(tempfile.mkdtemp()) / "journal.jsonl")
    return lambda: _play(oracle)


def restoring(trials):
    file = Path(tempfile.mkdtemp()) / "journal.jsonl"
    _play(_oracle("random", trials, file))
    oracle = _oracle("random", trials, file)
    return lambda: oracle.replay(oracle.journal.read()[0])


def _searched(trials):
    """A study as `search` makes it."""
    import pandas as pd

    from keras_resnets.reports.study import Study
    from keras_resnets.search import results

    rng = np.random.default_rng(0)
    depth, error = rng.integers(1, 6, trials) * 6 + 2, rng.random(trials)
    rows = pd.DataFrame({"trial": range(trials), "status": "completed", "score": 1 - error, "error": error})
    rows["error_low"], rows["error_high"], rows["test_error"] = error * 0.9, error * 0.9 + 0.1, error
    rows["depth"], rows["width"], rows["widths"] = depth, 8, "2-4-8"
    for cost in results.COSTS:
        rows[cost] = rng.integers(1, 10**6, trials)
        results.mark_front(rows, rows["status"] == "completed", cost)
    by_depth = [
        {"depth": int(d), "trials": len(part), "best": part.min(), "low": 0.1, "median": 0.5, "high": 0.9}
        for d, part in rows.groupby("depth")["error"]
    ]
    summary = {"model": "preresnet20", "measure": "parameters", "budget": 4000, "tolerance": 0.1, "left_out": []}
    summary |= {"oracle": "random", "objective": "val_accuracy", "trials": trials, "seeds": 1, "epochs": 2, "seed": 0}
    summary |= {"data": "digits", "examples": 180, "test_examples": 180, "labels": "given", "choices": ["depth"]}
    return Study("search", rows, summary | {"best": 0, "by_depth": by_depth})


def tables(trials):
    folder = tempfile.mkdtemp()
    return lambda: _searched(trials).save(folder)


def _reported(study):
    import keras_resnets as kr

    folder = tempfile.mkdtemp()
    study.save(folder)
    return lambda: kr.report(folder)


def report_trials(trials):
    return _reported(_searched(trials))


def report_blocks(blocks):
    return _reported(lesion(blocks, 2)())


def report_classes(classes):
    import keras_resnets as kr

    return _reported(kr.evaluate(network(3, 4, classes=classes), images(1000, 4, classes)))


def figure_blocks(blocks):
    study, folder = lesion(blocks, 2)(), tempfile.mkdtemp()
    return lambda: study.save(folder)


@dataclass
class Curve:
    """A cost against one measure of the work.

    Attributes:
        axis: the measure of the work.
        values: its values; the last one is taken with `--large` alone.
        prepare: makes what is measured, for a value.
        stated: the exponent that the cost should not exceed.
        why: why that is so.
    """

    axis: str
    values: tuple[int, ...]
    prepare: Any
    stated: float
    why: str


BLOCKS, IMAGES, TRIALS = (9, 27, 54, 108, 333), (100, 1000, 10_000, 100_000), (10, 100, 1000, 10_000)
CLASSES = (10, 100, 1000, 21_000)
CURVES = {
    "lesion": Curve("blocks", BLOCKS, lesion, 2, "a lane for every block, through all blocks behind it"),
    "lesion, images": Curve("images", IMAGES, lambda n: lesion(3, n, 4), 1, "batch by batch"),
    "delete": Curve("blocks", BLOCKS[:-1], delete, 2, "as lesion, in each round"),
    "delete, images": Curve(
        "images", IMAGES, lambda n: delete(3, n, 4, 2**22), 1, "batch by batch; here `budget` is 4 MB"
    ),
    "paths": Curve("blocks", BLOCKS, paths, 2, "a part for every length, through all blocks; and paths of each length"),
    "paths, images": Curve("images", IMAGES[:-1], lambda n: paths(3, n), 1, "batch by batch"),
    "evaluate, images": Curve("images", IMAGES, evaluate, 1, "batch by batch; a row for each example"),
    "evaluate, classes": Curve("classes", CLASSES, lambda n: evaluate(1000, n), 1, "a score for each class"),
    "compare, images": Curve("images", IMAGES, compare, 1, "a bit for each example and network"),
    "compare, networks": Curve("networks", (2, 4, 8, 16), lambda n: compare(1000, n), 2, "all pairs"),
    "search, asking": Curve("trials", TRIALS, asking, 1, "one more trial, two more lines of the journal"),
    "search, asking bayesian": Curve(
        "trials", (10, 20, 40, 80), lambda n: asking(n, "bayesian"), 4, "a Gaussian process fitted anew for each trial"
    ),
    "search, restoring": Curve("trials", TRIALS, restoring, 1, "every event once"),
    "search, tables and figure": Curve("trials", TRIALS, tables, 1, "a row, and a point in each panel"),
    "study, tables and figure": Curve("blocks", BLOCKS, figure_blocks, 1, "a row, and a bar"),
    "report, trials": Curve("trials", TRIALS, report_trials, 1, "a row"),
    "report, blocks": Curve("blocks", BLOCKS, report_blocks, 1, "a row"),
    "report, classes": Curve("classes", CLASSES, report_classes, 1, "a row"),
    "first step": Curve("blocks", BLOCKS, first_step, 1, "every operation is made once, in Python"),
}


def resident(peak):
    """The memory of this process in MB, now or at its peak so far."""
    with open("/proc/self/status") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return int(found["VmHWM" if peak else "VmRSS"].split()[0]) / 1e3


def measure(name, value, pipe):
    work = CURVES[name].prepare(value)
    before, began = resident(False), time.process_time()
    work()
    seconds = time.process_time() - began
    # Work that runs in processes of its own counts, too.
    seconds += sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    pipe.send((seconds, max(0.0, resident(True) - before)))


def exponent(values, seconds):
    """The slope of a straight line through the last three points, on logarithmic axes."""
    points = [(math.log(v), math.log(s)) for v, s in zip(values, seconds, strict=True)][-3:]
    return float(np.polyfit(*zip(*points, strict=True), 1)[0]) if len(points) > 1 else math.nan


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="curves whose names begin so; may be repeated")
    parser.add_argument("--large", action="store_true", help="also the largest point of each curve")
    parser.add_argument("--quick", action="store_true", help="the two smallest points of each curve")
    parser.add_argument("--out", help="a file for the points, as JSON lines; those that it has are not measured again")
    parser.add_argument("--limit", type=float, default=600, help="seconds of wall time for a point (%(default)s)")
    arguments = parser.parse_args()

    # Loaded once; a process that has not computed anything can be forked.
    import keras_resnets as kr

    kr.build, kr.studies.lesion, kr.evaluate, kr.compare, kr.report, kr.search.DepthWidth  # noqa: B018
    for module in ("matplotlib.pyplot", "pandas", "sklearn.metrics"):
        importlib.import_module(module)
    import tensorflow as tf

    print(f"python {platform.python_version()}, tensorflow {tf.__version__}, {os.cpu_count()} cores; processor seconds")
    context, known = multiprocessing.get_context("fork"), {}
    if arguments.out and Path(arguments.out).exists():
        lines = map(json.loads, Path(arguments.out).read_text().splitlines())
        known = {(line["curve"], line["value"]): (line["seconds"], line["peak"]) for line in lines}
    print(f"{'curve':<28}{'stated':>7}{'found':>7}  points: {'value seconds MB':<24}")
    for name, curve in CURVES.items():
        if arguments.only and not any(name.startswith(start) for start in arguments.only):
            continue
        values = curve.values[:2] if arguments.quick else curve.values if arguments.large else curve.values[:-1]
        points = []
        for value in values:
            if (name, value) not in known:
                ours, theirs = context.Pipe(False)
                process = context.Process(target=measure, args=(name, value, theirs))
                process.start()
                theirs.close()
                try:
                    known[name, value] = ours.recv() if ours.poll(arguments.limit) else None
                except EOFError:
                    known[name, value] = None
                process.kill()
                process.join()
                if arguments.out and known[name, value]:
                    seconds, peak = known[name, value]
                    line = {"curve": name, "value": value, "seconds": seconds, "peak": peak}
                    with open(arguments.out, "a") as file:
                        print(json.dumps(line), file=file)
            if known[name, value] is None:
                break
            points.append((value, *known[name, value]))
        slope = exponent(*zip(*[p[:2] for p in points], strict=True)) if points else math.nan
        told = "   ".join(f"{value:,} {seconds:.2f} {peak:.0f}" for value, seconds, peak in points)
        ended = "" if len(points) == len(values) else f"   {values[len(points)]:,} failed, or took too long"
        print(f"{name:<28}{curve.stated:>7}{slope:>7.2f}  {curve.axis}: {told}{ended}", flush=True)


if __name__ == "__main__":
    main()
