"""A tokenizer.json moved to other ids: vocabulary, merges, unknown, added tokens, post-processor and padding. All else
stays to the byte, and each entry that stays is the text that it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gte_surgery.checkpoint.json.scan import Member, members
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.rewriting.contents import Contents, Entries
from gte_surgery.vocabulary.token_files import token_text

NewIds = Mapping[int, int]
"""New ids by old ones; an id that is not there goes."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A stretch of text, [begin, end), and what takes its place."""

    begin: int
    end: int
    text: str


def rewritten_json(contents: Contents, new_ids: NewIds) -> bytes:
    """The tokenizer.json with the new ids. Raises RefusedError where they do not fit what the format holds.

    Unigram counts its ids, so those of the vocabulary must be 0, 1, 2, … without a gap; so must those of added tokens
    that are not in the vocabulary, from its end on.
    """
    if contents.is_scored:
        counted = sorted(new_ids[number] for number in contents.entries.ids if number in new_ids)
        require_no_gaps(contents.name, counted, 0, "a Unigram vocabulary counts its ids")
    edits = [renumbered(contents.text, contents.vocabulary, contents.entries, new_ids)]
    edits += [*_merges(contents, new_ids), *_unknown(contents, new_ids)]
    edits += [*_added(contents, new_ids), *_emitted(contents, new_ids)]
    return spliced(contents.text, edits).encode("latin-1")


def spliced(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits made; none overlaps another."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: edit.begin):
        parts += [text[at : edit.begin], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def relisted(text: str, place: Member, begins: Sequence[int], ends: Sequence[int], new: Sequence[str]) -> Edit:
    """The list or object at `place` with other entries: its brackets, the white space within them and the separators
    are those of the file. Its entries stood at [`begins`, `ends`).
    """
    if not begins:
        return Edit(place.begin, place.end, text[place.begin : place.end])
    opening, closing = text[place.begin : begins[0]], text[ends[-1] : place.end]
    separator = text[ends[0] : begins[1]] if len(begins) > 1 else ","
    body = separator.join(new)
    return Edit(place.begin, place.end, opening + body + closing if new else text[place.begin] + closing.lstrip())


def renumbered(text: str, place: Member, entries: Entries, new_ids: NewIds) -> Edit:
    """The vocabulary at `place` with the entries that are kept, by ascending new id."""
    kept = sorted((new_ids[number], at) for at, number in enumerate(entries.ids) if number in new_ids)
    written = []
    for number, at in kept:
        literal = text[entries.begins[at] : entries.ends[at]]
        if not entries.scores and number != entries.ids[at]:
            literal = literal.rstrip("0123456789") + str(number)
        written.append(literal)
    return relisted(text, place, entries.begins, entries.ends, written)


def require_no_gaps(name: str, numbers: Iterable[int], first: int, why: str) -> None:
    """Raises RefusedError, that of the file `name`, unless the ids are `first`, `first` + 1, …"""
    for wanted, number in enumerate(numbers, first):
        if number != wanted:
            raise RefusedError(
                f"{name}: new id {wanted} has no token, and {number} has: {why}",
                "give the kept tokens ids without a gap, or choose --tokenizer keep or --tokenizer remove",
            )


def _merges(contents: Contents, new_ids: NewIds) -> Iterator[Edit]:
    place, merges, text = contents.place("model/merges"), contents.merges, contents.text
    kept = [merge for merge in merges if all(number in new_ids for number in merge[:3])]
    if place is not None and len(kept) < len(merges):
        written = [text[merge.begin : merge.end] for merge in kept]
        yield relisted(text, place, [merge.begin for merge in merges], [merge.end for merge in merges], written)


def _unknown(contents: Contents, new_ids: NewIds) -> Iterator[Edit]:
    place, number = contents.place("model/unk_id"), contents.whole.model.get("unk_id")
    if place is not None and type(number) is int:
        yield Edit(place.begin, place.end, str(_needed(contents, number, new_ids, "model/unk_id")))


def _added(contents: Contents, new_ids: NewIds) -> Iterator[Edit]:
    """The added tokens, by ascending new id. Those beside the vocabulary must count on from its end, those of this file
    first, then those of older files, then those that the settings name, in the order in which they do.
    """
    beside = [token for token in contents.added if token.text not in contents.whole.pieces.ids and token.id in new_ids]
    turns = sorted((token.turn, 0 if token.turn == 2 else new_ids[token.id], at) for at, token in enumerate(beside))
    counted_on = [new_ids[beside[at].id] for _, _, at in turns]
    count = sum(number in new_ids for number in contents.entries.ids)
    require_no_gaps(contents.name, counted_on, count, "added tokens are counted on from the vocabulary's end")
    place = contents.place("added_tokens")
    if place is None:
        return
    settled = {token.text: token.id for token in contents.added}
    kept: list[tuple[int, str]] = []
    entries = list(members(contents.text, place.begin).values())
    for at, (entry, token) in enumerate(zip(entries, contents.whole.listed, strict=True)):
        number = new_ids.get(settled.get(token_text(token), -1))
        if number is None:
            continue
        id_place = members(contents.text, entry.begin).get("id")
        if id_place is None:
            raise RefusedError(f"{contents.name}: /added_tokens/{at}: `{token_text(token)}` states no id")
        literal = contents.text[entry.begin : id_place.begin] + str(number) + contents.text[id_place.end : entry.end]
        kept.append((number, literal))
    written = [literal for _, literal in sorted(kept, key=lambda pair: pair[0])]
    yield relisted(contents.text, place, [each.begin for each in entries], [each.end for each in entries], written)


def _emitted(contents: Contents, new_ids: NewIds) -> Iterator[Edit]:
    for each in contents.emitted:
        _, key, *rest = each.pointer.split("/")
        begin, end = contents.whole.places[key]
        part = contents.text[begin:end].encode("latin-1").decode("utf-8")
        span = Document(contents.name, part, None).span("/" + "/".join(rest))
        if span is not None:
            number = _needed(contents, each.id, new_ids, each.pointer)
            first, last = (begin + len(part[:at].encode("utf-8")) for at in span)
            yield Edit(first, last, str(number))


def _needed(contents: Contents, number: int, new_ids: NewIds, place: str) -> int:
    if number not in new_ids:
        raise RefusedError(f"{contents.name}: {place}: id {number} gets no new one, and is needed there")
    return new_ids[number]
