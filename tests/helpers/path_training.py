"""Training by a path policy on one batch, and what it left compared."""

import keras
import numpy as np

import keras_resnets as kr
from keras_resnets.paths import FixedSize


def fit(spec, images, paths, steps=3, seed=4, momentum=0.9, l2=1e-3, optimizer=None, **options):
    """Trains on the same batch; returns the network, and each variable before and after."""
    keras.utils.set_random_seed(seed)
    model = spec if isinstance(spec, keras.Model) else kr.build(spec)
    optimizer = optimizer or kr.optimizers.SGD(0.05, momentum, l2=l2)
    model.compile(optimizer, "sparse_categorical_crossentropy", paths=paths, **options)
    before = {v.path: np.asarray(v) for v in model.weights}
    for _ in range(steps):
        model.train_on_batch(*images)
    return model, before, {v.path: np.asarray(v) for v in model.weights}


def equal(one, other):
    assert one.keys() == other.keys()
    for path in one:
        np.testing.assert_array_equal(one[path], other[path], err_msg=path)


def one_on(seed, blocks=3):
    """A policy whose first step has the middle block on only."""
    policy = FixedSize(1, seed=seed)
    return policy, np.asarray(keras.ops.convert_to_numpy(policy.draw(0, blocks)))
