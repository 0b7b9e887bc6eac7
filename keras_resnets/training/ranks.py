"""What each process of a training in several processes does: a rank, of Ray Train, on JAX."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_resnets import data as datasets
from keras_resnets.errors import ArgumentError, Notice
from keras_resnets.runs import Busy, Run
from keras_resnets.training import recipes
from keras_resnets.training.checkpoints import assign
from keras_resnets.training.cluster import LOCAL
from keras_resnets.training.devices import Team
from keras_resnets.training.execution import Execution
from keras_resnets.training.fitting import fit

# Seconds without a sign of life after which JAX takes a process for lost. Ray itself sees most losses at once.
_HEARTBEAT = 30
# Seconds for which the run directory may be held by a process that is being ended.
_PATIENCE = 60


@dataclass(frozen=True)
class Job:
    """A training, as every rank is given it.

    Attributes:
        out: the absolute path of the run directory, which the ranks' machines share.
        asked: the settings that the run directory compares.
        network: the configuration of the network.
        state: its variables at the start, as `checkpoints.snapshot` gives them.
        data: a `Data`; or the name and the options with which each rank loads it.
        sizes: the number of examples of each split.
        files: fingerprints of a folder's splits.
        recipe: the recipe, with the length of this training.
        policy: the policy of paths, or None.
        callbacks: further callbacks.
        until: as for `train`.
        end: as for `fitting.fit`.
        from_logits: as for `fit`.
        seed: the training's seed.
        verbose: as for `train`, on the first rank.
        place: where the command runs, from which paths of data may be given.
        is_local: whether all ranks are on this machine, so that nothing need listen on its network.
        channel: the `Channel` to the process that waits for the ranks.
        execution: the processes, and what they run in.
    """

    out: str
    asked: dict[str, Any]
    network: dict[str, Any]
    state: dict[str, Any]
    data: Any
    sizes: dict[str, int]
    files: dict[str, str]
    recipe: recipes.Recipe
    policy: Any
    callbacks: tuple[keras.callbacks.Callback, ...]
    until: int | None
    end: int | None
    from_logits: bool
    seed: int
    verbose: int
    place: str
    is_local: bool
    channel: Any
    execution: Execution


class SharedRun:
    """A run as all ranks have it: the first one reads and writes the directory, the others get what it has read.

    Args:
        run: the run, entered, of the first rank; None for the others.
        path: the run directory of the first rank, and a directory of its own for each of the others.
        channel: the `Channel` of the training.
    """

    def __init__(self, run: Run | None, path: Path, channel: Any):
        self._run, self.path, self._channel = run, path, channel

    def restore(self, name: str) -> Any:
        """Returns what `Run.restore` gives the first rank, or raises what it raises there."""
        outcome: Any = None
        if self._run is not None:
            try:
                outcome = True, self._run.restore(name)
            except ArgumentError as error:
                outcome = False, error
        done, value = broadcast(outcome)
        if not done:
            raise value
        return value

    def save(self, *checkpoint: Any) -> None:
        """Saves a checkpoint; no rank goes on before it is whole."""
        import ray
        from ray.train.collective import barrier

        if self._run is not None:
            self._run.save(*checkpoint)
        # Where nobody waits for them any more, the ranks end here.
        ray.get(self._channel.failure.remote())
        barrier()

    @property
    def record(self) -> dict[str, Any] | None:
        """As that of `Run`, of the first rank; the others have none."""
        return None if self._run is None else self._run.record

    def note(self, **values: Any) -> None:
        """Adds entries to `run.json`."""
        if self._run is not None:
            self._run.note(**values)

    def finish(self, results: dict[str, Any]) -> None:
        """Records the results."""
        if self._run is not None:
            self._run.finish(results)


def broadcast(value: Any) -> Any:
    """Returns what the first rank gives, of any size, on every rank."""
    import ray
    from ray.train.collective import barrier, broadcast_from_rank_zero

    first = ray.train.get_context().get_world_rank() == 0
    reference = broadcast_from_rank_zero([ray.put(value)] if first else None)
    value = ray.get(reference[0])
    barrier()  # the first rank keeps it until all have it
    return value


def train_rank(job: Job) -> bool:
    """Trains as one of the ranks; returns whether the run is finished.

    An error that would be the same again is told to the channel, so that Ray, which then starts all ranks anew, finds
    nothing to do. Where another rank is lost, they go on from the last whole epoch.
    """
    import jax
    import ray

    if ray.get(job.channel.failure.remote()) is not None:
        return False
    try:
        with contextlib.suppress(OSError):  # on another machine there may be no such place
            os.chdir(job.place)
        return _train(job)
    except (ray.exceptions.RayError, jax.errors.JaxRuntimeError) as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            ray.get(job.channel.fail.remote("RuntimeError", f"Memory is short: {_first_line(error)}"))
        raise
    except Exception as error:
        kind = next((kind for kind in KINDS if isinstance(error, KINDS[kind])), "RuntimeError")
        ray.get(job.channel.fail.remote(kind, _first_line(error) if kind == "RuntimeError" else str(error)))
        raise


# Errors that are sentences already.
KINDS: dict[str, type[Exception]] = {"ArgumentError": ArgumentError, "ImportError": ImportError, "OSError": OSError}


def _first_line(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}: {str(error).strip().splitlines()[0]}" if str(error).strip() else name


def _train(job: Job) -> bool:
    """Joins the ranks, makes network and data as they have them, and trains the epochs that are left."""
    import jax
    import ray

    rank = ray.train.get_context().get_world_rank()
    ranks = ray.train.get_context().get_world_size()
    _join(rank, ranks, job.is_local)
    keras.utils.set_random_seed(job.seed)
    # A rank trains on all devices that Ray lets it see.
    team = Team.of(dataclasses.replace(job.execution, workers=0, ray=LOCAL, gpus=None, devices="all"))
    with team.scope(), contextlib.ExitStack() as stack:
        model = keras.saving.deserialize_keras_object(job.network)
        assign(model, job.state)
        data = _load(job)
        team.check(data)
        callbacks: Sequence[keras.callbacks.Callback] = job.callbacks
        if team.writes:
            run = stack.enter_context(_entered(Run(job.out, job.asked)))
            shared: Any = SharedRun(run, run.path, job.channel)
            say = stack.enter_context(_telling(job))
        else:
            shared = SharedRun(None, Path(stack.enter_context(tempfile.TemporaryDirectory())), job.channel)
            callbacks, say = [_of_any_rank(callback) for callback in callbacks], lambda line: None
        finished = fit(
            model,
            data,
            job.recipe,
            job.policy,
            shared,
            callbacks,
            job.verbose if team.writes else 0,
            job.until,
            job.from_logits,
            end=job.end,
            tell=say,
            team=team,
        )
    # Together, or the first to leave would end the others.
    jax.distributed.shutdown()
    return finished


def _join(rank: int, ranks: int, is_local: bool) -> None:
    """Makes JAX see the devices of all ranks, which find each other through an address of the first."""
    import jax
    import ray
    from ray.train.collective import broadcast_from_rank_zero

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    address = None
    if rank == 0:
        host = "127.0.0.1" if is_local else ray.util.get_node_ip_address()
        with socket.create_server((host, 0)) as free:
            address = f"{host}:{free.getsockname()[1]}"
    address = broadcast_from_rank_zero(address)
    # What `keras.distribution.initialize` calls, which cannot be told where to listen and how long to wait.
    jax.distributed.initialize(
        address,
        ranks,
        rank,
        cluster_detection_method="deactivate",
        coordinator_bind_address=address,
        heartbeat_timeout_seconds=_HEARTBEAT,
    )


def _load(job: Job) -> datasets.Data:
    """Loads the data of a job.

    Raises:
        ArgumentError: this machine has others than the one at which the training was started.
    """
    if isinstance(job.data, datasets.Data):
        return job.data
    name, options = job.data
    options = dict(options)
    augmentation, normalize = (
        datasets.Augmentation(**options.pop("augmentation")),
        datasets.Batching.of(options).normalize,
    )
    data = datasets.load(name, **{**options, "augmentation": augmentation, "normalize": normalize})
    if (data.sizes, data.files) != (job.sizes, job.files):
        raise ArgumentError(
            f"data: {name!r} has other images on {socket.gethostname()} ({data.sizes}) than where the training was "
            f"started ({job.sizes}). Give a folder that all machines share."
        )
    return data


@contextlib.contextmanager
def _entered(run: Run) -> Iterator[Run]:
    """Enters a run as soon as the rank that Ray is ending has left it."""
    import time

    began = time.monotonic()
    while True:
        try:
            run.__enter__()
            break
        except Busy:
            if time.monotonic() - began > _PATIENCE:
                raise
            time.sleep(1)
    try:
        yield run
    finally:
        run.__exit__()


# Those of Keras that only write.
_WRITERS = (keras.callbacks.CSVLogger,)


def _of_any_rank(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    """Returns a callback as other ranks than the first run it: one that only writes does nothing there."""
    return keras.callbacks.Callback() if isinstance(callback, _WRITERS) else callback


@contextlib.contextmanager
def _telling(job: Job) -> Iterator[Callable[[str], None]]:
    """Hands on what this process prints, and its notices; yields what is called with the lines of a training."""
    tell = job.channel.tell.remote

    def show(message, category, *rest, **options) -> None:
        if issubclass(category, Notice):
            tell("notice", str(message))

    with warnings.catch_warnings(), contextlib.redirect_stdout(_Output(tell)):
        warnings.simplefilter("always", Notice)
        warnings.showwarning = show
        yield lambda line: tell("line", line)


class _Output:
    """A standard output whose lines are told."""

    def __init__(self, tell: Callable[[str, str], Any]):
        self._tell, self._part = tell, ""

    def write(self, text: str) -> int:
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            self._tell("output", line)
        return len(text)

    def flush(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.__stdout__, name)
