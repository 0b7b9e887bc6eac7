"""Every public function, called with right arguments of which some are exchanged for values of any kind."""

import dataclasses
import inspect
import json
from collections.abc import Sequence

import hypothesis
import numpy as np
import pytest
from helpers import input_arguments, input_calls
from helpers.input_watch import ask
from helpers.public_names import public_names
from hypothesis import strategies as st

import keras_resnets as kr
from keras_resnets import explaining
from keras_resnets.errors import ArgumentError

CALLED = input_calls.called()


def test_every_public_name_is_called():
    names = public_names()
    assert input_arguments.EXEMPT.keys() <= names.keys()
    assert set(input_arguments.OF) <= names.keys()
    same = {input_calls.code_of(n, f) for n, f in CALLED.items()}
    missed = [n for n, f in names.items() if n not in input_arguments.EXEMPT and input_calls.code_of(n, f) not in same]
    assert not missed


def test_every_public_function_explains_its_arguments():
    generators = ("runs.whole", "runs.usable", "runs.writing")  # their bodies run later
    plain = [n for n, f in CALLED.items() if inspect.isfunction(f) and f.__code__.co_filename != explaining.__file__]
    assert not set(plain) - set(generators)


def test_an_argument_of_a_wrong_type_is_named_where_a_call_fails():
    @explaining.explained
    def letter(number: int, words: Sequence[str], *, how: str | None = None):
        return words[number].startswith(how.strip())

    for call, sentence in {
        lambda: letter("3", ["a"], how=""): "number must be a whole number; got '3'.",
        lambda: letter(0, 2, how=""): "words must be a sequence of which each is a text; got 2.",
        lambda: letter(0, ["a"], how=3): "how must be a text or None; got 3.",
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert str(caught.value) == sentence
    assert letter(True, ["b", "a"], how="a")  # what can be used is used
    with pytest.raises(TypeError, match="unexpected keyword"):
        letter(0, ["a"], more=2)
    with pytest.raises(IndexError):  # no argument is of a wrong type: the fault is the function's own
        letter(1, ["a"])


def test_numbers_of_numpy_are_taken_as_numbers():
    labels = np.asarray([0, 3, 2])
    spec = kr.variants.spec("resnet20", classes=labels.max() + 1, input_shape=tuple(np.asarray([32, 32, 3])))
    assert spec == kr.variants.spec("resnet20", classes=4, input_shape=(32, 32, 3))
    assert json.dumps(spec.to_dict()) == json.dumps(kr.variants.spec("resnet20", classes=4).to_dict())
    rate = dataclasses.replace(kr.recipes.get("cifar_short"), learning_rate=np.float32(0.5), batch_size=np.uint8(200))
    assert rate == dataclasses.replace(kr.recipes.get("cifar_short"), learning_rate=0.5, batch_size=200)
    json.dumps(dataclasses.asdict(rate))
    with pytest.raises(ArgumentError, match=r"got -1\."):
        kr.variants.spec("resnet20", classes=np.int64(-1))
    with pytest.raises(ArgumentError, match=r"got True\."):
        kr.variants.spec("resnet20", classes=np.True_)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.thorough] if n in input_arguments.SLOW else []) for n in CALLED]
)
def test_any_arguments(name, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    input_calls.build(name)

    @hypothesis.given(st.data())
    def call(drawn):
        positional, given = drawn.draw(input_calls.arguments(name, CALLED[name], tmp_path / "new"))
        ask(name, lambda: CALLED[name](*positional, **given), out=[tmp_path / "new", "/tmp"], work=folder)
        assert not list(folder.iterdir()), "something was written into the working directory"

    call()
