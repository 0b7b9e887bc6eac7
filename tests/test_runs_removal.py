"""What stands in the place of a file of ours and is someone else's is never removed: it is told, or refused by name."""

import ctypes
import errno
import os
import re
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from helpers.notices import told

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.export import carried, formats, integrity
from keras_resnets.instruments import evaluation
from keras_resnets.instruments.evaluation import Kept
from keras_resnets.pruning import pruning
from keras_resnets.reports.events import Events
from keras_resnets.runs import UNFINISHED, Damaged, Run, read_json, removal, sound, sums, whole, write_json, writing
from keras_resnets.runs.run import MEASURED, check_usable
from keras_resnets.search.journal import Journal


def precious(place):
    """Puts a folder with something in it in the place of a file."""
    place.mkdir(parents=True)
    (place / "precious").write_text("kept")
    return place / "precious"


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_of_a_folder_only_what_was_written_there_goes(tmp_path):
    for name in ("a.npy", "b/.sums/a.npy.json", "b/a.npy", "b/mine.txt", "b/a.npy.bak"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(name)
    (tmp_path / "own" / "c" / "empty").mkdir(parents=True)
    (tmp_path / "else").write_text("")
    (tmp_path / "own" / "b" / "link.npy").symlink_to(tmp_path / "else")
    pattern = r"(?:b/)?(?:\w+\.npy|\.sums/\w+\.npy\.json)"
    with told("a.npy.bak' was not written by this package, and stays where it is."):
        removal.remove(tmp_path / "own", pattern)
    assert files(tmp_path / "own") == ["b/a.npy.bak", "b/link.npy", "b/mine.txt"]
    assert (tmp_path / "own" / "b" / "link.npy").is_symlink()
    assert not (tmp_path / "own" / "c").exists()
    for name in ("a.npy.bak", "mine.txt", "link.npy"):
        (tmp_path / "own" / "b" / name).unlink()
    removal.remove(tmp_path / "own", pattern)
    removal.remove(tmp_path / "own", pattern)  # it is gone already
    assert [path.name for path in tmp_path.iterdir()] == ["else"]
    with told("else' was not written by this package"):  # where a folder belongs
        removal.remove(tmp_path / "else", pattern)
    assert (tmp_path / "else").exists()
    removal.remove(tmp_path / "else")
    assert not (tmp_path / "else").exists()


@pytest.mark.parametrize("place", ["best.safetensors", ".alive", "best.safetensors.json.part"])
def test_a_folder_in_a_half_written_file_stays_and_is_told(place, tmp_path):
    """A run and the next write of that file sweep what a kill left; the rest of it goes."""
    for folder, sweep in (
        (tmp_path / "run" / "checkpoints", lambda: Run(tmp_path / "run", {"a": 1}).__enter__().__exit__()),
        (tmp_path / "file", lambda: write_json(tmp_path / "file" / "best.safetensors", {})),
    ):
        left = folder / ".best.safetensors.3_f8eog_"
        kept = precious(left / place)
        names = {"best.safetensors", ".alive", "best.safetensors.json.part", "tmpa1b2c3d4", ".tmpKmS9jZ"} - {place}
        for name in names:
            (left / name).write_text("half")
        if "run" in folder.parts:
            write_json(tmp_path / "run" / "run.json", {"asked": {"a": 1}})
        with told(f"{str(kept)!r} was not written by this package, and stays where it is"):
            sweep()
        assert kept.read_text() == "kept"
        assert files(left) == [f"{place}/precious"]


def names_made(folder, write):
    """The names of all that appears in a folder while it is written to, also of what is gone again, from Linux."""
    libc, create, moved = ctypes.CDLL(None, use_errno=True), 0x100, 0x80
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), create | moved) > 0
    write()
    events, names = os.read(watch, 1 << 16), set()
    os.close(watch)
    while events:
        length = struct.unpack_from("iIII", events)[3]
        names.add(events[16 : 16 + length].rstrip(b"\0").decode())
        events = events[16 + length :]
    return names


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_what_libraries_write_under_another_name_first_is_known(tmp_path):
    """A kill at that moment leaves it, and it is not taken for a user's."""
    arrays, model = {"a": np.zeros(3, "float32")}, kr.build("resnet8", (8, 8, 1))
    checkpoint, network, exported = (tmp_path / n / n for n in ("a.safetensors", "a.keras", "net"))
    for path in (checkpoint, network, exported):
        path.parent.mkdir()
    exported.mkdir()
    named = names_made(checkpoint.parent, lambda: safetensors.numpy.save_file(arrays, checkpoint))
    named |= names_made(network.parent, lambda: model.save(network))
    assert len(named) > 2, "nothing was written under another name"
    own = removal.half_written(r"a\.(?:safetensors|keras)")
    assert not [name for name in named if not re.fullmatch(own, name)]
    found = names_made(exported, lambda: tf.saved_model.save(tf.Module(), str(exported)))
    assert len(found) > 5
    own = rf"(?:{formats.SAVED_MODEL})|variables|assets"
    assert not [name for name in found if not re.fullmatch(own, name)]


def test_what_a_living_process_is_writing_is_not_swept_by_a_run(tmp_path):
    with Run(tmp_path, {}):
        pass
    with whole(tmp_path / "model.keras") as part:
        part.write_text("half")
        with Run(tmp_path, {}):
            pass
        assert part.read_text() == "half"


def test_a_folder_among_the_measurements_of_a_study_stays(tmp_path):
    kept = Kept(tmp_path, "lesion", type("Model", (), {"spec": 1})())
    file = kept.file(0, [1.0], None)
    for number in range(3):
        kept.put(file.with_name(f"{number}_{file.name.partition('_')[2]}"), [1.0])
    left = file.parent / f".{file.name}.abcdefgh"
    left.mkdir()
    for name in (file.name, ".alive", f"{file.name}.json.part"):
        (left / name).write_text("half")
    mine = precious(file.parent / ".sums" / f"9_{file.name.partition('_')[2]}.json")
    with told(f"{str(mine)!r} was not written by this package"):
        removal.remove(tmp_path / UNFINISHED, MEASURED)
    assert files(tmp_path / UNFINISHED) == [mine.relative_to(tmp_path / UNFINISHED).as_posix()]


def test_a_folder_among_events_stays(tmp_path):
    with Events(tmp_path):
        pass
    mine = precious(tmp_path / "events.out.tfevents.1.vm.2.3.keras_resnets")
    with told(f"{str(mine)!r} was not written by this package"):
        Events.remove(tmp_path)
    assert files(tmp_path) == [f"{mine.parent.name}/precious"]


def saved_model(path):
    (path / "variables").mkdir(parents=True)
    for name in (
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-1",
    ):
        (path / name.replace("of-1", "of-00001")).write_text(name)
    carried.into_folder(carried.Carried("net", ("cat", "dog"), None, False, "softmax"), path)


@pytest.mark.parametrize("place", ["assets.extra/keras_resnets.sha256", "README.md", "variables/variables.index"])
def test_a_saved_model_is_not_replaced_with_what_a_user_put_there(place, tmp_path):
    path, write = tmp_path / "net", lambda: whole(path, own=formats.SAVED_MODEL)
    for _ in range(2):
        with write() as part:
            saved_model(part)
    assert [file.name for file in tmp_path.iterdir()] == ["net"]
    formats.check_place("saved_model", path)
    if (path / place).exists():
        (path / place).unlink()
    mine = precious(path / place)
    with pytest.raises(ArgumentError, match=r"precious' is no file of a SavedModel.* move it away"):
        formats.check_place("saved_model", path)
    with pytest.raises(OSError, match=r"precious' was not written .* Move it away"), write() as part:
        saved_model(part)
    assert mine.read_text() == "kept"
    assert (path / "saved_model.pb").read_text() == "saved_model.pb"
    assert [file.name for file in tmp_path.iterdir()] == ["net"]
    # Half-written, it is swept but for that.
    left = tmp_path / ".other.abcdefgh"
    (left / ".alive").parent.mkdir()
    (left / ".alive").write_text("")
    saved_model(left / "other")
    path.rename(left / "old")
    mine = left / "old" / mine.relative_to(path)
    (tmp_path / "other").mkdir()
    with told(f"{str(mine)!r} was not written"), whole(tmp_path / "other", own=formats.SAVED_MODEL) as part:
        saved_model(part)
    assert files(left) == [mine.relative_to(left).as_posix()]


def test_a_folder_in_the_place_of_the_checkpoint_before_the_last_is_named(tmp_path):
    with Run(tmp_path, {}) as run:
        run.save("last", {}, {})
        mine = precious(tmp_path / "checkpoints" / "previous.safetensors")
        with pytest.raises(OSError, match=r"previous\.safetensors' is a folder, .* Move it away"):
            run.save("last", {}, {})
        assert run.restore("last") == ({}, {})
    assert mine.read_text() == "kept"


@pytest.mark.parametrize("place", [".lock", "journal.jsonl", "logs", "checkpoints"])
def test_what_is_in_the_place_of_a_file_or_folder_of_a_run_is_named(place, tmp_path):
    """The system's own words name no remedy."""
    mine = tmp_path / place
    if place in (".lock", "journal.jsonl"):
        mine = precious(mine)
    else:
        mine.write_text("kept")
    call = {
        ".lock": lambda: Run(tmp_path, {}).__enter__(),
        "journal.jsonl": lambda: Journal(tmp_path / place).read(),
        "logs": lambda: Events(tmp_path / place / "train"),
        "checkpoints": lambda: write_json(tmp_path / place / "last.json", {}),
    }[place]
    with pytest.raises(OSError, match=rf"{place}'.*(Move|Give)") as caught:
        call()
    assert not str(caught.value).startswith("[Errno")
    assert mine.read_text() == "kept"


def test_an_error_about_something_else_passes(tmp_path):
    with pytest.raises(PermissionError, match=r"^\[Errno 13\]"), writing(tmp_path / "a" / "b"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "else"))


def test_nothing_is_left_of_a_file_that_cannot_be_written_not_even_its_folders(tmp_path, monkeypatch):
    def write(file, error):
        with whole(file, sealed=True) as part:
            part.write_text("a")
            raise error

    with pytest.raises(OSError, match="File too large"):
        write(tmp_path / UNFINISHED / "0" / "a.npy", OSError(errno.EFBIG, os.strerror(errno.EFBIG)))
    assert not list(tmp_path.iterdir())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b").write_text("")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "other" / "new" / "a.npy", KeyboardInterrupt())
    assert files(tmp_path) == ["other/b"]

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sums, "_write_through", full)  # the disk is full at the checksum
    with pytest.raises(OSError, match="No space left"), whole(tmp_path / "c", sealed=True) as part:
        part.write_text("c")
    assert files(tmp_path) == ["other/b"]
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_no_empty_folder_is_left_of_measurements_that_several_threads_could_not_store(tmp_path, monkeypatch):
    """The first of them makes the folder, and the last one that uses it is another."""

    def full(*_):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    kept = Kept(tmp_path, "lesion", type("Model", (), {"spec": 1})())
    kept.folder.mkdir(parents=True)
    monkeypatch.setattr(evaluation.np, "save", full)
    engine = types.SimpleNamespace(outputs=lambda x, *_: np.full((1, len(x), 2), 0.5))
    read = [(np.zeros((2, 1)), np.zeros(2, int))] * 4
    with pytest.raises(OSError, match="cannot be written: File too large"):
        evaluation._measure(engine, [None], read, None, kept, "", False)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_that_cannot_be_mended_where_it_lies_is_told(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", {"a": 1}, sealed=True)
    (tmp_path / "a.json").write_text('{"a": 2}')

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "a.json.damaged"))

    for function in ("copyfile", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(sums.shutil if function == "copyfile" else sums.os, function, refuse)
            with pytest.raises(Damaged, match=r"a\.json' is damaged, and cannot be mended .* Make its folder writable"):
                read_json(tmp_path / "a.json")
        assert files(tmp_path) == [".sums/a.json.json", "a.json"]
    with told("mended from its copy"):
        assert sound(tmp_path / "a.json")
    assert files(tmp_path) == [".sums/a.json.json", "a.json", "a.json.damaged"]


def test_a_relative_path_is_named_where_the_working_directory_is_gone(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OSError, match=r"'out/net' cannot be written: the working directory.* is gone\. Give another"):
        check_usable("out/net", is_file=True)


def test_a_mistake_in_pruning_removes_a_new_directory_only_while_nothing_is_in_it(tmp_path):
    """A damaged file is a mistake, too, and may come after hours of fine-tuning."""

    def fail(*done):
        with pruning._directory(tmp_path / "out") as out, Run(out, {"a": 1}):
            for name in done:
                write_json(out / name, {})
            raise Damaged("a file is damaged.")

    with pytest.raises(Damaged):
        fail()
    assert not (tmp_path / "out").exists()
    with pytest.raises(Damaged):
        fail("fine_tuning/run.json")
    assert "fine_tuning/run.json" in files(tmp_path / "out")


def test_an_exported_file_is_read_once_for_its_checksum(tmp_path, monkeypatch):
    path, read = tmp_path / "net.tflite", []
    path.write_bytes(bytes(3_000_000))
    carried.into_litert(carried.Carried("net", None, None, False, None), path)
    integrity.seal(path)
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (read.append(self), original(self, *a, **k))[1])
    monkeypatch.setattr(integrity, "open", lambda file, *a: (read.append(file), original(Path(file), *a))[1], False)
    integrity.check(path)
    assert read == [path]
