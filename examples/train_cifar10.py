"""Train ResNet-20 on CIFAR-10
===========================

How well does ResNet-20 classify CIFAR-10, trained as He et al. 2015 did?

Command: `python examples/train_cifar10.py --data-dir ~/tensorflow_datasets`

Time: 64,000 steps of 128 images, for a GPU. Stop it whenever you like: the same command goes on.
Expect: the paper has 8.75 % test error (Table 6). Watch it with: `tensorboard --logdir runs/cifar10`
The data must be there already: a `cifar10` folder prepared by tensorflow-datasets.

With `--tiny`: ResNet-8 on scikit-learn's 8x8 digits for one epoch, under half a minute.
"""

import argparse
import json
from pathlib import Path

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--data-dir", help="where tensorflow-datasets keeps its prepared sets")
parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
arguments = parser.parse_args()

NETWORK, DATA, RECIPE, EPOCHS = "resnet20", "cifar10", "he15", None
if arguments.tiny:
    NETWORK, DATA, RECIPE, EPOCHS = "resnet8", "digits", "digits", 1

# %%
# The recipe holds optimiser, schedule, weight decay, batch size, normalisation and augmentation.
recipe = kr.recipes.get(RECIPE)
print(f"{recipe.name}: batch {recipe.batch_size}, rate {recipe.learning_rate}, weight decay {recipe.weight_decay}")

# %%
# Where the set lies is said when it is loaded, how its images are normalised as well: studies of the network need it.
data = kr.data.load(DATA, data_dir=arguments.data_dir, normalize=recipe.normalize)
model = kr.train(NETWORK, data, recipe, out=arguments.out, epochs=EPOCHS, seed=0)
print(f"{model.name}: {kr.parameters(model):,} parameters, {kr.macs(model):,} multiply-adds an image")

# %%
# The run directory keeps everything: what was asked, the curves, the weights, the result.
result = json.loads((arguments.out / "run.json").read_text())["results"]
print(f"test error {1 - result['test_accuracy']:.2%} over {result['test_examples']:,} images")
