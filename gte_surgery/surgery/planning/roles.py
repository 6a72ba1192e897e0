"""The rows that play a special part: which they are now, and how they come to the ids that are one's own; and those
that a table has to spare and that a tokenizer has put new tokens into since, as new as those behind the table.

Which the latter are cannot be read off their numbers, for spare rows hold what training left in them. It is known where
the table is a release's, whose own tokenizer ends before it, and where the user says so.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import replace

from gte_surgery.checkpoint.adapters import adapters_of
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.surgery.edits import Remap, Resize
from gte_surgery.surgery.planning.parts.row_changes import as_remap
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import Places, RowMap
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer

CONFIG_IDS = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id", "mask_token_id", "unk_token_id")
"""The members of config.json that hold a special id, beside pad_token_id."""
_ENGLISH = {"cls": 101, "sep": 102, "mask": 103, "unk": 100}
_RELEASED = {
    250048: {"cls": 0, "sep": 2, "mask": 250001, "unk": 3},
    30528: _ENGLISH,
    30522: _ENGLISH,
    21128: _ENGLISH,
    50368: {"cls": 50281, "sep": 50282, "mask": 50284, "unk": 50280},
}
"""The special ids of the releases' tokenizers, by the number of rows of their tables."""
_OWN_IDS = {250048: 250002, 30528: 30522}
"""How many ids the tokenizer of a release has, by the number of rows, where those are more."""
_TRAINED = ("optimizer.pt", "trainer_state.json")
SHOWN = 5


def special_ids(target: Target, tokenizer: Tokenizer) -> dict[str, int]:
    """The special ids by role, as the tokenizer files have them, else as config.json does: {"mask": 250001, …}."""
    found = dict(tokenizer.ids)
    for key in CONFIG_IDS:
        token = target.values.get(key)
        if type(token) is int:
            found.setdefault(key.removesuffix("_token_id"), token)
    return found


def current(target: Target) -> dict[str, int]:
    """The rows that play the parts now, {"cls": 0, …}: by the tokenizer's files, else config.json, else the release."""
    released = _RELEASED.get(target.tensors[target.names.words].shape[0], {})
    found = special_ids(target, read_tokenizer(target.checkpoint))
    return {role: found.get(role, released.get(role, -1)) for role in _ENGLISH if role in found or role in released}


def with_roles(target: Target, edit: Resize | Remap) -> Remap:
    """The edit as a remap whose map brings the rows of the parts to the ids that `edit.roles` wants; ids that they
    leave have no origin, unless another one comes there. Raises RefusedError where the present row of a part is not
    known, UsageError for a change of types besides.
    """
    if isinstance(edit, Resize):
        if edit.type_vocab is not None:
            raise UsageError("type-vocab: not together with special ids of one's own", "make two surgeries of it")
        edit = as_remap(target, edit)
    now = current(target)
    chosen = {new: edit.origins.origin(new) for new in edit.origins.new}
    for role in edit.roles:
        if role not in now:
            raise RefusedError(
                f"{role}: which row plays this part now is not known",
                f"the tokenizer's files and config.json's {role}_token_id say it: set that first",
            )
        chosen = {new: old for new, old in chosen.items() if tuple(old) != (now[role],)}
    chosen |= {new: (now[role],) for role, new in edit.roles.items()}
    if edit.pad is not None and edit.pad not in edit.roles.values():
        chosen.pop(edit.pad, None)
    origins = _map(edit.origins, chosen, max(edit.origins.rows, *(new + 1 for new in edit.roles.values())))
    return replace(edit, origins=origins)


def endangered(target: Target, edit: Resize) -> Iterator[str]:
    """What to say first of a resize that destroys the row of a special token, or leaves it behind."""
    lost = {
        role: row for role, row in current(target).items() if row == edit.pad or row >= edit.rows or row in edit.renewed
    }
    if lost and not edit.roles:
        rows = ", ".join(f"{role} {row}" for role, row in lost.items())
        options = [f"--{role}=ID" for role in lost]
        told = pasteable("resize", target.checkpoint.name, f"--vocab={edit.vocab}", f"--pad={edit.pad}", *options)
        yield (
            f"WARNING: the rows of special tokens are lost: {rows}. Say which of your ids have these parts, and the "
            f"rows move there: {told}"
        )


def _map(origins: RowMap, chosen: Mapping[int, object], rows: int) -> RowMap:
    new = array("q", sorted(chosen))
    old, offsets = array("q"), array("q", [0])
    for number in new:
        old.extend(chosen[number])  # type: ignore[arg-type]
        offsets.append(len(old))
    return RowMap(rows, new, old, offsets, Places("remap", "row", new), origins.record, origins.coverage)


def with_renewed(target: Target, edit: Resize) -> Resize:
    """The edit with the kept rows that count as new: those that it names, else those of tokens that the tokenizer has
    beyond the release's, where the size changes, the tokenizer stays, and no training has gone on here.
    """
    held = target.tensors[target.names.words].shape[0]
    stop = min(held, edit.rows)
    if edit.new_from is not None:
        return replace(edit, renewed=range(min(edit.new_from, stop), stop))
    first = _OWN_IDS.get(held, stop)
    if first >= stop or edit.rows == held or edit.tokenizer == "remove" or _is_trained(target):
        return edit
    made = read_tokenizer(target.checkpoint).vocab_size or 0
    return replace(edit, renewed=range(first, max(first, min(made, stop))))


def _is_trained(target: Target) -> bool:
    """Whether training has gone on here, and may have reached any row: a Trainer's files tell, and adapters of rows."""
    checkpoint = target.checkpoint
    return any(map(checkpoint.has, _TRAINED)) or any(each.rows or each.token_ids for each in adapters_of(checkpoint))


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
