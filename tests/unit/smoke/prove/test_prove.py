"""A proof before the commit: sound surgeries are proved, and whatever is planted in between is refuted.

Damage is done to the staged checkpoint by a hook, after everything else that looks at it has looked.
"""

from __future__ import annotations

import gc
import json
import shutil
import struct
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from gte_surgery import convert, fix, load_encoder, new, prover, reinit, remap, resize, trim  # noqa: E402
from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint, open_listing  # noqa: E402
from gte_surgery.checkpoint.json.strict import parse_document  # noqa: E402
from gte_surgery.checkpoint.source import path_of  # noqa: E402
from gte_surgery.errors import RefusedError  # noqa: E402
from tests import builder  # noqa: E402
from tests.texts import KINDS, lines, write_tokenizer  # noqa: E402

KEPT = [0, 3, 1, *range(40, 140), 7]
Damage = Callable[[Checkpoint], Checkpoint]
LAYER = "new.encoder.layer.1."
WORDS = "new.embeddings.word_embeddings.weight"


def numbers(name: str, change: Callable[[Any], Any]) -> Damage:
    """A tensor of the staged checkpoint with other numbers of the same shape."""

    def damage(after: Checkpoint) -> Checkpoint:
        tensor = after.tensors[name]
        path = path_of(tensor.shard.file.place)
        raw = bytearray(path.read_bytes())
        place = slice(tensor.file_begin, tensor.file_begin + tensor.nbytes)
        values = torch.frombuffer(bytearray(raw[place]), dtype=torch.float32).reshape(tensor.shape).clone()
        made = change(values)
        assert not torch.equal(made, values), "the damage does nothing"
        raw[place] = made.contiguous().numpy().tobytes()
        path.write_bytes(raw)
        return after

    return damage


def settings(**members: Any) -> Damage:
    """The staged config with other members."""

    def damage(after: Checkpoint) -> Checkpoint:
        assert after.config is not None
        text = json.dumps({**after.values, **members})
        assert any(after.values.get(key) != value for key, value in members.items()), "the damage does nothing"
        return replace(after, config=parse_document(text.encode(), "config.json"))

    return damage


def swapped(first: int, second: int) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        order = list(range(len(values)))
        order[first], order[second] = order[second], order[first]
        return values[order]

    return change


def one_bit(bit: int) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        raw = bytearray(values.numpy().tobytes())
        at = len(raw) // 2 // 4 * 4
        (word,) = struct.unpack_from("<I", raw, at)
        struct.pack_into("<I", raw, at, word ^ (1 << bit))
        return torch.frombuffer(raw, dtype=torch.float32).reshape(values.shape).clone()

    return change


def parts(order: tuple[int, ...]) -> Callable[[Any], Any]:
    return lambda values: torch.cat([values.chunk(len(order))[part] for part in order])


def at(place: tuple[int, ...], value: float) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values = values.clone()
        values[place] += value
        return values

    return change


QKV, QKV_BIAS = f"{LAYER}attention.qkv_proj.weight", f"{LAYER}attention.qkv_proj.bias"
UP_GATE, DOWN = f"{LAYER}mlp.up_gate_proj.weight", f"{LAYER}mlp.down_proj.weight"
DECODER_BIAS = "lm_head.decoder.bias"
DAMAGES: dict[str, Damage] = {
    "rows off by one": numbers(WORDS, lambda values: values.roll(1, 0)),
    "rows off by one, the pad row zero": numbers(WORDS, lambda v: torch.cat([v[:1], v[1:].roll(1, 0)])),
    "rows reversed": numbers(WORDS, lambda values: values.flip(0)),
    "rows of two ids swapped": numbers(WORDS, swapped(50, 51)),
    "first and last row swapped": numbers(WORDS, swapped(1, -1)),
    "one row is another's": numbers(WORDS, lambda v: torch.cat([v[:60], v[61:62], v[61:]])),
    "one row zero": numbers(WORDS, lambda v: torch.cat([v[:9], v[9:10] * 0, v[10:]])),
    "pad row not zero": numbers(WORDS, at((0, 3), 1e-6)),
    "pad row is another's": numbers(WORDS, lambda v: torch.cat([v[9:10], v[1:]])),
    "table transposed in place": numbers(WORDS, lambda v: v.T.reshape(v.shape)),
    "columns rolled": numbers(WORDS, lambda values: values.roll(1, 1)),
    "lowest bit of one weight of the table": numbers(WORDS, one_bit(0)),
    "sign of one weight of the table": numbers(WORDS, one_bit(31)),
    "lowest bit of one weight of qkv": numbers(QKV, one_bit(0)),
    "lowest bit of one weight of the layer norm": numbers(f"{LAYER}attn_ln.weight", one_bit(0)),
    "lowest bit of one bias": numbers(f"{LAYER}mlp.down_proj.bias", one_bit(0)),
    "exponent of one weight": numbers(DOWN, one_bit(24)),
    "q and k swapped": numbers(QKV, parts((1, 0, 2))),
    "k and v swapped": numbers(QKV, parts((0, 2, 1))),
    "qkv rotated": numbers(QKV, parts((1, 2, 0))),
    "biases of q and k swapped": numbers(QKV_BIAS, parts((1, 0, 2))),
    "up and gate swapped": numbers(UP_GATE, parts((1, 0))),
    "output projection transposed": numbers(f"{LAYER}attention.o_proj.weight", lambda v: v.T),
    "layer norms scaled": numbers(f"{LAYER}mlp_ln.weight", lambda v: v * 1.0001),
    "layer norm bias lost": numbers("new.embeddings.LayerNorm.weight", lambda v: v * 0),
    "a tensor of another layer": numbers(DOWN, lambda v: v.flip(1)),
    "type row lost": numbers("new.embeddings.token_type_embeddings.weight", lambda v: v * 0),
    "type row doubled": numbers("new.embeddings.token_type_embeddings.weight", lambda v: v * 2),
    "decoder bias not moved": numbers(DECODER_BIAS, lambda v: v.roll(1)),
    "decoder bias lost": numbers(DECODER_BIAS, lambda v: v * 0),
    "two decoder biases swapped": numbers(DECODER_BIAS, swapped(70, 71)),
    "head's dense transposed": numbers("lm_head.dense.weight", lambda v: v.T),
    "head's norm scaled": numbers("lm_head.norm.weight", lambda v: v * 1.001),
    "lowest bit in the head": numbers("lm_head.dense.weight", one_bit(0)),
    "one number NaN": numbers(DOWN, at((3, 3), float("nan"))),
    "one number infinite": numbers(DOWN, at((3, 3), float("inf"))),
    "a shard from elsewhere": numbers(QKV, lambda v: torch.randn(v.shape, generator=torch.Generator().manual_seed(1))),
    "rope factor in the fifth digit": settings(rope_scaling={"type": "ntk", "factor": 8.0001}),
    "rope theta": settings(rope_theta=20001.0),
    "rope scaling lost": settings(rope_scaling=None),
    "epsilon of the norms": settings(layer_norm_eps=1e-6),
    "another activation": settings(hidden_act="relu"),
    "half the heads": settings(num_attention_heads=2),
    "a layer less": settings(num_hidden_layers=1),
}  # fmt: skip


@pytest.fixture(scope="module")
def golden_families(golden: Path) -> Path:
    return golden.parent / "families"


@pytest.fixture
def trained(golden: Path, tmp_path: Path) -> Path:
    """A masked LM with a type row, an ntk rope and a decoder bias that is not zero."""
    path = shutil.copytree(golden / "legacy-mlm", tmp_path / "ckpt")
    config = json.loads((path / "config.json").read_text())
    config.update(rope_theta=20000.0, rope_scaling={"type": "ntk", "factor": 8.0})
    (path / "config.json").write_text(json.dumps(config))
    checkpoint = open_checkpoint(path)
    name = next(name for name in checkpoint.tensors if name.endswith("decoder.bias"))
    numbers(name, lambda values: torch.randn(values.shape, generator=torch.Generator().manual_seed(2)))(checkpoint)
    return path


def planted(damage: Damage) -> Any:
    """A proof that first does the damage."""
    prove = prover("cpu")
    return lambda claims, before, after: prove(claims, before, damage(after))


def snapshot(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_planted_damage_is_refuted_and_nothing_has_changed(damage: Damage, trained: Path) -> None:
    before = snapshot(trained)
    with pytest.raises(RefusedError, match=r"^the proof failed: .*; nothing was changed$"):
        resize(trained, vocab=160, pad=0, prove=planted(damage))
    assert snapshot(trained) == before


TABLE_DAMAGES = [name for name in DAMAGES if "row" in name or "bias" in name or "bit" in name]


@pytest.mark.parametrize("name", TABLE_DAMAGES)
def test_damage_under_a_map_is_refuted(name: str, trained: Path) -> None:
    with pytest.raises(RefusedError, match="the proof failed"):
        remap(trained, keep=KEPT, pad=0, prove=planted(DAMAGES[name]))


SURGERIES: dict[str, Callable[[Path, Any], Any]] = {
    "shrink": lambda path, prove: resize(path, vocab=160, pad=0, prove=prove),
    "grow": lambda path, prove: resize(path, vocab=300, pad=5, init="mean", prove=prove),
    "remap": lambda path, prove: remap(path, keep=KEPT, pad=0, prove=prove),
    "native": lambda path, prove: convert(path, to="native", prove=prove),
    "half": lambda path, prove: convert(path, dtype="F16", prove=prove),
    "bfloat16": lambda path, prove: convert(path, dtype="BF16", prove=prove),
    "shards": lambda path, prove: convert(path, shard_size=40_000, prove=prove),
    "fold": lambda path, prove: resize(path, vocab=256, pad=1, type_vocab=0, prove=prove),
    "types": lambda path, prove: resize(path, vocab=256, pad=1, type_vocab=3, prove=prove),
    "reinit": lambda path, prove: reinit(path, prove=prove),
    "reinit some": lambda path, prove: reinit(path, only="*LayerNorm*", prove=prove),
}
PROVABLE = ("legacy-base", "legacy-en-v1.5", "legacy-mixed-ntk", "legacy-mlm", "legacy-multilingual", "legacy-reranker",
            "legacy-type2", "legacy-unpacked-qkv", "snowflake-m-v2")  # fmt: skip


@pytest.mark.parametrize("surgery", SURGERIES.values(), ids=SURGERIES)
@pytest.mark.parametrize("name", PROVABLE)
def test_a_sound_surgery_is_proved(
    name: str, surgery: Callable[[Path, Any], Any], golden: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(golden / name, tmp_path / "ckpt")
    receipt = surgery(path, prover("cpu")).receipt
    assert receipt is None or receipt["proved"] is True
    assert receipt is None or receipt["proof"]["batches"] >= 3


def test_what_only_copies_is_equal_bit_for_bit(trained: Path) -> None:
    receipt = resize(trained, vocab=160, pad=0, prove=prover("cpu")).receipt
    assert receipt is not None
    assert receipt["proof"] == {
        "device": "cpu", "dtypes": ["float32"], "batches": 3, "tokens": 645, "largest_difference": 0.0, "told": "",
    }  # fmt: skip


@pytest.mark.parametrize("options", [{"vocab": 256, "pad": 1}, {"to": "remote"}, {}], ids=["resize", "convert", "fix"])
def test_a_copy_of_what_was_already_so_is_proved_to_be_equal(
    options: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    words = builder.load(trained / "model.safetensors")
    words[WORDS][1] = 0
    builder.save(trained / "model.safetensors", words)
    surgery: Any = {"vocab": resize, "to": convert}.get(next(iter(options), ""), fix)
    outcome = surgery(trained, **options, out=tmp_path / "out", prove=prover("cpu"))
    assert outcome.plan.is_empty
    assert outcome.receipt["proved"] is True
    assert outcome.receipt["proof"]["largest_difference"] == 0.0
    assert outcome.receipt["proof"]["batches"] > 0
    with pytest.raises(RefusedError, match="the proof failed: "):
        surgery(trained, **options, out=tmp_path / "damaged", prove=planted(numbers(WORDS, at((9, 3), 1.0))))


@pytest.mark.parametrize("name", ["legacy-absolute", "legacy-rmsnorm"])
def test_what_cannot_run_is_inconclusive_and_committed_only_where_that_is_typed(
    name: str, golden: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(golden / name, tmp_path / "ckpt")
    before = snapshot(path)
    with pytest.raises(RefusedError, match=r"^the proof is inconclusive: it cannot be run: .*; nothing was changed$"):
        resize(path, vocab=160, pad=0, prove=prover("cpu"))
    assert snapshot(path) == before
    receipt = resize(path, vocab=160, pad=0, prove=prover("cpu"), allow_inconclusive=True).receipt
    assert receipt is not None
    assert receipt["proved"] == "inconclusive"


@pytest.mark.parametrize("where", ["gte_surgery.model.encoder.GteEncoder.encode", "gte_surgery.model.load.build_model"])
def test_memory_that_runs_out_is_inconclusive(where: str, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*given: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(where, exhausted)
    before = snapshot(trained)
    with pytest.raises(
        RefusedError, match=r"^the proof is inconclusive: it cannot be run: .*CUDA out of memory; nothing"
    ):
        resize(trained, vocab=160, pad=0, prove=prover("cpu"))
    assert snapshot(trained) == before


def test_a_checkpoint_from_scratch_is_run_before_it_is_there(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 128}
    outcome = new(tmp_path / "made", release="gte-base-en-v1.5", **sizes, prove=prover("cpu"))
    assert outcome.receipt is not None
    assert outcome.receipt["proved"] is True
    refute = planted(numbers("encoder.layer.0.mlp.down_proj.weight", at((0, 0), float("nan"))))
    with pytest.raises(RefusedError, match="not finite"):
        new(tmp_path / "other", release="gte-base-en-v1.5", dialect="remote", **sizes, prove=refute)
    assert not (tmp_path / "other").exists()


def test_a_checkpoint_from_scratch_claims_that_its_pad_row_is_zero(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 128, "pad": 3}
    outcome = new(tmp_path / "made", release="gte-base-en-v1.5", **sizes, prove=prover("cpu"))
    assert [claim.kind for claim in outcome.plan.claims] == ["drawn", "pad"]
    refute = planted(numbers("embeddings.word_embeddings.weight", at((3, 0), 1.0)))
    with pytest.raises(RefusedError, match="row 3, the pad row, is zero"):
        new(tmp_path / "other", release="gte-base-en-v1.5", dialect="remote", **sizes, prove=refute)


def stale(old: Path) -> Damage:
    """The tokenizer of the checkpoint before in the place of the one that was rewritten."""

    def damage(after: Checkpoint) -> Checkpoint:
        file = after.readable("tokenizer.json")
        assert file is not None
        path_of(file.place).write_bytes((old / "tokenizer.json").read_bytes())
        assert after.path != old
        return open_listing(after.path, {each.name: path_of(each.place) for each in after.files})

    return damage


def without_tokenizer(after: Checkpoint) -> Checkpoint:
    listed = {each.name: path_of(each.place) for each in after.files if each.name != "tokenizer.json"}
    return open_listing(after.path, listed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_stale_tokenizer_is_refuted_after_a_trim_and_the_rewritten_one_proved(kind: str, tmp_path: Path) -> None:
    path = builder.build(tmp_path / "ckpt", builder.remote_config(vocab_size=1200))
    write_tokenizer(path, kind, 1200, 2000)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(lines(300)))
    for damage in (stale(path), without_tokenizer):
        with pytest.raises(RefusedError, match="the proof failed: tokens have the ids of their rows"):
            trim(path, texts=texts, out=tmp_path / "out", prove=planted(damage))
    receipt = trim(path, texts=texts, out=tmp_path / "out", prove=prover("cpu")).receipt
    assert receipt is not None
    assert receipt["proved"] is True
    assert "tokens" in {claim["claim"] for claim in receipt["claims"]}


@pytest.mark.parametrize("surgery", ["shrink", "remap", "half"])
@pytest.mark.parametrize("name", ["bert-base", "bert-mlm", "modernbert-base", "modernbert-mlm", "modernbert-reranker"])
def test_a_sound_surgery_of_the_other_families_is_proved(
    name: str, surgery: str, golden_families: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(golden_families / name, tmp_path / "ckpt")
    receipt = SURGERIES[surgery](path, prover("cpu")).receipt
    assert receipt is not None
    assert receipt["proved"] is True


@pytest.mark.parametrize("name", ["bert-mlm", "modernbert-mlm"])
@pytest.mark.parametrize("change", [swapped(20, 21), one_bit(0)], ids=["swapped", "bit"])
def test_damage_of_the_other_families_is_refuted(
    name: str, change: Callable[[Any], Any], golden_families: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(golden_families / name, tmp_path / "ckpt")
    tensors = open_checkpoint(path).tensors
    for end in ("word_embeddings.weight", "tok_embeddings.weight", "Wqkv.weight", "query.weight"):
        for tensor in [each for each in tensors if each.endswith(end)][:1]:
            with pytest.raises(RefusedError, match="the proof failed"):
                resize(path, vocab=160, pad=0, prove=planted(numbers(tensor, change)))


@pytest.mark.slow
def test_where_both_do_not_fit_one_comes_after_the_other_and_the_answer_is_the_same(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gte_surgery.smoke.prove import memory, run

    alive: list[weakref.ref[Any]] = []
    together: list[int] = []

    def loaded(checkpoint: Checkpoint, *more: Any, **most: Any) -> Any:
        encoder = load_encoder(checkpoint, *more, **most)
        gc.collect()
        alive.append(weakref.ref(encoder))
        together.append(sum(each() is not None for each in alive))
        return encoder

    monkeypatch.setattr(run, "load_encoder", loaded)
    wanted = prove_shrink(trained)
    assert together == [1, 2]
    together.clear()
    size = memory.weight_bytes(open_checkpoint(trained), "float32")
    monkeypatch.setattr(memory, "free_bytes", lambda device: size + memory._BESIDE)
    assert prove_shrink(trained) == wanted
    assert together == [1, 2, 1, 1]  # numbers are compared on the CPU, then each runs alone
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2 * size + memory._BESIDE)
    together.clear()
    prove_shrink(trained)
    assert together == [1, 2]


def prove_shrink(path: Path) -> object:
    receipt = resize(path, vocab=160, pad=0, prove=prover("cpu"), out=path.parent / uuid4().hex).receipt
    assert receipt is not None
    return receipt["proved"], receipt["proof"]


@pytest.mark.parametrize(
    "name", ["rows off by one", "lowest bit of one weight of qkv", "decoder bias lost", "rope theta"]
)
def test_damage_is_refuted_as_well_where_both_do_not_fit(
    name: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gte_surgery.smoke.prove import memory

    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    with pytest.raises(RefusedError, match="the proof failed"):
        resize(trained, vocab=160, pad=0, prove=planted(DAMAGES[name]))
