"""What a process of a trim is asked. It holds the tokenizers that are open, the words that it has counted, and how
often each id was in those that it encoded.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from gte_surgery.vocabulary.confined import bound
from gte_surgery.vocabulary.token_files import AddedToken
from gte_surgery.vocabulary.trimming.texts import Part, texts_of
from gte_surgery.vocabulary.trimming.word_files import TEXT, WORD, merged, read_words, write_words
from gte_surgery.vocabulary.trimming.words import Words

MOST_WORDS = 100_000
"""So many distinct words are held before they are written down."""
MOST_RUNS = 64
"""So many files of words are written before they are merged into one."""
_MOST_DIFFERING = 100_000
_TEXTS = 1000
_U32 = array("I").itemsize

_OPENED: dict[str, Words] = {}
_COUNTED: dict[str, Counter[str]] = {WORD: Counter(), TEXT: Counter()}
_RUNS: list[Path] = []
_IDS = array("q")


class Compared(NamedTuple):
    """Of some words: those of which all tokens are kept and that give the `same`, the `changed` ones and how often
    they occur, and those that are `differing` though their tokens are kept.
    """

    same: int
    changed: int
    changed_times: int
    differing: Sequence[str]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of so many `texts`, those cut into the `same` tokens, the tokens of all `before` and `after`, and the characters
    that became `unknown`.
    """

    texts: int = 0
    same: int = 0
    before: int = 0
    after: int = 0
    unknown: int = 0

    @property
    def more(self) -> float:
        """How many tokens more they take, as a share."""
        return (self.after - self.before) / max(1, self.before)


def open_tokenizers(paths: Mapping[str, Path], beside: Sequence[AddedToken]) -> None:
    """Opens tokenizers, by name: "old", "new"; the tokens `beside` are added to each."""
    bound(sum(path.stat().st_size for path in paths.values()))
    _OPENED.update({name: Words(path, beside) for name, path in paths.items()})


def count(part: Part, folder: Path, held: int) -> int:
    """Counts the words of the texts that are not held out, `held` ten-thousandths; how many texts those are."""
    texts, old = 0, _OPENED["old"]
    for text in texts_of(part):
        if is_held(text, held):
            continue
        texts += 1
        words = old.words(text)
        if words is None:
            _COUNTED[TEXT][text] += part.weight
        elif part.weight == 1:
            _COUNTED[WORD].update(words)
        else:
            _COUNTED[WORD].update({word: part.weight * times for word, times in Counter(words).items()})
        if sum(map(len, _COUNTED.values())) > MOST_WORDS:
            _write_down(folder)
    return texts


def flush(folder: Path) -> None:
    """Writes all words that were counted into one file, sorted, and forgets them."""
    _write_down(folder)
    merged(_RUNS, folder / f"{os.getpid()}.words")
    _RUNS.clear()


def _write_down(folder: Path) -> None:
    at = folder / f"{os.getpid()}-{len(_RUNS)}"
    write_words(at, ((kind, words.items()) for kind, words in _COUNTED.items()))
    _RUNS.append(at)
    for words in _COUNTED.values():
        words.clear()
    if len(_RUNS) == MOST_RUNS:
        merged(_RUNS, whole := at.with_suffix(".merged"))
        _RUNS[:] = [whole.rename(_RUNS[0])]


def encode(words: Path, begin: int, end: int, ids: int, cut: Path) -> int:
    """Adds up how often each of so many ids is in words; how many tokens they are. `cut` gets the ids of each word, how
    many they are before them.
    """
    if not _IDS:
        _IDS.frombytes(bytes(_IDS.itemsize * ids))
    tokens = 0
    with cut.open("wb") as written:
        for kind, word, times in read_words(words, begin, end):
            found = _ids("old", kind, word)
            written.write(array("I", (len(found), *found)))
            tokens += times * len(found)
            for number in found:
                _IDS[number] += times
    return tokens


def seen(folder: Path) -> None:
    """Writes down how often each id was in the words that were encoded: an array of 64-bit numbers."""
    (folder / f"{os.getpid()}.ids").write_bytes(_IDS.tobytes())


def compare(words: Path, begin: int, end: int, new_ids: Path, cut: Path) -> Compared:
    """Encodes words with the new tokenizer: those of which all tokens are kept must give what corresponds to the old
    ones, which are in `cut`.
    """
    to_new = array("q", new_ids.read_bytes())
    same = changed = changed_times = 0
    differing: list[str] = []
    with cut.open("rb") as file:
        for kind, word, times in read_words(words, begin, end):
            (length,) = array("I", file.read(_U32))
            moved = [to_new[number] for number in array("I", file.read(_U32 * length))]
            if -1 in moved:
                changed, changed_times = changed + 1, changed_times + times
            elif moved == _ids("new", kind, word):
                same += 1
            elif len(differing) < _MOST_DIFFERING:
                differing.append(word)
    return Compared(same, changed, changed_times, differing)


def cost(part: Part, held: int, new_ids: Path, unknown: tuple[int | None, int | None]) -> Cost:
    """What the held-out texts of a part cost by both tokenizers; `unknown` are the ids that stand for it in each."""
    to_new = array("q", new_ids.read_bytes())
    total, batch = Cost(), list[str]()
    for text in (text for text in texts_of(part) if is_held(text, held)):
        batch.append(text)
        if len(batch) == _TEXTS:
            total = summed((total, *_costs(batch, to_new, unknown)))
            batch.clear()
    return summed((total, *_costs(batch, to_new, unknown)))


def _costs(texts: list[str], to_new: array[int], unknown: tuple[int | None, int | None]) -> Iterator[Cost]:
    olds, news = (_OPENED[which].unknown_characters(texts, unknown[at]) for at, which in enumerate(("old", "new")))
    for (old, before), (new, after) in zip(olds, news, strict=True):
        same = [to_new[number] for number in old] == new
        yield Cost(1, same, len(old), len(new), max(0, after - before))


def summed(costs: Sequence[Cost]) -> Cost:
    """What texts cost together."""
    return Cost(**{each.name: sum(getattr(cost, each.name) for cost in costs) for each in fields(Cost)})


def frame(which: str, texts: list[str], longest: int) -> list[tuple[list[int], bool]]:
    """The ids of texts as a model takes them, by one of the tokenizers, and whether each was cut at the `longest`."""
    return _OPENED[which].framed(texts, longest)


def _ids(which: str, kind: str, word: str) -> list[int]:
    tokenizer = _OPENED[which]
    return tokenizer.ids_of_text(word) if kind == TEXT else tokenizer.ids_of_word(word)


def is_held(text: str, share: int) -> bool:
    """Whether a text is held out, of `share` ten-thousandths: the same text always is, or never."""
    return bool(share) and zlib.crc32(text.encode("utf-8", "surrogatepass")) % 10_000 < share
