"""Trains trials in several processes, on this machine or on a cluster, by Ray."""

from __future__ import annotations

import json
from concurrent.futures import Future

from keras_resnets.search.trials import Setting, Trial, score
from keras_resnets.training.cluster import MOST, gpus_each


class Cluster:
    """Trains trials as Ray's tasks; Ray places them, and starts a task anew whose process or machine is lost.

    A task that is started anew goes on from the trial's last epoch, because its directory is shared.

    Args:
        setting: the settings that the trials share.
        places: how many trials are trained at a time.
        gpus: GPUs for each trial, which may be a fraction; None for one where the cluster has any.
    """

    def __init__(self, setting: Setting, places: int, gpus: float | None = None):
        import ray

        self.places, self._config = places, json.dumps(setting.config())
        self._task = ray.remote(score).options(
            num_cpus=1, num_gpus=gpus_each(gpus), max_retries=MOST, retry_exceptions=False, name="trial"
        )

    def start(self, trial: Trial) -> Future:
        """Hands a trial to Ray."""
        values, number = trial.trial.hyperparameters.get_config(), trial.trial.trial_id
        return self._task.remote(self._config, values, trial.epochs, number).future()

    def result(self, future: Future, trial: Trial) -> list[float]:
        """Returns the scores of a future.

        Raises:
            RuntimeError: the trial failed, as it would anywhere else, or its processes were killed too often.
        """
        import ray

        again = "Run the same command again to continue."
        try:
            return future.result()
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            reason = (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")
            raise RuntimeError(f"Trial {trial.trial.trial_id} failed: {reason}. {again}") from error
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                f"The process of trial {trial.trial.trial_id} was killed {MOST + 1} times, which may mean that memory "
                f"is short. Give fewer workers. {again}"
            ) from error
