"""The gradient of a network by path length: exactly, for all lengths at once, or along single paths.

A path takes, at every block, the residual branch or the shortcut (Veit et al. 2016, section 3); its length is the
number of residual branches on it. By the chain rule the gradient is a sum over paths of products of the derivatives
along them, all evaluated at the whole network's forward pass. Let G_k be the sum over all paths of length k from a
block's output to the loss. Then at the block's input

    G'_k = (derivative of the shortcut)^T G_k + (derivative of the residual branch)^T G_{k-1},

so a backward pass through N blocks with N + 1 parts in place of one gradient gives the sums over all 2^N paths.

The network runs in inference mode: with batch statistics, the gradient of an example would depend on the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.data.batches import check_inputs, class_labels
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.instruments.backward import any_lanes, any_rows, back_along_path, back_by_length
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import check_classifier
from keras_resnets.network.tracing import TracedOnce, stateless

INPUT = "input"

# How many tensors of the size of the parts at a block's input its backward pass holds at once: measured.
COPIES = 6


@dataclass(frozen=True)
class Parts:
    """The gradient's parts by path length at one place.

    Attributes:
        at: the link at whose output the gradient is taken, or `"input"` for the network's input; for weights, their
            link.
        of: `"values"`: a gradient for each example, of its own loss; or `"weights"`: one, of the examples' mean loss.
        norm: norms of the parts, (lengths, examples); (lengths, 1) for weights.
        share: inner product of each part with the whole gradient, over the square of the whole's norm: the part's
            contribution. Sums to 1 over lengths, and is negative if a part opposes the whole.
        rest: norm of the sum of all longer parts, over the whole's norm: the error of leaving them out.
        whole: norm of the whole gradient, (examples,).
        error: norm of the difference between the sum of the parts and the gradient by reverse-mode differentiation of
            the undivided network, over the whole's norm, (examples,).
    """

    at: str
    of: str
    norm: np.ndarray
    share: np.ndarray
    rest: np.ndarray
    whole: np.ndarray
    error: np.ndarray


class Spectrum:
    """Splits the gradient of a network's cross-entropy by path.

    Args:
        model: a classifier; its weights are read at every call.
        precision: the precision of the computation, independent of the network's: `"float32"`, or `"float64"`, three to
            four times as slow, which is accurate even for parts that cancel.

    Raises:
        ArgumentError: an argument breaks its rule, or the backend is not TensorFlow.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> spectrum = kr.spectrum.Spectrum(kr.build("preresnet8", (8, 8, 1)))
        >>> *_, parts = spectrum.exact(np.ones((2, 8, 8, 1)), np.array([3, 7]))
        >>> parts.at, parts.norm.shape  # three blocks, paths of length 0 to 3
        ('input', (4, 2))
    """

    def __init__(self, model: ResidualNetwork, precision: str = "float32"):
        one_of("precision", precision, ("float32", "float64"))
        if keras.config.backend() != "tensorflow":
            raise ArgumentError(
                f"The gradient by path needs the TensorFlow backend; got {keras.config.backend()!r}. Set KERAS_BACKEND."
            )
        if not model.blocks:
            raise ArgumentError(f"model must have residual blocks; {model.name!r} has none.")
        check_classifier(model)
        self.model, self.precision = model, precision
        last = max(i for i, link in enumerate(model.chain) if isinstance(link, ResidualBlock))
        self.chain, self._tail = model.chain[: last + 1], model.chain[last + 1 :]

        def traced(function, specs):
            return TracedOnce(function, specs, None if model.dtype_policy.name == precision else precision)

        modes = (True, False)
        self._forward = traced(lambda link, values, x: stateless(link, values, x, False)[0], any_rows)
        self._losses = {logits: traced(functools.partial(_losses, logits), any_rows) for logits in modes}
        self._back = {weights: traced(functools.partial(back_by_length, weights), any_lanes) for weights in modes}
        self._along = traced(back_along_path, any_lanes)

    def rows(self, budget: int) -> int:
        """Returns the number of examples whose parts need at most about `budget` bytes."""
        widest = max(math.prod(n or 1 for n in link.output.shape[1:]) for link in self.chain)
        each = np.dtype(self.precision).itemsize * widest * (len(self.model.blocks) + 1)
        return max(1, budget // (COPIES * each))

    def exact(
        self,
        x,
        y,
        *,
        weights: bool = False,
        at: Collection[str] = (),
        tick: Callable[[int], None] | None = None,
        whole=None,
    ) -> Iterator[Parts]:
        """Yields the parts of the gradient by path length, from the last block back to the input.

        Args:
            x: a batch of inputs.
            y: their classes.
            weights: whether to split, for each link, the gradient with respect to its weights, too. A path to them
                counts the link's own residual branch if it leads through it; paths to the weights of a batch-norm
                behind the sum do not.
            at: names of links at whose outputs to split the gradient, in addition to the network's input.
            tick: called with 1 after each link of the backward pass.
            whole: the result of `whole` for the same arguments, if `along` uses it, too.

        Yields:
            `Parts`, in the order of the backward pass; those of values at the input last.

        Raises:
            ArithmeticError: the parts do not sum to the gradient.
            FloatingPointError: the gradient is not finite.
        """
        inputs, wholes, by_weight = whole or self.whole(x, y, weights)
        parts = wholes[-1][None]
        for i in reversed(range(len(self.chain))):
            link = self.chain[i]
            if link.name in at:
                yield self._checked(Parts(link.name, "values", *_of_values(parts, wholes[i + 1])))
            parts, weight_parts = self._back[weights](link, inputs[i], parts)
            if tick is not None:
                tick(1)
            if weights and by_weight[i]:
                weight_parts = [part / len(x) for part in weight_parts]  # of the mean loss
                yield self._checked(Parts(link.name, "weights", *_of_weights(weight_parts, by_weight[i])))
        yield self._checked(Parts(INPUT, "values", *_of_values(parts, wholes[0])))

    def along(self, x, y, gates, whole=None):
        """Yields the gradient at the input along one path for each example.

        The forward pass uses the whole network; the backward pass goes through one branch of every block (Veit et al.
        2016, section 4.2).

        Args:
            x: a batch of inputs.
            y: their classes.
            gates: booleans of (draws, blocks, examples): whether the path takes the residual branch.
            whole: as for `exact`.

        Yields:
            A tensor of the shape of `x` for each draw.
        """
        inputs, wholes, _ = whole or self.whole(x, y, False)
        gates, most = np.asarray(gates, bool), len(self.model.blocks) + 1
        for group in (gates[i : i + most] for i in range(0, len(gates), most)):
            gradients, by_block = ops.stack([wholes[-1]] * len(group)), list(np.moveaxis(group, 1, 0))
            for link, link_input in zip(reversed(self.chain), reversed(inputs), strict=True):
                gate = by_block.pop() if isinstance(link, ResidualBlock) else np.ones_like(group[:, 0])
                gradients = self._along(link, link_input, gradients, ops.convert_to_tensor(gate))
            yield from ops.unstack(gradients, len(group), axis=0)

    def whole(self, x, y, weights: bool):
        """Runs the undivided network forward, and back by reverse-mode differentiation.

        Returns:
            The input of every link; the gradients there and at the last block's output, of each example's own loss; and
            for every link the gradients with respect to its weights, of the mean loss.
        """
        import tensorflow as tf

        check_inputs(x, self.model.input_shape[1:])
        y = class_labels(y, self.model.output_shape[1])
        values = [tf.cast(x, self.precision)]
        variables = [[v.value for v in link.trainable_variables] if weights else [] for link in self.chain]
        with tf.GradientTape() as tape:
            tape.watch(values[0])
            for link in self.chain:
                values.append(self._forward(link, values[-1]))
            h = values[-1]
            for link in self._tail[:-1]:
                h = self._forward(link, h)
            loss = tf.reduce_sum(self._loss(h, y))
        wholes, by_weight = tape.gradient(loss, [values, variables], unconnected_gradients="zero")
        by_weight = [[tf.cast(g, self.precision) / len(x) for g in of_link] for of_link in by_weight]
        return values[:-1], wholes, by_weight

    def _loss(self, h, y):
        """Returns the cross-entropy of each example for the input of the network's last link."""
        labels = ops.convert_to_tensor(y)
        if not self._tail:
            return _cross_entropy(labels, h, logits=not _are_probabilities(h))
        scores = self._forward(self._tail[-1], h)
        if not ops.all(ops.isfinite(scores)):
            raise FloatingPointError(self._not_finite("The output"))
        return self._losses[not _are_probabilities(scores)](self._tail[-1], h, labels)

    def _not_finite(self, quantity: str) -> str:
        """Returns the error message for an output or gradient that is not finite."""
        return (
            f"{quantity} of {self.model.name!r} is not finite, so the gradient cannot be split; train the network "
            f"first, and give data scaled as in its training."
        )

    def _checked(self, parts: Parts) -> Parts:
        """Returns the parts after checking that they are finite and sum to the gradient.

        In float32, rounding errors are relative to the parts, even if these cancel; in float64 they are negligible.
        """
        if not np.isfinite(parts.norm).all():
            raise FloatingPointError(self._not_finite(f"The gradient at {parts.at!r}"))
        scale = parts.whole if self.precision == "float64" else parts.norm.sum(0)
        worst = float((parts.error * parts.whole / np.maximum(scale, 1e-300)).max())
        if not worst <= {"float32": 1e-5, "float64": 1e-6}[self.precision]:
            raise ArithmeticError(
                f"The parts of the gradient at {parts.at!r} of {self.model.name!r} miss it by {worst:.1g} of their "
                f"size. Please report this: the derivative of some layer differs from that of its computation."
            )
        return parts


def _are_probabilities(scores) -> bool:
    return bool(ops.all(scores >= 0)) and np.allclose(ops.sum(scores, -1), 1, atol=1e-3)


def _losses(logits: bool, link: keras.Layer, values, x, labels):
    """Returns the cross-entropy of each example, as a function for `TracedOnce`."""
    return _cross_entropy(labels, stateless(link, values, x, False)[0], logits)


def _cross_entropy(labels, scores, logits: bool):
    # If a softmax in the same function computed the scores, Keras uses its logits.
    return keras.losses.sparse_categorical_crossentropy(labels, scores, from_logits=logits)


def _of_values(parts, whole):
    """Returns the statistics of `Parts` for gradients of each example."""
    lengths, examples = parts.shape[:2]
    return _statistics(ops.reshape(parts, (lengths, examples, -1)), ops.reshape(whole, (examples, -1)))


def _of_weights(parts, whole):
    """Returns the statistics of `Parts` for the gradient of the mean loss with respect to a link's weights together."""
    parts = ops.concatenate([ops.reshape(p, (p.shape[0], 1, -1)) for p in parts], -1)
    whole = ops.concatenate([ops.reshape(g, (1, -1)) for g in whole], -1)
    return _statistics(parts, whole)


def _statistics(parts, whole):
    """Returns `norm`, `share`, `rest`, `whole` and `error` of `Parts` for parts of (lengths, examples, elements)."""
    import tensorflow as tf

    size = np.maximum(_norms(whole), 1e-300)
    share = np.asarray(tf.einsum("keD,eD->ke", parts, whole), "float64") / size**2
    # The sums of all longer parts as a product with a triangle of ones: much faster than a cumulative sum.
    triangle = tf.constant(np.triu(np.ones((len(parts),) * 2), 1), parts.dtype)
    rest = _norms(tf.reshape(tf.matmul(triangle, tf.reshape(parts, (len(parts), -1))), parts.shape)) / size
    return _norms(parts), share, rest, _norms(whole), _norms(tf.reduce_sum(parts, 0) - whole) / size


def _norms(vectors):
    """Returns the norms over the last axis, in float64."""
    import tensorflow as tf

    # Squares of the gradients along long paths underflow; the gradients themselves do not.
    largest = tf.maximum(tf.reduce_max(tf.abs(vectors), axis=-1, keepdims=True), np.finfo("float32").tiny)
    return np.asarray(tf.norm(vectors / largest, axis=-1), "float64") * np.asarray(largest[..., 0], "float64")
