"""Reading MXNet's .params: every form written by hand and read back, and what is refused, by its sentence."""

import struct

import numpy as np
import pytest
from helpers import weight_files as write


@pytest.mark.parametrize("form", ["legacy", "v1", "v2", "v3"])
def test_mxnet(opened, form):
    arrays = {f"arg:{dtype}": write.numbers((2, 3, 1), dtype) for dtype in write.MXNET}
    arrays |= {"aux:bn_moving_mean": write.numbers((5,)), "arg:empty": np.empty((0, 2), "float32")}
    if form == "v3":
        arrays["arg:number"] = np.float32(7)[()] * np.ones((), "float32")
    with opened(write.mxnet(arrays, form)) as archive:
        assert archive.kind == "mxnet"
        write.same(archive, arrays)


@pytest.mark.parametrize(
    "none",
    [struct.pack("<I", 0), struct.pack("<II", 0xF993FAC8, 0), struct.pack("<IiI", 0xF993FAC9, 0, 0),
     struct.pack("<Iii", 0xF993FACA, 0, -1)],
    ids=["legacy", "v1", "v2", "v3"],
)  # fmt: skip
def test_mxnet_arrays_that_are_none(opened, none):
    held = write.numbers((2, 2))
    content = struct.pack("<QQQ", 0x112, 0, 2) + none + write.mxnet_array(held, "v2")
    unnamed = content + struct.pack("<Q", 0)
    with opened(unnamed) as archive:
        write.same(archive, {"0": np.empty(0, "float32"), "1": held})


PARAMS = write.mxnet({"arg:x": write.HELD})


def params(array, count=1, names=(b"x",)):
    told = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return struct.pack("<QQQ", 0x112, 0, count) + array + struct.pack("<Q", len(names)) + told


GOOD = write.mxnet_array(write.HELD, "v2")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PARAMS[:-1], "name 0 is said to be 5 bytes"),
        (PARAMS[:60], "array 0, of shape '4', is said to be 16 bytes"),
        (PARAMS[:20], "the number of arrays is said to be 8 bytes"),
        (PARAMS + b"x", "it has 1 bytes behind its end"),
        (write.patched(8, "<Q", 1, PARAMS), "the second word of an MXNet file is 0"),
        (write.patched(16, "<Q", 1 << 60, PARAMS), "it is said to have 1,152,921,504,606,846,976 arrays"),
        (struct.pack("<QQQ", 0x112, 0, 50_001) + bytes(4 * 50_001), "it has 50,001 arrays"),
        (params(struct.pack("<Ii", 0xF993FAC9, 1)), "array 0 in sparse storage, row_sparse; save it dense"),
        (params(struct.pack("<Ii", 0xF993FACA, 2)), "in sparse storage, csr"),
        (params(struct.pack("<Ii", 0xF993FAC9, 9)), "in sparse storage, of the kind 9"),
        (params(struct.pack("<III", 0xF993FAC9, 0, 33)), "have 33 dimensions, or to be of an unknown form"),
        (params(struct.pack("<I", 33)), "have 33 dimensions, or to be of an unknown form"),
        (params(struct.pack("<II", 0xF993FACB, 1) + bytes(40)), "of an unknown form"),
        (params(struct.pack("<Iii", 0xF993FACA, 0, -2)), "is said to have -2 dimensions"),
        (params(struct.pack("<IIq", 0xF993FAC8, 1, -4) + bytes(28)), "has a side of -4"),
        (
            params(struct.pack("<IIqiii", 0xF993FAC8, 1, 1 << 40, 1, 0, 0) + bytes(16)),
            "is said to be 4,398,046,511,104 bytes",
        ),
        (params(struct.pack("<IIIiii", 2, 0, 0xFFFFFFFF, 1, 0, 0) + b"x"), "is damaged"),
        (
            params(struct.pack("<IIqiii", 0xF993FAC8, 1, 4, 1, 0, 7) + bytes(16)),
            "of type number 7; save it as one of float32",
        ),
        (params(GOOD * 2, 2), "it has 2 arrays and 1 names"),
        (params(GOOD * 2, 2, (b"x", b"x")), "it has two arrays of the name 'x'"),
        (params(GOOD, 1, (b"\xff",)), "name 0 is not UTF-8 text"),
        (params(GOOD, 1, (b"x" * 1001,)), "has 1,001 characters"),
        (params(GOOD)[:-9] + struct.pack("<Q", 1 << 63), "name 0 is said to be 9,223,372,036,854,775,808 bytes"),
    ],
    ids=write.by_sentence,
)
def test_mxnet_refused(said, content, sentence):
    assert sentence in said(content)
