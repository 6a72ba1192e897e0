"""What a plan leaves alone: carried along into a new directory, refused where that cannot be done or where it stands in
the way.

Nothing that this checkpoint does not own is written over or left out without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry
from gte_surgery.checkpoint.index import INDEX_NAME
from gte_surgery.checkpoint.listing import why_unusable
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.receipts import RECEIPT_NAME
from gte_surgery.errors import RefusedError
from gte_surgery.findings import as_word
from gte_surgery.surgery.commit.tree import STATE_FOLDER
from gte_surgery.surgery.planning.plan import Plan, WeightFile

NOT_CARRIED = (STATE_FOLDER, ".git")
"""What is kept for undo and what git keeps belong to the old directory."""

_SHOWN = 5


def carried(plan: Plan, checkpoint: Checkpoint | None) -> list[FileEntry]:
    """The files that the plan leaves alone."""
    replaced = {file.name for file in plan.files} | set(plan.removed) | {RECEIPT_NAME}
    files = checkpoint.files if checkpoint is not None else ()
    return [file for file in files if file.name not in replaced]


def require_carriable(files: Sequence[FileEntry], checkpoint: Checkpoint | None) -> None:
    """Raises RefusedError if a file cannot be copied: a link that leads out, a fifo, a socket, a device."""
    for file in files:
        unusable = why_unusable(file, checkpoint.links_out if checkpoint is not None else ())
        if unusable:
            path = as_word(str(checkpoint.path / file.name)) if checkpoint else file.name
            raise RefusedError(
                f"{shown(file.name)}: {unusable}, cannot be carried into a new directory",
                f"put a file of its own in its place, or remove it: `rm {path}`",
            )


def require_known(plan: Plan, checkpoint: Checkpoint | None) -> None:
    """Raises RefusedError if a file that is not of this checkpoint has a name that the plan writes to."""
    if checkpoint is None:
        return
    own = {shard.file.name for shard in checkpoint.shards} | ({INDEX_NAME} if checkpoint.index else set())
    if plan.command == "fix":
        own |= {INDEX_NAME, *(source.name for source in plan.sources)}  # what is mended: an index, or shards without
    written = [file.name for file in plan.files if isinstance(file, WeightFile) or file.name == INDEX_NAME]
    strangers = [name for name in written if checkpoint.has(name) and name not in own]
    if strangers:
        names = ", ".join(map(shown, strangers[:_SHOWN]))
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        root = checkpoint.path.resolve()
        aside = root.with_name(f"{root.name}-others")
        paths = " ".join(as_word(str(root / name)) for name in strangers)
        raise RefusedError(
            f"{names}{more}: not of this checkpoint, and the surgery would write files of that name",
            f"set aside what you want to keep: `mkdir -p {as_word(str(aside))} && mv -n {paths} {as_word(str(aside))}`",
        )


def empty_folders(root: Path) -> Iterator[str]:
    """Relative names of the folders below `root` that hold nothing; no link is followed."""
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in NOT_CARRIED]
        if not folders and not files and Path(folder) != root:
            yield Path(folder).relative_to(root).as_posix()
