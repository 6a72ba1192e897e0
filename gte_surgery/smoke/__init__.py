"""The forward, and the backward if asked, that proves a checkpoint on a device: proofs with a measured value and a
tolerance each, speeds, and findings (GTE5xx) for what failed. Loading and attention are for `gte_surgery.model`.

The room has the name of its one verb, so it can be called: `gte_surgery.smoke(path)` is `run.smoke(path)`.

>>> from gte_surgery import SmokeOptions, new, smoke
>>> made = new("ckpt", release="gte-base-en-v1.5", layers=1, hidden=64, heads=4, intermediate=96, vocab=128)
>>> result = smoke(made.target, SmokeOptions(device="cpu", batch=4, max_length=16))
>>> result.has_passed, [speed.backend for speed in result.speeds]
(True, ['eager', 'sdpa'])
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gte_surgery.smoke.options import Progress, SmokeOptions
    from gte_surgery.smoke.result import SmokeResult


class _Room(ModuleType):
    """This package as a function."""

    def __call__(
        self, path: Path | str, options: SmokeOptions | None = None, progress: Progress | None = None
    ) -> SmokeResult:
        from gte_surgery.smoke.run import smoke

        return smoke(path, options, progress)


sys.modules[__name__].__class__ = _Room
