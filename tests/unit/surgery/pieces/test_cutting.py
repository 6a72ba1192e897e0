"""Pieces are cut where their elements and rows end, and only as far as they must be."""

from __future__ import annotations

from array import array

import pytest

from gte_surgery.surgery.pieces.cutting import ROWS, cut, merge, split
from gte_surgery.surgery.pieces.piece import (
    BLOCK,
    AddRow,
    Cast,
    CopyRange,
    Correlated,
    Fill,
    GatherRows,
    LikeTable,
    Moments,
    Normal,
    Overlay,
    Piece,
    Table,
)

NOISE = Normal("s", 7, 1.0, "F32", 40, 12)
TABLE = Table("a", 100, 10, 4, "F16")
LIKE = LikeTable(TABLE, NOISE, True)
CORRELATED = Correlated(NOISE, Moments(bytes(4 * 8)), "F16")
MEANS = GatherRows("a", 0, 8, (9, 3, 4, 5), (0, 1, 3, 4), "F16")


def noise(begin: int, count: int) -> Normal:
    return Normal("s", 7, 1.0, "F32", begin, count)


@pytest.mark.parametrize(
    ("piece", "offset", "nbytes", "wanted"),
    [
        (CopyRange("a", 100, 200), 30, 40, CopyRange("a", 130, 170)),
        (GatherRows("a", 5, 8, (9, 3, 4, 5)), 8, 16, GatherRows("a", 5, 8, (3, 4))),
        (MEANS, 8, 16, GatherRows("a", 0, 8, (9, 3, 4, 5), (1, 3, 4), "F16")),
        (Fill(b"\0\1", 9), 4, 6, Fill(b"\0\1", 3)),
        (Normal("s", 7, 0.5, "F16", 40, 12), 4, 8, Normal("s", 7, 0.5, "F16", 42, 4)),
        (LIKE, 8, 16, LikeTable(TABLE, noise(44, 8), True)),
        (CORRELATED, 8, 8, Correlated(noise(44, 4), Moments(bytes(32)), "F16")),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_cut_is_the_same_piece_with_less(piece: Piece, offset: int, nbytes: int, wanted: Piece) -> None:
    assert repr(cut(piece, offset, nbytes)) == repr(wanted)
    assert wanted.nbytes == nbytes
    assert cut(piece, 0, piece.nbytes) == piece


@pytest.mark.parametrize(
    ("piece", "nbytes", "wanted"),
    [
        (CopyRange("a", 10, 31), 10, [CopyRange("a", 10, 20), CopyRange("a", 20, 30), CopyRange("a", 30, 31)]),
        (GatherRows("a", 0, 8, (1, 2, 3)), 23, [GatherRows("a", 0, 8, (1, 2)), GatherRows("a", 0, 8, (3,))]),
        (MEANS, 16, [cut(MEANS, 0, 16), cut(MEANS, 16, 8)]),
        (Fill(b"abc", 5), 7, [Fill(b"abc", 2), Fill(b"abc", 2), Fill(b"abc", 1)]),
        (Fill(b"abc", 2), 1, [Fill(b"abc", 1), Fill(b"abc", 1)]),
        (LIKE, 16, [cut(LIKE, 0, 16), cut(LIKE, 16, 8)]),
        (LIKE, 7, [cut(LIKE, 0, 8), cut(LIKE, 8, 8), cut(LIKE, 16, 8)]),
        (CORRELATED, 16, [cut(CORRELATED, 0, 16), cut(CORRELATED, 16, 8)]),
        (
            AddRow(CopyRange("a", 0, 24), CopyRange("b", 0, 8), "F32"),
            16,
            [
                AddRow(CopyRange("a", 0, 16), CopyRange("b", 0, 8), "F32"),
                AddRow(CopyRange("a", 16, 24), CopyRange("b", 0, 8), "F32"),
            ],
        ),
        (
            Cast(CopyRange("a", 0, 12), "F32", "F16"),
            9,
            [Cast(CopyRange("a", 0, 8), "F32", "F16"), Cast(CopyRange("a", 8, 12), "F32", "F16")],
        ),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_split_falls_between_rows_and_elements(piece: Piece, nbytes: int, wanted: list[Piece]) -> None:
    assert list(split(piece, nbytes)) == wanted


def test_a_part_holds_so_many_chosen_rows_at_most() -> None:
    chosen = GatherRows("a", 0, 2, range(2 * ROWS + 1))
    assert [len(part.rows) for part in split(chosen, 1 << 30) if isinstance(part, GatherRows)] == [ROWS, ROWS, 1]


def test_draws_are_split_at_their_blocks_whatever_the_size() -> None:
    assert list(split(Normal("s", 0, 1.0, "F32", BLOCK, 1), 1)) == [Normal("s", 0, 1.0, "F32", BLOCK, 1)]
    parts = list(split(Normal("s", 0, 1.0, "F32", BLOCK - 1, 2), 1 << 30))
    assert parts == [Normal("s", 0, 1.0, "F32", BLOCK - 1, 1), Normal("s", 0, 1.0, "F32", BLOCK, 1)]


def test_an_overlay_is_split_into_what_is_seen() -> None:
    under, over = CopyRange("a", 0, 48), GatherRows("b", 0, 8, (7, 8))
    piece = Overlay(under, over, array("q", [1, 3]), 8)
    assert list(split(piece, 16)) == [
        Overlay(CopyRange("a", 0, 16), GatherRows("b", 0, 8, (7,)), array("q", [1]), 8),
        Overlay(CopyRange("a", 16, 32), GatherRows("b", 0, 8, (8,)), array("q", [1]), 8),
        CopyRange("a", 32, 48),
    ]
    assert list(split(piece, 8))[1] == GatherRows("b", 0, 8, (7,))


def test_merging_joins_neighbours_of_one_file_alone() -> None:
    a, b, zero = CopyRange("a", 0, 8), CopyRange("a", 8, 12), Fill(b"\0", 3)
    assert list(merge([a, b])) == [CopyRange("a", 0, 12)]
    assert list(merge([a, CopyRange("a", 8, 8), Fill(b"\0", 0), b, CopyRange("a", 12, 13)])) == [CopyRange("a", 0, 13)]
    assert list(merge([b, a])) == [b, a]
    assert list(merge([a, CopyRange("b", 8, 12)])) == [a, CopyRange("b", 8, 12)]
    assert list(merge([zero, zero, a, zero, b])) == [zero, zero, a, zero, b]
    assert list(merge([CopyRange("a", 3, 3)])) == list(merge([])) == []


def test_the_rows_of_an_overlay_are_counted_from_the_cut() -> None:
    piece = Overlay(CopyRange("a", 0, 48), GatherRows("b", 0, 8, (6, 7, 8)), array("q", [1, 3, 4]), 8)
    assert cut(piece, 24, 16) == GatherRows("b", 0, 8, (7, 8))
    assert cut(piece, 8, 16) == Overlay(CopyRange("a", 8, 24), GatherRows("b", 0, 8, (6,)), array("q", [0]), 8)
    assert cut(piece, 16, 24) == Overlay(CopyRange("a", 16, 40), GatherRows("b", 0, 8, (7, 8)), array("q", [1, 2]), 8)
