"""Whatever file of a finished study is damaged: its rows come out as they were, or a sentence says what is damaged."""

import contextlib
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError, Notice

pytestmark = pytest.mark.thorough


def _flipped(content):
    """One bit in the middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {
    "a bit flipped": _flipped,
    "the last byte cut off": lambda content: content[:-1],
    "cut in half": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
}


def study(out):
    return kr.studies.degradation("digits", depths=(8,), families=("resnet",), epochs=1, seeds=2, out=out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished study of two trainings: its directory, its rows and the weights of a cell."""
    out = tmp_path_factory.mktemp("study") / "whole"
    result = study(out)
    result.save(out)
    rows = result.rows
    cell = next((out / "cells").iterdir())
    return out, rows, cell.relative_to(out), kr.load_model(cell).get_weights()


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_changes_no_result_without_a_word(kind, whole, tmp_path):
    out, rows, cell, weights = whole
    files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    files = [file for file in files if "cells" not in file.parts or file.is_relative_to(cell)]
    assert len(files) > 20
    for number, file in enumerate(files):
        content = (out / file).read_bytes()
        if not content:
            continue  # a lock
        place = tmp_path / str(number)
        shutil.copytree(out, place)
        (place / file).write_bytes(DAMAGES[kind](content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            with contextlib.suppress(ArgumentError):
                saved = kr.studies.Study.load(place)
                pd.testing.assert_frame_equal(saved.rows, rows, check_dtype=False, obj=f"saved rows with {file} {kind}")
            with contextlib.suppress(ArgumentError):
                again = study(place).rows
                measured = [name for name in rows if "seconds" not in name]  # a cell is trained again, in another time
                pd.testing.assert_frame_equal(again[measured], rows[measured], obj=f"rows with {file} {kind}")
            with contextlib.suppress(ArgumentError):
                for got, right in zip(kr.load_model(place / cell).get_weights(), weights, strict=True):
                    np.testing.assert_array_equal(got, right, err_msg=f"weights with {file} {kind}")
        shutil.rmtree(place)
