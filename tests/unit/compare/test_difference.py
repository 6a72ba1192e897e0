"""What `diff` finds between two checkpoints, and what it does not take for a difference."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.compare.difference import Difference, TensorDifference, diff
from gte_surgery.errors import CheckpointError, GteSurgeryError, RefusedError, UnfinishedSurgeryError
from gte_surgery.surgery.verbs import convert, resize
from tests import builder

WORDS = "embeddings.word_embeddings.weight"
DENSE = "encoder.layer.1.mlp.down_proj.weight"
QKV = "encoder.layer.0.attention.qkv_proj.weight"
CONVERTIBLE = (
    "legacy-base", "legacy-en-v1.5", "legacy-mixed-ntk", "legacy-mlm", "legacy-multilingual", "legacy-norope-scaling",
    "legacy-reranker", "legacy-type2", "legacy-unpacked-qkv", "snowflake-m-v2",
)  # fmt: skip


def copied(source: Path, path: Path, **changed: np.ndarray | None) -> Path:
    """A copy in which some tensors are others; None leaves one out."""
    shutil.copytree(source, path)
    arrays = {**builder.load(source), **changed}
    builder.save(path / "model.safetensors", {name: array for name, array in arrays.items() if array is not None})
    return path


def the_one(found: Difference) -> TensorDifference:
    assert len(found.tensors) == 1
    return found.tensors[0]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return builder.build(tmp_path / "source")


def test_a_checkpoint_equals_itself_and_its_copy(source: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(source, tmp_path / "copy")
    for other in (source, copy, source / "model.safetensors"):
        for values in (False, True):
            found = diff(source, other, values=values)
            assert (found.is_equal, found.is_complete, found.tensors, found.config, found.spelling) == (
                True, True, (), (), (),
            )  # fmt: skip
            assert found.compared == 26


@pytest.mark.parametrize("layout", ["native", "f", "shards"])
@pytest.mark.parametrize("case", CONVERTIBLE)
def test_a_conversion_is_equal(case: str, layout: str, golden: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "native": {"to": "native"},
        "f": {"to": "native", "layout": "f"},
        "shards": {"shard_size": 20_000},
    }
    other = convert(golden / case, out=tmp_path / "other", **options[layout]).target
    for left, right in ((golden / case, other), (other, golden / case)):
        found = diff(left, right)
        assert found.is_equal
        assert {kind for tensor in found.tensors for kind in tensor.kinds} <= {"renamed"}
        assert diff(left, right, brief=True).is_complete
    assert bool(found.spelling) is (layout != "shards")


@pytest.mark.parametrize("case", ["legacy-base", "legacy-en-v1.5", "legacy-multilingual", "legacy-mlm"])
def test_a_resized_golden_checkpoint_differs_in_its_vocabulary_only(case: str, golden: Path) -> None:
    found = diff(golden / case, golden / f"{case}.resized-160-pad0", values=True)
    keys = {key.key: (key.left, key.right) for key in found.config}
    before = json.loads((golden / case / "config.json").read_text())["pad_token_id"]
    assert keys == {"vocab_size": (256, 160)} | ({"pad_token_id": (before, 0)} if before else {})
    tables = {tensor.name: tensor for tensor in found.tensors}
    assert set(tables) == {WORDS} | ({"lm_head.decoder.bias"} if case == "legacy-mlm" else set())
    words = tables[WORDS]
    assert words.common_rows == 160
    if before:
        assert words.kinds == ("reshaped", "changed")
        assert words.gap is not None
        assert words.gap.rows is not None
        assert (words.gap.rows.changed, words.gap.rows.ranges) == (1, ((0, 0),))
    else:
        assert (words.kinds, words.has_changed, words.gap) == (("reshaped",), False, None)
    if case == "legacy-mlm":
        assert tables["lm_head.decoder.bias"].kinds == ("reshaped",)


def test_added_and_removed_tensors_are_told(source: Path, tmp_path: Path) -> None:
    other = copied(source, tmp_path / "other", **{DENSE: None, "extra": np.zeros(3, np.int64)})
    found = {tensor.name: tensor for tensor in diff(source, other).tensors}
    assert {name: tensor.kinds for name, tensor in found.items()} == {DENSE: ("removed",), "extra": ("added",)}
    assert found[DENSE].right is None
    assert found["extra"].right is not None
    assert (found["extra"].right.dtype, found["extra"].right.shape) == ("I64", (3,))


@pytest.mark.parametrize("offset", [0, 1, 700, 48 * 32 - 1])
def test_one_bit_anywhere_is_a_change(offset: int, source: Path, tmp_path: Path) -> None:
    array = builder.load(source)[DENSE].copy()
    array.reshape(-1).view(np.uint32)[offset] ^= 1
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{DENSE: array})))
    assert (tensor.name, tensor.kinds, tensor.gap) == (DENSE, ("changed",), None)


@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_of_a_split_tensor_the_changed_part_is_told(part: str, source: Path, tmp_path: Path) -> None:
    array = builder.load(source)[QKV].copy()
    array[32 * "qkv".index(part) + 5] += 1
    other = convert(copied(source, tmp_path / "other", **{QKV: array}), to="native", layout="f").target
    changed = [tensor for tensor in diff(source, other, values=True).tensors if not tensor.is_equal]
    assert [tensor.name for tensor in changed] == [QKV.replace("qkv", part)]
    assert changed[0].kinds == ("renamed", "changed")
    assert changed[0].left is not None
    assert changed[0].left.name == QKV
    assert changed[0].gap is not None
    assert changed[0].gap.largest == pytest.approx(1, abs=1e-6)
    assert changed[0].gap.mean == pytest.approx(1 / 32, abs=1e-6)


def test_packed_on_both_sides_is_compared_packed(source: Path, tmp_path: Path) -> None:
    array = builder.load(source)[QKV] + 1
    assert the_one(diff(source, copied(source, tmp_path / "other", **{QKV: array}))).name == QKV


def test_numbers_are_measured_as_numpy_does(source: Path, tmp_path: Path) -> None:
    before = builder.load(source)[WORDS]
    after = before.copy()
    rows = [0, 3, 4, 5, 9, 127]
    after[rows, 7] += np.linspace(0.1, 0.6, len(rows), dtype=np.float32)
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{WORDS: after}), values=True))
    one, other = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    assert tensor.gap is not None
    assert tensor.gap.largest == np.abs(one - other).max()
    assert tensor.gap.mean == pytest.approx(np.abs(one - other).mean(), rel=1e-12)
    assert tensor.gap.cosine == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), rel=1e-12)
    assert tensor.gap.rows is not None
    assert tensor.gap.rows.ranges == ((0, 0), (3, 5), (9, 9), (127, 127))
    assert (tensor.gap.rows.compared, tensor.gap.rows.changed, tensor.gap.rows.left_out) == (128, 6, 0)


def test_what_is_not_finite_is_counted_and_left_out(source: Path, tmp_path: Path) -> None:
    after = builder.load(source)[WORDS].copy()
    after[2, :3] = np.nan, np.inf, -np.inf
    after[4, 0] += 1
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{WORDS: after}), values=True))
    assert tensor.gap is not None
    assert (tensor.gap.not_finite, tensor.gap.compared) == (3, 128 * 32)
    assert tensor.gap.largest == pytest.approx(1, abs=1e-6)
    assert tensor.gap.rows is not None
    assert tensor.gap.rows.ranges == ((2, 2), (4, 4))


def test_nothing_to_measure_against_gives_no_cosine(source: Path, tmp_path: Path) -> None:
    after = np.zeros_like(builder.load(source)[DENSE])
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{DENSE: after}), values=True))
    assert tensor.gap is not None
    assert tensor.gap.cosine is None


def test_another_dtype_is_a_recast_and_its_loss_can_be_measured(source: Path, tmp_path: Path) -> None:
    halves = {name: array.astype(np.float16) for name, array in builder.load(source).items()}
    other = copied(source, tmp_path / "other", **halves)
    found = diff(source, other)
    assert {tensor.kinds for tensor in found.tensors} == {("recast",)}
    assert len(found.tensors) == 26
    gaps = {tensor.name: tensor.gap for tensor in diff(source, other, values=True).tensors}
    before = builder.load(source)[WORDS].astype(np.float64)
    gap = gaps[WORDS]
    assert gap is not None
    assert gap.largest == np.abs(before - halves[WORDS].astype(np.float64)).max()
    assert gap.rows is not None
    assert gap.rows.changed == np.count_nonzero((before != halves[WORDS]).any(axis=1))
    norm = gaps["embeddings.LayerNorm.weight"]
    assert norm is not None
    assert (norm.largest, norm.cosine) == (0, pytest.approx(1))


def test_shapes_without_rows_in_common_are_not_compared(source: Path, tmp_path: Path) -> None:
    after = np.ascontiguousarray(builder.load(source)[DENSE].T)
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{DENSE: after}), values=True))
    assert (tensor.kinds, tensor.common_rows, tensor.has_changed, tensor.gap) == (("reshaped",), None, None, None)


def test_dtypes_that_are_only_carried_are_compared_by_bytes(source: Path, tmp_path: Path) -> None:
    left = copied(source, tmp_path / "left", table=np.arange(6), same=np.array(3), none=np.zeros((0, 4)))
    right = copied(source, tmp_path / "right", table=np.arange(6) + 1, same=np.array(3), none=np.zeros((0, 4)))
    tensor = the_one(diff(left, right, values=True))
    assert (tensor.name, tensor.kinds, tensor.gap) == ("table", ("changed",), None)


def test_a_decoder_that_is_stored_once_more_makes_no_difference(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "source", head="mlm")
    words = builder.load(source)[f"new.{WORDS}"]
    other = copied(source, tmp_path / "other", **{"lm_head.decoder.weight": words})
    for left, right in ((source, other), (other, source)):
        found = diff(left, right)
        assert found.is_equal
        assert the_one(found).kinds == ("renamed",)
    apart = copied(source, tmp_path / "apart", **{"lm_head.decoder.weight": words + 1})
    assert the_one(diff(source, apart)).kinds == ("renamed", "changed")


def test_config_keys_are_compared_by_meaning(source: Path, tmp_path: Path) -> None:
    other = shutil.copytree(source, tmp_path / "other")
    builder.change_config(other, initializer_range=0.1, transformers_version="5.23.0")
    found = diff(source, other)
    assert not found.is_equal
    assert [(key.key, key.left, key.right) for key in found.config] == [("initializer_range", 0.02, 0.1)]
    assert [key.key for key in found.spelling] == ["transformers_version"]


def test_brief_ends_at_the_first_difference(source: Path, tmp_path: Path) -> None:
    arrays = {name: array + 1 for name, array in builder.load(source).items()}
    other = copied(source, tmp_path / "other", **arrays)
    found = diff(source, other, brief=True)
    assert (found.is_equal, found.is_complete, len(found.tensors)) == (False, False, 1)
    builder.change_config(other, vocab_size=64)
    reads: list[int] = []
    found = diff(source, other, brief=True, progress=lambda done, total: reads.append(done))
    assert (found.is_equal, found.is_complete, found.tensors, reads) == (False, False, (), [])


def test_links_to_one_file_are_equal_without_being_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(source, tmp_path / "other")
    third = shutil.copytree(source, tmp_path / "third")
    (other / "model.safetensors").unlink()
    os.link(source / "model.safetensors", other / "model.safetensors")
    read = {"words": 0}
    begin = open_checkpoint(source).tensors[WORDS].file_begin
    real = os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        read["words"] += offset == begin
        return real(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert diff(source, other).is_equal
    assert read["words"] == 0
    assert diff(source, third).is_equal
    assert read["words"] == 2


def test_progress_ends_where_it_should(source: Path, tmp_path: Path) -> None:
    other = copied(source, tmp_path / "other", **{WORDS: builder.load(source)[WORDS] * 2, DENSE: None})
    seen: list[tuple[int, int]] = []
    diff(source, other, values=True, progress=lambda done, total: seen.append((done, total)))
    total = sum(array.nbytes for array in builder.load(source).values())
    assert {all_of_it for _, all_of_it in seen} == {total}
    assert seen[-1] == (total, total)
    assert max(done for done, _ in seen) == total


def test_an_unsound_checkpoint_can_still_be_compared(source: Path, tmp_path: Path) -> None:
    other = copied(source, tmp_path / "other", **{WORDS: builder.load(source)[WORDS][:100]})
    tensor = the_one(diff(source, other))
    assert (tensor.kinds, tensor.common_rows, tensor.has_changed) == (("reshaped",), 100, False)


def test_two_tensors_of_one_meaning_are_refused(source: Path, tmp_path: Path) -> None:
    other = copied(source, tmp_path / "other", **{QKV.replace("qkv", "q"): np.zeros((32, 32), np.float32)})
    with pytest.raises(RefusedError, match="both hold"):
        diff(source, other)


def break_config(path: Path) -> None:
    (path / "config.json").write_text("{")


def break_family(path: Path) -> None:
    builder.change_config(path, model_type="electra")


def break_names(path: Path) -> None:
    builder.save(path / "model.safetensors", {"bert.weight": np.zeros(3)})


def break_weights(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"\x80\x02junk")


def cut_weights(path: Path) -> None:
    os.truncate(path / "model.safetensors", 20_000)


def leave_no_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "damage", [break_config, break_family, break_names, break_weights, cut_weights, leave_no_weights, shutil.rmtree]
)
def test_what_is_not_a_whole_gte_checkpoint_is_refused(damage: Any, source: Path, tmp_path: Path) -> None:
    other = shutil.copytree(source, tmp_path / "other")
    damage(other)
    for pair in ((source, other), (other, source), (other, other)):
        with pytest.raises((CheckpointError, RefusedError)) as caught:
            diff(*pair)
        assert isinstance(caught.value, GteSurgeryError)
        assert str(other) in f"{caught.value.message} {caught.value.hint}"


def test_an_unfinished_surgery_must_be_settled_first(source: Path, tmp_path: Path) -> None:
    other = shutil.copytree(source, tmp_path / "other")
    (other / ".gte-surgery").mkdir()
    (other / ".gte-surgery" / "journal.json").write_text("{}")
    with pytest.raises(UnfinishedSurgeryError):
        diff(source, other)


def test_a_surgery_and_nothing_else_shows(source: Path, tmp_path: Path) -> None:
    other = resize(source, vocab=64, pad=1, out=tmp_path / "other").target
    found = diff(source, other)
    assert ([key.key for key in found.config], the_one(found).kinds) == (["vocab_size"], ("reshaped",))


def test_of_very_many_ranges_the_first_are_kept_and_the_rest_counted(tmp_path: Path) -> None:
    config = builder.remote_config(vocab_size=4096, hidden_size=8, num_attention_heads=1, num_hidden_layers=1)
    source = builder.build(tmp_path / "source", config)
    after = builder.load(source)[WORDS].copy()
    after[::2] += 1
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{WORDS: after}), values=True))
    assert tensor.gap is not None
    rows = tensor.gap.rows
    assert rows is not None
    assert (rows.compared, rows.changed, len(rows.ranges), rows.left_out) == (4096, 2048, 1000, 1048)
    assert rows.ranges[-1] == (1998, 1998)


def test_a_table_of_many_blocks_is_measured_as_one(tmp_path: Path) -> None:
    config = builder.remote_config(vocab_size=20_000, num_hidden_layers=1)
    source = builder.build(tmp_path / "source", config)
    before = builder.load(source)[WORDS]
    after = before.copy()
    rows = [0, *range(8190, 8200), 16383, 16384, 19_999]
    after[rows] += 0.25
    tensor = the_one(diff(source, copied(source, tmp_path / "other", **{WORDS: after}), values=True))
    one, other = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    assert tensor.gap is not None
    assert tensor.gap.mean == pytest.approx(np.abs(one - other).mean(), rel=1e-12)
    assert tensor.gap.cosine == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), rel=1e-12)
    assert tensor.gap.rows is not None
    assert tensor.gap.rows.ranges == ((0, 0), (8190, 8199), (16383, 16384), (19_999, 19_999))


@pytest.mark.parametrize("place", [0, (4 << 20) - 1, 4 << 20, (8 << 20) - 1, -1])
def test_one_byte_at_the_edge_of_any_block_is_a_change(place: int, tmp_path: Path) -> None:
    config = builder.remote_config(vocab_size=80_000, num_hidden_layers=1)
    source = builder.write_sparse(tmp_path / "source", config)
    other = builder.write_sparse(tmp_path / "other", config)
    table = open_checkpoint(other).tensors[WORDS]
    assert diff(source, other).is_equal
    with open(other / "model.safetensors", "r+b") as file:
        file.seek(table.file_begin + place % table.nbytes)
        file.write(b"\x01")
    assert the_one(diff(source, other)).kinds == ("changed",)
