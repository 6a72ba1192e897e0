"""Names out of files, made fit for one line of a message: a hostile name cannot forge lines or drive a terminal.

And command lines for hints, which work when they are pasted.
"""

from __future__ import annotations

from pathlib import Path

from gte_surgery.findings import out_of

_LONGEST = 300


def shown(name: str) -> str:
    """`name` with line breaks, control characters and bytes that are not UTF-8 as escapes, cut at 300 characters."""
    if len(name) > _LONGEST:
        name = name[: _LONGEST - 1] + "…"
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def pasteable(verb: str, path: Path | str, *options: str) -> str:
    """A command line of ours in backquotes, fit for a shell: ("check", "my ckpt") → `gte-surgery check 'my ckpt'`."""
    from shlex import join

    return f"`{join(('gte-surgery', verb, shown(str(path)), *options, *out_of(verb, str(path))))}`"
