"""What the fuzzing of targets starts from that no golden checkpoint holds."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path

from tests.corpora import WRITERS
from tests.crash.faults import Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import Surgery, lay_down, perform
from tests.hostile.targets_beside import CORPORA, FILES, FIRST, MADE_HERE, STATE_PLACES
from tests.hostile.watch import SEPARATOR

ROWS = [
    {"input_ids": [0, 5, 7, 1], "attention_mask": [1, 1, 1, 0], "token_type_ids": [0, 1, 0, 0]},
    {"input_ids": [0, 12, -1], "attention_mask": [1, 1, 1], "token_type_ids": [0, 0, 2]},
]
POLICY = """fail-on = "warning"
checkpoint = "ckpt"
[expect]
vocab = 64
pad = 1
type-vocab = 0
ids = 60
contract = "contract.json"
for = ["tei"]
[ignore]
GTE620 = "served by vLLM alone"
[data]
paths = ["rows"]
"""
EDIT = Surgery(
    old={"config.json": (0o644, b"the old config"), "a/b.json": (0o644, b"the old b")},
    staged={"config.json": (0o644, b"the new config, longer")},
    removed=("a/b.json",),
)


def _corpora() -> Iterator[bytes]:
    endings = [ending for ending, _ in CORPORA]
    with tempfile.TemporaryDirectory() as folder:
        for write in WRITERS:
            path = write(ROWS, Path(folder), 1)
            ending = "".join(path.suffixes)
            at = max(place for place, each in enumerate(endings) if each == ending)
            yield bytes([at]) + path.read_bytes()
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    yield from (bytes([at]) + lines for at in range(3))


def _states() -> Iterator[bytes]:
    """What a surgery leaves that dies at any of its operations."""
    for at in count():
        with tempfile.TemporaryDirectory() as folder:
            target, fs = Path(folder) / "checkpoint", FaultyFilesystem(Fault(at, counted=CHANGED))
            lay_down(FaultyFilesystem(), target, EDIT.old)
            with suppress(Crashed):
                perform(EDIT, target, fs)
            parts = [_part(target, name) for name in (*FILES, *STATE_PLACES)]
            yield from (bytes([how]) + SEPARATOR.join(parts) for how in (0, 1, 5))
            if not fs.has_failed:
                return


CHANGED = frozenset({"replace", "exchange", "move", "link", "rmdir"})


def _part(target: Path, name: str) -> bytes:
    found = [path for path in target.rglob("*") if path.is_file() and _named(str(path.relative_to(target))) == name]
    raw = found[0].read_bytes() if found else b""
    if "json" in name and raw.startswith(b"{"):
        raw = re.sub(rb'"mtime_ns": \d+', b'"mtime_ns": 1000000000', raw)
        raw = re.sub(rb'"nonce": "\w+"', b'"nonce": "%s"' % FIRST.encode(), raw)
        raw = re.sub(rb'"made_by": "[^"]*"', b'"made_by": "%s"' % MADE_HERE, raw)
    return b"" if name.endswith("/lock") else raw


def _named(name: str) -> str:
    return re.sub(r"(stage|originals)-[0-9a-f]{16}", rf"\1-{FIRST}", name)


def _receipts() -> Iterator[bytes]:
    released = Path(__file__).parents[1] / "released"
    yield from (path.read_bytes() for path in sorted(released.rglob("gte-surgery.json")))
    yield b'{"receipts":[{"written":[{"name":"config.json","size":7}]}],"theirs":{"a":[1]}}'


def _sidecars() -> Iterator[bytes]:
    parts = (
        b"README.md\0text",
        b"a/b\0->../tokenizer.json",
        b"c\0->../../secret.json",
        b"d\0|",
        b"e/f\0/",
        b".git/x\0y",
    )
    yield SEPARATOR.join(parts)
    yield from parts


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "scan": _corpora,
    "policy": lambda: iter((POLICY.encode(), *(b"[" + part.encode() for part in POLICY.split("[")[1:]))),
    "state": _states,
    "receipts": _receipts,
    "out": _sidecars,
}
