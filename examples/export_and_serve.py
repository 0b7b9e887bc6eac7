"""Export, and serve without this package
======================================

Can a trained network be served where neither Keras nor this package is used?

Command: `python examples/export_and_serve.py`

Trains resnet20 on scikit-learn's 8x8 digits for 20 epochs, on a processor, and writes it as a SavedModel that takes raw
pixels, and as LiteRT files in float32 and in whole numbers of 8 bits.
Expect: served outputs equal to the network's up to rounding, and the same test accuracy; in 8 bits an accuracy within
a point of it, and a third of the bytes.

With `--tiny`: resnet8 for one epoch, under half a minute.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--out", type=Path, default=Path("runs/export"))
arguments = parser.parse_args()

NETWORK, EPOCHS = ("resnet8", 1) if arguments.tiny else ("resnet20", 20)
SAVED_MODEL = arguments.out / "saved_model"
FLOAT, INT8 = arguments.out / "float32.tflite", arguments.out / "int8.tflite"
REQUEST = arguments.out / "request.npz"

# %%
# 1. Train, and keep some inputs as a client would send them: raw pixels.

model = kr.train(NETWORK, "digits", "digits", out=arguments.out / "training", epochs=EPOCHS, seed=0)
data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
images, labels = (np.concatenate(arrays) for arrays in zip(*data.raw.test.as_numpy_iterator(), strict=True))
expected = model.predict(model.preprocessing(images), verbose=0)
np.savez(REQUEST, images=images, labels=labels, expected=expected)

# %%
# 2. Export: each is written, opened in its own runtime and compared with the network; a card beside it says how.

for report in (
    kr.export.saved_model(model, SAVED_MODEL, data=data, preprocessing=True),
    kr.export.litert(model, FLOAT, data=data, preprocessing=True),
    kr.export.litert(model, INT8, "int8", data=data, preprocessing=True),  # ranges of the training split
):
    print(f"exported {report['bytes']:,} bytes, {kr.export.describe(report)}")

# %%
# 3. Serve: from here on TensorFlow alone, and nothing but the two files.

served = tf.saved_model.load(str(SAVED_MODEL))  # keep the object: it owns the weights
request = np.load(REQUEST)
one = served.serve(tf.constant(request["images"][:1])).numpy()
print(f"one image: class {one.argmax()} with probability {one.max():.3f}, truth {request['labels'][0]}")

# %%
# The same as a file of any size and colour: the graph decodes, resizes and normalises it, and names the class.
picture = tf.cast(tf.repeat(tf.image.resize(request["images"][:1], (100, 100)) * (255 / 16), 3, -1)[0], "uint8")
answer = served.signatures["serving_files"](image_bytes=tf.io.encode_png(picture)[None])
print(f"as a picture: class {answer['name'].numpy()[0].decode()}")

outputs = served.signatures["serving_default"](tf.constant(request["images"]))
(probabilities,) = (value.numpy() for value in outputs.values())
print(f"served: accuracy {np.mean(probabilities.argmax(1) == request['labels']):.4f} over {len(probabilities)} images")
print(f"largest difference from the network {np.abs(probabilities - request['expected']).max():.1e}")

# %%
# 4. Serve on a device: the interpreter of LiteRT alone.

for file in (FLOAT, INT8):
    interpreter = Interpreter(str(file))
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], request["images"].shape)
    interpreter.allocate_tensors()
    pixels = request["images"]
    if source["dtype"] == np.int8:  # value = scale x (number - zero point)
        scale, zero = source["quantization"]
        pixels = np.clip(np.rint(pixels / scale) + zero, -128, 127).astype("int8")
    interpreter.set_tensor(source["index"], pixels)
    interpreter.invoke()
    answers = interpreter.get_tensor(target["index"]).argmax(1)  # the same class, whatever the scale
    print(f"{file.name}: accuracy {np.mean(answers == request['labels']):.4f}, {file.stat().st_size:,} bytes")
