"""Tokenizers without a tokenizer.json: transformers makes one of the older files, in a child process, so that texts can
be cut and ids be known; it is never written. That those files follow is proved by having it made again of the new ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import read_whole
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.vocabulary.confined import alone
from gte_surgery.vocabulary.token_files import (
    MOST_BYTES,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    VOCABULARIES,
    contents_of,
    made_whole,
)
from gte_surgery.vocabulary.tokenizer import read_tokenizer

WAY_OUT = "say what becomes of the tokenizer's files: --tokenizer keep or --tokenizer remove"
_CLASS = ("model_type", "tokenizer_class")
"""The members of config.json from which transformers chooses the class of a tokenizer."""


def made(checkpoint: Checkpoint) -> bytes:
    """The tokenizer.json that transformers makes of the files of a checkpoint that has none. Raises RefusedError where
    it makes none.
    """
    if checkpoint.has(TOKENIZER_JSON) or not any(checkpoint.readable(name) for name in VOCABULARIES):
        raise RefusedError(_none(checkpoint), made_whole(checkpoint))
    for name, why in read_tokenizer(checkpoint).trouble.items():
        raise RefusedError(f"{_none(checkpoint)}: {name}: {why}")
    return made_with(checkpoint, {})


def made_with(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> bytes:
    """The same where some `files` are other ones."""
    others = contents_of(checkpoint, (name for name in TOKENIZER_FILES if name not in files))
    chosen = {key: checkpoint.values[key] for key in _CLASS if key in checkpoint.values}
    with TemporaryDirectory(prefix="gte-surgery-") as name:
        for file, raw in {**others, **files, "config.json": json.dumps(chosen).encode()}.items():
            (Path(name) / file).write_bytes(raw)
        try:
            with alone(*Path(name).iterdir()) as asked:
                asked(_make, Path(name))
        except RefusedError as error:
            raise RefusedError(f"{_none(checkpoint)}: {error.message}", error.hint) from None
        result = Path(name) / TOKENIZER_JSON
        if (size := result.stat().st_size) > MOST_BYTES:
            raise RefusedError(f"{_none(checkpoint)}: transformers makes {size} bytes, at most {MOST_BYTES} are read")
        return read_whole(result, MOST_BYTES)


def require_made(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The older ones of rewritten `files`, if transformers makes the tokenizer.json among them of these. Raises
    RefusedError where it makes another one.
    """
    older = {name: raw for name, raw in files.items() if name != TOKENIZER_JSON}
    if TOKENIZER_JSON not in files:
        return older
    again = made_with(checkpoint, older)
    if again != files[TOKENIZER_JSON]:
        found, wanted = json.loads(again), json.loads(files[TOKENIZER_JSON])
        parts = [*(f"model/{key}" for key in wanted["model"] if found["model"].get(key) != wanted["model"][key]),
                 *(key for key in wanted if key != "model" and found.get(key) != wanted[key])]  # fmt: skip
        if parts:
            raise RefusedError(
                f"{_none(checkpoint)}: of the files with the new ids transformers would make another {parts[0]}",
                f"{made_whole(checkpoint)}; or {WAY_OUT}",
            )
    return older


def _none(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.name}: no {TOKENIZER_JSON} that could be rewritten"


def _make(folder: Path) -> None:
    """In a child process: writes tokenizer.json beside older files, as transformers makes it of them, without running
    code that lies there. Raises CheckpointError.
    """
    os.environ |= {"HF_HUB_OFFLINE": "1", "USE_TORCH": "0", "TRANSFORMERS_VERBOSITY": "critical"}
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise CheckpointError(
            f"transformers: cannot be imported: {error}", "`pip install 'gte-surgery[smoke]'`"
        ) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_JSON), pretty=False)
    except Exception as error:  # noqa: BLE001 - whatever it raises says that it makes none
        why = " ".join(str(error).split())[:200].replace(str(folder), "the folder")
        raise CheckpointError(f"transformers makes none of the older files: {type(error).__name__}: {why}") from None
