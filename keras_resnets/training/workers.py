"""Trains one network in several processes, on this machine or on several, by Ray Train and JAX."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, needs, notice, number, whole_number
from keras_resnets.training import ranks, telling
from keras_resnets.training.checkpoints import snapshot
from keras_resnets.training.cluster import LOCAL, MOST, connected, gpus_each
from keras_resnets.training.shares import check_even

# Where Ray Train keeps its own notes, in the run directory; there it also sees whether all machines share that.
_NOTES = ".ray"
# Seconds between looks at what the ranks tell.
_PAUSE = 0.2
# Keras' callbacks that do the same on every rank, and those that write and so work on the first alone.
_CALLBACKS = ("EarlyStopping", "ReduceLROnPlateau", "LearningRateScheduler", "TerminateOnNaN", "CSVLogger")


@dataclass(frozen=True)
class Workers:
    """The processes of one training, each of which has an even share of every batch.

    Args:
        number: how many there are.
        ray: the address of a Ray cluster on which they run, whose machines share the run directory; `"local"` for this
            machine.
        gpus: GPUs for each of them; None for one if the cluster has as many.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> from keras_resnets.training.workers import Workers
        >>> Workers(4, "10.0.0.1:6379", gpus=1).number
        4
    """

    number: int
    ray: str = LOCAL
    gpus: float | None = None

    def __post_init__(self) -> None:
        whole_number("workers", self.number, 1)
        if self.gpus is not None:
            number("gpus", self.gpus, least=0)
            if self.gpus != int(self.gpus):
                raise ArgumentError(
                    f"gpus must be a whole number for each of the workers that train one network; got {self.gpus!r}."
                )


def asked(workers: int = 0, ray: str = LOCAL, gpus: float | None = None) -> Workers | None:
    """Returns the processes that options ask for; None for none.

    Raises:
        ArgumentError: an option breaks its rule, or has no use without processes.
    """
    whole_number("workers", workers, 0)
    if workers:
        return Workers(workers, ray, gpus)
    if ray != LOCAL:
        raise ArgumentError(f"workers must be at least 1 for a training on the Ray cluster {ray!r}; got {workers!r}.")
    if gpus is not None:
        raise ArgumentError(f"gpus are those of each of the workers; got {gpus!r} and no workers. Give --workers too.")
    return None


def check(workers: Workers, data: Data, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raises a sentence for what cannot be trained in several processes.

    Raises:
        ArgumentError: the backend, the data or a callback cannot.
        ImportError: Ray is not installed.
    """
    if (backend := keras.config.backend()) != "jax":
        raise ArgumentError(
            f"workers: a training in several processes runs on JAX, and Keras runs on {backend!r} here. Set "
            f"KERAS_BACKEND=jax in the environment."
        )
    needs("ray", "A training in several processes", "Install it: pip install 'keras_resnets[ray]'.")
    needs("pydantic", "Ray Train", "Install it: pip install 'keras_resnets[ray]'.")
    for callback in callbacks:
        if type(callback).__module__.split(".")[0] != "keras" or type(callback).__name__ not in _CALLBACKS:
            raise ArgumentError(
                f"callbacks: of {type(callback).__name__} it is not known what it does in {workers.number} processes at "
                f"a time. Leave it out, or train without workers; these can be given: {', '.join(_CALLBACKS)}."
            )
    check_even(data, workers.number * max(1, int(workers.gpus or 0)))


def run_ranks(
    model: keras.Model, data: Data, workers: Workers, tell: telling.Tell | None, verbose: int | str, **job: Any
) -> None:
    """Runs the ranks of a training to its end, or to the epoch at which it is to stop.

    Args:
        model: the network at the start, which is not changed.
        data: the data.
        workers: the processes.
        tell: called with each line of the training; None prints them.
        verbose: as for `train`; of several processes there is no progress bar.
        **job: the other fields of a `ranks.Job` that do not depend on the cluster.

    Raises:
        ArgumentError: the cluster cannot give what is asked for, or a rank found an argument wrong.
        OSError: no cluster answers, or the run directory cannot be used on it.
        RuntimeError: a rank failed, or ranks were lost too often.
    """
    out = os.path.abspath(job.pop("out"))
    notes = Path(out) / _NOTES
    job |= {
        "out": out,
        "network": keras.saving.serialize_keras_object(model),
        "state": snapshot(model),
        "data": (data.name, dict(data.options)) if data.is_named else data,
        "sizes": data.sizes,
        "verbose": 2 if verbose else 0,
        "place": os.getcwd(),
    }
    # Ranks work where the command does, and not in a folder of Ray's.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    with connected(workers.ray, workers.number):
        import ray

        gpus = int(gpus_each(workers.gpus, workers.number))
        check_even(data, workers.number * max(1, gpus))
        if (cpus := ray.cluster_resources().get("CPU", 0)) < workers.number:
            raise ArgumentError(
                f"workers must be at most the CPUs of the cluster, {cpus:g}; got {workers.number}, which would wait for "
                f"ever."
            )
        shutil.rmtree(notes, ignore_errors=True)
        channel = ray.remote(ranks.Channel).options(num_cpus=0).remote()
        is_local = workers.ray == LOCAL
        trainer = _trainer(ranks.Job(**job, channel=channel, is_local=is_local, gpus=gpus), workers, gpus)
        ended: list[BaseException | None] = []

        def fit() -> None:
            try:
                trainer.fit()
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_PAUSE)
                _tell(ray.get(channel.told.remote()), tell)
            failure = ray.get(channel.failure.remote())
        finally:
            ray.kill(channel)
            with contextlib.suppress(OSError):
                shutil.rmtree(notes)
    _raise(failure, ended[0], workers)


def _trainer(job: ranks.Job, workers: Workers, gpus: int):
    """Returns what runs the ranks: Ray Train's trainer, which starts all of them anew if one is lost."""
    import ray.train
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    return DataParallelTrainer(
        _loop,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.number,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": 1, **({"GPU": gpus} if gpus else {})},
            # JAX uses all cores of a machine.
            placement_strategy="PACK" if gpus else "SPREAD",
        ),
        run_config=ray.train.RunConfig(
            name=_NOTES,
            storage_path=job.out,
            failure_config=ray.train.FailureConfig(max_failures=MOST, controller_failure_limit=MOST),
            # The process that waits for them may have been kept off the devices that they need.
            worker_runtime_env={"env_vars": {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "" if gpus else "cpu"}},
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )


def _loop(config: dict[str, Any]) -> bool:
    return ranks.train_rank(config["job"])


def _tell(told: list[tuple[str, str]], tell: telling.Tell | None) -> None:
    """Says here what the first rank has said."""
    for kind, text in told:
        if kind == "notice":
            notice(text)
        elif kind == "line" and tell is not None:
            tell(text)
        else:
            telling.say(text)


def _raise(failure: tuple[str, str] | None, error: BaseException | None, workers: Workers) -> None:
    """Raises what ended the training, in a sentence."""
    if failure is not None:
        kind, sentence = failure
        if kind in ranks.KINDS:
            raise ranks.KINDS[kind](sentence)
        raise RuntimeError(f"The training failed: {sentence.rstrip('.')}. Run the same command again to continue.")
    if error is None:
        return
    import ray

    if isinstance(error, ray.train.WorkerGroupError):
        lines = [str(reason).strip().splitlines()[0] for reason in error.worker_failures.values() if str(reason).strip()]
        raise RuntimeError(
            f"A process of the {workers.number} workers was lost {MOST + 1} times, the last time with: "
            f"{(lines or ['no word'])[0][:200].rstrip('.')}. Run the same command again to continue."
        ) from error
    if isinstance(error, Exception):
        reason = (str(error).strip() or type(error).__name__).splitlines()
        raise RuntimeError(
            f"Ray could not run the {workers.number} workers: {reason[-1][:300].rstrip('.')}. If they are on several "
            f"machines, --out must be a folder that all of them share. Run the same command again to continue."
        ) from error
    raise error
