"""What `check --fix` does before it judges: plans the safe cures, tells of them, and then applies them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gte_surgery.cli.terminal import Terminal
from gte_surgery.errors import UnsoundError

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
    from gte_surgery.checkpoint.printable import pasteable
    from gte_surgery.checkpoint.sidecars import nested
    from gte_surgery.render.ink import printable
    from gte_surgery.render.plan import outcome_text
    from gte_surgery.surgery.verbs import fix

    checkpoint = inner.path if (inner := nested(open_checkpoint(checkpoint))) is not None else checkpoint
    tell = terminal.message if is_aside else terminal.result
    for number in range(_MOST_ROUNDS):
        try:
            planned = fix(checkpoint, codes=codes, consumers=consumers, dry_run=True)
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
            outcome = planned if dry_run else fix(checkpoint, codes=codes, consumers=consumers, progress=progress)
        tell(outcome_text(outcome.plan, outcome.receipt, outcome.target, terminal.has_color and not is_aside))
        if dry_run:
            return
        terminal.message(f"take it back with {pasteable('undo', checkpoint)}")
