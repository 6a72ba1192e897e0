"""Signing a checkpoint as OpenSSF's model-signing does [1.1], without reading again what a receipt has the hash of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from gte_surgery.checkpoint.bounds import MAX_JSON_BYTES
from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.faults import FaultKind
from gte_surgery.checkpoint.files import FileEntry, Progress, digests, read_whole
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.receipts import receipts_of, written_of
from gte_surgery.checks.signature import OF_GIT, require_model_signing, signatures
from gte_surgery.errors import RefusedError, UsageError

SIGNATURE = "model.sig"
_LEFT_OUT = (".gte-surgery", SIGNATURE)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature, as the bytes of its file: how many files and bytes it is about, and how many of each are signed by
    the hash that a receipt has.
    """

    content: bytes
    files: int
    nbytes: int
    recorded: int
    nbytes_recorded: int


def sign(
    checkpoint: Checkpoint, key: Path, certificates: Sequence[Path], reads_all: bool, progress: Progress
) -> Signed:
    """Sign every file but those of git, our own state and the signatures that are here. `key` is a PEM file, an EC
    private key; `certificates` are the one of that key and those above it, none for a bare key.

    The hash of a receipt is taken for a file that has the size and header that the receipt says, and was not changed
    after it; all else is read, with `reads_all` everything. Raises UnavailableError without model-signing, UsageError
    for a key or a certificate that is none, RefusedError for a file that cannot be signed.
    """
    signer = _signer(key, certificates)
    left_out = (*_LEFT_OUT, *(each.file.name for each in signatures(checkpoint)))
    files = [_signable(checkpoint, file) for file in checkpoint.files if _is_signed(file.name, left_out)]
    known = {} if reads_all else {file: digest for file, digest in _recorded(checkpoint) if file in files}
    found = {**known, **digests([file for file in files if file not in known], progress)}
    return Signed(
        content=_signed(signer, checkpoint, found, sorted(set(left_out))),
        files=len(files),
        nbytes=sum(file.size for file in files),
        recorded=len(known),
        nbytes_recorded=sum(file.size for file in known),
    )


def _is_signed(name: str, left_out: Sequence[str]) -> bool:
    return not any(name == path or name.startswith(f"{path}/") for path in (*OF_GIT, *left_out))


def _signable(checkpoint: Checkpoint, entry: FileEntry) -> FileEntry:
    file = checkpoint.readable(entry.name)
    if file is None:
        hint = "remove it, or sign a copy made by `--out`"
        raise RefusedError(f"{shown(entry.name)}: no regular file of this checkpoint, and all of it is signed", hint)
    return file


def _recorded(checkpoint: Checkpoint) -> Iterator[tuple[FileEntry, str]]:
    """Files that are as the latest receipt that tells of them says, as far as size, header and time can tell."""
    if any(fault.kind is FaultKind.RECEIPT_UNREADABLE for fault in checkpoint.faults):
        return
    headers = {shard.file.name: shard.header.digest for shard in checkpoint.shards if shard.header}
    receipts = receipts_of(checkpoint)
    latest = {record["name"]: (record, each.get("time")) for each in receipts for record in written_of(each)}
    for name, (record, time) in latest.items():
        file, digest = checkpoint.readable(name), record.get("sha256")
        is_same = file is not None and record.get("size") == file.size and _is_before(file, time)
        if file and is_same and isinstance(digest, str) and record.get("header", "") == headers.get(name, ""):
            yield file, digest


def _is_before(file: FileEntry, time: object) -> bool:
    """Whether a file was last changed before the time of a receipt, which has whole seconds."""
    try:
        moment = datetime.strptime(str(time), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    return file.mtime_ns < (moment.timestamp() + 1) * 1e9


def _signer(key: Path, certificates: Sequence[Path]) -> Any:
    require_model_signing("sign")
    from model_signing._signing import sign_certificate, sign_ec_key

    for file in (key, *certificates):
        if b"-----BEGIN " not in read_whole(file, MAX_JSON_BYTES):
            raise UsageError(f"{shown(str(file))}: no PEM file", "wanted: PEM, an EC private key, certificates")
    try:
        if certificates:
            return sign_certificate.Signer(key, certificates[0], certificates[1:])
        return sign_ec_key.Signer(key)
    except Exception as error:  # noqa: BLE001 - whatever a file that is no key provokes
        found = f"{shown(str(key))}: {shown(str(error)[:200]) or type(error).__name__}"
        raise UsageError(found, "wanted: an EC private key without a password, and its own certificate first") from None


def _signed(signer: Any, checkpoint: Checkpoint, found: Mapping[FileEntry, str], left_out: Sequence[str]) -> bytes:
    from model_signing import manifest
    from model_signing._hashing.hashing import Digest
    from model_signing._signing.signing import Payload

    has_links = any(file.is_symlink for file in found)
    told = {"method": "files", "hash_type": "sha256", "allow_symlinks": has_links, "ignore_paths": left_out}
    items = [
        manifest.FileManifestItem(path=PurePosixPath(file.name), digest=Digest("sha256", bytes.fromhex(digest)))
        for file, digest in found.items()
    ]
    serialization = manifest.SerializationType.from_args(told)
    payload = Payload(manifest.Manifest(checkpoint.path.resolve().name, items, serialization))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SIGNATURE)
        signer.sign(payload).write(path)
        return path.read_bytes()
