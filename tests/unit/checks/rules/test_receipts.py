"""With --values the hashes of the last receipt are compared with the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint import files
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks import weights
from gte_surgery.checks.run import run
from gte_surgery.findings import Finding
from gte_surgery.surgery.verbs import new

SMALL = {"layers": 1, "hidden": 64, "heads": 4, "intermediate": 64, "vocab": 640, "max_positions": 64}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A checkpoint of ours, in two shards, with a receipt that has hashes."""
    return new(tmp_path / "made", release="gte-en-mlm-base", shard_size=100_000, **SMALL).target


def findings(path: Path) -> list[Finding]:
    return [found for found in run(open_checkpoint(path), values=True).findings if found.code.startswith("GTE06")]


def flip_last_byte(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


def test_files_that_are_as_they_were_written_pass(made: Path) -> None:
    assert findings(made) == []


def test_a_flipped_bit_is_found_in_its_file_and_only_with_values(made: Path) -> None:
    shard = sorted(made.glob("*.safetensors"))[1]
    flip_last_byte(shard)
    assert [(found.code, found.location.file) for found in findings(made)] == [("GTE065", shard.name)]
    assert [found.code for found in run(open_checkpoint(made)).findings] == []


def test_a_config_that_was_edited_at_its_old_size_is_found(made: Path) -> None:
    config = made / "config.json"
    config.write_text(config.read_text().replace('"pad_token_id": 0', '"pad_token_id": 1'))
    assert [(found.code, found.location.file) for found in findings(made)] == [("GTE065", "config.json")]


def test_a_file_of_another_size_is_told_once(made: Path) -> None:
    (made / "config.json").write_text((made / "config.json").read_text() + "\n")
    assert [found.code for found in findings(made)] == ["GTE064"]


def test_hashing_tells_its_progress(made: Path) -> None:
    steps: list[tuple[int, int]] = []
    run(open_checkpoint(made), select=["GTE065"], values=True, progress=lambda done, total: steps.append((done, total)))
    files = [file for file in made.iterdir() if file.name != "gte-surgery.json"]
    assert steps[-1] == (sum(file.stat().st_size for file in files),) * 2


def test_a_receipt_without_hashes_cannot_tell(tmp_path: Path) -> None:
    path = new(tmp_path / "made", release="gte-en-mlm-base", hashes=False, **SMALL).target
    flip_last_byte(path / "model.safetensors")
    assert findings(path) == []


def test_hashing_and_looking_at_the_numbers_tell_one_progress_together(made: Path) -> None:
    steps: list[tuple[int, int]] = []
    run(open_checkpoint(made), values=True, progress=lambda done, total: steps.append((done, total)))
    files = [file for file in made.iterdir() if file.name != "gte-surgery.json"]
    numbers = sum(tensor.nbytes for tensor in open_checkpoint(made).tensors.values())
    assert steps[-1] == (sum(file.stat().st_size for file in files) + numbers,) * 2
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_hashing_is_given_up_when_the_run_is_cut_short(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of 100 GB does not wait for their hash."""
    monkeypatch.setattr(files, "_PIECE", 1)
    read: list[int] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def noted(done: int, total: int) -> None:
        read.append(done)

    monkeypatch.setattr(weights, "read_statistics", stop)
    with pytest.raises(KeyboardInterrupt):
        run(open_checkpoint(made), values=True, progress=noted)
    size = sum(file.stat().st_size for file in made.glob("*.safetensors"))
    assert max(read, default=0) < size // 2
