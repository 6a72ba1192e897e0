"""gte-surgery.json: what earlier surgeries say they did, and whether the files are still the ones that they wrote.

The file is {"receipts": [...]}, oldest first. Writing it is left to `surgery`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from gte_surgery.checkpoint.faults import Fault, FaultKind, unreadable
from gte_surgery.checkpoint.files import FileEntry, read_json
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.listing import Listing, why_unusable
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.shards import Shard
from gte_surgery.errors import CheckpointError
from gte_surgery.findings import Location, several

RECEIPT_NAME = "gte-surgery.json"
LEFT_BEHIND = "left_behind"
"""Among the edits of a receipt: the tokenizer files that stayed though the ids moved, with the SHA-256 of each."""

Receipt = Mapping[str, object]


class Documents(Protocol):
    """What is asked of a checkpoint here."""

    def document(self, name: str) -> Document | None:
        """What a small JSON file holds; None without it. Raises CheckpointError."""


def receipts_of(checkpoint: Documents) -> tuple[Receipt, ...]:
    """The receipts that a checkpoint keeps, oldest first; none without a receipt file. Raises CheckpointError."""
    document = checkpoint.document(RECEIPT_NAME)
    return _receipts_of(document) if document else ()


def written_of(receipt: Receipt) -> list[dict[str, Any]]:
    """The records of the files that a surgery wrote; each has a name."""
    found = receipt.get("written")
    return found if isinstance(found, list) else []


def members_of(checkpoint: Documents) -> Mapping[str, object]:
    """All members of the receipt file, also those of other programs; none without a file. Raises CheckpointError."""
    document = checkpoint.document(RECEIPT_NAME)
    if document is None:
        return {}
    _receipts_of(document)
    return document.members


def compare_receipt(listing: Listing, shards: tuple[Shard, ...]) -> Iterator[Fault]:
    """Faults of the receipt file: unreadable, or its last receipt's sizes and header digests are not those found."""
    file = listing.files.get(RECEIPT_NAME)
    if file is None:
        return
    kind = FaultKind.RECEIPT_UNREADABLE
    if unusable := why_unusable(file, listing.links_out):
        yield Fault(kind, Location(file=RECEIPT_NAME), unusable)
        return
    try:
        receipts = _receipts_of(read_json(file))
    except CheckpointError as error:
        yield unreadable(kind, RECEIPT_NAME, error)
        return
    if receipts:
        yield from several(_compare(receipts[-1], listing, {shard.file.name: shard for shard in shards}))


def _compare(receipt: Receipt, listing: Listing, shards: Mapping[str, Shard]) -> Iterator[Fault]:
    """Opens nothing: the header of a shard has been read, and that of another file is not worth a second look."""
    for name, record in {each["name"]: each for each in written_of(receipt)}.items():
        file = listing.files.get(name)
        difference = "is gone" if file is None else _difference(record, file, shards.get(name))
        if difference:
            location = Location(file=shown(name))
            yield Fault(FaultKind.RECEIPT_MISMATCH, location, f"changed since the surgery that wrote it: {difference}")


def _difference(record: Mapping[str, object], file: FileEntry, shard: Shard | None) -> str:
    if "size" in record and record["size"] != file.size:
        return f"{file.size} bytes, the receipt says {record['size']}"
    digest = shard.header.digest if shard is not None and shard.header else ""  # a bad header is told of the shard
    return "its header is another one" if digest and record.get("header", digest) != digest else ""


def _receipts_of(document: Document) -> tuple[Receipt, ...]:
    receipts = document.members.get("receipts")
    if not isinstance(receipts, list) or not all(_is_receipt(receipt) for receipt in receipts):
        raise CheckpointError(f'{document.source}: not a receipt file, wanted {{"receipts": [...]}}')
    return tuple(receipts)


def _is_receipt(value: object) -> bool:
    written = value.get("written", []) if isinstance(value, dict) else None
    return isinstance(written, list) and all(_is_file_record(record) for record in written)


def _is_file_record(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return False
    return type(value.get("size", 0)) is int and isinstance(value.get("header", ""), str)
