"""Custom layers that do not depend on blocks: a fused `BatchNorm`, `MaxPool`, `PadChannels`, `TakeChannels`."""

from __future__ import annotations

import functools

import keras
from keras import ops

from keras_resnets import replicas
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.network import private
from keras_resnets.network.data_format import LAST


@keras.saving.register_keras_serializable("keras_resnets")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation with TensorFlow's fused kernel where it applies.

    Keras 3 normalises with several separate operations; TensorFlow's fused kernel does the same in
    one. It is used for 4-D, channels-last input in float32, float16 or bfloat16. Otherwise (another
    backend, XLA, a mask, `synchronized`, `renorm`, another rank, axis or dtype) Keras' implementation
    is used. Outputs, gradients, variables and configuration equal those of
    `keras.layers.BatchNormalization`. In the replicas of several devices, statistics are those of the whole batch.

    Args:
        momentum: share of the old value that the moving statistics keep at each step. The default
            of 0.9 is the papers'; Keras' 0.99 needs hundreds of steps to forget its initial value.
        epsilon: added to the variance.
        frozen: whether to normalise with the moving statistics during training, too, without updating them, while
            scale and offset learn; `trainable=False` would freeze these as well.
        **kwargs: as for `keras.layers.BatchNormalization`.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> y = kr.layers.BatchNorm()(np.ones((2, 4, 4, 3), "float32"))
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, frozen=False, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.frozen = frozen
        # Keras' own from 3.14 on; before, there is none.
        self.renorm = getattr(self, "renorm", False)

    def _can_fuse(self, inputs, training, mask) -> bool:
        return (
            keras.config.backend() == "tensorflow"
            and mask is None
            and training in (None, True, False)
            # XLA computes the kernel's gradient from sums that cancel: with a mean of three deviations its error is
            # 3e-6 to 1e-5, 20 to 30 times that of Keras' operations, which XLA joins into one by itself.
            and not private.in_xla()
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not self.synchronized
            and not self.renorm
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "float16", "bfloat16")
            and self.moving_mean.dtype == "float32"
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        )

    def call(self, inputs, training=None, mask=None):
        training = False if self.frozen else training
        if training and self.trainable and mask is None and not self.renorm and replicas.count() > 1:
            return self._normalised_together(inputs)
        if not self._can_fuse(inputs, training, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        use_batch = bool(training) and self.trainable
        mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        # The raw operation, because tf.compat.v1.nn.fused_batch_norm raises any epsilon to 1.001e-5.
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

    def _normalised_together(self, inputs):
        """Normalises by the mean and the variance over the batches of all replicas, which are of one size.

        Keras' `synchronized` takes the mean square less the square of the mean, which loses digits.
        """
        x = ops.cast(inputs, "float32")
        axis = self.axis % len(x.shape)
        axes = [i for i in range(len(x.shape)) if i != axis]
        number = replicas.count()
        mean = replicas.total(ops.mean(x, axes, keepdims=True)) / number
        variance = replicas.total(ops.mean(ops.square(x - mean), axes, keepdims=True)) / number
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving + (1 - self.momentum) * (ops.reshape(value, (-1,)) - moving))
        factor = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            factor = factor * ops.reshape(self.gamma, factor.shape)
        outputs = (x - mean) * factor
        if self.center:
            outputs = outputs + ops.reshape(self.beta, factor.shape)
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "frozen": self.frozen}


@keras.saving.register_keras_serializable("keras_resnets")
class MaxPool(keras.layers.Layer):
    """Max-pooling with the padding of MXNet or torch, and with dilated windows; padded pixels are never the maximum.

    Args:
        window: size of the window.
        stride: step from window to window.
        dilation: distance between the pixels of a window; requires stride 1.
        padding: `"end"`, the first window starts at the first pixel and the last one may be cut (MXNet's old "full"
            convention), or `"both"`, half a window is padded on each side (torch).

    Attributes:
        padding_pixels: how many pixels are padded before and after each axis.

    Raises:
        ArgumentError: `stride` and `dilation` are both greater than 1.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> x = np.tile(np.arange(6, dtype="float32"), (6, 1)).reshape(1, 6, 6, 1)
        >>> [np.array(kr.layers.MaxPool(3, 2, padding=p)(x))[0, 0, :, 0].tolist() for p in ("end", "both")]
        [[2.0, 4.0, 5.0], [1.0, 3.0, 5.0]]
    """

    def __init__(self, window, stride=1, dilation=1, padding="end", **kwargs):
        super().__init__(**kwargs)
        one_of("padding", padding, ("end", "both"))
        if stride > 1 and dilation > 1:
            raise ArgumentError(f"stride or dilation must be 1; got stride {stride} and dilation {dilation}.")
        self.window, self.stride, self.dilation, self.padding = window, stride, dilation, padding
        if padding == "both":
            self.padding_pixels = [(window - 1) // 2 * dilation] * 2
        else:
            self.padding_pixels = [0, (window - 1) * dilation if stride == 1 else stride - 1]

    def compute_output_shape(self, input_shape):
        reach = (self.window - 1) * self.dilation + 1
        sides = (
            side and max(side + sum(self.padding_pixels) - reach, 0) // self.stride + 1 for side in input_shape[1:3]
        )
        return (input_shape[0], *sides, input_shape[3])

    def call(self, inputs):
        lowest = float("-inf")
        x = ops.pad(inputs, [[0, 0], self.padding_pixels, self.padding_pixels, [0, 0]], constant_values=lowest)
        if self.dilation == 1:
            return ops.max_pool(x, self.window, self.stride, "valid", data_format=LAST)
        for axis in (1, 2):
            shifts = [self.dilation * i for i in range(self.window)]
            cuts = [slice(start, (start - shifts[-1]) or None) for start in shifts]
            views = [x[:, cut] if axis == 1 else x[:, :, cut] for cut in cuts]
            x = functools.reduce(ops.maximum, views)
        return x

    def get_config(self):
        own = {"window": self.window, "stride": self.stride, "dilation": self.dilation, "padding": self.padding}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("keras_resnets")
class PadChannels(keras.layers.Layer):
    """Appends channels of zeros up to `channels`: half of the parameter-free shortcut A.

    He et al. 2015, section 3.3, option A; the zeros are appended at the end, as in the authors' and
    most later code. The other half, subsampling, is `keras.layers.AveragePooling2D(1, stride)`.

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
                f"Use TakeChannels to drop channels."
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
    """Keeps some channels: a parameter-free replacement of a layer that narrows, or the inverse of a concatenation.

    Args:
        channels: number of channels of the output.
        start: index of the first channel to keep.

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
