"""Remove the skips instead
========================

What happens to a trained residual network when its skips are removed, instead of its residual branches?

Command: `python examples/skip_removal.py`

Trains preresnet56 on scikit-learn's 8x8 digits for 20 epochs, on a processor; `--network` and `--epochs` change that.
Expect: a deleted branch costs next to nothing, a removed skip nearly everything.

With `--tiny`: preresnet14 for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--network", default="preresnet56")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/skips"))
arguments = parser.parse_args()

NETWORK, EPOCHS = ("preresnet14", 1) if arguments.tiny else (arguments.network, arguments.epochs)

model = kr.train(NETWORK, "digits", "digits", out=arguments.out / "training", epochs=EPOCHS, seed=0)
data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)

# %%
# For each block with an identity skip: the error without the skip, and without the residual branch.
study = kr.studies.unskip(model, data)
single = study.rows[study.rows["kind"].isin(["unskip", "delete"])]
print(single.pivot(index="block", columns="kind", values="error").to_string())
print(kr.studies.describe(study))

# %%
# The same network as an ordinary model, to save or to train on: without any identity skip.
skips = [block.name for block in model.blocks if block.has_identity_shortcut]
plain = kr.unskip(model, skips, copy=True)
print(f"{plain.name} without {len(skips)} skips still has {kr.parameters(plain):,} parameters")

for file in study.save(arguments.out / "study"):
    print("wrote", file)
