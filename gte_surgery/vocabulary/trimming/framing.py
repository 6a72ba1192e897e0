"""Texts as a model takes them, cut by a checkpoint's own tokenizer in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.source import path_of
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from gte_surgery.vocabulary.trimming.workers import started, stated

_AT_ONCE = 256


def framed(checkpoints: Sequence[Checkpoint], texts: Sequence[str], longest: int) -> list[list[tuple[list[int], bool]]]:
    """For each checkpoint the ids of each text, with what its tokenizer.json puts around a text, at most `longest`, and
    whether that cut it.

    Raises RefusedError where there is no such file, and for one that the tokenizers package refuses or dies of.
    """
    files = {str(at): _file(checkpoint) for at, checkpoint in enumerate(checkpoints)}
    groups = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
    with started(1) as workers:
        for at, checkpoint in enumerate(checkpoints):
            workers.open(read_tokenizer(checkpoint).beside, **{str(at): files[str(at)]})
        asked = [[{"do": "frame", "which": which, "texts": list(group), "longest": longest} for group in groups]
                 for which in files]  # fmt: skip
        return [[ids for answer in workers.spread(each) for ids in answer["ids"]] for each in asked]


def reached(checkpoint: Checkpoint) -> tuple[int, str, str] | None:
    """The greatest id that the checkpoint's tokenizer.json really gives, its token, and the text that it came of; None
    where the file or the tokenizers package is not there.

    Raises RefusedError for a tokenizer that the package refuses or dies of.
    """
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is None or find_spec("tokenizers") is None:
        return None
    with started(1) as workers:
        beside = stated(read_tokenizer(checkpoint).beside)
        (found,) = workers.all({"do": "reach", "path": str(path_of(file.place)), "beside": beside})
    return found["id"], found["token"], found["text"]


def _file(checkpoint: Checkpoint) -> Path:
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is None:
        hint = "give ids in place of texts: JSON lines with a list in --column NAME"
        raise RefusedError(f"{checkpoint.name}: no {TOKENIZER_JSON} that could cut texts", hint)
    return path_of(file.place)
