"""Whether a checkpoint may be computed otherwise than the published code computes: by code that lies beside it.

Such code is read as text and never run. Asked by a rule, by conversions and by whatever runs the native model.
"""

from __future__ import annotations

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import read_whole
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.gte.families import family_of
from gte_surgery.gte.wording import listed

_MOST_CODE = 1 << 20


def local_code(checkpoint: Checkpoint, besides_models: bool = True) -> tuple[str, ...]:
    """The files of this directory that `auto_map` calls for, sorted; without those of configs and tokenizers if so
    asked."""
    mapped = checkpoint.values.get("auto_map")
    return tuple(
        sorted(
            {
                f"{value.rpartition('.')[0].replace('.', '/')}.py"
                for auto, value in (mapped.items() if isinstance(mapped, dict) else ())
                if isinstance(value, str) and "--" not in value
                if besides_models or auto.startswith("AutoModel")
            }
        )
    )


def has_code(checkpoint: Checkpoint) -> bool:
    """Whether `auto_map` calls for files of this directory, and all of them lie here."""
    names = local_code(checkpoint)
    return bool(names) and all(map(checkpoint.has, names))


def unknown_keys(checkpoint: Checkpoint) -> list[str]:
    """The members of config.json that no published code reads, in their order."""
    known = family_of(checkpoint.values).known_keys
    return [key for key in checkpoint.values if known is not None and key not in known]


def code_of(checkpoint: Checkpoint, name: str) -> str | None:
    """The text of a file of code; None where it cannot be read."""
    file = checkpoint.readable(name)
    try:
        return None if file is None else read_whole(file, _MOST_CODE).decode("utf-8", "replace")
    except CheckpointError:
        return None


def foreign_code(checkpoint: Checkpoint) -> str:
    """Why code that lies here is not the published one: "modeling_x.py reads qk_norm"; "" where none says so."""
    for name in local_code(checkpoint, besides_models=False):
        file = checkpoint.readable(name)
        if file is None:
            continue
        try:
            code = read_whole(file, _MOST_CODE).decode("utf-8", "replace")
            reads = family_of(checkpoint.values).foreign_reads(code)
        except CheckpointError as error:
            return error.message
        if reads is None:
            return f"{shown(name)} is not the published modeling code"
        if reads:
            return f"{shown(name)} reads {listed(reads)}, which the published modeling code does not"
    return ""


def require_published(checkpoint: Checkpoint) -> None:
    """Raises RefusedError where the checkpoint brings modeling code of its own: what that computes is not known."""
    if reason := foreign_code(checkpoint):
        unread = [key for key in unknown_keys(checkpoint) if key in reason]
        stated = f"; config.json states {listed(unread)}" if unread else ""
        raise RefusedError(
            f"config.json: /auto_map: {reason}{stated}: the mathematics is its author's, and unknown here",
            "run it with its own code; if it is a copy of the published code, name that in auto_map: "
            '"Alibaba-NLP/new-impl--modeling.NewModel"',
        )
