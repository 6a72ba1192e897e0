"""Files of words: a line a word, sorted, with how often it was counted, so that many make one in bounded memory."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

WORD, TEXT = "W", "T"
"""How a line begins: a word as the model gets it, or a whole text that holds an added token."""

_RANGES = 64
_MARKS = {r"\\": "\\", r"\n": "\n", r"\t": "\t", r"\r": "\r"}


def write_words(path: Path, counted: Iterable[tuple[str, Iterable[tuple[str, int]]]]) -> None:
    """Writes words of each kind, and how often each was counted."""
    lines = (f"{kind}{escaped(word)}\t{times}\n" for kind, items in counted for word, times in items)
    with path.open("wb") as file:
        file.writelines(sorted(line.encode("utf-8", "surrogatepass") for line in lines))


def read_words(path: Path, begin: int, end: int) -> Iterator[tuple[str, str, int]]:
    """(kind, word, times) of the lines that begin in bytes [begin, end)."""
    with path.open("rb") as file:
        if begin:
            file.seek(begin - 1)
            file.readline()
        at = file.tell()
        while at < end and (line := file.readline()):
            word, _, times = line.decode("utf-8", "surrogatepass").rstrip("\n").partition("\t")
            yield word[:1], unescaped(word[1:]), int(times)
            at += len(line)


def ranges(file: Path) -> list[tuple[int, int]]:
    """Bytes [begin, end) of a file, in parts for several workers."""
    size = file.stat().st_size
    step = max(1 << 16, -(-size // _RANGES))
    return [(begin, min(begin + step, size)) for begin in range(0, size, step)]


def escaped(word: str) -> str:
    """A word as one line of a file, without tabs."""
    return word.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def unescaped(line: str) -> str:
    """The word that `escaped` wrote."""
    if "\\" not in line:
        return line
    return re.sub(r"\\[\\ntr]", lambda found: _MARKS[found[0]], line)


def merged(runs: list[Path], out: Path) -> int:
    """Makes one of sorted files of words, adding up the times; how many distinct words there are."""
    distinct = 0
    files = [run.open("rb") for run in runs]
    try:
        with out.open("wb") as written:
            for word, times in _summed(heapq.merge(*files)):
                written.write(b"%s\t%d\n" % (word, times))
                distinct += 1
    finally:
        for file in files:
            file.close()
    for run in runs:
        run.unlink()
    return distinct


def _summed(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """(word, times) of sorted lines; "a\\t1" sorts beside "a\\t2", since a tab sorts before any character of a word."""
    last, total = b"", 0
    for line in lines:
        word, _, times = line.rstrip(b"\n").rpartition(b"\t")
        if word != last and total:
            yield last, total
            total = 0
        last, total = word, total + int(times)
    if total:
        yield last, total
