"""What `sign` signs, the real model-signing accepts; what a receipt has the hash of is not read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks import signing
from gte_surgery.checks.run import run as judge
from gte_surgery.cli.entry import run
from tests.builder import build, native_config
from tests.keys import certify, make_key


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of two shards, of which a surgery in place wrote one anew."""
    make_key(tmp_path)
    made = build(tmp_path / "ckpt", native_config(vocab_size=120), shards=2)
    assert run(["--quiet", "resize", str(made), "--vocab", "100", "--pad", "0"]) == 0
    return made


def verify(checkpoint: Path) -> None:
    """As `model_signing verify key` does."""
    from model_signing import verifying

    public = checkpoint.parent / "key.pub"
    verifying.Config().use_elliptic_key_verifier(public_key=public).verify(checkpoint, checkpoint / "model.sig")


def sign(checkpoint: Path, *options: object) -> int:
    return run(["sign", str(checkpoint), "--key", str(checkpoint.parent / "key.pem"), *map(str, options)])


def test_what_is_signed_is_accepted_and_what_was_written_is_not_read_again(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read: list[str] = []
    digests = signing.digests

    def noting(files: list[signing.FileEntry], progress: signing.Progress) -> object:
        read.extend(file.name for file in files)
        return digests(files, progress)

    monkeypatch.setattr(signing, "digests", noting)
    written = {
        file["name"] for file in json.loads((checkpoint / "gte-surgery.json").read_text())["receipts"][0]["written"]
    }
    everything = {file.name for file in open_checkpoint(checkpoint).files}
    assert sign(checkpoint) == 0
    assert set(read) == everything - written
    assert written & {file.name for file in checkpoint.glob("*.safetensors")}
    assert f"{len(everything)} files signed, {len(written)} (" in capsys.readouterr().out
    verify(checkpoint)
    assert judge(open_checkpoint(checkpoint), select=["GTE067"], values=True).findings == ()
    assert run(["check", str(checkpoint), "--signed-by", str(checkpoint.parent / "key.pub")]) == 0


def test_a_file_that_was_changed_after_its_receipt_is_read(checkpoint: Path) -> None:
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace(" ", "\t", 1))
    later = config.stat().st_mtime + 10
    os.utime(config, (later, later))
    assert sign(checkpoint) == 0
    verify(checkpoint)


def test_a_change_that_hides_its_time_is_signed_as_it_was_but_for_read_all(checkpoint: Path) -> None:
    config = checkpoint / "config.json"
    before = config.stat()
    config.write_text(config.read_text().replace(" ", "\t", 1))
    os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sign(checkpoint) == 0
    with pytest.raises(ValueError, match="config"):
        verify(checkpoint)
    assert sign(checkpoint, "--read-all") == 0
    verify(checkpoint)


def test_a_certificate_signs_for_who_vouches_for_it(checkpoint: Path) -> None:
    certify(checkpoint.parent, "ours")
    folder = checkpoint.parent
    shutil.copy(folder / "ours.key", folder / "key.pem")
    assert sign(checkpoint, "--certificate", folder / "ours.leaf", "--certificate", folder / "ours.root") == 0
    assert run(["check", str(checkpoint), "--signed-by", str(folder / "ours.root")]) == 0


def test_what_cannot_be_signed_or_is_not_ours_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.sig").write_text("somebody's notes")
    assert sign(checkpoint) == 3
    (checkpoint / "model.sig").unlink()
    assert run(["sign", str(checkpoint), "--key", str(checkpoint / "config.json")]) == 2
    (checkpoint / "notes.txt").symlink_to(checkpoint.parent / "key.pem")
    assert sign(checkpoint) == 3
    assert [line[:6] for line in capsys.readouterr().err.splitlines()] == ["error:", "hint: "] * 3
    assert not (checkpoint / "model.sig").exists()


def test_a_bill_of_materials_fits_until_a_file_changes(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.cdx.json").touch()  # as a shell does before the command begins
    assert run(["inspect", str(checkpoint), "--format", "cyclonedx"]) == 0
    (checkpoint / "model.cdx.json").write_text(capsys.readouterr().out)

    def said() -> list[str]:
        found = judge(open_checkpoint(checkpoint), select=["GTE069"], values=True).findings
        return [finding.message.partition("files: ")[2] for finding in found]

    assert said() == []
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace(" ", "\t", 1))
    assert said() == ["config.json is changed"]
    config.write_text(config.read_text() + " ")
    assert said()[0].startswith("config.json has ")
    config.rename(checkpoint / "other.json")
    assert said() == ["config.json is missing"]


@pytest.mark.parametrize(
    "components", ["1", "[1]", '[{"type": "file", "name": [], "hashes": [{"alg": []}], "properties": {}}]']
)
def test_a_hostile_bill_says_nothing_wrong_or_one_thing(checkpoint: Path, components: str) -> None:
    (checkpoint / "bom.json").write_text(f'{{"bomFormat": "CycloneDX", "components": {components}}}')
    found = judge(open_checkpoint(checkpoint), select=["GTE069"]).findings
    assert len(found) <= 1
