"""Where a network looks: Grad-CAM
===============================

Where in an image is what a network's answer rests on? Grad-CAM (Selvaraju et al. 2017): the regions that speak for it.

Command: `python examples/grad_cam.py`

Trains resnet20 on scikit-learn's digits, enlarged to 32x32, for 8 epochs (`--epochs`): a few minutes on a processor.
Expect: the strokes that tell the digit from others, and little in the corners.

With `--tiny`: resnet8 on images of 16x16 for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--out", type=Path, default=Path("runs/grad_cam"))
arguments = parser.parse_args()

NETWORK, SIDE, EPOCHS = ("resnet8", 16, 1) if arguments.tiny else ("resnet20", 32, arguments.epochs)

data = kr.data.load("digits", image_size=SIDE, normalize=kr.recipes.get("digits").normalize)
model = kr.train(NETWORK, data, "digits", out=arguments.out / "training", epochs=EPOCHS, seed=0)

# %%
# One pass gives the last feature map and the logits; `inner` takes other names, of an adopted network, too, such as
# "conv5_block3_out" of keras.applications.ResNet50.
last = model.blocks[-1].name
inner = model.inner([last, "head/logits"])

images, labels = next(iter(data.test))
images, labels = images[:6], np.asarray(labels[:6])
with tf.GradientTape() as tape:
    features, logits = inner(images)
    answers = np.argmax(logits, axis=1)
    # Of the logit, not of the probability, whose gradient vanishes where the network is sure.
    scores = tf.gather(logits, answers, axis=1, batch_dims=1)
gradients = tape.gradient(scores, features)

# %%
# The weight of a channel is its mean gradient over places; only what speaks for the class is kept (equations 1 and 2).
weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()

# %%
# Behind a mean over places and one dense layer, these are the class's own weights (the CAM of Zhou et al. 2016).
kernel = np.asarray(model.get_layer("logits").kernel)
expected = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel[:, answers]), 0) / np.prod(features.shape[1:3])
print(f"{last}: {maps.shape[1]}x{maps.shape[2]} places, largest difference from CAM {abs(maps - expected).max():.2e}")

figure, axes = plt.subplots(2, len(images), figsize=(1.6 * len(images), 3.6), layout="constrained")
large = np.asarray(keras.ops.image.resize(maps[..., None], (SIDE, SIDE), data_format="channels_last"))
for column, (image, heat, label, answer) in enumerate(zip(images, large, labels, answers, strict=True)):
    for row in axes[:, column]:
        row.imshow(image[..., 0], cmap="gray")
        row.set_axis_off()
    axes[1, column].imshow(heat[..., 0], cmap="inferno", alpha=0.6)
    axes[0, column].set_title(f"{label}, answer {answer}", fontsize=9)
figure.savefig(arguments.out / "grad_cam.png", dpi=150)
plt.close(figure)
np.savez(arguments.out / "grad_cam.npz", maps=maps, answers=answers)
print("wrote", arguments.out / "grad_cam.png")
