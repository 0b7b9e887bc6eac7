"""The short form of the soak, and that its oracle tells what was lost: `make soak` is the long one."""

import json
import random
import shutil

import keras
import numpy as np
import pytest
from soak import damage, ledger, moments, oracle, running

import keras_resnets as kr


def test_at_every_moment_of_a_training_each_file_is_whole_and_it_goes_on_from_there(tmp_path, few):
    """A kill may come before any change of the file system; what lies there then is opened, and one is gone on from."""
    spec = kr.Spec("small", (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)
    out, states = tmp_path / "out" / "run", []
    looks = moments.Looks(out.parent)

    def train():
        keras.utils.clear_session()  # so that names have the numbers of a new process
        kr.train(spec, few, out=out, epochs=2, verbose=0)

    def look():
        looks()
        if looks.count == 90:
            states.append(shutil.copytree(out, tmp_path / f"state{looks.count}"))

    with running.watched(tmp_path, look):
        train()
    assert looks.count > 120
    assert {"model.keras", "best.keras", "history.csv", "run.json"} <= {file.name for file in looks.seen}
    expected = oracle.contents(out.parent)
    oracle.check_clean(out.parent, "undisturbed")
    shutil.rmtree(out)
    states[0].rename(out)
    train()
    assert oracle.differences(oracle.contents(out.parent), expected) == []
    oracle.check_clean(out.parent, "gone on")


def test_the_oracle_tells_a_flipped_weight_and_no_times(tmp_path):
    from safetensors.numpy import save_file

    def folder(name, weight, seconds):
        out = tmp_path / name / "out"
        out.mkdir(parents=True)
        save_file({"a": np.asarray([1.0, weight])}, out / "last.safetensors")
        (out / "times.csv").write_text(f"epoch,seconds\n1,{seconds}\n")
        (out / "run.json").write_text(json.dumps({"at": str(out), "seconds": seconds, "loss": 0.5}))
        return oracle.contents(out)

    one = folder("one", 2.0, 3)
    assert oracle.differences(one, folder("two", 2.0, 4)) == []
    assert oracle.differences(one, folder("three", np.nextafter(2.0, 3), 3)) == ["last.safetensors"]
    others = {"a": [{"epoch": 1}, {"epoch": 2, "loss": 0.5}], "b": 1}
    assert (
        oracle.first_difference(others, {**others, "a": [{"epoch": 1}, {"epoch": 2}]})
        == "/a/1/loss: '0.5' and not 'nothing'"
    )
    assert not oracle.first_difference(others, dict(others))


@pytest.mark.parametrize(
    ("status", "said", "lost"),
    [
        (2, "keras-resnets: 'out/net' is damaged. Move it away.", None),
        (2, "keras-resnets: 'out/net' is damaged", "does not name the file"),
        (1, "keras-resnets: [Errno 28] No space left.", "does not name the file"),
        (1, "Traceback (most recent call last):", "status 1"),
        (-11, "", "ended by signal 11"),
        (1, "", "without a sentence"),
    ],
)
def test_the_oracle_knows_a_refusal(status, said, lost):
    ran = running.Ran(status, "", said, 0, 0.0)
    if lost is None:
        oracle.check_refused(ran, "case", "out/net")
    else:
        with pytest.raises(oracle.Lost, match=lost):
            oracle.check_refused(ran, "case", "out/net")


def test_measurements_wait_for_a_command_that_was_refused_and_an_empty_folder_is_left_over(tmp_path):
    (tmp_path / ".unfinished" / "0").mkdir(parents=True)
    with pytest.raises(oracle.Lost, match="left half-written"):
        oracle.check_clean(tmp_path, "case", refused=True)
    (tmp_path / ".unfinished" / "0" / "0.npy").write_text("")
    oracle.check_clean(tmp_path, "case", refused=True)
    with pytest.raises(oracle.Lost, match="unfinished is left half-written"):
        oracle.check_clean(tmp_path, "case")


def test_a_soak_goes_on_where_it_stopped(tmp_path):
    book = ledger.Ledger(tmp_path / "0.jsonl")
    book.add(ledger.Line("kills", "train", 0, {"gone on": 1}, "", 2.0))
    book.add(ledger.Line("kills", "train", 1, {"lost": 1}, "all of it", 2.0))
    book.add(ledger.Line("kills", "search on Ray", 0, {"skipped": 1}, "ray is not installed", 0.0))
    assert "| kills | train | 2 | 1 gone on | 1 | 4 |" in book.table(["kills"])
    with (tmp_path / "0.jsonl").open("a") as file:
        file.write('{"part": "kills", "sub')  # killed while it wrote
    again = ledger.Ledger(tmp_path / "0.jsonl")
    assert again.done == {("kills", "train", 0), ("kills", "search on Ray", 0)}  # what was lost is tried again
    assert again.skips("kills", "search on Ray")
    assert "| kills | search on Ray | 0 | ray is not installed | 0 | 0 |" in again.table(["kills"])


@pytest.mark.parametrize("kind", damage.KINDS)
def test_each_kind_of_damage_changes_a_file(kind, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(bytes(100))
    damage.harm(file, kind, random.Random(0))
    assert not file.is_file() or file.read_bytes() != bytes(100)
