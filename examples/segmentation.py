"""An answer for each pixel: segmentation
======================================

Where in a picture is what: how is a network trained that answers for each pixel, and how is it looked at?

Command: `python examples/segmentation.py`

Trains a ResNet-38 of a sixteenth of its width on scenes, digits before textures, for 30 epochs: on two processor cores
about ten minutes. Expect: a mean IoU far above that of answering background everywhere, and overlays.png, each row an
image, its labels, and what the network answers.

With `--tiny`: a smaller network for one epoch, under half a minute, which has not learned anything yet.
`--epochs` sets their number.
"""

import argparse
from pathlib import Path

import numpy as np

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--epochs", type=int)
parser.add_argument("--out", type=Path, default=Path("runs/segmentation"))
arguments = parser.parse_args()

# %%
# 1. Train: the head follows from the task. So narrow a network has nothing to spare for dropout.

SIZE = 64 if arguments.tiny else 128
network, epochs = ("resnet14", 1) if arguments.tiny else ("resnet38_a1", 30)
epochs = arguments.epochs or epochs
fields = {} if arguments.tiny else {"width": 0.0625, "stem_width": 8, "head_dropout": ()}
recipe = kr.recipes.get("scenes").replace(augmentation=kr.data.Augmentation(crop=SIZE, scale=(0.7, 1.3), color=0.3))
data = kr.data.load("scenes", task="segmentation", image_size=SIZE)
model = kr.train(network, data, recipe, out=arguments.out, epochs=epochs, head_dilation=1, **fields)

# %%
# 2. Measure whole images; mirror images would not help here, for a digit has none. The intervals are over images.

scores, intervals = kr.segmentation.evaluate(model, data.test, data.classes, flip=False)
low, high = intervals["mean_iou"]
print(f"mean IoU {scores.mean_iou:.4f} (95 % interval {low:.4f} to {high:.4f}), accuracy {scores.accuracy:.4f}")
background = scores.confusion[0].sum() / scores.confusion.sum()
print(f"background everywhere: mean IoU {background / data.classes:.4f}, accuracy {background:.4f}")

# %%
# 3. Look: images, labels and answers side by side, with a legend of the classes.

images, labels = (np.asarray(part)[:6] for part in next(iter(data.test)))
answers = kr.segmentation.predict(model, images, flip=False)
figure = kr.segmentation.draw(images, labels, answers, np.array(data.colors), data.class_names)
figure.savefig(arguments.out / "overlays.png", dpi=150)
print(f"wrote {arguments.out / 'overlays.png'}")
