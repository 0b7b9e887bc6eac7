"""Access to private names of TensorBoard: one function for each name, with the reason.

TensorBoard's public `summary.Writer` writes only scalars, and those as tensors; its functions for images and for
summaries of plugins need TensorFlow. Therefore events are written with TensorBoard's own file writer and messages.

No other file uses these names; `make check` enforces it. If a new version of TensorBoard drops one, a test in
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

import os
import time
from typing import Any

# The end of the names of this package's files of events, which tells them from others'.
SUFFIX = ".keras_resnets"


def writer(folder: str | os.PathLike) -> Any:
    """Returns a writer that appends events to a new file in a folder, with `add_event` and `close`."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return EventFileWriter(str(folder), filename_suffix=SUFFIX)


def event(summary: Any, step: int = 0) -> Any:
    """Returns an event with a summary and the current time."""
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def scalar(tag: str, value: float) -> Any:
    """Returns the summary of a number."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def image(tag: str, png: bytes, width: int, height: int) -> Any:
    """Returns the summary of a colour image."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=picture)])
