"""Which source file and version each rule of a program follows: `python -m tests.docs.sources` puts the table, which is
made of the rules' own words, into CONTRIBUTING.
"""

from __future__ import annotations

import re

from gte_surgery.checks.registry import Rule, all_rules
from tests.bench.report import piped, put
from tests.docs.sessions import CONTRIBUTING

BEGIN, END = "<!-- sources: written by `python -m tests.docs.sources` -->", "<!-- sources: end -->"
_CITED = re.compile(r"\[([^\]]*\d[^\]]*\.(?:py|rs)[^\]]*)\]")
"""Program and version, file, and the function or class: "[transformers 5.24, trainer.py, _load_from_checkpoint]"."""


def of_programs() -> list[Rule]:
    """The rules that are judged only with `--for`."""
    return [rule for rule in all_rules().values() if rule.only_with.startswith("--for")]


def cited(rule: Rule) -> list[str]:
    """The sources that a rule's words name."""
    return _CITED.findall(" ".join(rule.explanation.split()))


def table() -> str:
    """Every such rule with its program, what it says, and its sources."""
    rows = ((each.code, f"`{each.only_with}`", each.title, "; ".join(cited(each))) for each in of_programs())
    return piped([("rule", "option", "says", "follows"), *rows])


if __name__ == "__main__":
    CONTRIBUTING.write_text(put(CONTRIBUTING.read_text(encoding="utf-8"), table(), BEGIN, END), encoding="utf-8")
