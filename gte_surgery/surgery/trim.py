"""`trim` as a function: counts texts, chooses the tokens that they use, and has the rows remapped to those; the ids
that config.json names are kept too.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gte_surgery.checkpoint.files import Progress
from gte_surgery.errors import UsageError
from gte_surgery.surgery.edits import TrainingState, Trim
from gte_surgery.surgery.outcome import Outcome, Surgical, require_keywords
from gte_surgery.surgery.planning.roles import CONFIG_IDS
from gte_surgery.surgery.planning.target import Target, understand
from gte_surgery.surgery.verbs import carried_out, opened, require_places
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.vocabulary.trimming.choice import Wish, read_tokens
from gte_surgery.vocabulary.trimming.trim import Corpus, trimmed

if TYPE_CHECKING:
    from typing_extensions import Unpack


def trim(
    path: Path | str,
    *,
    texts: Path | str | Sequence[Path | str] = (),
    counts: Path | str | Sequence[Path | str] = (),
    column: str | None = None,
    top: int | None = None,
    coverage: float | None = None,
    min_count: int | None = None,
    keep_tokens: Path | str | Sequence[str] | None = None,
    weight: Sequence[int] = (),
    held_out: float = 0.0,
    write_counts: Path | str | None = None,
    round_to: int = 1,
    seed: int = 0,
    training_state: TrainingState = "refuse",
    **manner: Unpack[Surgical],
) -> Outcome:
    """Cuts the vocabulary of the checkpoint in `path` to the tokens that `texts`, files of them, use, or that files of
    `counts` count; table, tokenizer and config together.

    Without `top`, `coverage` or `min_count` every token that occurs is kept, and then every text that was counted is
    cut as before, which is proved on each of its distinct words. With `top` alone the first tokens are kept. Each text
    of a file counts as often as its `weight` says. `keep_tokens` is a file, or tokens. The plan's `meaning` holds the
    report, on the share `held_out` of the texts too, and its `curve` what other sizes come to. In place or into `out`;
    raises as `resize` does.
    """
    require_keywords(trim, manner)
    tokens = read_tokens(Path(keep_tokens)) if isinstance(keep_tokens, (Path, str)) else tuple(keep_tokens or ())
    written = None if write_counts is None else Path(write_counts)
    corpus = Corpus(_paths(texts), _paths(counts), column, held_out, written, tuple(weight))
    wish = Wish(top, coverage, min_count, tokens)
    if not (corpus.texts or corpus.counts or top):
        raise UsageError(
            "trim: nothing to count",
            "give texts with --texts FILE, or counts with --counts FILE; --top K alone keeps the first K tokens",
        )
    require_places(path, manner.get("out"))
    checkpoint = opened(path)
    target = understand(checkpoint, lambda names: names.sized_by_vocabulary)
    origins = trim_origins(target, corpus, wish, manner.get("threads"), manner.get("progress"))
    held = target.tensors[target.names.words].shape[0]
    edit = Trim(origins, round_to=round_to, seed=seed, training_state=training_state)
    if list(origins.old) == [*range(origins.rows)] and edit.rows == held:
        rows = array("q", range(held))  # those that were rounded up to are not drawn anew
        edit = replace(edit, origins=replace(origins, rows=held, new=rows, old=rows, offsets=range(held + 1)))
    return carried_out(checkpoint, edit, **manner)


def _paths(given: Path | str | Sequence[Path | str]) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, (Path, str)) else tuple(map(Path, given))


def trim_origins(target: Target, corpus: Corpus, wish: Wish, threads: int | None, progress: Progress | None) -> RowMap:
    """The rows that are kept. Raises UsageError and RefusedError as `trimmed` does."""
    named = [target.config.pad_token_id, *(target.values.get(key) for key in CONFIG_IDS)]
    sized = [target.tensors[name] for name in target.names.sized_by_vocabulary if name in target.tensors]
    widths = [(math.prod(each.shape[1:]), each.nbytes // each.shape[0]) for each in sized if each.nbytes]
    width = sum(each for each, _ in widths), sum(nbytes for _, nbytes in widths)
    special = [number for number in named if type(number) is int]
    return trimmed(target.checkpoint, corpus, wish, special=special, width=width, threads=threads, progress=progress)
