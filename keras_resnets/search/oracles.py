"""Creates keras-tuner's oracles by name, each with the whole space declared from the start."""

from __future__ import annotations

from typing import Any

import keras_tuner

from keras_resnets.errors import ArgumentError, nearest, one_of, whole_number
from keras_resnets.search.journal import Journal, journaled
from keras_resnets.search.space import DepthWidth

NAMES = ("random", "grid", "bayesian", "hyperband")
OBJECTIVES = {"val_accuracy": "max", "val_loss": "min"}


def make(
    kind: str,
    space: DepthWidth,
    trials: int | None = None,
    objective: str = "val_accuracy",
    seed: int = 0,
    journal: Journal | None = None,
) -> Any:
    """Creates a new oracle of keras-tuner, `Journaled` if a journal is given.

    Args:
        kind: `"random"`, `"grid"` (every combination), `"bayesian"` (a Gaussian process), or
            `"hyperband"`, which trains many for a few epochs and continues with the best of them, up to
            the space's number of epochs (Li et al. 2018).
        space: the space.
        trials: the maximum number of trials; None for all, which random and Bayesian do not support
            because they have no end.
        objective: `"val_accuracy"` or `"val_loss"`.
        seed: of its draws.
        journal: the journal that records its events; None for none.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> from keras_resnets.search import oracles
        >>> space = kr.search.DepthWidth("preresnet20", parameters=50_000, blocks=(1, 2))
        >>> [choice.name for choice in oracles.make("random", space, trials=2).get_space().space]
        ['blocks']
    """
    if kind not in NAMES:
        raise ArgumentError(f"oracle: there is no {kind!r}; the nearest are: {nearest(kind, NAMES)}.")
    one_of("objective", objective, tuple(OBJECTIVES))
    if trials is not None:
        whole_number("trials", trials, 1)
    elif kind in ("random", "bayesian"):
        raise ArgumentError(f"trials must be given for the oracle {kind!r}, which has no end of its own; got None.")

    # The oracle's arguments, with all hyperparameters declared.
    hp = keras_tuner.HyperParameters()
    space.declare_hyperparameters(hp)
    common = {
        "objective": keras_tuner.Objective(objective, OBJECTIVES[objective]),
        "hyperparameters": hp,
        "allow_new_entries": False,
        "seed": seed + 1,  # keras-tuner treats 0 as no seed
        # A trial that diverges is a result; keras-tuner would end the search at the third in a row.
        "max_consecutive_failed_trials": 2**31,
    }

    # The oracle's class, with a journal if one is given.
    oracles = keras_tuner.oracles
    oracle_class = {
        "random": oracles.RandomSearchOracle,
        "grid": oracles.GridSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
        "hyperband": oracles.HyperbandOracle,
    }[kind]
    if journal is not None:
        oracle_class = journaled(oracle_class, journal)
    if kind == "hyperband":
        oracle = oracle_class(max_epochs=space.epochs, **common)
        oracle.max_trials = trials
    else:
        oracle = oracle_class(max_trials=trials, **common)
    oracle.verbose = 0
    return oracle
