"""A plan holds its invariants: names once, tensors filled, and nothing read from outside its sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint.source import LocalFile
from gte_surgery.errors import HeaderError
from gte_surgery.surgery.pieces.piece import (
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
from gte_surgery.surgery.planning.plan import PlainFile, Plan, PlannedTensor, SourceFile, WeightFile, check_plan

SOURCE = SourceFile("a", LocalFile(Path("a")), 100, 0, "sha256:0")
CONFIG = PlainFile("config.json", 0o644, b"{}\n")


def tensor(name: str, *pieces: Piece, dtype: str = "F32") -> PlannedTensor:
    size = {"F32": 4, "F16": 2}[dtype]
    return PlannedTensor(name, dtype, (sum(piece.nbytes for piece in pieces) // size,), pieces)


def weights(*tensors: PlannedTensor, name: str = "model.safetensors") -> WeightFile:
    return WeightFile(name, 0o644, None, tensors)


def plan(*files: WeightFile | PlainFile, removed: tuple[str, ...] = ()) -> Plan:
    return Plan("resize", "ckpt", {}, None, (SOURCE,), files, removed, (), ())


def test_a_plan_knows_its_bytes_headers_included() -> None:
    file = weights(tensor("x", CopyRange("a", 0, 8)), tensor("y", Fill(bytes(4), 3)))
    assert int.from_bytes(file.head[:8], "little") == len(file.head) - 8
    assert file.nbytes == len(file.head) + 8 + 12
    assert plan(file, CONFIG).nbytes == file.nbytes + 3
    assert (CONFIG.tensors, PlannedTensor("z", "F32", (2, 3, 4), ()).size) == ((), 24)


def test_a_plan_is_empty_when_it_neither_writes_nor_removes() -> None:
    assert [each.is_empty for each in (plan(), plan(CONFIG), plan(removed=("tokenizer.json",)))] == [True, False, False]


def test_a_name_is_planned_once() -> None:
    one, other = tensor("x", CopyRange("a", 0, 8)), tensor("w", Fill(bytes(4), 1))
    with pytest.raises(ValueError, match=r"^a file is planned twice: config\.json$"):
        plan(CONFIG, weights(one, name="a"), CONFIG)
    with pytest.raises(ValueError, match=r"^a tensor is planned twice: x$"):
        plan(weights(one, tensor("z", Fill(bytes(4), 1))), weights(one, other, name="b"))


def test_pieces_fill_their_tensor() -> None:
    short = PlannedTensor("x", "F32", (3,), (CopyRange("a", 0, 8),))
    with pytest.raises(ValueError, match=r"^`x`: pieces yield 8 bytes, its shape needs 12$"):
        check_plan([weights(short)], {"a": 100})


def test_a_tensor_that_cannot_be_is_named() -> None:
    with pytest.raises(HeaderError) as raised:
        check_plan([weights(PlannedTensor("x", "F99", (2,), ()))], {})
    assert raised.value.tensor == "x"


TABLE = Table("a", 20, 10, 2, "F32")
"""Bytes 20 to 100: the last one of the source."""
NOISE = Normal("s", 0, 1.0, "F32", 0, 4)
INSIDE: list[tuple[Piece, str]] = [
    (CopyRange("a", 92, 100), "92 to 100"),
    (GatherRows("a", 20, 8, (9, 3)), "44 to 100"),
    (GatherRows("a", 20, 8, (9, 3, 4), (0, 1, 3), "F32"), "44 to 100"),
    (LikeTable(TABLE, NOISE, True), "20 to 100"),
    (AddRow(CopyRange("a", 84, 100), CopyRange("a", 0, 8), "F32"), "84 to 100"),
    (AddRow(Fill(bytes(4), 4), CopyRange("a", 92, 100), "F32"), "92 to 100"),
    (Cast(CopyRange("a", 92, 100), "F16", "F32"), "92 to 100"),
    (Overlay(CopyRange("a", 84, 100), Fill(bytes(4), 2), (1,), 8), "84 to 100"),
    (Overlay(Fill(bytes(4), 4), GatherRows("a", 92, 8, (0,)), (1,), 8), "92 to 100"),
]


@pytest.mark.parametrize(("piece", "place"), INSIDE, ids=lambda each: type(each).__name__)
def test_what_is_read_lies_inside_the_source_to_the_byte(piece: Piece, place: str) -> None:
    check_plan([weights(tensor("x", piece))], {"a": 100})
    with pytest.raises(ValueError, match=f"^`x`: bytes {place} lie outside a$"):
        check_plan([weights(tensor("x", piece))], {"a": 99})


@pytest.mark.parametrize("begin", [-8, -4, 96])
def test_nothing_is_read_from_before_the_source_or_beyond(begin: int) -> None:
    for piece in (CopyRange("a", begin, begin + 8), GatherRows("a", begin, 8, (0,))):
        with pytest.raises(ValueError, match=r"lie outside a$"):
            check_plan([weights(tensor("x", piece))], {"a": 100})


def test_a_range_does_not_run_backwards() -> None:
    both = PlannedTensor("x", "F32", (0,), (CopyRange("a", 8, 0), Fill(bytes(4), 2)))
    with pytest.raises(ValueError, match=r"^`x`: bytes 8 to 0 lie outside a$"):
        check_plan([weights(both)], {"a": 100})


@pytest.mark.parametrize(
    "piece", [Fill(bytes(4), 2), NOISE, Correlated(NOISE, Moments(bytes(16)), "F32"), GatherRows("a", 100, 8, ())]
)
def test_what_reads_nothing_needs_no_source(piece: Piece) -> None:
    check_plan([weights(tensor("x", piece))], {"a": 100})
