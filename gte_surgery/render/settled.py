"""What `history` tells of surgeries, and what `undo` and `recover` did, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gte_surgery.render.ink import paint, printable, size
from gte_surgery.surgery.commit.recovery import Recovery

_WORDS = {
    Recovery.NOTHING: "nothing to recover",
    Recovery.ROLLED_BACK: "rolled back: the checkpoint is as it was before the surgery, and as it was saved since",
    Recovery.ROLLED_FORWARD: "rolled forward: the surgery had been committed and is now complete",
}


_EXPECTED = {
    Recovery.NOTHING: "nothing to recover",
    Recovery.ROLLED_BACK: "would roll back",
    Recovery.ROLLED_FORWARD: "would roll forward, which gives these files their new content or removes them",
}


def undone_text(checkpoint: Path, names: Sequence[str], did: str, color: bool = False) -> str:
    """Which files are again what they were before the last surgery, or after it."""
    told = {"undone": "as it was before", "redone": "as it was before the undo"}
    done = paint(f"{did.removesuffix('ne')} {printable(str(checkpoint))}: {told[did]}", "good", color)
    return "\n".join((done, *(f"  {printable(name)}" for name in names)))


def dropped_text(checkpoint: Path, has_dropped: bool, nbytes: int) -> str:
    """Whether anything was kept for undo, and how many bytes."""
    told = f"what was kept for undo is gone, {size(nbytes)}" if has_dropped else "nothing is kept for undo"
    return f"{printable(str(checkpoint))}: {told}"


def undone_json(checkpoint: Path, names: Sequence[str], did: str) -> str:
    """The files restored or removed; `did` is undone, redone or dropped."""
    return json.dumps({"checkpoint": str(checkpoint), "files": list(names), "did": did}, indent=2)


def recovered_text(
    checkpoint: Path, recovery: Recovery, names: Sequence[str] | None = None, color: bool = False
) -> str:
    """Which way the interrupted surgery went, in words, or would go; of a dry run with the files."""
    told = paint(_WORDS[recovery], "good", color) if names is None else _EXPECTED[recovery]
    return "\n".join((f"{printable(str(checkpoint))}: {told}", *(f"  {printable(name)}" for name in names or ())))


def recovered_json(checkpoint: Path, recovery: Recovery, names: Sequence[str] | None = None) -> str:
    """Which way it went, or would go: nothing, rolled-back, rolled-forward; of a dry run with the files."""
    files = {} if names is None else {"files": list(names)}
    return json.dumps({"checkpoint": str(checkpoint), "recovery": recovery.value, **files}, indent=2)


Receipt = Mapping[str, object]


def history_text(receipts: Sequence[Receipt], color: bool = False) -> str:
    """Each surgery with its time, edits and files, oldest first."""
    if not receipts:
        return "no surgery yet"
    return "\n".join(line for receipt in receipts for line in _receipt_lines(receipt, color))


def history_json(receipts: Sequence[Receipt]) -> str:
    """The receipts as they are stored."""
    return json.dumps({"receipts": [dict(receipt) for receipt in receipts]}, indent=2)


def _receipt_lines(receipt: Receipt, color: bool) -> list[str]:
    head = f"{_word(receipt, 'time')}  {paint(_word(receipt, 'command'), 'strong', color)}  ({_word(receipt, 'tool')})"
    details = (
        ("from", _origin(receipt.get("origin"))),
        ("edits", _edits(receipt.get("edits"))),
        ("wrote", _files(receipt.get("written"))),
        ("removed", _files(receipt.get("removed"))),
    )
    return [head, *(f"    {title}: {text}" for title, text in details if text)]


def _word(receipt: Receipt, key: str) -> str:
    return printable(str(receipt.get(key, "?")))


def _origin(origin: object) -> str:
    """The address of the commit on a hub that was read."""
    if not isinstance(origin, Mapping):
        return ""
    below = f"/{origin['folder']}" if "folder" in origin else ""
    return printable(f"hf://{origin.get('repository', '?')}@{origin.get('commit', '?')}{below}")


def _edits(edits: object) -> str:
    if not isinstance(edits, Mapping):
        return ""
    return ", ".join(printable(f"{key} {_value(value)}") for key, value in edits.items())


def _value(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _files(files: object) -> str:
    return ", ".join(_file(file) for file in files) if isinstance(files, Sequence) else ""


def _file(file: object) -> str:
    if not isinstance(file, Mapping):
        return printable(str(file))
    nbytes = file.get("size")
    name = printable(str(file.get("name", "?")))
    return f"{name} ({size(nbytes)})" if isinstance(nbytes, int) else name
