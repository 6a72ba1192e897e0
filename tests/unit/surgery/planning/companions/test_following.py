"""A signature of the real model-signing is moved aside by a surgery, and what is signed anew is accepted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gte_surgery.surgery.verbs import resize, undo


@pytest.fixture
def signed(golden: Path, tmp_path: Path) -> Path:
    """A checkpoint signed with the key beside it, key.pem and key.pub."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "key.pem").write_bytes(secret)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(public)
    checkpoint = shutil.copytree(golden / "legacy-multilingual", tmp_path / "checkpoint")
    sign(checkpoint)
    return checkpoint


def sign(checkpoint: Path) -> None:
    from model_signing import hashing, signing

    signature = checkpoint / "model.sig"
    ignored = hashing.Config().set_ignored_paths(paths=[signature])
    config = signing.Config().use_elliptic_key_signer(private_key=checkpoint.parent / "key.pem")
    config.set_hashing_config(ignored).sign(checkpoint, signature)


def verify(checkpoint: Path) -> None:
    from model_signing import verifying

    config = verifying.Config().use_elliptic_key_verifier(public_key=checkpoint.parent / "key.pub")
    config.verify(checkpoint, checkpoint / "model.sig")


def test_a_stale_signature_goes_aside_is_told_and_comes_back_with_undo(signed: Path) -> None:
    verify(signed)
    before = (signed / "model.sig").read_bytes()
    outcome = resize(signed, vocab=160, pad=0)
    assert not (signed / "model.sig").exists()
    assert (signed / "model.sig.before-surgery").read_bytes() == before
    assert any("no longer holds" in line for line in outcome.plan.meaning)
    undo(signed)
    shutil.rmtree(signed / ".gte-surgery")  # what undo keeps is unsigned, which model-signing refuses as well
    verify(signed)


def test_a_new_directory_has_the_stale_signature_aside_and_is_signed_anew(signed: Path) -> None:
    out = signed.parent / "out"
    resize(signed, vocab=160, pad=0, out=out)
    assert not (out / "model.sig").exists()
    sign(out)
    verify(out)


def test_a_signature_of_before_is_never_written_over(signed: Path) -> None:
    (signed / "model.sig.before-surgery").write_bytes(b"of an earlier one")
    before = (signed / "model.sig").read_bytes()
    told = resize(signed, vocab=160, pad=0).plan.meaning[-1]
    assert "becomes model.sig.before-surgery-2" in told
    assert (signed / "model.sig.before-surgery").read_bytes() == b"of an earlier one"
    assert (signed / "model.sig.before-surgery-2").read_bytes() == before
    sign(signed)
    verify(signed)
    assert "becomes model.sig.before-surgery-3" in resize(signed, vocab=128, pad=0).plan.meaning[-1]


def test_another_file_of_that_name_stays(signed: Path) -> None:
    (signed / "model.sig").write_bytes(b'{"dsseEnvelope": []}')
    resize(signed, vocab=160, pad=0)
    assert (signed / "model.sig").read_bytes() == b'{"dsseEnvelope": []}'
