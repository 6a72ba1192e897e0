"""Keys and certificates for signatures in tests."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path


def make_key(folder: Path) -> None:
    """key.pem and key.pub."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(public)


def certify(folder: Path, name: str) -> None:
    """A root, and a certificate for signing that it vouches for, with the key of the latter."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    for end, public, is_root in (("root", root.public_key(), True), ("leaf", key.public_key(), False)):
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {end}")]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} root")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2026, 1, 1, tzinfo=timezone.utc))
            .not_valid_after(datetime(2046, 1, 1, tzinfo=timezone.utc))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(not is_root, *[False] * 4, is_root, *[False] * 3), critical=True)
        )
        if not is_root:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        (folder / f"{name}.{end}").write_bytes(made.sign(root, hashes.SHA256()).public_bytes(form.Encoding.PEM))
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (folder / f"{name}.key").write_bytes(secret)
