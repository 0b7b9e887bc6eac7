"""What was written for TensorBoard, read back by TensorBoard."""

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from keras_resnets.reports.study import DRAWINGS


def read(folder):
    """Returns the events of a folder."""
    return EventAccumulator(str(folder)).Reload()


def text(events, tag):
    """Returns a text."""
    (content,) = events.Tensors(tag)[0].tensor_proto.string_val
    return content.decode()


def table(markdown):
    """Returns the rows of a table in Markdown, as texts, with the names of the columns first."""
    cells = [line.strip("|").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in cells if not all(cell.strip() == "---" for cell in row)]


def _session(events):
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    return metadata.parse_session_start_info_plugin_data(content)


def row_name(events):
    """Returns the name of a run's row in the HParams tab."""
    return _session(events).group_name


def hyperparameters(events):
    """Returns the hyperparameters of a run."""
    values = _session(events).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def check_curve(folder, study, name, expected):
    """Checks that a saved study has a curve of the expected values, by step or name: scalars, or a picture of bars."""
    events, tag = read(folder / "logs"), f"study/{study.name}/{name}"
    curve = DRAWINGS[study.name].curves(study)[name]
    assert list(curve.values.index) == list(expected)
    np.testing.assert_allclose(curve.values, list(expected.values()), rtol=1e-6)
    if curve.follows:
        np.testing.assert_allclose([event.value for event in events.Scalars(tag)], list(expected.values()), rtol=1e-6)
        assert [event.step for event in events.Scalars(tag)] == list(expected)
    else:
        assert tag not in events.Tags()["scalars"]
        assert events.Images(tag)[0].width >= 600
    first, *rows = table(text(events, f"study/{study.name}/rows"))
    assert first == list(study.rows)
    assert len(rows) == min(len(study.rows), 200)
