"""GTE065, GTE067 to GTE069, GTE316: whether the files are, to the byte, what a surgery wrote, what was signed or
listed, and what a surgery left behind.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.faults import FaultKind
from gte_surgery.checkpoint.files import FileEntry, digests, sha256_of
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.receipts import LEFT_BEHIND, receipts_of, written_of
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.signature import Signature, bills, signatures, why_not_by
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.vocabulary.token_files import VOCABULARIES

MOST_BESIDE = 1 << 30
"""Bytes of a file beside the weights that are hashed."""
_SMALL = 1 << 20
"""Bytes of a file that is hashed without --values."""


@rule("GTE065", Severity.WARNING, requires=("GTE001", "GTE006"), only_with="--values", is_apart=True)
def content_changed(subject: Subject) -> Iterator[Observation]:
    """A file's content is not what the last surgery wrote.

    Size and header are right, the SHA-256 is another one: weights were changed in place since, or a disk or a copy
    damaged them. If nobody trained into this directory on purpose, copy the checkpoint again. Only receipts with hashes
    can tell, and hashing takes as long as SHA-256 does on your processor, longer than all the rest.
    """
    recorded = dict(_recorded(subject))
    for file in [file for file in recorded if not _is_worth_hashing(file, subject)]:
        del recorded[file]
        found = f"{file.size} bytes, no weight file of this checkpoint: not hashed beyond {MOST_BESIDE} bytes"
        yield Observation(Location(file=shown(file.name)), found)
    for file, digest in digests(list(recorded), subject.passes.begin()).items():
        if digest != recorded[file]:
            found = f"SHA-256 {digest[:16]}…, the receipt says {recorded[file][:16]}…"
            yield Observation(Location(file=shown(file.name)), found)


@rule("GTE316", Severity.WARNING, requires=("GTE001", "GTE006"))
def tokenizer_left_behind(subject: Subject) -> Iterator[Observation]:
    """The tokenizer was left behind by a surgery that moved the ids.

    A `remap` or `resize` that was told to keep the tokenizer's files gave rows to other ids than those that they make:
    nothing fails, but a text gives the vectors of other words. The receipt says so, as long as the files are the same.
    Install the tokenizer that the rows were chosen for; if you feed ids of your own, remove these files:
    `gte-surgery resize CKPT --vocab N --pad ID --tokenizer remove`.
    """
    if subject.faults(FaultKind.RECEIPT_UNREADABLE):
        return
    config, left = subject.config_or_none, dict[str, str]()
    for receipt in receipts_of(subject.checkpoint):
        edits = receipt.get("edits")
        left |= _as_digests(edits.get(LEFT_BEHIND) if isinstance(edits, dict) else None)
    for name, digest in left.items():
        file = subject.checkpoint.readable(name)
        if file is not None and file.size <= MOST_BESIDE and sha256_of(file.place) == digest:
            has_pad = config is not None and config.pad_token_id is not None
            hint = f"{subject.resized(config.vocab_size)} --tokenizer remove" if config and has_pad else ""
            yield Observation(Location(file=name), "was kept by a surgery that gave other rows to its ids", hint)


def _as_digests(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: digest for name, digest in pairs if name in VOCABULARIES and isinstance(digest, str)}


@rule("GTE067", Severity.WARNING, requires=("GTE001", "GTE006"))
def signature_no_longer_fits(subject: Subject) -> Iterator[Observation]:
    """A model signature no longer fits the files.

    `model_signing verify` refuses this checkpoint: a file was changed, removed or added since it was signed. Sign what
    you stand for anew, or remove the signature. Files of up to 1 MiB are hashed; of larger ones the hash in the receipt
    is compared, and with --values all are hashed. It is a warning since the model itself may be sound, and since a
    surgery, which moves such a signature aside, does not begin on errors. Whose signature it is, this does not say.
    """
    for signature in signatures(subject.checkpoint):
        told = [signature.trouble] if signature.trouble else _differences(signature, subject)
        for found in told:
            said = f"the signature no longer fits the files: {found}"
            yield Observation(Location(file=shown(signature.file.name)), said)


@rule("GTE068", Severity.ERROR, requires=("GTE001", "GTE006"), only_with="--signed-by")
def not_signed_by(subject: Subject) -> Iterator[Observation]:
    """The checkpoint is not what the holder of the key signed.

    No model signature is here, or one is not by the key or certificates given, or it no longer fits the files. Do not
    load it: take it again from where you trust it. Each signed file is read to the end, also without --values.
    """
    found = list(signatures(subject.checkpoint))
    if not found:
        yield Observation(Location(), "no model signature (*.sig, *.sigstore.json), wanted one by the key given")
    for signature in found:
        at = Location(file=shown(signature.file.name))
        reason = signature.trouble or (why_not_by(subject.signed_by, signature) if subject.signed_by else "")
        for told in [reason] if reason else _differences(signature, subject):
            yield Observation(at, told)
        for name in sorted(name for name, digest in signature.digests.items() if not digest):
            yield Observation(
                at, f"{shown(name)} is signed in pieces or by another hash: `model_signing verify` knows it"
            )


@rule("GTE069", Severity.WARNING, requires=("GTE001", "GTE006"))
def bill_no_longer_fits(subject: Subject) -> Iterator[Observation]:
    """A bill of materials no longer fits the files.

    A CycloneDX document beside the weights (bom.json or *.cdx.json) gives a file another size or SHA-256, or names one
    that is gone: it is of the checkpoint before. Make it anew, with `inspect --format cyclonedx` or as you did. What is
    hashed for it is what is hashed for a signature (GTE067).
    """
    for bill in bills(subject.checkpoint):
        for found in _differences(bill, subject):
            said = f"the bill of materials no longer fits the files: {found}"
            yield Observation(Location(file=shown(bill.file.name)), said)


def _differences(signature: Signature, subject: Subject) -> Iterator[str]:
    files = {file.name: file for file in subject.checkpoint.files}
    yield from (f"{shown(name)} is missing" for name in signature.digests if name not in files)
    yield from (
        f"{shown(name)} is unsigned" for name in files if name not in signature.digests and signature.covers(name)
    )
    yield from (
        f"{shown(name)} has {files[name].size} bytes, {size} are stated"
        for name, size in signature.sizes.items()
        if name in files and files[name].size != size
    )
    signed = {files[name]: digest for name, digest in signature.digests.items() if digest and name in files}
    is_read = {file for file in signed if _is_read(file, subject)}
    actual = {file: digest for file, digest in _recorded(subject) if file not in is_read}
    actual |= digests([file for file in signed if file in is_read], subject.passes.begin()) if is_read else {}
    if subject.has_values:
        yield from (
            f"{shown(file.name)} is not read, for its size or as a link" for file in signed if file not in actual
        )
    yield from (f"{shown(file.name)} is changed" for file in signed if actual.get(file, signed[file]) != signed[file])


def _is_read(file: FileEntry, subject: Subject) -> bool:
    is_allowed = subject.checkpoint.readable(file.name) is not None
    reads_all = subject.has_values or subject.signed_by is not None
    return is_allowed and (file.size <= _SMALL or (reads_all and _is_worth_hashing(file, subject)))


def _is_worth_hashing(file: FileEntry, subject: Subject) -> bool:
    """A receipt may name anything; only weights, which --values reads anyway, may be of any size."""
    return file.size <= MOST_BESIDE or any(shard.file.name == file.name for shard in subject.checkpoint.shards)


def _recorded(subject: Subject) -> Iterator[tuple[FileEntry, str]]:
    """The files that the last receipt gives a hash for, with it; but for those that GTE064 found changed already."""
    if subject.faults(FaultKind.RECEIPT_UNREADABLE):
        return
    changed = {fault.location.file for fault in subject.faults(FaultKind.RECEIPT_MISMATCH)}
    receipts = receipts_of(subject.checkpoint)
    for record in written_of(receipts[-1]) if receipts else ():
        file = subject.checkpoint.readable(record["name"])
        digest = record.get("sha256") or _of_the_hub(record.get("etag"))
        if file is not None and isinstance(digest, str) and shown(file.name) not in changed:
            yield file, digest


def _of_the_hub(etag: object) -> object:
    """The SHA-256 that a hub gave for a file of which this is a copy: what is in LFS has it for its ETag."""
    return etag if isinstance(etag, str) and len(etag) == 64 else None
