"""What the package takes from keras-tuner that keras-tuner does not promise: a function for each such name, and why.

keras-tuner's public way to search with several processes is a chief that writes no journal, gives no trial of a lost
worker to another, and waits in steps of 20 seconds. What is below is the protocol that its processes talk; it exports
none of it.

No other file uses these names, which `make check` sees to. Where a new version of keras-tuner drops one, a test of
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
    """Returns what calls the chief at the other end of a channel of gRPC."""
    from keras_tuner.src import protos

    return protos.get_service_grpc().OracleStub(channel)


def servicer(oracle: Any) -> Any:
    """Returns what answers the protocol's calls with an oracle; `stop_triggered` is true once it has said STOPPED."""
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    return OracleServicer(oracle)


def answers(server: Any, servicer: Any) -> None:
    """Has a server of gRPC answer the protocol's calls by the methods of `servicer`."""
    from keras_tuner.src import protos

    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)


class Unsaved(keras_tuner.Oracle):
    """An oracle that keeps no files.

    keras-tuner has an oracle write each trial, and all of its own state, over the files of the step before. For its
    state there is the public `save`, for trials nothing public.
    """

    def save(self):
        """Nothing: the journal is the state."""

    def _save_trial(self, trial):
        """Nothing: the journal is the state."""
