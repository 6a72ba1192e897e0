"""The exit codes, the same for every command and every output format."""

from __future__ import annotations

GOOD = 0
FINDINGS = 1
"""`check` found something at or above `--fail-on`."""
DIFFERENT = 1
"""`diff` found a difference."""
USAGE = 2
REFUSED = 3
"""Refused, or could not finish; nothing was changed."""
UNFINISHED = 4
"""An interrupted surgery must be recovered first."""
BUG = 70
INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""
READER_GONE = 141
"""Whoever read our output stopped reading, as shells count it: 128 + SIGPIPE."""
