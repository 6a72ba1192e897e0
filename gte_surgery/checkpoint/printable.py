"""Names out of files, made fit for one line of a message: a hostile name cannot forge lines or drive a terminal.

And command lines for hints, which work when they are pasted.
"""

from __future__ import annotations

from pathlib import Path

from gte_surgery.findings import as_path, as_word, out_of

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
    words = ("gte-surgery", verb, as_path(str(path)), *options, *out_of(verb, str(path)))
    return f"`{' '.join(map(as_word, words))}`"
