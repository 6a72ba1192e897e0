"""Rows that a table has to spare and that a tokenizer has put new tokens into since: as new as those behind the table.

Which those are cannot be read off their numbers, for spare rows hold what training left in them. It is known where the
table is a release's, whose own tokenizer ends before it, and where the user says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gte_surgery.surgery.edits import Resize
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer

_OWN_IDS = {250048: 250002, 30528: 30522}
"""How many ids the tokenizer of a release has, by the number of rows, where those are more."""
_TRAINED = ("optimizer.pt", "trainer_state.json")
SHOWN = 5


def with_renewed(target: Target, edit: Resize) -> Resize:
    """The edit with the kept rows that count as new: those that it names, else those of tokens that the tokenizer has
    beyond the release's, where the size changes, the tokenizer stays, and no training has gone on here.
    """
    held = target.tensors[target.names.words].shape[0]
    stop = min(held, edit.rows)
    if edit.new_from is not None:
        return replace(edit, renewed=range(min(edit.new_from, stop), stop))
    first = _OWN_IDS.get(held, stop)
    is_trained = any(map(target.checkpoint.has, _TRAINED))
    if first >= stop or edit.rows == held or edit.tokenizer == "remove" or is_trained:
        return edit
    made = read_tokenizer(target.checkpoint).vocab_size or 0
    return replace(edit, renewed=range(first, max(first, min(made, stop))))


def meaning_of_renewed(target: Target, edit: Resize, tokenizer: Tokenizer, how: str) -> Iterator[str]:
    """What to say of such rows, which are made as `how` says, and of tokens that get rows behind the table."""
    held = target.tensors[target.names.words].shape[0]
    if edit.renewed:
        of = "" if edit.new_from is not None else ", tokens that the tokenizer has beyond the release's"
        way_out = "" if edit.new_from is not None else f"; `--new-from {held}` keeps what they hold"
        yield f"{_rows(edit.renewed)}{of}{_named(tokenizer, edit.renewed)} count as new, {how}{way_out}"
    if given_out := range(held, min(edit.rows, tokenizer.vocab_size or 0)):
        yield f"{_rows(given_out)}{_named(tokenizer, given_out)} are tokens of the tokenizer already"


def _rows(ids: range) -> str:
    return f"rows {ids[0]} to {ids[-1]}" if len(ids) > 1 else f"row {ids[0]}"


def _named(tokenizer: Tokenizer, ids: range) -> str:
    tokens = [f"`{tokenizer.tokens[number]}`" for number in ids if number in tokenizer.tokens]
    return f" ({', '.join(tokens[:SHOWN])}{' …' if len(tokens) > SHOWN else ''})" if tokens else ""
