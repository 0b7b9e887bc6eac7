"""A safe interpreter for the subset of pickle that weights files use; it never imports or calls anything.

`pickle.Unpickler` allocates memory as the file says (an index of its memo, the length of a string) before it checks,
and creates whatever `find_class` returns. Here each instruction is checked first. Values are numbers, text, lists,
tuples and dictionaries; the name of a class or function stays a name, unless the caller's `Rules` give it a value.
"""

from __future__ import annotations

import collections
import pickle
import struct
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, NoReturn

from keras_resnets.archives.archive import WeightFileError
from keras_resnets.archives.bounded_file import File, quote

# A checkpoint of resnet1202 with its optimiser's state takes about half of it.
_MOST_INSTRUCTIONS = 1_000_000
LONGEST = 32 << 20
_LONGEST_NUMBER, _MOST_ARGUMENTS = 16, 16


@dataclass(frozen=True)
class Name:
    """The name of a class or function; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Rules:
    """What a kind of pickle may contain.

    Attributes:
        allowed: names of classes and functions that may occur.
        call: returns the value of calling a name with its arguments.
        load_persistent: returns the value of a persistent identifier.
    """

    allowed: Container[str]
    call: Callable[[str, tuple], object]
    load_persistent: Callable[[object], object]


_MARK = object()
# Formats of the instructions' arguments. `_FIXED` is followed by a number, `_TEXT` and `_BYTES` by a length and so many
# bytes.
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
    """Returns the object of the pickle that begins at `at`, and the pickle's end.

    Raises:
        WeightFileError: the pickle is damaged, or contains what the rules do not allow.
    """
    machine = _Machine(file, data, rules, at)
    try:
        return machine.run(), machine.at
    except WeightFileError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        # An instruction lacked an operand, or had one of the wrong type.
        machine.fail("is malformed")


class _Machine:
    """The stack machine that executes a pickle's instructions."""

    def __init__(self, file: File, data: bytes, rules: Rules, at: int):
        self.file, self.data, self.rules, self.at = file, data, rules, at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def fail(self, problem: str, remedy: str = "fetch it again, or save its tensors alone") -> NoReturn:
        self.file.fail(f"cannot be read: its pickle {problem}", remedy)

    def run(self) -> Any:
        for _ in range(_MOST_INSTRUCTIONS):
            code = self._read(1)
            if code == pickle.STOP:
                value = self.stack.pop()
                if value is _MARK or self.stack:
                    self.fail("leaves something behind")
                return value
            self._execute(code)
        self.fail(f"has more than {_MOST_INSTRUCTIONS:,} instructions")

    def _read(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            self.fail("is cut" if len(self.data) < LONGEST else f"has more than {LONGEST:,} bytes")
        self.at += count
        return self.data[self.at - count : self.at]

    def _read_number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _read_line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + 1000)
        return self._read(end + 1 - self.at)[:-1].decode("ascii")

    def _pop_to_mark(self) -> list[Any]:
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

    def _global_name(self, module: object, name: object) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        global_name = Name(module, name)
        if str(global_name) not in self.rules.allowed:
            self.fail(f"asks for {quote(str(global_name))}, which is not part of weights", "save its state_dict alone")
        return global_name

    def _set_items(self, target: object, values: list[Any]) -> None:
        """Adds alternating keys and values to a dictionary."""
        if not isinstance(target, dict):
            raise TypeError
        for key, value in list(zip(values[::2], values[1::2], strict=True)):
            if not isinstance(key, str | int | float | None):
                self.fail(f"has a dictionary with the key {quote(key)}")
            # Other numbers, such as the addresses that torch had as keys, could be chosen to collide in the hash table.
            target[key if isinstance(key, str) or (type(key) is int and 0 <= key < 1 << 31) else repr(key)] = value

    def _execute(self, code: bytes) -> None:
        """Executes an instruction; those for constants, numbers, text and bytes are here."""
        if code in _CONSTANTS:
            self.stack.append(_CONSTANTS[code])
        elif code in _FIXED:
            self._execute_numeric(code, self._read_number(_FIXED[code]))
        elif code in _TEXT:
            self.stack.append(self._read(self._read_number(_TEXT[code])).decode())
        elif code in _BYTES:
            value = self._read(self._read_number(_BYTES[code]))
            if code == pickle.LONG1 and len(value) > _LONGEST_NUMBER:
                self.fail(f"has a number of {len(value)} bytes")
            self.stack.append(int.from_bytes(value, "little", signed=True) if code == pickle.LONG1 else value)
        elif code == pickle.MARK:
            self.stack.append(_MARK)
        elif code == pickle.MEMOIZE:
            self._memoize(len(self.memo))
        else:
            self._execute_container(code)

    def _execute_numeric(self, code: bytes, value: Any) -> None:
        """Executes an instruction whose argument is a number."""
        if code in (pickle.BINGET, pickle.LONG_BINGET):
            self.stack.append(self.memo[value])
        elif code in (pickle.BINPUT, pickle.LONG_BINPUT):
            self._memoize(value)
        elif code in (pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.BINFLOAT):
            self.stack.append(value)
        elif code == pickle.PROTO and value > pickle.HIGHEST_PROTOCOL:
            self.fail(f"is of protocol {value}")

    def _execute_container(self, code: bytes) -> None:
        """Executes an instruction that makes or fills a tuple, list or dictionary."""
        if code == pickle.EMPTY_DICT:
            self.stack.append({})
        elif code == pickle.EMPTY_LIST:
            self.stack.append([])
        elif code == pickle.EMPTY_SET:
            self.stack.append(Ignored())
        elif code == pickle.ADDITEMS:
            self._pop_to_mark()
            if not isinstance(self.stack[-1], Ignored):
                raise TypeError
        elif code in _TUPLES:
            self.stack.append(tuple([self._pop() for _ in range(_TUPLES[code])][::-1]))
        elif code == pickle.TUPLE:
            self.stack.append(tuple(self._pop_to_mark()))
        elif code == pickle.LIST:
            self.stack.append(self._pop_to_mark())
        elif code == pickle.DICT:
            values = self._pop_to_mark()
            self.stack.append({})
            self._set_items(self.stack[-1], values)
        elif code in (pickle.APPEND, pickle.APPENDS):
            values = [self._pop()] if code == pickle.APPEND else self._pop_to_mark()
            if not isinstance(self.stack[-1], list):
                raise TypeError
            self.stack[-1].extend(values)
        elif code in (pickle.SETITEM, pickle.SETITEMS):
            values = [self._pop(), self._pop()][::-1] if code == pickle.SETITEM else self._pop_to_mark()
            self._set_items(self.stack[-1], values)
        else:
            self._execute_name(code)

    def _execute_name(self, code: bytes) -> None:
        """Executes an instruction that refers to a class, a function or a persistent identifier."""
        if code == pickle.GLOBAL:
            self.stack.append(self._global_name(self._read_line(), self._read_line()))
        elif code == pickle.STACK_GLOBAL:
            name, module = self._pop(), self._pop()
            self.stack.append(self._global_name(module, name))
        elif code == pickle.BINPERSID:
            self.stack.append(self.rules.load_persistent(self._pop()))
        elif code == pickle.REDUCE:
            arguments, name = self._pop(), self._pop()
            if not isinstance(name, Name) or not isinstance(arguments, tuple) or len(arguments) > _MOST_ARGUMENTS:
                self.fail("calls something other than a function, or with invalid arguments")
            self.stack.append(self.rules.call(str(name), arguments))
        elif code == pickle.BUILD:
            # The attributes of an ordered dictionary or a NumPy scalar: neither is needed.
            self._pop()
            if not isinstance(self.stack[-1], collections.OrderedDict | Ignored):
                self.fail("sets an object's attributes")
        else:
            self.fail(f"has the instruction {code!r}, which weights do not need")

    def _memoize(self, index: int) -> None:
        if self.stack[-1] is _MARK:
            raise TypeError
        self.memo[index] = self.stack[-1]


class Ignored:
    """Stands for a harmless value that is not a tensor, such as a NumPy scalar or a set."""
