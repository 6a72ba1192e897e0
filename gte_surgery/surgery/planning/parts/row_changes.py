"""How the rows of each vocabulary-sized tensor move, for all that has a number for each row: moments and adapters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from gte_surgery.surgery.edits import Edit, Remap, Resize
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import RowMap, kept_rows


class RowChange(NamedTuple):
    """How the rows of one vocabulary-sized tensor of the model move: `shape` before, `rows` after, and of the new rows
    the `zeroed` ones, whose moments are zero whatever their origin.
    """

    shape: tuple[int, ...]
    rows: int
    origins: RowMap
    zeroed: Collection[int] = ()


def row_changes(target: Target, edit: Edit) -> Iterator[RowChange]:
    """How the rows of each vocabulary-sized tensor move; nothing where all stay what and where they are."""
    words, config = target.tensors.get(target.names.words), target.config
    pad: int | None
    if words is None:
        return
    match edit:
        case Resize():
            origins, pad = kept_rows(min(edit.rows, words.shape[0])), edit.pad
            anew = tuple(edit.renewed)
            if edit.rows == words.shape[0] and pad == config.pad_token_id and edit.old_pad == "keep" and not anew:
                return
        case Remap():
            origins, pad, anew = edit.origins, edit.pad, ()
            if pad is None and config.pad_token_id is not None:
                pad = origins.new_id(config.pad_token_id)
        case _:
            return
    yield RowChange(words.shape, edit.rows, origins, anew if pad is None else (*{*anew, pad},))
    if target.names.decoder in target.tensors and not config.tie_word_embeddings:
        yield RowChange(target.tensors[target.names.decoder].shape, edit.rows, origins, anew)
    bias = next((target.tensors[name] for name in target.names.biases if name in target.tensors), None)
    if bias is not None:
        yield RowChange(bias.shape, edit.rows, origins, anew)
    types = target.tensors.get(target.names.types)
    if isinstance(edit, Resize) and edit.type_vocab and types is not None and edit.type_vocab != types.shape[0]:
        yield RowChange(types.shape, edit.type_vocab, kept_rows(min(edit.type_vocab, types.shape[0])))
