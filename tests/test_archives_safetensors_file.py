"""Reading safetensors files: written by hand and read back, and what is refused, by its sentence."""

import json
import struct

import numpy as np
import pytest
from helpers import weight_files as write


def test_safetensors(opened):
    arrays = write.of_types(write.SAFETENSORS)
    with opened(write.safetensors(arrays, {"format": "pt"}, write.BF16)) as archive:
        assert (archive.kind, archive.metadata, archive.path.name) == ("safetensors", {"format": "pt"}, "weights.bin")
        write.same(archive, arrays)


def test_bfloat16_is_widened_bit_by_bit(opened):
    patterns = np.arange(1 << 16, dtype="<u2")
    header = {"x": {"dtype": "BF16", "shape": [1 << 16], "data_offsets": [0, 2 << 16]}}
    with opened(write.headed(json.dumps(header), patterns.tobytes())) as archive:
        read = archive["x"].read()
    # The upper half of a float32 is a bfloat16: one sign, eight bits of exponent, seven of fraction.
    sign, exponent, fraction = patterns >> 15, (patterns >> 7 & 255).astype(int), (patterns & 127) / 128
    value = np.where(exponent > 0, 1 + fraction, 2 * fraction) * 2.0 ** (exponent - 127)
    finite = exponent < 255
    np.testing.assert_array_equal(read[finite], np.where(sign, -value, value)[finite])
    assert np.isnan(read[~finite & (fraction > 0)]).all()
    assert np.isinf(read[~finite & (fraction == 0)]).all()


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


EIGHT = bytes(8)


@pytest.mark.parametrize(
    ("header", "body", "sentence"),
    [
        ({"x": ONE}, bytes(7), "the array 'x' is said to be 8 bytes"),
        ({"x": ONE}, bytes(9), "and the file at"),
        ({"x": {**ONE, "data_offsets": [0, 4]}}, EIGHT, "the array 'x' needs 8 bytes and has 4"),
        ({"x": {**ONE, "data_offsets": [0, 12]}}, bytes(12), "the array 'x' needs 8 bytes and has 12"),
        ({"x": {**ONE, "data_offsets": [8, 0]}}, EIGHT, "needs 8 bytes and has -8"),
        ({"x": {**ONE, "data_offsets": [-8, 0]}}, EIGHT, "its arrays do not lie in a row"),
        ({"x": {**ONE, "data_offsets": [True, 8]}}, EIGHT, "no two numbers as its offsets"),
        ({"x": {**ONE, "data_offsets": [0, 8, 9]}}, EIGHT, "no two numbers as its offsets"),
        ({"x": {**ONE, "shape": [2.0]}}, EIGHT, "has a side of 2"),
        (
            {"x": {**ONE, "shape": [0, 1 << 47, 1 << 47], "data_offsets": [0, 0]}},
            b"",
            "is empty, and its other sides make 0x4",
        ),
        ({"x": {**ONE, "shape": [-2]}}, EIGHT, "has a side of -2"),
        ({"x": {**ONE, "shape": [True, 2]}}, EIGHT, "has a side of True"),
        (
            {"x": {**ONE, "shape": [1 << 60], "data_offsets": [0, 1 << 62]}},
            EIGHT,
            "has a side of 1,152,921,504,606,846,976",
        ),
        (
            {"x": {**ONE, "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
            EIGHT,
            "is said to be 4,398,046,511,104 bytes",
        ),
        ({"x": {**ONE, "shape": [0, 1 << 60], "data_offsets": [0, 0]}}, b"", "has a side of 1,152,921"),
        ({"x": {**ONE, "shape": [1] * 33}}, EIGHT, "has 33 dimensions, where 32 are allowed"),
        ({"x": {**ONE, "shape": [1 << 47] * 32}}, EIGHT, "needs 0x"),
        ({"x": {**ONE, "shape": 2}}, EIGHT, "has no list as its shape"),
        ({"x": {**ONE, "dtype": "F8_E4M3"}}, EIGHT, "of the type 'F8_E4M3'; save it as one of F64, F32"),
        ({"x": {**ONE, "dtype": []}}, EIGHT, "of the type a list"),
        ({"x": {**ONE, "more": 1}}, EIGHT, "does not have dtype, shape and data_offsets"),
        ({"x": 3}, b"", "does not have dtype, shape and data_offsets"),
        ({"x": ONE, "y": ONE}, EIGHT, "its arrays do not lie in a row"),
        ({"x": ONE, "y": {**ONE, "data_offsets": [12, 20]}}, bytes(20), "its arrays do not lie in a row"),
        ({"x" * 1001: ONE}, EIGHT, "has 1,001 characters"),
        ({"__metadata__": {"a": 1}}, b"", "its metadata are not strings"),
        (
            {f"{n}": {**ONE, "shape": [0], "data_offsets": [0, 0]} for n in range(50_001)},
            b"",
            "has more than 50,000 arrays",
        ),
    ],
    ids=write.by_sentence,
)
def test_safetensors_refused(said, header, body, sentence):
    assert sentence in said(write.headed(json.dumps(header), body))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (struct.pack("<Q", 1 << 60) + b"{}", "its header is said to be 1,152,921,504,606,846,976 bytes at 8 of 10"),
        (write.headed("{"), "its header is not JSON"),
        (write.headed('{"a"' + "\xff"), "its header is not JSON"),
        (write.headed("{" + '"a":{' * 100_000), "its header is not JSON"),
        (write.headed('{"a":' + "[" * 100_000), "its header is not JSON"),
        (write.headed('{"a":' + "9" * 5000 + "}"), "its header is not JSON"),
        (write.headed('{"a":1,"a":2}'), "its JSON has a name twice in one object"),
        (
            write.headed('{"a":[' + "[]," * 1_000_001 + "[]]}"),
            "its header has 2,000,005 parts, where 1,000,000 are allowed",
        ),
        (
            write.headed('{"' + "a" * (17 << 20) + '":1}'),
            "its header has 17,825,798 bytes, where 16,777,216 are allowed",
        ),
    ],
    ids=write.by_sentence,
)
def test_safetensors_headers_refused(said, content, sentence):
    assert sentence in said(content)
