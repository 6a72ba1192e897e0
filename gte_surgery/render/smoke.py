"""The result of a smoke run as text for people and as JSON for programs (schema: smoke)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from gte_surgery.findings import Severity
from gte_surgery.render.finding import finding_lines, finding_object
from gte_surgery.render.ink import columns, count, paint, printable, size
from gte_surgery.smoke.result import Proof, Quality, SmokeResult, Speed, Timed

_STYLES = {"passed": "good", "failed": "error", "skipped": "faint"}


def smoke_text(result: SmokeResult, color: bool = False) -> str:
    """What ran, one line a proof with what was measured, the table of speeds, findings, the verdict."""
    lines = [paint(printable(result.checkpoint), "strong", color), f"  {_surroundings(result)}"]
    for subject, proofs in _grouped(result.proofs).items():
        lines.append(f"  {subject}")
        lines += [f"    {line}" for line in _proof_lines(proofs, color)]
    if result.against is not None and result.against.quality is not None:
        lines += _quality_lines(result.against.quality)
    if result.timed is not None and result.speeds:
        lines.append(f"  {_timing(result.timed)}")
    if result.speeds:
        lines += columns([_HEADING, *map(_speed_row, result.speeds)], "  ").splitlines()
    lines += [line for finding in result.findings for line in finding_lines(finding, finding.message, color)]
    return "\n".join((*lines, _verdict(result, color)))


def smoke_json(result: SmokeResult) -> str:
    """Every field of the result, ASCII only."""
    value = asdict(result) | {
        "versions": dict(result.versions),
        "findings": [finding_object(finding, "message", "hint") for finding in result.findings],
        "has_passed": result.has_passed,
    }
    return json.dumps(value, indent=2)


def quality_facts(quality: Quality) -> Iterator[tuple[str, str]]:
    """What there is to say of texts, by subject."""
    told = f"{quality.texts:,}, {quality.tokens_before:,} tokens before, {quality.tokens_after:,} after"
    left_out = f", {quality.left_out:,} left out" if quality.left_out else ""
    cut = f", {quality.cut:,} cut to {quality.longest:,} tokens" if quality.cut else ""
    yield "texts", f"{told}{left_out}{cut}"
    yield "cosine", f"mean {quality.cosine:.6f}, least {quality.least_cosine:.6f}"
    yield "neighbours", f"{quality.neighbours:.4f} of the nearest {quality.nearest} in common, tau {quality.tau:.4f}"
    if (found := quality.retrieval) is not None:
        yield "nDCG@10", f"{found.ndcg_before:.4f} before, {found.ndcg_after:.4f} after, {found.queries:,} queries"
        yield "recall@10", f"{found.recall_before:.4f} before, {found.recall_after:.4f} after"


def _quality_lines(quality: Quality) -> Iterator[str]:
    yield from columns(list(quality_facts(quality)), "  ").splitlines()
    yield "  the texts that moved most"
    for each in quality.worst:
        yield printable(f"    {each.cosine:.6f}  {each.text}")


def _surroundings(result: SmokeResult) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions)
    processes = f", {result.world_size} processes" if result.world_size > 1 else ""
    if result.against is not None:
        ran = f"{count(result.against.tokens, 'token')} in both"
        return f"{result.runtime} on {result.device}{processes}; {ran}; {versions}"
    cut = f" (all positions of the model; {result.asked:,} were asked for)" if result.asked > result.width else ""
    return (
        f"{result.runtime} on {result.device}{processes}; {count(result.rows, 'row')} of up to {result.width} tokens"
        f"{cut}, {result.tokens:,} in all; {versions}"
    )


def _grouped(proofs: tuple[Proof, ...]) -> dict[str, list[Proof]]:
    """Proofs by what they are of, and by process where there are several."""
    groups: dict[str, list[Proof]] = {}
    for proof in proofs:
        process = f" (process {proof.rank})" if proof.rank else ""
        groups.setdefault(f"{proof.subject or 'checkpoint'}{process}", []).append(proof)
    return groups


def _proof_lines(proofs: list[Proof], color: bool) -> Iterator[str]:
    rows = [(proof.outcome, proof.code, proof.claim, _measured(proof)) for proof in proofs]
    for proof, line in zip(proofs, columns(rows).splitlines(), strict=True):
        yield paint(printable(line), _STYLES[proof.outcome], color)


def _measured(proof: Proof) -> str:
    if proof.outcome == "skipped":
        return proof.detail
    if proof.tolerance is None:
        return ""
    found = "not finite" if proof.measured is None else _number(proof.measured)
    if proof.bound == "at least" and proof.measured is not None:
        return f"{proof.measured:.4f}, at least {proof.tolerance:g}"
    return f"{found}, at most {_number(proof.tolerance)}"


def _number(value: float) -> str:
    """Two digits of what is measured, all of what is counted: ids, tensors, tokens."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.2g}"


def _timing(timed: Timed) -> str:
    """On what the speeds below were measured, and how."""
    rows = f"{count(timed.rows, 'row')} of {timed.shortest} to {timed.longest} tokens, {timed.tokens:,} in all"
    return f"speeds: medians of {count(timed.runs, 'warm run')} in turns on {rows}"


_HEADING = ("dtype", "backend", "path", "tokens/s", "spread", "peak memory", "error to fp32", "times eager")


def _speed_row(speed: Speed) -> tuple[str, ...]:
    return (
        speed.dtype,
        speed.backend,
        speed.path,
        f"{speed.tokens_per_second:,.0f}",
        f"{speed.spread:.0%}",
        "" if speed.peak_bytes is None else size(speed.peak_bytes),
        f"{speed.error:.1e}",
        "" if speed.speedup is None else f"{speed.speedup:.2f}",
    )


def _verdict(result: SmokeResult, color: bool) -> str:
    failed = sum(proof.outcome == "failed" for proof in result.proofs)
    passed = sum(proof.outcome == "passed" for proof in result.proofs)
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    word = paint("passed", "good", color) if result.has_passed else paint("failed", "error", color)
    sums = f"{count(passed, 'proof')} held, {failed} did not, {count(errors, 'error')}"
    return f"{printable(result.checkpoint)}: {word}: {sums} ({result.seconds:.1f} s)"
