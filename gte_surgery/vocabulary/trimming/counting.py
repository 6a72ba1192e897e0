"""Counts which tokens a corpus uses, with every processor and in bounded memory: words are counted in children, written
down sorted when they are many, merged, and each distinct one is encoded once.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gte_surgery.checkpoint.files import Progress, adding_up
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.trimming.texts import Part
from gte_surgery.vocabulary.trimming.workers import Workers

_RANGES = 64


@dataclass(frozen=True, slots=True)
class Counted:
    """How often each id occurs, by id; the number of texts, tokens and distinct words; `words`, the file of those."""

    counts: array[int]
    texts: int
    tokens: int
    distinct: int
    words: Path | None = None


def count(
    workers: Workers, corpus: list[Part], folder: Path, ids: int, held: int, progress: Progress | None = None
) -> Counted:
    """Counts a corpus with workers that have opened "old"; `held` ten-thousandths of the texts are left out."""
    advance, texts = adding_up(progress, sum(part.end - part.begin for part in corpus)), 0
    requests = ({"do": "count", "part": asdict(part), "folder": str(folder), "held": held} for part in corpus)
    for part, answer in zip(corpus, workers.spread(requests), strict=True):
        texts += answer["texts"]
        advance(part.end - part.begin)
    workers.all({"do": "flush", "folder": str(folder)})
    words = folder / "words"
    distinct = merged(sorted(folder.glob("*.words")), words)
    if not distinct:
        raise RefusedError("the texts hold no words, at least one is needed", "give files of text, and --column NAME")
    each = {"do": "encode", "words": str(words), "ids": ids}
    asked = (each | {"begin": at, "end": end, "cut": str(folder / f"{at}.cut")} for at, end in ranges(words))
    tokens = sum(answer["tokens"] for answer in workers.spread(asked))
    workers.all({"do": "seen", "folder": str(folder)})
    workers.rest()
    seen = [array("q", file.read_bytes()) for file in folder.glob("*.ids")]
    counts = array("q", map(sum, zip(*filter(None, seen), strict=True)))
    return Counted(counts, texts, tokens, distinct, words)


def ranges(file: Path) -> list[tuple[int, int]]:
    """Bytes [begin, end) of a file, in parts for several workers."""
    size = file.stat().st_size
    step = max(1 << 16, -(-size // _RANGES))
    return [(begin, min(begin + step, size)) for begin in range(0, size, step)]


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
