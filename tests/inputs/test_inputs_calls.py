"""Every public function, called with right arguments of which some are exchanged for values of any kind."""

import hypothesis
import pytest
from helpers import input_calls
from helpers.input_watch import ask
from helpers.public_names import public_names
from hypothesis import strategies as st

CALLED = input_calls.called()


def test_every_public_name_is_called():
    names = public_names()
    assert input_calls.EXEMPT.keys() <= names.keys()
    assert set(input_calls.OF) <= names.keys()
    same = {input_calls.code_of(n, f) for n, f in CALLED.items()}
    missed = [n for n, f in names.items() if n not in input_calls.EXEMPT and input_calls.code_of(n, f) not in same]
    assert not missed


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.thorough] if n in input_calls.SLOW else []) for n in CALLED]
)
def test_any_arguments(name, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()

    @hypothesis.given(st.data())
    def call(drawn):
        positional, given = drawn.draw(input_calls.arguments(name, CALLED[name], tmp_path / "new"))
        ask(name, lambda: CALLED[name](*positional, **given), out=[tmp_path / "new", "/tmp"], work=folder)
        assert not list(folder.iterdir()), "something was written into the working directory"

    call()
