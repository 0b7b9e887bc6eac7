"""Delete each block in turn: a lesion study
=========================================

What happens to a trained residual network when one of its blocks is deleted? (Veit et al. 2016, Fig. 3)

Command: `python examples/lesion_study.py`

Trains preresnet56 on scikit-learn's 8x8 digits for 20 epochs, on a processor; `--network` and `--epochs` change that.
Expect: little for most blocks; the first block and those that shrink the image matter more.

With `--tiny`: preresnet8 for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--network", default="preresnet56")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/lesion"))
arguments = parser.parse_args()

NETWORK, EPOCHS = ("preresnet8", 1) if arguments.tiny else (arguments.network, arguments.epochs)

model = kr.train(NETWORK, "digits", "digits", out=arguments.out / "training", epochs=EPOCHS, seed=0)

# %%
# Each block in turn hands on its shortcut alone. All deletions are measured in one walk through the network, on
# the test split.
data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
study = kr.studies.lesion(model, data)

print(study.rows[["block", "error", "error_low", "error_high", "agreement"]].to_string(index=False))
print(f"intact: error {study.summary['intact']['error']:.4f} over {study.summary['examples']} images")

# %%
# One of the rows again, the long way: a new network without that branch. The weights are shared, not copied.
worst = study.rows.loc[study.rows["error"].idxmax()]
lesioned = kr.delete(model, worst["block"])
lesioned.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
_, accuracy = lesioned.evaluate(data.test, verbose=0)
print(f"without {worst['block']}: error {worst['error']:.4f} in the study, {1 - accuracy:.4f} rebuilt")

for file in study.save(arguments.out / "study"):
    print("wrote", file)
