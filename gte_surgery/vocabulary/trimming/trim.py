"""Trimming from end to end, short of the weights: count, choose, rewrite, and prove on every distinct word that what is
kept is cut as before. The result is a row map; what becomes of the rows is for `remap`.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import Progress
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.vocabulary.classes import class_of, replaced
from gte_surgery.vocabulary.map_files import read_counts
from gte_surgery.vocabulary.rewriting.rewrite import Source, load, rewritten
from gte_surgery.vocabulary.row_map import Places, Point, RowMap, row_map
from gte_surgery.vocabulary.token_files import TOKENIZER_CONFIG, TOKENIZER_JSON
from gte_surgery.vocabulary.trimming import child
from gte_surgery.vocabulary.trimming.child import Compared, Cost
from gte_surgery.vocabulary.trimming.choice import SIZES, Choice, Wish, always, choose, curve, mended
from gte_surgery.vocabulary.trimming.costs import cost_of, written_map
from gte_surgery.vocabulary.trimming.counting import Counted, count, cut_of
from gte_surgery.vocabulary.trimming.texts import parts
from gte_surgery.vocabulary.trimming.word_files import ranges
from gte_surgery.vocabulary.trimming.workers import Workers, started

_UNCOUNTED = "no text and no count was given: tokens are kept in the order of their ids, as far as the tokenizer can"
ROUNDS = 20
"""So often what differs is repaired before it is given up."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is counted: files of texts and the column that holds them, or files of counts; `held_out` is the share of
    texts that is left out of the counting and reported on; `write_counts` is where counts are written. Each text of a
    file counts as often as its one of `weights` says, once without any.
    """

    texts: tuple[Path, ...] = ()
    counts: tuple[Path, ...] = ()
    column: str | None = None
    held_out: float = 0.0
    write_counts: Path | None = None
    weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.texts):
            found = f"{len(self.weights)} of them for {len(self.texts)} files of texts"
            raise UsageError(f"weight: {found}, must be one for each", "--texts a.txt --weight 3 …")
        if least := [weight for weight in self.weights if weight < 1]:
            raise UsageError(f"weight: {least[0]}, must be at least 1", "leave out the texts that are not to count")
        if not 0 <= self.held_out < 1:
            raise UsageError(f"held-out: {self.held_out}, must be at least 0 and below 1", "for example --held-out 0.1")


def trimmed(
    checkpoint: Checkpoint,
    corpus: Corpus,
    wish: Wish,
    *,
    special: Collection[int] = (),
    width: tuple[int, int] = (0, 0),
    threads: int | None = None,
    progress: Progress | None = None,
) -> RowMap:
    """The map that keeps what the corpus uses and the tokenizer needs. `special` are ids that the config names; `width`
    is what one row of the tables counts in parameters and in bytes, for the curve. Where nothing is to be counted, the
    first tokens are the most wanted.

    Raises UsageError and RefusedError; the latter also where the rewritten tokenizer cannot be made to cut as before.
    """
    instead = pasteable("remap", checkpoint.name, "--keep", "FILE", "--tokenizer", "remove")
    found = parts(list(corpus.texts), corpus.column, corpus.weights)
    with TemporaryDirectory(prefix="gte-surgery-") as folder, started(threads) as workers:
        place = Path(folder)
        source = load(checkpoint, f"to keep rows without a tokenizer, name them in a file: {instead}")
        if found:
            (place / "old.json").write_bytes(source.contents.raw)
            workers.open({"old": place / "old.json"}, source.contents.beside)
        size = max(source.contents.texts, default=0) + 1
        fixed = always(source, special, wish.tokens)
        held = round(corpus.held_out * 10_000)
        counted = Counted(array("q", bytes(8 * size)), 0, 0, 0)
        if found:
            counted = count(workers, found, place, size, held, progress)
        is_counted = bool(corpus.texts or corpus.counts)
        counts = _with_files(counted.counts, corpus.counts) if is_counted else list(range(size, 0, -1))
        if corpus.write_counts is not None and is_counted:
            _write(corpus.write_counts, counts)
        choice = choose(source.contents, counts, fixed, wish)
        points = curve(source.contents, counts, fixed, width) if is_counted else ()
        told = [*_of_class(source), *(_of_counting(counted, counts, choice, source) if is_counted else [_UNCOUNTED])]
        told += _of_curve(points)
        choice, proof = _proved(workers, source, choice, counted, place)
        told += proof
        if held:
            new_ids, unknown = _new_ids(choice.kept), source.contents.unknown
            after = None if unknown is None else new_ids.get(unknown)
            told += _of_held(cost_of(workers, found, held, place, source.contents, new_ids, (unknown, after)))
    return _map(choice, corpus, wish, told, points)


def _proved(
    workers: Workers, source: Source, choice: Choice, counted: Counted, place: Path
) -> tuple[Choice, list[str]]:
    """The choice with what had to be added so that every distinct word is cut as before, and the sentences on it."""
    kept, repaired = set(choice.kept), 0
    for _ in range(ROUNDS):
        new_ids = _new_ids(sorted(kept))
        files = rewritten(source, new_ids)
        (place / "new.json").write_bytes(files.get(TOKENIZER_JSON, source.contents.raw))
        choice = replace(choice, kept=tuple(sorted(kept)))
        workers.open({"new": place / "new.json"}, source.contents.beside)
        if counted.words is None:
            return choice, ["no texts were given, so nothing was encoded again"]
        to_new, words = written_map(place, source.contents, new_ids), counted.words
        calls = ((words, begin, end, to_new, cut_of(place, begin)) for begin, end in ranges(words))
        answers = [found for _, found in workers.each(child.compare, calls)]
        differing = [word for answer in answers for word in answer.differing]
        if not differing:
            return choice, list(_of_proof(answers, counted, repaired))
        more = mended(source.contents, differing, kept)
        if not more:
            break
        kept |= set(more)
        repaired += len(more)
    word = f"{source.contents.name}: `{differing[0]}`"
    raise RefusedError(
        f"{word} is cut otherwise by the rewritten tokenizer, though its tokens are kept",
        "this kind of tokenizer cannot be trimmed without a loss",
    )


def _new_ids(kept: Sequence[int]) -> dict[int, int]:
    return {old: new for new, old in enumerate(kept)}


def _with_files(counts: array[int], files: Sequence[Path]) -> list[int]:
    total = list(counts)
    for file in files:
        for number, times in read_counts(file):
            if number < len(total):
                total[number] += times
    return total


def _write(path: Path, counts: Sequence[int]) -> None:
    """The counts as `scan --write-counts` writes them: ids that occur, and how often."""
    lines = (f"{number}\t# {times}\n" for number, times in enumerate(counts) if times)
    path.write_text("".join(lines), encoding="ascii")


def _map(choice: Choice, corpus: Corpus, wish: Wish, told: list[str], points: tuple[Point, ...]) -> RowMap:
    kept = array("q", choice.kept)
    record: dict[str, object] = {key: [str(path) for path in paths] for key, paths in
                                 (("texts", corpus.texts), ("counts", corpus.counts)) if paths}  # fmt: skip
    record |= {key: value for key, value in (("weight", list(corpus.weights)), *asdict(wish).items()) if value}
    record["kept_sha256"] = hashlib.sha256("".join(f"{number}\n" for number in kept).encode()).hexdigest()
    found = row_map(range(len(kept)), kept, Places("trim", "token", range(len(kept))), record)
    return replace(found, coverage=tuple(told), curve=points)


def _of_class(source: Source) -> Iterator[str]:
    if parts := [*replaced(source.checkpoint, source.contents.whole.members)]:
        name, own = class_of(source.checkpoint).name, " and a ".join(parts)
        yield (
            f"WARNING: transformers' {name} has a {own} of its own in place of {TOKENIZER_JSON}'s, so that it cuts "
            f"texts otherwise; counted and proved is what {TOKENIZER_JSON} does. "
            f'"tokenizer_class": "PreTrainedTokenizerFast" in {TOKENIZER_CONFIG} makes it do the same'
        )


def _of_counting(counted: Counted, counts: Sequence[int], choice: Choice, source: Source) -> Iterator[str]:
    if counted.texts:
        yield f"{counted.texts:,} texts were counted: {counted.tokens:,} tokens, {counted.distinct:,} distinct words"
    used, total = sum(1 for times in counts if times), sum(counts) or 1
    covered = sum(counts[number] for number in choice.kept if number < len(counts))
    yield (
        f"{used:,} of {len(source.contents.texts):,} tokens occur; {choice.used:,} of them are kept, with "
        f"{len(choice.kept):,} in all they cover {100 * covered / total:.3f} % of what was counted"
    )
    yield (
        f"kept whatever their count: {choice.needed:,} special and added tokens and single characters"
        + (f", and {choice.added:,} that merges pass through" if choice.added else "")
    )


def _of_curve(points: Collection[Point]) -> Iterator[str]:
    for point in points:
        if point.size in SIZES:
            fewer = f"{point.parameters:,} parameters and {point.nbytes / 1e6:,.1f} MB fewer"
            yield f"with --top {point.size}: {100 * point.coverage:.3f} % of the tokens counted, {fewer}"


def _of_proof(answers: Sequence[Compared], counted: Counted, repaired: int) -> Iterator[str]:
    same, changed, times = (sum(each) for each in list(zip(*answers, strict=True))[:3])
    if changed:
        yield (
            f"{same:,} of {counted.distinct:,} distinct words were encoded again and give the same tokens; the other "
            f"{changed:,} use tokens that go, {times:,} times in all"
        )
    else:
        yield f"all {same:,} distinct words of the texts were encoded again, and give the same tokens"
    if repaired:
        yield f"kept for words that would have been cut otherwise: {repaired:,}"


def _of_held(cost: Cost) -> Iterator[str]:
    if cost.texts:
        yield (
            f"of {cost.texts:,} held-out texts {100 * cost.same / cost.texts:.1f} % are cut identically; in all they "
            f"take {100 * cost.more:+.2f} % tokens, and {cost.unknown:,} characters became unknown"
        )
    else:
        yield "no text was held out"
