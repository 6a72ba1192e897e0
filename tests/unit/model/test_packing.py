"""Packing keeps the real tokens in order, wherever they stand, and gives them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.errors import UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model.packing import pack_full, pack_mask  # noqa: E402


def masks() -> st.SearchStrategy[list[list[int]]]:
    """Masks with holes and pads on any side, at least one token a row."""
    return st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 1), min_size=width, max_size=width).filter(any), min_size=1, max_size=5
        )
    )


def test_two_rows_are_packed_as_written_out() -> None:
    packing = pack_mask(torch.tensor([[1, 1, 0], [1, 0, 0]]))
    assert packing.indices.tolist() == [0, 1, 3]
    assert packing.cu_seqlens.tolist() == [0, 2, 3]
    assert packing.cu_seqlens.dtype is torch.int32
    assert packing.position_ids.tolist() == [[0, 1, 0]]
    assert (packing.lengths, packing.rows, packing.tokens, packing.longest) == ((2, 1), 2, 3, 2)
    assert not packing.is_full


def test_tokens_after_a_hole_and_after_left_pads_are_found() -> None:
    packing = pack_mask(torch.tensor([[0, 1, 0, 1]]))
    assert packing.indices.tolist() == [1, 3]
    assert packing.position_ids.tolist() == [[0, 1]]


@given(masks())
def test_unpacking_what_was_packed_gives_it_back_with_zeros_for_pads(rows: list[list[int]]) -> None:
    mask = torch.tensor(rows)
    packing = pack_mask(mask)
    padded = torch.arange(1, mask.numel() * 3 + 1).view(*mask.shape, 3)
    packed = packing.pack(padded)
    assert packed.tolist() == [padded[mask == 1].tolist()]
    assert torch.equal(packing.unpack(packed), padded * mask.unsqueeze(-1))


@given(masks())
def test_the_first_token_of_each_row_is_its_first_kept_one(rows: list[list[int]]) -> None:
    mask = torch.tensor(rows)
    packing = pack_mask(mask)
    places = torch.arange(mask.numel()).view(*mask.shape, 1)
    wanted = [row.index(1) + at * mask.shape[1] for at, row in enumerate(rows)]
    assert packing.first(packing.pack(places)).flatten().tolist() == wanted


@given(masks())
def test_slots_are_a_tight_right_padded_form_of_the_same_tokens(rows: list[list[int]]) -> None:
    packing = pack_mask(torch.tensor(rows))
    slots = packing.slots
    packed = torch.arange(1.0, packing.tokens + 1).view(1, 1, -1, 1)
    spread = slots.spread(packed)
    assert spread.shape == (max(packing.rows, 2), 1, max(packing.longest, 2), 1)
    assert slots.mask.sum((1, 2, 3)).tolist()[: packing.rows] == list(packing.lengths)
    assert torch.equal(spread.squeeze() != 0, slots.mask.squeeze())
    assert slots.gather(spread).flatten().tolist() == packed.flatten().tolist()


def test_a_full_batch_is_packed_without_moving_a_token() -> None:
    packing = pack_full(2, 3, torch.device("cpu"))
    by_mask = pack_mask(torch.ones(2, 3, dtype=torch.int64))
    for name in ("indices", "cu_seqlens", "position_ids"):
        assert torch.equal(getattr(packing, name), getattr(by_mask, name))
    assert packing.is_full
    padded = torch.randn(2, 3, 4)
    assert torch.equal(packing.pack(padded), padded.view(1, 6, 4))
    assert torch.equal(packing.unpack(packing.pack(padded)), padded)


@pytest.mark.parametrize("mask", [torch.ones(2, 2), torch.ones(2, dtype=torch.int64)], ids=["float", "one-dimensional"])
def test_a_mask_that_could_be_read_wrongly_is_refused(mask: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="must be"):
        pack_mask(mask)


def test_a_row_without_a_token_is_refused_by_number() -> None:
    with pytest.raises(UsageError, match="row 1 has no token"):
        pack_mask(torch.tensor([[1, 0], [0, 0]]))
