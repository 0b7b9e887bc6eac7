"""Access to private names of keras-tuner: one function for each name, with the reason.

keras-tuner's public distributed search has a chief that writes no journal, does not reassign the trials of lost
workers, and polls every 20 seconds. The names below belong to the protocol of its processes, which it does not export.

No other file uses these names; `make check` enforces it. If a new version of keras-tuner drops one, a test in
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

from typing import Any

import keras_tuner


def messages() -> Any:
    """Returns the module of the protocol's messages, such as `GetTrialRequest`."""
    from keras_tuner.src import protos

    return protos.get_service()


def stub(channel: Any) -> Any:
    """Returns a stub that calls the chief through a gRPC channel."""
    from keras_tuner.src import protos

    return protos.get_service_grpc().OracleStub(channel)


def servicer(oracle: Any) -> Any:
    """Returns a servicer that answers the protocol's calls with an oracle; `stop_triggered` is set after STOPPED."""
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    return OracleServicer(oracle)


def answers(server: Any, servicer: Any) -> None:
    """Makes a gRPC server answer the protocol's calls with the methods of `servicer`."""
    from keras_tuner.src import protos

    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)


class Unsaved(keras_tuner.Oracle):
    """An oracle that saves no files.

    keras-tuner's oracles overwrite the file of each trial, and that of their state, at every step. The public `save`
    saves the state; there is no public method for trials.
    """

    def save(self):
        """Does nothing, because the journal holds the state."""

    def _save_trial(self, trial):
        """Does nothing, because the journal holds the state."""
