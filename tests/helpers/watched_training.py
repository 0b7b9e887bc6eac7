"""A training that callbacks watch."""

import keras

import keras_resnets as kr


def fit(tiny, images, callbacks, epochs=4):
    keras.utils.set_random_seed(1)
    model = kr.build(tiny)
    model.compile(keras.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy")
    model.fit(*images, batch_size=4, epochs=epochs, callbacks=callbacks, verbose=0)
    return model
