"""Arrays and labels of every kind, given to `data.load` and to what reads data in batches."""

import itertools

import hypothesis
import numpy as np
from helpers import input_arrays as made
from helpers.input_watch import Fault, ask
from hypothesis import strategies as st

import keras_resnets as kr
from keras_resnets.data.batches import batches, class_labels

FOUR = np.zeros((4, 8, 8, 1), "uint8")
PLAIN = {"normalize": None, "augmentation": None, "tell": lambda line: None}


def read(data):
    """All images of data with their labels, in an order of their contents."""
    pairs = []
    for split in data.sizes:
        for x, y in getattr(data, split):
            pairs += [(image.tobytes(), int(label)) for image, label in zip(np.asarray(x), np.asarray(y), strict=True)]
    return sorted(pairs)


@hypothesis.given(st.data())
def test_right_arrays_are_read_as_they_are(draw):
    x = draw.draw(made.images())
    y, numbers = draw.draw(made.labels(len(x)))
    validation = draw.draw(st.sampled_from([0.25, "test", 0]))
    data, refusal = ask("data.load", lambda: kr.data.load((x, y), validation=validation, **PLAIN))
    if refusal:
        raise Fault(refusal)
    assert data.input_shape == (x.shape[1:] if x.ndim == 4 else (*x.shape[1:], 1))
    assert data.classes == 3
    assert sum(data.sizes.values()) == len(x)
    wanted = np.asarray(x, "float32").reshape(len(x), *data.input_shape)
    assert read(data) == sorted((image.tobytes(), int(label)) for image, label in zip(wanted, numbers, strict=True))


# Each was a fault: an exception of NumPy's, another class than was given, or no end.
@hypothesis.example(FOUR, [0, 1, np.inf, 1], "pair")
@hypothesis.example(FOUR, [0, 2**40, 1, 0], "pair")
@hypothesis.example(FOUR, [[0], [1, 2], [0], [1]], "pair")
@hypothesis.example(np.array([b"a", b"b"]), [[], [0]], "splits")
@hypothesis.example(np.broadcast_to(np.zeros((), "uint8"), (2**40, 8, 8, 1)), None, "pair")
@hypothesis.example(np.ma.masked_array(FOUR, True), [0, 1, 0, 1], "pair")
@hypothesis.example(np.ma.masked_array(np.zeros((4, 8, 8, 1)), True), [], "one")
@hypothesis.example("\x84?T¤ none", None, "one")
@hypothesis.given(
    x=st.one_of(made.any_array(), made.images()),
    y=made.WRONG_LABELS,
    form=st.sampled_from(["pair", "splits", "map", "one"]),
)
def test_any_arrays_are_read_or_refused(x, y, form):
    hypothesis.assume(np.size(x) < 2**30 or np.shape(x)[:1] != np.shape(y)[:1])  # there it is only slow
    given = {"pair": (x, y), "splits": ((x, y), (x, y)), "map": {"train": (x, y), "test": (x, y)}, "one": x}[form]
    data, _ = ask("data.load", lambda: kr.data.load(given, **PLAIN))
    if data is not None:
        assert np.isfinite([np.frombuffer(image, "float32").sum() for image, _ in read(data)]).all()
        assert data.classes >= 2


@hypothesis.given(
    x=st.one_of(made.any_array(), made.images(6, (8, 8, 1))),
    y=st.one_of(st.none(), made.WRONG_LABELS),
    rows=st.integers(1, 9),
)
def test_the_door_of_measurements(x, y, rows):
    def call():
        return list(itertools.islice(batches((x, y), rows, shape=(8, 8, 1), classes=3), 20))

    found, _ = ask("data (of measurements)", call)
    if found is not None:
        x = x[: 20 * rows]
        np.testing.assert_array_equal(np.concatenate([part for part, _ in found]), x)
        assert all(part.shape[1:] == (8, 8, 1) for part, _ in found)
        if y is not None:
            numbers = np.concatenate([class_labels(part, 3) for _, part in found])
            assert ((numbers >= 0) & (numbers < 3)).all()
