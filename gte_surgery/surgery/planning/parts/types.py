"""The type table: it goes, comes, or follows a `Resize` in its size."""

from __future__ import annotations

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.edits import Edit, Resize
from gte_surgery.surgery.pieces.piece import Fill, element_bytes
from gte_surgery.surgery.planning.parts.rewrite import TensorChanges
from gte_surgery.surgery.planning.parts.tables import RowSource, table_of
from gte_surgery.surgery.planning.plan import PlannedTensor
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import kept_rows


def refuse_types(target: Target, edit: Resize) -> None:
    """Raises RefusedError for a number of types that no model of the family runs with, and for a type row that cannot
    be added to the word rows."""
    facts, wanted = target.family.facts, edit.type_vocab
    if wanted and not facts.has_types:
        raise RefusedError(f"type vocabulary: {wanted}, a {target.family.name} model has no token types")
    if wanted is not None and wanted < facts.least_types:
        raise RefusedError(
            f"type vocabulary: {wanted}, a {target.family.name} model runs with at least {facts.least_types}",
            f"--type-vocab {facts.least_types} folds row 0 into the words and leaves a row of zeros",
        )
    words, types = target.tensors[target.names.words], target.tensors.get(target.names.types)
    if folds(target, edit) and types is not None and types.dtype != words.dtype:
        raise RefusedError(
            f"{types.shard.file.name}: `{types.name}`: dtype {types.dtype}, cannot be added to {words.dtype} rows",
            "give both tables one dtype first, or use --type-vocab-mode drop",
        )


def folds(target: Target, edit: Edit) -> bool:
    """Whether type row 0 is added to the word rows before the type table goes, or becomes zeros where it must stay."""
    types = target.tensors.get(target.names.types)
    if types is None or not isinstance(edit, Resize) or edit.type_vocab_mode != "fold":
        return False
    return edit.type_vocab == target.family.facts.least_types != types.shape[0]


def type_table(target: Target, edit: Edit) -> TensorChanges:
    """What happens to the type table: zero rows of it come before the word table, or it goes, or it is cut, is grown by
    copies of row 0, becomes zeros.
    """
    types, words = target.tensors.get(target.names.types), target.tensors[target.names.words]
    wanted = edit.type_vocab if isinstance(edit, Resize) else None
    if wanted is None:
        return TensorChanges()
    if types is None:
        shape = (wanted, target.config.hidden_size)
        zeros = Fill(bytes(element_bytes(words.dtype)), shape[0] * shape[1])
        name = target.family.naming.stored(target.names.types, target.layout)
        return TensorChanges(added={words.name: PlannedTensor(name, words.dtype, shape, (zeros,))} if wanted else {})
    if not wanted:
        return TensorChanges(removed=(types.name,))
    source, kept = RowSource(table_of(types), "copy:0"), kept_rows(min(wanted, types.shape[0]))
    pieces = [source.zeros(0, wanted)] if folds(target, edit) else source.chosen(kept, wanted, {})
    planned = PlannedTensor(types.name, types.dtype, (wanted, *types.shape[1:]), tuple(pieces))
    return TensorChanges({types.name: planned})
