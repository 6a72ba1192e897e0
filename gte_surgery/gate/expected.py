"""What a checkpoint is expected to be: by the policy, by a contract, which overrides it, and by what was typed."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from gte_surgery.checks.policy import Policy
from gte_surgery.checks.subject import Expectations


def expected(policy: Policy, contract: Path | None, typed: Expectations) -> Expectations:
    """All three together. Raises as `IdContract.read` for a contract that cannot be read."""
    return _overridden(_overridden(policy.expectations, _contracted(contract or policy.contract)), typed)


def _contracted(path: Path | None) -> Expectations:
    """What the contract in a file expects of the checkpoint; nothing without a file."""
    if path is None:
        return Expectations()
    from gte_surgery.contract.spec import IdContract

    return IdContract.read(path).expectations()


def _overridden(stated: Expectations, given: Expectations) -> Expectations:
    """What is stated, where nothing else is given."""
    names = [field.name for field in fields(given)]
    return replace(stated, **{name: value for name in names if (value := getattr(given, name)) is not None})
