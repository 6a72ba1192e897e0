"""Tokenizers that no longer fit the rows: what is told when a surgery leaves one, and what they really emit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gte_surgery import remap, resize, undo
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.cli.entry import run as main
from gte_surgery.surgery.outcome import Outcome
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from tests.builder import build, native_config, remote_config, template, write_json, write_sidecars

ROWS = [0, 1, 2, 3, 4, *range(59, 4, -1)]
"""The rows of all 60 tokens, those without a part of their own in the opposite order."""


def spoken(path: Path) -> Path:
    return write_sidecars(build(path, native_config()))


def codes(path: Path) -> set[str]:
    return {finding.code for finding in run(path).findings}


def kept(path: Path) -> Outcome:
    return remap(path, keep=ROWS, vocab=128, tokenizer="keep")


def test_a_tokenizer_that_is_kept_though_the_rows_moved_is_told_first_and_found_as_long_as_it_lies_there(
    tmp_path: Path,
) -> None:
    path = spoken(tmp_path / "c")
    told = kept(path).plan.meaning
    assert "stay, with the old vocabulary of 60 tokens, which no longer fits the rows" in told[0]
    (finding,) = [finding for finding in run(path).findings if finding.code == "GTE316"]
    assert finding.location.file == "tokenizer.json"
    undo(path)
    assert codes(path) == set()
    kept(path)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    write_json(path / "tokenizer.json", tokenizer | {"truncation": None, "version": "1.0"})
    assert "GTE316" not in codes(path)


def test_a_tokenizer_that_was_left_behind_fits_again_once_the_rows_are_back(tmp_path: Path) -> None:
    path = spoken(tmp_path / "c")
    for there in (True, False, True, False):
        told = kept(path).plan.meaning  # ROWS is its own inverse
        assert ("no longer fits" in told[0]) is there
        assert ("GTE316" in codes(path)) is there
    resize(path, vocab=192, pad=1)
    assert "GTE316" not in codes(path)
    kept(path)
    resize(path, vocab=128, pad=1)
    assert "GTE316" in codes(path)
    remap(path, keep=ROWS[::-1], vocab=128, pad=58, tokenizer="keep")
    assert "GTE316" in codes(path)


def test_rows_that_count_as_new_are_those_of_their_tokens_still(tmp_path: Path) -> None:
    path = spoken(tmp_path / "c")
    kept(path)
    resize(path, vocab=192, pad=1, new_from=40)
    assert "GTE316" in codes(path)
    remap(path, keep=ROWS, vocab=192, tokenizer="keep")
    assert "GTE316" not in codes(path)


def test_its_hint_removes_it(tmp_path: Path) -> None:
    path = spoken(tmp_path / "c")
    kept(path)
    (hint,) = [finding.hint for finding in run(path).findings if finding.code == "GTE316"]
    assert main(hint.split()[1:]) == 0
    assert not (path / "tokenizer.json").exists()
    assert codes(path) == set()


def test_roles_that_move_leave_a_tokenizer_behind_and_spare_rows_that_go_do_not(tmp_path: Path) -> None:
    path = spoken(tmp_path / "moved")
    plan = resize(path, vocab=128, pad=1, mask=7).plan
    assert "no longer fits" in plan.meaning[0]
    assert "GTE316" in codes(path)
    path = spoken(tmp_path / "cut")
    told = remap(path, keep=list(range(64)), vocab=64, tokenizer="keep").plan.meaning
    assert "no longer fits" not in " ".join(told)
    assert codes(path) == set()
    assert "no longer fits" in resize(path, vocab=32, pad=1, dry_run=True).plan.meaning[0]


def test_a_receipt_that_names_anything_is_not_followed(tmp_path: Path) -> None:
    path = spoken(tmp_path / "c")
    kept(path)
    receipt = json.loads((path / "gte-surgery.json").read_text())
    for left in ({"../x": "0"}, {"config.json": 0}, [1], "tokenizer.json", {"tokenizer.json": ["0"]}):
        receipt["receipts"][-1]["edits"]["left_behind"] = left
        write_json(path / "gte-surgery.json", receipt)
        assert "GTE316" not in codes(path)


@pytest.mark.parametrize("name", ["given.json", "given"])
def test_a_tokenizer_that_is_given_comes_with_its_rows(tmp_path: Path, name: str) -> None:
    """The same tokens in another order: every token has the row that it had."""
    path = spoken(tmp_path / "c")
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    turned = dict(zip(words, [0, 1, 2, 3, 4, *range(59, 4, -1)], strict=True))
    tokenizer["model"]["vocab"] = turned
    given = tmp_path / name
    if name == "given":  # a folder will do
        given.mkdir()
    write_json(given if given.suffix else given / "tokenizer.json", tokenizer)
    remap(path, to_tokenizer=given, vocab=64)
    assert json.loads((path / "tokenizer.json").read_text())["model"]["vocab"] == turned
    assert codes(path) == set()


def with_template(path: Path) -> None:
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    write_json(path / "tokenizer.json", tokenizer | {"post_processor": template({"<s>": 0, "</s>": 999})})


def with_padding(path: Path) -> None:
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 500,
               "pad_type_id": 0, "pad_token": "<pad>"}  # fmt: skip
    write_json(path / "tokenizer.json", tokenizer | {"padding": padding})


def with_a_token_of_an_older_file(path: Path) -> None:
    words = [f"w{number}" for number in range(120)]
    (path / "tokenizer.json").unlink()
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (path / "added_tokens.json").write_text('{"<a>": 125, "<c>": 128}')


@pytest.mark.parametrize(
    ("damage", "code", "told"),
    [
        (with_template, "GTE307", "999"),
        (with_padding, "GTE307", "500"),
        (with_a_token_of_an_older_file, "GTE302", "<c> is 128"),
    ],
)
def test_ids_that_a_tokenizer_really_gives_are_found_by_check_and_by_smoke(
    tmp_path: Path, damage: Callable[[Path], None], code: str, told: str
) -> None:
    pytest.importorskip("torch")
    from gte_surgery.smoke.options import SmokeOptions
    from gte_surgery.smoke.run import smoke

    path = spoken(tmp_path / "c")
    damage(path)
    assert code in codes(path)
    result = smoke(path, SmokeOptions(device="cpu", batch=3, max_length=8))
    failed = [proof for proof in result.proofs if proof.outcome == "failed"]
    assert {proof.code for proof in failed} == {"GTE503"}
    assert any(told in finding.message for finding in result.findings)


def test_special_tokens_that_only_the_settings_name_take_the_next_ids(tmp_path: Path) -> None:
    """As transformers 5.24 gives them: first the roles', then the others."""
    path = spoken(tmp_path / "c")
    settings = json.loads((path / "tokenizer_config.json").read_text())
    extra = {"mask_token": "<hidden>", "extra_special_tokens": [f"<{at}>" for at in range(68)]}
    write_json(path / "tokenizer_config.json", settings | extra)
    found = read_tokenizer(open_checkpoint(path))
    assert (found.ids["mask"], found.vocab_size) == (60, 129)
    (finding,) = run(path).findings
    assert (finding.code, finding.location.file) == ("GTE302", "tokenizer_config.json")
    assert finding.message == "1 token beyond vocab_size 128: `<67>` 128"


@pytest.mark.parametrize(("decoder", "pad"), [(None, 2), ({}, 1)])
def test_an_older_map_of_special_tokens_is_believed_where_no_decoder_is_stated(
    tmp_path: Path, decoder: dict[str, object] | None, pad: int
) -> None:
    """As in transformers 5.24 and 4.57, _from_pretrained."""
    path = spoken(tmp_path / "c")
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings.pop("added_tokens_decoder", None)
    write_json(
        path / "tokenizer_config.json", settings | ({} if decoder is None else {"added_tokens_decoder": decoder})
    )
    write_json(path / "special_tokens_map.json", {"pad_token": "</s>"})
    assert read_tokenizer(open_checkpoint(path)).ids["pad"] == pad


def test_smoke_tells_of_a_tokenizer_left_behind_and_of_one_that_cannot_be_opened(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from gte_surgery.smoke.options import SmokeOptions
    from gte_surgery.smoke.run import smoke

    path = write_sidecars(build(tmp_path / "c", remote_config()))
    options = SmokeOptions(device="cpu", batch=3, max_length=8)
    assert not [finding for finding in smoke(path, options).findings if finding.code in ("GTE503", "GTE506")]
    kept(path)
    assert "GTE506" in [finding.code for finding in smoke(path, options).findings]
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    write_json(path / "tokenizer.json", tokenizer | {"decoder": {"type": "None such"}})
    found = [finding for finding in smoke(path, options).findings if finding.code == "GTE503"]
    assert [finding.message.partition(":")[0] for finding in found] == ["the tokenizer encodes texts"]
