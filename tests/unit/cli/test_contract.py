"""`gte-surgery contract` writes what check, scan and fuzz take: the checkpoint's contract, changed as asked."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.contract.spec import IdContract
from tests.builder import build, remote_config


def written(capsys: pytest.CaptureFixture[str], *arguments: object) -> IdContract:
    assert run(["contract", *map(str, arguments)]) == 0, capsys.readouterr().err
    return IdContract.from_json(capsys.readouterr().out)


def test_it_is_the_contract_of_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = build(tmp_path / "ckpt")
    assert written(capsys, path) == IdContract.from_checkpoint(path)


def test_options_override_what_the_checkpoint_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = build(tmp_path / "ckpt", remote_config(vocab_size=128))
    found = written(
        capsys, path, "--ids", 120, "--pad", 3, "--cls", 2, "--mask", 4, "--type-vocab", 2, "--max-length", 64,
        "--padding-side", "left", "--special", 5, "--special", 6, "--hidden", 16,
    )  # fmt: skip
    assert found == IdContract(120, 3, 2, 64, 2, 4, "left", -100, 16, (5, 6))


def test_a_contract_can_be_changed_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "contract.json"
    file.write_text(IdContract(100, 1, 1, 8, mask_token_id=99, special_ids=(2, 98)).to_json())
    assert written(capsys, file, "--ids", 50) == IdContract(50, 1, 1, 8, special_ids=(2,))


def test_what_contradicts_itself_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["contract", str(build(tmp_path / "ckpt")), "--ids", "5", "--pad", "5"]) == 2
    assert "pad_token_id: 5, must be from 0 to" in capsys.readouterr().err


def test_more_rows_than_ids_are_no_error_and_an_id_between_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vocabulary of 120 ids in a table that was rounded up to 128."""
    path = build(tmp_path / "ckpt", remote_config(vocab_size=128))
    contract = written(capsys, path, "--ids", 120)
    file = tmp_path / "contract.json"
    file.write_text(contract.to_json())
    assert run(["check", str(path), "--contract", str(file), "--format", "json", "--fail-on", "note"]) in (0, 1)
    codes = {each["code"] for each in json.loads(capsys.readouterr().out)["findings"]}
    assert not codes & {"GTE150", "GTE155", "GTE156"}
    found = contract.check_batch({"input_ids": [[5, 121]]}).findings
    assert [each.code for each in found] == ["GTE414"]


def test_ids_beyond_the_table_are_told_with_what_makes_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = build(tmp_path / "ckpt", remote_config(vocab_size=128))
    assert run(["contract", str(path), "--ids", "128"]) == 0
    assert capsys.readouterr().err == ""
    assert run(["contract", str(path), "--ids", "160"]) == 0
    told = capsys.readouterr().err
    assert told.startswith(f"{path}: has 128 rows, fewer than 160 ids; ")
    assert run(shlex.split(told.split("`")[1])[1:]) == 0
    assert run(["check", str(path), "--ids", "160"]) == 0
