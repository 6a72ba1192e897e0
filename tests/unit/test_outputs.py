"""Reports, pages, counts and references are whole or not there, and stand on nothing that was read, behind no link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.errors import RefusedError
from gte_surgery.outputs import write_output
from tests.builder import build

WRITING = {
    "check --output": "check {ckpt} --format json --output {file}",
    "check --html": "check {ckpt} --html {file}",
    "inspect --html": "inspect {ckpt} --html {file}",
    "scan --write-counts": "scan {ckpt} {rows} --write-counts {file}",
    "scan --html": "scan {ckpt} {rows} --html {file}",
    "smoke --save-reference": "smoke {ckpt} --device cpu --batch 2 --max-length 4 --save-reference {file}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint and a corpus."""
    build(tmp_path / "ckpt")
    (tmp_path / "rows.jsonl").write_text('{"input_ids": [5, 6]}\n')
    return tmp_path


def ran(line: str, folder: Path, file: Path) -> int:
    return run([word.format(ckpt=folder / "ckpt", rows=folder / "rows.jsonl", file=file) for word in line.split()])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("line", WRITING.values(), ids=list(WRITING))
@pytest.mark.parametrize(
    "target", ["ckpt/model.safetensors", "ckpt/config.json", "link", "out/secret", "folder", "fifo"]
)
def test_what_may_not_be_written_to_is_refused_and_unchanged(line: str, target: str, folder: Path) -> None:
    (folder / "outside").mkdir()
    (folder / "outside" / "secret").write_text("secret")
    (folder / "link").symlink_to(folder / "outside" / "secret")
    (folder / "ckpt" / "out").symlink_to(folder / "outside")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    before = contents(folder)
    place = folder / "ckpt" / target if target.startswith("out/") else folder / target
    assert ran(line, folder, place) == 3 or (target == "folder" and ran(line, folder, place) == 2)
    assert contents(folder) == before


@pytest.mark.parametrize("line", WRITING.values(), ids=list(WRITING))
def test_an_earlier_file_is_replaced_and_nothing_else_left(line: str, folder: Path) -> None:
    (folder / "report").write_text("before")
    assert ran(line, folder, folder / "report") == 0
    assert (folder / "report").read_text(errors="replace") != "before"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_corpus_is_not_overwritten_by_its_counts(folder: Path) -> None:
    before = contents(folder)
    assert ran(WRITING["scan --write-counts"], folder, folder / "rows.jsonl") == 3
    assert contents(folder) == before


def test_a_report_may_lie_in_the_checkpoint_and_be_written_again(folder: Path) -> None:
    for _ in range(2):
        assert ran("check {ckpt} --format sarif --output {file}", folder, folder / "ckpt" / "gte.sarif") == 0


def test_a_single_weight_file_stands_for_its_folder(folder: Path) -> None:
    config, weights = folder / "ckpt" / "config.json", folder / "ckpt" / "model.safetensors"
    assert run(["check", str(weights), "--format", "json", "--output", str(config)]) == 3


def test_dev_null_takes_a_report(folder: Path) -> None:
    assert ran("check {ckpt} --format json --output {file}", folder, Path("/dev/null")) == 0


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report").write_text("before")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_output(tmp_path / "report", "after", ())
    assert contents(tmp_path) == {"report": b"before"}


def test_a_link_put_there_meanwhile_is_replaced_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    rename = Path.replace

    def swap(aside: Path, target: Path) -> Path:
        Path(target).symlink_to(tmp_path / "secret")
        return rename(aside, target)

    monkeypatch.setattr(Path, "replace", swap)
    write_output(tmp_path / "report", "after", ())
    assert (tmp_path / "secret").read_text() == "secret"
    (tmp_path / "report").unlink()
    (tmp_path / "report").symlink_to(tmp_path / "secret")
    with pytest.raises(RefusedError, match="a link"):
        write_output(tmp_path / "report", "after", ())
