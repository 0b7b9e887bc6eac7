"""Trains one network in several processes, on this machine or on several, by Ray Train and JAX."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, needs, notice
from keras_resnets.runs import Channel
from keras_resnets.runs.removal import remove
from keras_resnets.training import ranks, telling
from keras_resnets.training.checkpoints import snapshot
from keras_resnets.training.cluster import LOCAL, MOST, connected, gpus_each
from keras_resnets.training.devices import check_even
from keras_resnets.training.execution import Execution

# Where Ray Train keeps its own notes, in the run directory; there it also sees whether all machines share that.
_NOTES = ".ray"
_OF_RAY = r"\.validate_storage_marker|checkpoint_manager_snapshot\.json"
# Seconds between looks at what the ranks tell.
_PAUSE = 0.2
# Keras' callbacks that do the same on every rank, and those that write and so work on the first alone.
_CALLBACKS = ("EarlyStopping", "ReduceLROnPlateau", "LearningRateScheduler", "TerminateOnNaN", "CSVLogger")


def check(execution: Execution, data: Data, callbacks: Sequence[keras.callbacks.Callback]) -> None:
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
    if not data.is_named:
        from ray import cloudpickle

        try:
            cloudpickle.dumps(data)
        except Exception as error:
            raise ArgumentError(
                f"data: {data.name!r} cannot be handed to other processes ({str(error).splitlines()[0][:100]}). Give "
                f"it by its name, as it is loaded, or as arrays."
            ) from None
    for callback in callbacks:
        if type(callback).__module__.split(".")[0] != "keras" or type(callback).__name__ not in _CALLBACKS:
            named = ", ".join(_CALLBACKS)
            raise ArgumentError(
                f"callbacks: of {type(callback).__name__} it is not known what it does in "
                f"{execution.workers} processes at a time. Leave it out, or train without workers; these can be "
                f"given: {named}."
            )
    check_even(data, execution.workers * max(1, int(execution.gpus or 0)))


def run_ranks(
    model: keras.Model, data: Data, execution: Execution, tell: telling.Tell | None, verbose: int | str, **job: Any
) -> None:
    """Runs the ranks of a training to its end, or to the epoch at which it is to stop.

    Args:
        model: the network at the start, which is not changed.
        data: the data.
        execution: the processes, and what they run in.
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
        "files": data.files,
        "verbose": 2 if verbose else 0,
        "place": os.getcwd(),
    }
    # Ranks work where the command does, and not in a folder of Ray's.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    with connected(execution.ray, execution.workers):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        gpus = int(gpus_each(execution.gpus, execution.workers))
        check_even(data, execution.workers * max(1, gpus))
        if (cpus := ray.cluster_resources().get("CPU", 0)) < execution.workers:
            raise ArgumentError(
                f"workers must be at most the CPUs of the cluster, {cpus:g}; got {execution.workers}, which would wait "
                f"for ever."
            )
        remove(notes, _OF_RAY)
        # Beside this process: another machine may be lost.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        channel = ray.remote(Channel).options(num_cpus=0, scheduling_strategy=here).remote()
        is_local = execution.ray == LOCAL
        trainer = _trainer(ranks.Job(**job, channel=channel, is_local=is_local, execution=execution), execution, gpus)
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
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                f"The Ray cluster {execution.ray!r} is lost ({str(error).splitlines()[0][:100]}). Start it, and run "
                f"the same command again to continue."
            ) from error
        finally:
            ray.kill(channel)
            remove(notes, _OF_RAY)
    _raise(failure, ended[0], execution)


def _trainer(job: ranks.Job, execution: Execution, gpus: int):
    """Returns what runs the ranks: Ray Train's trainer, which starts all of them anew if one is lost."""
    import ray.train
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    return DataParallelTrainer(
        _loop,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=execution.workers,
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


def _raise(failure: tuple[str, str] | None, error: BaseException | None, execution: Execution) -> None:
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
        lines = [
            str(reason).strip().splitlines()[0] for reason in error.worker_failures.values() if str(reason).strip()
        ]
        raise RuntimeError(
            f"A process of the {execution.workers} workers was lost {MOST + 1} times, the last time with: "
            f"{(lines or ['no word'])[0][:200].rstrip('.')}. Run the same command again to continue."
        ) from error
    if isinstance(error, Exception):
        reason = (str(error).strip() or type(error).__name__).splitlines()
        raise RuntimeError(
            f"Ray could not run the {execution.workers} workers: {reason[-1][:300].rstrip('.')}. If they are on "
            f"several machines, --out must be a folder that all of them share. Run the same command again to continue."
        ) from error
    raise error
