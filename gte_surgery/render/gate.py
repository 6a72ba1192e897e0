"""What a gate will do, as text, and what came of it, as a page with a section for each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gte_surgery.findings import Code, Report, Severity, Suppression
from gte_surgery.render.formats.report import asides, counts, file_path, policy_lines, subject_and_message
from gte_surgery.render.ink import columns, printable
from gte_surgery.render.pages import filled

_ENDINGS = {
    "done": "Nothing was found.",
    "useless": "Left out, for other steps found errors that make it useless.",
    "impossible": "It could not be taken, which is ignored.",
}
"""What a page says of a step without findings."""


def explained(
    policy: str, steps: Sequence[tuple[str, str, bool]], fail_on: Severity, ignored: Sequence[Suppression]
) -> str:
    """The policy that applies, a line for each step (name, words, whether it is optional), and what counts."""
    rows = [("policy", policy or "none")]
    rows += [(name, f"{told}{', optional' if is_optional else ''}") for name, told, is_optional in steps]
    rows += [("fails on", f"{fail_on.label} or worse" if fail_on is not Severity.ERROR else "error")]
    rows += [("ignores", f"{each.code} ({each.reason})") for each in ignored]
    return columns([(subject, printable(told)) for subject, told in rows])


def gate_html(report: Report, codes: Mapping[str, Code]) -> str:
    """The page about one gate; `codes` tell what its findings mean."""
    return filled(
        "gate.html.jinja",
        title=report.checkpoint,
        judged=f"in {len(report.parts)} steps",
        counts=counts(report),
        facts=[("steps", ", ".join(part.step.name for part in report.parts if part.step))],
        figures=[],
        parts=report.parts,
        ordered=lambda part: sorted(part.findings, key=lambda finding: -finding.severity),
        endings=_ENDINGS,
        asides=asides,
        policy=policy_lines(report),
        place=file_path,
        told=subject_and_message,
        codes=codes,
    )
