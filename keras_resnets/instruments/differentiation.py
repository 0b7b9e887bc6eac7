"""Derivatives of a function on each backend: TensorFlow's tape, `jax.vjp`, torch's autograd."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnets.network import private

# On TensorFlow, results of `for_each` computed in parallel: one computes while another waits.
PARALLEL = 2


def pullback(function: Callable, sources: Sequence) -> tuple[Any, Callable[[Sequence], list]]:
    """Calls a function, and returns what takes gradients back through it (the vector-Jacobian product).

    Args:
        function: a function of the sources that returns a tensor or a list of tensors.
        sources: floating-point tensors.

    Returns:
        What the function returns, and a function `back`: of the gradients at these outputs, in a list, it returns those
        at each source, of the outputs' sum; zeros where the outputs do not depend on it. It can be called repeatedly.

    Example:
        >>> from keras import ops
        >>> from keras_resnets.instruments.differentiation import pullback
        >>> y, back = pullback(lambda a, b: a * a * b, [ops.ones(2), 3 * ops.ones(2)])
        >>> [gradient.tolist() for gradient in map(ops.convert_to_numpy, back([ops.ones(2)]))]
        [[6.0, 6.0], [1.0, 1.0]]
    """
    return _PULLBACKS[keras.config.backend()](function, list(sources))


def _pullback_of_tensorflow(function: Callable, sources: list):
    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sources)
        outputs = function(*sources)

    def back(gradients):
        return tape.gradient(_listed(outputs), sources, output_gradients=gradients, unconnected_gradients="zero")

    return outputs, back


def _pullback_of_jax(function: Callable, sources: list):
    import jax

    outputs, pull = jax.vjp(function, *sources)
    return outputs, lambda gradients: list(pull(list(gradients) if isinstance(outputs, list) else gradients[0]))


def _pullback_of_torch(function: Callable, sources: list):
    import torch

    with torch.enable_grad():
        sources = [source.detach().requires_grad_() for source in sources]
        outputs = function(*sources)

    def back(gradients):
        # Outputs that depend on no source, such as zeros in place of a missing branch, are not in autograd's graph.
        pairs = [(y, g) for y, g in zip(_listed(outputs), gradients, strict=True) if y.requires_grad]
        if not pairs:
            return [torch.zeros_like(source) for source in sources]
        at, given = zip(*pairs, strict=True)
        return list(torch.autograd.grad(at, sources, given, retain_graph=True, materialize_grads=True))

    return [y.detach() for y in outputs] if isinstance(outputs, list) else outputs.detach(), back


_PULLBACKS = {"tensorflow": _pullback_of_tensorflow, "jax": _pullback_of_jax, "torch": _pullback_of_torch}


def _listed(outputs) -> list:
    return outputs if isinstance(outputs, list) else [outputs]


def for_each(function: Callable, count, like: Sequence) -> list:
    """Calls a function with 0 to `count - 1` and stacks each of its results.

    On JAX all calls are one, vectorised: XLA computes convolutions inside of a loop fifty times as slowly on a CPU.

    Args:
        function: a function of an index that returns a list of tensors; the index only selects from tensors.
        count: how many; on TensorFlow, a tensor may say so.
        like: tensors of the shapes and types of its results.
    """
    if keras.config.backend() == "jax":
        import jax

        return list(jax.vmap(function)(ops.arange(count)))
    if keras.config.backend() == "torch":
        return [ops.stack(results) for results in zip(*(function(i) for i in range(count)), strict=True)]
    import tensorflow as tf

    signature = [tf.TensorSpec(None, tensor.dtype) for tensor in like]
    results = tf.map_fn(function, tf.range(count), fn_output_signature=signature, parallel_iterations=PARALLEL)
    return [tf.ensure_shape(result, (None, *tensor.shape)) for result, tensor in zip(results, like, strict=True)]


def compiled(function: Callable) -> Callable:
    """Returns a function of tensors that JAX compiles for each combination of their sizes; other backends call it."""
    if keras.config.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


@contextlib.contextmanager
def in_double_precision() -> Iterator[None]:
    """Lets float64 tensors exist and stay float64, for which JAX, and Keras on JAX and torch, put float32."""
    with contextlib.ExitStack() as settings:
        settings.enter_context(private.keeping_doubles())
        if keras.config.backend() == "jax":
            import jax

            settings.enter_context(jax.enable_x64(True))
        yield


def without_gradients() -> contextlib.AbstractContextManager:
    """Returns a context in which torch keeps nothing for gradients, which else grows with every layer."""
    if keras.config.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
