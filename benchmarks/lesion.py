"""What does it cost to delete every block in turn: by lanes, by forward passes, by rebuilding?

    python benchmarks/lesion.py                                     preresnet110, 512 images of 32x32
    python benchmarks/lesion.py --check                             and compare the outputs of all blocks
    python benchmarks/lesion.py --model resnet8 --images 16 --rounds 1    does it run? the numbers mean nothing

Three ways to the outputs of the intact network and of each with one residual branch gone, in turn:
`sweep`, all of them in one walk (keras_resnets.lanes, as the lesion study does it; its tracing counts);
`forward`, the least that evaluating them one by one can cost: one warm `predict`, times blocks + 1;
`rebuild`, one `keras_resnets.delete` and `predict`, times blocks, and one predict of the intact network.
A ratio is the time of the sweep divided by that of the other way in the same round.
"""

import argparse
import logging
import os
import resource
import sys
import time
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from throughput import header

import keras_resnets as kr

# Tracing a function for each rebuilt network is what is measured.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


def clock(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def peak():
    """Peak resident memory of this process so far, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def sweep(model, x, batch):
    lanes, programs = kr.lanes.Lanes(model), [kr.lanes.program(model)]
    programs += [kr.lanes.program(model, {i: kr.lanes.SHORTCUT}) for i in range(len(model.blocks))]
    return np.concatenate([lanes.outputs(x[i : i + batch], programs) for i in range(0, len(x), batch)], axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="preresnet110", help="a variant with shortcuts (%(default)s)")
    parser.add_argument("--size", type=int, default=32, help="side of the images (%(default)s)")
    parser.add_argument("--images", type=int, default=512, help="number of images (%(default)s)")
    parser.add_argument("--batch", type=int, default=256, help="images at a time, in all three ways (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of all three ways (%(default)s)")
    parser.add_argument("--check", action="store_true", help="rebuild all blocks and compare the outputs (minutes)")
    arguments = parser.parse_args()

    header()
    # One step with momentum 0 makes the moving statistics those of a batch, without which an untrained deep network
    # overflows; logits show differences that a softmax hides.
    model = kr.build(arguments.model, (arguments.size, arguments.size, 3), classifier_activation=None, bn_momentum=0.0)
    x = np.random.default_rng(0).normal(size=(arguments.images, *model.input_shape[1:])).astype("float32")
    model(x[:64], training=True)
    names = [block.name for block in model.blocks]
    print(f"\n{model.name}, {len(names)} blocks, {arguments.images} images of {arguments.size}x{arguments.size}")

    def predict(network):
        return network.predict(x, batch_size=arguments.batch, verbose=0)

    def rebuild(name):
        return predict(kr.delete(model, name))

    predict(model)
    peaks = {"loading and one predict": peak()}
    swept, passed, rebuilt, outputs = [], [], [], None
    for i in range(arguments.rounds):
        taken, outputs = clock(lambda: sweep(model, x, arguments.batch))
        swept.append(taken)
        peaks.setdefault("then the sweep", peak())
        one = median(clock(lambda: predict(model))[0] for _ in range(3))
        passed.append(one * (len(names) + 1))
        # Another block in every round, spread over the depth.
        name = names[(2 * i + 1) * len(names) // (2 * arguments.rounds)]
        rebuilt.append(clock(lambda name=name: rebuild(name))[0] * len(names) + one)
        peaks.setdefault("then a rebuilding", peak())

    print(f"  {'(medians)':<46}{'seconds':>9}{'sweep is':>10}{'min-max':>13}{'rounds':>8}")
    ways = {
        "sweep: all deletions and the intact network": swept,
        f"forward: {len(names) + 1} x one predict": passed,
        f"rebuild: {len(names)} x delete and predict": rebuilt,
    }
    for label, times in ways.items():
        ratios = [a / b for a, b in zip(swept, times, strict=True)]
        spread = "" if times is swept else f"{median(ratios):>10.2f}{f'{min(ratios):.2f}-{max(ratios):.2f}':>13}"
        print(f"  {label:<46}{median(times):>9.2f}{spread:>23}{len(times):>8}")
    print("  peak resident memory, MB: " + ", ".join(f"{value:,.0f} {label}" for label, value in peaks.items()))

    if arguments.check:
        expected = [predict(model), *(rebuild(name) for name in names)]
        differences = [float(np.abs(a - b).max()) for a, b in zip(outputs, expected, strict=True)]
        worst = int(np.argmax(differences))
        effects = [float(np.abs(a - expected[0]).max()) for a in expected[1:]]
        print(
            f"  check: largest difference of a logit between sweep and rebuilt networks {max(differences):.1e} "
            f"({['intact', *names][worst]}), of logits up to {np.abs(expected).max():.1f};\n"
            f"  the deletions themselves move a logit by {min(effects):.1e} to {max(effects):.1e}"
        )


if __name__ == "__main__":
    main()
