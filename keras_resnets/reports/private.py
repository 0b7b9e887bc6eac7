"""What the package takes from TensorBoard that TensorBoard does not promise: a function for each such name, and why.

TensorBoard's public `summary.Writer` writes scalars alone, and as tensors; its functions for images, and for what a
plugin has made, need TensorFlow. So events are written here as they lie in a file, with the writer and the messages
that TensorBoard itself has for it.

No other file uses these names, which `make check` sees to. Where a new version of TensorBoard drops one, a test of
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

import os
import time
from typing import Any


def writer(folder: str | os.PathLike) -> Any:
    """Returns what appends events to a new file in a folder, with `add_event` and `close`."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return EventFileWriter(str(folder))


def event(summary: Any, step: int = 0) -> Any:
    """Returns the event that a summary was made now."""
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def scalar(tag: str, value: float) -> Any:
    """Returns the summary of a number."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def image(tag: str, png: bytes, width: int, height: int) -> Any:
    """Returns the summary of a picture in colours."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=picture)])
