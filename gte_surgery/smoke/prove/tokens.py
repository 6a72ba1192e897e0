"""Whether a tokenizer gives out the ids of the rows: its tokens by id, and the ids that stand around every text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_whole
from gte_surgery.vocabulary.rewriting.rewrite import read_contents
from gte_surgery.vocabulary.token_files import MOST_BYTES, TOKENIZER_JSON


def different_tokens(before: Checkpoint, after: Checkpoint, new: Sequence[int], old: Sequence[int]) -> Iterator[str]:
    """In words, the first id whose token is not what it was under its old id. Raises RefusedError for a file that
    cannot be read.
    """
    was, now = before.readable(TOKENIZER_JSON), after.readable(TOKENIZER_JSON)
    if was is None or now is None:
        yield f"{TOKENIZER_JSON} is gone" if now is None else f"{TOKENIZER_JSON} was not there"
        return
    if list(new) == list(old) and _raw(was) == _raw(now):
        return
    one, other = read_contents(was), read_contents(now)
    for here, there in zip(new, old, strict=True):
        if one.texts.get(there) != other.texts.get(here):
            token, wanted = other.texts.get(here), one.texts.get(there)
            yield f"id {here} is {_shown(token)}, and its row was that of {_shown(wanted)}"
            return
    new_ids = dict(zip(old, new, strict=True))
    found = {each.pointer: each.id for each in other.emitted}
    for each in one.emitted:
        if each.id in new_ids and each.pointer in found and found[each.pointer] != new_ids[each.id]:
            yield f"{each.pointer} gives id {found[each.pointer]}, wanted {new_ids[each.id]}"
            return


def _shown(token: str | None) -> str:
    return "no token" if token is None else repr(token)


def _raw(file: FileEntry) -> bytes:
    return read_whole(file.place, MOST_BYTES)
