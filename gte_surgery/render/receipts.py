"""The receipts that surgeries leave in a checkpoint, as text and JSON. A receipt is input: any field may be odd."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from gte_surgery.render.ink import paint, printable, size

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
