"""The replicas in which TensorFlow trains a network on several devices, each on its part of a batch.

On the other backends a program is written for the whole batch, wherever its examples lie, so there is one replica, and
these functions do nothing. TensorFlow's `MirroredStrategy` runs the program once on each device; what depends on the
batch as a whole has to be added up.
"""

from __future__ import annotations

from typing import Any


def count() -> int:
    """Returns the number of replicas that run this code, each on its part of a batch; 1 outside of a training step."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def number() -> Any:
    """Returns the number of this replica, from 0: that of its part of a batch."""
    context = _context()
    return 0 if context is None or context.num_replicas_in_sync == 1 else context.replica_id_in_sync_group


def total(x):
    """Returns the sum of a tensor over the replicas, which has a gradient."""
    context = _context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    import tensorflow as tf

    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def gathered(x):
    """Returns the values of a vector in all replicas, one after the other."""
    if count() == 1:
        return x
    from keras import ops

    # As a sum with zeros; TensorFlow's own `all_gather` fails on CPUs.
    own = ops.one_hot(number(), count(), dtype=x.dtype)
    return total(ops.reshape(own[:, None] * x[None], (-1,)))


def _context():
    """Returns TensorFlow's context of a replica; None on another backend, and where no replica runs."""
    import keras

    if keras.config.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
