"""The last step of every planner that edits a checkpoint: from tensors, config members and files to go, to the plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.surgery.edits import Edit, as_record
from gte_surgery.surgery.planning.parts.rewrite import Files, edited_config, source_files
from gte_surgery.surgery.planning.plan import Plan, SourceFile


def assembled(
    checkpoint: Checkpoint,
    edit: Edit,
    weights: Files,
    members: Mapping[str, object] | None = None,
    *,
    dropped: Collection[str] = (),
    removed: tuple[str, ...] = (),
    meaning: Iterable[str] = (),
    read: tuple[SourceFile, ...] = (),
) -> Plan:
    """The plan that writes `weights`, sets the config's `members`, drops others from it and removes files.

    Beside the weights it reads the files `read`. Its command is the edit's name. A plan with nothing to do has no
    meaning, and then `meaning` is not asked for it.
    """
    written, emptied = weights
    config, changes = edited_config(checkpoint, members or {}, dropped)
    files, gone = written + config, emptied + removed
    return Plan(
        command=type(edit).__name__.lower(),
        source=checkpoint.name,
        edits=as_record(edit),
        seed=getattr(edit, "seed", None),
        sources=(*source_files(checkpoint), *(read if written else ())),
        files=files,
        removed=gone,
        changes=changes,
        meaning=tuple(meaning) if files or gone else (),
    )
