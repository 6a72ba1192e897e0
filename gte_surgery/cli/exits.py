"""The exit codes, the same for every command and every output format. What is said of each goes into the reference."""

from __future__ import annotations

GOOD = 0
"""good"""
FINDINGS = 1
"""`check`, `gate` or `scan` found what is as bad as `--fail-on`; a proof of `smoke` failed; `fuzz` broke an encoder"""
DIFFERENT = 1
"""`diff` found a difference"""
USAGE = 2
"""a wrong command line, or a request that no checkpoint could satisfy"""
REFUSED = 3
"""refused, or could not finish; nothing was changed, unless it is the output that could not be written"""
UNFINISHED = 4
"""an interrupted surgery must be recovered first: `gte-surgery recover`"""
BUG = 70
"""a bug in gte-surgery; the traceback is shown, please report it"""
HUNG_UP = 129
"""stopped, for the terminal was closed (128 + SIGHUP)"""
INTERRUPTED = 130
"""stopped by Ctrl-C (128 + SIGINT); as with 129 and 143, a checkpoint under surgery is wholly the old or the new one"""
READER_GONE = 141
"""whoever read the output stopped reading (128 + SIGPIPE)"""
TERMINATED = 143
"""stopped by `kill` (128 + SIGTERM)"""
