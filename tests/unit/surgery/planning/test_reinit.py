"""Fresh weights: the numbers of `new`, in any layout, on the tensors that were asked for and no others."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.surgery.verbs import convert, new, reinit, undo
from tests import builder

WORDS = "embeddings.word_embeddings.weight"
DECODER = "lm_head.decoder.weight"
SIZES: dict[str, Any] = {
    "vocab": 640, "pad": 3, "type_vocab": 2, "layers": 2, "hidden": 32, "heads": 4, "intermediate": 48,
}  # fmt: skip


def made(path: Path, **options: Any) -> Path:
    return new(path, release="gte-en-mlm-base", **{**SIZES, **options}).target


def stored(folder: Path) -> dict[str, np.ndarray]:
    return {name: array for file in folder.glob("model*.safetensors") for name, array in builder.load(file).items()}


def weights(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("model*")}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("head", ["none", "mlm", "classifier", "reranker"])
def test_reinit_with_a_seed_is_new_with_that_seed(head: str, dtype: str, tmp_path: Path) -> None:
    wanted = made(tmp_path / "wanted", head=head, dtype=dtype, seed=7)
    other = made(tmp_path / "other", head=head, dtype=dtype, seed=8)
    assert weights(other) != weights(wanted)
    reinit(other, seed=7)
    assert weights(other) == weights(wanted)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_shards_change_nothing(threads: int, tmp_path: Path) -> None:
    wanted = made(tmp_path / "wanted", seed=7, vocab=20000)
    other = made(tmp_path / "other", seed=8, vocab=20000, shard_size=20_000)
    names = {file.name for file in other.glob("model*")}
    assert len(names) > 4
    reinit(other, seed=7, threads=threads)
    assert {file.name for file in other.glob("model*")} == names
    assert changed(stored(wanted), stored(other)) == set()


def test_transformers_own_names_get_the_numbers_of_the_packed_tensors(tmp_path: Path) -> None:
    wanted = convert(made(tmp_path / "seven", seed=7), layout="f").target
    other = convert(made(tmp_path / "eight", seed=8), layout="f").target
    assert "gte.layers.1.mlp.gate_proj.weight" in stored(wanted)
    reinit(other, seed=7)
    assert weights(other) == weights(wanted)


def test_unpacked_projections_get_the_numbers_of_the_packed_ones(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = builder.remote_config(**sizes, vocab_size=640, pad_token_id=3, type_vocab_size=2, pack_qkv=False)
    split = builder.build(tmp_path / "split", config)
    reinit(split, seed=7)
    packed = stored(made(tmp_path / "packed", head="none", dtype="F32", seed=7))
    after = stored(split)
    for layer in range(2):
        for kind in ("weight", "bias"):
            base = f"encoder.layer.{layer}.attention"
            parts = [after.pop(f"{base}.{part}_proj.{kind}") for part in "qkv"]
            after[f"{base}.qkv_proj.{kind}"] = np.concatenate(parts)
    assert changed(packed, after) == set()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("new.encoder.layer.1.attention.*", 4),
        ("encoder.layer.1.attention.*", 4),
        ("*.qkv_proj.weight", 2),
        ("lm_head.*", 5),
        ("new.embeddings.word_embeddings.weight", 1),
        ("*", 31),
    ],
)
def test_only_matches_stored_and_canonical_names(pattern: str, expected: int, tmp_path: Path) -> None:
    source = made(tmp_path / "source", dialect="remote", seed=8, dtype="F32")
    arrays = {name: array + 1 for name, array in stored(source).items()}
    builder.save(source / "model.safetensors", arrays)
    everything = stored(reinit(source, seed=7, out=tmp_path / "all").target)
    outcome = reinit(source, seed=7, only=[pattern])
    after = stored(source)
    renewed = changed(arrays, after)
    assert len(renewed) == expected
    assert all(after[name].tobytes() == everything[name].tobytes() for name in renewed)
    assert (f"{31 - expected} other tensors" in "".join(outcome.plan.meaning)) is (expected != 31)


@pytest.mark.parametrize("pattern", ["*.qkv_proj.weight", "*.self_attn.k_proj.*", "encoder.layer.0.mlp.up_proj.*"])
def test_only_knows_split_tensors_by_every_name_that_they_have(pattern: str, tmp_path: Path) -> None:
    source = convert(made(tmp_path / "source", seed=8), layout="f").target
    before = stored(source)
    reinit(source, seed=7, only=[pattern])
    count = {"*.qkv_proj.weight": 6, "*.self_attn.k_proj.*": 2, "encoder.layer.0.mlp.up_proj.*": 1}[pattern]
    assert len(changed(before, stored(source))) == count


def test_only_the_shards_that_hold_a_chosen_tensor_are_written(tmp_path: Path) -> None:
    source = made(tmp_path / "source", seed=8, shard_size=100_000)
    outcome = reinit(source, seed=7, only=["lm_head.dense.weight"], dry_run=True)
    assert len(outcome.plan.files) == 1


@pytest.mark.parametrize("only", [None, [WORDS], [DECODER], ["lm_head.*"]])
def test_a_stored_tied_decoder_stays_tied(only: list[str] | None, tmp_path: Path) -> None:
    source = made(tmp_path / "source", dialect="remote", seed=8)
    arrays = stored(source)
    builder.save(source / "model.safetensors", arrays | {DECODER: arrays[f"new.{WORDS}"]})
    outcome = reinit(source, seed=7, only=only)
    after = stored(source)
    assert after[DECODER].tobytes() == after[f"new.{WORDS}"].tobytes()
    assert changed(arrays, {name: after[name] for name in arrays}) >= {f"new.{WORDS}"}
    assert "the stored decoder weight stays tied: it gets the same numbers as the word embeddings" in (
        outcome.plan.meaning
    )


def test_an_untied_decoder_has_numbers_of_its_own(tmp_path: Path) -> None:
    source = made(tmp_path / "source", dialect="remote", seed=7)
    builder.change_config(source, tie_word_embeddings=False)
    words = stored(source)[f"new.{WORDS}"]
    builder.save(source / "model.safetensors", stored(source) | {DECODER: words})
    reinit(source, seed=7, only=["lm_head.*"])
    after = stored(source)
    assert after[f"new.{WORDS}"].tobytes() == words.tobytes()
    assert not np.any(np.all(after[DECODER] == words, axis=1))
    assert 0.015 < float(after[DECODER].astype(np.float64).std()) < 0.025


def test_a_decoder_that_came_apart_is_tied_again(tmp_path: Path) -> None:
    source = made(tmp_path / "source", dialect="remote", seed=8)
    words = stored(source)[f"new.{WORDS}"]
    builder.save(source / "model.safetensors", stored(source) | {DECODER: words + 1})
    with pytest.raises(RefusedError, match="GTE240"):
        reinit(source, only=["embeddings.*"])
    reinit(source)
    assert stored(source)[DECODER].tobytes() == stored(source)[f"new.{WORDS}"].tobytes()


def test_a_head_over_words_that_stay_is_told(tmp_path: Path) -> None:
    source = made(tmp_path / "source", seed=8)
    told = reinit(source, only=["lm_head.*"], dry_run=True).plan.meaning
    assert "the masked-LM decoder is tied to the word embeddings, which stay as they are" in told
    told = reinit(source, only=[WORDS], dry_run=True).plan.meaning
    assert "the masked-LM decoder is tied to the word embeddings and becomes fresh with them" in told


def test_unknown_tensors_are_never_touched_and_the_plan_says_so(tmp_path: Path) -> None:
    source = made(tmp_path / "source", seed=8)
    strange = {"projection.weight": np.ones((2, 32), np.float32), "counts": np.arange(3)}
    builder.save(source / "model.safetensors", stored(source) | strange)
    outcome = reinit(source, seed=7)
    after = stored(source)
    assert all(after[name].tobytes() == array.tobytes() for name, array in strange.items())
    assert any("not touched" in line and all(f"`{name}`" in line for name in strange) for line in outcome.plan.meaning)
    with pytest.raises(RefusedError, match="which no GTE has"):
        reinit(source, only=["projection.*"])


@pytest.mark.parametrize("only", [["decoder.*"], ["lm_head.*", "encoder.layer.2.*"]])
def test_a_pattern_that_matches_nothing_is_refused(only: list[str], tmp_path: Path) -> None:
    source = made(tmp_path / "source", seed=8)
    before = weights(source)
    with pytest.raises(RefusedError, match="matches no tensor"):
        reinit(source, only=only)
    assert weights(source) == before


def test_one_pattern_may_be_given_as_it_is(tmp_path: Path) -> None:
    source = made(tmp_path / "source", seed=8)
    assert reinit(source, only="lm_head.dense.*", dry_run=True).plan.meaning[0].startswith("2 tensors (")


def test_no_pattern_at_all_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pattern"):
        reinit(tmp_path, only=[])


def test_the_pad_rows_of_words_and_of_absolute_positions_are_zero(golden: Path, tmp_path: Path) -> None:
    source = shutil.copytree(golden / "legacy-absolute", tmp_path / "source")
    reinit(source, seed=7)
    for table in (WORDS, "embeddings.position_embeddings.weight"):
        assert np.flatnonzero(~stored(source)[table].any(axis=1)).tolist() == [1]


def test_without_a_pad_id_no_row_is_zero(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "source", builder.remote_config(pad_token_id=None))
    reinit(source, seed=7)
    assert stored(source)[WORDS].any(axis=1).all()


def test_a_pad_id_outside_the_vocabulary_is_refused_where_words_are_drawn(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "source")
    builder.change_config(source, pad_token_id=128)
    with pytest.raises(RefusedError, match="pad_token_id: 128, must be below vocab_size 128"):
        reinit(source)
    reinit(source, only=["encoder.*"])


def test_rms_norms_and_double_precision_follow_the_same_rules(golden: Path, tmp_path: Path) -> None:
    source = shutil.copytree(golden / "legacy-rmsnorm", tmp_path / "source")
    single = stored(reinit(source, seed=7, out=tmp_path / "single").target)
    doubles = {name: array.astype(np.float64) for name, array in stored(source).items()}
    builder.save(source / "model.safetensors", doubles)
    reinit(source, seed=7)
    for name, array in stored(source).items():
        assert array.dtype == np.float64
        assert np.array_equal(array, single[name].astype(np.float64))
    assert np.all(single["encoder.layer.0.attn_ln.weight"] == 1)


def test_undo_takes_a_reinit_back(tmp_path: Path) -> None:
    source = made(tmp_path / "source", seed=8)
    before = weights(source), (source / "config.json").read_bytes()
    outcome = reinit(source, seed=7)
    assert outcome.receipt is not None
    assert json.loads((source / "gte-surgery.json").read_text())["receipts"][-1]["edits"] == {"seed": 7}
    undo(source)
    assert (weights(source), (source / "config.json").read_bytes()) == before


PATTERNS = ("*", "encoder.layer.0.*", "*.weight", "*.bias", "*norm*", "embeddings.*", "lm_head.*", "new.*", "*_ln.?ias")


@pytest.mark.slow
@given(
    only=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    head=st.sampled_from(["none", "mlm", "reranker"]),
    seed=st.integers(0, 2**64 - 1),
)
def test_what_matches_is_drawn_and_the_rest_is_carried(
    only: list[str], head: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("reinit")
    source = builder.build(folder / "source", head=head)
    before = stored(source)
    prefix = "" if head == "none" else "new."
    names = {name: {name, name.removeprefix(prefix)} for name in before}
    everything = stored(reinit(source, seed=seed, out=folder / "all", hashes=False).target)
    chosen = {name for name in names if any(fnmatchcase(one, pattern) for one in names[name] for pattern in only)}
    if any(not any(fnmatchcase(one, pattern) for every in names.values() for one in every) for pattern in only):
        with pytest.raises(RefusedError):
            reinit(source, seed=seed, only=only)
        return
    reinit(source, seed=seed, only=only, hashes=False)
    wanted = {name: (everything if name in chosen else before)[name] for name in before}
    assert changed(wanted, stored(source)) == set()
    shutil.rmtree(folder)
