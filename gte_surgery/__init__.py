"""gte-surgery: validates, rewrites and smoke-tests GTE encoder checkpoints without loading them.

The verbs of the command line are functions here: `check`, `resize`, `new`, `undo`, `recover`, `history`, beside
`open_checkpoint`, which reads. Each name is resolved on first use, so that `import gte_surgery` costs nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"
