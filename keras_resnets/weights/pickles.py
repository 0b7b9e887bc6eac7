"""What a pickle of torch says, told without unpickling it: nothing is imported, made or called.

`pickletools` of the standard library takes a pickle apart into its operations; here they are followed with plain
values, and the few calls that torch's files consist of are recognised by name. Any other name is refused.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from keras_resnets.weights.archive import refuse

MOST_OPERATIONS = 2_000_000


@dataclass(frozen=True)
class Name:
    """A name that the pickle refers to."""

    module: str
    name: str


@dataclass(frozen=True)
class Stored:
    """Where numbers are: under a key of the file, so many of a kind."""

    kind: Name
    key: str
    count: int


@dataclass(frozen=True)
class View:
    """A tensor: numbers of a storage, from an offset on, with strides."""

    storage: Stored
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    pass


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "STRING", "BINSTRING",
    "SHORT_BINSTRING",
}  # fmt: skip


def interpret(path: Path, stream: BinaryIO) -> Any:
    """Returns what the next pickle of a stream holds, tensors as `View`.

    Args:
        path: the file, for messages.
        stream: where the pickle begins, in memory: a file would set aside whatever length it is asked for.

    Raises:
        WeightFileError: the pickle refers to what is no part of a state dict, or is damaged.
    """
    return _Machine(path).run(stream)


class _Machine:
    def __init__(self, path: Path):
        self.path = path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if number > MOST_OPERATIONS:
                raise refuse(self.path, "its pickle is too long")
            if operation.name == "STOP":
                return self.stack.pop()
            self.step(operation.name, argument)
        raise refuse(self.path, "its pickle has no end")

    def marked(self) -> list:
        """What was put on the stack since the last mark."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _Mark:
                found, self.stack[i:] = self.stack[i + 1 :], []
                return found
        raise refuse(self.path, "its pickle is damaged")

    def step(self, name: str, argument: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        if name in _VALUES:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name == "MARK":
            push(_Mark)
        elif name in ("PROTO", "FRAME"):
            pass
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            push(self.memo[argument])
        elif name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
            push({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[name])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [pop() for _ in range(int(name[-1]))]
            push(tuple(reversed(items)))
        elif name in ("TUPLE", "LIST"):
            push(tuple(self.marked()) if name == "TUPLE" else self.marked())
        elif name in ("APPEND", "APPENDS"):
            items = [pop()] if name == "APPEND" else self.marked()
            self.expect(self.stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = [pop(), pop()][::-1] if name == "SETITEM" else self.marked()
            if name == "DICT":
                push({})
            self.fill(self.expect(self.stack[-1], dict), items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "GLOBAL":
                module, _, attribute = argument.partition(" ")
            else:
                attribute, module = pop(), pop()
            push(Name(self.expect(module, str), self.expect(attribute, str)))
        elif name == "BINPERSID":
            push(self.storage(pop()))
        elif name == "REDUCE":
            arguments, function = pop(), pop()
            push(self.call(function, self.expect(arguments, tuple)))
        elif name == "BUILD":
            pop()  # versions of modules, which torch hangs on an OrderedDict
            self.expect(self.stack[-1], dict)
        elif name == "POP":
            pop()
        else:
            raise refuse(self.path, f"its pickle uses {name}, which state dicts do not need")

    def expect(self, value: Any, kind: type) -> Any:
        if type(value) is not kind:
            told = f"{value.module}.{value.name}" if isinstance(value, Name) else type(value).__name__
            raise refuse(self.path, f"its pickle has {told[:80]} in the place of a {kind.__name__}")
        return value

    def fill(self, target: dict, items: list) -> None:
        if len(items) % 2:
            raise refuse(self.path, "its pickle is damaged")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | None):
                raise refuse(self.path, f"a dict in it has a {type(key).__name__} for a key")
            target[key] = value

    def storage(self, found: Any) -> Stored:
        # ("storage", class, key, device, count) and, before torch 1.6, what of it a view sees.
        self.expect(found, tuple)
        if len(found) not in (5, 6) or found[0] != "storage" or not isinstance(found[1], Name):
            raise refuse(self.path, "it has numbers that are stored in an unknown way")
        if len(found) == 6 and found[5] is not None:
            raise refuse(self.path, "it has a view of a storage, as torch 0.1 had; save it with a newer torch")
        return Stored(found[1], self.expect(found[2], str), self.size(found[4]))

    def size(self, value: Any) -> int:
        if type(value) is not int or not 0 <= value < 2**62:
            raise refuse(self.path, f"its pickle has {str(value)[:40]!r} in the place of a size")
        return value

    def sizes(self, values: Any) -> tuple[int, ...]:
        return tuple(self.size(value) for value in self.expect(values, tuple))

    def call(self, function: Any, arguments: tuple) -> Any:
        name = f"{function.module}.{function.name}" if isinstance(function, Name) else type(function).__name__
        if name == "collections.OrderedDict":
            if arguments:
                raise refuse(self.path, "its pickle fills an OrderedDict in an unknown way")
            return {}
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            if len(arguments) < 4:
                raise refuse(self.path, "its pickle is damaged")
            storage, offset, shape, strides = arguments[:4]
            view = View(self.expect(storage, Stored), self.size(offset), self.sizes(shape), self.sizes(strides))
            if len(view.shape) != len(view.strides):
                raise refuse(self.path, "an array has more strides than axes, or fewer")
            return view
        if name == "torch._utils._rebuild_parameter":
            return self.expect(arguments[0] if arguments else None, View)
        if name == "torch.Size":
            return self.sizes(arguments[0] if arguments else None)
        raise refuse(self.path, f"its pickle calls {name[:80]}, which state dicts do not need")
