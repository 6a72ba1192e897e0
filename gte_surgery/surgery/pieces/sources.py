"""The files that a plan reads, open while it is carried out, and refused when they are no longer what they were.

Where their bytes come from is for `checkpoint.source` to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager

from gte_surgery.checkpoint.headers.header import read_digest
from gte_surgery.checkpoint.source import Destination, Opened
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.refusals import changed
from gte_surgery.surgery.pieces.cutting import merge
from gte_surgery.surgery.pieces.fetching import needed
from gte_surgery.surgery.pieces.piece import CopyRange, Piece
from gte_surgery.surgery.planning.plan import SourceFile


class Sources:
    """The source files of a plan, open for reading; it refuses files that are not what they were when the plan was
    made.
    """

    def __init__(self, files: Iterable[SourceFile], filesystem: Filesystem) -> None:
        self._files = {file.name: file for file in files}
        self._filesystem = filesystem
        self._opened: dict[str, Opened] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Sources:
        with self._closing:
            for file in self._files.values():
                self._opened[file.name] = self._closing.enter_context(closing(file.place.open(self._filesystem)))
            self.refuse_changed()
            self._closing = self._closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Tells the files that are far away what the pieces will read of them."""
        far = [name for name, file in self._files.items() if file.place.near is None]
        if far:
            for name, ranges in needed(pieces, far).items():
                self._opened[name].expect(ranges)

    @contextmanager
    def landing(self, pieces: Iterable[Piece], begin: int, destination: Destination) -> Iterator[None]:
        """Within the block, what the pieces copy of files that are far away, the first to `begin`, may be put there as
        it arrives."""
        far = {name: self._opened[name] for name, file in self._files.items() if file.place.near is None}
        for piece in merge(pieces) if far else ():
            if isinstance(piece, CopyRange) and piece.source in far:
                far[piece.source].land(piece.begin, piece.nbytes, destination, begin)
            begin += piece.nbytes
        try:
            yield
        finally:
            for opened in far.values():
                opened.withdraw(destination)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Where the block fails, other threads no longer wait for bytes that have not come yet."""
        try:
            yield
        except BaseException:
            for opened in self._opened.values():
                opened.give_up()
            raise

    def copy(self, piece: CopyRange, destination: Destination) -> None:
        """Appends the range to `destination`."""
        self._opened[piece.source].copy(piece.begin, piece.nbytes, destination)

    def read(self, source: str, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; raises RefusedError when the file has become shorter."""
        raw = self._opened[source].read(offset, count)
        if len(raw) != count:
            raise changed(source)
        return raw

    def refuse_changed(self) -> None:
        """Raises RefusedError when a file's size, time or header is not what the plan was made for."""
        for file in self._files.values():
            found = self._opened[file.name].identity
            if (found.size, found.mtime_ns) != (file.size, file.mtime_ns):
                raise changed(file.name)
            if file.header:
                with closing(file.place.open()) as reading:
                    if read_digest(reading) != file.header:
                        raise changed(file.name)
