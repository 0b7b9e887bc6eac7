"""How each public function is called with made inputs: right values of its arguments by their names, and wrong ones.

An argument is drawn by its name (`RIGHT` of `input_arguments`), for some functions otherwise (`OF`), and else is its
default. A call then exchanges some of them for values of any kind. A new public name, or a new argument without a
default, fails `tests/inputs/test_inputs_calls.py` until it has a line there.
"""

import inspect

from hypothesis import strategies as st

from helpers import input_arrays as made
from helpers.input_arguments import (
    EXEMPT,
    LENGTHS,
    NOT_EXCHANGED,
    OF,
    OUT,
    RIGHT,
    SLOW,
    WRONG,
    data,
    dense,
    foreign,
    network,
    scenes,
)
from helpers.public_names import public_names


def code_of(name, value):
    """What a name stands for: of functions made by one function, and of two names of one, the same."""
    return getattr(inspect.unwrap(value), "__code__", value) if callable(value) else name


def called():
    """The names that are called: of those that are one and the same code, the first."""
    found, seen = {}, set()
    names = public_names()
    for name in sorted(names, key=lambda name: (name not in SLOW, name.count("."), name)):
        code = code_of(name, names[name])
        if name not in EXEMPT and code not in seen:
            found[name] = names[name]
        seen.add(code)
    return dict(sorted(found.items()))


def build(name):
    """Builds what calls of a name are given, outside of strategies, in which nothing may draw random numbers."""
    network(), foreign()
    if name.startswith("segmentation."):
        dense(), scenes()
    if name in SLOW:
        data()


def is_of_keras(function):
    """Whether it is a layer, a loss, a metric or an optimiser: of their names Keras says itself what is wrong."""
    return inspect.isclass(function) and any(base.__module__.startswith("keras.") for base in function.__mro__)


@st.composite
def arguments(draw, name, function, place):
    """Draws positional and named arguments of a call: right ones, of which some are exchanged."""
    given = {}
    parameters = {n: p for n, p in inspect.signature(function).parameters.items() if p.kind != p.VAR_KEYWORD}
    own = OF.get(name, {})
    for n, p in parameters.items():
        if p.kind == p.VAR_POSITIONAL:
            continue
        if (n in OUT and not name.startswith("variants.")) or n == "path":
            given[n] = place / "out"
        elif n in own:
            given[n] = draw(own[n])
        elif n in RIGHT and (p.default is p.empty or n in LENGTHS or n in ("verbose", "seeds")):
            given[n] = draw(RIGHT[n])
        elif p.default is p.empty:
            raise LookupError(
                f"{name} has an argument {n!r} that RIGHT and OF of tests/helpers/input_arguments.py lack"
            )
    hidden = (*NOT_EXCHANGED, "name", "inputs", "chain") if is_of_keras(function) else NOT_EXCHANGED
    exchangeable = [n for n, p in parameters.items() if p.kind != p.VAR_POSITIONAL and n not in hidden]
    count = min(draw(st.integers(0, 2)), len(exchangeable))
    for n in (
        draw(st.lists(st.sampled_from(exchangeable), min_size=count, max_size=count, unique=True))
        if exchangeable
        else ()
    ):
        if n in OUT:
            given[n] = draw(
                st.sampled_from(
                    [
                        place / "out",
                        str(place / "a b\n é"),
                        place / "deep" / "er",
                        "",
                        None,
                        3,
                        b"x",
                        place / "x\0y",
                        "x" * 300,
                    ]
                )
            )
            if isinstance(given[n], str) and not given[n].startswith("/"):
                given[n] = str(place / given[n]) if given[n] else ""
        else:
            given[n] = draw(WRONG.get(n, made.FEW if n in LENGTHS else made.ANYTHING))
    positional = [given.pop(n) for n, p in parameters.items() if p.kind == p.POSITIONAL_ONLY and n in given]
    rest = next((p for p in parameters.values() if p.kind == p.VAR_POSITIONAL), None)
    if rest is not None:
        positional += draw(st.lists(st.one_of(made.PLAIN, st.just(place)), max_size=2))
    return positional, given
