"""Every code that a finding can have, whichever room makes it, for the commands that document them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gte_surgery.checks.registry import all_rules
from gte_surgery.contract.codes import CODES as BATCH_CODES
from gte_surgery.findings import Code
from gte_surgery.gate.codes import CODES as GATE_CODES
from gte_surgery.smoke.codes import CODES as SMOKE_CODES


def all_codes() -> Mapping[str, Code]:
    """The rules for checkpoints and the codes of batches, encoders, smoke runs and gates, in order of code."""
    codes: dict[str, Code] = {**all_rules(), **BATCH_CODES, **SMOKE_CODES, **GATE_CODES}
    return MappingProxyType(dict(sorted(codes.items())))
