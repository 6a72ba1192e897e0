"""Reads the pickle inside a file that `torch.save` wrote, and executes nothing.

An interpreter of the few opcodes that protocol 2 needs for plain values [CPython, pickletools.py]. A global is never
imported: it is one of a closed list, or the file is refused with its name. Tensors become `Tensor`, a description of
where their elements lie; whole numbers remember where in the pickle they stand, so that a shape can be rewritten.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError

MOST_BYTES = 1 << 24
"""Of a pickle: one of 1,000 parameters with three moments each takes half a megabyte."""
MOST_ENTRIES = 1 << 16
"""Of one dictionary."""
MOST_STEPS = 1 << 19
"""Opcodes, each of which makes one value at most; one of 1,000 parameters with three moments each takes 124,000."""
MOST_ARGUMENTS = 16
"""Of a call, which takes them all apart; a tensor's has seven, and no tensor more than eight dimensions."""

STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
"""The storage classes of torch that are known, and the dtype of their elements."""

_DTYPE_NAMES = frozenset(
    ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
)


class Whole(int):
    """A whole number and the bytes [begin, end) of the pickle that say it."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Storage:
    """The persistent id of a tensor's storage: the record `key` of the archive, `count` elements of `dtype`."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage, in elements: from `offset`, with `shape` and `stride`."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it is row-major and all of its storage, as an optimizer's moments are."""
        wanted, size = [], 1
        for length in reversed(self.shape):
            wanted.append(size)
            size *= length
        is_row_major = all(
            length == 1 or found == want
            for length, found, want in zip(self.shape, self.stride, reversed(wanted), strict=True)
        )
        return self.offset == 0 and self.storage.count == size and is_row_major


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that a pickle refers to: "torch.FloatStorage". Nothing is imported for it."""

    name: str


_REBUILD = "torch._utils._rebuild_tensor_v2"
_ORDERED = "collections.OrderedDict"
_SIZE = "torch.Size"
_KNOWN = frozenset(
    (_REBUILD, _ORDERED, _SIZE, *(f"torch.{name}" for name in STORAGES), *(f"torch.{name}" for name in _DTYPE_NAMES))
)

_MARK = object()


def unpickle(raw: bytes, source: str) -> object:
    """The value in the pickle `raw`: dictionaries, lists, tuples, plain values, `Whole` numbers and `Tensor`s.

    Raises CheckpointError for anything that is not one, with the name of what is not known.
    """
    if len(raw) > MOST_BYTES:
        raise CheckpointError(f"{source}: a pickle of {len(raw)} bytes, at most {MOST_BYTES} are read")
    machine = _Machine(raw, source)
    try:
        return machine.run()
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error):
        raise CheckpointError(f"{source}: not a well-formed pickle, at byte {machine.at}") from None


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, raw: bytes, source: str) -> None:
        self.raw = raw
        self.source = source
        self.at = 0
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        for _ in range(MOST_STEPS):
            opcode = self.raw[self.at]
            if opcode == _STOP:
                return self.stack.pop()
            step = _OPCODES.get(opcode)
            if step is None:
                raise CheckpointError(f"{self.source}: opcode {bytes([opcode])!r}, which no optimizer's file needs")
            begin, self.at = self.at, self.at + 1
            step(self)
            if type(self.stack[-1] if self.stack else None) is int:
                self._place(begin)
        raise CheckpointError(
            f"{self.source}: a pickle of more than {MOST_STEPS} steps, which no optimizer's file needs"
        )

    def _place(self, begin: int) -> None:
        number = Whole(self.stack[-1])  # type: ignore[call-overload]
        number.begin, number.end = begin, self.at
        self.stack[-1] = number

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.raw):
            raise ValueError
        self.at += count
        return self.raw[self.at - count : self.at]

    def number(self, form: str) -> int:
        found: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def line(self) -> str:
        end = self.raw.index(b"\n", self.at)
        return self.take(end + 1 - self.at)[:-1].decode("ascii")

    def since_mark(self) -> list[object]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def refer(self) -> None:
        name = f"{self.line()}.{self.line()}"
        if name not in _KNOWN:
            named = f"names `{shown(name[:200])}`, which is no part of an optimizer's state"
            raise CheckpointError(f"{self.source}: {named}")
        self.stack.append(_Global(name))

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise TypeError
        if len(arguments) > MOST_ARGUMENTS:
            raise ValueError
        match function.name:
            case "torch._utils._rebuild_tensor_v2":
                storage, offset, shape, stride, *_ = arguments
                self.stack.append(_tensor(storage, offset, shape, stride))
            case "collections.OrderedDict" if not arguments:
                self.stack.append({})
            case "torch.Size":
                self.stack.append(_size(arguments[0]))
            case _:
                raise CheckpointError(f"{self.source}: calls `{function.name}`, which no optimizer's file needs")

    def put_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not (key is None or isinstance(key, str) or (isinstance(key, int) and 0 <= key < 1 << 31)):
                raise TypeError
            target[int(key) if isinstance(key, Whole) else key] = value
        if len(target) > MOST_ENTRIES:
            raise ValueError

    def append(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError
        target.extend(items)

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def persistent(self) -> None:
        told = self.stack.pop()
        if not isinstance(told, tuple) or len(told) != 5:
            raise TypeError
        kind, storage, key, _location, count = told
        if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str):
            raise TypeError
        dtype = STORAGES.get(storage.name.removeprefix("torch."))
        if dtype is None or not isinstance(count, int) or count < 0:
            raise TypeError
        self.stack.append(Storage(key, dtype, count))


def _size(lengths: object) -> tuple[object, ...]:
    if not isinstance(lengths, (tuple, list)) or len(lengths) > MOST_ARGUMENTS:
        raise TypeError
    return tuple(lengths)


def _tensor(storage: object, offset: object, shape: object, stride: object) -> Tensor:
    if not (isinstance(storage, Storage) and isinstance(offset, int) and isinstance(shape, tuple)):
        raise TypeError
    if not (isinstance(stride, tuple) and len(stride) == len(shape) <= 8):
        raise TypeError
    if not all(isinstance(number, int) and 0 <= number < 1 << 48 for number in (offset, *shape, *stride)):
        raise TypeError
    return Tensor(storage, offset, shape, stride)


def _tuple(count: int) -> Callable[[_Machine], None]:
    def make(machine: _Machine) -> None:
        if len(machine.stack) < count:
            raise ValueError
        items = tuple(machine.stack[-count:])
        del machine.stack[-count:]
        machine.stack.append(items)

    return make


def _push(value: Callable[[_Machine], object]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value(machine))


def _whole(machine: _Machine) -> int:
    return int.from_bytes(machine.take(machine.number("<B")), "little", signed=True)


_STOP = ord(".")
_OPCODES: Mapping[int, Callable[[_Machine], object]] = {
    0x80: lambda machine: machine.take(1),
    ord("("): _push(lambda machine: _MARK),
    ord("N"): _push(lambda machine: None),
    0x88: _push(lambda machine: True),
    0x89: _push(lambda machine: False),
    ord("J"): _push(lambda machine: machine.number("<i")),
    ord("K"): _push(lambda machine: machine.number("<B")),
    ord("M"): _push(lambda machine: machine.number("<H")),
    0x8A: _push(_whole),
    ord("G"): _push(lambda machine: struct.unpack(">d", machine.take(8))[0]),
    ord("X"): _push(lambda machine: machine.take(machine.number("<I")).decode("utf-8")),
    ord("c"): _Machine.refer,
    ord("}"): _push(lambda machine: {}),
    ord("]"): _push(lambda machine: []),
    ord(")"): _push(lambda machine: ()),
    ord("t"): _push(lambda machine: tuple(machine.since_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("s"): lambda machine: machine.put_items([*reversed((machine.stack.pop(), machine.stack.pop()))]),
    ord("u"): lambda machine: machine.put_items(machine.since_mark()),
    ord("a"): lambda machine: machine.append([machine.stack.pop()]),
    ord("e"): lambda machine: machine.append(machine.since_mark()),
    ord("R"): _Machine.call,
    ord("Q"): _Machine.persistent,
    ord("q"): lambda machine: machine.remember(machine.number("<B")),
    ord("r"): lambda machine: machine.remember(machine.number("<I")),
    ord("h"): _push(lambda machine: machine.memo[machine.number("<B")]),
    ord("j"): _push(lambda machine: machine.memo[machine.number("<I")]),
}
"""PROTO, MARK, NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1, BINFLOAT, BINUNICODE, GLOBAL, EMPTY_DICT,
EMPTY_LIST, EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3, SETITEM, SETITEMS, APPEND, APPENDS, REDUCE, BINPERSID, BINPUT,
LONG_BINPUT, BINGET, LONG_BINGET.
"""


def pickled(number: int) -> bytes:
    """A whole number from 0 on as protocol 2 writes it [CPython, pickle.py, save_long]."""
    if number < 1 << 8:
        return b"K" + struct.pack("<B", number)
    if number < 1 << 16:
        return b"M" + struct.pack("<H", number)
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    body = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return b"\x8a" + struct.pack("<B", len(body)) + body


def rewritten(raw: bytes, numbers: Mapping[tuple[int, int], int]) -> bytes:
    """The pickle with the whole numbers that stand at [begin, end) replaced; nothing in protocol 2 counts bytes."""
    parts, at = [], 0
    for (begin, end), number in sorted(numbers.items()):
        parts += [raw[at:begin], pickled(number)]
        at = end
    return b"".join([*parts, raw[at:]])
