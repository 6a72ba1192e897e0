"""Texts as a model takes them, cut by a checkpoint's own tokenizer in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.source import path_of
from gte_surgery.vocabulary.confined import alone
from gte_surgery.vocabulary.rewriting.rewrite import load
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from gte_surgery.vocabulary.trimming.child import frame, open_tokenizers
from gte_surgery.vocabulary.trimming.words import reach

_AT_ONCE = 256
_INSTEAD = "give ids in place of texts: JSON lines with a list in --column NAME"


def framed(checkpoints: Sequence[Checkpoint], texts: Sequence[str], longest: int) -> list[list[tuple[list[int], bool]]]:
    """For each checkpoint the ids of each text, with what its tokenizer puts around a text, at most `longest`, and
    whether that cut it.

    Raises RefusedError where there is no tokenizer.json, and none can be made of older files, and for one that the
    tokenizers package refuses or dies of.
    """
    groups = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
    framed = []
    for checkpoint in checkpoints:
        with TemporaryDirectory(prefix="gte-surgery-") as folder, alone() as asked:
            file = _file(checkpoint, Path(folder, TOKENIZER_JSON))
            asked(open_tokenizers, {"old": file}, read_tokenizer(checkpoint).beside)
            framed.append([ids for group in groups for ids in asked(frame, "old", group, longest)])
    return framed


def reached(checkpoint: Checkpoint) -> tuple[int, str, str] | None:
    """The greatest id that the checkpoint's tokenizer.json really gives, its token, and the text that it came of; None
    where the file or the tokenizers package is not there.

    Raises RefusedError for a tokenizer that the package refuses or dies of.
    """
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is None or find_spec("tokenizers") is None:
        return None
    path = path_of(file.place)
    with alone(path) as asked:
        found: tuple[int, str, str] = asked(reach, path, read_tokenizer(checkpoint).beside)
    return found


def _file(checkpoint: Checkpoint, place: Path) -> Path:
    """Its tokenizer.json, or at `place` the one that transformers makes of its older files."""
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is not None:
        return path_of(file.place)
    place.write_bytes(load(checkpoint, _INSTEAD).contents.raw)
    return place
