"""The safetensors format: a JSON header, followed by the arrays."""

from __future__ import annotations

import struct

from keras_resnets.archives.archive import Archive
from keras_resnets.archives.bounded_file import ENCODINGS, LONGEST_TEXT, File, quote

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read(file: File, kind: str = "safetensors") -> Archive:
    """Returns the archive of a safetensors file."""
    (length,) = struct.unpack("<Q", file.read(0, 8, "the length of its header"))
    header = file.parse_json(file.read(8, length, "its header", LONGEST_TEXT), "its header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        file.fail("is damaged: its metadata are not strings")

    tensors, spans = {}, []
    for number, (name, entry) in enumerate(header.items(), 1):
        file.check_name(name, (), number)
        label = f"the array {quote(name)}"
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            file.fail(f"is damaged: {label} does not have dtype, shape and data_offsets")
        dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            file.fail(f"has {label} of the type {quote(dtype)}", f"save it as one of {', '.join(_DTYPES)}")
        if not isinstance(shape, list) or not isinstance(span, list) or [type(end) for end in span] != [int, int]:
            file.fail(f"is damaged: {label} has no list as its shape, or no two numbers as its offsets")
        begin, end = span
        encoding = ENCODINGS[_DTYPES[dtype]]
        size = file.count_numbers(tuple(shape), label) * encoding.stored.itemsize
        if end - begin != size:
            file.fail(f"is damaged: {label} needs {quote(size)} bytes and has {quote(end - begin)}")
        spans.append((begin, end))
        tensors[name] = file.tensor(8 + length + begin, tuple(shape), encoding, label)

    # The format forbids overlaps and gaps, which would let a file be read in two ways.
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            file.fail("is damaged: its arrays do not lie in a row")
        at = end
    if 8 + length + at != file.size:
        file.fail(f"is damaged: its arrays end at {8 + length + at:,}, and the file at {file.size:,}")
    return Archive(kind, file.path, tensors, metadata, file.close)
