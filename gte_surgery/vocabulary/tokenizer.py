"""How many ids the tokenizer of a checkpoint makes, and which tokens it adds to its vocabulary.

A tokenizer.json of up to 1 MiB is opened with the tokenizers package where that is installed: it settles the ids of
added tokens as they will be used. The package needs 50 times the file's size in memory, so a larger file, and any file
where the package is absent, is read here: in pieces, in constant memory, entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import opened, read_at, read_whole
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.source import Opened, Place
from gte_surgery.errors import CheckpointError

TOKENIZER_JSON = "tokenizer.json"
PACKAGE_LIMIT = 1 << 20
"""So many bytes of tokenizer.json are given to the tokenizers package; it would take 1 GB of memory for 18 MB."""
_READ_LIMIT = 1 << 28
_PIECE = 1 << 20

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_VOCABULARY = re.compile(rb'"vocab"\s*:\s*([\[{])')
_SCORED = re.compile(rb"\s*\[\s*" + _STRING + rb"\s*,\s*-?[0-9.eE+-]+\s*\]\s*([,\]])", re.DOTALL)
"""An entry of a Unigram vocabulary, whose ids count from 0: ["▁the", -3.4]."""
_NUMBERED = re.compile(rb"\s*" + _STRING + rb"\s*:\s*([0-9]{1,9})\s*([,}])", re.DOTALL)
"""An entry of a WordPiece, BPE or WordLevel vocabulary: "the": 262."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`rows`: the least number of table rows that holds every id of the vocabulary proper; `added`: tokens beside it
    by id, as messages show them. Tokens that are part of the vocabulary may be among the added ones.
    """

    rows: int
    added: Mapping[int, str] = field(default_factory=dict)


def read_vocabulary(checkpoint: Checkpoint) -> Vocabulary | None:
    """The vocabulary that tokenizer.json holds; None where there is none or it cannot be read. Never raises."""
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is None:
        return None
    found = _ask_package(file.place) if file.size <= PACKAGE_LIMIT else None
    return found or scan_vocabulary(file.place)


def scan_vocabulary(place: Place) -> Vocabulary | None:
    """The vocabulary of a tokenizer.json without the package; added tokens are left to `sidecars.special_tokens`."""
    try:
        with opened(place) as file:
            rows = _scan(file) if file.identity.size <= _READ_LIMIT else None
    except CheckpointError:
        return None
    return Vocabulary(rows) if rows is not None else None


def _ask_package(place: Place) -> Vocabulary | None:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    try:
        tokenizer = Tokenizer.from_buffer(read_whole(place, PACKAGE_LIMIT))
        ids = tokenizer.get_vocab(with_added_tokens=False).values()
        added = {number: shown(token.content) for number, token in tokenizer.get_added_tokens_decoder().items()}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - the package answers a bad file with Exception, or with pyo3's PanicException
        return None
    return Vocabulary(max(ids, default=-1) + 1, added)


def _scan(file: Opened) -> int | None:
    """The rows that the first "vocab" of the file needs, read piece by piece; None where it has none or breaks off."""
    buffer, offset = b"", 0
    entry: Callable[[bytes, int], re.Match[bytes] | None] | None = None
    is_scored, rows = False, 0
    while piece := read_at(file, offset, _PIECE):
        offset += len(piece)
        buffer += piece
        at = 0
        if entry is None:
            opening = _VOCABULARY.search(buffer)
            if opening is None:
                buffer = buffer[-64:]
                continue
            is_scored, at = opening[1] == b"[", opening.end()
            entry = (_SCORED if is_scored else _NUMBERED).match
        while found := entry(buffer, at):
            at = found.end()
            rows = rows + 1 if is_scored else max(rows, int(found[1]) + 1)
            if found[found.re.groups] != b",":
                return rows
        buffer = buffer[at:]
        if len(buffer) > _PIECE:
            return None
    return None
