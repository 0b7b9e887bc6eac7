"""Reading torch files, zips and streams of old: written by hand and read back, and what is refused."""

import struct
import zipfile

import numpy as np
import pytest
from helpers import weight_files as write

from keras_resnets.archives.archive import WeightFileError
from keras_resnets.archives.reading import open_archive


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "stream"])
def test_torch(opened, is_zip):
    arrays = write.of_types(write.TORCH)
    with opened(write.torch_file(arrays, is_zip, write.BF16)) as archive:
        assert archive.kind == "torch"
        write.same(archive, arrays)


def test_torch_views(opened):
    held = write.numbers((4, 6))
    flat = write.storage("k", "float32", 24)
    views = {
        "transposed": (held.T, write.rebuilt(flat, 0, (6, 4), (1, 6))),
        "part": (held[1:3, 2:], write.rebuilt(flat, 8, (2, 4), (6, 1), "_rebuild_tensor")),
        "every": (held.reshape(-1)[5::3], write.rebuilt(flat, 5, (7,), (3,))),
        "last": (held[3, 5], write.rebuilt(flat, 23, (), ())),
        "parameter": (held, write.called("torch._utils", "_rebuild_parameter", write.rebuilt(flat, 0, (4, 6), (6, 1)))),
    }
    root = write.mapping({name: value for name, (_, value) in views.items()})
    for content in (
        write.torch_zip(root, {"k": write.raw(held)}),
        write.torch_stream(root, {"k": (24, write.raw(held))}),
    ):
        with opened(content) as archive:
            write.same(archive, {name: array for name, (array, _) in views.items()})


def test_torch_names_are_joined_and_what_is_no_tensor_is_left(opened):
    held = write.numbers(3)
    one = write.tensor("0", held)
    number = write.called(
        "numpy.core.multiarray", "scalar", write.called("numpy", "dtype", write.text("f8")), b"U\x01a"
    )
    inner = write.mapping({"module.conv1.weight": one, "module.fc.bias": one})
    state = b"}(" + b"K\x07" + b"}" + write.text("momentum") + one + b"s" + b"u"
    rest = {
        "epoch": write.whole(3), "lr": b"G" + struct.pack(">d", 0.1), "name": write.text("x"), "best": b"N",
        "flag": b"\x88", "size": write.called("torch", "Size", write.sequence([write.whole(2)])), "accuracy": number,
        "ids": b"](" + write.whole(1) + b"e",
    }  # fmt: skip
    root = write.mapping(
        {"state_dict": inner, **rest, "optimizer": write.mapping({"state": state}), "list": b"](" + one + b"e"}
    )
    with opened(write.torch_zip(root, {"0": write.raw(held)}, root_name="a b")) as archive:
        names = ["state_dict.module.conv1.weight", "state_dict.module.fc.bias", "optimizer.state.7.momentum", "list.0"]
        assert list(archive) == names
        write.same(archive, dict.fromkeys(names, held))


BESIDE = {
    "a count": write.called("collections", "Counter", b"}" + write.whole(3) + write.whole(1) + b"s"),
    "a set": b"\x8f(" + write.whole(3) + b"\x90",
    "a set of protocol 2": write.called("__builtin__", "set", b"](" + write.whole(3) + b"e"),
    "a type": b"ctorch\nfloat16\n",
    "a device": write.called("torch", "device", write.text("cpu")),
    "an address as key": b"}\x8a\x06\x94\x11\x5e\xa4\x86\x7fNs",
    "other keys": b"}\x8a\x01\xffNsNNsG" + b"\x3f\xe0" + b"\0" * 6 + b"Ns\x88Ns",
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_torch_lets_stand_beside_weights(opened, name):
    root = write.mapping({"state": BESIDE[name], "arch": write.text("resnet18"), "a": write.tensor("0", write.HELD)})
    with opened(write.one_torch(root)) as archive:
        write.same(archive, {"a": write.HELD})
        assert archive.metadata == {"arch": "resnet18"}


def test_an_address_is_part_of_a_name(opened):
    with opened(
        write.one_torch(b"}\x8a\x06\x94\x11\x5e\xa4\x86\x7f" + write.tensor("0", write.HELD) + b"s")
    ) as archive:
        write.same(archive, {str(0x7F86A45E1194): write.HELD})


@pytest.mark.torch
def test_torch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "transposed": base.t(), "part": base[1:3, 2:], "narrow": torch.ones(3, dtype=torch.bfloat16) * 1.5,
        "count": torch.tensor(5), "parameter": torch.nn.Parameter(torch.ones(2)), "none": torch.zeros(0, 3),
        "half": torch.ones(2).half(), "flags": torch.tensor([True, False]),
        "byte": torch.tensor([200], dtype=torch.uint8),
    }  # fmt: skip
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    saved = {"state_dict": tensors, "net": model.state_dict(), "optimizer": optimizer.state_dict()}
    saved |= {"epoch": 3, "accuracy": np.float64(0.5)}
    expected = {f"state_dict.{k}": v for k, v in tensors.items()} | {f"net.{k}": v for k, v in saved["net"].items()}
    for number, state in saved["optimizer"]["state"].items():
        expected[f"optimizer.state.{number}.momentum_buffer"] = state["momentum_buffer"]
    expected = {k: v.detach() for k, v in expected.items()}
    expected = {k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in expected.items()}
    for is_zip in (True, False):
        for protocol in (2, 4):
            torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
            with open_archive(tmp_path / "x.pth") as archive:
                write.same(archive, expected)
    for is_zip in (True, False):
        torch.save(model, tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip)
        with pytest.raises(WeightFileError, match=r"asks for 'torch\.nn\.modules\.container\.Sequential'"):
            open_archive(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (write.one_torch(write.FLAT, byteorder=b"big"), "was written on a big-endian machine"),
        (
            write.one_torch(write.FLAT, **{"data.pkl": write.finished(b"N") + b"N"}),
            "its pickle has bytes behind its end",
        ),
        (write.one_torch(write.FLAT, **{"data.pkl": b"\x80\x02"}), "its pickle is cut"),
        (
            write.zipped({"x/data.pkl": bytes(40)}, compress_type=zipfile.ZIP_DEFLATED),
            "'x/data.pkl' compressed, as neither",
        ),
        (write.zipped({"x/data.pkl": b"N.", "../y": b""}), "has a member that names a place outside, '../y'"),
        (write.zipped({"x/data.pkl": b"N.", "/y": b""}), "has a member that names a place outside, '/y'"),
        (write.zipped({"x/data.pkl": b"N.", "a\\y": b""}), "has a member that names a place outside, 'a\\\\y'"),
    ],
    ids=write.by_sentence,
)
def test_torch_zips_refused(said, content, sentence):
    assert sentence in said(content)


PLAIN = write.zipped({"x/data.pkl": write.finished(b"}"), "x/version": b"3"})
CENTRAL, SECOND, END = PLAIN.index(b"PK\x01\x02"), PLAIN.rindex(b"PK\x01\x02"), PLAIN.index(b"PK\x05\x06")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PLAIN[:-1], "its zip has no end"),
        (PLAIN[:CENTRAL], "its zip has no end"),
        (PLAIN + b"x", "its zip does not end where it is said to"),
        (b"PK\x03\x04" + PLAIN, "its members are not where they are said to be"),
        (write.patched(END + 8, "<H", 1, PLAIN), "its zip lies in parts"),
        (write.patched(END + 4, "<H", 1, PLAIN), "its zip lies in parts"),
        (write.patched(END + 12, "<I", 1 << 31, PLAIN), "its members are not where they are said to be"),
        (write.patched(END + 16, "<I", 0, PLAIN), "its members are not where they are said to be"),
        (
            write.patched(END + 8, "<I", 1 | 1 << 16, PLAIN),
            "list of its zip's members does not end where it is said to",
        ),
        (write.patched(END + 8, "<I", 3 | 3 << 16, PLAIN), "its zip lists fewer members"),
        (write.patched(END + 8, "<I", 60_000 * 0x10001, PLAIN), "its zip lists 60,000 members"),
        (write.patched(CENTRAL, "<H", 0, PLAIN), "the list of its zip's members is cut or overwritten"),
        (write.patched(CENTRAL + 28, "<H", 5000, PLAIN), "the list of its zip's members is cut or overwritten"),
        (write.patched(CENTRAL + 8, "<H", 1, PLAIN), "'x/data.pkl' encrypted; save it without a password"),
        (write.patched(CENTRAL + 10, "<H", 8, PLAIN), "'x/data.pkl' compressed"),
        (write.patched(CENTRAL + 24, "<I", 1 << 31, PLAIN), "'x/data.pkl' has two sizes"),
        (write.patched(CENTRAL + 20, "<Q", 0x4000_0000_4000_0000, PLAIN), "is said to be 1,073,741,824 bytes"),
        (
            write.patched(CENTRAL + 42, "<I", 1 << 30, PLAIN),
            "the header of its zip's member 'x/data.pkl' is said to be",
        ),
        (write.patched(CENTRAL + 42, "<I", 1, PLAIN), "'x/data.pkl' is not the one in the list"),
        (write.patched(CENTRAL + 46, "<B", ord("y"), PLAIN), "'y/data.pkl' is not the one in the list"),
        (write.patched(CENTRAL + 46, "<B", 255, PLAIN), "a member whose name is not UTF-8 text"),
        (write.patched(8, "<H", 8, PLAIN), "'x/data.pkl' is not the one in the list"),
        (write.patched(6, "<H", 1, PLAIN), "'x/data.pkl' is not the one in the list"),
        (write.patched(CENTRAL + 20, "<Q", 20 | 20 << 32, PLAIN), "members of its zip overlap"),
        (write.patched(SECOND + 20, "<Q", 20 | 20 << 32, PLAIN), "members of its zip overlap"),
        (write.patched(CENTRAL + 16, "<I", 7, PLAIN), "'x/data.pkl' does not match its checksum"),
    ],
    ids=write.by_sentence,
)
def test_zips_refused(said, content, sentence):
    assert sentence in said(content)


def test_two_members_of_one_name(said):
    content = write.zipped({"x/data.pkl": b"N.", "y/data.pkl": write.finished(b"}")})
    assert "two members of the name 'x/data.pkl'" in said(content.replace(b"y/data.pkl", b"x/data.pkl"))


def test_zips_of_64_bits(opened, said):
    held = write.numbers(4)
    content = write.torch_zip(write.state({"x": held}), {"0": write.raw(held)})
    large = write.of_64_bits(content)
    with opened(large) as archive:
        write.same(archive, {"x": held})
    locator = large.index(b"PK\x06\x07")
    assert "the large end of its zip is not where" in said(write.patched(locator + 8, "<Q", 0, large))
    end = content.rindex(b"PK\x05\x06")
    (size,) = struct.unpack_from("<I", content, end + 12)
    # The sizes and the place of a member, in its extra field.
    place = content.index(b"PK\x01\x02")
    *_, name_size, extra, _, _, _, _, begin = struct.unpack_from("<4s6H3I5H2I", content, place)
    packed, unpacked = struct.unpack_from("<II", content, place + 20)
    field = struct.pack("<HHHHHQQQ", 9, 2, 0, 1, 24, unpacked, packed, begin)
    entry = bytearray(content[place : place + 46 + name_size])
    struct.pack_into("<II", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(field))
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    rest = content[place + 46 + name_size + extra : end]
    tail = write.patched(12, "<I", size + len(field), content[end:])
    with opened(content[:place] + entry + field + rest + tail) as archive:
        write.same(archive, {"x": held})
    short = struct.pack("<HHHHHQQQ", 9, 2, 0, 1, 8, unpacked, packed, begin)
    assert "the sizes of its zip's member 'archive/data.pkl' are cut" in said(
        content[:place] + entry + short + rest + tail
    )


def test_a_storage_is_checked_by_its_sum(opened):
    held = write.numbers(4)
    content = bytearray(write.torch_file({"x": held}))
    content[content.index(write.raw(held)) + 2] ^= 1
    with (
        opened(bytes(content)) as archive,
        pytest.raises(WeightFileError, match="data/0' does not match its checksum"),
    ):
        archive["x"].read()


STREAM = write.torch_stream(write.state({"x": write.HELD}), {"0": (4, write.raw(write.HELD))})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (STREAM[:-1], "its storage '0' is said to be 16 bytes"),
        (STREAM[:-17], "the length of the storage '0' is said to be 8 bytes"),
        (STREAM + b"x", "it has 1 bytes behind its end"),
        (STREAM[:100], "its pickle is cut"),
        (write.patched(len(STREAM) - 24, "<q", 3, STREAM), "is said to have 4 numbers and 3"),
        (write.patched(len(STREAM) - 24, "<q", -1, STREAM), "is said to have 4 numbers and -1"),
        (write.torch_stream(write.state({"x": write.HELD}), {}), "its list of storages is not that of its tensors"),
        (
            write.torch_stream(write.state({"x": write.HELD}), {"1": (4, write.raw(write.HELD))}),
            "is not that of its tensors",
        ),
        (write.torch_stream(b"}", {}, little=b"\x89"), "was written on a big-endian machine"),
        (STREAM.replace(b"M\xe9\x03.", b"M\xe8\x03."), "is of torch's protocol 1,000, where 1001 is known"),
    ],
    ids=write.by_sentence,
)
def test_torch_streams_refused(said, content, sentence):
    assert sentence in said(content)
