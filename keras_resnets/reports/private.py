"""Access to private names of TensorBoard: one function for each name, with the reason.

TensorBoard's public `summary.Writer` writes only scalars, and those as tensors; its functions for images and for
summaries of plugins need TensorFlow. Therefore events are written as TensorBoard's own records and messages.

No other file uses these names; `make check` enforces it. If a new version of TensorBoard drops one, a test in
`tests/test_private.py` fails and says what needs it.
"""

from __future__ import annotations

import io
import itertools
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_resnets.runs import writing

# The end of the names of this package's files of events, which tells them from others'.
SUFFIX = ".keras_resnets"


class Writer:
    """Appends events to a new file in a folder.

    TensorBoard's own writer does so by TensorFlow's files where that is installed, and imports it, which takes seconds
    on a backend that has no other use for it.
    """

    _numbers = itertools.count()

    def __init__(self, folder: str | os.PathLike):
        from tensorboard.summary.writer.record_writer import RecordWriter

        with writing(Path(folder) / "events"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        number = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(self._numbers)}"
        self._file, self._pending = Path(folder) / f"events.out.tfevents.{number}{SUFFIX}", io.BytesIO()
        self._records = RecordWriter(self._pending)
        self.add_event(event(None, version="brain.Event:2"))
        self.flush()

    def add_event(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Appends what is pending to the file, which is not left open: who writes may be stopped at any moment."""
        with writing(self._file), self._file.open("ab") as file:
            file.write(self._pending.getvalue())
        self._pending.seek(0)
        self._pending.truncate()


def event(summary: Any, step: int = 0, version: str | None = None) -> Any:
    """Returns an event with a summary, or the version of the file that begins with it, and the current time."""
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary, file_version=version)


def scalar(tag: str, value: float, what: str = "") -> Any:
    """Returns the summary of a number; `what` is shown beside the name of its chart, in Markdown."""
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary, SummaryMetadata

    metadata = None
    if what:
        plugin = SummaryMetadata.PluginData(plugin_name="scalars")
        metadata = SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_SCALAR, summary_description=what)
    return Summary(value=[Summary.Value(tag=tag, simple_value=value, metadata=metadata)])


def image(tag: str, png: bytes, width: int, height: int) -> Any:
    """Returns the summary of a colour image."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=picture)])


def text(tag: str, markdown: str) -> Any:
    """Returns the summary of a text."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.text import metadata

    described = metadata.create_summary_metadata(display_name=tag, description="")
    content = TensorProto(dtype=_STRING, string_val=[markdown.encode()])
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=content)])


# TensorFlow's number for texts.
_STRING = 7


def graph(nodes: Iterable[Any]) -> Any:
    """Returns the event of a graph of operations.

    Args:
        nodes: each with `name`, `kind`, `inputs`, `shape` and `details`, as `events.Node` has them.
    """
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    drawn = GraphDef()
    for node in nodes:
        values = {name: AttrValue(s=value.encode()) for name, value in (node.details or {}).items()}
        if node.shape is not None:
            shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in node.shape])
            values["_output_shapes"] = AttrValue(list=AttrValue.ListValue(shape=[shape]))
        drawn.node.append(NodeDef(name=node.name, op=node.kind, input=node.inputs, attr=values))
    return Event(wall_time=time.time(), graph_def=drawn.SerializeToString())
