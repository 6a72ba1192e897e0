"""SHA-256 of files as they are, several at once."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gte_surgery.checkpoint.files import FileEntry, Progress, adding_up, sha256_of

_MOST_THREADS = 4


def digests(files: list[FileEntry], progress: Progress) -> Mapping[FileEntry, str]:
    """SHA-256 of each file as hex digits, a few files at a time. Raises OSError."""
    from concurrent.futures import ThreadPoolExecutor

    if not files:
        return {}
    advance = adding_up(progress, sum(file.size for file in files))
    with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1, _MOST_THREADS)) as pool:
        digests = pool.map(lambda file: sha256_of(file.place, advance), files)
        return dict(zip(files, digests, strict=True))
