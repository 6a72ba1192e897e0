"""Texts as a model takes them, cut by a checkpoint's own tokenizer in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.source import path_of
from gte_surgery.vocabulary.rewriting.rewrite import load
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from gte_surgery.vocabulary.trimming.workers import started, stated

_AT_ONCE = 256
_INSTEAD = "give ids in place of texts: JSON lines with a list in --column NAME"


def framed(checkpoints: Sequence[Checkpoint], texts: Sequence[str], longest: int) -> list[list[tuple[list[int], bool]]]:
    """For each checkpoint the ids of each text, with what its tokenizer puts around a text, at most `longest`, and
    whether that cut it.

    Raises RefusedError where there is no tokenizer.json, and none can be made of older files, and for one that the
    tokenizers package refuses or dies of.
    """
    groups = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
    with TemporaryDirectory(prefix="gte-surgery-") as folder, started(1) as workers:
        for at, checkpoint in enumerate(checkpoints):
            workers.open(read_tokenizer(checkpoint).beside, **{str(at): _file(checkpoint, Path(folder, str(at)))})
        asked = [[{"do": "frame", "which": str(at), "texts": list(group), "longest": longest} for group in groups]
                 for at in range(len(checkpoints))]  # fmt: skip
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


def _file(checkpoint: Checkpoint, place: Path) -> Path:
    """Its tokenizer.json, or at `place` the one that transformers makes of its older files."""
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is not None:
        return path_of(file.place)
    place.write_bytes(load(checkpoint, _INSTEAD).contents.raw)
    return place
