"""How fast do our networks train, predict and start, beside the same networks in plain Keras?

    python benchmarks/throughput.py                  every case, each in a process of its own
    python benchmarks/throughput.py --case resnet20  one case
    python benchmarks/throughput.py --quick          does it run? the numbers mean nothing

Both networks of a case take turns in one process (ours, theirs, ours, theirs, ...) with the same batch,
optimiser, loss and metric. A ratio is their time divided by ours, taken within each pair: above 1, ours
is the faster. The time to the first step is measured in fresh processes, in turn as well.
"""

import argparse
import importlib
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Keras and the networks are imported inside the functions: the time that takes is measured.


@dataclass(frozen=True)
class Case:
    other: str
    shape: tuple[int, int, int]
    classes: int
    batch: int
    pairs: int


CASES = {
    "resnet50": Case("keras.applications.ResNet50", (224, 224, 3), 1000, batch=8, pairs=7),
    "resnet20": Case("a plain-Keras twin", (32, 32, 3), 10, batch=128, pairs=15),
    "preresnet110": Case("a plain-Keras twin", (32, 32, 3), 10, batch=128, pairs=7),
}
STARTS = 3
QUICK = {"pairs": 2, "starts": 1, "batch": 4}


def twin(name, size=32, without=None, activation="softmax"):
    """ResNet-6n+2 as one would write it with nothing but Keras, shortcut A; `without` names a block to leave out.

    Layers are named as ours are, so that `copy_weights` can pair them.
    """
    import keras
    from keras import layers, ops

    pre, blocks = name.startswith("pre"), (int(name.split("resnet")[1]) - 2) // 6

    def conv(x, width, stride, name):
        if stride > 1:
            x = layers.ZeroPadding2D(1)(x)
        padding = "same" if stride == 1 else "valid"
        kernel = keras.initializers.HeNormal()
        return layers.Conv2D(width, 3, stride, padding=padding, use_bias=False, kernel_initializer=kernel, name=name)(x)

    def norm(x, name):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)

    def norm_relu(x, name):
        return layers.ReLU()(norm(x, name))

    def shortcut(x, width, stride):
        if stride > 1:
            x = layers.AveragePooling2D(1, stride)(x)
        added = width - x.shape[-1]
        return ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, added]]) if added else x

    inputs = keras.Input((size, size, 3))
    x = conv(inputs, 16, 1, "stem_conv")
    if not pre:
        x = norm_relu(x, "stem_bn")
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(1, blocks + 1):
            stride, at = 2 if stage > 1 and block == 1 else 1, f"stage{stage}_block{block}"
            if pre:
                h = norm_relu(x, f"{at}_bn1")
                # The first BN-ReLU of a stage feeds the shortcut too (He et al. 2016, appendix).
                skip = h if block == 1 else x
                if at == without:
                    x = shortcut(skip, width, stride)
                    continue
                h = norm_relu(conv(h, width, stride, f"{at}_conv1"), f"{at}_bn2")
                x = layers.add([conv(h, width, 1, f"{at}_conv2"), shortcut(skip, width, stride)])
            elif at == without:
                x = layers.ReLU()(shortcut(x, width, stride))
            else:
                h = norm_relu(conv(x, width, stride, f"{at}_conv1"), f"{at}_bn1")
                h = norm(conv(h, width, 1, f"{at}_conv2"), f"{at}_bn2")
                x = layers.ReLU()(layers.add([h, shortcut(x, width, stride)]))
    if pre:
        x = norm_relu(x, "head_bn")
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation=activation, name="head_logits")(x), name=f"{name}_twin")


def network(name, side):
    """Returns the network of one side of a case, compiled."""
    import keras

    if side == "ours":
        import keras_resnets as kr

        model = kr.build(name)
    elif name == "resnet50":
        model = keras.applications.ResNet50(weights=None)
    else:
        model = twin(name)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def batch_of(case, batch):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, *case.shape)).astype("float32"), rng.integers(0, case.classes, batch)


def copy_weights(ours, theirs):
    """Gives the twin our weights: `stage1_block1/residual/conv1/kernel` is its `stage1_block1_conv1/kernel`."""
    parts = {tuple(v.path.split("/")): v for v in ours.weights}
    named = {f"{p[0]}_{p[-2]}/{p[-1]}": v for p, v in parts.items()}
    assert named.keys() >= {v.path for v in theirs.weights}
    for variable in theirs.weights:
        variable.assign(named[variable.path])


def start(name, side, batch):
    """Prints the seconds that import, building and compiling, and the first training step take."""
    marks = [time.perf_counter()]
    importlib.import_module("keras_resnets" if side == "ours" else "keras")
    importlib.import_module("keras.layers")  # ours imports Keras when first used
    marks.append(time.perf_counter())
    model = network(name, side)
    marks.append(time.perf_counter())
    model.train_on_batch(*batch_of(CASES[name], batch))
    marks.append(time.perf_counter())
    print(json.dumps([b - a for a, b in itertools.pairwise(marks)]))


def start_in_a_process(name, side, batch):
    command = [sys.executable, __file__, "--case", name, "--start", side, "--batch", str(batch)]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])


def seconds(work, calls):
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def in_turn(ours, theirs, pairs):
    """Returns pairs of seconds per call, each over about half a second of calls."""
    for work in (ours, theirs, ours, theirs):
        work()
    calls = max(1, round(0.5 / seconds(ours, 1)))
    return [(seconds(ours, calls), seconds(theirs, calls)) for _ in range(pairs)]


def row(label, pairs, per_second=None):
    """Formats medians and the paired ratios; `per_second` turns seconds per call into a rate."""
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    if per_second:
        ours, theirs = per_second / ours, per_second / theirs
    ratios = [b / a for a, b in pairs]
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    print(f"  {label:<28}{ours:>10.2f}{theirs:>10.2f}{median(ratios):>9.2f}{spread:>13}{len(pairs):>7}", flush=True)


def measure(name, quick):
    import numpy as np

    case = CASES[name]
    batch, pairs, starts = (
        (QUICK[k] for k in ("batch", "pairs", "starts")) if quick else (case.batch, case.pairs, STARTS)
    )
    ours, theirs = network(name, "ours"), network(name, "theirs")
    counts = [sum(int(np.prod(v.shape)) for v in model.trainable_variables) for model in (ours, theirs)]
    x, y = batch_of(case, batch)
    print(f"\n{name} against {case.other}: {'x'.join(map(str, case.shape))}, batch {batch}")
    if name == "resnet50":
        # The convolutions of keras.applications have biases, in front of normalisation.
        print(f"  trainable parameters {counts[0]:,} and {counts[1]:,}")
    else:
        assert counts[0] == counts[1], f"the twin has {counts[1]:,} trainable parameters, ours {counts[0]:,}"
        copy_weights(ours, theirs)
        # In training mode, for the untrained moving statistics would let 110 layers overflow the softmax.
        a, b = (np.asarray(model(x[:4], training=True)) for model in (ours, theirs))
        difference = float(np.abs(a - b).max())
        assert difference < 1e-3, f"the twin's outputs differ by {difference:.1e}"
        print(f"  trainable parameters {counts[0]:,} in both; with the same weights, outputs within {difference:.0e}")
    print(f"  {'(medians)':<28}{'ours':>10}{'theirs':>10}{'ratio':>9}{'min-max':>13}{'pairs':>7}")
    trained = in_turn(lambda: ours.train_on_batch(x, y), lambda: theirs.train_on_batch(x, y), pairs)
    row("training, images/s", trained, batch)
    predicted = in_turn(lambda: ours.predict_on_batch(x), lambda: theirs.predict_on_batch(x), pairs)
    row("prediction, images/s", predicted, batch)
    begun = [[start_in_a_process(name, side, batch) for side in ("ours", "theirs")] for _ in range(starts)]
    row("import to first step, s", [(sum(a), sum(b)) for a, b in begun])
    for i, part in enumerate(("import", "build and compile", "first step")):
        row(f"  of which {part}", [(a[i], b[i]) for a, b in begun])


def header():
    """Prints what every table of a benchmark stands under."""
    packages = ("keras_resnets", "keras", "tensorflow", "numpy")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    print(f"command   {' '.join(['python', *sys.argv])}")
    print(f"versions  python {platform.python_version()}, {versions}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"machine   {platform.system()} {platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f} at the start"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="one case only")
    parser.add_argument("--quick", action="store_true", help="tiny batches and two pairs, to see that it runs")
    parser.add_argument("--start", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--no-header", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        return start(arguments.case, arguments.start, arguments.batch)
    if not arguments.no_header:
        header()
        print("ratio     their time / our time, median over pairs; above 1, ours is the faster", flush=True)
    if arguments.case:
        return measure(arguments.case, arguments.quick)
    for name in CASES:
        command = [sys.executable, __file__, "--case", name, "--no-header"] + ["--quick"] * arguments.quick
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
