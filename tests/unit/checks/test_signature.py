"""A signature of the real model-signing beside a checkpoint: it fits, or what it does not fit is named."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.rules import receipts
from gte_surgery.checks.run import run
from gte_surgery.checks.signature import signatures
from gte_surgery.errors import UnavailableError, UsageError
from tests.builder import build
from tests.keys import certify, make_key


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint signed with the key beside it, key.pem and key.pub."""
    folder = tmp_path_factory.mktemp("signed")
    make_key(folder)
    checkpoint = build(folder / "checkpoint")
    (checkpoint / "README.md").write_text("A model.\n")
    sign(checkpoint)
    return checkpoint


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(signed, tmp_path / "copy")


def sign(checkpoint: Path, pieces: int = 0) -> None:
    from model_signing import hashing, signing

    signature = checkpoint / "model.sig"
    hashes = hashing.Config().set_ignored_paths(paths=[signature])
    if pieces:
        hashes.use_shard_serialization(shard_size=pieces)
    config = signing.Config().use_elliptic_key_signer(private_key=checkpoint.parent / "key.pem")
    config.set_hashing_config(hashes).sign(checkpoint, signature)


def said(path: Path, values: bool = False) -> list[str]:
    found = run(open_checkpoint(path), select=["GTE067"], values=values).findings
    return [each.message.removeprefix("the signature no longer fits the files: ") for each in found]


def test_what_was_signed_fits(signed: Path) -> None:
    assert len(list(signatures(open_checkpoint(signed)))) == 1
    assert said(signed) == said(signed, values=True) == []


def test_every_change_of_a_byte_is_found(signed: Path, copy: Path, long: bool) -> None:
    """One byte in each sixteenth of each file that is signed, the first and the last among them; with --long every byte
    of what is small, and every 61st of the weights.
    """
    for file in (file for file in sorted(copy.iterdir()) if file.name != "model.sig"):
        raw = file.read_bytes()
        some = {round(part * (len(raw) - 1) / 15) for part in range(16)}
        for place in range(0, len(raw), 1 if len(raw) < 4096 else 61) if long else some:
            file.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
            found = list(signatures(open_checkpoint(copy)))
            assert found
            assert said(copy, values=True) == [f"{file.name} is changed"], (file.name, place)
        file.write_bytes(raw)
    assert said(copy) == []


def test_files_that_came_and_went_are_named(copy: Path) -> None:
    (copy / "README.md").rename(copy / "LIESMICH.md")
    assert said(copy) == ["README.md is missing", "LIESMICH.md is unsigned"]


def test_what_git_and_surgeries_keep_is_not_signed(copy: Path) -> None:
    (copy / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (copy / ".gte-surgery").mkdir()
    (copy / ".gte-surgery/undo").write_text("kept")
    assert said(copy) == []


def test_a_signature_over_pieces_of_files_is_compared_by_name(signed: Path, copy: Path) -> None:
    shutil.copy(signed.parent / "key.pem", copy.parent)
    (copy / "model.sig").unlink()
    sign(copy, pieces=1000)
    assert said(copy) == []
    (copy / "more.txt").write_text("more")
    assert said(copy) == ["more.txt is unsigned"]


def with_payload(path: Path, payload: str) -> list[str]:
    envelope = {"payload": base64.b64encode(payload.encode()).decode()}
    (path / "model.sig").write_text(json.dumps({"dsseEnvelope": envelope}))
    return said(path)


PREDICATE = '"predicateType": "https://model_signing/signature/v1.0"'
HOSTILE = {
    "no subject": "{%s}",
    "resources that are a number": '{%s, "subject": [{}], "predicate": {"resources": 1, "serialization": {}}}',
    "another digest": '{%s, "subject": [{"digest": {"sha256": "00"}}], '
    '"predicate": {"resources": [], "serialization": {"method": "files"}}}',
    "a key twice": '{%s, "subject": 1, "subject": 2}',
    "too many values": '{%s, "subject": [' + "0," * 100_000 + "0]}",
    "too deep": '{%s, "subject": ' + "[" * 90_000 + "}",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=list(HOSTILE))
def test_a_statement_that_cannot_be_read_fits_nothing(copy: Path, payload: str) -> None:
    (found,) = with_payload(copy, payload.replace("%s", PREDICATE))
    assert 0 < len(found) < 300


def test_a_bundle_of_something_else_is_no_model_signature(copy: Path) -> None:
    assert with_payload(copy, '{"predicateType": "https://slsa.dev/provenance/v1"}') == []


def judged(path: Path, key: Path) -> list[str]:
    return [each.message for each in run(open_checkpoint(path), select=["GTE068"], values=True, signed_by=key).findings]


def test_a_signature_by_the_key_given_is_accepted_and_a_changed_file_is_not(signed: Path, copy: Path) -> None:
    key = signed.parent / "key.pub"
    assert judged(copy, key) == []
    (copy / "README.md").write_text("B model.\n")
    assert judged(copy, key) == ["README.md is changed"]
    (copy / "model.sig").unlink()
    assert judged(copy, key) == ["no model signature (*.sig, *.sigstore.json), wanted one by the key given"]


def test_a_changed_signature_is_refused(signed: Path, copy: Path) -> None:
    key = signed.parent / "key.pub"
    bundle = json.loads((copy / "model.sig").read_text())
    made = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    made[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(made).decode()
    (copy / "model.sig").write_text(json.dumps(bundle))
    (found,) = judged(copy, key)
    assert found.startswith("not signed by key.pub")


def test_a_file_that_is_no_key_is_a_usage_error(signed: Path) -> None:
    with pytest.raises(UsageError, match="README"):
        judged(signed, signed / "README.md")


def test_without_model_signing_the_extra_is_named(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing._signing", None)
    with pytest.raises(UnavailableError) as refused:
        judged(signed, signed.parent / "key.pub")
    assert "gte-surgery[sign]" in refused.value.hint


def test_pieces_are_not_passed_over_where_a_key_is_given(signed: Path, copy: Path) -> None:
    shutil.copy(signed.parent / "key.pem", copy.parent)
    (copy / "model.sig").unlink()
    sign(copy, pieces=1000)
    found = judged(copy, signed.parent / "key.pub")
    assert len(found) == 3
    assert all("signed in pieces" in each for each in found)


def test_a_signature_by_a_certificate_is_by_whom_the_chain_says(copy: Path, tmp_path: Path) -> None:
    from model_signing import hashing, signing

    for name in ("ours", "theirs"):
        certify(tmp_path, name)
    hashes = hashing.Config().set_ignored_paths(paths=[copy / "model.sig"])
    key, leaf = tmp_path / "ours.key", tmp_path / "ours.leaf"
    config = signing.Config().use_certificate_signer(
        private_key=key, signing_certificate=leaf, certificate_chain=[tmp_path / "ours.root"]
    )
    config.set_hashing_config(hashes).sign(copy, copy / "model.sig")
    assert judged(copy, tmp_path / "ours.root") == []
    (found,) = judged(copy, tmp_path / "theirs.root")
    assert found.startswith("not signed by theirs.root")


def test_with_a_key_large_files_are_read_without_values(
    signed: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "_SMALL", 0)
    raw = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert said(copy) == []
    found = run(open_checkpoint(copy), select=["GTE068"], signed_by=signed.parent / "key.pub").findings
    assert [each.message for each in found] == ["model.safetensors is changed"]
