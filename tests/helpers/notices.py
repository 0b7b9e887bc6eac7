"""What a user is told."""

import contextlib
import warnings

from keras_resnets.errors import Notice


@contextlib.contextmanager
def told(*parts):
    """Demands that each of the parts is told, in whatever notice, and nothing else where there are none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Notice)
        yield
    notices = [str(warning.message) for warning in caught if issubclass(warning.category, Notice)]
    for part in parts:
        assert any(part in notice for notice in notices), (part, notices)
    assert bool(notices) == bool(parts), notices
