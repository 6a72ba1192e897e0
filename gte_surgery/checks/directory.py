"""GTE001 to GTE029 and GTE060 to GTE079: the directory, its files, its index, and what surgeries leave behind.

The faults are found by `gte_surgery.checkpoint.directory`; here each kind gets its code, its weight and its explanation.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.directory import FaultKind
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity


@rule("GTE001", Severity.ERROR)
def not_a_checkpoint(subject: Subject) -> Iterator[Observation]:
    """The path holds no checkpoint.

    A checkpoint is a directory with a config.json and weights in safetensors files, or one .safetensors file with its
    config.json beside it. Check the path; after a training run, look one folder further down.
    """
    return _reported(subject, FaultKind.NOT_A_CHECKPOINT)


def _reported(subject: Subject, kind: FaultKind) -> Iterator[Observation]:
    for fault in subject.faults(kind):
        yield Observation(fault.location, fault.message, fault.hint)
