"""Readers of weight files: every format written by hand and read back, and what is refused, by its sentence."""

import collections
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile

import fuzz_weight_files as fuzzer
import h5py
import numpy as np
import pytest
import weight_files as write

from keras_resnets.errors import ArgumentError
from keras_resnets.weights import hdf5_file
from keras_resnets.weights.archive import WeightFileError
from keras_resnets.weights.reading import open_archive


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes."""

    def opened(content, name="weights.bin"):
        (tmp_path / name).write_bytes(content)
        return open_archive(tmp_path / name)

    return opened


@pytest.fixture
def said(tmp_path):
    """The sentence that refuses a file of these bytes, or one of its arrays."""

    def said(content):
        (tmp_path / "weights.bin").write_bytes(content)
        sentence = fuzzer.read_all(tmp_path / "weights.bin")
        assert sentence is not None
        assert sentence.startswith(f"'{tmp_path}/weights.bin' ")
        assert sentence.endswith(".")
        return sentence

    return said


def same(archive, arrays):
    assert archive.keys() == arrays.keys()
    for name, array in arrays.items():
        tensor = archive[name]
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype), name
        read = tensor.read()
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array, err_msg=name, strict=True)


def of_types(dtypes):
    """An array of each type, of no, one and many dimensions, and one that is empty."""
    shapes = [(2, 3, 1), (), (5,), (0, 4)]
    return {f"{dtype}.{n}": write.numbers(shape, dtype, n) for dtype in dtypes for n, shape in enumerate(shapes)}


BF16 = {f"bfloat16.{n}": "bfloat16" for n in range(4)}


def by_sentence(value):
    """Names a case by its sentence, for files are long."""
    return value[:50] if isinstance(value, str) else ""


# What is read


def test_safetensors(opened):
    arrays = of_types(write.SAFETENSORS)
    with opened(write.safetensors(arrays, {"format": "pt"}, BF16)) as archive:
        assert (archive.kind, archive.metadata, archive.path.name) == ("safetensors", {"format": "pt"}, "weights.bin")
        same(archive, arrays)


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


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "stream"])
def test_torch(opened, is_zip):
    arrays = of_types(write.TORCH)
    with opened(write.torch_file(arrays, is_zip, BF16)) as archive:
        assert archive.kind == "torch"
        same(archive, arrays)


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
            same(archive, {name: array for name, (array, _) in views.items()})


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
        same(archive, dict.fromkeys(names, held))


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
                same(archive, expected)
    for is_zip in (True, False):
        torch.save(model, tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip)
        with pytest.raises(WeightFileError, match=r"asks for 'torch\.nn\.modules\.container\.Sequential'"):
            open_archive(tmp_path / "x.pth")


@pytest.mark.parametrize("form", ["legacy", "v1", "v2", "v3"])
def test_mxnet(opened, form):
    arrays = {f"arg:{dtype}": write.numbers((2, 3, 1), dtype) for dtype in write.MXNET}
    arrays |= {"aux:bn_moving_mean": write.numbers((5,)), "arg:empty": np.empty((0, 2), "float32")}
    if form == "v3":
        arrays["arg:number"] = np.float32(7)[()] * np.ones((), "float32")
    with opened(write.mxnet(arrays, form)) as archive:
        assert archive.kind == "mxnet"
        same(archive, arrays)


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
        same(archive, {"0": np.empty(0, "float32"), "1": held})


@pytest.mark.parametrize("whole_model", [False, True])
@pytest.mark.parametrize("suffix", [":0", ""])
def test_hdf5(opened, whole_model, suffix):
    dtypes = ("float32", "float16", "float64", "int64", "uint8")
    arrays = {f"conv_{dtype}/kernel": write.numbers((2, 3), dtype) for dtype in dtypes}
    arrays |= {
        "bn/moving_mean": write.numbers(4),
        "bn/gamma": write.numbers(4, seed=1),
        "bn/none": np.zeros(0, "float32"),
    }
    with opened(write.hdf5(arrays, whole_model, suffix)) as archive:
        assert archive.kind == "hdf5"
        assert archive.metadata["keras_version"] == "2.4.0"
        assert json.loads(archive.metadata["layer_names"])[-2:] == ["conv_uint8", "bn"]
        same(archive, arrays)


def test_hdf5_names(opened):
    content = write.positions({
        "conv1/conv1_7/kernel:0": write.numbers(1, seed=1), "old/old_W:0": write.numbers(2, seed=2),
        "net/a/kernel": write.numbers(3, seed=3), "net/b/kernel": write.numbers(4, seed=4),
        "u1/dense/kernel": write.numbers(5, seed=5), "u1/other/bias": write.numbers(6, seed=6),
        "u2/dense/kernel": write.numbers(7, seed=7), "u2/other/bias": write.numbers(8, seed=8),
        "mixed/kernel": write.numbers(11), "mixed/inner/kernel": write.numbers(12),
        "alone": write.numbers(10), "drop/seed_generator/state": write.numbers(9, "int64"),
    })  # fmt: skip
    with opened(content) as archive:
        same(archive, {
            # The group is the layer, whatever TensorFlow's scope was called.
            "conv1/kernel": write.numbers(1, seed=1), "old/old_W": write.numbers(2, seed=2),
            # A layer of layers: theirs count.
            "a/kernel": write.numbers(3, seed=3), "b/kernel": write.numbers(4, seed=4),
            # Two of one name: the whole path.
            "u1/dense/kernel": write.numbers(5, seed=5), "u1/other/bias": write.numbers(6, seed=6),
            "u2/dense/kernel": write.numbers(7, seed=7), "u2/other/bias": write.numbers(8, seed=8),
            "alone": write.numbers(10), "mixed/kernel": write.numbers(11), "inner/kernel": write.numbers(12),
        })  # fmt: skip


def test_hdf5_names_that_meet(said):
    content = write.positions({"a/b/kernel:0": write.numbers(1), "a/b/kernel:1": write.numbers(2)})
    assert "2 of its arrays have the name 'a/b/kernel'" in said(content)


def test_a_temporary_folder_without_room(said, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    for content in (write.hdf5({"a/kernel": HELD}), write.keras(CONV, PLACE)):
        assert "it needs room in the temporary folder, No such file or directory; free some, or set TMPDIR" in said(
            content
        )


def test_hdf5_in_other_layouts(tmp_path):
    held = write.numbers((64, 8))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a/a/kernel:0", data=held, chunks=(16, 8), compression="gzip", shuffle=True)
        file.create_dataset("a/a/bias:0", data=held, chunks=(8, 8), fletcher32=True)
        file.create_dataset("a/a/big:0", data=held.astype(">f4"))
    with open_archive(tmp_path / "x.h5") as archive:
        same(archive, {"a/kernel": held, "a/bias": held, "a/big": held})


LAYERS = [
    write.layer("InputLayer", "in"), write.layer("Conv2D", "first"), write.layer("Conv2D", "second", use_bias=False),
    write.layer("BatchNormalization", "whole"), write.layer("BatchNormalization", "unscaled", scale=False),
    write.layer("BatchNormalization", "uncentred", center=False), write.layer("Dense", "fc"),
    write.layer("Mine", "own"), write.layer("DepthwiseConv2D", "deep", use_bias=False),
    write.layer("Functional", "inner", layers=[write.layer("Conv2D", "third"), write.layer("Conv2D", "first")]),
]  # fmt: skip
PLACES = {
    "layers/conv2d/vars": ["inner/../first/kernel", "first/bias"], "layers/conv2d_1/vars": ["second/kernel"],
    "layers/batch_normalization/vars": [f"whole/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")],
    "layers/batch_normalization_1/vars": [f"unscaled/{n}" for n in ("beta", "moving_mean", "moving_variance")],
    "layers/batch_normalization_2/vars": [f"uncentred/{n}" for n in ("gamma", "moving_mean", "moving_variance")],
    "layers/dense/vars": ["fc/kernel", "fc/bias"], "layers/mine/vars": ["own/vars/0"],
    "layers/mine/branch/vars": ["own/branch/vars/0"], "layers/depthwise_conv2d/vars": ["deep/kernel"],
    "layers/functional/layers/conv2d/vars": ["third/kernel", "third/bias"],
}  # fmt: skip


def keras_file(places, **more):
    held, expected = {}, {}
    for place, names in places.items():
        for number, name in enumerate(names):
            held[f"{place}/{number}"] = expected[name] = write.numbers((2, 3), seed=len(held))
    return held, expected, write.keras(LAYERS, held, **more)


def test_keras(opened):
    places = dict(PLACES)
    places["layers/conv2d/vars"] = ["first/kernel", "first/bias"]
    held, expected, _ = keras_file(places)
    # Neither is of the network's weights.
    extra = {"optimizer/vars/0": np.int64(3), "layers/mine/seed_generator/vars/0": np.zeros(2, "uint32")}
    with opened(write.keras(LAYERS, held | extra)) as archive:
        assert (archive.kind, archive.metadata) == ("keras", {"keras_version": "3.15.1"})
        same(archive, expected)


def test_keras_layers_of_one_name_have_their_places(opened):
    places = {"layers/conv2d/vars": ["first/kernel", "first/bias"]}
    held, expected, _ = keras_file(places)
    inner = {f"layers/functional/layers/conv2d_1/vars/{n}": write.numbers(4, seed=n) for n in range(2)}
    with opened(write.keras(LAYERS, held | inner)) as archive:
        same(archive, {**{place: held[place] for place in held}, **inner})
        assert not expected.keys() & archive.keys()


def test_keras_itself(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="a", use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(name="b", scale=False)(keras.layers.Dropout(0.1)(x))
    x = keras.layers.Conv2D(3, 1, name="c")(x)
    outputs = keras.layers.Dense(2, name="d")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    for seed, weight in enumerate(model.weights):
        weight.assign(write.numbers(weight.shape, seed=seed))
    expected = {f"{w.path.split('/')[-2]}/{w.name}": np.asarray(w) for w in model.weights if "seed" not in w.path}
    for name in ("net.keras", "net.h5"):
        model.save(tmp_path / name)
        with open_archive(tmp_path / name) as archive:
            same(archive, expected)
    model.save_weights(tmp_path / "net.weights.h5")
    with open_archive(tmp_path / "net.weights.h5") as archive:
        assert archive.kind == "keras"
        np.testing.assert_array_equal(archive["layers/conv2d/vars/0"].read(), expected["a/kernel"])


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (struct.pack("<Q", 1 << 33) + b"{", "its header has 8,589,934,592 bytes, where 16,777,216 are allowed"),
        (
            struct.pack("<QQQQQ", 0x112, 0, 1, 0, 1)[:-12] + struct.pack("<QQ", 1, 1 << 33),
            "name 0 has 8,589,934,592 bytes",
        ),
    ],
    ids=by_sentence,
)
def test_a_large_file_is_not_read_by_its_word(tmp_path, head, sentence):
    # There is room for what the file says; it takes no place, and would take eight gigabytes of memory.
    path = tmp_path / "x"
    path.write_bytes(head)
    os.truncate(path, 9 << 30)
    tracemalloc.start()
    with pytest.raises(WeightFileError, match=sentence):
        open_archive(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_the_suffix_tells_nothing(opened):
    held = {"x": write.numbers(3)}
    with opened(write.safetensors(held), "x.pth") as archive:
        same(archive, held)
    with opened(write.torch_file(held), "x.keras") as archive:
        same(archive, held)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    # The data of a sparse file: a gigabyte that is nowhere.
    header = json.dumps({"x": {"dtype": "U8", "shape": [1 << 30], "data_offsets": [0, 1 << 30]}})
    path = tmp_path / "x"
    path.write_bytes(write.headed(header))
    os.truncate(path, path.stat().st_size + (1 << 30))
    with open_archive(path) as archive:
        assert archive["x"].shape == (1 << 30,)
    with pytest.raises(WeightFileError, match="was closed; read its arrays inside the with block"):
        archive["x"].read()


def test_a_file_that_is_cut_while_it_is_open(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(write.safetensors({"x": write.numbers(1000)}))
    with open_archive(path) as archive:
        os.truncate(path, 500)
        with pytest.raises(WeightFileError, match="was cut while it was read; fetch it again"):
            archive["x"].read()


def test_nothing_stays_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "x.h5"
    path.write_bytes(write.hdf5({"a/kernel": write.numbers(3)}))
    with open_archive(path) as archive:
        assert os.listdir(tmp_path) == ["x.h5"]
        assert archive["a/kernel"].read().shape == (3,)


# What is refused


def test_paths(tmp_path):
    with pytest.raises(ArgumentError, match="path must be the path of a weight file; got a int"):
        open_archive(3)
    with pytest.raises(WeightFileError, match=r"There is no weight file at '.*/none\.pth'; check the path"):
        open_archive(tmp_path / "none.pth")
    with pytest.raises(WeightFileError, match="is a folder; give a file"):
        open_archive(tmp_path)
    with pytest.raises(WeightFileError, match="cannot be opened: embedded null byte; check the path"):
        open_archive("a\0b")
    (tmp_path / "empty").touch()
    with pytest.raises(WeightFileError, match="is empty; fetch it again"):
        open_archive(tmp_path / "empty")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightFileError, match="is a device; give a file"):
        open_archive(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello, this is text", "is of no known kind; give a .safetensors, .pth, .params, .h5 or .keras file"),
        (b"x", "is of no known kind"),
        (b"<!DOCTYPE html><html>", "is a web page in place of a weight file; fetch the file itself"),
        (b"\x1f\x8b" + bytes(50), "is compressed with gzip; unpack it"),
        (bytes(257) + b"ustar" + bytes(250), "is a tar, as torch wrote it before 0.2"),
        (write.python_pickle({"x": 1}), "is a pickle of another program than torch.save"),
        (write.zipped({"a.txt": "x"}), "is a zip of another program than torch.save or Keras"),
        (write.zipped({"a/data.pkl": "x", "b/data.pkl": "x"}), "is a zip of another program"),
    ],
    ids=by_sentence,
)
def test_what_is_no_weight_file(said, content, sentence):
    assert sentence in said(content)


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
        ({"x": {**ONE, "data_offsets": [True, 8]}}, EIGHT, "no two numbers for its place"),
        ({"x": {**ONE, "data_offsets": [0, 8, 9]}}, EIGHT, "no two numbers for its place"),
        ({"x": {**ONE, "shape": [2.0]}}, EIGHT, "has a side of 2"),
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
        ({"x": {**ONE, "shape": 2}}, EIGHT, "has no list for its shape"),
        ({"x": {**ONE, "dtype": "F8_E4M3"}}, EIGHT, "of the type 'F8_E4M3'; save it as one of F64, F32"),
        ({"x": {**ONE, "dtype": []}}, EIGHT, "of the type a list"),
        ({"x": {**ONE, "more": 1}}, EIGHT, "does not have dtype, shape and data_offsets"),
        ({"x": 3}, b"", "does not have dtype, shape and data_offsets"),
        ({"x": ONE, "y": ONE}, EIGHT, "its arrays do not lie in a row"),
        ({"x": ONE, "y": {**ONE, "data_offsets": [12, 20]}}, bytes(20), "its arrays do not lie in a row"),
        ({"x" * 1001: ONE}, EIGHT, "has 1,001 characters"),
        ({"__metadata__": {"a": 1}}, b"", "its metadata are no strings"),
        (
            {f"{n}": {**ONE, "shape": [0], "data_offsets": [0, 0]} for n in range(50_001)},
            b"",
            "has more than 50,000 arrays",
        ),
    ],
    ids=by_sentence,
)
def test_safetensors_refused(said, header, body, sentence):
    assert sentence in said(write.headed(json.dumps(header), body))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (struct.pack("<Q", 1 << 60) + b"{}", "its header is said to be 1,152,921,504,606,846,976 bytes at 8 of 10"),
        (write.headed("{"), "its header is no JSON"),
        (write.headed('{"a"' + "\xff"), "its header is no JSON"),
        (write.headed("{" + '"a":{' * 100_000), "its header is no JSON"),
        (write.headed('{"a":' + "[" * 100_000), "its header is no JSON"),
        (write.headed('{"a":' + "9" * 5000 + "}"), "its header is no JSON"),
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
    ids=by_sentence,
)
def test_safetensors_headers_refused(said, content, sentence):
    assert sentence in said(content)


HELD = write.numbers(4)


def one_torch(value, storages=None, **more):
    return write.torch_zip(value, {"0": write.raw(HELD)} if storages is None else storages, **more)


def laughs(count, first=None):
    """Dictionaries that hold the one before twice: 2^count names."""
    out = (first or write.tensor("0", HELD)) + b"q\x00"
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


FLAT = write.storage("0", "float32", 4)
PICKLES = {
    "os.system": (write.called("os", "system", write.text("touch canary")), "asks for 'os.system', which is no part"),
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
    "call of a value": (write.whole(3) + b")R", "calls what is no name"),
    "call of a storage": (b"ctorch\nFloatStorage\n)R", "calls 'torch.FloatStorage'"),
    "call with much": (b"ctorch\nSize\n(" + b"N" * 17 + b"tR", "or with what are no arguments"),
    "build of a dictionary": (b"}}b", "sets what an object has inside"),
    "build of a name": (b"ctorch\nSize\n}b", "sets what an object has inside"),
    "far memo": (b"r\xff\xff\xff\xff", "is none"),
    "memo of nothing": (b"j\xff\xff\xff\xff", "is none"),
    "long bytes": (b"\x8e" + struct.pack("<Q", 1 << 60), "is cut"),
    "long text": (b"X\xff\xff\xff\xff", "is cut"),
    "long string": (b"T\xff\xff\xff\xff", "is cut"),
    "long number": (b"\x8a\x11" + bytes(17), "has a number of 17 bytes"),
    "longer number": (b"\x8b" + struct.pack("<i", 1 << 30), "has the instruction b'\\x8b'"),
    "no text": (b"X\x01\x00\x00\x00\xff", "is none"),
    "no end of line": (b"c" + b"a" * 5000, "is none"),
    "empty stack": (b"0", "has the instruction b'0'"),
    "two values": (b"NN", "leaves something behind"),
    "a mark": (b"(", "leaves something behind"),
    "no value": (b"", "is none"),
    "mark as value": (b"}(Ns", "is none"),
    "half a pair": (b"}(Nu", "is none"),
    "append to none": (b"NNa", "is none"),
    "key": (b"}" + b"NNs", "has a dictionary with the key None"),
    "large key": (
        b"}\x8a\x08" + b"\xff" * 7 + b"\x1f" + b"Ns",
        "has a dictionary with the key 2,305,843,009,213,693,951",
    ),
    "negative key": (b"}\x8a\x01\xffNs", "has a dictionary with the key -1"),
    "protocol": (b"\x80\x09N", "is of protocol 9"),
    "persistent": (write.text("module") + b"Q", "its pickle refers to 'module'"),
    "persistent kind": (write.sequence([write.text("module")] + [b"N"] * 4) + b"Q", "its pickle refers to 'module'"),
    "storage kind": (
        write.sequence([write.text("storage"), b"N", write.text("0"), b"N", write.whole(4)]) + b"Q",
        "a storage that",
    ),
    "storage count": (write.storage("0", "float32", -1), "has a storage that is none"),
    "storage size": (write.storage("0", "float32", 5), "its storage '0' has 16 bytes, where 20 are needed"),
    "storage too large": (write.storage("0", "float32", 3), "its storage '0' has 16 bytes, where 12 are needed"),
    "storage lacks": (write.storage("../data.pkl", "float32", 4), "it lacks the storage '../data.pkl'"),
    "storage of two kinds": (write.sequence([FLAT, write.storage("0", "int32", 4)]), "is said to be of two kinds"),
    "storage in another": (write.storage("0", "float32", 4, write.sequence([b"N"])), "has a storage within another"),
    "out of the end": (write.rebuilt(FLAT, 1, (4,), (1,)), "a tensor reaches out of its storage"),
    "out by strides": (write.rebuilt(FLAT, 0, (2,), (4,)), "a tensor reaches out of its storage"),
    "out of the front": (write.rebuilt(FLAT, -1, (2,), (1,)), "a tensor reaches out of its storage"),
    "negative stride": (write.rebuilt(FLAT, 3, (2,), (-1,)), "a tensor reaches out of its storage"),
    "negative size": (write.rebuilt(FLAT, 0, (-1,), (1,)), "has a side of -1"),
    "repeated": (
        write.rebuilt(FLAT, 0, (1 << 30,), (0,)),
        "repeats the numbers of its storage; save its .contiguous()",
    ),
    "strides lack": (write.rebuilt(FLAT, 0, (2, 2), (1,)), "has a tensor that is none"),
    "no storage": (write.rebuilt(b"N", 0, (2,), (1,)), "has a tensor that is none"),
    "offset": (
        write.called("torch._utils", "_rebuild_tensor", FLAT, b"\x88", write.sequence([]), write.sequence([])),
        "a tensor that",
    ),
    "few arguments": (write.called("torch._utils", "_rebuild_tensor", FLAT), "is none"),
    "parameter": (write.called("torch._utils", "_rebuild_parameter", b"N"), "has a parameter that is none"),
    "size": (write.called("torch", "Size", b"N"), "has a size that is none"),
    "long size": (write.called("torch", "Size", write.sequence([write.whole(1)] * 33)), "has a size that is none"),
    "ordered": (write.called("collections", "OrderedDict", b"N"), "has a dictionary that is none"),
    "ordered key": (
        write.called("collections", "OrderedDict", b"]" + write.sequence([b"N", b"N"]) + b"a"),
        "has a key that is none",
    ),
    "laughs": (laughs(60), "it has more than 50,000 arrays"),
    "hollow laughs": (laughs(60, b"}"), "has more than 200,000 entries in its dictionaries"),
    "deep": (b"]" * 100_000 + b"a" * 99_999, "has dictionaries in more than 32 others"),
    "deep tuples": (b"N" + b"\x85" * 100_000, "has dictionaries in more than 32 others"),
    "itself": (b"}q\x00" + write.text("a") + b"h\x00s", "has dictionaries in more than 32 others"),
    "instructions": (b"N" * 1_000_001, "has more than 1,000,000 instructions"),
    "long name": (write.mapping({"a" * 1001: write.tensor("0", HELD)}), "has 1,001 characters"),
    "names meet": (
        write.mapping({"a.b": write.tensor("0", HELD), "a": write.mapping({"b": write.tensor("0", HELD)})}),
        "it has two arrays of the name 'a.b'",
    ),
    "no name": (write.tensor("0", HELD), "is one tensor without a name; save a dictionary of tensors"),
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
    assert sentence in said(one_torch(value))
    if "storage" not in name:
        storages = {"0": (4, write.raw(HELD))} if write.text("storage") in value else {}
        assert sentence in said(write.torch_stream(value, storages))
    assert not (tmp_path / "canary").exists()


def test_pickles_of_python_refused(said):
    class Bomb:
        def __reduce__(self):
            return os.system, ("touch canary",)

    for value in (Bomb(), collections.defaultdict(list), {1, 2}, complex(1, 2)):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            content = write.zipped({"x/data.pkl": pickle.dumps(value, protocol)})
            assert "cannot be read: its pickle" in said(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (one_torch(FLAT, byteorder=b"big"), "was written on a big-endian machine"),
        (one_torch(FLAT, **{"data.pkl": write.finished(b"N") + b"N"}), "its pickle has bytes behind its end"),
        (one_torch(FLAT, **{"data.pkl": b"\x80\x02"}), "its pickle is cut"),
        (
            write.zipped({"x/data.pkl": bytes(40)}, compress_type=zipfile.ZIP_DEFLATED),
            "'x/data.pkl' compressed, as neither",
        ),
        (write.zipped({"x/data.pkl": b"N.", "../y": b""}), "has a member that names a place outside, '../y'"),
        (write.zipped({"x/data.pkl": b"N.", "/y": b""}), "has a member that names a place outside, '/y'"),
        (write.zipped({"x/data.pkl": b"N.", "a\\y": b""}), "has a member that names a place outside, 'a\\\\y'"),
    ],
    ids=by_sentence,
)
def test_torch_zips_refused(said, content, sentence):
    assert sentence in said(content)


PLAIN = write.zipped({"x/data.pkl": write.finished(b"}"), "x/version": b"3"})
CENTRAL, SECOND, END = PLAIN.index(b"PK\x01\x02"), PLAIN.rindex(b"PK\x01\x02"), PLAIN.index(b"PK\x05\x06")


def patched(at, form, value, content=PLAIN):
    out = bytearray(content)
    struct.pack_into(form, out, at, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PLAIN[:-1], "its zip has no end"),
        (PLAIN[:CENTRAL], "its zip has no end"),
        (PLAIN + b"x", "its zip does not end where it is said to"),
        (b"PK\x03\x04" + PLAIN, "its members are not where they are said to be"),
        (patched(END + 8, "<H", 1), "its zip lies in parts"),
        (patched(END + 4, "<H", 1), "its zip lies in parts"),
        (patched(END + 12, "<I", 1 << 31), "its members are not where they are said to be"),
        (patched(END + 16, "<I", 0), "its members are not where they are said to be"),
        (patched(END + 8, "<I", 1 | 1 << 16), "list of its zip's members does not end where it is said to"),
        (patched(END + 8, "<I", 3 | 3 << 16), "its zip lists fewer members"),
        (patched(END + 8, "<I", 60_000 * 0x10001), "its zip lists 60,000 members"),
        (patched(CENTRAL, "<H", 0), "the list of its zip's members is cut or overwritten"),
        (patched(CENTRAL + 28, "<H", 5000), "the list of its zip's members is cut or overwritten"),
        (patched(CENTRAL + 8, "<H", 1), "'x/data.pkl' encrypted; save it without a password"),
        (patched(CENTRAL + 10, "<H", 8), "'x/data.pkl' compressed"),
        (patched(CENTRAL + 24, "<I", 1 << 31), "'x/data.pkl' has two sizes"),
        (patched(CENTRAL + 20, "<Q", 0x4000_0000_4000_0000), "is said to be 1,073,741,824 bytes"),
        (patched(CENTRAL + 42, "<I", 1 << 30), "the header of its zip's member 'x/data.pkl' is said to be"),
        (patched(CENTRAL + 42, "<I", 1), "'x/data.pkl' is another one in its place"),
        (patched(CENTRAL + 46, "<B", ord("y")), "'y/data.pkl' is another one in its place"),
        (patched(CENTRAL + 46, "<B", 255), "a member whose name is no text"),
        (patched(8, "<H", 8), "'x/data.pkl' is another one in its place"),
        (patched(6, "<H", 1), "'x/data.pkl' is another one in its place"),
        (patched(CENTRAL + 20, "<Q", 20 | 20 << 32), "members of its zip overlap"),
        (patched(SECOND + 20, "<Q", 20 | 20 << 32), "members of its zip overlap"),
        (patched(CENTRAL + 16, "<I", 7), "'x/data.pkl' is not what its check sum says"),
    ],
    ids=by_sentence,
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
        same(archive, {"x": held})
    locator = large.index(b"PK\x06\x07")
    assert "the large end of its zip is not where" in said(patched(locator + 8, "<Q", 0, large))
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
    tail = patched(12, "<I", size + len(field), content[end:])
    with opened(content[:place] + entry + field + rest + tail) as archive:
        same(archive, {"x": held})
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
        pytest.raises(WeightFileError, match="data/0' is not what its check sum says"),
    ):
        archive["x"].read()


STREAM = write.torch_stream(write.state({"x": HELD}), {"0": (4, write.raw(HELD))})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (STREAM[:-1], "its storage '0' is said to be 16 bytes"),
        (STREAM[:-17], "the length of the storage '0' is said to be 8 bytes"),
        (STREAM + b"x", "it has 1 bytes behind its end"),
        (STREAM[:100], "its pickle is cut"),
        (patched(len(STREAM) - 24, "<q", 3, STREAM), "is said to have 4 numbers and 3"),
        (patched(len(STREAM) - 24, "<q", -1, STREAM), "is said to have 4 numbers and -1"),
        (write.torch_stream(write.state({"x": HELD}), {}), "its list of storages is not that of its tensors"),
        (write.torch_stream(write.state({"x": HELD}), {"1": (4, write.raw(HELD))}), "is not that of its tensors"),
        (write.torch_stream(b"}", {}, little=b"\x89"), "was written on a big-endian machine"),
        (STREAM.replace(b"M\xe9\x03.", b"M\xe8\x03."), "is of torch's protocol 1,000, where 1001 is known"),
    ],
    ids=by_sentence,
)
def test_torch_streams_refused(said, content, sentence):
    assert sentence in said(content)


PARAMS = write.mxnet({"arg:x": HELD})


def params(array, count=1, names=(b"x",)):
    told = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return struct.pack("<QQQ", 0x112, 0, count) + array + struct.pack("<Q", len(names)) + told


GOOD = write.mxnet_array(HELD, "v2")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PARAMS[:-1], "name 0 is said to be 5 bytes"),
        (PARAMS[:60], "array 0, of shape '4', is said to be 16 bytes"),
        (PARAMS[:20], "the number of arrays is said to be 8 bytes"),
        (PARAMS + b"x", "it has 1 bytes behind its end"),
        (patched(8, "<Q", 1, PARAMS), "the second word of an MXNet file is 0"),
        (patched(16, "<Q", 1 << 60, PARAMS), "it is said to have 1,152,921,504,606,846,976 arrays"),
        (struct.pack("<QQQ", 0x112, 0, 50_001) + bytes(4 * 50_001), "it has 50,001 arrays"),
        (params(struct.pack("<Ii", 0xF993FAC9, 1)), "array 0 in sparse storage, row_sparse; save it dense"),
        (params(struct.pack("<Ii", 0xF993FACA, 2)), "in sparse storage, csr"),
        (params(struct.pack("<Ii", 0xF993FAC9, 9)), "in sparse storage, of the kind 9"),
        (params(struct.pack("<III", 0xF993FAC9, 0, 33)), "have 33 dimensions, or to be of a form not known"),
        (params(struct.pack("<I", 33)), "have 33 dimensions, or to be of a form not known"),
        (params(struct.pack("<II", 0xF993FACB, 1) + bytes(40)), "of a form not known"),
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
        (params(GOOD, 1, (b"\xff",)), "name 0 is no text"),
        (params(GOOD, 1, (b"x" * 1001,)), "has 1,001 characters"),
        (params(GOOD)[:-9] + struct.pack("<Q", 1 << 63), "name 0 is said to be 9,223,372,036,854,775,808 bytes"),
    ],
    ids=by_sentence,
)
def test_mxnet_refused(said, content, sentence):
    assert sentence in said(content)


def hostile(path, name):
    """Writes an HDF5 file that asks for too much."""
    with h5py.File(path, "w", track_order=False) as file:
        file["a/kernel"] = write.numbers(4)
        if name == "soft":
            file["a/loop"] = h5py.SoftLink("/a")
        elif name == "external":
            file["a/other"] = h5py.ExternalLink("/etc/passwd", "/")
        elif name == "cycle":
            file["a/b/c"] = file["a"]
        elif name == "twice":
            file["b"] = file["a/kernel"]
        elif name == "virtual":
            layout = h5py.VirtualLayout((4,), "float32")
            layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
            file.create_virtual_dataset("v", layout)
        elif name == "raw":
            file.create_dataset("v", (4,), "float32", external=[("/etc/passwd", 0, 16)])
        elif name == "claims":
            file.create_dataset("v", (1 << 40,), "float32")
        elif name == "bomb":
            file.create_dataset("v", (1 << 24,), "uint8", chunks=(1 << 24,), compression="gzip")[:] = 0
        elif name == "part":
            file.create_dataset("v", (4,), "uint8", chunks=(1 << 30,), maxshape=(None,), compression="gzip")
        elif name == "lzf":
            file.create_dataset("v", data=np.zeros(100), compression="lzf")
        elif name == "text":
            file["v"] = "text"
        elif name == "records":
            file["v"] = np.zeros(3, [("a", "f4")])
        elif name == "type":
            file["v"] = np.dtype("float32")
        elif name == "none":
            file["v"] = h5py.Empty("float32")
        elif name == "deep":
            file["/".join("g" * 40)] = write.numbers(3)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("soft", "'a/loop' is a link to what may lie elsewhere"),
        ("external", "'a/other' is a link to what may lie elsewhere"),
        ("cycle", "in two ways"),
        ("twice", "in two ways"),
        ("virtual", "'v' lies in another file"),
        ("raw", "'v' lies in another file"),
        ("claims", "'v' has 4,398,046,511,104 bytes, of which 0 are in the file"),
        ("bomb", "arrays would have 16,777,"),
        ("part", "arrays would have 1,073,741,"),
        ("lzf", "'v' is packed otherwise than by gzip"),
        ("text", "'v' is no array of numbers"),
        ("records", "'v' is no array of numbers"),
        ("type", "'v' is neither a group nor an array"),
        ("none", "'v' is no array of numbers"),
        ("deep", "its groups are too deep"),
    ],
    ids=by_sentence,
)
def test_hdf5_refused(tmp_path, said, name, sentence):
    hostile(tmp_path / "weights.bin", name)
    assert sentence in said((tmp_path / "weights.bin").read_bytes())


def test_hdf5_cut(said):
    content = write.hdf5({"a/kernel": write.numbers((100, 100))})
    assert "cannot be read: libhdf5 says OSError" in said(content[:1000])


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import os; os.abort()", "is damaged: libhdf5 ended with -6 on it; fetch it again."),
        ("import time; time.sleep(60)", "is damaged: libhdf5 did not come to an end with it in 1 seconds"),
        ("bytearray(1 << 40)", "is damaged: libhdf5 ended with 1 on it"),
        ("print('\\x1b[31m' + 'x' * 1000); raise SystemExit(3)", "cannot be read: ?[31mxxx"),
        ("raise SystemExit(3)", "cannot be read: nothing"),
        ("print('{}')", "is damaged: libhdf5 left nothing of it"),
    ],
    ids=by_sentence,
)
def test_whatever_becomes_of_the_process(tmp_path, monkeypatch, program, sentence):
    (tmp_path / "child.py").write_text(program)
    (tmp_path / "x.h5").write_bytes(write.hdf5({"a/kernel": write.numbers(3)}))
    monkeypatch.setattr(hdf5_file.hdf5_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(hdf5_file, "_SECONDS", 1)
    with pytest.raises(WeightFileError) as caught:
        open_archive(tmp_path / "x.h5")
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_process_has_limits():
    """Memory and time are bounded where libhdf5 works."""
    begin = f"import sys; sys.path.insert(0, {os.path.dirname(hdf5_file.__file__)!r})\n"
    begin += "import hdf5_child; hdf5_child.limit(0)\n"
    greedy = subprocess.run([sys.executable, "-c", begin + "bytearray(1 << 30)"], capture_output=True, check=False)
    assert b"MemoryError" in greedy.stderr
    limits = "import resource as r; print([r.getrlimit(x)[0] for x in (r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_CORE)])"
    told = subprocess.run([sys.executable, "-c", begin + limits], capture_output=True, check=True)
    assert json.loads(told.stdout) == [10, (2 << 20) + (64 << 20), 0]


PLACE = {"layers/conv2d/vars/0": HELD}
CONV = [write.layer("Conv2D", "a", use_bias=False)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (write.zipped({"config.json": "{}"}), "its zip lacks model.weights.h5; save the model with model.save(file)"),
        (write.keras(CONV, PLACE, **{"config.json": "{"}), "config.json is no JSON"),
        (write.keras(CONV, PLACE, **{"config.json": "[]"}), "config.json is no JSON object"),
        (write.keras(CONV, PLACE, **{"config.json": "{}"}), "config.json has None as a layer's config"),
        (write.keras(CONV, PLACE, about="["), "metadata.json is no JSON"),
        (write.keras([3], PLACE), "config.json has a layer that is no JSON object"),
        (write.keras([{"class_name": 3}], PLACE), "config.json has 3 as a layer's class_name"),
        (write.keras([{"class_name": "A", "config": {}}], PLACE), "config.json has None as a layer's name"),
        (
            write.keras([write.layer("Conv2D", "a")], PLACE),
            "the layer 'a' does not have kernel, bias, as in config.json",
        ),
        (write.keras(CONV, {"layers/conv2d/vars/1": HELD}), "the layer 'a' does not have kernel, as in config.json"),
        (write.keras(CONV, PLACE, **{"model.weights.h5": b"text"}), "cannot be read: libhdf5 says OSError"),
    ],
    ids=by_sentence,
)
def test_keras_refused(said, content, sentence):
    assert sentence in said(content)


def test_keras_models_in_models(said):
    layer = write.layer("Conv2D", "a")
    for _ in range(40):
        layer = write.layer("Functional", "f", layers=[layer])
    assert "has models in more than 32 others" in said(write.keras([layer], PLACE))


def test_keras_of_unknown_models_keep_places(opened):
    config = json.dumps({"class_name": "Mine", "config": {"depth": 3}})
    held = {"branch/vars/0": HELD, "optimizer/vars/0": HELD}
    with opened(write.keras([], held, **{"config.json": config})) as archive:
        same(archive, {"branch/vars/0": HELD})


@pytest.mark.parametrize("reader", fuzzer.READERS)
def test_damaged_at_random(reader):
    found = fuzzer.fuzz(reader, 300, seed=1)
    assert not found["failures"]
    assert min(found["read"], found["refused"]) > 0
    assert found["sentences"] >= 8
