"""Reading HDF5 files in a process of limits: what h5py writes read back, and what is refused, by its sentence."""

import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import pytest
from helpers import weight_files as write

from keras_resnets.archives import hdf5_file
from keras_resnets.archives.archive import WeightFileError
from keras_resnets.archives.reading import open_archive


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
        write.same(archive, arrays)


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
        write.same(archive, {
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
    for content in (write.hdf5({"a/kernel": write.HELD}), write.keras(write.CONV, write.PLACE)):
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
        write.same(archive, {"a/kernel": held, "a/bias": held, "a/big": held})


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
        ("soft", "'a/loop' is a link, which may lead out of the file"),
        ("external", "'a/other' is a link, which may lead out of the file"),
        ("cycle", "in two ways"),
        ("twice", "in two ways"),
        ("virtual", "'v' lies in another file"),
        ("raw", "'v' lies in another file"),
        ("claims", "'v' has 4,398,046,511,104 bytes, of which 0 are in the file"),
        ("bomb", "arrays would have 16,777,"),
        ("part", "arrays would have 1,073,741,"),
        ("lzf", "'v' is not compressed with gzip"),
        ("text", "'v' is not an array of numbers"),
        ("records", "'v' is not an array of numbers"),
        ("type", "'v' is neither a group nor an array"),
        ("none", "'v' is not an array of numbers"),
        ("deep", "its groups are too deep"),
    ],
    ids=write.by_sentence,
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
        ("import os; os.abort()", "is damaged: libhdf5 exited with status -6; fetch it again."),
        ("import time; time.sleep(60)", "is damaged: libhdf5 did not finish within 1 seconds"),
        ("bytearray(1 << 40)", "is damaged: libhdf5 exited with status 1"),
        ("print('\\x1b[31m' + 'x' * 1000); raise SystemExit(3)", "cannot be read: ?[31mxxx"),
        ("raise SystemExit(3)", "cannot be read: nothing"),
        ("print('{}')", "is damaged: libhdf5 wrote no output"),
    ],
    ids=write.by_sentence,
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
