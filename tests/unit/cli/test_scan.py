"""`scan` from its arguments to its output and exit code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import click
import numpy as np
import pytest

from gte_surgery.cli.entry import run
from gte_surgery.cli.group import program
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.corpus import scan
from gte_surgery.contract.spec import IdContract
from gte_surgery.gte.schemas import violations

CONTRACT = IdContract(vocab_size=16, pad_token_id=1, type_vocab_size=1, max_length=8, mask_token_id=9)


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "contract.json"
    path.write_text(CONTRACT.to_json())
    return path


def ids(path: Path, *rows: list[int]) -> Path:
    np.save(path, np.array(rows))
    return path


def printed(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """What a command line prints to stdout; its exit code must be `code`."""
    assert run([str(argument) for argument in arguments]) == code, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_defaults_are_those_of_the_function() -> None:
    command = program.get_command(click.Context(program), "scan")
    assert command is not None
    given = command.make_context("scan", ["ckpt", "corpus"]).params
    taken = {name: it.default for name, it in inspect.signature(scan).parameters.items()}
    for name in ("limit", "max_findings", "runner", "address"):
        assert given[name] == taken[name]
    assert {field for field in Columns.__dataclass_fields__ if field not in given} == set()


def test_a_good_corpus_is_good(contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, 0, "scan", contract, ids(tmp_path / "a.npy", [0, 5, 5, 1], [0, 2, 3, 4]))
    assert text.splitlines()[1:5] == [
        "  rows     2",
        "  tokens   8, 7 of them real (87.5 %)",
        "  mask     absent from 2 rows, derived there from the pads",
        "  ids      largest 5, the contract has 16",
    ]
    assert text.splitlines()[-1] == "0 errors, 0 warnings, 0 notes"


def test_the_contract_may_be_that_of_a_checkpoint(golden: Path, tmp_path: Path) -> None:
    assert run(["scan", str(golden / "legacy-multilingual"), str(ids(tmp_path / "a.npy", [0, 255]))]) == 0
    assert run(["scan", str(golden / "legacy-multilingual"), str(ids(tmp_path / "a.npy", [0, 256]))]) == 1


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1)])
def test_fail_on_sets_the_bar(
    fail_on: str, code: int, contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 4), np.int64))
    ids(tmp_path / "some.npy", [0, 5])
    assert "GTE484" in printed(capsys, code, "scan", contract, tmp_path, "--fail-on", fail_on)


def test_a_corpus_without_rows_is_an_error(contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 4), np.int64))
    assert "error GTE485" in printed(capsys, 1, "scan", contract, tmp_path)


@pytest.mark.parametrize(("limit", "is_told"), [(1, True), (2, True), (3, False)])
def test_a_limit_is_told_where_it_ended_the_scan(
    limit: int, is_told: bool, contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids(tmp_path / "a.npy", [0, 5], [0, 5])
    said = printed(capsys, 0, "scan", contract, tmp_path, "--limit", str(limit))
    assert ("where --limit ends" in said) == is_told
    assert json.loads(printed(capsys, 0, "scan", contract, tmp_path, "--limit", str(limit), "--json"))["limit"] == limit


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "github", "markdown"])
def test_a_scan_is_told_in_every_format_of_check(
    form: str, contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids(tmp_path / "a.npy", [0, 99])
    said = printed(capsys, 1, "scan", contract, tmp_path / "a.npy", "--format", form)
    assert "GTE414" in said
    assert "a.npy" in said
    assert "gte-surgery check" not in said
    assert form not in ("junit", "markdown") or "gte-surgery scan" in said
    printed(
        capsys, 1, "scan", contract, tmp_path / "a.npy", "--format", form, "--output", str(tmp_path / "out"), "--json"
    )
    assert (tmp_path / "out").read_text().strip() == said.strip()


def test_findings_that_are_not_shown_are_counted(
    contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.npy", "b.npy"):
        ids(tmp_path / name, [0, 16, 17])
    printed(capsys, 1, "scan", contract, tmp_path, "--max-findings", "0")
    lines = printed(capsys, 1, "scan", contract, tmp_path, "--max-findings", "1").splitlines()
    assert lines[0].startswith(f"error GTE414 {tmp_path}/a.npy: 16 at row 0, column 1, must be below vocab_size 16")
    assert lines[0].endswith("(2 such in 1 row: [0, 1], [0, 2])")
    assert lines[-2:] == [
        "more findings than --max-findings shows; in all: GTE414 4 in 2 rows",
        "4 errors, 0 warnings, 0 notes",
    ]


def test_the_json_follows_its_schema(contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids(tmp_path / "a.npy", [0, 16], [1, 1])
    (tmp_path / "b.npy").write_bytes(b"")
    value = json.loads(printed(capsys, 1, "scan", contract, tmp_path, "--json"))
    assert violations(value, "scan") == []
    assert [finding["code"] for finding in value["findings"]] == ["GTE414", "GTE429", "GTE480"]
    assert value["findings"][0]["first"] == [{"row": 0, "column": 1, "value": "16"}]
    assert value["findings"][1]["first"] == [{"row": 1, "column": 0, "value": ""}]
    assert value["findings"][2]["first"] == [{"row": None, "column": None, "value": "empty"}]
    assert (value["rows"], value["real_tokens"], value["unused_ids"]) == (2, 2, 14)


def test_nothing_at_all_still_follows_the_schema(
    contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 4), np.int64))
    value = json.loads(printed(capsys, 1, "scan", contract, tmp_path / "none.npy", "--json"))
    assert violations(value, "scan") == []
    assert value["max_id"] is None


def test_counts_hold_what_occurs_and_what_the_contract_keeps(
    contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids(tmp_path / "a.npy", [0, 5, 5], [0, 3, 5])
    printed(capsys, 0, "scan", contract, tmp_path / "a.npy", "--write-counts", tmp_path / "used.txt")
    assert (tmp_path / "used.txt").read_text() == "0\t# 2\n1\t# 0\n3\t# 1\n5\t# 3\n9\t# 0\n"


def test_remap_keeps_what_was_counted(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, used = golden / "legacy-multilingual", tmp_path / "used.txt"
    printed(capsys, 0, "scan", checkpoint, ids(tmp_path / "a.npy", [0, 200, 7]), "--write-counts", used)
    kept = [int(line.split("\t")[0]) for line in used.read_text().splitlines()]
    assert {0, 1, 7, 200} <= set(kept)
    text = printed(capsys, 0, "remap", checkpoint, "--keep", used, "--out", tmp_path / "small", "--dry-run")
    assert f"vocab_size: 256 → {len(kept)}" in text


def test_what_is_not_there_is_refused(contract: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", str(contract), str(tmp_path / "nowhere")]) == 3
    assert run(["scan", str(tmp_path / "nowhere.json"), str(contract)]) == 3
    assert run(["scan", str(contract)]) == 2


@pytest.mark.parametrize(("package", "extra"), [("pyarrow", "data"), ("ray", "ray")])
def test_a_package_that_is_missing_is_told_with_its_extra(
    package: str,
    extra: str,
    contract: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "gte_surgery.contract.scan.corpus.find_spec", lambda name: None if name == package else find_spec(name)
    )
    (tmp_path / "a.jsonl").write_text('{"input_ids": [0]}')
    assert run(["scan", str(contract), str(tmp_path / "a.jsonl"), "--engine", "ray"]) == 3
    told = capsys.readouterr().err
    assert f"{package}: not installed" in told
    assert f"gte-surgery[{extra}]" in told
