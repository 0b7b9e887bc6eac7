"""The checksum that an exported file carries: any changed bit is told, wherever the file was copied to."""

import random
import shutil

import pytest

from keras_resnets.export import carried, formats, integrity
from keras_resnets.prediction import opening
from keras_resnets.runs import Damaged

CARRIED = carried.Carried("net", ("cat", "dog"), None, False, "softmax")


def litert(path):
    path.write_bytes(random.Random(0).randbytes(3000))
    carried.into_litert(CARRIED, path)
    return path


def saved_model(path):
    (path / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (path / name).write_bytes(random.Random(name).randbytes(1000))
    carried.into_folder(CARRIED, path)
    return path


@pytest.mark.parametrize(
    ("make", "name"), [(litert, "net.tflite"), (saved_model, "net")], ids=["litert", "saved_model"]
)
def test_a_flipped_bit_of_an_exported_file_is_told(make, name, tmp_path):
    path = make(tmp_path / name)
    integrity.seal(path)
    integrity.check(path)
    moved = tmp_path / "elsewhere" / "renamed.tflite"
    moved.parent.mkdir()
    (shutil.copytree if path.is_dir() else shutil.copy)(path, moved)
    integrity.check(moved)
    rng = random.Random(1)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for _ in range(100):
        file = rng.choice(files)
        content = file.read_bytes()
        place = rng.randrange(len(content))
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
        start = content.find(integrity.EMPTY[:-64].encode())
        if 0 <= start <= place < start + len(integrity.EMPTY) - 64:
            integrity.check(path)  # the name of the checksum itself: taken as a file without one, and whole
        else:
            with pytest.raises(Damaged, match=r"is damaged: .* exported with. Export it again"):
                integrity.check(path)
        file.write_bytes(content)
    for file in files:
        file.write_bytes(b"" if file is files[-1] else file.read_bytes())
    integrity.check(moved)


def test_no_runtime_is_given_a_damaged_file(tmp_path, monkeypatch):
    path = litert(tmp_path / "net.tflite")
    integrity.seal(path)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    for form in formats.FORMATS.values():
        with pytest.raises(Damaged, match=r"net\.tflite"):
            form.open(path)
    with pytest.raises(Damaged, match=r"net\.tflite"):
        opening.opened(path)


def test_a_file_without_a_checksum_is_taken_as_it_is(tmp_path):
    path = tmp_path / "early.tflite"
    path.write_bytes(b"early")
    integrity.seal(path)
    integrity.check(path)
    assert path.read_bytes() == b"early"
