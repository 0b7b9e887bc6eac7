"""Width or depth, at an equal budget
==================================

With so many parameters to spend: on layers, or on channels? (Wu et al. 2016, Table 1)

Command: `python examples/width_or_depth.py`

Searches networks of 8 to 56 layers that all have 20,000 parameters, with basic and bottleneck units and their learning
rates, by keras-tuner's random search. Half an hour on a processor; killed, the same command goes on. `--epochs`
and `--trials` make it shorter.
Expect: with so few parameters, the shallow and wide ones are the better ones.

With `--tiny`: 2 networks for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import keras_tuner

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--trials", type=int, default=24)
parser.add_argument("--out", type=Path, default=Path("runs/width_or_depth"))
arguments = parser.parse_args()

space = kr.search.DepthWidth(
    "preresnet20",
    "digits",
    parameters=5_000 if arguments.tiny else 20_000,
    blocks=(1, 2) if arguments.tiny else (1, 2, 3, 5, 9),
    epochs=1 if arguments.tiny else arguments.epochs,
    unit=("basic", "bottleneck"),
    learning_rate=kr.search.Range(0.03, 0.3),
)

# %%
# The width is no choice: it follows from the others, and from the budget.
point = keras_tuner.HyperParameters()
space.declare_hyperparameters(point)
for blocks in space.blocks:
    point.values["blocks"] = blocks
    spec = space.plan(point).spec
    widths = [stage.widths[-1] for stage in spec.stages]
    print(f"{spec.depth:3} layers, {widths} channels: {kr.counting.count(spec).parameters:,} parameters")

study = kr.search.search(space, out=arguments.out, trials=2 if arguments.tiny else arguments.trials, tell=print)
print(study.rows[["depth", "widths", "unit", "learning_rate", "error", "test_error", "macs"]].to_string(index=False))
print(kr.studies.describe(study))
print(f"wrote {arguments.out}/trials.csv, study/figure.png, best.json; tensorboard --logdir {arguments.out}/logs")
