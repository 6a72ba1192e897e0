"""What Python callers give is judged at the door: whole numbers of any make, words of a list, one text for several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery import Expectations, SmokeOptions, check, convert, fix, new, remap, resize, scan
from gte_surgery.cli.entry import run
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.surgery.edits import New, Resize
from tests import builder


@pytest.mark.parametrize("number", [7, np.int64(7), np.uint8(7), np.int32(7)])
def test_an_integer_of_any_make_is_one(number: int) -> None:
    resize = Resize(vocab=number, pad=np.int16(0))  # type: ignore[arg-type]
    assert (type(resize.vocab), resize.vocab, type(resize.pad)) == (int, 7, int)
    assert type(Expectations(vocab=number).vocab) is int
    assert type(New("gte-base-en-v1.5", vocab=number).vocab) is int


@pytest.mark.parametrize("value", [None, True, False, 7.0, np.float32(7), np.True_, "7", 7.5])
def test_anything_else_is_refused_at_the_door(value: object) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        Resize(vocab=value, pad=0)  # type: ignore[arg-type]
    if value is None:
        return
    with pytest.raises(UsageError, match=r"type-vocab: .* must be a whole number"):
        Expectations(type_vocab=value)  # type: ignore[arg-type]


def test_so_are_special_ids_and_ids_to_keep(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt", builder.remote_config() | {"cls_token_id": 0})
    outcome = resize(source, vocab=100, pad=1, cls=np.int64(5), out=tmp_path / "out")
    assert type(outcome.plan.edits["cls"]) is int
    assert remap(source, keep=np.arange(10), dry_run=True).plan.edits["keep"] == "given"
    with pytest.raises(UsageError, match="cls: '5', must be a whole number"):
        resize(source, vocab=100, pad=1, cls="5")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"keep: entry 1: 1.5, must be a whole number"):
        remap(source, keep=[1, 1.5])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["tokenizer", "training_state", "old_pad", "type_vocab_mode"])
def test_a_word_that_a_resize_does_not_know_is_refused(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {name: "nix"}
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')}: 'nix', must be .* or "):
        resize(builder.build(tmp_path / "ckpt"), vocab=100, pad=0, **options)


@pytest.mark.parametrize("name", ["to", "dtype", "layout", "head", "training_state"])
def test_so_it_is_by_a_conversion(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"shard_size": 1000, name: "bf16"}
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')}: 'bf16', must be .* or "):
        convert(builder.build(tmp_path / "ckpt"), **options)
    if name in ("dtype", "head"):
        with pytest.raises(UsageError, match=f"{name}: 'bf16', must be "):
            new(tmp_path / "fresh", release="gte-base-en-v1.5", **{name: "bf16"})  # type: ignore[arg-type]


def test_one_text_stands_for_a_list_of_one(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    assert check(source, select="GTE110").rules == check(source, select=["GTE110"]).rules == ("GTE110",)
    assert check(source, ignore="GTE1").rules == check(source, ignore=["GTE1"]).rules
    assert check(source, consumers="tei").rules == check(source, consumers=["tei"]).rules
    assert fix(source, codes="GTE230", dry_run=True).plan.edits["codes"] == ("GTE230",)


def test_the_rows_of_an_array_are_named_by_a_path_too(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    with pytest.raises(UsageError, match=r"rows.npy: No such file"):
        resize(source, vocab=200, pad=0, init=tmp_path / "rows.npy")


def test_a_scan_of_nothing_is_refused() -> None:
    with pytest.raises(RefusedError, match="no file to scan is named"):
        scan(IdContract(vocab_size=9, pad_token_id=0, type_vocab_size=1, max_length=8))


@pytest.mark.parametrize(
    ("option", "value"),
    [("vocab", 0), ("vocab", -3), ("pad", -1), ("ids", 0), ("type_vocab", -1), ("pad", 2**31), ("max_length", 0)],
)
def test_an_expectation_out_of_its_range_is_a_usage_error(tmp_path: Path, option: str, value: int) -> None:
    flag = option.replace("_", "-")
    with pytest.raises(UsageError, match=f"^{flag}: {value}, must be at "):
        Expectations(**{option: value})
    place = builder.build(tmp_path / "it")
    if option != "max_length":
        assert run(["check", str(place), f"--{flag}", str(value)]) == 2


def test_a_seed_below_zero_is_refused_by_every_command() -> None:
    with pytest.raises(UsageError, match=r"^seed: -1"):
        SmokeOptions(seed=-1)
