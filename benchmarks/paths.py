"""What do skipped blocks save, and what does the gradient by length of path cost?

    python benchmarks/paths.py                    preresnet110, 32x32: steps of 128 images, spectrum of 64
    python benchmarks/paths.py --deep 4           and the spectrum of preresnet1001, of 4 images
    python benchmarks/paths.py --model resnet20 --batch 8 --images 4 --rounds 2    does it run? the numbers mean nothing

Steps: the network with all blocks, with `FixedSize` of 23 in 54 blocks (Veit et al. 2016, section 4.3) and with
`StochasticDepth(0.5)` (Huang et al. 2016) take turns in one process, `--steps` steps each a turn, for what is drawn
differs from step to step. A ratio is a policy's time over the full network's in the same turn. Expected is the share of
residual branches that is computed.
Start: from the beginning of `compile` to the end of the first step, each in a process of its own, in turn.
Spectrum: `kr.studies.paths` with its defaults, tracing included, beside one forward-backward pass of the same batch
(gradients of the loss with respect to all weights, traced, the median of a few).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from throughput import header

import keras_resnets as kr


def policies(blocks):
    """The ways to train, by label."""
    fixed = kr.paths.FixedSize(round(blocks * 23 / 54))
    return {
        "all blocks": None,
        f"FixedSize({fixed.blocks})": fixed,
        "StochasticDepth(0.5)": kr.paths.StochasticDepth(0.5),
    }


def compiled(name, size, policy):
    model = kr.build(name, (size, size, 3))
    optimizer = kr.optimizers.SGD(0.01, 0.9, l2=1e-4)
    return model, lambda: model.compile(optimizer, "sparse_categorical_crossentropy", paths=policy)


def batch_of(images, size):
    rng = np.random.default_rng(0)
    return rng.normal(size=(images, size, size, 3)).astype("float32"), rng.integers(0, 10, images)


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def start(arguments):
    """Prints the seconds from compiling to the end of the first step."""
    model, compile_it = compiled(arguments.model, arguments.size, policies(arguments.blocks)[arguments.start])
    x, y = batch_of(arguments.batch, arguments.size)
    print(json.dumps(seconds(lambda: (compile_it(), model.train_on_batch(x, y)))))


def started(label, arguments, blocks):
    command = [sys.executable, __file__, "--start", label, "--blocks", str(blocks)]
    for name in ("model", "size", "batch"):
        command += [f"--{name}", str(getattr(arguments, name))]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])


def table(title, times, expected=None):
    """Medians, and the ratios to the first column of each turn."""
    print(f"\n{title}\n  {'(medians)':<24}{'seconds':>9}{'ratio':>8}{'min-max':>14}{'expected':>10}{'turns':>7}")
    full = next(iter(times.values()))
    for label, taken in times.items():
        ratios = [a / b for a, b in zip(taken, full, strict=True)]
        spread = f"{min(ratios):.3f}-{max(ratios):.3f}"
        share = f"{expected[label]:.3f}" if expected else ""
        print(
            f"  {label:<24}{median(taken):>9.2f}{median(ratios):>8.3f}{spread:>14}{share:>10}{len(taken):>7}",
            flush=True,
        )


def steps(arguments, blocks):
    x, y = batch_of(arguments.batch, arguments.size)
    models, expected = {}, {}
    for label, policy in policies(blocks).items():
        model, compile_it = compiled(arguments.model, arguments.size, policy)
        compile_it()
        model.train_on_batch(x, y)
        models[label], expected[label] = model, 1.0 if policy is None else policy.survival(blocks).mean()
    times = {label: [] for label in models}
    for _ in range(arguments.rounds):
        for label, model in models.items():
            taken = seconds(lambda model=model: [model.train_on_batch(x, y) for _ in range(arguments.steps)])
            times[label].append(taken / arguments.steps)
    table(f"training step, {arguments.batch} images of {arguments.size}x{arguments.size}", times, expected)


def spectrum(name, images, size, **options):
    import tensorflow as tf

    model = kr.build(name, (size, size, 3), bn_momentum=0.0)
    x, y = batch_of(images, size)
    model(x, training=True)  # moving statistics of this batch, without which an untrained deep network overflows
    model.compile("sgd", "sparse_categorical_crossentropy")
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def back(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.compute_loss(x, y, model(x, training=False)))
        return tape.gradient(loss, variables)

    inputs = tf.constant(x), tf.constant(y)
    back(*inputs)
    one = median(seconds(lambda: back(*inputs)[0].numpy()) for _ in range(5))
    began = time.perf_counter()
    study = kr.studies.paths(model, (x, y), examples=images, **options)
    taken = time.perf_counter() - began
    print(
        f"\nspectrum of {name}, {images} images of {size}x{size}\n"
        f"  forward-backward pass {one:.2f} s; study {taken:.1f} s: {taken / one:.1f} passes\n"
        f"  the parts sum to the gradient within {study.summary['largest_error_of_sum']:.0e}, in double precision "
        f"within {study.summary['checked_in_double_precision']['largest_error_of_sum']:.0e}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="preresnet110", help="a variant (%(default)s)")
    parser.add_argument("--size", type=int, default=32, help="side of the images (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images of a step (%(default)s)")
    parser.add_argument("--steps", type=int, default=4, help="steps of a turn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="turns of first steps (%(default)s)")
    parser.add_argument("--images", type=int, default=64, help="images of the spectrum (%(default)s)")
    parser.add_argument("--only", choices=("steps", "starts", "spectrum", "deep"), help="one part")
    parser.add_argument("--deep", type=int, help="images of a spectrum of preresnet1001, with one draw of each length")
    parser.add_argument("--start", help=argparse.SUPPRESS)
    parser.add_argument("--blocks", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        return start(arguments)
    header()
    blocks = kr.variants.spec(arguments.model).blocks
    print(f"{arguments.model}, {blocks} blocks")
    if arguments.only in (None, "steps"):
        steps(arguments, blocks)
    if arguments.only in (None, "starts"):
        labels = list(policies(blocks))[:2]
        turns = [[started(label, arguments, blocks) for label in labels] for _ in range(arguments.starts)]
        table("compiling and first step", dict(zip(labels, zip(*turns, strict=True), strict=True)))
    if arguments.only in (None, "spectrum"):
        spectrum(arguments.model, arguments.images, arguments.size)
    if arguments.deep:
        spectrum("preresnet1001", arguments.deep, arguments.size, draws=1)


if __name__ == "__main__":
    main()
