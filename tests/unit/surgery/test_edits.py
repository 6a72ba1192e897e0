"""Edits refuse what no checkpoint could satisfy, and say what would do."""

from __future__ import annotations

from typing import Any

import pytest

from gte_surgery.errors import UsageError
from gte_surgery.surgery.edits import (
    CURES,
    Convert,
    Fix,
    New,
    Reinit,
    Remap,
    Resize,
    as_record,
    copied_row,
)
from gte_surgery.vocabulary.row_map import keep_of

KEEP = keep_of([5, 1, 6])


def resize(**fields: Any) -> Resize:
    return Resize(**{"vocab": 100, "pad": 0, **fields})


def remap(**fields: Any) -> Remap:
    return Remap(KEEP, **fields)


def new(**fields: Any) -> New:
    return New("gte-base-en-v1.5", **fields)


def convert(**fields: Any) -> Convert:
    return Convert(to="native", **fields)


INIT = "must be normal, mean, mean-cov, zeros, copy:ID or a .npy file"
COPY = "for example --init copy:3"
SEED = "must be from 0 to 18446744073709551615"


@pytest.mark.parametrize(
    ("make", "fields", "message", "hint"),
    [
        (resize, {"vocab": 0}, "vocab: 0, must be at least 1", ""),
        (resize, {"pad": -1}, "pad: -1, must be at least 0", ""),
        (resize, {"round_to": 0}, "round-to: 0, must be at least 1", ""),
        (resize, {"type_vocab": -1}, "type-vocab: -1, must be at least 0", ""),
        (resize, {"seed": -1}, f"seed: -1, {SEED}", ""),
        (resize, {"seed": 2**64}, f"seed: {2**64}, {SEED}", ""),
        (resize, {"init": "median"}, f"init: 'median', {INIT}", COPY),
        (resize, {"init": "copy:"}, f"init: 'copy:', {INIT}", COPY),
        (resize, {"init": "copy:-1"}, f"init: 'copy:-1', {INIT}", COPY),
        (resize, {"init": "copy:٣"}, f"init: 'copy:٣', {INIT}", COPY),
        (resize, {"init": "row:3"}, f"init: 'row:3', {INIT}", COPY),
        (resize, {"init": "copy:x:3"}, f"init: 'copy:x:3', {INIT}", COPY),
        (resize, {"init": "copy:" + 20 * "1"}, f"init: 'copy:{20 * '1'}', {INIT}", COPY),
        (resize, {"vocab": 2**31}, "vocab: 2147483648, must be at most 2147483647", ""),
        (resize, {"type_vocab": 2**16 + 1}, "type-vocab: 65537, must be at most 65536", ""),
        (
            resize,
            {"pad": 128, "round_to": 64},
            "pad: 128, must be below the vocabulary size 128",
            "choose a pad id from 0 to 127, or a larger --vocab",
        ),
        (remap, {"round_to": 0}, "round-to: 0, must be at least 1", ""),
        (remap, {"seed": -1}, f"seed: -1, {SEED}", ""),
        (remap, {"init": "?"}, f"init: '?', {INIT}", COPY),
        (remap, {"vocab": 2}, "vocab: 2, the map makes 3 rows", "leave --vocab out, or give at least as many"),
        (remap, {"pad": -1}, "pad: -1, must be at least 0", ""),
        (
            remap,
            {"pad": 4, "round_to": 2},
            "pad: 4, must be below the vocabulary size 4",
            "choose a new id from 0 to 3, or a larger --vocab",
        ),
        *(
            (new, {name: 0}, f"{name.replace('_', '-')}: 0, must be at least 1", "")
            for name in ("vocab", "layers", "hidden", "heads", "intermediate", "max_positions", "shard_size")
        ),
        (new, {"pad": -1}, "pad: -1, must be at least 0", ""),
        (new, {"type_vocab": -1}, "type-vocab: -1, must be at least 0", ""),
        (new, {"seed": -1}, f"seed: -1, {SEED}", ""),
        (convert, {"shard_size": 0}, "shard-size: 0, must be at least 1", ""),
        (
            Convert,
            {},
            "convert: nothing is asked for",
            "give --to, --dtype, --shard-size, --layout, --strip-prefix, --drop or --head",
        ),
        (Reinit, {"only": ()}, "only: no pattern is given", "leave it out to draw all tensors anew"),
        (Reinit, {"seed": 2**64}, f"seed: {2**64}, {SEED}", ""),
        (Fix, {"codes": ("GTE015", "GTE201")}, "GTE201: has no safe cure", f"those that have: {', '.join(CURES)}"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_do(
    make: Any, fields: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as raised:
        make(**fields)
    assert (raised.value.message, raised.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (resize, {"vocab": 1, "pad": 0, "round_to": 1, "type_vocab": 0, "seed": 0}),
        (resize, {"vocab": 2**31 - 1, "type_vocab": 2**16, "init": "copy:" + 19 * "1"}),
        (resize, {"pad": 99, "seed": 2**64 - 1, "init": "copy:0"}),
        (remap, {"pad": 2, "vocab": 3, "round_to": 1, "seed": 2**64 - 1}),
        (remap, {"pad": 0, "vocab": 4}),
        (new, dict.fromkeys(("vocab", "layers", "hidden", "heads", "intermediate", "max_positions", "shard_size"), 1)),
        (new, {"pad": 0, "type_vocab": 0}),
        (convert, {"shard_size": 1}),
        (Convert, {"layout": "f"}),
        (Convert, {"dtype": "F16"}),
        (Reinit, {"only": ("x",)}),
        (Fix, {"codes": ()}),
    ],
)
def test_the_least_and_the_most_that_can_be_are_taken(make: Any, fields: dict[str, Any]) -> None:
    edit = make(**fields)
    assert {key: getattr(edit, key) for key in fields} == fields


@pytest.mark.parametrize(("vocab", "round_to", "rows"), [(100, 1, 100), (100, 64, 128), (128, 64, 128), (1, 8, 8)])
def test_a_vocabulary_is_rounded_up(vocab: int, round_to: int, rows: int) -> None:
    assert resize(vocab=vocab, round_to=round_to).rows == rows
    assert remap(vocab=vocab if vocab > 2 else None, round_to=round_to).rows == max(rows, 3)


def test_a_record_is_what_was_chosen() -> None:
    record = {"vocab": 100, "pad": 0, "type_vocab_mode": "fold", "init": "normal", "round_to": 1, "old_pad": "keep"}
    assert as_record(resize()) == {**record, "tokenizer": "keep", "seed": 0}
    assert as_record(remap(pad=1)) == {
        "keep": "given",
        "pad": 1,
        "init": "normal",
        "round_to": 1,
        "tokenizer": "rewrite",
        "seed": 0,
    }
    assert as_record(Fix(("GTE015",))) == {"codes": ("GTE015",)}


def test_the_copied_row_is_read_from_the_init() -> None:
    assert [copied_row(init) for init in ("normal", "mean", "mean-cov", "zeros", "copy:0", "copy:12")] == [
        None,
        None,
        None,
        None,
        0,
        12,
    ]
