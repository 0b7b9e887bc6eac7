"""A functional model of somebody's, with two residual blocks."""

import keras
from keras import layers


def block(x, width, name, project=False):
    shortcut = layers.Conv2D(width, 1, name=f"{name}_0")(x) if project else x
    y = layers.Conv2D(width, 3, padding="same", name=f"{name}_1")(x)
    y = layers.BatchNormalization(name=f"{name}_bn")(y)
    y = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}_2")(y)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, y]))


def residual_model(classes=7):
    inputs = keras.Input((32, 32, 3))
    x = block(layers.Conv2D(4, 3, name="first")(inputs), 4, "one")
    x = block(x, 6, "two", project=True)
    return keras.Model(
        inputs, layers.Dense(classes, "softmax", name="dense")(layers.GlobalAveragePooling2D()(x)), name="mine"
    )
