"""Takes gradients back through a link of a chain, whole, by path length, or along paths, as `TracedOnce` traces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_resnets.instruments.differentiation import for_each, pullback
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.tracing import TracedOnce, stateless, with_values

# On JAX, how many lanes go back through a link at once: a function is compiled for each number.
LANES = 8


def back_whole(weights: bool, link: keras.Layer, values, x, gradient):
    """Takes a gradient back through an undivided link.

    Args:
        weights: whether to return the gradients with respect to the link's trainable variables, too.
        link: a link of the chain.
        values: the values of its variables.
        x: its input.
        gradient: the gradient at its output.

    Returns:
        The gradient at its input, and those with respect to its trainable variables, an empty list without `weights`.
    """
    at_input, *by_weights = _pullback_of_link(weights, link, values, x)([gradient])
    return at_input, by_weights


def _pullback_of_link(weights: bool, link: keras.Layer, values, x) -> Callable[[Sequence], list]:
    """Returns the function that takes gradients back through an undivided link."""
    trained, others = _split(weights, link, values)
    return pullback(lambda x, *trained: stateless(link, [*trained, *others], x, False)[0], [x, *trained])[1]


def _split(weights: bool, link: keras.Layer, values) -> tuple[Sequence, Sequence]:
    """Splits the values of a link's variables: those to differentiate by, and the others."""
    count = len(link.trainable_variables) if weights else 0
    return values[:count], values[count:]


def back_along_path(link: keras.Layer, values, x, gradients, gates):
    """Returns gradients at a link's input: through the residual branch if a gate is on, else through the shortcut."""
    if not isinstance(link, ResidualBlock):
        back = _pullback_of_link(False, link, values, x)
        return for_each(lambda i: back([gradients[i]]), ops.shape(gradients)[0], [x])[0]
    block = _Block(link, values, [], x)

    def gradient_at_input(i):
        at_sum = block.at_sum(gradients[i])
        weight = ops.reshape(ops.cast(gates[i], at_sum.dtype), (-1, *[1] * (len(x.shape) - 1)))
        at_branches = block.branches([weight * at_sum, (1 - weight) * at_sum])
        return block.entry(at_branches) if block.entry else at_branches

    return for_each(gradient_at_input, ops.shape(gradients)[0], [x])[0]


def back_by_length(weights: bool, link: keras.Layer, values, x, before, parts):
    """Takes the gradient's parts by path length back through one link.

    Args:
        weights: as for `back_whole`.
        link: a link of the chain.
        values: the values of its variables.
        x: its input.
        before: the last of its lanes is the part of the length before the first of `parts`, which is zero if there is
            none; a path through a residual branch is longer by one.
        parts: the gradient at the link's output by path length, (lengths, ...).

    Returns:
        The parts at the link's input, and with respect to each of its trainable variables, (lengths, ...) each.
    """
    trained, others = _split(weights, link, values)
    sources, count = [x, *trained], ops.shape(parts)[0]
    if not isinstance(link, ResidualBlock):
        back = _pullback_of_link(weights, link, values, x)
        at_input, *by_weights = for_each(lambda k: back([parts[k]]), count, sources)
        return at_input, by_weights

    # From the block's output to the input of its branches: paths of length k have length k - 1 behind the residual
    # branch, or k behind the shortcut.
    block = _Block(link, others, trained, x)

    shorter = ops.concatenate([before[-1:], parts[:-1]])

    def part_at_branches(k):
        by_branch = [block.at_sum(shorter[k]), block.at_sum(parts[k])]
        at_branches, *by_weights = block.branches(by_branch)
        if trained and block.end and link.activation.trainable_variables:
            # The activation's weights act behind the sum, so no branch of the block leads to them.
            by_weights = [a + b for a, b in zip(by_weights, block.end([parts[k]])[1:], strict=True)]
        return [at_branches, *by_weights]

    at_branches, *by_weights = for_each(part_at_branches, count, [block.h, *trained])
    if (entry := block.entry) is None:
        return at_branches, by_weights

    # Through the pre-activation, once for each length.
    at_input, *by_preactivation = for_each(lambda k: entry([at_branches[k]]), count, sources)
    return at_input, [a + b for a, b in zip(by_weights, by_preactivation, strict=True)]


class _Block:
    """The derivatives of a block in three steps: pre-activation, branches, activation.

    Apart from each other, the gradient of each branch ends at the branches' input, so that the pre-activation is
    differentiated once and not for each branch.

    Attributes:
        h: the input of the branches.
        entry: takes a gradient at `h` back to the block's input and the weights; None without a pre-activation.
        branches: takes gradients at the outputs of the residual branch and of the shortcut back to `h` and the weights.
        end: takes a gradient at the block's output back to the sum and the weights; None without an activation.
    """

    def __init__(self, block: ResidualBlock, others, trained, x):
        def by_weights(function: Callable) -> Callable:
            return lambda x, *trained: with_values(block, [*trained, *others], function, x)

        def run_branches(h):
            residual, shortcut = block.branches(h, training=False)
            present = residual if shortcut is None else shortcut
            # Zeros for a branch that is missing.
            return [ops.zeros_like(present) if output is None else output for output in (residual, shortcut)]

        self.h = x
        self.entry: Callable[[Sequence], list] | None = None
        self.end: Callable[[Sequence], list] | None = None
        if block.preactivation is not None:
            enter = by_weights(lambda x: block.branch_input(x, training=False))
            self.h, self.entry = pullback(enter, [x, *trained])
        outputs, self.branches = pullback(by_weights(run_branches), [self.h, *trained])
        if block.activation is not None:
            present = [o for o, b in zip(outputs, (block.residual, block.shortcut), strict=True) if b is not None]
            total = ops.add(*present) if len(present) == 2 else present[0]
            self.end = pullback(by_weights(block.join), [total, *trained])[1]

    def at_sum(self, gradient):
        """Returns the gradient at the sum, for one at the block's output."""
        return gradient if self.end is None else self.end([gradient])[0]


class LanesByLength:
    """The parts of a gradient by path length, in groups that go back through a link one after the other.

    JAX compiles a function for each size of its arguments, and vectorises what TensorFlow and torch do in a loop. So it
    has groups of `LANES`, of which the last may end with zeros; the others have one group, of as many as there are.

    Args:
        gradient: the whole gradient behind the last block, where all paths have no length.

    Attributes:
        groups: tensors of (lengths, ...).
        count: how many lengths there are; what follows in the last group is zero.
    """

    def __init__(self, gradient):
        self._size = LANES if keras.config.backend() == "jax" else 1
        self.groups, self.count = [ops.pad(gradient[None], [[0, self._size - 1], *[[0, 0]] * len(gradient.shape)])], 1

    def through(self, back: TracedOnce, link: keras.Layer, x) -> list[list]:
        """Takes the parts back through a link by `back_by_length`; a block's residual branch adds one length.

        Returns:
            For each of the link's trainable variables, if `back` computes these, its groups.
        """
        none = ops.zeros((self._size, *self.groups[0].shape[1:]), self.groups[0].dtype)
        if isinstance(link, ResidualBlock):
            if self.count % self._size == 0:
                self.groups.append(none)
            self.count += 1
            if keras.config.backend() != "jax":
                self.groups = [ops.concatenate(self.groups)]
        results = [
            back(link, x, before, group) for before, group in zip([none, *self.groups[:-1]], self.groups, strict=True)
        ]
        self.groups = [at_input for at_input, _ in results]
        return [list(groups) for groups in zip(*(by_weights for _, by_weights in results), strict=True)]
