"""Hypothesis strategies for arrays, labels and values of any kind, as users and their scripts pass them."""

import math
import pathlib

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

INTEGERS = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", ">u2")
FLOATS = ("float32", "float64", "float16", ">f8", ">f4")
KINDS = (*INTEGERS, *FLOATS, "bool")

# Values of every kind that a wrong argument may be.
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, 255, 256, 2**31 - 1, 2**31, 2**63, 10**30, -(2**31)]),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 1.5, -1.5, 1e-30, 1e300, math.nan, math.inf, -math.inf]),
    st.sampled_from([True, False, np.int64(2), np.float32(0.5), np.float64(0.25), np.bool_(True), 1j]),
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "digits", "resnet8", "all", "none", "nan", "-1", "0", "1e999", "é", "a\nb", "-", "..", "x" * 300]
    ),
    st.text(max_size=8),
)
OBJECTS = st.sampled_from(
    [
        None,
        object(),
        print,
        int,
        ...,
        b"bytes",
        pathlib.Path("no/such"),
        range(3),
        np.zeros(3),
        np.zeros((2, 40, 40)),
        np.array(["a"]),
    ]
)
PLAIN = st.one_of(st.none(), NUMBERS, TEXTS)
ANYTHING = st.one_of(
    PLAIN,
    OBJECTS,
    st.lists(PLAIN, max_size=3),
    st.tuples(PLAIN, PLAIN),
    st.dictionaries(TEXTS, PLAIN, max_size=2),
    st.lists(st.lists(NUMBERS, max_size=2), max_size=2),
)
# Of an argument on which the work depends, the numbers that stay small.
FEW = st.one_of(
    st.sampled_from([0, 1, 2, -1, 0.5, True, math.nan, math.inf, "1", None, 1.0, np.int64(1), [1], (), "all"]), OBJECTS
)


@st.composite
def laid_out(draw, array):
    """An array of the same values with another layout in memory: strides, byte order, or none to write to."""
    how = draw(st.sampled_from(["as it is", "fortran", "reversed", "every other", "read-only", "inside another"]))
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    if how == "every other" and array.ndim:
        return np.repeat(array, 2, axis=0)[::2]
    if how == "read-only":
        array = array.copy()
        array.setflags(write=False)
    if how == "inside another" and array.ndim:
        wider = np.zeros((*array.shape[:-1], array.shape[-1] + 3), array.dtype)
        wider[..., 1:-2] = array
        return wider[..., 1:-2]
    return array


@st.composite
def images(draw, examples=None, shape=None):
    """Images that are right: of any type, layout and size, with or without an axis of channels."""
    n = draw(st.integers(4, 12)) if examples is None else examples
    if shape is None:
        shape = draw(st.sampled_from([(8, 8, 1), (8, 8, 3), (9, 7, 3), (1, 1, 1), (8, 8), (2, 16, 4), (5, 5, 2)]))
    dtype = np.dtype(draw(st.sampled_from(KINDS)))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    size = (n, *shape)
    if dtype.kind == "f":
        values = random.normal(size=size) * draw(st.sampled_from([1, 0.1, 100]))
        values = np.round(values) if draw(st.booleans()) else values
    elif dtype.kind == "b":
        values = random.random(size) < 0.5
    else:
        top = draw(st.sampled_from([1, 100, min(np.iinfo(dtype).max, 255), min(np.iinfo(dtype).max, 2**20)]))
        values = random.integers(0, top, size, endpoint=True)
    return draw(laid_out(values.astype(dtype)))


@st.composite
def labels(draw, examples, classes=3):
    """Labels that are right, with the numbers of their classes: numbers of any type, a column, one-hot rows, texts."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    numbers = np.concatenate([np.arange(classes), random.integers(0, classes, max(0, examples - classes))])[:examples]
    form = draw(st.sampled_from(["numbers", "column", "one-hot", "texts", "objects", "list"]))
    dtype = draw(st.sampled_from([*INTEGERS, *FLOATS]))
    if form == "texts":
        return np.array(["ab", "b", "ä c"])[numbers % 3], numbers
    if form == "objects":
        return np.array(["ab", "b", "ä c"], dtype=object)[numbers % 3], numbers
    if form == "one-hot":
        return np.eye(classes)[numbers].astype(dtype), numbers
    if form == "list":
        return numbers.tolist(), numbers
    made = draw(laid_out(numbers.astype(dtype)))
    return (made[:, None] if form == "column" else made), numbers


@st.composite
def any_array(draw):
    """An array of any type, shape and values, also of none, of objects and of more elements than memory has."""
    kind = draw(st.sampled_from(["small", "small", "images", "odd type", "stretched", "value"]))
    if kind == "stretched":  # a huge size of which one element is stored
        shape = draw(st.sampled_from([(2**40, 8, 8, 1), (2**58, 2), (0, 2**40, 8, 1)]))
        return np.broadcast_to(np.zeros((), draw(st.sampled_from(KINDS))), shape)
    if kind == "odd type":
        return draw(
            st.sampled_from(
                [
                    np.array(["a", "b"]),
                    np.array([b"a", b"b"]),
                    np.array([None, 1], dtype=object),
                    np.array([[1], [1, 2]], dtype=object),
                    np.zeros(3, [("a", "i4"), ("b", "f4")]),
                    np.zeros((4, 8, 8, 1), "complex64"),
                    np.array(["2020-01-01"], "datetime64[D]"),
                    np.array([1, 2], "timedelta64[s]"),
                    np.ma.masked_array(np.zeros((4, 8, 8, 1)), True),
                    np.asmatrix(np.zeros((4, 4))),
                    np.zeros((4, 8, 8, 1), "longdouble"),
                    np.zeros((4, 8, 8, 1), "V4"),
                ]
            )
        )
    if kind == "images":
        values = draw(images())
        wrong = draw(st.sampled_from(["nothing", "nan", "inf", "huge", "negative"]))
        if wrong != "nothing" and values.dtype.kind == "f" and values.size:
            values = values.copy()
            values.flat[0] = {"nan": np.nan, "inf": np.inf, "huge": np.finfo(values.dtype).max, "negative": -1}[wrong]
        return values
    if kind == "value":
        return draw(st.one_of(NUMBERS, TEXTS, OBJECTS))
    dtype = draw(hnp.scalar_dtypes())
    return draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))


WRONG_LABELS = st.one_of(
    any_array(),
    st.lists(NUMBERS, max_size=12),
    st.lists(TEXTS, max_size=12),
    st.lists(st.lists(NUMBERS, max_size=3), max_size=6),
    hnp.arrays(st.sampled_from(KINDS), st.integers(0, 12)),
    st.sampled_from(
        [[0, 2**40, 1, 0], [0, 1, math.inf, 1], [5, 7, 5, 7], [0, 1, -1, 1], [True, False] * 2, [0.5, 1, 0, 1]]
    ),
)
