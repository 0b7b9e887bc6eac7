"""Pickles without pickle: the few instructions that a file of weights is made of, and nothing that could be called.

`pickle.Unpickler` allocates by the file's word (a place in its memo, the length of a string) before it looks, and
builds whatever `find_class` lets through. Here each instruction is checked first, values are numbers, text, lists,
tuples and dictionaries, and a name of a class stays a name: only what the caller lists is replaced by its value.
"""

from __future__ import annotations

import collections
import pickle
import struct
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, NoReturn

from keras_resnets.archives.archive import WeightFileError
from keras_resnets.archives.files import File, told

# The optimiser's and the network's arrays of resnet1202 take about half of it.
_MOST_INSTRUCTIONS = 1_000_000
LONGEST = 32 << 20
_LONGEST_NUMBER, _MOST_ARGUMENTS = 16, 16


@dataclass(frozen=True)
class Name:
    """The name of a class or a function, which stays one."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Rules:
    """What a kind of pickle may hold.

    Attributes:
        known: names that may stand in it.
        call: the value of a name and its arguments.
        find: the value of a persistent identifier.
    """

    known: Container[str]
    call: Callable[[str, tuple], object]
    find: Callable[[object], object]


_MARK = object()
# The argument of an instruction: of a fixed form, or bytes whose length stands before them in such a form.
_FIXED = {
    pickle.PROTO: "<B", pickle.FRAME: "<Q", pickle.BINGET: "<B", pickle.LONG_BINGET: "<I", pickle.BINPUT: "<B",
    pickle.LONG_BINPUT: "<I", pickle.BININT: "<i", pickle.BININT1: "<B", pickle.BININT2: "<H", pickle.BINFLOAT: ">d",
}  # fmt: skip
_TEXT = {
    pickle.BINUNICODE: "<I", pickle.SHORT_BINUNICODE: "<B", pickle.BINUNICODE8: "<Q", pickle.BINSTRING: "<i",
    pickle.SHORT_BINSTRING: "<B",
}  # fmt: skip
_BYTES = {pickle.BINBYTES: "<I", pickle.SHORT_BINBYTES: "<B", pickle.BINBYTES8: "<Q", pickle.LONG1: "<B"}
_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False, pickle.EMPTY_TUPLE: ()}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}


def load(file: File, data: bytes, rules: Rules, at: int = 0) -> tuple[Any, int]:
    """Returns the object of a pickle that begins at `at`, and where it ends; refuses it with a sentence."""
    machine = _Machine(file, data, rules, at)
    try:
        return machine.run(), machine.at
    except WeightFileError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        # Something was taken from where there is nothing, or was not of the type that an instruction needs.
        machine.fail("is none")


class _Machine:
    def __init__(self, file: File, data: bytes, rules: Rules, at: int):
        self.file, self.data, self.rules, self.at = file, data, rules, at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def fail(self, wrong: str, remedy: str = "fetch it again, or save its tensors alone") -> NoReturn:
        self.file.fail(f"cannot be read: its pickle {wrong}", remedy)

    def run(self) -> Any:
        for _ in range(_MOST_INSTRUCTIONS):
            code = self._bytes(1)
            if code == pickle.STOP:
                value = self.stack.pop()
                if value is _MARK or self.stack:
                    self.fail("leaves something behind")
                return value
            self._do(code)
        self.fail(f"has more than {_MOST_INSTRUCTIONS:,} instructions")

    def _bytes(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            self.fail("is cut" if len(self.data) < LONGEST else f"has more than {LONGEST:,} bytes")
        self.at += count
        return self.data[self.at - count : self.at]

    def _fixed(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + 1000)
        return self._bytes(end + 1 - self.at)[:-1].decode("ascii")

    def _since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise TypeError
        return value

    def _named(self, module: object, name: object) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        found = Name(module, name)
        if str(found) not in self.rules.known:
            self.fail(f"asks for {told(str(found))}, which is no part of weights", "save its state_dict alone")
        return found

    def _set(self, target: object, pairs: list[tuple[Any, Any]]) -> None:
        if not isinstance(target, dict):
            raise TypeError
        for key, value in pairs:
            # Larger numbers could be chosen so that they all fall into one place of the table.
            if not isinstance(key, str) and not (isinstance(key, int) and 0 <= key < 1 << 31):
                self.fail(f"has a dictionary with the key {told(key)}")
            target[key] = value

    def _do(self, code: bytes) -> None:
        push = self.stack.append
        if code in _CONSTANTS:
            push(_CONSTANTS[code])
        elif code in _FIXED:
            self._number(code, self._fixed(_FIXED[code]))
        elif code in _TEXT:
            push(self._bytes(self._fixed(_TEXT[code])).decode())
        elif code in _BYTES:
            value = self._bytes(self._fixed(_BYTES[code]))
            if code == pickle.LONG1 and len(value) > _LONGEST_NUMBER:
                self.fail(f"has a number of {len(value)} bytes")
            push(int.from_bytes(value, "little", signed=True) if code == pickle.LONG1 else value)
        elif code == pickle.MARK:
            push(_MARK)
        elif code == pickle.EMPTY_DICT:
            push({})
        elif code == pickle.EMPTY_LIST:
            push([])
        elif code in _TUPLES:
            push(tuple([self._pop() for _ in range(_TUPLES[code])][::-1]))
        elif code == pickle.TUPLE:
            push(tuple(self._since_mark()))
        elif code in (pickle.LIST, pickle.DICT):
            values = self._since_mark()
            push(values if code == pickle.LIST else {})
            if code == pickle.DICT:
                self._set(self.stack[-1], list(zip(values[::2], values[1::2], strict=True)))
        elif code in (pickle.APPEND, pickle.APPENDS):
            values = [self._pop()] if code == pickle.APPEND else self._since_mark()
            if not isinstance(self.stack[-1], list):
                raise TypeError
            self.stack[-1].extend(values)
        elif code in (pickle.SETITEM, pickle.SETITEMS):
            values = [self._pop(), self._pop()][::-1] if code == pickle.SETITEM else self._since_mark()
            self._set(self.stack[-1], list(zip(values[::2], values[1::2], strict=True)))
        elif code == pickle.MEMOIZE:
            self._remember(len(self.memo))
        elif code == pickle.GLOBAL:
            push(self._named(self._line(), self._line()))
        elif code == pickle.STACK_GLOBAL:
            name, module = self._pop(), self._pop()
            push(self._named(module, name))
        elif code == pickle.BINPERSID:
            push(self.rules.find(self._pop()))
        elif code == pickle.REDUCE:
            arguments, name = self._pop(), self._pop()
            if not isinstance(name, Name) or not isinstance(arguments, tuple) or len(arguments) > _MOST_ARGUMENTS:
                self.fail("calls what is no name, or with what are no arguments")
            push(self.rules.call(str(name), arguments))
        elif code == pickle.BUILD:
            # The versions of modules beside an ordered dictionary, and the bytes of a NumPy number: none is needed.
            self._pop()
            if not isinstance(self.stack[-1], collections.OrderedDict | Left):
                self.fail("sets what an object has inside")
        else:
            self.fail(f"has the instruction {code!r}, which weights do not need")

    def _number(self, code: bytes, value: Any) -> None:
        if code in (pickle.BINGET, pickle.LONG_BINGET):
            self.stack.append(self.memo[value])
        elif code in (pickle.BINPUT, pickle.LONG_BINPUT):
            self._remember(value)
        elif code in (pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.BINFLOAT):
            self.stack.append(value)
        elif code == pickle.PROTO and value > pickle.HIGHEST_PROTOCOL:
            self.fail(f"is of protocol {value}")

    def _remember(self, place: int) -> None:
        if self.stack[-1] is _MARK:
            raise TypeError
        self.memo[place] = self.stack[-1]


class Left:
    """Stands for what is harmless and no tensor, such as a number of NumPy's."""
