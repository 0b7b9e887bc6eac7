"""The first epochs of a training, in which the classifier alone is trained: what it becomes, and what stays."""

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.training.freezing import Freezing


def _values(variables):
    return {variable.path: np.array(keras.ops.convert_to_numpy(variable)) for variable in variables}


@pytest.mark.backends
@pytest.mark.parametrize("algorithm", ["sgd", pytest.param("adamw", marks=pytest.mark.thorough)])
def test_a_frozen_epoch_trains_the_classifier_on_fixed_features(tiny, images, scramble, algorithm):
    """The oracle is a classifier of its own, on features that the network computed before; then all is trained."""
    x, y = images
    made = {
        "sgd": lambda: kr.optimizers.SGD(0.1, 0.9, l2=0.01, decay="kernels"),
        "adamw": lambda: kr.optimizers.AdamW(0.01, weight_decay=0.1, decay="kernels"),
    }[algorithm]
    model = scramble(kr.build(tiny))
    head = model.get_layer("logits")
    pooled = keras.Sequential([*model.chain[:-1], model.get_layer("pool")])
    features = keras.ops.convert_to_numpy(pooled(x, training=False))
    alone = keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dense(5, "softmax", name="alone")])
    alone.set_weights([keras.ops.convert_to_numpy(variable) for variable in head.weights])

    before, epochs = _values(model.weights), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(_values(model.weights)))
    for each, inputs, callbacks in ((alone, features, []), (model, x, [Freezing(2), note])):
        each.compile(made(), "sparse_categorical_crossentropy")
        each.optimizer.build(each.trainable_variables)
        each.fit(inputs, y, batch_size=4, epochs=2 + len(callbacks) // 2, shuffle=False, callbacks=callbacks, verbose=0)
    for variable, known in zip(head.weights, alone.weights, strict=True):
        np.testing.assert_allclose(epochs[1][variable.path], known, rtol=1e-4, atol=1e-6)
        assert np.abs(epochs[1][variable.path] - before[variable.path]).max() > 1e-3
    of_head = {variable.path for variable in head.weights}
    for path, value in before.items():
        assert np.array_equal(epochs[1][path], value) == (path not in of_head), path
    assert all(variable.trainable for variable in model.trainable_variables)
    moved = [path for path in before.keys() - of_head if not np.array_equal(epochs[2][path], before[path])]
    assert len(moved) == len(before) - len(of_head)
