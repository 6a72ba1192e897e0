"""Pieces: cutting, merging and evaluating them never changes a byte."""

from __future__ import annotations

import itertools
import math
from array import array
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.surgery.pieces.correlation import moments_of
from gte_surgery.surgery.pieces.cutting import cut, merge, split
from gte_surgery.surgery.pieces.evaluate import decode, encode, evaluate
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

SOURCE = bytes(np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8))


def read(source: str, offset: int, count: int) -> bytes:
    assert source == "a"
    return SOURCE[offset : offset + count]


def mean_rows(width: int) -> st.SearchStrategy[GatherRows]:
    groups = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=3), max_size=9)
    return groups.map(
        lambda chosen: GatherRows(
            "a", 0, 2 * width, list(itertools.chain(*chosen)), (0, *itertools.accumulate(map(len, chosen))), "F16"
        )
    )


def correlated_rows(width: int, first: int, count: int) -> Correlated:
    covariance = 0.1 * np.eye(width) + 0.02
    noise = Normal("t", 7, 1.0, "F32", first * width, count * width)
    return Correlated(noise, moments_of(np.arange(width) / 8, covariance), "F16")


@st.composite
def overlays(draw: st.DrawFn, width: int) -> Overlay:
    """Chosen rows laid over fresh ones."""
    over = draw(mean_rows(width))
    count = draw(st.integers(over.size, 20))
    places = sorted(draw(st.sets(st.integers(0, count - 1), min_size=over.size, max_size=over.size))) if count else ()
    under = draw(st.sampled_from([Fill(b"\0\x3c", count * width), Normal("t", 7, 0.02, "F16", 3, count * width)]))
    return Overlay(under, over, array("q", places), 2 * width)


def rows(width: int) -> st.SearchStrategy[Piece]:
    """Pieces that yield whole rows of `width` float16 elements."""
    ranges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)
    return st.one_of(
        ranges.map(lambda r: CopyRange("a", r[0] * 2 * width, r[1] * 2 * width)),
        st.lists(st.integers(0, 20), max_size=9).map(lambda chosen: GatherRows("a", 0, 2 * width, tuple(chosen))),
        mean_rows(width),
        st.integers(0, 9).map(lambda count: Fill(b"\0\0", count * width)),
        st.integers(0, 9).map(lambda count: Fill(SOURCE[: 2 * width], count)),
        st.tuples(st.integers(0, 9), st.integers(0, 99)).map(lambda n: correlated_rows(width, *n)),
        st.tuples(st.integers(0, 3 * BLOCK), st.integers(0, 99)).map(
            lambda n: Normal("t", 7, 0.02, "F16", n[0] * width, n[1] * width)
        ),
    )


@given(piece=st.one_of(rows(4), overlays(4)), folded=st.booleans(), size=st.integers(1, 999))
def test_splitting_a_piece_keeps_its_bytes(piece: Piece, folded: bool, size: int) -> None:
    if folded:
        piece = AddRow(piece, CopyRange("a", 8, 16), "F16")  # type: ignore[arg-type]
    whole = evaluate(piece, read) if piece.nbytes else b""
    assert b"".join(evaluate(part, read) for part in split(piece, size)) == whole
    assert len(whole) == piece.nbytes


@given(pieces=st.lists(rows(4), max_size=8))
def test_merging_pieces_keeps_their_bytes_and_leaves_no_neighbours(pieces: list[Piece]) -> None:
    merged = list(merge(pieces))
    whole = b"".join(evaluate(piece, read) for piece in pieces if piece.nbytes)
    assert b"".join(evaluate(piece, read) for piece in merged) == whole
    for one, other in pairwise(merged):
        assert not (isinstance(one, CopyRange) and isinstance(other, CopyRange) and one.end == other.begin)


def test_a_mean_is_the_mean_and_of_one_row_the_row_itself() -> None:
    table = np.arange(12, dtype="<f4").reshape(4, 3)
    table[1, 1] = np.nan
    bits = table.tobytes()
    piece = GatherRows("a", 0, 12, (3, 0, 2, 1), (0, 1, 3, 4), "F32")
    made = evaluate(piece, lambda source, offset, count: bits[offset : offset + count])
    assert made == table[3].tobytes() + ((table[0] + table[2]) / 2).tobytes() + table[1].tobytes()


def test_an_overlay_makes_nothing_that_is_not_seen() -> None:
    under, over = Normal("t", 0, 1.0, "F16", 0, 40), GatherRows("a", 0, 8, (5, 6, 7))
    piece = Overlay(under, over, (2, 3, 8), 8)
    assert cut(piece, 0, 16) == Normal("t", 0, 1.0, "F16", 0, 8)
    assert cut(piece, 16, 16) == GatherRows("a", 0, 8, (5, 6))
    mixed = cut(piece, 24, 16)
    assert mixed == Overlay(Normal("t", 0, 1.0, "F16", 12, 8), GatherRows("a", 0, 8, (6,)), array("q", [0]), 8)


def test_a_split_normal_never_crosses_a_block() -> None:
    parts = list(split(Normal("t", 0, 1.0, "F32", BLOCK - 3, BLOCK + 9), 1))
    assert [(part.begin, part.size) for part in parts] == [(BLOCK - 3, 3), (BLOCK, BLOCK), (2 * BLOCK, 6)]  # type: ignore[union-attr]


def test_normal_draws_are_normal() -> None:
    values = np.frombuffer(evaluate(Normal("t", 3, 0.02, "F32", 0, 4 * BLOCK), read), "<f4").astype(np.float64) / 0.02
    count = values.size
    assert abs(values.mean()) < 5 / math.sqrt(count)
    assert abs(values.std() - 1) < 5 / math.sqrt(2 * count)
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / count)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / math.sqrt(count)


def test_streams_differ_by_name_seed_and_block_only() -> None:
    def draw(stream: str, seed: int, begin: int) -> bytes:
        return evaluate(Normal(stream, seed, 1.0, "F32", begin, 64), read)

    drawn = [draw("a", 0, 0), draw("b", 0, 0), draw("a", 1, 0), draw("a", 0, BLOCK)]
    assert len(set(drawn)) == 4
    assert draw("a", 0, 0) == drawn[0]


def test_the_random_stream_is_pinned() -> None:
    """The bytes that seed 0 gives are a promise: the same on every machine and in every later version."""
    raw = evaluate(Normal("embeddings.word_embeddings.weight", 0, 0.02, "F32", 0, 4), read)
    assert raw.hex() == "29f198bcc2ed7bbc2eb1debc4f7002bc"


@pytest.mark.parametrize(("dtype", "bits"), [("F16", 16), ("BF16", 16), ("F32", 32), ("F64", 64)])
def test_every_number_survives_decoding_and_encoding(dtype: str, bits: int) -> None:
    if bits == 16:
        raw = np.arange(1 << 16, dtype="<u2").tobytes()
    else:
        raw = np.random.default_rng(1).integers(0, 256, 80_000, dtype=np.uint8).tobytes()
    again = np.frombuffer(encode(decode(raw, dtype), dtype), f"<u{bits // 8}")
    before = np.frombuffer(raw, f"<u{bits // 8}")
    decoded = decode(raw, dtype)
    is_nan = np.isnan(decoded)
    assert decoded.dtype == (np.float64 if dtype == "F64" else np.float32)
    assert (again == before)[~is_nan].all()
    assert np.isnan(decode(again.tobytes(), dtype))[is_nan].all()


def test_bf16_rounds_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    bits = np.random.default_rng(2).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    edges = np.array([0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x7F7FFFFF, 0xFF7FFFFF, 0, 1 << 31], np.uint32)
    values = np.concatenate([bits, edges]).view(np.float32)
    values = values[~np.isnan(values)]
    ours = np.frombuffer(encode(values, "BF16"), "<i2")
    theirs = torch.from_numpy(values.copy()).to(torch.bfloat16).view(torch.int16).numpy()
    assert (ours == theirs).all()


def reads(piece: Piece) -> list[tuple[int, int]]:
    """The ranges that evaluating a piece reads, of a source of any length."""
    seen: list[tuple[int, int]] = []

    def spy(source: str, offset: int, count: int) -> bytes:
        seen.append((offset, offset + count))
        return bytes(count)

    evaluate(piece, spy)
    return seen


def test_near_rows_are_read_together_far_ones_alone_and_each_once() -> None:
    assert reads(GatherRows("a", 100, 10, (5, 3, 3))) == [(130, 160)]
    assert reads(GatherRows("a", 0, 4000, (9, 2, 4, 9, 3, 0))) == [(0, 20_000), (36_000, 40_000)]


def test_reading_along_what_lies_between_never_costs_more_than_a_page_a_row() -> None:
    assert reads(GatherRows("a", 0, 4096, (0, 2, 4))) == [(0, 20480)]
    assert reads(GatherRows("a", 0, 4097, (0, 2, 4))) == [(0, 4097), (8194, 12291), (16388, 20485)]


TABLE = Table("a", 100, 10, 4, "F16")
NOISE = Normal("t", 3, 0.02, "F32", 0, 12)


@pytest.mark.parametrize(
    ("piece", "nbytes", "words"),
    [
        (CopyRange("a", 8, 20), 12, "copy 12 bytes of a from 8"),
        (GatherRows("a", 0, 8, (5, 6, 5)), 24, "copy 3 chosen rows of a"),
        (GatherRows("a", 0, 8, (5, 5)), 16, "copy row 5 2 times of a"),
        (GatherRows("a", 0, 8, (5,)), 8, "copy row 5 1 times of a"),
        (Fill(b"\0\0", 3), 6, "3 zeros"),
        (Fill(b"\0\x3c", 3), 6, "3 times 0x003c"),
        (NOISE, 48, "12 draws of N(0, 0.02), seed 3"),
        (
            GatherRows("a", 0, 8, (9, 3, 4, 5, 6), (0, 1, 3, 5), "F16"),
            24,
            "copy 1 chosen rows of a, and make 2 of the means of several",
        ),
        (
            GatherRows("a", 0, 8, (9, 3, 4), (0, 2, 3), "F16"),
            16,
            "copy 1 chosen rows of a, and make 1 of the means of several",
        ),
        (LikeTable(TABLE, NOISE, False), 24, "3 times the mean of the 10 rows"),
        (LikeTable(TABLE, NOISE, True), 24, "3 draws from N(mean of the 10 rows, their covariance), seed 3"),
        (Correlated(NOISE, Moments(bytes(32)), "F16"), 24, "12 correlated draws, seed 3"),
        (
            Overlay(Fill(b"\0\0", 20), GatherRows("a", 0, 8, (5, 6)), (1, 3), 8),
            40,
            "copy 2 chosen rows of a; the other 3 of 5 from 20 zeros",
        ),
        (AddRow(NOISE, CopyRange("b", 16, 32), "F32"), 48, f"{NOISE.describe()}, plus the row at 16 of b"),
        (Cast(NOISE, "F32", "BF16"), 24, f"{NOISE.describe()}, F32 to BF16"),
        (Cast(CopyRange("a", 0, 6), "F16", "F64"), 24, "copy 6 bytes of a from 0, F16 to F64"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_piece_tells_its_bytes_and_what_it_does(piece: Piece, nbytes: int, words: str) -> None:
    assert (piece.nbytes, piece.describe()) == (nbytes, words)


def test_a_cast_rounds_and_an_overlay_lays_rows_over_rows() -> None:
    bits = np.arange(12, dtype="<f4").tobytes()

    def look(source: str, offset: int, count: int) -> bytes:
        return bits[offset : offset + count]

    assert evaluate(Cast(CopyRange("a", 4, 12), "F32", "F16"), look) == np.array([1, 2], "<f2").tobytes()
    laid = evaluate(Overlay(CopyRange("a", 0, 48), GatherRows("a", 0, 12, (0, 1)), (1, 3), 12), look)
    assert np.frombuffer(laid, "<f4").tolist() == [0, 1, 2, 0, 1, 2, 6, 7, 8, 3, 4, 5]


def test_a_row_is_added_to_every_row_and_overflow_is_infinite_without_a_warning() -> None:
    values = np.array([1, 65504, np.inf, 2, 3, 4], "<f2").tobytes() + np.array([1, 65504, -np.inf], "<f2").tobytes()
    piece = AddRow(CopyRange("a", 0, 12), CopyRange("a", 12, 18), "F16")
    made = np.frombuffer(evaluate(piece, lambda source, offset, count: values[offset : offset + count]), "<f2")
    assert made[[0, 1, 3, 5]].tolist() == [2, np.inf, 3, -np.inf]
    assert np.isnan(made[2])


def test_a_table_that_is_not_measured_yet_has_no_bytes() -> None:
    with pytest.raises(ValueError, match=r"^the table is not measured yet: `statistics\.settled` comes first$"):
        evaluate(LikeTable(TABLE, NOISE, True), read)


def test_means_are_rounded_once_from_exact_sums() -> None:
    # in float32 the sum would lose the 1: 2**25 + 1 + 1 = 2**25
    rows = np.array([2**25, 1, 1, -(2**25)], "<f4").tobytes()
    piece = GatherRows("a", 0, 4, (0, 1, 2, 3), (0, 4), "F32")
    assert evaluate(piece, lambda source, offset, count: rows[offset : offset + count]) == np.float32(0.5).tobytes()


def test_the_middle_of_means_reads_its_own_rows_only() -> None:
    whole = GatherRows("a", 100, 4096, (50, 1, 2, 60), (0, 1, 3, 4), "F16")
    assert reads(cut(whole, 4096, 4096)) == [(100 + 4096, 100 + 3 * 4096)]


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_draws_lie_where_their_place_in_the_stream_says(dtype: str) -> None:
    whole = evaluate(Normal("t", 1, 0.5, dtype, BLOCK - 4, 12), read)
    size = len(whole) // 12
    for begin, count in ((0, 4), (4, 8), (3, 3), (11, 1)):
        part = evaluate(Normal("t", 1, 0.5, dtype, BLOCK - 4 + begin, count), read)
        assert part == whole[begin * size : (begin + count) * size]


def test_bf16_rounds_to_even_and_keeps_nan_and_infinity() -> None:
    bits = {
        0x3F800000: 0x3F80,
        0x3F808000: 0x3F80,
        0x3F808001: 0x3F81,
        0x3F818000: 0x3F82,
        0x3F817FFF: 0x3F81,
        0x7F7FFFFF: 0x7F80,
        0x7F800000: 0x7F80,
        0xFF800000: 0xFF80,
        0x7F800001: 0x7FC0,
        0xFFC12345: 0xFFC1,
    }
    values = np.array(list(bits), "<u4").view("<f4")
    assert np.frombuffer(encode(values, "BF16"), "<u2").tolist() == list(bits.values())


def test_a_sum_beyond_float32_is_infinite_without_a_warning() -> None:
    values = np.full(2, 3e38, "<f4").tobytes()
    piece = AddRow(CopyRange("a", 0, 4), CopyRange("a", 4, 8), "F32")
    made = evaluate(piece, lambda source, offset, count: values[offset : offset + count])
    assert np.frombuffer(made, "<f4").tolist() == [np.inf]


PRECISIONS = {"F64": (53, -1022, 1023), "F32": (24, -126, 127), "F16": (11, -14, 15), "BF16": (8, -126, 127)}
"""Bits of the significand, least and greatest exponent."""


def nearest(value: float, dtype: str) -> float:
    """The number of a dtype that is nearest to `value`, the even one of two, in exact arithmetic [IEEE 754-2019]."""
    precision, least, most = PRECISIONS[dtype]
    exact = abs(Fraction(value))
    exponent = math.frexp(value)[1] - 1 if value else least
    unit = Fraction(2) ** (max(exponent, least) - precision + 1)
    rounded = round(exact / unit) * unit
    found = math.inf if rounded >= Fraction(2) ** (most + 1) else float(rounded)
    return math.copysign(found, value)


@pytest.mark.parametrize("before", PRECISIONS)
@pytest.mark.parametrize("after", PRECISIONS)
def test_a_cast_rounds_once_to_the_nearest_number_ties_to_even(before: str, after: str) -> None:
    random = np.random.default_rng(3)
    ties = 1 + (2 * random.integers(0, 1 << 7, 300) + 1) * 2.0 ** -PRECISIONS[after][0]
    crumbs = random.choice([0, 1, -1], 300) * 2.0 ** random.integers(-52, -9, 300)
    scales = 2.0 ** random.integers(
        PRECISIONS[after][1] - 12 if after != "F64" else -900, PRECISIONS[after][2] + 1, 300
    )
    edges = [0.0, -0.0, 1e300, -1e300, 5e-324, 65504.0, 65519.99, 65520.0, 3.3895e38, 3.39617e38, 2.0**-150, 2.0**-134]
    values = np.concatenate([(ties + crumbs) * scales, -(ties + crumbs), edges])
    values = decode(encode(values, before), before)
    values = values[np.isfinite(values)]
    found = decode(encode(values, after), after)
    wanted = np.array([nearest(float(value), after) for value in values])
    assert found.astype(np.float64).tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    "piece", [GatherRows("a", 0, 8, ()), GatherRows("a", 0, 8, (1, 2), (1,), "F16"), Fill(b"x", 0)]
)
def test_no_rows_are_no_bytes_and_nothing_is_read(piece: Piece) -> None:
    assert evaluate(piece, lambda source, offset, count: pytest.fail("a read")) == b""
