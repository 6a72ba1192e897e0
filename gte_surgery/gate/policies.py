"""Which gte-surgery.toml applies, and which came with a checkpoint and does not; and what a checkpoint is expected to
be: by the policy, by a contract, which overrides it, and by what was typed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.policy import Policy, find_policy, passed_over, read_policy
from gte_surgery.checks.run import require_known
from gte_surgery.checks.subject import Expectations
from gte_surgery.errors import UsageError


def policy_of(checkpoints: Sequence[Path], given: Path | None, is_without: bool = False) -> Policy:
    """The policy of `--config` or `--policy`, else the project's, else an empty one. Raises UsageError where it cannot
    be read, or ignores a code that there is not.
    """
    if is_without:
        if given is not None:
            raise UsageError("--config and --no-config: must be one of them")
        return Policy()
    found = given or find_policy(*checkpoints)
    if found is None:
        return Policy()
    from gte_surgery.gate.codes import all_codes

    policy = read_policy(found if given else Path(os.path.relpath(found)))
    require_known([each.code for each in policy.suppressions], all_codes())
    return policy


def over(checkpoint: Path, policy: Policy) -> tuple[str, ...]:
    """The policies that came with the checkpoint: those beside it but the one that applies, and the project's own,
    which --config and --no-config leave aside.
    """
    found, own = passed_over(checkpoint, Path(policy.source or os.devnull)), find_policy(checkpoint)
    return tuple(shown(os.path.relpath(path)) for path in found if own is None or not path.samefile(own))


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
