"""BERT and ModernBERT: a resize is what the in-memory recipe makes, and the native model gives the reference's numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from gte_surgery import IdContract, check, convert, diff, open_checkpoint, reinit, remap, resize, scan, trim, undo
from gte_surgery.checks.description import describe
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.surgery.verbs import fix
from tests.builder import change_config
from tests.texts import encoded, lines, write_tokenizer

FOLDER = Path(__file__).parent / "families"
NAMES = sorted(path.name for path in FOLDER.iterdir() if not path.name.endswith("pad0"))
SAID_BY_TRANSFORMERS = {"transformers_version"}


def copied(name: str, tmp_path: Path) -> Path:
    place = tmp_path / name
    shutil.copytree(FOLDER / name, place, ignore=shutil.ignore_patterns("reference.safetensors"))
    return place


def with_old_norms(name: str, place: Path) -> Path:
    """A BERT whose norms have the names of TensorFlow."""
    shutil.copytree(FOLDER / name, place, ignore=shutil.ignore_patterns("reference.safetensors"))
    ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    arrays = {}
    for stored, array in load_file(place / "model.safetensors").items():
        end = next((end for end in ends if stored.endswith(end)), "")
        arrays[stored.removesuffix(end) + ends.get(end, "")] = array
    save_file(arrays, place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_all_five_are_there() -> None:
    assert NAMES == ["bert-base", "bert-mlm", "modernbert-base", "modernbert-mlm", "modernbert-reranker"]


@pytest.mark.parametrize("name", [path.name for path in sorted(FOLDER.iterdir())])
def test_the_inventory_is_what_transformers_wrote(name: str) -> None:
    subject = Subject(open_checkpoint(FOLDER / name))
    assert subject.config is not None
    assert subject.layout is not None
    specs = subject.family.published(subject.config, subject.layout, subject.head)
    with safe_open(FOLDER / name / "model.safetensors", "np") as file:
        stored = {each: tuple(file.get_slice(each).get_shape()) for each in file.offset_keys()}
    assert {spec.name: spec.shape for spec in specs} == stored
    assert all(subject.family.is_known(spec.canonical) for spec in specs)


def test_both_ropes_of_a_modernbert_are_told() -> None:
    told = describe(open_checkpoint(FOLDER / "modernbert-base")).rope
    assert told is not None
    assert told.words == "theta 160000, in 2 layers with a window of 16 theta 10000"


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_finds_no_error(name: str, tmp_path: Path) -> None:
    report = check(open_checkpoint(copied(name, tmp_path)), values=True)
    assert {finding.code for finding in report.findings} <= {"GTE112", "GTE231"}


@pytest.mark.parametrize("name", NAMES)
def test_a_resize_is_what_the_recipe_in_memory_makes(name: str, tmp_path: Path) -> None:
    place, wanted = copied(name, tmp_path), FOLDER / f"{name}.resized-160-pad0"
    resize(place, vocab=160, pad=0)
    ours, theirs = load_file(place / "model.safetensors"), load_file(wanted / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []
    said, written = (json.loads((each / "config.json").read_text()) for each in (place, wanted))
    assert {k: v for k, v in said.items() if k not in SAID_BY_TRANSFORMERS} == {
        k: v for k, v in written.items() if k not in SAID_BY_TRANSFORMERS
    }
    assert diff(place, wanted).is_equal


@pytest.mark.parametrize("name", ["bert-base", "bert-mlm"])
def test_norms_named_as_in_tensorflow_are_told_carried_and_renamed(name: str, tmp_path: Path) -> None:
    place = with_old_norms(name, tmp_path / "old")
    report = check(open_checkpoint(place), values=True)
    assert [found.code for found in report.findings if found.severity > Severity.NOTE] == ["GTE215"]
    assert diff(place, FOLDER / name).is_equal
    resized = resize(place, vocab=160, pad=0, out=tmp_path / "resized").target
    assert diff(resized, FOLDER / f"{name}.resized-160-pad0").is_equal
    assert {each.endswith((".gamma", ".beta")) for each in load_file(resized / "model.safetensors") if "Norm" in each} == {True}
    renamed = convert(place, to="native", out=tmp_path / "renamed").target
    fix(place)
    for mended in (renamed, place):
        ours, theirs = (load_file(each / "model.safetensors") for each in (mended, FOLDER / name))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("unpad", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", NAMES)
def test_the_native_model_gives_the_numbers_of_the_reference(name: str, attention: str, unpad: bool) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from safetensors.torch import load_file as load_tensors

    from gte_surgery import load_encoder

    reference = load_tensors(FOLDER / name / "reference.safetensors")
    batch = {key: reference[key] for key in ("input_ids", "attention_mask")}
    encoder = load_encoder(FOLDER / name, device="cpu", dtype="float32", attention=attention, unpad=unpad)
    kept = batch["attention_mask"].bool()
    with torch.no_grad():
        if "last_hidden_state" in reference:
            found, wanted = encoder(**batch)[kept], reference["last_hidden_state"][kept]
        else:
            is_of_rows = reference["logits"].dim() == 2
            found, wanted = encoder.logits(batch), reference["logits"]
            found, wanted = (found, wanted) if is_of_rows else (found[kept], wanted[kept])
    assert (found - wanted).abs().max() < 5e-5


def test_norms_named_as_in_tensorflow_are_loaded(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from gte_surgery import load_encoder

    batch = {"input_ids": torch.tensor([[5, 9, 200, 7]])}
    old, wanted = (
        load_encoder(place, device="cpu", dtype="float32").logits(batch)
        for place in (with_old_norms("bert-mlm", tmp_path / "old"), FOLDER / "bert-mlm")
    )
    assert torch.equal(old, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_other_commands_take_them_as_well(name: str, tmp_path: Path) -> None:
    place = copied(name, tmp_path)
    before = load_file(place / "model.safetensors")
    family = Subject(open_checkpoint(place)).family
    convert(place, dtype="BF16", shard_size=40_000)
    assert len(open_checkpoint(place).shards) > 1
    undo(place)
    assert diff(place, FOLDER / name).is_equal
    chosen = remap(place, keep=[0, 9, *range(100, 162)], pad=0, out=tmp_path / "chosen").target
    words = next(key for key in before if key.endswith(family.names.words))
    found = load_file(chosen / "model.safetensors")
    assert np.array_equal(found[words][1:], before[words][[9, *range(100, 162)]])
    assert not found[words][0].any()
    for bias in family.names.biases:
        if bias in before:
            assert np.array_equal(found[bias], before[bias][[0, 9, *range(100, 162)]])
    assert [f.code for f in check(open_checkpoint(chosen)).findings if f.severity > Severity.NOTE] == []
    contract = IdContract.from_checkpoint(chosen)
    assert (contract.vocab_size, contract.pad_token_id, contract.hidden_size) == (64, 0, 32)
    told = reinit(place, seed=3).plan.meaning
    assert ("cut off at 2 deviations" in told[1]) == name.startswith("modernbert")
    assert not diff(place, FOLDER / name).is_equal


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("bert-mlm", "WordPiece"), ("modernbert-mlm", "BPE")])
def test_a_trim_is_proved_scanned_and_undone(name: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from gte_surgery import prover

    prove = prover("cpu")
    place = resize(copied(name, tmp_path), vocab=640, pad=1, out=tmp_path / "wide", prove=prove).target
    tokenizer = write_tokenizer(place, kind, 600, 500)
    roles = {"cls": "<s>", "bos": "<s>", "sep": "</s>", "eos": "</s>"}
    stated = json.loads((place / "config.json").read_text())
    keys = {f"{role}_token_id": tokenizer.token_to_id(token) for role, token in roles.items()}
    change_config(place, **{key: number for key, number in keys.items() if key in stated})
    (tmp_path / "texts.txt").write_text("\n".join(lines(60)))
    shutil.copytree(place, tmp_path / "before")
    receipt = trim(place, texts=tmp_path / "texts.txt", prove=prove).receipt
    assert receipt is not None
    assert receipt["proved"] is True
    after = Tokenizer.from_file(str(place / "tokenizer.json"))
    kept = encoded(after, lines(60))
    assert [after.id_to_token(each) for row in kept for each in row] == [
        tokenizer.id_to_token(each) for row in encoded(tokenizer, lines(60)) for each in row
    ]
    contract = IdContract.from_checkpoint(place)
    assert (contract.vocab_size, contract.pad_token_id) == (after.get_vocab_size(), 1)
    rows = [json.dumps({"input_ids": row, "attention_mask": [1] * len(row)}) for row in kept]
    (tmp_path / "ids.jsonl").write_text("\n".join([*rows, rows[0].replace("[0,", f"[{contract.vocab_size},", 1)]))
    assert [finding.code for finding in scan(place, tmp_path / "ids.jsonl").findings] == ["GTE414", "GTE416"]
    assert [found.code for found in check(open_checkpoint(place)).findings if found.severity > Severity.WARNING] == []
    undo(place)
    assert diff(place, tmp_path / "before").is_equal
    assert (place / "tokenizer.json").read_bytes() == (tmp_path / "before" / "tokenizer.json").read_bytes()
