"""What broke an encoder, as text with tests to paste and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import indent
from typing import TYPE_CHECKING

from gte_surgery.render.finding import finding_head, finding_object
from gte_surgery.render.ink import count, paint, printable

if TYPE_CHECKING:
    from gte_surgery.contract.fuzz import Break
    from gte_surgery.contract.spec import IdContract


def fuzz_text(breaks: Sequence[Break], encoder: str, contract: IdContract, searched: str, color: bool = False) -> str:
    """Each finding with the smallest sequences that lead to it and a test; `searched` tells how it was looked for."""
    lines = [line for each in breaks for line in _break_lines(each, encoder, contract, color)]
    sums = paint(count(len(breaks), "break"), "error" if breaks else "good", color)
    return "\n".join((*lines, f"{printable(encoder)}: {sums} ({searched})"))


def fuzz_json(breaks: Sequence[Break], encoder: str, contract: IdContract) -> str:
    """The breaks as JSON, ASCII only: finding, sequences and test as Python code."""
    return json.dumps(
        {
            "encoder": encoder,
            "breaks": [
                {
                    **finding_object(each.finding, "pointer", "message"),
                    "sequences": str(each),
                    "test": each.test(encoder, contract),
                }
                for each in breaks
            ],
        },
        indent=2,
    )


def _break_lines(each: Break, encoder: str, contract: IdContract, color: bool) -> list[str]:
    return [
        finding_head(each.finding, str(each.finding), color),
        f"    smallest input: {each}",
        "    as a test:",
        indent(each.test(encoder, contract), " " * 8, lambda line: bool(line.strip())),
    ]
