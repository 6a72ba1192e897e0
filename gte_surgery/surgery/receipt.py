"""The receipt of a surgery: what was read, what was asked, what was written. `checkpoint.receipts` reads them back.

A checkpoint keeps its receipts in gte-surgery.json, oldest first. Times are UTC [RFC 3339]; where SOURCE_DATE_EPOCH
is set it is the time [reproducible-builds.org/specs/source-date-epoch], so that the same surgery leaves the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import opened
from gte_surgery.checkpoint.headers.header import read_digest
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import FetchError, UsageError
from gte_surgery.surgery.pieces.writer import WrittenFile
from gte_surgery.surgery.planning.claim import Verdict
from gte_surgery.surgery.planning.plan import Plan, SourceFile
from gte_surgery.surgery.planning.recorded import recorded

Receipt = Mapping[str, object]

_NO_TEXT = re.compile("[\ud800-\udfff]")
"""Bytes of a file name, or of what was typed, that are not UTF-8, as Python holds them; shown as escapes."""


def make_receipt(
    plan: Plan, tool: str, written: Sequence[WrittenFile], folder: Path, verdict: Verdict | None = None
) -> Receipt:
    """The receipt of a plan whose files, now in `folder`, have been `written`; those whose names are no text, which no
    JSON can hold, are left out. Raises UsageError for a bad SOURCE_DATE_EPOCH.
    """
    return {
        "tool": tool,
        "time": _now(),
        "command": plan.command,
        "edits": dict(plan.edits),
        "seed": plan.seed,
        "sources": [{"name": file.name, "size": file.size, **_header(file)} for file in plan.sources],
        "written": [_written(file, folder) for file in written if not _NO_TEXT.search(file.name)],
        "removed": list(plan.removed),
        **recorded(plan.claims),
        **(verdict.record() if verdict is not None else {}),
    }


def origin_of(
    checkpoint: Checkpoint, receipt: Receipt, sources: Iterable[SourceFile], copied: Collection[str]
) -> Receipt:
    """What a receipt says besides where the checkpoint lay on a hub: repository, commit, and the ETag of each
    file that was read, and of each that was `copied` whole.

    An ETag is the SHA-256 of a file in LFS, otherwise what git calls its content.
    """
    snapshot = checkpoint.snapshot
    if snapshot is None:
        return {}
    address = snapshot.address
    told = [
        {"name": file.name, "size": file.size, **_header(file), "etag": snapshot.etag(file.name)}
        for file in sources
        if checkpoint.has(file.name)
    ]
    below = {"folder": address.folder} if address.folder else {}
    written = receipt["written"]
    listed = [
        {**record, "etag": snapshot.etag(record["name"])} if record["name"] in copied else record
        for record in (written if isinstance(written, list) else ())
    ]
    origin = {"repository": address.repository, "commit": address.revision, **below}
    return {"origin": origin, "sources": told, "written": listed}


def _header(file: SourceFile) -> dict[str, str]:
    return {"header": file.header} if file.header else {}


def require_listed(checkpoint: Checkpoint, copied: Iterable[WrittenFile], folder: Path) -> None:
    """Raises FetchError for a whole copy of a file on a hub, now in `folder`, whose content its ETag does not name."""
    snapshot = checkpoint.snapshot
    if snapshot is None:
        return
    for file in copied:
        etag = snapshot.etag(file.name)
        found = file.sha256 if len(etag) == 64 else _git_name(folder / file.name)
        if found is not None and found != etag:
            raise FetchError(f"{checkpoint.name}: {shown(file.name)}: the content is not what its ETag {etag} says")


def _git_name(path: Path) -> str:
    """What git calls the content of a file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with opened(path) as file:
        at = 0
        while block := file.read(at, 1 << 20):
            digest.update(block)
            at += len(block)
    return digest.hexdigest()


def render_receipts(former: Mapping[str, object], receipt: Receipt) -> bytes:
    """The content of gte-surgery.json: the members that it had, whoever put them there, and the new receipt."""
    receipts = former.get("receipts")
    members = {**former, "receipts": [*(receipts if isinstance(receipts, list) else ()), receipt]}
    text = json.dumps(members, indent=2, ensure_ascii=False) + "\n"
    return _NO_TEXT.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text).encode()


def _written(file: WrittenFile, folder: Path) -> dict[str, object]:
    entry: dict[str, object] = {"name": file.name, "size": file.size}
    if file.name.endswith(".safetensors"):
        with opened(folder / file.name) as written:
            entry["header"] = read_digest(written)
    if file.sha256 is not None:
        entry["sha256"] = file.sha256
    return entry


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is not None and not (epoch.isascii() and epoch.isdigit()):
        raise UsageError(f"SOURCE_DATE_EPOCH: {epoch!r}, must be whole seconds since 1970", "unset it, or set a number")
    moment = time.gmtime(int(epoch) if epoch is not None else None)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
