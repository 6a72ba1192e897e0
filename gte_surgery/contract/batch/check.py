"""Judges one batch by the contract of its model: the gate before the GPU.

A clean batch of tensors costs a few whole-tensor operations; only a batch that is not clean is walked through, so that
the report can say where. Bad input never raises; it becomes a finding.
"""

from __future__ import annotations

from gte_surgery.contract.batch.rows import offences_of
from gte_surgery.contract.batch.structure import framed
from gte_surgery.contract.batch.verdict import is_clean
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.terms import Terms
from gte_surgery.errors import BatchError
from gte_surgery.findings import Finding, Report, Severity

_RULES = tuple(code for code in CODES if code < "GTE480")


def check_batch(batch: object, contract: Terms, *, allow_int32: bool = False, raise_on_error: bool = False) -> Report:
    """Judge a batch: a mapping with input_ids or inputs_embeds, and any of attention_mask, token_type_ids,
    position_ids and labels, as torch tensors on any device, numpy arrays, or nested lists.

    Columns and rows count from 0 in the findings. `allow_int32` lets int32 ids pass. With `raise_on_error` a finding
    of severity error raises BatchError, which carries the report.

    >>> from gte_surgery import IdContract, check_batch
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> report = check_batch({"input_ids": [[5, 128], [7, 0]], "attention_mask": [[1, 1], [1, 0]]}, contract)
    >>> print(report.findings[0].code, report.findings[0])
    GTE414 /input_ids/0/1: 128 at row 0, column 1, must be below vocab_size 128
    """
    report = Report("batch", tuple(_findings(batch, contract, allow_int32)), (), _RULES)
    if raise_on_error and report.worst is Severity.ERROR:
        raise BatchError(report)
    return report


def _findings(batch: object, contract: Terms, allow_int32: bool) -> list[Finding]:
    frame = framed(batch, contract, allow_int32)
    if not frame.members or (not frame.findings and is_clean(frame, contract)):
        return frame.findings
    return sorted((*frame.findings, *offences_of(frame, contract)), key=lambda finding: finding.code)
