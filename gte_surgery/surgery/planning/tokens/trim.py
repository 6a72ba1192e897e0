"""From a checkpoint and a corpus to the row map of a `Trim`: the ids that config.json names are kept too."""

from __future__ import annotations

import math

from gte_surgery.checkpoint.files import Progress
from gte_surgery.surgery.planning.meaning import CONFIG_IDS
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.vocabulary.trimming.choice import Wish
from gte_surgery.vocabulary.trimming.trim import Corpus, trimmed


def trim_origins(target: Target, corpus: Corpus, wish: Wish, threads: int | None, progress: Progress | None) -> RowMap:
    """The rows that are kept. Raises UsageError and RefusedError as `trimmed` does."""
    named = [target.config.pad_token_id, *(target.values.get(key) for key in CONFIG_IDS)]
    tables = [target.tensors.get(name) for name in target.names.sized_by_vocabulary]
    widths = [(math.prod(table.shape[1:]), table.nbytes // table.shape[0]) for table in tables if table is not None]
    width = sum(each for each, _ in widths), sum(nbytes for _, nbytes in widths)
    special = [number for number in named if type(number) is int]
    return trimmed(target.checkpoint, corpus, wish, special=special, width=width, threads=threads, progress=progress)
