"""`smoke --against`: the claims about another checkpoint, and the quality of texts, as proofs of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint, open_found, open_near
from gte_surgery.checks.subject import config_of
from gte_surgery.errors import UsageError
from gte_surgery.smoke.against.claims import claims_between
from gte_surgery.smoke.against.quality import measure_quality
from gte_surgery.smoke.against.texts import read_corpus
from gte_surgery.smoke.ledger import Ledger
from gte_surgery.smoke.options import Progress, SmokeOptions
from gte_surgery.smoke.prove.run import prover
from gte_surgery.smoke.result import Compared, Quality
from gte_surgery.smoke.subject import Subject
from gte_surgery.surgery.planning.claim import Claim, Verdict


def compare(subject: Subject, old: Path | str, ledger: Ledger, progress: Progress) -> Compared:
    """Prove of the subject what it should preserve of the checkpoint `old`, and measure what became of the texts that
    the options name.
    """
    options, after = subject.options, subject.checkpoint
    before = open_found(old, lambda path: open_near(path, progress))
    ledger.subject = f"against {before.name}"
    claims = _claims(before, after, options, ledger)
    batches = tokens = 0
    if claims:
        progress(f"proving what it preserves of {before.name}")
        verdict = prover(str(subject.device))(claims, before, after)
        batches, tokens = verdict.batches, verdict.tokens
        _record(claims, verdict, ledger)
    quality = _quality(subject, before, options.texts, claims, ledger, progress) if options.texts is not None else None
    return Compared(before.name, batches, tokens, quality)


def _claims(before: Checkpoint, after: Checkpoint, options: SmokeOptions, ledger: Ledger) -> tuple[Claim, ...]:
    """The claims; none, which is said, where only texts can be compared."""
    try:
        return claims_between(before, after, options.map)
    except UsageError as error:
        if options.texts is None or options.map is not None:
            raise
        ledger.skip("GTE580", "it preserves what it should", error.message)
        return ()


def _quality(
    subject: Subject, before: Checkpoint, texts: Path, claims: Sequence[Claim], ledger: Ledger, progress: Progress
) -> Quality:
    options, after = subject.options, subject.checkpoint
    new_ids = next((_new_ids(claim) for claim in claims if claim.kind == "states"), None)
    files = (texts, options.queries, options.column)
    longest = min(options.max_length, *(config_of(each).max_position_embeddings for each in (before, after)))
    corpus = read_corpus((before, after), files, new_ids, longest)
    progress(f"embedding {len(corpus.shown)} texts by both")
    name = options.dtypes(subject.device.type)[0]
    quality = measure_quality(before, after, corpus, subject.device, name)
    judge(quality, options, ledger)
    return quality


def _new_ids(claim: Claim) -> dict[int, int]:
    new, old = claim.pairs()
    return dict(zip(reversed(old), reversed(new), strict=True))


def judge(quality: Quality, options: SmokeOptions, ledger: Ledger) -> None:
    """Hold the figures against the thresholds of the options."""
    ledger.prove_least("GTE590", "embeddings are near, mean cosine", quality.cosine, options.min_cosine)
    near = f"neighbours stay, share of the nearest {quality.nearest}"
    ledger.prove_least("GTE591", near, quality.neighbours, options.min_neighbours)
    ledger.prove_least("GTE592", "neighbours keep their order, Kendall's tau", quality.tau, options.min_tau)
    if quality.retrieval is not None:
        found = quality.retrieval
        for code, claim, was, now in (
            ("GTE593", "positives keep their ranks, nDCG@10", found.ndcg_before, found.ndcg_after),
            ("GTE594", "positives are found, recall@10", found.recall_before, found.recall_after),
        ):
            ledger.prove_least(code, f"{claim}, {was:.4f} before", now, was - options.max_loss)


def _record(claims: tuple[Claim, ...], verdict: Verdict, ledger: Ledger) -> None:
    """One proof a claim where all hold, else what did not."""
    if verdict.outcome == "refuted":
        ledger.fail("GTE580", "it preserves what it should", verdict.told)
    elif verdict.outcome == "inconclusive":
        ledger.fail("GTE581", "what it preserves can be proved", verdict.told)
    else:
        for claim in claims:
            measured = verdict.largest if claim.kind == "states" else 0.0
            ledger.record("GTE580", claim.sentence, "passed", "", measured, claim.tolerance)
