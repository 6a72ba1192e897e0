"""Tensors are spread over shards as Hugging Face does it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.surgery.pieces.piece import Fill
from gte_surgery.surgery.planning.parts.sharding import fill_shards, render_index, weight_files
from gte_surgery.surgery.planning.plan import PlainFile, PlannedTensor, WeightFile


def tensors(*sizes: int) -> list[PlannedTensor]:
    """Tensors of so many bytes, named a, b, …"""
    return [PlannedTensor(chr(97 + at), "U8", (size,), (Fill(b"\0", size),)) for at, size in enumerate(sizes)]


def filled(*sizes: int, shard_size: int | None) -> list[str]:
    return ["".join(tensor.name for tensor in shard) for shard in fill_shards(tensors(*sizes), shard_size)]


def test_shards_are_filled_in_order_up_to_the_brim() -> None:
    assert filled(4, 6, 1, 9, 1, shard_size=10) == ["ab", "cd", "e"]
    assert filled(5, 5, shard_size=10) == ["ab"]
    assert filled(5, 6, shard_size=10) == ["a", "b"]


def test_what_no_shard_can_hold_gets_its_own_and_the_one_being_filled_goes_on() -> None:
    assert filled(3, 11, 3, 10, shard_size=10) == ["b", "ac", "d"]
    assert filled(11, shard_size=10) == ["a"]


def test_without_a_size_or_a_tensor_there_is_one_shard() -> None:
    assert filled(30, 40, shard_size=None) == ["ab"]
    assert filled(shard_size=10) == [""]


@given(sizes=st.lists(st.integers(0, 30), max_size=20), shard_size=st.integers(1, 20))
def test_every_tensor_has_one_place_and_no_shard_is_too_full(sizes: list[int], shard_size: int) -> None:
    shards = fill_shards(tensors(*sizes), shard_size)
    names = [tensor.name for shard in shards for tensor in shard]
    assert sorted(names) == sorted(tensor.name for tensor in tensors(*sizes))
    assert all(len(shard) == 1 or sum(tensor.nbytes for tensor in shard) <= shard_size for shard in shards)
    assert len(shards) == 1 or all(shards)


def test_one_shard_is_the_plain_file() -> None:
    given_tensors = tuple(tensors(3, 4))
    assert weight_files(given_tensors, 10, 0o640, (("format", "pt"),)) == (
        WeightFile("model.safetensors", 0o640, (("format", "pt"),), given_tensors),
    )


def test_several_shards_are_numbered_and_have_an_index_with_totals() -> None:
    a, b = (
        PlannedTensor("b", "F32", (2, 3), (Fill(bytes(4), 6),)),
        PlannedTensor("a", "F16", (5,), (Fill(bytes(2), 5),)),
    )
    one, two, index = weight_files((a, b), 24, 0o600, (("format", "pt"),))
    assert one == WeightFile("model-00001-of-00002.safetensors", 0o600, (("format", "pt"),), (a,))
    assert two == WeightFile("model-00002-of-00002.safetensors", 0o600, (("format", "pt"),), (b,))
    assert isinstance(index, PlainFile)
    assert (index.name, index.mode) == ("model.safetensors.index.json", 0o600)
    assert json.loads(index.head) == {
        "metadata": {"total_parameters": 11, "total_size": 34},
        "weight_map": {"a": two.name, "b": one.name},
    }


def test_an_index_is_written_as_transformers_writes_it() -> None:
    assert render_index({"b": "x", "a": "y"}, 5, 3).decode() == (
        '{\n  "metadata": {\n    "total_parameters": 3,\n    "total_size": 5\n  },\n'
        '  "weight_map": {\n    "a": "y",\n    "b": "x"\n  }\n}\n'
    )
