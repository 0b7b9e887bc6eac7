"""Access to private names of keras-tuner: one function for each name, with the reason.

No other file uses these names; `make check` enforces it. If a new version of keras-tuner drops one, a test in
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

import keras_tuner


class Unsaved(keras_tuner.Oracle):
    """An oracle that saves no files.

    keras-tuner's oracles overwrite the file of each trial, and that of their state, at every step. The public `save`
    saves the state; there is no public method for trials.
    """

    def save(self):
        """Does nothing, because the journal holds the state."""

    def _save_trial(self, trial):
        """Does nothing, because the journal holds the state."""
