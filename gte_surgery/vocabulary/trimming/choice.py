"""Chooses the tokens to keep: by how often they occur, closed over what the kind of tokenizer needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.map_files import read_given
from gte_surgery.vocabulary.rewriting.closure import characters, growth, passed_through
from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.rewriting.rewrite import Source
from gte_surgery.vocabulary.row_map import Point
from gte_surgery.vocabulary.token_text import longest_pieces

SIZES = (8192, 16384, 32768, 65536)
"""The vocabulary sizes that the curve tells in words."""
_BETWEEN = (1024, 2048, 4096, 6144, 12288, 24576, 49152, 98304, 131072, 196608)
"""More of them for the eye."""
_FILE_LIMIT = 1 << 26


@dataclass(frozen=True, slots=True)
class Wish:
    """Which tokens are wanted: the `top` most frequent in all, those that make up a `coverage` of all tokens, or those
    that occur `min_count` times; without any of them, all that occur. `tokens` are kept whatever their count.
    """

    top: int | None = None
    coverage: float | None = None
    min_count: int | None = None
    tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.top, self.coverage, self.min_count)) > 1:
            raise UsageError("trim: --top, --coverage and --min-count are one choice", "give one of them")
        if self.coverage is not None and not 0 < self.coverage <= 1:
            raise UsageError(
                f"coverage: {self.coverage}, must be above 0 and at most 1", "for example --coverage 0.9995"
            )
        for name, value in (("top", self.top), ("min-count", self.min_count)):
            if value is not None and value < 1:
                raise UsageError(f"{name}: {value}, must be at least 1")


@dataclass(frozen=True, slots=True)
class Choice:
    """The `kept` ids, ascending, and how many of them were `used`, are `needed` by the tokenizer, and were `added`
    since merges pass through them.
    """

    kept: tuple[int, ...]
    used: int
    needed: int
    added: int


def always(source: Source, also: Collection[int], tokens: Collection[str]) -> set[int]:
    """What is kept whatever the counts: what the tokenizer needs, its added tokens, single characters, the ids `also`
    and the tokens named by the user. Raises UsageError for a token that is not there.
    """
    contents = source.contents
    ids = contents.ids_of(tokens)
    missing = [token for token in tokens if token not in ids]
    if missing:
        raise UsageError(
            f"keep-tokens: `{shown(missing[0])}`, must be a token of the vocabulary", "one token a line, as it is there"
        )
    found = {*source.needed, *characters(contents), *(token.id for token in contents.added)}
    return found | set(ids.values()) | {number for number in also if number in contents.texts}


def choose(contents: Contents, counts: Sequence[float], fixed: Collection[int], wish: Wish) -> Choice:
    """The tokens to keep. Raises RefusedError where `top` is less than what must be kept."""
    order = by_count(contents, counts)
    if wish.top is not None:
        used = order[: _most(contents, order, fixed, wish.top)]
    elif wish.coverage is not None:
        total, sums = sum(counts[n] for n in order), list(accumulate(counts[number] for number in order))
        used = order[: next((at + 1 for at, each in enumerate(sums) if each >= wish.coverage * total), len(order))]
    else:
        used = [number for number in order if counts[number] >= (wish.min_count or 1e-300)]
    chosen = {*fixed, *used}
    through = passed_through(contents, chosen)
    return Choice(tuple(sorted({*chosen, *through})), len(used), len(set(fixed)), len(through))


def by_count(contents: Contents, counts: Sequence[float]) -> list[int]:
    """The ids that occur, the most frequent first; of equally frequent ones the lower id."""
    occurring = [number for number in contents.texts if number < len(counts) and counts[number] > 0]
    return sorted(occurring, key=lambda number: (-counts[number], number))


def curve(
    contents: Contents, counts: Sequence[float], fixed: Collection[int], width: tuple[int, int]
) -> tuple[Point, ...]:
    """What is kept of the tokens counted at `SIZES`, and between them, from the least vocabulary to the whole one;
    `width` is what one row of the tables counts in parameters and in bytes.
    """
    points, kept, covered = list[Point](), 0, 0.0
    total, whole = sum(counts) or 1, len(contents.texts)

    def point(size: int) -> Point:
        return Point(size, kept, covered / total, *((whole - kept) * each for each in width))

    sizes = deque(size for size in sorted({*SIZES, *_BETWEEN}) if size < whole)
    for added in growth(contents, fixed, by_count(contents, counts)):
        while sizes and kept + len(added) > sizes[0]:
            size = sizes.popleft()
            points += [point(size)] if kept else []
        kept += len(added)
        covered += sum(counts[number] for number in added if number < len(counts))
    return (*points, *map(point, sizes))


def read_tokens(path: Path) -> tuple[str, ...]:
    """Tokens, one a line. Raises UsageError for a file that cannot be read."""
    try:
        text = read_given(path, _FILE_LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8") from None
    return tuple(line for line in text.replace("\r\n", "\n").split("\n") if line)


def mended(contents: Contents, words: Collection[str], kept: Collection[int]) -> Mapping[int, str]:
    """What must be kept too for words that the rewritten tokenizer cut otherwise, by id, with the word: of a word that
    WordPiece gave up the pieces that it had found by then, for with fewer of them it may not give up.
    """
    prefix = str(contents.whole.model.get("continuing_subword_prefix") or "##")
    found: dict[int, str] = {}
    for word in words:
        for text in longest_pieces(word, contents.ids, "", prefix):
            if (number := contents.ids[text]) not in kept:
                found[number] = word
    return found


def _most(contents: Contents, order: Sequence[int], fixed: Collection[int], top: int) -> int:
    """How many of the most frequent tokens fit into `top` with all that they need."""
    kept = 0
    for at, added in enumerate(growth(contents, fixed, order)):
        kept += len(added)
        if kept > top:
            if at == 0:
                why = "whatever the texts (special tokens, single characters)"
                raise RefusedError(
                    f"top: {top}, this tokenizer needs {kept} tokens {why}", f"give at least --top {kept}"
                )
            return at - 1
    return len(order)
