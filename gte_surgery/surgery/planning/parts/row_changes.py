"""How the rows of each vocabulary-sized tensor move, for all that has a number for each row: moments and adapters."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.edits import Edit, Remap, Resize
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import Places, RowMap, kept_rows


class RowChange(NamedTuple):
    """How the rows of one vocabulary-sized tensor of the model move: `shape` before, `rows` after, and of the new rows
    the `zeroed` ones, whose moments are zero whatever their origin.
    """

    shape: tuple[int, ...]
    rows: int
    origins: RowMap
    zeroed: Collection[int] = ()


def as_remap(target: Target, edit: Resize | Remap) -> Remap:
    """What the edit does to the rows of the vocabulary, as a remap that says which id is to pad; a resize keeps the
    first rows, and those that it renews have no origin. Raises RefusedError where the pad id gets no new one.
    """
    if isinstance(edit, Remap):
        old = target.config.pad_token_id
        if edit.pad is not None or old is None:
            return edit
        new = edit.origins.new_id(old)
        if new is None:
            raise RefusedError(f"pad: row {old}, the pad row, gets no new id", "say which new id is to pad: --pad ID")
        return replace(edit, pad=new)
    origins = kept_rows(min(edit.rows, target.tensors[target.names.words].shape[0]))
    if edit.renewed:
        rows = array("q", (row for row in origins.new if row not in edit.renewed))
        origins = RowMap(origins.rows, rows, rows, range(len(rows) + 1), Places("resize", "row", rows))
    state, roles = edit.training_state, edit.roles
    return Remap(origins, edit.pad, edit.rows, edit.init, 1, edit.tokenizer, edit.seed, state, roles=roles)


def row_changes(target: Target, edit: Edit) -> Iterator[RowChange]:
    """How the rows of each vocabulary-sized tensor move, the word table's first, and of the type table; nothing where
    all stay what and where they are.
    """
    words, types = target.tensors.get(target.names.words), target.tensors.get(target.names.types)
    if words is None or not isinstance(edit, (Resize, Remap)):
        return
    moved = as_remap(target, edit)
    if not _is_still(target, edit, moved):
        yield RowChange(words.shape, moved.rows, moved.origins, () if moved.pad is None else (moved.pad,))
        untied = () if target.config.tie_word_embeddings else (target.names.decoder,)
        biases = [name for name in target.names.biases if name in target.tensors]
        for name in (*untied, *biases[:1]):  # several names of one parameter
            if name in target.tensors:
                yield RowChange(target.tensors[name].shape, moved.rows, moved.origins)
    wanted = edit.type_vocab if isinstance(edit, Resize) else None
    if types is not None and wanted and wanted != types.shape[0]:
        yield RowChange(types.shape, wanted, kept_rows(min(wanted, types.shape[0])))


def _is_still(target: Target, edit: Resize | Remap, moved: Remap) -> bool:
    """Whether a resize leaves every row of the vocabulary as it is."""
    is_same = moved.pad == target.config.pad_token_id and isinstance(edit, Resize) and edit.old_pad == "keep"
    return is_same and moved.rows == len(moved.origins.new) == target.tensors[target.names.words].shape[0]
