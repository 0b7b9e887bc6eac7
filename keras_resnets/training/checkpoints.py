"""Stores the whole state of a training after each epoch, and restores it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_resnets.errors import ArgumentError, needs, notice
from keras_resnets.runs import LAST, Run, whole

# The start of the names of callbacks' arrays in a checkpoint.
OF_CALLBACK = "callback "
# The random draws that order and augment images: 2 are NumPy's. Earlier versions, with TensorFlow's, wrote no number.
DRAWS = 2
_SETS_RATE = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def state_of(model) -> dict[str, Any]:
    """Returns the whole state of a training by name: weights, random state, optimiser.

    Names leave out the numbers that Keras gives to seed generators and optimisers in order of creation, so that a run
    can also resume in a process that has trained before. An optimiser is called `sgd` or `adam_w` as in later Keras,
    and not `SGD` or `adamw` as in earlier Keras, so that a run can resume with another release.
    """
    named = [(variable.path, variable) for variable in [*model.trainable_variables, *model.non_trainable_variables]]
    if getattr(model, "optimizer", None) is not None:
        for variable in model.optimizer.variables:
            kind, slash, rest = variable.path.partition("/")
            kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower().replace("adamw", "adam_w")
            named.append((kind + slash + rest, variable))
    return {f"{i:05d} {re.sub(r'_[0-9]+/', '/', path)}": variable for i, (path, variable) in enumerate(named)}


def snapshot(model) -> dict[str, np.ndarray]:
    """Copies the state of a training into arrays."""
    return {name: np.asarray(variable) for name, variable in state_of(model).items()}


def assign(model, values: dict[str, np.ndarray]) -> None:
    """Writes arrays of a `snapshot` back into the model."""
    variables = state_of(model)
    for name, value in values.items():
        variables[name].assign(value)


def _plain_state(callback) -> dict[str, Any]:
    """Returns the plain attributes of a callback, without its constructor's arguments.

    Keras changes some of those in each run: it negates `min_delta`.
    """
    arguments = {name for kind in type(callback).__mro__[:-1] for name in inspect.signature(kind).parameters}
    return {
        name: value
        for name, value in vars(callback).items()
        if not name.startswith("_") and name not in arguments and isinstance(value, int | float | str | None)
    }


def _arrays(callback) -> dict[str, list[np.ndarray]]:
    """Returns the lists of arrays among a callback's attributes, such as EarlyStopping's best weights."""
    return {
        name: list(value)
        for name, value in vars(callback).items()
        if not name.startswith("_")
        and isinstance(value, list)
        and value
        and all(isinstance(array, np.ndarray) for array in value)
    }


def check_callbacks(callbacks: Sequence[Any], optimizer: keras.optimizers.Optimizer, recipe: str) -> None:
    """Raises `ArgumentError` for what is no callback, and for those of Keras that cannot do their work in a run."""
    has_schedule = isinstance(optimizer.get_config()["learning_rate"], dict)
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise ArgumentError(f"callbacks must be callbacks of Keras, each an instance; got {callback!r}.")
        if isinstance(callback, _SETS_RATE) and has_schedule:
            raise ArgumentError(
                f"callbacks: {name} sets the learning rate, and that of the recipe {recipe!r} follows a schedule; "
                f"leave it out, or give a Recipe with a constant rate."
            )
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ArgumentError(
                f"callbacks: {name} would restore another state than the run's, which resumes by itself; leave it out."
            )
        if isinstance(callback, keras.callbacks.TensorBoard):
            needs(
                "tensorflow", "callbacks: Keras' TensorBoard", "Leave it out: a run has its curves in logs/ without it."
            )
        if isinstance(callback, keras.callbacks.SwapEMAWeights) and not optimizer.use_ema:
            raise ArgumentError(
                f"callbacks: {name} needs an optimiser with use_ema=True, which no recipe has; leave it out."
            )


class Checkpoint(keras.callbacks.Callback):
    """Stores the whole state of training after each epoch, and the weights of the best one.

    Numbers, strings, None and lists of arrays among the attributes of the other callbacks are stored and restored,
    unless they are arguments of the constructor. This covers the state of Keras' EarlyStopping, with its best weights,
    and ReduceLROnPlateau.

    Args:
        run: the run to store in.
        callbacks: the callbacks whose state is part of the training.
        monitor: the metric whose largest value marks the best epoch. Of equal values the lower loss of its split
            decides: few images have few accuracies, and the first epoch to reach the highest is seldom the best.
        patience: stop after so many epochs that were not better than the best one; 0 for never.
        freeze: the first epoch that counts for it.
    """

    def __init__(
        self,
        run: Run,
        callbacks: Sequence[keras.callbacks.Callback],
        monitor: str,
        patience: int = 0,
        freeze: int = 0,
    ):
        super().__init__()
        self.run, self.others, self.monitor = run, list(callbacks), monitor
        self.patience, self.freeze = patience, freeze
        self.state: dict[str, Any] = {
            "draws": DRAWS,
            "epoch": 0,
            "stopped": False,
            "history": [],
            "callbacks": [],
        }
        self._lists: dict[str, np.ndarray] = {}

    def load(self, model) -> int:
        """Restores the stored state into `model`; returns the epoch to resume at."""
        stored = self.run.restore(LAST)
        if stored is None:
            return 0
        values, self.state = stored
        if self.state.get("draws") != DRAWS:
            notice(
                f"The run in {str(self.run.path)!r} was begun by a version that ordered and augmented images by other "
                f"random draws. It goes on, but not to the weights that it would have ended with there."
            )
            self.state["draws"] = DRAWS
        self._lists = {name: values.pop(name) for name in sorted(values) if name.startswith(OF_CALLBACK)}
        if values.keys() != state_of(model).keys():
            raise ArgumentError(
                f"The checkpoint in {str(self.run.path)!r} does not fit the network; it was written by another "
                f"version. Give another --out."
            )
        assign(model, values)
        backend, begun = keras.config.backend(), (self.run.record or {}).get("backend")
        if begun not in (None, backend):
            notice(
                f"The run in {str(self.run.path)!r} was begun with Keras on {begun}, and goes on on {backend}: what "
                f"comes is not, to the bit, what would have come there."
            )
        return self.state["epoch"]

    def on_train_begin(self, logs=None):
        self._restore_callbacks()

    def _restore_callbacks(self) -> None:
        for number, (callback, attributes) in enumerate(zip(self.others, self.state["callbacks"], strict=False)):
            if isinstance(callback, keras.callbacks.CSVLogger):
                continue  # its state is its file
            for name, value in attributes.items():
                setattr(callback, name, value)
            prefix = f"{OF_CALLBACK}{number}/"
            lists: dict[str, list[np.ndarray]] = {}
            for name, array in self._lists.items():
                if name.startswith(prefix):
                    lists.setdefault(name.removeprefix(prefix).split("/")[0], []).append(array)
            for name, arrays in lists.items():
                setattr(callback, name, arrays)

    def prepare(self, epoch: int) -> None:
        """Readies callbacks for going on after an epoch: what they wrote before stays."""
        for callback in self.others:
            if epoch and isinstance(callback, keras.callbacks.CSVLogger):
                callback.append = True

    def end(self, model) -> None:
        """Does what callbacks do to the weights at the end, of a training that was killed after its last epoch."""
        self._restore_callbacks()
        for callback in self.others:
            if getattr(callback, "restore_best_weights", False) and callback.best_weights is not None:
                model.set_weights(callback.best_weights)

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        self.state["history"].append({"epoch": epoch + 1, **logs, "learning_rate": rate})
        if self.patience and epoch + 1 - max(self.best_epoch or 0, self.freeze) >= self.patience:
            self.model.stop_training = True
        self.state["epoch"], self.state["stopped"] = epoch + 1, bool(self.model.stop_training)
        self.state["callbacks"] = [_plain_state(callback) for callback in self.others]
        values = snapshot(self.model)
        lists = {
            f"{OF_CALLBACK}{number}/{name}/{place:05d}": array
            for number, callback in enumerate(self.others)
            for name, arrays in _arrays(callback).items()
            for place, array in enumerate(arrays)
        }
        if self.best_epoch == epoch + 1:
            self.run.save("best", values, {"epoch": epoch + 1})
        self.run.save(LAST, values | lists, self.state)
        self.write_history()

    @property
    def divergence(self) -> dict[str, Any] | None:
        """The first epoch whose loss is not finite, and the loss before it; None while all are finite."""
        before = None
        for row in self.state["history"]:
            if not math.isfinite(row.get("loss", 0.0)):
                return {"epoch": int(row["epoch"]), "last_loss": before}
            before = row.get("loss")
        return None

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 1, of the best score so far; the first of those that are equal in their loss, too."""
        best = max(self.state["history"], key=self._rank, default=None)
        return best and int(best["epoch"])

    def _rank(self, row: dict[str, float]) -> tuple[float, float]:
        """What epochs are compared by; a diverged one, with NaN, is the worst."""
        # The loss of the same split: where the test split is followed, nothing is chosen by it.
        loss = row.get("val_loss" if self.monitor.startswith("val_") else "loss", 0.0)
        score = row.get(self.monitor, -loss)
        # Earlier versions kept the first of equal values, and its weights, and stored the value; their runs go on so.
        tie = 0.0 if "best" in self.state else -loss
        return -math.inf if math.isnan(score) else score, -math.inf if math.isnan(tie) else tie

    def write_history(self) -> None:
        """Writes `history.csv`, a row per epoch."""
        import pandas as pd

        with whole(self.run.path / "history.csv", sealed=True) as part:
            pd.DataFrame(self.state["history"]).to_csv(part, index=False)
