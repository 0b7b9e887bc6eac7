"""What does it cost to delete every block in turn: by lanes, by forward passes, by rebuilding?

    python benchmarks/lesion.py                                     preresnet110, 512 images of 32x32
    python benchmarks/lesion.py --check                             and compare the outputs of all blocks
    python benchmarks/lesion.py --model keras.applications:ResNet50 --size 224 --images 32 --rounds 1
    python benchmarks/lesion.py --model resnet8 --images 16 --rounds 1    does it run? the numbers mean nothing

Ways to the scores of the intact network and of each with one residual branch gone, taking turns:
`study`, kr.studies.lesion, all of them in one walk (its tracing, and its measures, count);
`forward`, the least that evaluating them one by one can cost: one warm `model.predict(x)`, times blocks + 1;
`forward, large`, the same with the batch size of the study;
`delete`, one `keras_resnets.delete` and `predict`, times blocks, and one predict of the intact network;
`rebuild`, the usual way: build the network without the block in plain Keras, copy the weights, `predict`.
A ratio is the time of the study divided by that of the other way in the same round.
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
from throughput import copy_weights, header, twin

import keras_resnets as kr
from keras_resnets.data.batches import BATCH
from keras_resnets.instruments.lanes import SHORTCUT

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


def rebuilt(model, name, size):
    """The network without a block, written anew in plain Keras."""
    theirs = twin(model.name, size, name, activation=None)
    copy_weights(model, theirs)
    return theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="preresnet110", help="a basic CIFAR variant, or keras.applications:NAME (%(default)s)"
    )
    parser.add_argument("--size", type=int, default=32, help="side of the images (%(default)s)")
    parser.add_argument("--images", type=int, default=512, help="number of images (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of all ways (%(default)s)")
    parser.add_argument("--check", action="store_true", help="edit out every block and compare the outputs (minutes)")
    arguments = parser.parse_args()

    header()
    size = arguments.size
    foreign = arguments.model.partition(":")[2]
    if foreign:
        model, _ = kr.applications.foreign(foreign, None, (size, size, 3))
    else:
        model = kr.build(arguments.model, (size, size, 3), classifier_activation=None, bn_momentum=0.0)
        # One step with momentum 0 makes the moving statistics those of a batch, without which an untrained deep
        # network overflows; logits show differences that a softmax hides.
        model(np.random.default_rng(1).normal(size=(64, size, size, 3)).astype("float32"), training=True)
    x = np.random.default_rng(0).normal(size=(arguments.images, size, size, 3)).astype("float32")
    y = np.zeros(len(x), int)
    names = [block.name for block in model.blocks]
    print(f"\n{model.name}, {len(names)} blocks, {arguments.images} images of {size}x{size}", flush=True)

    def predict(network, batch=None):
        return network.predict(x, batch_size=batch, verbose=0)

    ways = {
        "study: all deletions and the intact network": lambda name: kr.studies.lesion(model, (x, y)),
        f"forward: {len(names) + 1} x one predict": lambda name: predict(model),
        f"forward, large: the same, {BATCH} images at a time": lambda name: predict(model, BATCH),
        f"delete: {len(names)} x delete and predict": lambda name: predict(kr.delete(model, name)),
    }
    if not foreign:
        ways[f"rebuild: {len(names)} x build, copy weights, predict"] = lambda name: predict(rebuilt(model, name, size))
    predict(model)
    predict(model, BATCH)
    peaks = {"loading and predicting": peak()}
    times = {label: [] for label in ways}
    for i in range(arguments.rounds):
        # Another block in every round, spread over the depth.
        name = names[(2 * i + 1) * len(names) // (2 * arguments.rounds)]
        for label, way in ways.items():
            repeats = 3 if label.startswith("forward") else 1
            one = median(clock(lambda way=way, name=name: way(name))[0] for _ in range(repeats))
            if label.startswith("forward"):
                one, warm = one * (len(names) + 1), one
            elif not label.startswith("study"):
                one = one * len(names) + warm
            times[label].append(one)
            peaks.setdefault(f"with {label.split(':')[0]}", peak())

    print(f"  {'(medians)':<52}{'seconds':>9}{'study is':>10}{'min-max':>13}{'rounds':>8}")
    studied = next(iter(times.values()))
    for label, taken in times.items():
        ratios = [a / b for a, b in zip(studied, taken, strict=True)]
        spread = f"{median(ratios):>10.3f}{f'{min(ratios):.3f}-{max(ratios):.3f}':>13}" if taken is not studied else ""
        print(f"  {label:<52}{median(taken):>9.2f}{spread:>23}{len(taken):>8}")
    print("  peak resident memory, MB: " + ", ".join(f"{value:,.0f} {label}" for label, value in peaks.items()))

    if arguments.check:
        programs = [kr.lanes.program(model), *(kr.lanes.program(model, {i: SHORTCUT}) for i in range(len(names)))]
        found = kr.lanes.Lanes(model).outputs(x[:64], programs)
        expected = [model.predict(x[:64], verbose=0)]
        expected += [kr.delete(model, name).predict(x[:64], verbose=0) for name in names]
        differences = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
        worst = int(np.argmax(differences))
        effects = [float(np.abs(a - expected[0]).max()) for a in expected[1:]]
        print(
            f"  check: largest difference of a logit between lanes and {len(names)} edited networks "
            f"{max(differences):.1e} ({['intact', *names][worst]}), of logits up to {np.abs(expected).max():.1f};\n"
            f"  the deletions themselves move a logit by {min(effects):.1e} to {max(effects):.1e}"
        )


if __name__ == "__main__":
    main()
