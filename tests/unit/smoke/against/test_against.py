"""Two finished checkpoints: proved by the receipts between them or by a map, and refuted whatever is planted."""

from __future__ import annotations

import json
import shutil
import zlib
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from gte_surgery import SmokeOptions, convert, new, remap, resize, smoke, trim
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.cli.entry import run
from gte_surgery.errors import CheckpointError, UsageError
from gte_surgery.smoke.result import SmokeResult
from tests import builder
from tests.texts import lines, write_tokenizer
from tests.unit.smoke.prove.test_prove import DAMAGES, KEPT, WORDS

WEIGHTS = "model.safetensors"
FINISHED = [name for name in DAMAGES if "head" not in name and "layer less" not in name and "activation" not in name]


@pytest.fixture
def old(golden: Path, tmp_path: Path) -> Path:
    return shutil.copytree(golden / "legacy-mlm", tmp_path / "old")


def compared(path: Path, old: Path, **more: Any) -> SmokeResult:
    return smoke(path, SmokeOptions(device="cpu", against=old, **more))


def told(result: SmokeResult) -> str:
    return " ".join(finding.message for finding in result.findings if finding.code.startswith("GTE58"))


def test_the_receipt_holds_all_that_the_proof_needs(old: Path, tmp_path: Path) -> None:
    small = resize(old, vocab=160, pad=0, out=tmp_path / "small").target
    result = compared(small, old)
    assert result.has_passed
    claims = [proof.claim for proof in result.proofs if proof.code == "GTE580"]
    assert claims == [claim["says"] for claim in receipt(small)["claims"]]
    assert result.against is not None
    assert (result.against.name, result.against.batches, result.against.tokens) == (str(old), 3, 645)
    assert receipt(small)["map"] == {"runs": "0:0:160", "without": [0]}


def receipt(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "gte-surgery.json").read_text())["receipts"][-1]
    return found


def test_several_surgeries_are_proved_as_one_whose_maps_follow_each_other(old: Path, tmp_path: Path) -> None:
    first = resize(old, vocab=200, pad=0, out=tmp_path / "first").target
    second = remap(first, keep=KEPT, pad=0, out=tmp_path / "second").target
    third = convert(second, dtype="F16", out=tmp_path / "third").target
    assert compared(third, second).has_passed
    assert compared(third, first).has_passed
    result = compared(third, old)
    assert result.has_passed
    kept = next(proof for proof in result.proofs if "hidden states" in proof.claim)
    assert kept.measured is not None
    assert 0 < kept.measured < 0.01
    words = builder.load(third)[WORDS]
    builder.save(third / WEIGHTS, builder.load(third) | {WORDS: words[[0, 2, 1, *range(3, len(words))]]})
    assert not compared(third, old).has_passed


@pytest.mark.parametrize("name", FINISHED[::6])
def test_planted_damage_in_a_finished_checkpoint_is_refuted(name: str, old: Path, tmp_path: Path) -> None:
    small = resize(old, vocab=160, pad=0, out=tmp_path / "small").target
    after = DAMAGES[name](open_checkpoint(small))
    if after.config is not None:
        (small / "config.json").write_text(json.dumps(after.config.value))
    result = compared(small, old)
    assert not result.has_passed
    assert "it preserves what it should" in told(result) or any(f.code == "GTE504" for f in result.findings)


def test_a_map_serves_where_no_receipt_does(old: Path, tmp_path: Path) -> None:
    small = remap(old, keep=KEPT, pad=0, out=tmp_path / "small").target
    (small / "gte-surgery.json").unlink()
    with pytest.raises(UsageError, match=r"no receipt of a surgery on .*, and 104 rows are not its 256"):
        compared(small, old)
    right, wrong = tmp_path / "right.tsv", tmp_path / "wrong.tsv"
    right.write_text("".join(f"{new}\t{before}\n" for new, before in enumerate(KEPT)))
    wrong.write_text("".join(f"{new}\t{before}\n" for new, before in enumerate([0, 3, 1, 41, 40, *KEPT[5:]])))
    assert compared(small, old, map=right).has_passed
    result = compared(small, old, map=wrong)
    assert "row 3 is not old row 41" in told(result)
    right.write_text("0\t256\n")
    with pytest.raises(UsageError, match="old id 256, the table has 256 rows"):
        compared(small, old, map=right)


def test_tables_of_one_size_without_a_receipt_are_held_against_each_other_row_by_row(old: Path, tmp_path: Path) -> None:
    other = convert(old, dtype="F16", out=tmp_path / "half").target
    (other / "gte-surgery.json").unlink()
    assert compared(other, old).has_passed
    words = builder.load(other)[WORDS]
    builder.save(other / WEIGHTS, builder.load(other) | {WORDS: words[::-1].copy()})
    assert "row 0 is not old row 0" in told(compared(other, old))


@pytest.mark.parametrize("sources", [[1], ["header"], [{"name": [1]}], [{"header": "x"}], [[]], [None], {"a": 1}])
def test_odd_sources_of_a_receipt_are_not_believed(sources: object, old: Path, tmp_path: Path) -> None:
    small = resize(old, vocab=160, pad=0, out=tmp_path / "small").target
    changed = {"receipts": [receipt(small) | {"sources": sources}]}
    (small / "gte-surgery.json").write_text(json.dumps(changed))
    with suppress(UsageError):
        compared(small, old)


BOMB = "zlib:" + b64encode(zlib.compress(b"0:0:1 " * (50 << 20 >> 2), 9)).decode()


def test_a_receipt_about_another_source_is_not_believed(old: Path, golden: Path, tmp_path: Path) -> None:
    small = resize(old, vocab=160, pad=0, out=tmp_path / "small").target
    with pytest.raises(UsageError, match="no receipt of a surgery on"):
        compared(small, golden / "legacy-base")


@pytest.mark.parametrize("has_map", [False, True])
def test_two_families_have_no_number_in_common(has_map: bool, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"layers": 1, "hidden": 64, "heads": 4, "intermediate": 96, "vocab": 640, "pad": 0}
    bert, modern = (new(tmp_path / name, release=name, **sizes).target for name in ("gte-small", "gte-modernbert-base"))
    (tmp_path / "map.tsv").write_text("5\t5\n")
    with pytest.raises(UsageError, match=r"is of the family BERT, .* of ModernBERT") as caught:
        compared(bert, modern, **({"map": tmp_path / "map.tsv"} if has_map else {}))
    assert "--texts" in caught.value.hint


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"claims": None}, "tells no claims"),
        ({"map": {"runs": "0:0:161", "without": []}}, "leads out of a table of 160 rows"),
        ({"map": {"runs": "0:-1:3", "without": []}}, "leads out"),
        ({"map": {"runs": "0:0:99999999999999", "without": []}}, "leads out"),
        ({"map": {"runs": "zlib:AAAA", "without": []}}, "cannot be read"),
        ({"map": {"runs": "a", "without": []}}, "cannot be read"),
        ({"map": {"runs": "0:0:160", "without": ["x"]}}, "cannot be read"),
        ({"map": 3}, "tells no claims"),
        ({"claims": [{"claim": "magic", "says": "", "tolerance": 0}]}, "a claim about 'magic'"),
        ({"claims": [3]}, "cannot be read"),
        ({"map": {"runs": BOMB, "without": []}}, "runs of 33554432 characters and more"),
    ],
)
def test_a_receipt_that_cannot_be_believed_asks_for_the_map(
    members: dict[str, Any], said: str, old: Path, tmp_path: Path
) -> None:
    small = resize(old, vocab=160, pad=0, out=tmp_path / "small").target
    changed = {"receipts": [receipt(small) | members]}
    (small / "gte-surgery.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match=said) as caught:
        compared(small, old)
    assert "--map FILE" in caught.value.hint


def test_what_cannot_be_run_is_neither_proved_nor_refuted(golden: Path, tmp_path: Path) -> None:
    small = resize(golden / "legacy-rmsnorm", vocab=160, pad=0, out=tmp_path / "small").target
    result = compared(small, golden / "legacy-rmsnorm")
    assert not result.has_passed
    assert [finding.code for finding in result.findings] == ["GTE581"]


def test_the_command_says_so_and_by_its_exit_code(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = resize(old, vocab=160, pad=0, out=tmp_path / "small").target
    assert run(["smoke", str(small), "--against", str(old), "--device", "cpu"]) == 0
    assert "passed  GTE580  159 word rows are the old ones bit for bit" in capsys.readouterr().out
    builder.save(small / WEIGHTS, builder.load(small) | {WORDS: builder.load(small)[WORDS] * 2})
    assert run(["smoke", str(small), "--against", str(old), "--device", "cpu"]) == 1
    assert "error GTE580" in capsys.readouterr().out
    assert run(["smoke", str(old), "--against", str(tmp_path / "none"), "--device", "cpu"]) == 3
    assert run(["smoke", str(small), "--map", "m.tsv", "--device", "cpu"]) == 2
    assert run(["smoke", str(small), "--against", str(old), "--train", "1", "--device", "cpu"]) == 2


def test_a_trimmed_checkpoint_is_proved_with_its_tokenizer_and_a_stale_one_is_refuted(tmp_path: Path) -> None:
    old = builder.build(tmp_path / "old", builder.remote_config(vocab_size=1200))
    write_tokenizer(old, "WordPiece", 1200, 2000)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(lines(300)))
    small = trim(old, texts=texts, out=tmp_path / "small").target
    runs = receipt(small)["map"]["runs"]
    assert len(runs) < 2048 or runs.startswith("zlib:")
    assert compared(small, old).has_passed
    tokenizer = json.loads((small / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    one, other = sorted(vocabulary)[-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (small / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert f"is {other!r}" in told(compared(small, old)) or f"is {one!r}" in told(compared(small, old))
    shutil.copy(old / "tokenizer.json", small)
    result = compared(small, old)
    assert not result.has_passed
