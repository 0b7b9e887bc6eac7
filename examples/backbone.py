"""A backbone for a model of your own
==================================

How is a residual network used as the backbone of a model of one's own, and then fine-tuned?

Command: `python examples/backbone.py`

Trains ResNet-50 on scikit-learn's 8x8 digits enlarged to 64x64, on a processor.
Expect: the head learns while the backbone stands still; then the last stage learns with it.
The backbone starts from random weights here; without `weights=None` it starts from those of ImageNet.

With `--tiny`: ResNet-18 at 32x32 and a few batches, under half a minute.
"""

import argparse

import keras

import keras_resnets as kr

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tiny", action="store_true")
arguments = parser.parse_args()

make, SIZE, STEPS = (kr.ResNet18, 32, 3) if arguments.tiny else (kr.ResNet50, 64, 80)
keras.utils.set_random_seed(0)
data = kr.data.load("digits", image_size=SIZE, batch_size=16)

# %%
# The outputs of all stages by name, in a functional model: two of them, pooled and joined, feed a new classifier.
# training=False keeps batch normalisation on its moving statistics while the model is fine-tuned.
backbone = make(include_top=False, weights=None, input_shape=data.input_shape)
inputs = keras.Input(data.input_shape)
features = backbone.features(inputs, training=False)
for name, feature in features.items():
    print(f"{name}: {'x'.join(str(n) for n in feature.shape[1:])}")
pooled = [keras.layers.GlobalAveragePooling2D()(features[name]) for name in ("stage3", "stage4")]
x = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Concatenate()(pooled))
model = keras.Model(inputs, keras.layers.Dense(data.classes, activation="softmax", name="classifier")(x))

# %%
# First the head alone, then the last stage with it, at a tenth of the rate.
for phase, stages, rate in (("head", (), 0.1), ("fine-tuning", ("stage4",), 0.01)):
    backbone.trainable = False
    for block in backbone.blocks:
        block.trainable = block.name.startswith(stages)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = [block.get_weights() for block in backbone.blocks]
    fitted = model.fit(data.epochs(0, 100), steps_per_epoch=STEPS, epochs=1, shuffle=False, verbose=0)
    moved = [
        block.name
        for block, old in zip(backbone.blocks, before, strict=True)
        if any((new != was).any() for new, was in zip(block.get_weights(), old, strict=True))
    ]
    print(f"{phase}: {kr.parameters(model):,} trainable parameters, accuracy {fitted.history['accuracy'][0]:.3f}")
    print(f"{phase}: moved {', '.join(moved) or 'no block'}")
