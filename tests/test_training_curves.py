"""What a training writes of itself for TensorBoard, read back by TensorBoard."""

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import keras_resnets as kr
from keras_resnets.reports.events import Events
from keras_resnets.training.curves import Curves


@pytest.mark.backends
def test_curves_are_those_of_the_history_and_of_the_weights(tiny, images, tmp_path):
    x, y = images
    model = kr.build(tiny)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.01])
    model.compile(kr.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    how = {"validation_data": (x, y), "callbacks": [Curves(tmp_path, 4)], "verbose": 0, "batch_size": 6}
    history = model.fit(x, y, epochs=4, **how).history
    train, validation = (EventAccumulator(str(tmp_path / part)).Reload() for part in ("train", "validation"))
    for events, prefix in ((train, ""), (validation, "val_")):
        for name in ("loss", "accuracy"):
            curve = events.Scalars(f"epoch_{name}")
            assert [point.step for point in curve] == [0, 1, 2, 3]
            np.testing.assert_allclose([point.value for point in curve], history[prefix + name], rtol=1e-6)
    np.testing.assert_allclose([point.value for point in train.Scalars("epoch_learning_rate")], [0.1, *[0.01] * 3])
    kernel = next(variable for variable in model.weights if variable.path == "stem/body/conv/kernel")
    last = train.Tensors("weights of stem/body/conv/kernel")[-1]
    buckets = tensor_util.make_ndarray(last.tensor_proto)
    values = keras.ops.convert_to_numpy(kernel).ravel()
    np.testing.assert_allclose([buckets[0, 0], buckets[-1, 1]], [values.min(), values.max()])
    np.testing.assert_array_equal(buckets[:, 2], np.histogram(values, 30)[0])
    assert len(train.Tags()["tensors"]) == len(model.weights)


@pytest.mark.backends
def test_what_is_not_finite_has_no_histogram(tmp_path):
    with Events(tmp_path) as events:
        events.histogram("some", np.array([np.nan, 1.0, np.inf, 3.0]), 0)
        events.histogram("none", np.array([np.nan]), 0)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["tensors"] == ["some"]
    assert tensor_util.make_ndarray(found.Tensors("some")[0].tensor_proto)[:, 2].sum() == 2
