"""Rows of a table that grows, shrinks or is put together anew: which are kept, which are new and how those come about.
The word table, the decoder weight and bias and the type table are all changed by this one mechanism; a bias is a table
whose rows are one element.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.edits import Remap, copied_row
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES
from gte_surgery.surgery.pieces.piece import (
    CopyRange,
    Fill,
    GatherRows,
    LikeTable,
    Normal,
    Overlay,
    Piece,
    Table,
    element_bytes,
)
from gte_surgery.surgery.planning.parts.given import GivenRows, init_of_decoder
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import RowMap

LONG = 1 << 18
"""Bytes from which rows that lie side by side are a range of their own for the kernel to copy."""
MOST_COPIES = 1 << 24
"""Of one row: each is named in memory."""


class RowSource(NamedTuple):
    """Makes rows for the successor of a stored table; `init` is an edit's: a word of `INITS`, "copy:ID" or a file.

    `stream` names the random stream, in which every row has its fixed place.
    """

    table: Table
    init: str = "zeros"
    stream: str = ""
    seed: int = 0
    std: float = 0.0
    given: GivenRows | None = None
    """Of which new rows are taken, where `init` names a file."""

    def kept(self, first: int, stop: int) -> CopyRange:
        """Rows [first, stop) as they are stored."""
        source, begin, row_bytes = self._place
        return CopyRange(source, begin + first * row_bytes, begin + stop * row_bytes)

    def zeros(self, first: int, stop: int) -> Fill:
        return Fill(bytes(element_bytes(self.table.dtype)), (stop - first) * self.table.width)

    def drawn(self, first: int, stop: int) -> Normal:
        count = (stop - first) * self.table.width
        return Normal(self.stream, self.seed, self.std, self.table.dtype, first * self.table.width, count)

    def fresh(self, first: int, stop: int, kept: Sequence[int] = ()) -> Piece:
        """Rows [first, stop) by `init`; `kept` are the rows of the table, in ascending order, that are not fresh."""
        if self.given is not None:
            _refuse_many(self.init, stop - first)
            return self.given.piece([row - bisect_left(kept, row) for row in range(first, stop)], self.table.dtype)
        match self.init:
            case "zeros":
                return self.zeros(first, stop)
            case "normal":
                return self.drawn(first, stop)
            case "mean" | "mean-cov":
                noise = self.drawn(first, stop)._replace(std=1.0, dtype="F32")
                return LikeTable(self.table, noise, self.init == "mean-cov")
        row = copied_row(self.init) or 0
        _refuse_many(self.init, stop - first)
        return GatherRows(*self._place, (row,) * (stop - first))

    def chosen(self, origins: RowMap, rows: int, single: Mapping[int, Piece]) -> list[Piece]:
        """The table with `rows` rows that `origins` chooses, with the rows of `single` put in; rows without an origin
        are fresh.
        """
        pieces: list[Piece] = []
        first = 0
        for stop in (*sorted(single), rows):
            cuts = sorted(self._cuts(origins, first, stop))
            pieces += [self._chosen(origins, begin, end) for begin, end in pairwise(cuts)]
            if stop in single:
                pieces.append(single[stop])
            first = stop + 1
        return pieces

    def _cuts(self, origins: RowMap, first: int, stop: int) -> set[int]:
        """Where long stretches begin and end, so that they become pieces of their own: rows kept side by side, which
        the kernel copies, and rows without an origin.
        """
        cuts = {first, stop}
        if _are_first(origins):
            return cuts | {min(max(first, len(origins.new)), stop)}
        for begin, end, has_origin in origins.stretches(first, stop):
            if (end - begin) * self.table.row_bytes >= LONG or (end == stop and not has_origin):
                cuts |= {begin, end}
        return cuts

    def _chosen(self, origins: RowMap, first: int, stop: int) -> Piece:
        """New rows [first, stop) as one piece."""
        begin, end = bisect_left(origins.new, first), bisect_left(origins.new, stop)
        if begin == end:
            return self.fresh(first, stop, origins.new)
        offsets = origins.offsets[begin : end + 1]
        old = origins.old[offsets[0] : offsets[-1]]
        is_whole, has_means = end - begin == stop - first, len(old) > end - begin
        is_range = _are_first(origins) or all(right == left + 1 for left, right in pairwise(old))
        if is_whole and not has_means and is_range:
            return self.kept(old[0], old[-1] + 1)
        over = GatherRows(*self._place, old)
        if has_means:
            over = GatherRows(*self._place, origins.old, offsets, self.table.dtype)
        if is_whole:
            return over
        places = array("q", (new - first for new in origins.new[begin:end]))
        return Overlay(self.fresh(first, stop, origins.new), over, places, self.table.row_bytes)

    @property
    def _place(self) -> tuple[str, int, int]:
        """What a piece that chooses rows says of the table: its file, where it begins, bytes of a row."""
        return self.table.source, self.table.begin, self.table.row_bytes


def table_of(tensor: StoredTensor) -> Table:
    """A tensor as a table: its rows are those of dimension 0, each with all elements of the others."""
    return Table(tensor.source, tensor.file_begin, tensor.shape[0], math.prod(tensor.shape[1:]), tensor.dtype)


def _are_first(origins: RowMap) -> bool:
    """Whether the map keeps the first rows where they are, as `kept_rows` says it: of that nothing need be counted."""
    return origins.new == origins.old == range(len(origins.new))


def _refuse_many(init: str, rows: int) -> None:
    if rows > MOST_COPIES:
        raise RefusedError(f"init: {init} for {rows} rows, at most {MOST_COPIES} are copied")


def row_source(target: Target, edit: Remap, given: GivenRows | None, canonical: str) -> RowSource:
    """Where the rows of a vocabulary-sized tensor come from: of a stored decoder weight that is tied, as of the word
    table, whose copy it is."""
    table, std = table_of(target.tensors[canonical]), target.config.initializer_range
    if canonical in target.names.biases:
        return RowSource(table)
    if canonical == target.names.decoder and not target.config.tie_word_embeddings:
        return RowSource(table, init_of_decoder(edit.init), canonical, edit.seed, std)
    return RowSource(table, edit.init, target.names.words, edit.seed, std, given)


def word_table(target: Target) -> StoredTensor:
    """The word embeddings; raises RefusedError unless they are rows of hidden_size elements."""
    words = target.tensors[target.names.words]
    if len(words.shape) != 2 or words.shape[1] != target.config.hidden_size:
        wanted = [target.config.vocab_size, target.config.hidden_size]
        hint = f"{pasteable('check', target.checkpoint.name)} tells where such a table comes from, and what mends it"
        raise RefusedError(f"{_named(words)}: shape {list(words.shape)}, config needs {wanted}", hint)
    return words


def refuse_pad_beyond_positions(target: Target, pad: int | None) -> None:
    """Raises RefusedError for a pad id that the table of absolute positions, which gets it as well, does not have."""
    config = target.config
    if not target.family.pads_positions(config):
        return
    if pad is not None and pad >= config.max_position_embeddings:
        limit = config.max_position_embeddings
        raise RefusedError(
            f"pad: {pad}, must be below max_position_embeddings {limit}: positions are absolute [GTE107]",
            f"choose a pad id from 0 to {limit - 1}",
        )


def is_computed(init: str) -> bool:
    """Whether fresh rows are numbers to be made, not bytes to be copied."""
    return init != "zeros" and copied_row(init) is None


def refuse_absent_row(words: StoredTensor, init: str) -> None:
    """Raises RefusedError when `init` copies a row that the table does not have."""
    row = copied_row(init)
    if row is not None and row >= words.shape[0]:
        held = words.shape[0] - 1
        raise RefusedError(f"init: copy:{row}, the table has rows 0 to {held}", "name a row that the table has")


def refuse_uncountable(words: StoredTensor, hint: str) -> None:
    """Raises RefusedError when no numbers can be made in the dtype of the table."""
    if words.dtype not in ARITHMETIC_DTYPES:
        dtypes = ", ".join(ARITHMETIC_DTYPES)
        raise RefusedError(f"{_named(words)}: dtype {words.dtype}, numbers are made in {dtypes} only", hint)


def _named(tensor: StoredTensor) -> str:
    return f"{tensor.shard.file.name}: `{tensor.name}`"
