"""What `check --fix` does before it judges: plans the safe cures, tells of them, and then applies them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gte_surgery.cli.terminal import Terminal
from gte_surgery.errors import RefusedError, UnsoundError, UsageError

if TYPE_CHECKING:
    from gte_surgery.surgery.outcome import Outcome

_MOST_ROUNDS = 3
"""An index, then names and shapes, then what can be judged only when those are right: each a surgery of its own."""


def mend(
    terminal: Terminal, checkpoint: Path, codes: Sequence[str], consumers: Sequence[str], dry_run: bool, is_aside: bool
) -> None:
    """Mends what the rules `codes` find, also those of the programs `consumers`; what came of it goes to stderr when
    `is_aside`, else to stdout.

    A checkpoint unfit for surgery is left alone, since the report that follows says what is wrong with it. Raises
    whatever else `verbs.fix` raises.
    """
    from gte_surgery.checkpoint.directory import open_checkpoint
    from gte_surgery.checkpoint.hub.address import address_of
    from gte_surgery.checkpoint.printable import pasteable
    from gte_surgery.checkpoint.sidecars import nested
    from gte_surgery.render.ink import printable
    from gte_surgery.render.plan import outcome_text

    if (address := address_of(checkpoint)) is not None:
        raise UsageError(f"{address}: lies on a hub, where nothing is changed", "download it first")
    checkpoint = inner.path if (inner := nested(open_checkpoint(checkpoint))) is not None else checkpoint
    tell = terminal.message if is_aside else terminal.result
    for number in range(_MOST_ROUNDS):
        try:
            planned = _fixed(checkpoint, codes=codes, consumers=consumers, dry_run=True)
        except UnsoundError as error:
            done = "nothing more was mended" if number else "nothing was mended"
            terminal.message(f"{done}: {printable(error.message)}")
            return
        left = [f"  {printable(sentence)}" for sentence in planned.plan.meaning]
        if planned.plan.is_empty:
            if not number:
                tell("\n".join((f"{printable(str(checkpoint))}: nothing that --fix could mend", *left)))
            return
        with terminal.progress("mending") as progress:
            outcome = planned if dry_run else _fixed(checkpoint, codes=codes, consumers=consumers, progress=progress)
        tell(outcome_text(outcome.plan, outcome.receipt, outcome.target, terminal.has_color and not is_aside))
        if dry_run:
            return
        terminal.message(f"take it back with {pasteable('undo', checkpoint)}")


def _fixed(checkpoint: Path, **how: Any) -> Outcome:
    """As `verbs.fix`; what it would do elsewhere alone is done in a copy, for `check` has no --out."""
    from shlex import split

    from gte_surgery.findings import as_word
    from gte_surgery.surgery.verbs import fix

    try:
        return fix(checkpoint, **how)
    except RefusedError as error:
        option, *given = split(error.meant) or [""]
        if option != "--out":
            raise
        copy = as_word(given[0])
        copied = f"cp -RL {as_word(str(checkpoint))} {copy} && gte-surgery check {copy} --fix"
        raise RefusedError(error.message, f"mend a copy: `{copied}`") from error
