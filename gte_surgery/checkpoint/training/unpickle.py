"""Reads the pickle inside a file that `torch.save` wrote, and executes nothing.

An interpreter of the few opcodes that protocol 2 needs for plain values; pickletools tells them apart. A global is
never imported: it is one of a closed list, or the file is refused with its name. Tensors become `Tensor`, a description
of where their elements lie; whole numbers remember where in the pickle they stand, so that a shape can be rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

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


_CALLED = ("torch._utils._rebuild_tensor_v2", "collections.OrderedDict", "torch.Size")
_KNOWN = frozenset((*_CALLED, *(f"torch.{name}" for name in (*STORAGES, *_DTYPE_NAMES))))

_MARK = object()


def unpickle(raw: bytes, source: str) -> object:
    """The value in the pickle `raw`: dictionaries, lists, tuples, plain values, `Whole` numbers and `Tensor`s.

    Raises CheckpointError for anything that is not one, with the name of what is not known.
    """
    if len(raw) > MOST_BYTES:
        raise CheckpointError(f"{source}: a pickle of {len(raw)} bytes, at most {MOST_BYTES} are read")
    machine = _Machine(source)
    try:
        return machine.run(raw)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError):
        raise CheckpointError(f"{source}: not a well-formed pickle, at byte {machine.at}") from None


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.stack: list[object] = []
        self.memo: dict[object, object] = {}

    def run(self, raw: bytes) -> object:
        from pickletools import genops

        text = BytesIO(raw)
        for opcode, argument, at in islice(genops(text), MOST_STEPS):
            self.at = at or 0
            if opcode.name == "STOP":
                return self.stack.pop()
            step = _OPCODES.get(opcode.name)
            if step is None:
                raise CheckpointError(f"{self.source}: opcode {opcode.name}, which no optimizer's file needs")
            step(self, argument)
            if type(self.stack[-1] if self.stack else None) is int:
                self._place(self.at, text.tell())
        raise CheckpointError(
            f"{self.source}: a pickle of more than {MOST_STEPS} steps, which no optimizer's file needs"
        )

    def _place(self, begin: int, end: int) -> None:
        number = Whole(self.stack[-1])  # type: ignore[call-overload]
        number.begin, number.end = begin, end
        self.stack[-1] = number

    def since_mark(self) -> list[object]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def refer(self, told: str) -> None:
        name = told.replace(" ", ".")
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


def _tuple(machine: _Machine, count: int) -> None:
    if len(machine.stack) < count:
        raise ValueError
    machine.stack[-count:] = [tuple(machine.stack[-count:])]


_PUSHED = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
_OPCODES: Mapping[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, version: None,
    **dict.fromkeys(_PUSHED, lambda machine, value: machine.stack.append(value)),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: _tuple(machine, 1),
    "TUPLE2": lambda machine, _: _tuple(machine, 2),
    "TUPLE3": lambda machine, _: _tuple(machine, 3),
    "GLOBAL": _Machine.refer,
    "SETITEM": lambda machine, _: machine.put_items([*reversed((machine.stack.pop(), machine.stack.pop()))]),
    "SETITEMS": lambda machine, _: machine.put_items(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "REDUCE": lambda machine, _: machine.call(),
    "BINPERSID": lambda machine, _: machine.persistent(),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda machine, key: machine.memo.update({key: machine.stack[-1]})),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, key: machine.stack.append(machine.memo[key])),
}


def pickled(number: int) -> bytes:
    """A whole number from 0 on as protocol 2 writes it, without what opens and closes a pickle."""
    from pickle import dumps

    return dumps(number, 2)[2:-1]


def rewritten(raw: bytes, numbers: Mapping[tuple[int, int], int]) -> bytes:
    """The pickle with the whole numbers that stand at [begin, end) replaced; nothing in protocol 2 counts bytes."""
    parts, at = [], 0
    for (begin, end), number in sorted(numbers.items()):
        parts += [raw[at:begin], pickled(number)]
        at = end
    return b"".join([*parts, raw[at:]])
