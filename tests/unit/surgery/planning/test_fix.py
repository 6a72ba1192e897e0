"""Safe cures: each mends what its rule finds, and none changes a number that the model computes."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.sidecars import spelled_as_before
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError, UnsoundError, UsageError
from gte_surgery.findings import Severity
from gte_surgery.surgery.edits import CURES
from gte_surgery.surgery.verbs import fix, undo
from tests.builder import (
    build,
    change_config,
    load,
    native_config,
    remote_config,
    save,
    tensors,
    write,
    write_json,
    write_sidecars,
)
from tests.golden.test_families import with_old_norms

WORDS = "embeddings.word_embeddings.weight"
INDEX = "model.safetensors.index.json"


FOR = {"GTE638": ("tei",), "GTE639": ("tei",)}
"""The programs that mind what others do not."""


def codes(path: Path, consumers: tuple[str, ...] = ()) -> set[str]:
    """The codes of the findings that have a cure."""
    return {finding.code for finding in run(open_checkpoint(path), consumers=consumers).findings} & set(CURES)


def with_trained_pad(path: Path, head: str = "none", **changes: object) -> Path:
    config = remote_config(**changes)
    arrays = tensors(config, head)
    prefix = "" if head == "none" else "new."
    arrays[prefix + WORDS][1] = 0.5
    return write(path, config, arrays)


def with_copied_decoder(path: Path) -> Path:
    config = remote_config(architectures=["NewForMaskedLM"])
    arrays = tensors(config, "mlm")
    return write(path, config, {**arrays, "lm_head.decoder.weight": arrays[f"new.{WORDS}"].copy()})


def with_sidecar(path: Path, name: str, settings: object) -> Path:
    """A checkpoint of which sentence-transformers wrote a file as it does today."""
    write_json(write_sidecars(build(path)) / name, settings)
    return path


def with_wrong_total(path: Path) -> Path:
    build(path, shards=2)
    index = json.loads((path / INDEX).read_text())
    write_json(path / INDEX, index | {"metadata": {"total_size": 7, "made_by": "hand"}})
    return path


def with_stale_index(path: Path) -> Path:
    build(path)
    write_json(path / INDEX, {"metadata": {}, "weight_map": {WORDS: "model-00001-of-00002.safetensors"}})
    return path


def with_leftovers(path: Path) -> Path:
    build(path)
    (path / "1_Pooling").mkdir()
    for name in ("model.safetensors.tmp", ".tmpAbC", "1_Pooling/x.incomplete"):
        (path / name).write_bytes(b"left behind")
    return path


def reindexed(path: Path, change: Callable[[dict[str, str]], dict[str, str]], **members: object) -> Path:
    """Three whole shards whose index is changed."""
    build(path, shards=3)
    index = json.loads((path / INDEX).read_text())
    write_json(path / INDEX, {"metadata": {}, "weight_map": change(index["weight_map"])} | members)
    return path


def without_index(path: Path) -> Path:
    build(path, shards=3)
    (path / INDEX).unlink()
    return path


def without_metadata(path: Path) -> Path:
    reindexed(path, dict)
    index = json.loads((path / INDEX).read_text())
    write_json(path / INDEX, {"weight_map": index["weight_map"]})
    return path


def with_old_shard(path: Path) -> Path:
    """One shard of three is what the index leaves out."""
    last = "model-00003-of-00003.safetensors"
    return reindexed(path, lambda m: {name: shard for name, shard in m.items() if shard != last})


def with_nuls(path: Path) -> Path:
    build(path)
    raw = (path / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    text = raw[8 : 8 + size].rstrip(b" ") + b"\0"
    (path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    return path


def with_tensors(path: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Path:
    build(path)
    save(path / "model.safetensors", change(load(path)))
    return path


def saved_again(path: Path, **names: str) -> Path:
    """A native masked LM whose names transformers 5 damaged."""
    config = native_config(architectures=["GteForMaskedLM"])
    body, head, norm = names["body"], names["head"], names["norm"]
    arrays = {}
    for name, array in tensors(config, "mlm", "").items():
        before = head if name.startswith("lm_head") else body
        arrays[before + name.replace("lm_head.norm", norm)] = array
    return write(path, config, arrays)


DAMAGES: dict[str, Callable[[Path], Path]] = {
    "GTE004": without_index,
    "GTE010": lambda path: reindexed(path, lambda m: {}),
    "GTE011": lambda path: reindexed(path, lambda m: {n: s.replace("-of-00003", "-of-00030") for n, s in m.items()}),
    "GTE013": lambda path: reindexed(path, lambda m: m | {"mtp.fc.weight": max(m.values())}),
    "GTE014": lambda path: reindexed(path, lambda m: {n: s for n, s in m.items() if n != WORDS}),
    "GTE020": without_metadata,
    "GTE021": lambda path: reindexed(path, lambda m: {n: f"./{s}" for n, s in m.items()}),
    "GTE055": with_nuls,
    "GTE066": with_old_shard,
    "GTE145": lambda path: build(path, remote_config(quantization_config={"quant_method": "fp8"})),
    "GTE200": lambda path: with_tensors(path, lambda t: {f"module._orig_mod.{n}": a for n, a in t.items()}),
    "GTE209": lambda path: with_tensors(path, lambda t: {n: a.reshape(-1) for n, a in t.items()}),
    "GTE210": lambda path: saved_again(path, body="new.gte.", head="new.", norm="lm_head.norm"),
    "GTE211": lambda path: saved_again(path, body="gte.", head="", norm="lm_head.layer_norm"),
    "GTE215": lambda path: with_old_norms("bert-mlm", path),
    "GTE250": lambda path: with_tensors(path, lambda t: t | {"embeddings.position_ids": np.arange(128)[None]}),
    "GTE015": with_stale_index,
    "GTE016": with_wrong_total,
    "GTE060": with_leftovers,
    "GTE103": lambda path: build(path, remote_config(unpad_inputs="false", use_memory_efficient_attention="no")),
    "GTE104": lambda path: build(path, remote_config(unpad_inputs="true", use_memory_efficient_attention=True)),
    "GTE230": with_trained_pad,
    "GTE241": with_copied_decoder,
    "GTE638": lambda path: with_sidecar(
        path, "1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True}
    ),
    "GTE639": lambda path: with_sidecar(path, "sentence_bert_config.json", {"transformer_task": "feature-extraction"}),
}


UNSOUND = ("GTE004", "GTE010", "GTE011", "GTE013", "GTE014", "GTE020", "GTE055", "GTE066", "GTE200", "GTE209")
"""Without their cures the checkpoint is not fit for any other."""


def test_every_cure_has_a_damage_here() -> None:
    assert set(DAMAGES) == set(CURES)


@pytest.mark.parametrize("code", DAMAGES)
def test_a_cure_mends_its_finding_and_undo_brings_it_back(code: str, tmp_path: Path) -> None:
    path = DAMAGES[code](tmp_path / "ckpt")
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    consumers = FOR.get(code, ())
    assert codes(path, consumers) == {code}
    outcome = fix(path, consumers=consumers)
    assert outcome.receipt is not None
    assert codes(path, consumers) == set()
    assert fix(path, consumers=consumers).plan.is_empty
    undo(path)
    after = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file() and file.name in before}
    assert after == before


@pytest.mark.parametrize("code", DAMAGES)
def test_a_dry_run_and_a_cure_not_asked_for_touch_nothing(code: str, tmp_path: Path) -> None:
    path = DAMAGES[code](tmp_path / "ckpt")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    consumers = FOR.get(code, ())
    assert not fix(path, consumers=consumers, dry_run=True).plan.is_empty
    for others in ([other for other in CURES if other != code], []):
        try:
            assert fix(path, codes=others, consumers=consumers).plan.is_empty
        except UnsoundError:
            assert code in UNSOUND
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_all_at_once_leave_every_other_number_as_it_was(tmp_path: Path) -> None:
    path = with_trained_pad(tmp_path / "ckpt", unpad_inputs="false")
    before = load(path)
    (path / "model.safetensors.tmp").write_bytes(b"")
    fix(path)
    after = load(path)
    assert not after[WORDS][1].any()
    before[WORDS][1] = 0
    assert set(after) == set(before)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert json.loads((path / "config.json").read_text())["unpad_inputs"] is False
    assert not (path / "model.safetensors.tmp").exists()


def test_the_index_keeps_what_else_it_says(tmp_path: Path) -> None:
    path = with_wrong_total(tmp_path / "ckpt")
    fix(path)
    total = sum(math.prod(array.shape) * 4 for array in tensors(remote_config()).values())
    assert json.loads((path / INDEX).read_text())["metadata"] == {"total_size": total, "made_by": "hand"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: with_trained_pad(path, "mlm", architectures=["NewForMaskedLM"]), "masked-LM head is tied to it"),
        (lambda path: with_trained_pad(path, cls_token_id=1), "id 1 is the cls token as well"),
        (lambda path: tokenized(with_trained_pad(path), "<pad>", 0), "the tokenizer pads with id 0"),
        (lambda path: tokenized(with_trained_pad(path), "<pad>", 1, eos_token="<pad>"), "id 1 is the eos token"),
        (lambda path: build(path, remote_config(tie_word_embeddings="false")), "tie_word_embeddings stays the string"),
        (lambda path: sharded_beside(with_stale_index(path)), "so either may be meant"),
    ],
)  # fmt: skip
def test_what_might_change_an_output_is_left_alone_with_the_reason(
    damage: Callable[[Path], Path], told: str, tmp_path: Path
) -> None:
    path = damage(tmp_path / "ckpt")
    found = codes(path)
    assert len(found) == 1
    plan = fix(path).plan
    assert plan.is_empty
    assert told in plan.meaning[0]
    assert codes(path) == found


def tokenized(path: Path, token: str, number: int, **roles: str) -> Path:
    """The checkpoint with a tokenizer_config.json of one special token, the padding."""
    decoder = {str(number): {"content": token, "special": True}}
    write_json(path / "tokenizer_config.json", {"added_tokens_decoder": decoder, "pad_token": token, **roles})
    return path


def sharded_beside(path: Path) -> Path:
    save(path / "model-00001-of-00002.safetensors", {WORDS: tensors(remote_config())[WORDS]})
    return path


def test_an_unsound_checkpoint_is_refused(tmp_path: Path) -> None:
    path = with_leftovers(tmp_path / "ckpt")
    change_config(path, vocab_size=64)
    with pytest.raises(RefusedError):
        fix(path)
    assert (path / "model.safetensors.tmp").exists()


def test_a_rule_without_a_cure_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="GTE110"):
        fix(build(tmp_path / "ckpt"), codes=["GTE110"])


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({"pooling_mode": "cls"}, {"cls_token"}),
        ({"pooling_mode": ["mean", "weightedmean"]}, {"mean_tokens", "weightedmean_tokens"}),
        ({"pooling_mode": "mean", "pooling_mode_cls_token": True}, {"mean_tokens"}),
        ({"pooling_mode_lasttoken": True, "include_prompt": False}, {"lasttoken"}),
    ],
)
def test_a_pooling_says_the_same_in_the_older_spelling(settings: dict[str, object], on: set[str]) -> None:
    written = spelled_as_before({"embedding_dimension": 32, **settings})
    assert written is not None
    assert {key for key in written if key.startswith("pooling_mode_") and written[key]} == {
        f"pooling_mode_{mode}" for mode in on
    }
    assert (written["word_embedding_dimension"], written["include_prompt"]) == (
        32, settings.get("include_prompt", True),
    )  # fmt: skip
    assert spelled_as_before(written) == written


@pytest.mark.parametrize(
    "settings",
    [{}, {"pooling_mode": "cls"}, {"embedding_dimension": 32}, {"embedding_dimension": 32, "pooling_mode": "best"},
     {"embedding_dimension": 32, "pooling_mode": "cls", "of_ones_own": 1}],
)  # fmt: skip
def test_a_pooling_that_is_not_understood_is_not_rewritten(settings: dict[str, object]) -> None:
    assert spelled_as_before(settings) is None


QKV = "encoder.layer.0.attention.qkv_proj.weight"
Arrays = dict[str, np.ndarray]
FAULTS: dict[str, tuple[str, Callable[[Arrays], Arrays]]] = {
    "a shape": ("GTE204", lambda held: {name: each[:-1] if name == QKV else each for name, each in held.items()}),
    "a tensor gone": ("GTE201", lambda held: {name: each for name, each in held.items() if "0.attn_ln" not in name}),
    "a dtype": ("GTE207", lambda held: {n: each.astype(np.int8) if n == QKV else each for n, each in held.items()}),
}


def held(path: Path) -> Arrays:
    """The tensors of all weight files."""
    return {name: each for file in path.glob("*.safetensors") for name, each in load_file(file).items()}


def padded_with_nul(path: Path) -> None:
    for file in path.glob("*.safetensors"):
        content = file.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = content[8:end].rstrip(b" ") + bytes(8)
        header = header[: len(header) // 8 * 8]
        file.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])


def flat(path: Path) -> None:
    file = path / "model.safetensors"
    save(file, {name: each.reshape(-1) if "down_proj.weight" in name else each for name, each in held(path).items()})


def with_index(path: Path, change: Callable[[dict[str, dict[str, str]]], object]) -> None:
    """The index of two shards, all of which is right but for the change."""
    file = path / INDEX
    index = json.loads(file.read_text())
    index["metadata"]["total_size"] = sum(each.nbytes for each in held(path).values())
    index["weight_map"] = {name: shard.name for shard in path.glob("*.safetensors") for name in load_file(shard)}
    change(index)
    write_json(file, index)


def swapped(index: dict[str, dict[str, str]]) -> None:
    names = {*index["weight_map"].values()}
    first = next(iter(index["weight_map"]))
    (index["weight_map"][first],) = names - {index["weight_map"][first]}


BESIDE: dict[str, tuple[str, int, Callable[[Path], object]]] = {
    "a header": ("GTE055", 1, padded_with_nul),
    "a flat tensor": ("GTE209", 1, flat),
    "an index without metadata": ("GTE020", 2, lambda path: with_index(path, lambda index: index.pop("metadata"))),
    "an index of other shards": ("GTE013", 2, lambda path: with_index(path, swapped)),
    "an index that lacks one": (
        "GTE014", 2, lambda path: with_index(path, lambda index: index["weight_map"].popitem()),
    ),
    "no index": ("GTE004", 2, lambda path: (path / INDEX).unlink()),
    "a total size": ("GTE016", 2, lambda path: with_index(path, lambda index: index["metadata"].update(total_size=5))),
    "a quantiser": ("GTE145", 1, lambda path: change_config(path, quantization_config={"quant_method": "fp8"})),
    "a flag": ("GTE104", 1, lambda path: change_config(path, tie_word_embeddings="true")),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("beside", BESIDE)
def test_what_is_safe_by_itself_is_mended_beside_a_fault_that_has_no_cure(
    tmp_path: Path, beside: str, fault: str
) -> None:
    code, shards, damage = BESIDE[beside]
    left, change = FAULTS[fault]
    if (beside, fault) in [("a quantiser", "a dtype"), ("a quantiser", "a tensor gone")]:
        pytest.skip("a quantiser may have made it so")
    path = build(tmp_path / "it", remote_config(), shards=shards)
    for file in path.glob("*.safetensors"):
        save(file, change(load_file(file)))
    if shards > 1:
        with_index(path, lambda index: None)
    damage(path)
    found = run(open_checkpoint(path)).findings
    hint = "" if code == "GTE104" else "--fix"
    assert {each.code for each in found if hint in each.hint} >= {code}
    before = {name: each.tobytes() for name, each in held(path).items()} if code != "GTE055" else {}
    planned = fix(path, dry_run=True).plan
    assert left in planned.meaning[-1]
    assert {each.code for each in run(open_checkpoint(path)).findings} >= {code}
    fix(path)
    assert {each.code for each in run(open_checkpoint(path)).findings if each.severity > Severity.NOTE} == {left}
    assert not before or {name: each.tobytes() for name, each in held(path).items()} == before
    with pytest.raises(UnsoundError):
        fix(path)


def test_a_shard_that_the_index_rightly_passes_over_makes_no_new_index(tmp_path: Path) -> None:
    path = build(tmp_path / "it", remote_config(), shards=2)
    shutil.copy(path / "model-00001-of-00002.safetensors", path / "model-00003-of-00003.safetensors")
    assert codes(path) == {"GTE066"}
    assert fix(path).plan.is_empty


@pytest.mark.parametrize("is_broken", [False, True])
def test_an_index_is_made_of_shards_whose_headers_are_padded_with_nul(tmp_path: Path, is_broken: bool) -> None:
    path = build(tmp_path / "c", shards=3)
    padded_with_nul(path)
    for file in path.glob("*.safetensors") if is_broken else ():
        file.write_bytes(file.read_bytes().replace(b'"F32"', b'"F33"'))
    (path / INDEX).unlink()
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    [seen] = run(path).findings
    assert seen.code == "GTE004"
    assert seen.hint.endswith("--fix") is not is_broken
    if is_broken:
        with pytest.raises(UnsoundError):
            fix(path)
        return
    told = fix(path).plan.meaning
    assert [each.partition(" ")[0] for each in told] == [INDEX, "the"]
    assert run(path).findings == ()
    assert {name: tensor.shape for name, tensor in open_checkpoint(path).tensors.items()} == {
        name: array.shape for name, array in tensors(remote_config()).items()
    }
    undo(path)
    assert {name: (path / name).read_bytes() for name in before} == before


HEADERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a dtype": ("GTE040", lambda raw: raw.replace(b'"F32"', b'"F33"', 1)),
    "a range": ("GTE044", lambda raw: raw.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1)),
    "the end": ("GTE048", lambda raw: raw[:-8]),
}


@pytest.mark.parametrize("fault", HEADERS)
@pytest.mark.parametrize("shards", [1, 3])
def test_nul_bytes_hide_no_worse_fault_of_a_header(tmp_path: Path, shards: int, fault: str) -> None:
    code, damage = HEADERS[fault]
    path = build(tmp_path / "c", shards=shards)
    padded_with_nul(path)
    for file in path.glob("*.safetensors"):
        file.write_bytes(damage(file.read_bytes()))
    assert {seen.code for seen in run(path).findings} == {code}
    with pytest.raises(UnsoundError):
        fix(path)


def test_shards_padded_with_nul_that_hold_a_tensor_twice_are_refused(tmp_path: Path) -> None:
    path = build(tmp_path / "c", shards=3)
    twin = load_file(path / "model-00001-of-00003.safetensors")
    save(path / "model-00003-of-00003.safetensors", load_file(path / "model-00003-of-00003.safetensors") | twin)
    padded_with_nul(path)
    with pytest.raises(UnsoundError):
        fix(path)
