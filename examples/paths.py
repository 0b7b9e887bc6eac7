"""The gradient by length of path
==============================

By paths of what length does a network learn, and does it learn as well from those alone? (Veit et al. 2016)

Command: `python examples/paths.py`

Trains preresnet56 on scikit-learn's 8x8 digits for 20 epochs with all of its blocks, and again with twice as many
blocks a batch as the paths that count are long; `--network` and `--epochs` change that. A few minutes on a processor.
Expect: paths of 3 to 9 of 27 blocks carry the gradient; 12 blocks a batch do worse in as many epochs.

With `--tiny`: preresnet8 for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--network", default="preresnet56")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/paths"))
arguments = parser.parse_args()

NETWORK, EPOCHS, EXAMPLES = arguments.network, arguments.epochs, 64
if arguments.tiny:
    NETWORK, EPOCHS, EXAMPLES = "preresnet8", 1, 8

model = kr.train(NETWORK, "digits", "digits", out=arguments.out / "all", epochs=EPOCHS, seed=0)
data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)

# %%
# The gradient at the input, as a sum over paths: those of each length together, exactly, and single ones, drawn.
study = kr.studies.paths(model, data, examples=EXAMPLES, draws=100)
rows = study.rows[study.rows["kind"] == "input"]
print(rows[["length", "paths", "sampled", "sampled_share", "norm", "norm_share", "share"]].to_string(index=False))
print(kr.studies.describe(study))
for file in study.save(arguments.out / "study"):
    print("wrote", file)

# %%
# A network of m blocks has paths of m/2 on average: take m = 2 l for every batch. The others are not computed.
blocks = max(1, min(len(model.blocks), round(2 * study.summary["exact"]["mean_length"])))
policy = kr.paths.FixedSize(blocks)
lengths = policy.path_lengths(len(model.blocks))
print(f"{blocks} of {len(model.blocks)} blocks a batch: paths of {lengths @ range(len(lengths)):.1f} on average")
short = kr.train(NETWORK, "digits", "digits", out=arguments.out / "short", epochs=EPOCHS, seed=0, paths=policy)
for name, network in (("all blocks", model), (f"{blocks} a batch", short)):
    _, accuracy = network.evaluate(data.test, verbose=0)
    print(f"{name}: test error {1 - accuracy:.4f} over {data.sizes['test']} images")
