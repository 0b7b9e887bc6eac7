"""Files and folders that appear whole or not at all, and never in place of what is of another kind."""

import pytest

from keras_resnets.commands import cli
from keras_resnets.runs import whole


def test_a_file_does_not_replace_a_folder_with_all_in_it(tmp_path):
    folder = tmp_path / "thesis.keras"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("three years")
    with pytest.raises(OSError, match=r"thesis.keras' is a folder, .* or give another place"), whole(folder) as part:
        part.write_text("a file")
    assert (folder / "chapter1.tex").read_text() == "three years"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.keras"]


def test_files_and_folders_replace_their_like(tmp_path):
    for name, write in (
        ("file", lambda part, text: part.write_text(text)),
        ("folder", lambda part, text: (part.mkdir(), (part / text).write_text(text))),
    ):
        for text in ("old", "new"):
            with whole(tmp_path / name) as part:
                write(part, text)
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_convert_leaves_a_folder_alone(tmp_path, capsys):
    from helpers import weight_references as reference
    from safetensors.numpy import save_file

    save_file(reference.draw_torchvision((2, 2, 2, 2), 2), tmp_path / "net.safetensors")
    folder = tmp_path / "out.keras"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    arguments = ["convert", str(tmp_path / "net.safetensors"), "resnet18", "--image-size", "32", "--out", str(folder)]
    assert cli.main(arguments) in (1, 2)
    assert "is a folder" in capsys.readouterr().err
    assert (folder / "precious").read_text() == "kept"


def test_a_study_replaces_nothing_that_no_study_wrote(tmp_path):
    import pandas as pd

    from keras_resnets.errors import ArgumentError
    from keras_resnets.reports.figures import panels
    from keras_resnets.reports.study import DRAWINGS, Drawing, Study

    DRAWINGS["plain"] = Drawing(lambda study: panels(1)[0], lambda study: "", lambda study: {})
    study = Study("plain", pd.DataFrame({"a": [1.5, float("nan")]}), {"b": float("nan")}, {})
    for name in ("rows.csv", "study.json", "figure.png", "figure.svg"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ArgumentError, match=rf"{name}' was not written by a study"):
            study.save(tmp_path)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1.mine").write_text("mine")
    for _ in range(2):
        study.save(tmp_path)
    assert (tmp_path / "logs" / "events.out.tfevents.1.mine").read_text() == "mine"
    assert len(list((tmp_path / "logs").iterdir())) == 2
    (tmp_path / "study.json").unlink()  # it was stopped before its last file, and a checksum has been damaged since
    (tmp_path / ".sums" / "rows.csv.json").write_text("")
    study.save(tmp_path)
    loaded = Study.load(tmp_path)
    assert loaded.rows.equals(study.rows)
    assert loaded.summary["b"] != loaded.summary["b"]
    del DRAWINGS["plain"]


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt, OSError(28, "No space left on device")], ids=["Ctrl-C", "disk full"]
)
def test_a_folder_that_was_about_to_be_replaced_returns(stop, tmp_path, monkeypatch):
    import os

    target = tmp_path / "saved_model"
    target.mkdir()
    (target / "old").write_text("the old export")

    def stopped(*_):
        raise stop

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises((KeyboardInterrupt, OSError)), whole(target) as part:
        part.mkdir()
    assert (target / "old").read_text() == "the old export"
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(30, "Read-only file system", "/x/.a.csv.k2j3h4g5/a.csv"), "Read-only file system"),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), "File too large"),
        (ValueError("Can't write (errno = 28, error message = 'No space left on device')"), "No space left on device"),
        (RuntimeError("another error"), None),
    ],
)
def test_a_disk_that_is_full_is_told_with_the_file_by_whichever_library_writes(error, reason, tmp_path):
    """Its own words name a temporary file, or none."""
    said = f"{str(tmp_path / 'a.csv')!r} cannot be written: {reason}. Make room there" if reason else "another error"

    def write():
        with whole(tmp_path / "a.csv") as part:
            part.write_text("half")
            raise error

    with pytest.raises(OSError if reason else RuntimeError) as caught:
        write()
    assert str(caught.value).startswith(said)
    assert not list(tmp_path.iterdir())


def test_what_is_appended_is_told_too(tmp_path):
    """Of TensorBoard's events and of the journal of a search, into which a full disk comes as into any other."""
    from pathlib import Path

    from keras_resnets.reports.events import Events
    from keras_resnets.search.journal import Journal

    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"journal\.jsonl' cannot be written: No space left on device\. Make room there"):
        Journal(tmp_path / "journal.jsonl").append({"event": "stop"})
    with Events(tmp_path) as events:
        file = next(tmp_path.glob("events*"))
        file.unlink()
        file.symlink_to("/dev/full")
        events.scalar("loss", 1.0, 0)
        with pytest.raises(OSError, match=r"events.*cannot be written: No space left on device\. Make room there"):
            events.flush()
        file.unlink()


def test_what_a_kill_left_of_a_checksum_goes_with_its_file(tmp_path, monkeypatch):
    """It is written in the folder of its file, which the next writer sweeps."""
    from keras_resnets.runs import sums

    seen, replace = [], sums.os.replace
    monkeypatch.setattr(sums.os, "replace", lambda a, b: (seen.append((str(a), str(b))), replace(a, b)))
    with whole(tmp_path / "a.csv", sealed=True) as part:
        part.write_text("a\n1\n")
        folder = part.parent
    assert [a for a, b in seen if b.endswith(".sums/a.csv.json")] == [str(folder / "a.csv.json.part")]
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".sums", "a.csv", "a.csv.json"]


@pytest.mark.parametrize("place", [".sums", ".sums/a.csv.json"])
def test_what_is_in_the_place_of_a_checksum_is_named(place, tmp_path):
    blocking = tmp_path / place
    blocking.parent.mkdir(exist_ok=True)
    blocking.write_text("") if place == ".sums" else blocking.mkdir()

    def write():
        with whole(tmp_path / "a.csv", sealed=True) as part:
            part.write_text("a\n1\n")

    with pytest.raises(OSError, match=rf"{place}' is in the place of a checksum, .* Move it away"):
        write()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sums"]


def test_a_file_of_a_search_that_was_changed_is_refused_where_it_is_given(tmp_path):
    from keras_resnets.commands import checks
    from keras_resnets.errors import ArgumentError
    from keras_resnets.runs import write_json

    write_json(tmp_path / "best.json", {"width": 16}, sealed=True)
    assert checks._read(str(tmp_path / "best.json"))
    (tmp_path / "best.json").write_text('{"width": 17}')
    with pytest.raises(ArgumentError, match=r"best\.json' is not as it was written, damaged or edited.* another name"):
        checks._read(str(tmp_path / "best.json"))
    assert (tmp_path / "best.json").read_text() == '{"width": 17}'


def test_damage_is_noticed_and_what_has_a_copy_is_mended(tmp_path):
    from helpers.notices import told

    from keras_resnets.runs import Damaged, read_csv, read_json, sound, write_json

    values = {"accuracy": 0.8816, "loss": float("inf"), "name": "net"}
    write_json(tmp_path / "a.json", values, sealed=True)
    text = (tmp_path / "a.json").read_text()
    all_damaged = {"a.json.damaged": text.replace("0.88", "0.98"), "a.json.2.damaged": "", "a.json.3.damaged": text[:9]}
    for damaged in all_damaged.values():
        (tmp_path / "a.json").write_text(damaged)
        with told("mended from its copy"):
            assert read_json(tmp_path / "a.json") == values
    assert {file.name: file.read_text() for file in tmp_path.glob("*.damaged")} == all_damaged, "one replaced another"
    # A damaged checksum is not damage of the file; without one, as of early versions, files are read as they are.
    sums = tmp_path / ".sums" / "a.json.json"
    sums.write_text(sums.read_text().replace('"sha256": [\n  "', '"sha256": [\n  "0'))
    with told():
        assert read_json(tmp_path / "a.json") == values
        sums.unlink()
        (tmp_path / "a.json").write_text(text.replace("0.88", "0.98"))
        assert read_json(tmp_path / "a.json")["accuracy"] == 0.9816
    for content in ("", "[" * 100_000, "{"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(Damaged, match="is damaged: it is not JSON"):
            read_json(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(Damaged, match=r"it is not a table .* Move it away"):
        read_csv(tmp_path / "a.csv")

    with whole(tmp_path / "big.npy", sealed=True) as part:
        part.write_bytes(b"12345")
    assert sound(tmp_path / "big.npy")
    (tmp_path / "big.npy").write_bytes(b"12344")
    assert not sound(tmp_path / "big.npy")


def test_a_kill_between_checksum_and_file_is_no_damage(tmp_path):
    from keras_resnets.runs import read_json, seal, write_json

    write_json(tmp_path / "a.json", {"a": 1}, sealed=True)
    write_json(tmp_path / "new", {"a": 2})
    seal(tmp_path / "a.json", tmp_path / "new")
    assert read_json(tmp_path / "a.json") == {"a": 1}


KILLED = """
import os, sys, pathlib
from keras_resnets.runs import whole
with whole(sys.argv[1]) as part:
    part.mkdir()
    if sys.argv[2] == "replacing":
        os.rename(sys.argv[1], part.parent / "old")
    os._exit(1)
"""


def test_what_a_killed_process_left_is_swept_by_the_next_and_a_living_ones_is_not(tmp_path):
    import subprocess
    import sys

    target = tmp_path / "saved_model"
    for moment in ("writing", "replacing"):
        if moment == "replacing":
            target.mkdir()
            (target / "old_export").write_text("")
        subprocess.run([sys.executable, "-c", KILLED, target, moment], check=False)
        assert len(list(tmp_path.iterdir())) == 1
    with whole(target) as part:
        assert (target / "old_export").exists(), "the export that was to be replaced is lost"
        with whole(target) as other:
            assert part.parent.exists()
            other.mkdir()
        part.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


# Kills a process before each change of the file system, and the one after it, too; the third leaves only what is whole.
KILLED_ANYWHERE = """
import os, pathlib, sys
from keras_resnets.runs import whole

root, kind, left = pathlib.Path(sys.argv[1]), sys.argv[2], 10**9

def write(text):
    with whole(root / "a", sealed=kind == "file", own="net" if kind == "folder" else None) as part:
        if kind == "folder":
            part.mkdir()
            part = part / "net"
        part.write_text(text)

def before(event, arguments):
    global left
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        left -= 1
        if left < 0:
            os._exit(9)

def killed(changes):
    global left
    if (process := os.fork()) == 0:
        left = changes
        write("killed")
        os._exit(0)
    return os.waitpid(process, 0)[1] != 0

sys.addaudithook(before)
write("old")
clean = sorted(os.listdir(root))
first = 0
while killed(first):
    second = first % 5
    while killed(second):
        assert (root / "a").exists() or list(root.glob(".a.*/old")), (first, second, "it is lost")
        second += 5
        killed(first)
    write("new")
    assert sorted(os.listdir(root)) == clean, (first, second, os.listdir(root))
    first += 1
print(first)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_kill_left_at_any_moment_is_swept_by_the_next_writer(kind, tmp_path):
    import subprocess
    import sys

    run = [sys.executable, "-c", KILLED_ANYWHERE, tmp_path, kind]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert int(done.stdout) > 8


def test_what_is_half_written_and_held_by_nobody_is_swept(tmp_path):
    left = tmp_path / ".a.csv.a1b2c3d4"
    left.mkdir()
    (left / "a.csv").write_text("half")
    with whole(tmp_path / "a.csv") as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_writer_whose_new_folder_another_sweeps_makes_one_more(tmp_path, monkeypatch):
    from keras_resnets.runs import files

    make = files.tempfile.mkdtemp

    def swept(**kwargs):
        folder = make(**kwargs)
        monkeypatch.undo()
        with whole(tmp_path / "a.csv") as other:
            other.write_text("other")
        return folder

    monkeypatch.setattr(files.tempfile, "mkdtemp", swept)
    with whole(tmp_path / "a.csv") as part:
        part.write_text("own")
    assert (tmp_path / "a.csv").read_text() == "own"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_signal_ends_a_command_with_a_word_and_what_is_told_is_one_line(request, monkeypatch, capsys):
    import os
    import signal
    import sys

    from keras_resnets.errors import notice

    class Library:
        """Fails when it is removed, as what is stopped in the midst of its work does."""

        def __del__(self):
            raise KeyError(0)

    def stopped(*_, **__):
        held = Library()  # noqa: F841
        notice("a file was mended.")
        os.kill(os.getpid(), number)

    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker that runs tests may ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, ignored))
    before, shown = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    monkeypatch.setattr(cli.cli, "main", stopped)
    for number in (signal.SIGTERM, signal.SIGINT):  # noqa: B007
        assert cli.main(["models"]) == 1
        assert capsys.readouterr().err.splitlines() == [
            "keras-resnets: a file was mended.",
            "keras-resnets: stopped; the same command resumes.",
        ]
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == (before, shown)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
