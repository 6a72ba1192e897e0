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
HUNG_UP = 129
"""The terminal was closed, as shells count it: 128 + SIGHUP."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""
READER_GONE = 141
"""Whoever read our output stopped reading: 128 + SIGPIPE."""
TERMINATED = 143
"""`kill`: 128 + SIGTERM."""
