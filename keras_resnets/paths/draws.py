"""Random numbers that are a function of seed and step alone: the same on every backend and device, compiled or not.

`keras.random` is not: on TensorFlow the numbers of one seed depend on whether XLA compiles the step, and every backend
has an algorithm of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

# Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3: the constants of Philox4x32-10.
_FACTORS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# TensorFlow's key for a seed's first pass, which spreads it: tensorflow/core/kernels/stateless_random_ops.cc.
_SPREAD = (0x3EC8F720, 0x02461E29)


def uniform(shape: tuple, seed: int, step, stream=0):
    """Draws uniform numbers from 0 to 1, without 1.

    These are the numbers of `tf.random.stateless_uniform(..., alg="philox")`, which Keras on TensorFlow draws without
    XLA, computed by whole numbers of 32 bits: all that every backend has.

    Args:
        shape: the shape; sizes may be tensors.
        seed: the seed, from 0 to 2^31 - 1.
        step: the step, an integer or an integer tensor, from 0 to 2^31 - 1.
        stream: an integer or an integer tensor; streams of one seed are drawn apart.

    Returns:
        A float32 tensor.

    Example:
        >>> from keras_resnets.paths.draws import uniform
        >>> [round(float(number), 4) for number in uniform((3,), seed=0, step=7)]
        [0.4688, 0.7404, 0.105]
    """
    word = int(np.random.SeedSequence([seed, 0x70617468]).generate_state(1)[0] >> 1)
    # NumPy takes numbers that are known in a moment; ops one by one take hundreds of times as long.
    known = all(isinstance(number, int | np.integer) for number in (*shape, step, stream))
    xp: Any = np if known else ops

    def whole(number):
        return np.array([number], "int64").astype("int32") if known else ops.reshape(ops.cast(number, "int32"), (1,))

    zero = whole(0)
    key = [zero + _signed(word) for word in _SPREAD]
    key_0, key_1, high_0, high_1 = _philox(xp, [whole(stream) + _signed(word), zero, whole(step), zero], key)

    # Each value of the counter gives four numbers.
    size: Any = 1
    for side in shape:
        size = size * side
    counter = xp.arange((size + 3) // 4, dtype="int32")
    none = xp.zeros_like(counter)
    words = xp.stack(_philox(xp, [counter, none, none + high_0, none + high_1], [key_0, key_1]), axis=-1)
    mantissas = xp.bitwise_and(xp.reshape(words, (-1,))[:size], 0x7FFFFF)
    return ops.reshape(ops.cast(ops.convert_to_tensor(mantissas), "float32") * 2.0**-23, shape)


def _philox(xp: Any, counter: list, key: list) -> list:
    """Returns four words of 32 random bits for a counter of four words and a key of two (Philox4x32-10)."""
    a, b, c, d = counter
    one, other = key
    for _ in range(_ROUNDS):
        high_a, low_a = _product(xp, a, _FACTORS[0])
        high_c, low_c = _product(xp, c, _FACTORS[1])
        a, c = xp.bitwise_xor(xp.bitwise_xor(high_c, b), one), xp.bitwise_xor(xp.bitwise_xor(high_a, d), other)
        b, d = low_c, low_a
        one, other = one + _signed(_KEY_STEPS[0]), other + _signed(_KEY_STEPS[1])
    return [a, b, c, d]


def _product(xp: Any, x, factor: int):
    """Returns the upper and the lower 32 bits of a product of whole numbers without sign, from halves of 16 bits."""
    x_high, x_low = _upper(xp, x), xp.bitwise_and(x, 0xFFFF)
    high, low = factor >> 16, factor & 0xFFFF
    low_low, low_high, high_low = x_low * _signed(low), x_low * _signed(high), x_high * _signed(low)
    middle = _upper(xp, low_low) + xp.bitwise_and(low_high, 0xFFFF) + xp.bitwise_and(high_low, 0xFFFF)
    return x_high * _signed(high) + _upper(xp, low_high) + _upper(xp, high_low) + _upper(xp, middle), x * _signed(
        factor
    )


def _upper(xp: Any, x):
    """Returns the upper half of a word; a shift alone repeats its sign."""
    return xp.bitwise_and(xp.right_shift(x, 16), 0xFFFF)


def _signed(word: int) -> int:
    """Returns the number of 32 bits with a sign that has the bits of one without."""
    return word - 2**32 if word >= 2**31 else word
