"""A smoke result as text and as JSON, written out."""

from __future__ import annotations

import json

from gte_surgery.findings import Finding, Location, Severity
from gte_surgery.gte.schemas import violations
from gte_surgery.render.smoke import smoke_json, smoke_text
from gte_surgery.smoke.result import Proof, SmokeResult, Speed, Timed, Unserved

RESULT = SmokeResult(
    checkpoint="ck\x1bpt",
    runtime="native",
    device="cuda:0 (NVIDIA H200)",
    world_size=2,
    versions=(("python", "3.12.3"), ("torch", "2.11.0")),
    rows=16,
    width=512,
    tokens=4321,
    proofs=(
        Proof("GTE500", "loads completely", "passed", 0, 0),
        Proof("GTE510", "outputs are finite", "failed", 3, 0, "fp16 varlen", "3 numbers are not"),
        Proof("GTE530", "the loss is finite", "failed", None, 0, "fp16 varlen", rank=1),
        Proof("GTE516", "the pad row gets no gradient", "skipped", subject="fp16 varlen", detail="no pad_token_id"),
    ),
    speeds=(
        Speed("fp16", "eager", "padded", 57_000.4, 12_300_000_000, 0.0015, 1.0, 0.031),
        Speed("fp16", "varlen", "packed", 611_000.0, None, 0.0014, 10.72, 0.5),
    ),
    unserved=(Unserved("fp16", "xformers", "not installed"),),
    findings=(Finding("GTE510", Severity.ERROR, Location(), "fp16 varlen: outputs are finite", "do this"),),
    seconds=12.34,
    timed=Timed(64, 16, 512, 16_896, 5),
)
TEXT = r"""ck\x1bpt
  native on cuda:0 (NVIDIA H200), 2 processes; 16 rows of up to 512 tokens, 4,321 in all; python 3.12.3, torch 2.11.0
  checkpoint
    passed  GTE500  loads completely  0, at most 0
  fp16 varlen
    failed   GTE510  outputs are finite            3, at most 0
    skipped  GTE516  the pad row gets no gradient  no pad_token_id
  fp16 varlen (process 1)
    failed  GTE530  the loss is finite  not finite, at most 0
  speeds: medians of 5 warm runs in turns on 64 rows of 16 to 512 tokens, 16,896 in all
  dtype  backend  path    tokens/s  spread  peak memory  error to fp32  times eager
  fp16   eager    padded  57,000    3%      12.3 GB      1.5e-03        1.00
  fp16   varlen   packed  611,000   50%                  1.4e-03        10.72
error GTE510 fp16 varlen: outputs are finite
    hint: do this
ck\x1bpt: failed: 1 proof held, 2 did not, 1 error (12.3 s)"""


def test_the_text_groups_proofs_by_what_they_are_of_and_shows_the_speeds() -> None:
    assert smoke_text(RESULT) == TEXT


def test_colours_change_no_word() -> None:
    import re

    assert re.sub(r"\x1b\[[\d;]*m", "", smoke_text(RESULT, color=True)) == TEXT


def test_the_json_follows_its_schema_and_holds_every_field() -> None:
    value = json.loads(smoke_json(RESULT))
    assert violations(value, "smoke") == []
    assert value["has_passed"] is False
    assert value["versions"] == {"python": "3.12.3", "torch": "2.11.0"}
    assert value["proofs"][2]["measured"] is None
    assert value["findings"] == [
        {"code": "GTE510", "severity": "error", "message": "fp16 varlen: outputs are finite", "hint": "do this"}
    ]


def test_a_result_that_departs_from_the_schema_is_seen() -> None:
    value = json.loads(smoke_json(RESULT)) | {"rows": -1, "extra": 1}
    assert {violation.pointer for violation in violations(value, "smoke")} >= {"/rows"}
