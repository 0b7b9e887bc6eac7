"""Weight files of every format: told by their content, read when asked for, and harmless when damaged."""

import json
import os
import struct
import tempfile
import tracemalloc

import fuzz_weight_files as fuzzer
import pytest
from helpers import weight_files as write

from keras_resnets.archives.archive import WeightFileError
from keras_resnets.archives.reading import open_archive
from keras_resnets.errors import ArgumentError


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (struct.pack("<Q", 1 << 33) + b"{", "its header has 8,589,934,592 bytes, where 16,777,216 are allowed"),
        (
            struct.pack("<QQQQQ", 0x112, 0, 1, 0, 1)[:-12] + struct.pack("<QQ", 1, 1 << 33),
            "name 0 has 8,589,934,592 bytes",
        ),
    ],
    ids=write.by_sentence,
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
        write.same(archive, held)
    with opened(write.torch_file(held), "x.keras") as archive:
        write.same(archive, held)


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
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 46830571\n",
            "is a pointer of Git LFS in place of the file that it stands for; fetch that with git lfs pull",
        ),
        (b"\x1f\x8b" + bytes(50), "is compressed with gzip; unpack it"),
        (bytes(257) + b"ustar" + bytes(250), "is a tar, as torch wrote it before 0.2"),
        (write.python_pickle({"x": 1}), "is a pickle of another program than torch.save"),
        (write.zipped({"a.txt": "x"}), "is a zip of another program than torch.save or Keras"),
        (write.zipped({"a/data.pkl": "x", "b/data.pkl": "x"}), "is a zip of another program"),
    ],
    ids=write.by_sentence,
)
def test_what_is_no_weight_file(said, content, sentence):
    assert sentence in said(content)


@pytest.mark.parametrize("reader", fuzzer.READERS)
def test_damaged_at_random(reader):
    found = fuzzer.fuzz(reader, 300, seed=1)
    assert not found["failures"]
    assert min(found["read"], found["refused"]) > 0
    assert found["sentences"] >= 8
