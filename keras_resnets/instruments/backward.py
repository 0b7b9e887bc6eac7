"""Gradients taken back through one link of a chain, as functions for `Shared`: all parts at once, or along paths."""

from __future__ import annotations

import keras
from keras import ops

from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.tracing import variables_of

# Parts that are worked on at a time: the operations of one fill the waits of the other.
PARALLEL = 2


def any_rows(*tensors):
    import tensorflow as tf

    return [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in tensors]


def any_lanes(x, *lanes):
    import tensorflow as tf

    return [*any_rows(x), *(tf.TensorSpec((None, None, *lane.shape[2:]), lane.dtype) for lane in lanes)]


def _branches(block: ResidualBlock, h):
    """What a block computes of the input of its branches: their outputs, and the sum."""
    given = [None if block.residual is None else block.scaled(block.residual(h))]
    given += [None if block.shortcut is None else block.shortcut(h)]
    total = ops.add(*given) if all(branch is not None for branch in given) else next(b for b in given if b is not None)
    residual, shortcut = (ops.zeros_like(total) if branch is None else branch for branch in given)
    return residual, shortcut, total


def along(link: keras.Layer, values, x, gradients, gates):
    """Gradients at a link's input: through the residual branch where a gate is on, else through the shortcut."""
    import tensorflow as tf

    with (
        keras.StatelessScope(list(zip(variables_of(link), values, strict=True))),
        tf.GradientTape(persistent=True) as tape,
    ):
        tape.watch(x)
        if isinstance(link, ResidualBlock):
            residual, shortcut, total = _branches(link, link.branch_input(x))
            y = link.join(total)
        else:
            y = link(x, training=False)

    def one(i):
        gradient, gate = gradients[i], gates[i]
        if not isinstance(link, ResidualBlock):
            return [tape.gradient(y, x, output_gradients=gradient)]
        if link.activation is not None:
            gradient = tape.gradient(y, total, output_gradients=gradient)
        weight = tf.reshape(tf.cast(gate, gradient.dtype), (-1, *[1] * (len(x.shape) - 1)))
        taken = [weight * gradient, (1 - weight) * gradient]
        return [tape.gradient([residual, shortcut], x, output_gradients=taken)]

    return _for_each(tf.shape(gradients)[0], one, [x])[0]


def back(weights: bool):
    """Going back through one link with all parts, as a function for `Shared`.

    It gives the parts at the link's input, and with respect to its trained variables, (lengths, ...) each.
    """

    def through(link: keras.Layer, values, x, parts):
        import tensorflow as tf

        trained = values[: len(link.trainable_variables)] if weights else []

        def pull(tape, targets, source, gradients):
            """Gradients of the targets' sum with respect to `source` and the weights."""
            sources = [source, *trained]
            return tape.gradient(targets, sources, output_gradients=gradients, unconnected_gradients="zero")

        is_block, count = isinstance(link, ResidualBlock), tf.shape(parts)[0]
        with keras.StatelessScope(list(zip(variables_of(link), values, strict=True))):
            with tf.GradientTape(persistent=True) as entry:
                entry.watch([x, *trained])
                h = link.branch_input(x) if is_block else link(x, training=False)
            if is_block:
                # Tapes of their own, which know nothing of what lies in front: that is gone back through once.
                with tf.GradientTape(persistent=True) as inner:
                    inner.watch([h, *trained])
                    residual, shortcut, total = _branches(link, h)
                with tf.GradientTape(persistent=True) as end:
                    end.watch([total, *trained])
                    y = link.join(total)

        if not is_block:
            at_input, *by_weights = _for_each(count, lambda k: pull(entry, [h], x, [parts[k]]), [x, *trained])
            return at_input, by_weights

        def behind(k):
            """The gradient of the sum, by paths of length k behind the block."""
            return parts[k] if link.activation is None else end.gradient(y, total, output_gradients=parts[k])

        def one(k):
            """By paths of length k from the block's input: k - 1 behind the residual branch, k behind the shortcut."""

            def longer():
                same = tf.cond(k < count, lambda: behind(k), lambda: tf.zeros_like(total))
                return pull(inner, [residual, shortcut], h, [behind(k - 1), same])

            at_input, *by_weights = tf.cond(k > 0, longer, lambda: pull(inner, [shortcut], h, [behind(0)]))
            if trained and link.activation is not None and link.activation.trainable_variables:
                # Of the activation's weights, which no branch of the block leads to.
                zeros = [tf.zeros_like(weight) for weight in trained]
                own = tf.cond(k < count, lambda: pull(end, [y], total, [parts[k]])[1:], lambda: zeros)
                by_weights = [a + b for a, b in zip(by_weights, own, strict=True)]
            return [at_input, *by_weights]

        at_input, *by_weights = _for_each(count + 1, one, [h, *trained])
        if link.preactivation is None:
            return at_input, by_weights
        found = at_input
        at_input, *in_front = _for_each(count + 1, lambda k: pull(entry, [h], x, [found[k]]), [x, *trained])
        return at_input, [a + b for a, b in zip(by_weights, in_front, strict=True)]

    return through


def _for_each(count, one, sources):
    """Calls `one` with 0 to `count - 1`; stacks what it gives for each of the sources, shaped like them."""
    import tensorflow as tf

    signature = [tf.TensorSpec(None, tensor.dtype) for tensor in sources]
    found = tf.map_fn(one, tf.range(count), fn_output_signature=signature, parallel_iterations=PARALLEL)
    return [tf.ensure_shape(g, (None, *s.shape)) for g, s in zip(found, sources, strict=True)]
