"""`quiet`: hold back what TensorFlow's libraries write to standard error regardless of settings."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back standard error, including output of native code; prints it if an exception is raised.

    Example:
        >>> import os
        >>> from keras_resnets.quiet import quiet
        >>> with quiet():
        ...     _ = os.write(2, b"I0000 cpu_feature_guard.cc")
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            output.seek(0)
            os.write(stderr, output.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
