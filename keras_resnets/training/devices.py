"""`Team`: the devices that train a network together, and which part of each batch they get.

All that a training does otherwise because it has several devices is here: where its variables are made (`scope`), what
`fit` and `evaluate` are given (`trained`, `evaluated`), and which process writes the run directory (`writes`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_resnets import replicas
from keras_resnets.data import Data
from keras_resnets.data.passes import Batches
from keras_resnets.errors import ArgumentError
from keras_resnets.network import private, saving
from keras_resnets.network.devices import Parallel, entire
from keras_resnets.network.layers import BatchNorm
from keras_resnets.training.execution import Execution


@dataclass
class Team:
    """The devices that train a network together.

    Attributes:
        execution: what was asked for.
        devices: the names of the devices, those of other processes included.
        rank: the number of this process among those that train together, from 0.
        ranks: their number.
        strategy: Keras' or TensorFlow's object that places variables and batches; None for one device.
    """

    execution: Execution
    devices: tuple[str, ...]
    rank: int = 0
    ranks: int = 1
    strategy: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, execution: Execution | None) -> Team:
        """Returns the devices that an execution asks for.

        Raises:
            ArgumentError: there are not so many, or the backend cannot do what is asked for.
        """
        execution = execution or Execution()
        backend = keras.config.backend()
        rank, ranks = _process()
        if backend not in ("jax", "tensorflow") and execution.devices not in (None, 1):
            raise ArgumentError(
                f"devices must be 1 with the backend {backend}, for which Keras trains on one device; got "
                f"{execution.devices!r}. Set KERAS_BACKEND=jax for several."
            )
        if execution.devices in (None, 1) and ranks == 1:
            return cls(execution, ())
        there = _devices()
        # Of several processes, each trains on all of its devices.
        asked = len(there) if execution.devices == "all" or ranks > 1 else int(execution.devices or 1)
        if asked > len(there):
            raise ArgumentError(
                f"devices must be at most the {len(there)} that {_NAMES[backend]} finds ({', '.join(there)}); got "
                f"{asked}."
            )
        used = tuple(there[:asked])
        if asked == 1:
            return cls(execution, used)
        if backend == "jax":
            return cls(execution, used, rank, ranks, Parallel(used, ranks))
        _check_mirrored(execution)
        return cls(execution, used, strategy=_mirrored(used))

    @property
    def size(self) -> int:
        """The number of devices that share a batch."""
        return max(1, len(self.devices))

    @property
    def writes(self) -> bool:
        """Whether this process writes the run directory."""
        return self.rank == 0

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Makes and runs networks on the devices and in the precision asked for.

        Whatever has variables, a network, an optimiser or a metric, is made inside, and `fit` is called inside.
        """
        before = keras.config.dtype_policy()
        if self.execution.precision is not None:
            keras.config.set_dtype_policy(self.execution.precision)
        try:
            with self.strategy.scope() if self.strategy is not None else contextlib.nullcontext():
                yield
        finally:
            keras.config.set_dtype_policy(before)

    @contextlib.contextmanager
    def together(self, model: keras.Model) -> Iterator[None]:
        """Has layers of Keras treat the parts of a batch in TensorFlow's replicas as one batch, while it is trained.

        Batch-norm, where it is not ours, averages over all of them; dropout draws for all of them, where each replica
        would draw the same for its own.
        """
        mirrored = self.strategy is not None and keras.config.backend() == "tensorflow"
        changes: list[tuple[keras.Layer, str, Any]] = []
        for layer in private.flattened(model) if mirrored else ():
            if isinstance(layer, keras.layers.BatchNormalization) and not isinstance(layer, BatchNorm):
                changes.append((layer, "synchronized", True))
            elif isinstance(layer, keras.layers.Dropout) and layer.noise_shape is None:
                changes.append((layer, "call", functools.partial(_dropout, layer)))
        with private.replaced(changes):
            yield

    def described(self, model: keras.Model) -> dict[str, Any]:
        """Returns how a compiled network is trained, as plain data."""
        return {
            "backend": keras.config.backend(),
            "precision": model.dtype_policy.name,
            "jit": bool(model.jit_compile),
            "steps_per_execution": self.execution.steps_per_execution,
            "devices": self.size,
            **({"processes": self.ranks} if self.ranks > 1 else {}),
        }

    def released(self, model: keras.Model) -> keras.Model:
        """Returns a network as it is outside of the scope, on one device."""
        if self.strategy is None:
            return model
        with tempfile.TemporaryDirectory() as folder:
            model.save(file := os.path.join(folder, "model.keras"))
            return saving.load_model(file)

    def check(self, data: Data) -> None:
        """Raises `ArgumentError` unless all devices get equal parts of every training batch."""
        check_even(data, self.size)

    def trained(
        self, batches: Any, shape: tuple, steps: int, weights: dict[int, float] | None = None
    ) -> tuple[dict[str, Any], list[keras.callbacks.Callback]]:
        """Returns the arguments and the callbacks with which `fit` trains on batches.

        Args:
            batches: the training batches of some epochs, one after the other.
            shape: shape of the network's input, with the axis of examples.
            steps: training steps in an epoch.
            weights: the weight of each class in the loss; None for equal ones.

        Raises:
            ArgumentError: an epoch cannot end in the midst of an execution.
        """
        if self.strategy is not None and keras.config.backend() == "tensorflow":
            return {"x": self._per_replica(batches, shape, weights=weights), "steps_per_epoch": steps}, []
        batches = self._part(batches)
        if steps % self.execution.steps_per_execution == 0:
            return {"x": batches, "class_weight": weights, "steps_per_epoch": steps}, []
        if not isinstance(batches, Batches):
            divisors = [str(number) for number in range(1, steps + 1) if steps % number == 0]
            raise ArgumentError(
                f"steps_per_execution must divide the {steps} steps of an epoch, where images are read as a stream; "
                f"got {self.execution.steps_per_execution}. Give one of {', '.join(divisors[:12])}."
            )
        # Keras would go on into the next epoch's batches where they are one sequence.
        each = _Epoch(batches, steps)
        return {"x": each, "class_weight": weights}, [_Turning(each)]

    def evaluated(self, batches: Any, shape: tuple) -> tuple[Any, int | None]:
        """Returns what is evaluated in place of batches, and how many steps that takes; None for all.

        Each device evaluates its part of every batch if these are even. If not, each evaluates all of them: the scores
        are the same.

        Args:
            batches: the batches, or None.
            shape: as for `trained`.
        """
        if self.strategy is None or batches is None:
            return batches, None
        splits = isinstance(batches, Batches) and not any(size % self.size for size in batches.sizes)
        if keras.config.backend() == "tensorflow":
            # Keras goes on in one iterator where the steps are given.
            return self._per_replica(batches, shape, copies=not splits, again=True), len(batches)
        return (self._part(batches) if splits else entire(batches)), None

    def _part(self, batches: Any) -> Any:
        """Returns the part of each batch that this process feeds."""
        if self.ranks == 1:
            return batches

        def part(*batch):
            return tuple(self._rows(array) for array in batch)

        if not isinstance(batches, Batches):
            return batches.map(part)
        sizes = [size // self.ranks for size in batches.sizes]
        return Batches(sizes, lambda index: part(*batches[index]), workers=batches.workers)

    def _rows(self, array: Any) -> Any:
        """Returns the rows of a batch that this process feeds."""
        rows = array.shape[0]
        each = (keras.ops.shape(array)[0] if rows is None else rows) // self.ranks
        return array[self.rank * each : (self.rank + 1) * each]

    def _per_replica(
        self,
        batches: Any,
        shape: tuple,
        weights: dict[int, float] | None = None,
        copies: bool = False,
        again: bool = False,
    ) -> Any:
        """Returns batches for TensorFlow's replicas: equal parts of each, or a copy for each.

        TensorFlow's own division gives the first replicas more of a batch that is not full.

        Args:
            batches: the batches.
            shape: as for `trained`.
            weights: as for `trained`.
            copies: whether each replica gets the whole batch.
            again: whether to begin anew after the last batch.
        """
        import tensorflow as tf

        if isinstance(batches, Batches):
            specs = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
            if None in shape[1:] and copies:  # images of many sizes are evaluated one by one
                specs = tuple(tf.TensorSpec((None, None, None, *spec.shape[3:]), spec.dtype) for spec in specs)
            batches = tf.data.Dataset.from_generator(lambda given=batches: iter(given), output_signature=specs)
        if weights is not None:
            table = tf.constant([weights[number] for number in range(len(weights))])
            batches = batches.map(lambda x, y: (x, y, tf.gather(table, y)))

        def part(array):
            parts = tf.reshape(array, tf.concat([[self.size, -1], tf.shape(array)[1:]], 0))
            return tf.ensure_shape(parts, (self.size, None, *array.shape[1:]))

        def split(*batch):
            if copies:
                return tf.data.Dataset.from_tensors(batch).repeat(self.size)
            return tf.data.Dataset.from_tensor_slices(tuple(part(array) for array in batch))

        each = batches.flat_map(split)
        each = (each.repeat() if again else each).prefetch(tf.data.AUTOTUNE)
        return self.strategy.distribute_datasets_from_function(lambda _: each)


class _Epoch(keras.utils.PyDataset):
    """One epoch at a time of the batches of several.

    Attributes:
        number: how many epochs there are before it.
    """

    def __init__(self, batches: Batches, steps: int):
        super().__init__(workers=batches.workers)
        self._batches, self._steps, self.number = batches, steps, 0

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple:
        return self._batches[self.number * self._steps + index]


class _Turning(keras.callbacks.Callback):
    """Has an `_Epoch` be the one that `fit` is at."""

    def __init__(self, epoch: _Epoch):
        super().__init__()
        self._epoch, self._first = epoch, -1

    def on_epoch_begin(self, epoch, logs=None):
        self._first = epoch if self._first < 0 else self._first
        self._epoch.number = epoch - self._first


def _dropout(layer: keras.layers.Dropout, inputs: Any, training: bool = False) -> Any:
    """Calls a dropout layer with the part of the draws that is this replica's."""
    if not training or not layer.rate:
        return inputs
    rows, number = keras.ops.shape(inputs)[0], replicas.number()
    ones = keras.ops.ones((rows * replicas.count(), *keras.ops.shape(inputs)[1:]), inputs.dtype)
    factors = keras.random.dropout(ones, layer.rate, seed=layer.seed_generator)
    return inputs * factors[number * rows : (number + 1) * rows]


def _process() -> tuple[int, int]:
    """Returns the number of this process among those that train together, and how many these are."""
    if keras.config.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def _devices() -> list[str]:
    """Returns the names of the devices to train on: GPUs, or processors if there are none."""
    if keras.config.backend() == "jax":
        return keras.distribution.list_devices()
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Returns TensorFlow's strategy for devices: one in a process, as several take each other's messages."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def _check_mirrored(execution: Execution) -> None:
    """Raises `ArgumentError` for what Keras cannot do on TensorFlow with several devices."""
    if execution.steps_per_execution > 1:
        raise ArgumentError(
            f"steps_per_execution must be 1 with several devices on TensorFlow; got {execution.steps_per_execution}. "
            f"Leave it out, or set KERAS_BACKEND=jax."
        )
    if execution.jit:
        raise ArgumentError(
            "jit must be off with several devices on TensorFlow; got True. Leave it out, or set KERAS_BACKEND=jax, "
            "which compiles every step."
        )


def check_even(data: Data, devices: int) -> None:
    """Raises `ArgumentError` unless every training batch can be shared evenly by so many devices."""
    batch, size = data.options["batch_size"], data.sizes["train"]
    last = 0 if data.options["drop_remainder"] else size % batch
    if batch % devices:
        raise ArgumentError(
            f"batch_size must be a multiple of {devices}, so that the devices share each batch evenly; got {batch}. "
            f"Give {_even(batch, devices)}, or other devices."
        )
    if last % devices or size < devices:
        raise ArgumentError(
            f"The {devices} devices must share each batch evenly, and the {size} training images of {data.name!r} "
            f"leave a last batch of {last or size}. Drop it (drop_remainder=True in the recipe), or give another "
            f"batch_size or other devices."
        )


def _even(batch: int, size: int) -> int:
    """Returns the multiple of `size` that is nearest to a batch."""
    return max(1, round(batch / size)) * size


_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow"}
