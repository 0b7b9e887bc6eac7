"""Custom layers that know nothing of blocks: a fused `BatchNorm` and `PadChannels`."""

from __future__ import annotations

import keras
from keras import ops

from keras_resnets.errors import ArgumentError


@keras.saving.register_keras_serializable("keras_resnets")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation with TensorFlow's fused kernel where it applies.

    Keras 3 normalises with a handful of separate operations; on TensorFlow the fused kernel does
    the same work in one. It is used for 4-D, channels-last input in float32, float16 or bfloat16;
    everything else (another backend, a mask, `synchronized`, `renorm`, another rank, axis or
    dtype) takes Keras' own path. Outputs, gradients, variables and configuration are those of
    `keras.layers.BatchNormalization`.

    Args:
        momentum: share of the old value that the moving statistics keep at each step. The default
            of 0.9 is the papers'; Keras' 0.99 needs hundreds of steps to forget its start.
        epsilon: added to the variance.
        **kwargs: as for `keras.layers.BatchNormalization`.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> y = kr.layers.BatchNorm()(np.ones((2, 4, 4, 3), "float32"))
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def _can_fuse(self, inputs, training, mask) -> bool:
        return (
            keras.config.backend() == "tensorflow"
            and mask is None
            and training in (None, True, False)
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not self.synchronized
            and not self.renorm
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "float16", "bfloat16")
            and self.moving_mean.dtype == "float32"
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        )

    def call(self, inputs, training=None, mask=None):
        if not self._can_fuse(inputs, training, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        use_batch = bool(training) and self.trainable
        mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        # The raw operation, for tf.compat.v1.nn.fused_batch_norm raises any epsilon to 1.001e-5.
        outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma) if self.scale else ops.ones_like(mean),
            offset=ops.convert_to_tensor(self.beta) if self.center else ops.zeros_like(mean),
            mean=[] if use_batch else mean,
            variance=[] if use_batch else variance,
            epsilon=self.epsilon,
            is_training=use_batch,
        )
        if use_batch:
            # The kernel returns the unbiased variance; Keras averages the biased one.
            biased = 1 - inputs.shape[-1] / tf.cast(tf.size(inputs), "float32")
            self.moving_mean.assign(mean + (1 - self.momentum) * (batch_mean - mean))
            self.moving_variance.assign(variance + (1 - self.momentum) * (biased * batch_variance - variance))
        return outputs


@keras.saving.register_keras_serializable("keras_resnets")
class PadChannels(keras.layers.Layer):
    """Appends channels of zeros up to `channels`: half of the parameter-free shortcut A.

    He et al. 2015, section 3.3, option A; the zeros stand at the end, as in the authors' and most
    later code. The other half, subsampling, is `keras.layers.AveragePooling2D(1, stride)`.

    Args:
        channels: number of channels of the output.

    Raises:
        ArgumentError: the input already has more channels.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> y = kr.layers.PadChannels(32)(np.ones((2, 4, 4, 16), "float32"))
        >>> y.shape[-1]
        32
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape):
        if input_shape[-1] > self.channels:
            raise ArgumentError(
                f"PadChannels: channels must be at least the input's, {input_shape[-1]}; got {self.channels}. "
                f"Use TakeChannels to leave some out."
            )
        super().build(input_shape)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def call(self, inputs):
        padding = [[0, 0]] * (len(inputs.shape) - 1) + [[0, self.channels - inputs.shape[-1]]]
        return ops.pad(inputs, padding)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("keras_resnets")
class TakeChannels(keras.layers.Layer):
    """Keeps some channels: what stands in, without weights, for a layer that narrows, or parts what was joined.

    Args:
        channels: number of channels of the output.
        start: number of the first one that is kept.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> kr.layers.TakeChannels(3)(np.ones((2, 4, 4, 8), "float32")).shape[-1]
        3
    """

    def __init__(self, channels, start=0, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.start = channels, start

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def call(self, inputs):
        return inputs[..., self.start : self.start + self.channels]

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "start": self.start}
