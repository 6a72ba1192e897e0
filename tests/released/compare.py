"""What may differ between the answer of a release and today's: what is volatile, and what came later.

A member that the release did not write may have been added to any JSON object, and a rule that it did not know may find
something; everything else is as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any

VOLATILE = {
    "hint", "title", "explanation", "time", "seconds", "tool", "version", "versions", "speeds", "measured", "ruleIndex",
}  # fmt: skip
"""Members that hold words of advice, clocks, versions, speeds, rounding errors, or a place in a list that may grow."""
CODE = re.compile(r"GTE\d{3}")
CODE_KEYS = ("code", "id", "ruleId")


def codes_in(answer: Any) -> set[str]:
    return set(CODE.findall(str(answer)))


def differences(before: Any, now: Any, known: Set[str], at: str = "") -> Iterator[str]:
    """Where today's value is not the release's, whose codes were `known`; a line each."""
    if isinstance(before, dict) and isinstance(now, dict):
        later = [found for found in now.get("findings", ()) if _is_later(found, known)]
        for key, value in before.items():
            if key not in now:
                yield f"{at}/{key}: is gone"
            elif key == "counts" and later:
                yield from differences(value, _without(now[key], later), known, f"{at}/{key}")
            elif key not in VOLATILE or isinstance(before.get("runs"), list):
                yield from differences(value, now[key], known, f"{at}/{key}")
    elif isinstance(before, list) and isinstance(now, list):
        kept = [each for each in now if not _is_later(each, known)]
        if len(kept) != len(before):
            yield f"{at}: {len(before)} entries, now {len(kept)}: {[each for each in kept if each not in before][:3]}"
        for number, (old, new) in enumerate(zip(before, kept, strict=False)):
            yield from differences(old, new, known, f"{at}/{number}")
    elif before != now or type(before) is not type(now):
        yield f"{at}: {before!r}, now {now!r}"


def _is_later(entry: Any, known: Set[str]) -> bool:
    """Whether it speaks of a code that the release did not know."""
    if isinstance(entry, dict):
        entry = next((entry[key] for key in CODE_KEYS if key in entry), None)
    return isinstance(entry, str) and CODE.fullmatch(entry) is not None and entry not in known


def _without(counts: dict[str, int], findings: list[dict[str, Any]]) -> dict[str, int]:
    return {kind: count - sum(found["severity"] == kind for found in findings) for kind, count in counts.items()}
