"""Lesions of somebody else's ResNet-50
====================================

Which blocks does somebody else's ResNet-50 need?

Command: `python examples/dissect_resnet50.py FOLDER`

FOLDER holds images, in folders by class or in any one subfolder; labels are not needed. The ImageNet weights of
keras.applications are fetched unless they are in ~/.keras/models. Minutes on a processor for a hundred images.
Expect: the blocks that change the size of the image matter most; many others can go at little cost.

With `--tiny`: random weights and random images of 64x64, under half a minute; the numbers mean nothing.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", type=Path)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--out", type=Path, default=Path("runs/resnet50"))
arguments = parser.parse_args()

SIZE, WEIGHTS = (64, None) if arguments.tiny else (224, "imagenet")

if arguments.tiny:
    images = np.random.default_rng(0).uniform(0, 255, (8, SIZE, SIZE, 3)).astype("float32")
else:
    dataset = keras.utils.image_dataset_from_directory(
        arguments.folder, labels=None, image_size=(SIZE, SIZE), crop_to_aspect_ratio=True, shuffle=False
    )
    images = np.concatenate([batch.numpy() for batch in dataset])

# %%
# The original is left as it is; the chain computes the same, to the bit, with the same weights.
original = keras.applications.ResNet50(weights=WEIGHTS, input_shape=(SIZE, SIZE, 3))
network = kr.adopt(original)
inputs = keras.applications.resnet50.preprocess_input(images)
assert np.array_equal(network.predict(inputs, verbose=0), original.predict(inputs, verbose=0))

# %%
# Without labels, the answers of the whole network stand in for them.
study = kr.studies.lesion(network, (inputs, None))
print(study.rows[["block", "agreement", "error_low", "error_high"]].to_string(index=False))
study.save(arguments.out)

# %%
# What could be left out: the blocks whose deletion changed the fewest answers.
spare = study.rows.nlargest(3, "agreement")["block"].tolist()
smaller = kr.delete(network, spare)
print(f"without {', '.join(spare)}: {kr.parameters(smaller):,} of {kr.parameters(network):,} parameters,", end=" ")
print(f"{kr.macs(smaller) / kr.macs(network):.0%} of the multiply-adds")
print("wrote", arguments.out)
