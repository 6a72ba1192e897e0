"""Counts which tokens a corpus uses, with every processor and in bounded memory: words are counted in children, written
down sorted when they are many, merged, and each distinct one is encoded once.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.checkpoint.files import Progress, adding_up
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.trimming import child
from gte_surgery.vocabulary.trimming.texts import Part
from gte_surgery.vocabulary.trimming.word_files import merged, ranges
from gte_surgery.vocabulary.trimming.workers import Workers


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
    for (part, *_), found in workers.each(child.count, ((part, folder, held) for part in corpus)):
        texts += found
        advance(part.end - part.begin)
    workers.all(child.flush, folder)
    words = folder / "words"
    distinct = merged(sorted(folder.glob("*.words")), words)
    if not distinct:
        raise RefusedError("the texts hold no words, at least one is needed", "give files of text, and --column NAME")
    calls = ((words, begin, end, ids, cut_of(folder, begin)) for begin, end in ranges(words))
    tokens = sum(found for _, found in workers.each(child.encode, calls))
    workers.all(child.seen, folder)
    workers.rest()
    seen = [array("q", file.read_bytes()) for file in folder.glob("*.ids")]
    counts = array("q", map(sum, zip(*filter(None, seen), strict=True)))
    return Counted(counts, texts, tokens, distinct, words)


def cut_of(folder: Path, begin: int) -> Path:
    """The file of what the words that begin there are cut into."""
    return folder / f"{begin}.cut"
