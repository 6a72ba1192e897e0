"""The lines of the package by room, before and now: `python -m tests.docs.rooms` puts them into CONTRIBUTING."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.bench.report import piped, put
from tests.docs.sessions import CONTRIBUTING, ROOT

BEGIN, END = "<!-- rooms: written by `python -m tests.docs.rooms` -->", "<!-- rooms: end -->"
BEFORE = {
    "surgery": 6765, "contract": 5328, "checks": 3599, "checkpoint": 2482, "cli": 2066, "smoke": 1784, "render": 1677,
    "gte": 1673, "model": 1085, ".": 350,
}  # fmt: skip
"""As version 0.1.0 began, when `vocabulary` and `compare` had no rooms of their own."""


def lines() -> Counter[str]:
    """The lines of Python in each room of the package; `.` for what lies beside the rooms."""
    package = ROOT / "gte_surgery"
    found: Counter[str] = Counter()
    for path in package.rglob("*.py"):
        found[_room(path.relative_to(package))] += len(path.read_text(encoding="utf-8").splitlines())
    return found


def table() -> str:
    """Every room, the largest first, and the sum."""
    now = lines()
    rooms = sorted({*now, *BEFORE}, key=lambda room: -now[room])
    rows = [(f"`{room}`", BEFORE.get(room, 0), now[room]) for room in rooms]
    rows.append(("all", sum(BEFORE.values()), now.total()))
    return piped([("room", "0.1.0", "now"), *((name, f"{was:,}", f"{is_:,}") for name, was, is_ in rows)])


def _room(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else "."


if __name__ == "__main__":
    CONTRIBUTING.write_text(put(CONTRIBUTING.read_text(encoding="utf-8"), table(), BEGIN, END), encoding="utf-8")
