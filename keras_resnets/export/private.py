"""What the package takes from TensorFlow that TensorFlow does not promise: a function for each such name, and why.

No other file uses these names, which `make check` sees to. Where a new version of TensorFlow drops one, a test of
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

from typing import Any


def holder() -> Any:
    """Returns an object whose attributes `tf.saved_model.save` writes, and nothing else.

    In a public `tf.Module` the attributes `variables` and `trainable_variables` are taken, and Keras' `TFSMLayer` reads
    these from what was saved.
    """
    import tensorflow as tf

    return tf.__internal__.tracking.AutoTrackable()


def frozen(function: Any) -> Any:
    """Returns a concrete function with its variables made constants.

    tf2onnx takes constants that a function holds for further inputs. What is public freezes only on the way to a LiteRT
    file.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function)


def schema() -> Any:
    """Returns the module of classes that read a LiteRT file.

    The public analyser of such files prints a text.
    """
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated
