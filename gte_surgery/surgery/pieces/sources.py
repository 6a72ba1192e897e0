"""The files that a plan reads, open while it is carried out, and refused when they are no longer what they were.

Where their bytes come from is for `checkpoint.source` to know.
"""

from __future__ import annotations

from collections.abc import Iterable

from gte_surgery.checkpoint.headers.header import read_digest
from gte_surgery.checkpoint.source import Destination, Opened
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.refusals import changed
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.planning.plan import SourceFile


class Sources:
    """The source files of a plan, open for reading; it refuses files that are not what they were when the plan was
    made.
    """

    def __init__(self, files: Iterable[SourceFile], filesystem: Filesystem) -> None:
        self._files = {file.name: file for file in files}
        self._filesystem = filesystem
        self._opened: dict[str, Opened] = {}

    def __enter__(self) -> Sources:
        try:
            for file in self._files.values():
                self._opened[file.name] = file.place.open(self._filesystem)
            self.refuse_changed()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._opened:
            self._opened.popitem()[1].close()

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
            if file.header and read_digest(file.place) != file.header:
                raise changed(file.name)
