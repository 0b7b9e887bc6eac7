"""What TensorFlow's libraries write to standard error past every setting, held back."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what is written to standard error, by other languages too; after an exception it is told.

    Example:
        >>> import os
        >>> from keras_resnets.quiet import quiet
        >>> with quiet():
        ...     _ = os.write(2, b"I0000 cpu_feature_guard.cc")
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
