"""`smoke --against`: the claims about another checkpoint, and the quality of texts, as proofs of the run."""

from __future__ import annotations

from gte_surgery.checkpoint.directory import Checkpoint, open_found, open_near
from gte_surgery.smoke.against.claims import claims_between
from gte_surgery.smoke.ledger import Ledger
from gte_surgery.smoke.options import Progress, SmokeOptions
from gte_surgery.smoke.prove.run import prover
from gte_surgery.smoke.result import Compared, Proof
from gte_surgery.smoke.subject import Subject
from gte_surgery.surgery.planning.claim import Claim, Verdict


def compare(subject: Subject, ledger: Ledger, progress: Progress) -> Compared:
    """Prove of the subject what it should preserve of the checkpoint that the options name."""
    options, after = subject.options, subject.checkpoint
    before = open_found(str(options.against), lambda path: open_near(path, progress))
    ledger.subject = f"against {before.name}"
    claims = _claims(before, after, options, ledger)
    verdict = None
    if claims:
        progress(f"proving what it preserves of {before.name}")
        verdict = prover(str(subject.device))(claims, before, after)
        _record(claims, verdict, ledger)
    return Compared(before.name, verdict.batches if verdict else 0, verdict.tokens if verdict else 0)


def _claims(before: Checkpoint, after: Checkpoint, options: SmokeOptions, ledger: Ledger) -> tuple[Claim, ...]:
    return claims_between(before, after, options.map)


def _record(claims: tuple[Claim, ...], verdict: Verdict, ledger: Ledger) -> None:
    """One proof a claim where all hold, else what did not."""
    if verdict.outcome == "refuted":
        ledger.fail("GTE580", "it preserves what it should", verdict.told)
    elif verdict.outcome == "inconclusive":
        ledger.fail("GTE581", "what it preserves can be proved", verdict.told)
    else:
        for claim in claims:
            measured = verdict.largest if claim.kind == "states" else 0.0
            ledger.proofs.append(
                Proof("GTE580", claim.sentence, "passed", measured, claim.tolerance, ledger.subject, "", ledger.rank)
            )
