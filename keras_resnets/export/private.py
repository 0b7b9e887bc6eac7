"""Access to private names of TensorFlow: one function for each name, with the reason.

No other file uses these names; `make check` enforces it. If a new version of TensorFlow drops one, a test in
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

from typing import Any


def holder() -> Any:
    """Returns an object for `tf.saved_model.save`, which writes its attributes and nothing else.

    The public `tf.Module` reserves the attributes `variables` and `trainable_variables`, which Keras' `TFSMLayer` reads
    from a SavedModel.
    """
    import tensorflow as tf

    return tf.__internal__.tracking.AutoTrackable()


def frozen(function: Any) -> Any:
    """Returns a concrete function with its variables replaced by constants.

    tf2onnx mistakes the captured constants of a function for inputs. The public API freezes variables only while it
    converts to LiteRT.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function)
