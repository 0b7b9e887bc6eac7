"""Can a trained network be served where neither Keras nor this package is used?

Command: python examples/export_and_serve.py
Trains resnet20 on scikit-learn's 8x8 digits for 20 epochs, on a processor.
Expect: served outputs equal to the network's up to rounding, and the same test accuracy.

With --tiny: resnet8 for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--out", type=Path, default=Path("runs/export"))
arguments = parser.parse_args()

NETWORK, EPOCHS = ("resnet8", 1) if arguments.tiny else ("resnet20", 20)
SAVED_MODEL = arguments.out / "saved_model"
REQUEST = arguments.out / "request.npz"

# 1. Train, and keep some inputs as a client would send them: normalised with the training split's statistics.

model = kr.train(NETWORK, "digits", "digits", out=arguments.out / "training", epochs=EPOCHS, seed=0)
data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
images, labels = (np.concatenate(arrays) for arrays in zip(*data.test.as_numpy_iterator(), strict=True))
np.savez(REQUEST, images=images, labels=labels, expected=model.predict(images, verbose=0))

# 2. Export: writes the folder, loads it again, compares it with the network and says how they agree.

report = kr.export.saved_model(model, SAVED_MODEL, images)
print(f"exported {report['bytes']:,} bytes, largest difference {report['max_difference']:.1e}")

# 3. Serve: from here on TensorFlow alone, and nothing but the two files.

served = tf.saved_model.load(str(SAVED_MODEL))  # keep the object: it owns the weights
request = np.load(REQUEST)
one = served.serve(tf.constant(request["images"][:1])).numpy()
print(f"one image: class {one.argmax()} with probability {one.max():.3f}, truth {request['labels'][0]}")

outputs = served.signatures["serving_default"](tf.constant(request["images"]))
(probabilities,) = (value.numpy() for value in outputs.values())
print(f"served: accuracy {np.mean(probabilities.argmax(1) == request['labels']):.4f} over {len(probabilities)} images")
print(f"largest difference from the network {np.abs(probabilities - request['expected']).max():.1e}")
