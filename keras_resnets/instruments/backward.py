"""Takes gradients back through one link of a chain, as functions for `TracedOnce`: by path length or along paths."""

from __future__ import annotations

import keras
from keras import ops

from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.tracing import variables_of

# Parts computed in parallel: one computes while another waits.
PARALLEL = 2


def any_rows(*tensors):
    """Returns specs of the tensors with any number of rows."""
    import tensorflow as tf

    return [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in tensors]


def any_lanes(x, *lanes):
    """Returns specs of `x` with any number of rows, and of the others with any number of lanes and rows."""
    import tensorflow as tf

    return [*any_rows(x), *(tf.TensorSpec((None, None, *lane.shape[2:]), lane.dtype) for lane in lanes)]


def back_along_path(link: keras.Layer, values, x, gradients, gates):
    """Returns gradients at a link's input: through the residual branch if a gate is on, else through the shortcut."""
    import tensorflow as tf

    with (
        keras.StatelessScope(list(zip(variables_of(link), values, strict=True))),
        tf.GradientTape(persistent=True) as tape,
    ):
        tape.watch(x)
        if isinstance(link, ResidualBlock):
            residual, shortcut, total = _run_branches(link, link.branch_input(x, training=False))
            y = link.join(total)
        else:
            y = link(x, training=False)

    def gradient_at_input(i):
        gradient, gate = gradients[i], gates[i]
        if not isinstance(link, ResidualBlock):
            return [tape.gradient(y, x, output_gradients=gradient)]
        if link.activation is not None:
            gradient = tape.gradient(y, total, output_gradients=gradient)
        weight = tf.reshape(tf.cast(gate, gradient.dtype), (-1, *[1] * (len(x.shape) - 1)))
        by_branch = [weight * gradient, (1 - weight) * gradient]
        return [tape.gradient([residual, shortcut], x, output_gradients=by_branch)]

    return _stack_for_each(tf.shape(gradients)[0], gradient_at_input, [x])[0]


def back_by_length(weights: bool, link: keras.Layer, values, x, parts):
    """Takes the gradient's parts by path length back through one link.

    Args:
        weights: whether to return the gradients with respect to the link's trainable variables, too.
        link: a link of the chain.
        values: the values of its variables.
        x: its input.
        parts: the gradient at its output by path length, (lengths, ...).

    Returns:
        The parts at the link's input, and with respect to each of its trainable variables, (lengths, ...) each; a block
        with a residual branch adds one length.
    """
    trained = values[: len(link.trainable_variables)] if weights else []
    through = _back_through_block if isinstance(link, ResidualBlock) else _back_through_layer
    return through(link, values, trained, x, parts)


def _back_through_layer(link: keras.Layer, values, trained, x, parts):
    """Implements `back_by_length` for a link without branches, which does not change lengths."""
    import tensorflow as tf

    sources = [x, *trained]
    with (
        keras.StatelessScope(list(zip(variables_of(link), values, strict=True))),
        tf.GradientTape(persistent=True) as tape,
    ):
        tape.watch(sources)
        y = link(x, training=False)
    at_input, *by_weights = _stack_for_each(
        tf.shape(parts)[0], lambda k: _gradients(tape, [y], sources, [parts[k]]), sources
    )
    return at_input, by_weights


def _back_through_block(block: ResidualBlock, values, trained, x, parts):
    """Implements `back_by_length` for a block."""
    import tensorflow as tf

    tapes, lengths = _BlockTapes(block, values, trained, x), tf.shape(parts)[0] + 1

    # From the block's output to the input of its branches.
    sources = [tapes.h, *trained]
    at_branches, *by_weights = _stack_for_each(lengths, lambda k: tapes.part_at_branches(parts, k), sources)
    if block.preactivation is None:
        return at_branches, by_weights

    # Through the pre-activation, once for each length.
    sources = [x, *trained]
    at_input, *by_preactivation = _stack_for_each(
        lengths, lambda k: _gradients(tapes.entry, [tapes.h], sources, [at_branches[k]]), sources
    )
    return at_input, [a + b for a, b in zip(by_weights, by_preactivation, strict=True)]


class _BlockTapes:
    """The forward pass of a block on three tapes: pre-activation, branches, activation.

    With separate tapes, the gradient of each branch ends at the branches' input, so that the pre-activation is
    differentiated once and not for each branch.
    """

    def __init__(self, block: ResidualBlock, values, trained, x):
        import tensorflow as tf

        self.block, self.trained = block, trained
        with keras.StatelessScope(list(zip(variables_of(block), values, strict=True))):
            with tf.GradientTape(persistent=True) as self.entry:
                self.entry.watch([x, *trained])
                self.h = block.branch_input(x, training=False)
            with tf.GradientTape(persistent=True) as self.branches:
                self.branches.watch([self.h, *trained])
                self.residual, self.shortcut, self.total = _run_branches(block, self.h)
            with tf.GradientTape(persistent=True) as self.end:
                self.end.watch([self.total, *trained])
                self.y = block.join(self.total)

    def part_at_branches(self, parts, k):
        """Returns the part of paths of length k at the branches' input, and with respect to the weights.

        These paths have length k - 1 behind the residual branch, or k behind the shortcut.
        """
        import tensorflow as tf

        count, sources = tf.shape(parts)[0], [self.h, *self.trained]

        def through_both():
            same = tf.cond(k < count, lambda: self._part_at_sum(parts, k), lambda: tf.zeros_like(self.total))
            by_branch = [self._part_at_sum(parts, k - 1), same]
            return _gradients(self.branches, [self.residual, self.shortcut], sources, by_branch)

        def through_shortcut():
            return _gradients(self.branches, [self.shortcut], sources, [self._part_at_sum(parts, 0)])

        at_branches, *by_weights = tf.cond(k > 0, through_both, through_shortcut)
        activation = self.block.activation
        if self.trained and activation is not None and activation.trainable_variables:
            # The activation's weights act behind the sum, so no branch of the block leads to them.
            by_activation = tf.cond(
                k < count,
                lambda: _gradients(self.end, [self.y], [self.total, *self.trained], [parts[k]])[1:],
                lambda: [tf.zeros_like(weight) for weight in self.trained],
            )
            by_weights = [a + b for a, b in zip(by_weights, by_activation, strict=True)]
        return [at_branches, *by_weights]

    def _part_at_sum(self, parts, k):
        """Returns the gradient at the sum, of paths of length k behind the block."""
        if self.block.activation is None:
            return parts[k]
        return self.end.gradient(self.y, self.total, output_gradients=parts[k])


def _run_branches(block: ResidualBlock, h):
    """Returns the outputs of a block's branches for their input, and the sum; zeros for a missing branch."""
    outputs = block.branches(h, training=False)
    present = [output for output in outputs if output is not None]
    total = ops.add(*present) if len(present) == 2 else present[0]
    residual, shortcut = (ops.zeros_like(total) if output is None else output for output in outputs)
    return residual, shortcut, total


def _gradients(tape, targets, sources, output_gradients):
    """Returns the gradients of the targets' sum with respect to each source; zeros where they do not depend on it."""
    return tape.gradient(targets, sources, output_gradients=output_gradients, unconnected_gradients="zero")


def _stack_for_each(count, function, like):
    """Calls `function` with 0 to `count - 1` and stacks its results, which have the shapes of the tensors `like`."""
    import tensorflow as tf

    signature = [tf.TensorSpec(None, tensor.dtype) for tensor in like]
    results = tf.map_fn(function, tf.range(count), fn_output_signature=signature, parallel_iterations=PARALLEL)
    return [tf.ensure_shape(result, (None, *tensor.shape)) for result, tensor in zip(results, like, strict=True)]
