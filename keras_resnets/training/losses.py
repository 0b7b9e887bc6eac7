"""`SmoothedCrossentropy`: cross-entropy with label smoothing, for class numbers."""

from __future__ import annotations

import keras
from keras import ops

from keras_resnets.errors import number


@keras.saving.register_keras_serializable("keras_resnets")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy, in nats, of class numbers of which a share is spread evenly over all classes.

    The smoothing of Szegedy et al. 2016, section 7. Keras' own loss for class numbers has none.

    Args:
        smoothing: the share, from 0 up to, not including, 1.
        from_logits: whether the network ends in logits instead of probabilities.
        name: name of the loss.

    Raises:
        ArgumentError: `smoothing` breaks its rule.

    Example:
        >>> import numpy as np
        >>> from keras_resnets.training.losses import SmoothedCrossentropy
        >>> loss = SmoothedCrossentropy(0.1)
        >>> round(float(loss(np.array([0]), np.array([[0.9, 0.1]], "float32"))), 4)  # 0.95 ln 0.9 + 0.05 ln 0.1
        0.2152
    """

    def __init__(self, smoothing=0.1, from_logits=False, name="smoothed_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        number("smoothing", smoothing, least=0, below=1)
        self.smoothing, self.from_logits = smoothing, from_logits

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        if len(labels.shape) == len(y_pred.shape):
            labels = ops.squeeze(labels, -1)
        return keras.losses.categorical_crossentropy(
            ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype), y_pred, self.from_logits, self.smoothing
        )

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing, "from_logits": self.from_logits}
