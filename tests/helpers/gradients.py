"""Gradients of a network in which single paths lead back, by each backend's own differentiation of the whole."""

import keras
import numpy as np
from keras import ops

import keras_resnets as kr


def gradient(function, tensors):
    """The gradients of a function's value with respect to arrays, as arrays."""
    backend, tensors = keras.config.backend(), [ops.convert_to_tensor(tensor) for tensor in tensors]
    if backend == "jax":
        import jax

        found = jax.jit(jax.grad(lambda tensors: function(*tensors)))(tensors)
    elif backend == "torch":
        import torch

        tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(function(*tensors), tensors, materialize_grads=True)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors, unconnected_gradients="zero")
    return [ops.convert_to_numpy(g) for g in found]


def loss_along(model, y):
    """The sum of the examples' losses, as a function of input, gates of (blocks, examples) and the trainable weights.

    What is not on an example's path is a constant.
    """

    def loss(x, gates, *weights):
        with keras.StatelessScope(list(zip(model.trainable_variables, weights, strict=True))):
            h, waiting = x, list(ops.unstack(gates, len(model.blocks), axis=0))
            for link in model.chain:
                if not isinstance(link, kr.ResidualBlock):
                    h = link(h, training=False)
                    continue
                entry = link.branch_input(h, training=False)
                gate = ops.reshape(waiting.pop(0), (-1, 1, 1, 1))
                residual, shortcut = (branch(entry, training=False) for branch in (link.residual, link.shortcut))
                kept = gate * residual + (1 - gate) * ops.stop_gradient(residual)
                other = (1 - gate) * shortcut + gate * ops.stop_gradient(shortcut)
                h = kept + other if link.activation is None else link.activation(kept + other)
            losses = keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(y), h, from_logits=True)
            return ops.sum(losses)

    return loss


def whole_loss(model, y):
    """The sum of the examples' losses, as a function of input and the trainable weights."""

    def loss(x, *weights):
        with keras.StatelessScope(list(zip(model.trainable_variables, weights, strict=True))):
            scores = model(x, training=False)
            losses = keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(y), scores, from_logits=True)
            return ops.sum(losses)

    return loss


def weights_of(model):
    return [np.asarray(ops.convert_to_numpy(variable)) for variable in model.trainable_variables]
