"""Learning rates over a training that Keras has no schedule for."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_resnets")
class Held(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is constant up to a step, then falls linearly from a share of it to 0.

    Args:
        rate: the constant learning rate.
        boundary: the first step of the decay.
        factor: the share of the rate at which the decay begins.
        total: the step at which the rate reaches 0.
    """

    def __init__(self, rate: float, boundary: int, factor: float, total: int):
        super().__init__()
        self.config = {"rate": rate, "boundary": boundary, "factor": factor, "total": total}

    def __call__(self, step):
        rate, boundary, factor, total = self.config.values()
        step = ops.cast(step, "float32")
        falling = rate * factor * ops.maximum(0.0, (total - step) / max(1, total - boundary))
        return ops.where(step < boundary, rate, falling)

    def get_config(self):
        return dict(self.config)


@keras.saving.register_keras_serializable("keras_resnets")
class WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate with a linear warm-up, followed by another schedule.

    Args:
        start: the rate of the first step.
        steps: the number of warm-up steps, at least 1.
        then: the schedule that follows; its step 0 is the end of the warm-up.
    """

    def __init__(self, start: float, steps: int, then: keras.optimizers.schedules.LearningRateSchedule):
        super().__init__()
        self.start, self.steps, self.then = start, steps, then

    def __call__(self, step):
        step = ops.cast(step, "float32")
        top = ops.cast(self.then(0), "float32")
        rising = self.start + (top - self.start) * step / self.steps
        return ops.where(step < self.steps, rising, self.then(ops.maximum(0.0, step - self.steps)))

    def get_config(self):
        then = keras.optimizers.schedules.serialize(self.then)
        return {"start": self.start, "steps": self.steps, "then": then}

    @classmethod
    def from_config(cls, config):
        then = keras.optimizers.schedules.deserialize(config["then"])
        return cls(config["start"], config["steps"], then)
