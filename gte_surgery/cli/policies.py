"""Which gte-surgery.toml applies to a command, and which came with a checkpoint and does not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gte_surgery.checks.policy import Policy


def policy_of(checkpoints: Sequence[Path], given: Path | None, is_without: bool = False) -> Policy:
    """The policy of `--config` or `--policy`, else the project's, else an empty one. Raises UsageError where it cannot
    be read, or ignores a code that there is not.
    """
    from gte_surgery.checks.policy import Policy, find_policy, read_policy
    from gte_surgery.checks.run import require_known
    from gte_surgery.cli.codes import all_codes

    if is_without:
        if given is not None:
            raise click.UsageError("--config and --no-config: must be one of them")
        return Policy()
    found = given or find_policy(*checkpoints)
    if found is None:
        return Policy()
    policy = read_policy(found if given else Path(os.path.relpath(found)))
    require_known([each.code for each in policy.suppressions], all_codes())
    return policy


def over(checkpoint: Path, policy: Policy) -> tuple[str, ...]:
    """The policies that came with the checkpoint: those beside it but the one that applies, and the project's own,
    which --config and --no-config leave aside.
    """
    from gte_surgery.checkpoint.printable import shown
    from gte_surgery.checks.policy import find_policy, passed_over

    found, own = passed_over(checkpoint, Path(policy.source or os.devnull)), find_policy(checkpoint)
    return tuple(shown(os.path.relpath(path)) for path in found if own is None or not path.samefile(own))
