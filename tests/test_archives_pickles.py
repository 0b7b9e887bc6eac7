"""The instructions of pickle that a torch file may hold, and what becomes of all others."""

import argparse
import collections
import os
import pickle
import struct

import pytest
from helpers import weight_files as write

from keras_resnets.archives import pickles
from keras_resnets.archives.bounded_file import File


def laughs(count, first=None):
    """Dictionaries that hold the one before twice: 2^count names."""
    out = (first or write.tensor("0", write.HELD)) + b"q\x00"
    for n in range(1, count + 1):
        out += (
            b"}"
            + write.text("a")
            + b"h"
            + bytes([n - 1])
            + b"s"
            + write.text("b")
            + b"h"
            + bytes([n - 1])
            + b"sq"
            + bytes([n])
        )
    return b"(" + out + b"l"


PICKLES = {
    "os.system": (write.called("os", "system", write.text("touch canary")), "asks for 'os.system', which is not part"),
    "eval": (write.called("builtins", "eval", write.text("1")), "asks for 'builtins.eval'"),
    "stack global": (write.text("posix") + write.text("system") + b"\x93", "asks for 'posix.system'"),
    "nested name": (
        write.text("torch") + write.text("FloatStorage.__init__") + b"\x93",
        "asks for 'torch.FloatStorage.__init",
    ),
    "ext": (b"\x82\x01", "has the instruction b'\\x82', which weights do not need"),
    "inst": (b"(ios\nsystem\n", "has the instruction b'i'"),
    "obj": (b"(o", "has the instruction b'o'"),
    "newobj": (b"ccollections\nOrderedDict\n)\x81", "has the instruction b'\\x81'"),
    "text integer": (b"I1" + b"1" * 10_000 + b"\n", "has the instruction b'I'"),
    "call of a value": (write.whole(3) + b")R", "calls something other than a function"),
    "call of a storage": (b"ctorch\nFloatStorage\n)R", "calls 'torch.FloatStorage'"),
    "call with much": (b"ctorch\nSize\n(" + b"N" * 17 + b"tR", "or with invalid arguments"),
    "build of a dictionary": (b"}}b", "sets an object's attributes"),
    "build of a name": (b"ctorch\nSize\n}b", "sets an object's attributes"),
    "far memo": (b"r\xff\xff\xff\xff", "is malformed"),
    "memo of nothing": (b"j\xff\xff\xff\xff", "is malformed"),
    "long bytes": (b"\x8e" + struct.pack("<Q", 1 << 60), "is cut"),
    "long text": (b"X\xff\xff\xff\xff", "is cut"),
    "long string": (b"T\xff\xff\xff\xff", "is cut"),
    "long number": (b"\x8a\x11" + bytes(17), "has a number of 17 bytes"),
    "longer number": (b"\x8b" + struct.pack("<i", 1 << 30), "has the instruction b'\\x8b'"),
    "no text": (b"X\x01\x00\x00\x00\xff", "is malformed"),
    "no end of line": (b"c" + b"a" * 5000, "is malformed"),
    "empty stack": (b"0", "has the instruction b'0'"),
    "two values": (b"NN", "leaves something behind"),
    "a mark": (b"(", "leaves something behind"),
    "no value": (b"", "is malformed"),
    "mark as value": (b"}(Ns", "is malformed"),
    "half a pair": (b"}(Nu", "is malformed"),
    "append to none": (b"NNa", "is malformed"),
    "key": (b"}" + b")Ns", "has a dictionary with the key a tuple"),
    "key that is a list": (b"}" + b"]Ns", "has a dictionary with the key a list"),
    "added to a list": (b"](N\x90", "is malformed"),
    "protocol": (b"\x80\x09N", "is of protocol 9"),
    "persistent": (write.text("module") + b"Q", "its pickle refers to 'module'"),
    "persistent kind": (write.sequence([write.text("module")] + [b"N"] * 4) + b"Q", "its pickle refers to 'module'"),
    "storage kind": (
        write.sequence([write.text("storage"), b"N", write.text("0"), b"N", write.whole(4)]) + b"Q",
        "an invalid storage",
    ),
    "storage count": (write.storage("0", "float32", -1), "has an invalid storage"),
    "storage size": (write.storage("0", "float32", 5), "its storage '0' has 16 bytes, where 20 are needed"),
    "storage too large": (write.storage("0", "float32", 3), "its storage '0' has 16 bytes, where 12 are needed"),
    "storage lacks": (write.storage("../data.pkl", "float32", 4), "it lacks the storage '../data.pkl'"),
    "storage of two kinds": (
        write.sequence([write.FLAT, write.storage("0", "int32", 4)]),
        "is said to be of two kinds",
    ),
    "storage in another": (write.storage("0", "float32", 4, write.sequence([b"N"])), "has a storage within another"),
    "out of the end": (write.rebuilt(write.FLAT, 1, (4,), (1,)), "a tensor reaches out of its storage"),
    "out by strides": (write.rebuilt(write.FLAT, 0, (2,), (4,)), "a tensor reaches out of its storage"),
    "out of the front": (write.rebuilt(write.FLAT, -1, (2,), (1,)), "a tensor reaches out of its storage"),
    "negative stride": (write.rebuilt(write.FLAT, 3, (2,), (-1,)), "a tensor reaches out of its storage"),
    "negative size": (write.rebuilt(write.FLAT, 0, (-1,), (1,)), "has a side of -1"),
    "repeated": (
        write.rebuilt(write.FLAT, 0, (1 << 30,), (0,)),
        "repeats the numbers of its storage; save its .contiguous()",
    ),
    "strides lack": (write.rebuilt(write.FLAT, 0, (2, 2), (1,)), "has an invalid tensor"),
    "no storage": (write.rebuilt(b"N", 0, (2,), (1,)), "has an invalid tensor"),
    "offset": (
        write.called("torch._utils", "_rebuild_tensor", write.FLAT, b"\x88", write.sequence([]), write.sequence([])),
        "an invalid tensor",
    ),
    "few arguments": (write.called("torch._utils", "_rebuild_tensor", write.FLAT), "is malformed"),
    "parameter": (write.called("torch._utils", "_rebuild_parameter", b"N"), "has an invalid parameter"),
    "size": (write.called("torch", "Size", b"N"), "has an invalid size"),
    "long size": (write.called("torch", "Size", write.sequence([write.whole(1)] * 33)), "has an invalid size"),
    "ordered": (write.called("collections", "OrderedDict", b"N"), "has an invalid dictionary"),
    "ordered key": (
        write.called("collections", "OrderedDict", b"]" + write.sequence([b"N", b"N"]) + b"a"),
        "has an invalid key",
    ),
    "laughs": (laughs(60), "it has more than 50,000 arrays"),
    "hollow laughs": (laughs(60, b"}"), "has more than 200,000 entries in its dictionaries"),
    "deep": (b"]" * 100_000 + b"a" * 99_999, "has dictionaries in more than 32 others"),
    "deep tuples": (b"N" + b"\x85" * 100_000, "has dictionaries in more than 32 others"),
    "itself": (b"}q\x00" + write.text("a") + b"h\x00s", "has dictionaries in more than 32 others"),
    "instructions": (b"N" * 1_000_001, "has more than 1,000,000 instructions"),
    "long name": (write.mapping({"a" * 1001: write.tensor("0", write.HELD)}), "has 1,001 characters"),
    "names meet": (
        write.mapping({"a.b": write.tensor("0", write.HELD), "a": write.mapping({"b": write.tensor("0", write.HELD)})}),
        "it has two arrays of the name 'a.b'",
    ),
    "no name": (write.tensor("0", write.HELD), "is one tensor without a name; save a dictionary of tensors"),
}
# Each call would copy the list once more.
PICKLES["copies"] = (
    b"](" + b"".join(write.sequence([write.text("a"), b"N"]) for _ in range(1000)) + b"e\x85q\x01"
    b"ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01R" * 1000 + b"l",
    "has more than 200,000 entries in its dictionaries",
)


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_refused(said, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, sentence = PICKLES[name]
    assert sentence in said(write.one_torch(value))
    if "storage" not in name:
        storages = {"0": (4, write.raw(write.HELD))} if write.text("storage") in value else {}
        assert sentence in said(write.torch_stream(value, storages))
    assert not (tmp_path / "canary").exists()


def test_pickles_of_python_refused(said):
    class Bomb:
        def __reduce__(self):
            return os.system, ("touch canary",)

    for value in (Bomb(), collections.defaultdict(list), argparse.Namespace(lr=1)):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            content = write.zipped({"x/data.pkl": pickle.dumps(value, protocol)})
            assert "cannot be read: its pickle" in said(content)


def test_numbers_that_could_be_chosen_to_collide_are_no_keys(tmp_path):
    modulus = (1 << 61) - 1  # equal remainders are equal hashes in Python
    numbers = [3, -1, 1 << 31, *(n * modulus for n in range(1, 5))]
    content = pickle.dumps(dict.fromkeys(numbers))
    (tmp_path / "x").write_bytes(content)
    found, end = pickles.load(File(tmp_path / "x"), content, pickles.Rules((), lambda *_: None, lambda _: None))
    assert (list(found), end) == ([3, *map(str, numbers[1:])], len(content))
