"""The plan of a surgery: for each output file the tensors, and for each tensor the pieces that make its bytes.

A pure value. Planners make it from a checkpoint and an edit, `render` shows it, `apply` carries it out; what the plan
does not name is carried over untouched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from gte_surgery.checkpoint.files import FileEntry
from gte_surgery.checkpoint.headers.header import render_header, tensor_nbytes
from gte_surgery.checkpoint.source import Place
from gte_surgery.surgery.pieces.fetching import Fetch
from gte_surgery.surgery.pieces.piece import CopyRange, GatherRows, LikeTable, Piece, within
from gte_surgery.surgery.planning.claim import Claim
from gte_surgery.vocabulary.row_map import Point


class SourceFile(NamedTuple):
    """A weight file that pieces read, as it was when the plan was made; `header` is the digest of its header."""

    name: str
    place: Place
    size: int
    mtime_ns: int
    header: str

    @classmethod
    def of(cls, file: FileEntry, header: str = "") -> SourceFile:
        """A file of the checkpoint as it is now."""
        return cls(file.name, file.place, file.size, file.mtime_ns, header)


class PlannedTensor(NamedTuple):
    """A tensor to be written: its place in the header and the pieces that yield its bytes, in order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def nbytes(self) -> int:
        return sum(piece.nbytes for piece in self.pieces)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class WeightFile(NamedTuple):
    """A safetensors file to be written, with the permission bits `mode`."""

    name: str
    mode: int
    metadata: tuple[tuple[str, str], ...] | None
    tensors: tuple[PlannedTensor, ...]

    @property
    def head(self) -> bytes:
        """The header; the bytes of the tensors follow it."""
        return render_header([(t.name, t.dtype, t.shape) for t in self.tensors], self.metadata)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(piece for tensor in self.tensors for piece in tensor.pieces)

    @property
    def nbytes(self) -> int:
        return len(self.head) + sum(tensor.nbytes for tensor in self.tensors)


class PlainFile(NamedTuple):
    """A file of another kind to be written, with the permission bits `mode`: the bytes `head`, which are all of a small
    one such as config.json, and then those of `pieces`.
    """

    name: str
    mode: int
    head: bytes = b""
    pieces: tuple[Piece, ...] = ()

    @property
    def tensors(self) -> tuple[PlannedTensor, ...]:
        return ()

    @property
    def nbytes(self) -> int:
        return len(self.head) + sum(piece.nbytes for piece in self.pieces)


OutputFile = WeightFile | PlainFile


class ConfigChange(NamedTuple):
    """One member of config.json: its value before and after, None for "absent"."""

    key: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Plan:
    """What a surgery will do. `edits` and `seed` go into the receipt, `meaning` says in words what changes, `claims`
    what does not.

    `source` names the checkpoint that is read, "" for one made from nothing; `fetch` is None but for one on
    a hub. `curve` is what other sizes of a trimmed vocabulary would have come to, `left` the codes of errors that
    stand before and after, of which the surgery cures others.
    """

    command: str
    source: str
    edits: Mapping[str, object]
    seed: int | None
    sources: tuple[SourceFile, ...]
    files: tuple[OutputFile, ...]
    removed: tuple[str, ...]
    changes: tuple[ConfigChange, ...]
    meaning: tuple[str, ...]
    fetch: Fetch | None = None
    claims: tuple[Claim, ...] = ()
    curve: tuple[Point, ...] = ()
    left: frozenset[str] = frozenset()

    def besides(
        self,
        files: Iterable[OutputFile] = (),
        sources: Iterable[SourceFile] = (),
        removed: Iterable[str] = (),
        meaning: Iterable[str] = (),
    ) -> Plan:
        """The plan that does, and says, this as well."""
        return replace(
            self,
            files=(*self.files, *files),
            sources=(*self.sources, *sources),
            removed=(*self.removed, *removed),
            meaning=(*self.meaning, *meaning),
        )

    def __post_init__(self) -> None:
        check_plan(self.files, {source.name: source.size for source in self.sources})

    @property
    def is_empty(self) -> bool:
        return not self.files and not self.removed

    @property
    def nbytes(self) -> int:
        return sum(file.nbytes for file in self.files)


def check_plan(files: Sequence[OutputFile], sizes: Mapping[str, int]) -> None:
    """Holds the plan to its invariants: unique names, pieces that fill their tensors, ranges inside their sources.

    Raises ValueError, since a plan that breaks one is a bug of ours and not of any input.
    """
    names = [file.name for file in files]
    tensors = [tensor for file in files for tensor in file.tensors]
    for kind, seen in (("file", names), ("tensor", [tensor.name for tensor in tensors])):
        if len(set(seen)) != len(seen):
            raise ValueError(f"a {kind} is planned twice: {min(name for name in seen if seen.count(name) > 1)}")
    for tensor in tensors:
        wanted = tensor_nbytes(tensor.name, tensor.dtype, tensor.shape)
        if tensor.nbytes != wanted:
            raise ValueError(f"`{tensor.name}`: pieces yield {tensor.nbytes} bytes, its shape needs {wanted}")
        for source, begin, end in filter(None, (_read(part) for piece in tensor.pieces for part in within(piece))):
            if not 0 <= begin <= end <= sizes[source]:
                raise ValueError(f"`{tensor.name}`: bytes {begin} to {end} lie outside {source}")


def _read(piece: Piece) -> tuple[str, int, int] | None:
    """(source, begin, end) of the bytes that a piece itself may read."""
    match piece:
        case CopyRange():
            return piece.source, piece.begin, piece.end
        case GatherRows():
            least, most = min(piece.rows, default=0), max(piece.rows, default=-1)
            return piece.source, piece.begin + piece.row_bytes * least, piece.begin + piece.row_bytes * (most + 1)
        case LikeTable(table=table):
            return table.source, table.begin, table.begin + table.nbytes
        case _:
            return None
