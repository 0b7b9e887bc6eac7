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

import contextlib
import functools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.data.batches import check_inputs, class_labels
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.instruments.backward import LANES, LanesByLength, back_along_path, back_by_length, back_whole
from keras_resnets.instruments.differentiation import compiled, in_double_precision, pullback, without_gradients
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import check_classifier
from keras_resnets.network.tracing import TracedOnce, any_lanes, any_rows, stateless

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
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> spectrum = kr.spectrum.Spectrum(kr.build("preresnet8", (8, 8, 1)))
        >>> *_, parts = spectrum.exact(np.ones((2, 8, 8, 1)), np.array([3, 7]))
        >>> parts.at, parts.norm.shape  # three blocks, paths of length 0 to 3
        ('input', (4, 2))
    """

    def __init__(self, model: ResidualNetwork, precision: str = "float32"):
        one_of("precision", precision, ("float32", "float64"))
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
        self._loss = {logits: traced(functools.partial(_back_from_loss, logits), any_rows) for logits in modes}
        self._whole = {weights: traced(functools.partial(back_whole, weights), any_rows) for weights in modes}
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
        with self._computing():
            parts = LanesByLength(wholes[-1])
        for i in reversed(range(len(self.chain))):
            link, found = self.chain[i], []
            # Not around the `yield`: who iterates computes in a precision of his own.
            with self._computing():
                if link.name in at:
                    found.append(Parts(link.name, "values", *_of_values(parts, wholes[i + 1])))
                weight_parts = parts.through(self._back[weights], link, inputs[i])
                if weights and by_weight[i]:
                    statistics = _of_weights(weight_parts, by_weight[i], parts.count, len(x))
                    found.append(Parts(link.name, "weights", *statistics))
            if tick is not None:
                tick(1)
            yield from map(self._checked, found)
        with self._computing():
            at_input = Parts(INPUT, "values", *_of_values(parts, wholes[0]))
        yield self._checked(at_input)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Holds the settings of the backend under which tensors are computed."""
        with without_gradients(), in_double_precision() if self.precision == "float64" else contextlib.nullcontext():
            yield

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
        gates, most = np.asarray(gates, bool), LANES if keras.config.backend() == "jax" else len(self.model.blocks) + 1
        for start in range(0, len(gates), most):
            group = gates[start : start + most]
            count = len(group)
            if keras.config.backend() == "jax":  # which compiles each number of lanes
                group = np.resize(group, (most, *group.shape[1:]))
            with self._computing():
                gradients, by_block = ops.stack([wholes[-1]] * len(group)), list(np.moveaxis(group, 1, 0))
                for link, link_input in zip(reversed(self.chain), reversed(inputs), strict=True):
                    gate = by_block.pop() if isinstance(link, ResidualBlock) else np.ones_like(group[:, 0])
                    gradients = self._along(link, link_input, gradients, ops.convert_to_tensor(gate))
                each = ops.unstack(gradients, len(group), axis=0)[:count]
            yield from each

    def whole(self, x, y, weights: bool):
        """Runs the undivided network forward, and back by reverse-mode differentiation.

        Returns:
            The input of every link; the gradients there and at the last block's output, of each example's own loss; and
            for every link the gradients with respect to its weights, of the sum of the losses.
        """
        check_inputs(x, self.model.input_shape[1:])
        y = class_labels(y, self.model.output_shape[1])
        with self._computing():
            values = [ops.cast(ops.convert_to_tensor(np.asarray(x)), self.precision)]
            for link in [*self.chain, *self._tail[:-1]]:
                values.append(self._forward(link, values[-1]))
            gradient = self._gradient_of_loss(values[-1], y)
            for link, h in zip(self._tail[-2::-1], values[-2::-1], strict=False):
                gradient, _ = self._whole[False](link, h, gradient)
            inputs, wholes, by_weight = values[: len(self.chain)], [gradient], []
            for link, h in zip(reversed(self.chain), reversed(inputs), strict=True):
                at_input, of_link = self._whole[weights](link, h, wholes[0])
                wholes.insert(0, at_input)
                by_weight.insert(0, of_link)
        return inputs, wholes, by_weight

    def _gradient_of_loss(self, h, y):
        """Returns the gradient of each example's cross-entropy at the input of the network's last link."""
        labels = ops.convert_to_tensor(y)
        if not self._tail:
            loss, back = pullback(lambda h: _cross_entropy(labels, h, logits=not _are_probabilities(h)), [h])
            return back([ops.ones_like(loss)])[0]
        scores = self._forward(self._tail[-1], h)
        if not ops.all(ops.isfinite(scores)):
            raise FloatingPointError(self._not_finite("The output"))
        return self._loss[not _are_probabilities(scores)](self._tail[-1], h, labels)

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


def _back_from_loss(logits: bool, link: keras.Layer, values, x, labels):
    """Returns the gradient of each example's cross-entropy at a link's input, as a function for `TracedOnce`."""
    loss, back = pullback(lambda x: _cross_entropy(labels, stateless(link, values, x, False)[0], logits), [x])
    return back([ops.ones_like(loss)])[0]


def _cross_entropy(labels, scores, logits: bool):
    # If a softmax in the same function computed the scores, Keras uses its logits.
    return keras.losses.sparse_categorical_crossentropy(labels, scores, from_logits=logits)


def _of_values(parts: LanesByLength, whole):
    """Returns the statistics of `Parts` for gradients of each example."""
    return _statistics([[group] for group in parts.groups], [whole], parts.count)


def _of_weights(weight_parts: list[list], whole: list, count: int, examples: int):
    """Returns the statistics of `Parts` for the gradient of the mean loss with respect to a link's weights together."""
    groups = [[part[:, None] for part in group] for group in zip(*weight_parts, strict=True)]
    return _statistics(groups, [gradient[None] for gradient in whole], count, 1 / examples)


def _statistics(groups: list[list], whole: list, count: int, factor: float = 1.0):
    """Returns `norm`, `share`, `rest`, `whole` and `error` of `Parts`.

    Args:
        groups: for each group of lengths, tensors of (lengths, examples, ...), which are parts of one gradient.
        whole: the whole gradient's tensors, of (examples, ...).
        count: how many lengths there are; further ones are left out.
        factor: of all gradients.
    """
    longer, columns = [ops.zeros_like(_flat(whole, 1))], []
    for group in reversed(groups):
        *measures, longer = _measures(group, whole, longer)
        columns.append([_float64(measure) for measure in measures])
    norm, largest, product, rest, largest_rest = (np.concatenate(column[::-1])[:count] for column in zip(*columns))
    size, largest_size, difference, largest_difference = map(_float64, _ends(whole, longer))
    norm, rest, size, difference = (
        norm * largest,
        rest * largest_rest,
        size * largest_size,
        difference * largest_difference,
    )
    safe = np.maximum(size, 1e-300)
    return factor * norm, product / safe**2, rest / safe, factor * size, difference / safe


@compiled
def _measures(group: list, whole: list, longer: list):
    """Measures a group of parts, given the sum of all longer ones.

    Returns:
        The norm of each part, its inner product with the whole, and the norm of the sum of all that are longer than it,
        norms as in `_norms`; and the sum of all parts of this group and of longer ones.
    """
    group, whole, before = _flat(group, 2), _flat(whole, 1), _flat(longer, 1)
    # The sums of all longer parts as a product with a triangle of ones: much faster than a cumulative sum.
    triangle = ops.convert_to_tensor(np.triu(np.ones((group.shape[0],) * 2), 1), group.dtype)
    rest = ops.reshape(ops.matmul(triangle, ops.reshape(group, (group.shape[0], -1))), group.shape) + before
    return *_norms(group), ops.einsum("keD,eD->ke", group, whole), *_norms(rest), [before + ops.sum(group, 0)]


@compiled
def _ends(whole: list, total: list):
    """Returns the norms, as in `_norms`, of the whole gradient and of its difference from the sum of all parts."""
    whole, total = _flat(whole, 1), _flat(total, 1)
    return *_norms(whole), *_norms(total - whole)


def _flat(tensors: list, axes: int):
    """Joins tensors along what follows their first axes."""
    return ops.concatenate([ops.reshape(tensor, (*tensor.shape[:axes], -1)) for tensor in tensors], -1)


def _norms(vectors):
    """Returns norms over the last axis, over the largest element, and that: squares of small gradients underflow."""
    largest = ops.maximum(ops.max(ops.abs(vectors), axis=-1), float(np.finfo("float32").tiny))
    return ops.sqrt(ops.sum(ops.square(vectors / largest[..., None]), axis=-1)), largest


def _float64(values) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(values), "float64")
