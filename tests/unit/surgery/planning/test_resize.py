"""What a resize plans: which tensors change and by which pieces, what goes, and what it refuses."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.edits import Remap, Resize
from gte_surgery.surgery.pieces.piece import AddRow, CopyRange, Fill, GatherRows, Normal, Piece
from gte_surgery.surgery.planning.plan import ConfigChange, Plan, PlannedTensor
from gte_surgery.surgery.planning.rows import plan_rows
from gte_surgery.surgery.planning.target import Target, understand
from gte_surgery.vocabulary.row_map import Places, RowMap, keep_of, row_map
from tests import builder

WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
BIAS, DECODER = "lm_head.decoder.bias", "lm_head.decoder.weight"
ROW = 32 * 4


def target(path: Path) -> Target:
    return understand(open_checkpoint(path))


def plan(path: Path, **fields: Any) -> Plan:
    return plan_rows(target(path), Resize(**{"vocab": 128, "pad": 1, **fields}))


def tensors(found: Plan) -> dict[str, PlannedTensor]:
    return {tensor.name: tensor for file in found.files for tensor in file.tensors}


def changed(found: Plan, path: Path) -> dict[str, tuple[Piece, ...]]:
    """The pieces of the tensors that are more than a copy of themselves, all or part."""
    stored = open_checkpoint(path).tensors
    return {
        name: tensor.pieces
        for name, tensor in tensors(found).items()
        if name not in stored
        or tensor.pieces
        != (
            CopyRange(
                stored[name].shard.file.name, stored[name].file_begin, stored[name].file_begin + stored[name].nbytes
            ),
        )
    }


def rows(path: Path, name: str, first: int, stop: int, width: int = ROW) -> CopyRange:
    begin = open_checkpoint(path).tensors[name].file_begin
    return CopyRange("model.safetensors", begin + first * width, begin + stop * width)


def chosen(path: Path, name: str, *ids: int, width: int = ROW) -> GatherRows:
    return GatherRows("model.safetensors", open_checkpoint(path).tensors[name].file_begin, width, array("q", ids))


def zeroed(path: Path, name: str, *ids: int) -> Path:
    arrays = builder.load(path)
    arrays[name][list(ids)] = 0
    builder.save(path / "model.safetensors", arrays)
    return path


@pytest.fixture
def mlm(tmp_path: Path) -> Path:
    """128 rows, pad 1 with a zero row, one type, a head with an untied decoder."""
    config = builder.remote_config(tie_word_embeddings=False, initializer_range=0.25)
    arrays = builder.tensors(config, "mlm")
    arrays[DECODER] = np.full((128, 32), 3, np.float32)
    return zeroed(builder.write(tmp_path / "ckpt", config, arrays), f"new.{WORDS}", 1)


def test_nothing_to_do_is_an_empty_plan(mlm: Path) -> None:
    found = plan(mlm)
    assert (found.files, found.removed, found.changes, found.meaning) == ((), (), (), ())
    assert (found.command, found.source, found.seed) == ("resize", str(mlm), 0)


def test_a_pad_row_that_holds_numbers_becomes_zero_and_nothing_else_moves(mlm: Path) -> None:
    name = f"new.{WORDS}"
    found = plan(mlm, pad=5)
    assert changed(found, mlm) == {name: (rows(mlm, name, 0, 5), Fill(bytes(4), 32), rows(mlm, name, 6, 128))}
    assert found.changes == (ConfigChange("pad_token_id", 1, 5),)


def test_a_shrunken_model_keeps_the_first_rows_of_all_three_tables(mlm: Path) -> None:
    name = f"new.{WORDS}"
    found = plan(mlm, vocab=100)
    assert changed(found, mlm) == {
        name: (rows(mlm, name, 0, 100),),
        DECODER: (rows(mlm, DECODER, 0, 100),),
        BIAS: (rows(mlm, BIAS, 0, 100, 4),),
    }
    assert [tensors(found)[each].shape for each in (name, DECODER, BIAS)] == [(100, 32), (100, 32), (100,)]


def test_the_plan_says_in_words_what_it_does(mlm: Path) -> None:
    assert plan(mlm, vocab=64).meaning == (
        "rows 64 to 127 (64 of 128) are dropped, and the masked-LM head follows",
        "row 1, the pad row, is zero already",
    )


def test_a_grown_model_draws_rows_in_streams_of_their_own(mlm: Path) -> None:
    name = f"new.{WORDS}"
    found = changed(plan(mlm, vocab=130, seed=9), mlm)
    assert found == {
        name: (rows(mlm, name, 0, 128), Normal(WORDS, 9, 0.25, "F32", 128 * 32, 64)),
        DECODER: (rows(mlm, DECODER, 0, 128), Normal(DECODER, 9, 0.25, "F32", 128 * 32, 64)),
        BIAS: (rows(mlm, BIAS, 0, 128, 4), Fill(bytes(4), 2)),
    }


def test_a_tied_decoder_that_is_stored_is_the_word_table_once_more(tmp_path: Path) -> None:
    config = builder.remote_config(initializer_range=0.25)
    arrays = builder.tensors(config, "mlm")
    arrays[f"new.{WORDS}"][1] = 0
    arrays[DECODER] = arrays[f"new.{WORDS}"].copy()
    path = builder.write(tmp_path / "ckpt", config, arrays)
    found = changed(plan(path, vocab=129, pad=4), path)
    drawn = Normal(WORDS, 0, 0.25, "F32", 128 * 32, 32)
    assert found[DECODER] == (rows(path, DECODER, 0, 4), Fill(bytes(4), 32), rows(path, DECODER, 5, 128), drawn)
    assert found[f"new.{WORDS}"][-1] == drawn


def test_the_old_pad_row_is_drawn_anew_only_when_it_stays_and_is_no_longer_the_pad(mlm: Path) -> None:
    name = f"new.{WORDS}"
    found = changed(plan(mlm, pad=0, old_pad="normal", seed=4), mlm)
    assert found == {name: (Fill(bytes(4), 32), Normal(WORDS, 4, 0.25, "F32", 32, 32), rows(mlm, name, 2, 128))}
    assert plan(mlm, pad=1, old_pad="normal").is_empty
    assert changed(plan(mlm, vocab=1, pad=0, old_pad="normal"), mlm)[name] == (Fill(bytes(4), 32),)
    assert changed(plan(mlm, pad=0), mlm) == {name: (Fill(bytes(4), 32), rows(mlm, name, 1, 128))}


def test_a_pad_beyond_the_old_table_is_a_zero_row(mlm: Path) -> None:
    found = changed(plan(mlm, vocab=130, pad=128, init="copy:3"), mlm)[f"new.{WORDS}"]
    begin = open_checkpoint(mlm).tensors[f"new.{WORDS}"].file_begin
    copy = GatherRows("model.safetensors", begin, ROW, (3,))
    assert found == (rows(mlm, f"new.{WORDS}", 0, 128), Fill(bytes(4), 32), copy)


def test_types_are_folded_into_every_row_but_the_pad(mlm: Path) -> None:
    name, types = f"new.{WORDS}", f"new.{TYPES}"
    found = plan(mlm, pad=2, type_vocab=0)
    row = rows(mlm, types, 0, 1)
    assert changed(found, mlm)[name] == (
        AddRow(rows(mlm, name, 0, 2), row, "F32"),
        Fill(bytes(4), 32),
        AddRow(rows(mlm, name, 3, 128), row, "F32"),
    )
    assert types not in tensors(found)
    assert ConfigChange("type_vocab_size", 1, 0) in found.changes
    dropped = plan(mlm, type_vocab=0, type_vocab_mode="drop")
    assert (changed(dropped, mlm), types in tensors(dropped)) == ({}, False)


def test_types_grow_by_copies_of_the_first_and_shrink_from_the_end(tmp_path: Path) -> None:
    path = zeroed(builder.build(tmp_path / "ckpt", builder.remote_config(type_vocab_size=2)), WORDS, 1)
    begin = open_checkpoint(path).tensors[TYPES].file_begin
    assert changed(plan(path, type_vocab=4), path) == {
        TYPES: (rows(path, TYPES, 0, 2), GatherRows("model.safetensors", begin, ROW, (0, 0)))
    }
    assert changed(plan(path, type_vocab=1), path) == {TYPES: (rows(path, TYPES, 0, 1),)}
    assert plan(path, type_vocab=2).is_empty


def test_where_there_were_no_types_they_come_as_zeros_before_the_words(tmp_path: Path) -> None:
    config = builder.remote_config(type_vocab_size=0)
    path = builder.build(tmp_path / "ckpt", config, "classifier")
    zeroed(path, f"new.{WORDS}", 1)
    found = plan(path, type_vocab=2)
    assert changed(found, path) == {f"new.{TYPES}": (Fill(bytes(4), 64),)}
    assert tensors(found)[f"new.{TYPES}"].shape == (2, 32)
    order = list(tensors(found))
    assert order.index(f"new.{TYPES}") + 1 == order.index(f"new.{WORDS}")
    assert plan(path, type_vocab=0).is_empty


def test_tokenizer_files_go_only_when_asked(mlm: Path) -> None:
    builder.write_json(mlm / "tokenizer_config.json", {})
    assert plan(mlm, vocab=64).removed == ()
    assert plan(mlm, vocab=64, tokenizer="remove").removed == ("tokenizer_config.json",)
    assert plan(mlm, tokenizer="remove").removed == ("tokenizer_config.json",)


ZEROS = "use --init zeros, and --type-vocab-mode drop for the type vocabulary"
UNCOUNTABLE = f"model.safetensors: `{WORDS}`: dtype U32, numbers are made in F64, F32, F16, BF16 only"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab": 129, "pad": 1}, UNCOUNTABLE),
        ({"vocab": 129, "init": "mean"}, UNCOUNTABLE),
        ({"old_pad": "normal"}, UNCOUNTABLE),
        ({"type_vocab": 0}, UNCOUNTABLE),
        ({"vocab": 129, "init": "zeros"}, ""),
        ({"vocab": 129, "init": "copy:3"}, ""),
        ({"vocab": 100}, ""),
        ({"type_vocab": 0, "type_vocab_mode": "drop"}, ""),
    ],
)
def test_only_what_needs_arithmetic_is_refused_for_the_dtype(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = builder.build(tmp_path / "ckpt", builder.remote_config(dtype="float8_e4m3fn"))
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"dtype":"F32"', b'"dtype":"U32"'))
    if not message:
        assert not plan(path, **fields).is_empty
        return
    with pytest.raises(RefusedError) as raised:
        plan(path, **fields)
    assert (raised.value.message, raised.value.hint) == (message, ZEROS)


def test_tables_of_two_dtypes_are_not_added(tmp_path: Path) -> None:
    config = builder.remote_config()
    arrays = builder.tensors(config)
    arrays[TYPES] = arrays[TYPES].astype(np.float16)
    path = builder.write(tmp_path / "ckpt", config, arrays)
    with pytest.raises(RefusedError) as raised:
        plan(path, type_vocab=0)
    assert raised.value.message == f"model.safetensors: `{TYPES}`: dtype F16, cannot be added to F32 rows"
    assert raised.value.hint == "give both tables one dtype first, or use --type-vocab-mode drop"
    assert not plan(path, type_vocab=0, type_vocab_mode="drop").is_empty


def test_a_row_to_copy_matters_only_when_rows_are_new(mlm: Path) -> None:
    assert not plan(mlm, vocab=100, init="copy:128").is_empty
    with pytest.raises(RefusedError, match=r"^init: copy:128, the table has rows 0 to 127$"):
        plan(mlm, vocab=129, init="copy:128")


def remapped(path: Path, origins: RowMap, **fields: Any) -> Plan:
    return plan_rows(target(path), Remap(origins, **fields))


def test_a_remap_that_changes_nothing_is_an_empty_plan(mlm: Path) -> None:
    assert remapped(mlm, keep_of(range(128))).is_empty


def test_a_remap_moves_the_rows_of_all_three_tables(mlm: Path) -> None:
    name = f"new.{WORDS}"
    found = remapped(mlm, keep_of([4, 5, 1]), vocab=4, seed=9)
    assert changed(found, mlm) == {
        name: (chosen(mlm, name, 4, 5, 1), Normal(WORDS, 9, 0.25, "F32", 96, 32)),
        DECODER: (chosen(mlm, DECODER, 4, 5, 1), Normal(DECODER, 9, 0.25, "F32", 96, 32)),
        BIAS: (chosen(mlm, BIAS, 4, 5, 1, width=4), Fill(bytes(4), 1)),
    }
    assert {change.key: change.after for change in found.changes} == {"vocab_size": 4, "pad_token_id": 2}
    assert tensors(found)[BIAS].shape == (4,)


REMAP_HINT = "use --init zeros, and a map from ids to ids"


@pytest.mark.parametrize(
    ("origins", "fields", "message", "hint"),
    [
        (
            keep_of([1, 128]),
            {},
            "keep: entry 1: old id 128, the table has rows 0 to 127",
            "is the map made for this checkpoint?",
        ),
        (keep_of([2, 3]), {}, "pad: row 1, the pad row, gets no new id", "say which new id is to pad: --pad ID"),
        (keep_of([1]), {"vocab": 2, "init": "copy:128"}, "init: copy:128, the table has rows 0 to 127",
         "name a row that the table has"),
        (
            RowMap(1, (0,), (1, 128), (0, 2), Places("m.tsv", "line", (7,))),
            {"pad": 0},
            "m.tsv:7: old id 128, the table has rows 0 to 127",
            "is the map made for this checkpoint?",
        ),
    ],
)  # fmt: skip
def test_a_remap_that_does_not_fit_is_refused_with_a_way_out(
    origins: RowMap, fields: dict[str, Any], message: str, hint: str, mlm: Path
) -> None:
    with pytest.raises(RefusedError) as raised:
        remapped(mlm, origins, **fields)
    assert (raised.value.message, raised.value.hint) == (message, hint)


def test_a_row_to_copy_is_not_asked_for_where_every_row_has_an_origin(mlm: Path) -> None:
    assert not remapped(mlm, keep_of([1, 127]), init="copy:128").is_empty


def test_means_and_draws_are_refused_for_a_dtype_without_arithmetic(tmp_path: Path) -> None:
    path = builder.build(tmp_path / "ckpt", builder.remote_config(dtype="float8_e4m3fn"))
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"dtype":"F32"', b'"dtype":"U32"'))
    means = RowMap(2, (0, 1), (1, 2, 3), (0, 1, 3), Places("m", "line", (1, 2)))
    gap = row_map((0, 2), (1, 5), Places("m", "line", (1, 2)), {})
    for origins, fields in ((means, {"init": "zeros"}), (gap, {}), (keep_of([1]), {"vocab": 2})):
        with pytest.raises(RefusedError) as raised:
            remapped(path, origins, **fields)
        assert (raised.value.message, raised.value.hint) == (UNCOUNTABLE, REMAP_HINT)
    assert not remapped(path, gap, init="zeros").is_empty
    assert not remapped(path, keep_of([1, 5])).is_empty


def test_a_remap_zeroes_the_pad_unless_it_is_zero_already(mlm: Path) -> None:
    name = f"new.{WORDS}"
    kept = changed(remapped(mlm, keep_of([0, 1, 2])), mlm)[name]
    assert kept == (rows(mlm, name, 0, 3),)
    moved = changed(remapped(mlm, keep_of([0, 1, 2]), pad=2), mlm)[name]
    assert moved == (rows(mlm, name, 0, 2), Fill(bytes(4), 32))


def test_special_ids_in_lists_and_of_other_kinds(tmp_path: Path) -> None:
    ids = {"eos_token_id": [5, 9, [6]], "bos_token_id": True, "cls_token_id": "5", "sep_token_id": None}
    path = builder.build(tmp_path / "ckpt", builder.remote_config(**ids))
    changes = {change.key: change.after for change in remapped(path, keep_of([1, 5, 6])).changes}
    assert changes == {"eos_token_id": [1, [2]], "vocab_size": 3, "pad_token_id": 0}


def test_a_remap_leaves_tokenizer_files_unless_asked(mlm: Path) -> None:
    builder.write_json(mlm / "tokenizer_config.json", {})
    assert remapped(mlm, keep_of([1, 2])).removed == ()
    assert remapped(mlm, keep_of([1, 2]), tokenizer="remove").removed == ("tokenizer_config.json",)


def test_a_pad_row_of_negative_zeros_is_zero_enough(mlm: Path) -> None:
    arrays = builder.load(mlm)
    arrays[f"new.{WORDS}"][1] = -0.0
    builder.save(mlm / "model.safetensors", arrays)
    assert plan(mlm).is_empty


def test_an_old_pad_of_zero_is_drawn_anew_as_well(tmp_path: Path) -> None:
    path = zeroed(builder.build(tmp_path / "ckpt", builder.remote_config(pad_token_id=0)), WORDS, 0, 1)
    first, *_ = changed(plan(path, pad=1, old_pad="normal"), path)[WORDS]
    assert isinstance(first, Normal)
    assert (first.begin, first.size) == (0, 32)
