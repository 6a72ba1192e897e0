"""The policy that `gate --init` writes: what a checkpoint and a corpus are today, each line open to change.

Nothing is accepted in the user's place: what is found today stands there as a comment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checks.description import Description, describe
from gte_surgery.checks.run import run
from gte_surgery.errors import GteSurgeryError, UnavailableError
from gte_surgery.findings import Report
from gte_surgery.gate.jobs import named
from gte_surgery.gte.wording import counted

_ROWS = 1000
_STEPS = """
# [encoder]                       # gate looks for sequences that break it, as `gte-surgery fuzz` does; its code runs
# callable = "my_project.encoding:encode"
# examples = 500
"""
_QUALITY = """
# [quality]                       # what became of texts since another checkpoint; members are the options of smoke
# against = "runs/before"
# texts = "texts.txt"
# min-cosine = 0.99
"""


def draft(checkpoint: Checkpoint, place: Path, corpora: Sequence[str], folder: Path) -> str:
    """The text of a policy that lies in `folder`, for a checkpoint at `place` and for corpora. Raises GteSurgeryError
    where the checkpoint is none; what is wrong with it, or with the corpora, is told in the policy."""
    report = run(checkpoint)
    parts = [
        "# What `gte-surgery gate` judges before a training run, and `gte-surgery check` as well.",
        "# `gte-surgery gate --explain` tells what will be done; `gte-surgery schema policy` what may stand here.",
        "",
        f"checkpoint = {_string(_relative(named(place), folder))}",
        'fail-on = "error"                 # or "warning", "note"',
        "",
        *_expectations(describe(checkpoint)),
        *_accepted(report),
        "",
        *(_corpus(place, corpora, folder) if corpora else _no_corpus()),
        *_STEPS.splitlines(),
        "",
        *_smoke(),
        *_QUALITY.splitlines(),
    ]
    return "\n".join(parts) + "\n"


def _expectations(found: Description) -> Iterator[str]:
    yield "[expect]                          # a difference is an error"
    if found.sizes is not None:
        yield f"vocab = {found.sizes.vocab_size}"
        yield f"type-vocab = {found.sizes.type_vocab_size}"
    if found.pad is not None:
        yield f"pad = {found.pad.id}"
    yield '# consumers = ["transformers5"]   # the programs that shall load it; also transformers4, vllm, tei, ...'


def _accepted(report: Report) -> Iterator[str]:
    yield ""
    yield "[ignore]                          # findings that do not count: a code, and the reason"
    for code, group in groupby(report.findings, lambda finding: finding.code):
        first = next(iter(group))
        yield f"# {code} = {_string('why it may be so')}  # {first.severity.label}: {_string(str(first))[1:-1]}"


def _no_corpus() -> Iterator[str]:
    yield "# [data]                          # gate scans it by the ids and masks that the checkpoint takes"
    yield '# paths = ["corpus/*.parquet"]'


def _corpus(place: Path, corpora: Sequence[str], folder: Path) -> Iterator[str]:
    """The table of the corpus; what its first rows are like is tried."""
    from gte_surgery.contract.scan.corpus import scan

    yield "[data]"
    yield f"paths = [{', '.join(_string(_relative(path, folder)) for path in corpora)}]"
    yield f"# limit = {_ROWS}                  # look at the first rows only"
    yield '# ids = "input_ids"               # the columns, where they have other names; also mask, types, labels, ...'
    try:
        found = scan(place, *corpora, workers=1, limit=_ROWS)
    except GteSurgeryError as error:
        yield f"# today: {_string(error.message)[1:-1]}"
        return
    told = ", ".join(sorted({finding.code for finding in found.findings})) or "nothing found"
    yield f"# today, in the first {counted(found.summary.rows, 'row')}: {told}"


def _smoke() -> Iterator[str]:
    """The table of the smoke run, for the fastest device that is here."""
    if find_spec("torch") is None:
        yield "# [smoke]                         # needs gte-surgery[smoke], which is not installed here"
        yield '# device = "cuda"'
        return
    yield "[smoke]                           # the forward that proves it; members are the options of smoke"
    yield f'device = "{_device()}"'
    yield "batch = 4"
    yield "max-length = 64"
    yield "# train = 3                       # training steps to take"
    yield "# optional = true                 # a note and no error where it cannot run"


def _device() -> str:
    from gte_surgery.model.load import find_device

    try:
        return str(find_device("cuda").type)
    except UnavailableError:
        return "cpu"


def _relative(path: str, folder: Path) -> str:
    return path if path.startswith("hf://") or os.path.isabs(path) else os.path.relpath(path, folder)


def _string(text: str) -> str:
    """The text as a TOML basic string, whose escapes are those of JSON but for surrogates [TOML 1.0, "String"]."""
    return json.dumps(text.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
