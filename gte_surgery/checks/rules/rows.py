"""GTE230 to GTE249: the few rules that look at weights, and no further than they must.

The pad row is one read; zero rows are looked for at both ends of the table and at the special tokens; a stored decoder
weight is compared in pieces, up to the first difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.shards import is_zero, norm, read_rows, row_nbytes
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.rules.tensors import COMPLETE, READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.gte.kinds import Head
from gte_surgery.gte.wording import SHOWN, counted, listed

EDGE_ROWS = 1024
"""So many rows at either end of the table are searched for zeros."""
FEW_ROWS = 128
"""And so many where each row must be fetched from a hub."""
_PIECE = 1 << 20
_READABLE_ROWS = (*COMPLETE, "GTE110", "GTE204", "GTE205", "GTE207", "GTE209")


@rule("GTE230", Severity.WARNING, requires=_READABLE_ROWS)
def pad_row_not_zero(subject: Subject) -> Iterator[Observation]:
    """The pad row is not zero.

    The row starts as zero and gets no gradient, so it should still be zero. Where every mask is right, nothing depends
    on it, hence a warning and no error: models fine-tuned elsewhere do have such rows. But whoever pools without a
    mask, or moved the pad id onto a token that was trained, has that token's meaning at every padded place, and it
    will never train again. A masked-LM head that is tied to the table trains the row through its decoder, so after
    masked-LM training it is not zero any more. `gte-surgery resize CKPT --vocab N --pad ID` zeroes the row.
    """
    words, pad = subject.stored(subject.names.words), subject.config.pad_token_id
    if words is None or pad is None or not 0 <= pad < words.shape[0]:
        return
    row = read_rows(words, pad)
    if not is_zero(row, words.dtype):
        size = norm(row, words.dtype)
        found = f"norm {size:.4g}" if size is not None else "not zero"
        token = subject.tokenizer.tokens.get(pad)
        named = f" (`{token}` of the tokenizer)" if token else ""
        told = f"row {pad}, the pad row{named}, has {found}, must be zero"
        if subject.head is Head.MASKED_LM and subject.config.tie_word_embeddings:
            told += ", unless masked-LM training moved it: the decoder is tied to it"
        yield Observation(subject.at_tensor(words.name), told)


@rule("GTE231", Severity.NOTE, requires=_READABLE_ROWS)
def zero_rows(subject: Subject) -> Iterator[Observation]:
    """Rows other than the pad row are all zero.

    Such a token says nothing until it is trained. A former pad row looks like this, and so may spare rows at the end of
    the table. Looked at are the first and the last 1024 rows and those of the tokenizer's special tokens; with
    --values the whole table.
    """
    words = subject.stored(subject.names.words)
    if words is None or not words.nbytes:
        return
    tokens = subject.tokenizer.tokens
    seen = subject.statistics.get(words.name) if subject.has_values else None
    has_all = seen is not None and seen.norms is not None
    if seen is not None and has_all:
        count, zero = seen.zero_rows(SHOWN, besides=subject.config.pad_token_id)
    else:
        zero = sorted(_zero_rows(words, tokens) - {subject.config.pad_token_id})
        count = len(zero)
    if zero:
        shown = listed([f"{row} (`{tokens[row]}`)" if row in tokens else str(row) for row in zero], count)
        message = f"{counted(count, 'row')} all zero beside the pad row: {shown}"
        searched = (
            ""
            if has_all or words.shape[0] <= 2 * _edge_rows(words)
            else "; searched: both ends of the table and the special tokens"
        )
        yield Observation(subject.at_tensor(words.name), message + searched)


@rule("GTE240", Severity.ERROR, requires=(*READABLE, "GTE201", "GTE204", "GTE205", "GTE209"))
def decoder_not_tied(subject: Subject) -> Iterator[Observation]:
    """The stored decoder weight differs from the word embeddings to which the config ties it.

    The masked-LM decoder and the word embeddings are one matrix, stored once. Here are two: some loaders use the one,
    some the other, and training goes on from whichever came last. Remove the decoder weight, or set
    tie_word_embeddings to false if it was trained apart.
    """
    decoder, words = subject.stored(subject.names.decoder), subject.stored(subject.names.words)
    if decoder is None or words is None or not subject.config.tie_word_embeddings:
        return
    if decoder.dtype != words.dtype:
        message = f"{decoder.dtype}, but it is tied to `{words.name}`, which is {words.dtype}"
        yield Observation(subject.at_tensor(decoder.name), message)
        return
    differing = _first_difference(decoder, words)
    if differing is not None:
        message = f"differs from `{words.name}`, to which it is tied, at row {differing}"
        yield Observation(subject.at_tensor(decoder.name), message)


@rule("GTE241", Severity.NOTE, requires=(*READABLE, "GTE201", "GTE204", "GTE205", "GTE209", "GTE240"))
def decoder_stored_twice(subject: Subject) -> Iterator[Observation]:
    """The decoder weight is stored although it is the word embeddings once more.

    The masked-LM decoder is tied to the word embeddings, and no release stores it: loaders take it from there. The copy
    wastes disk and time, and is one more place to forget when the table changes. `gte-surgery check CKPT --fix` drops
    it.
    """
    decoder, words = subject.stored(subject.names.decoder), subject.stored(subject.names.words)
    if decoder is not None and words is not None and subject.config.tie_word_embeddings:
        message = f"{decoder.nbytes:,} bytes, the same as `{words.name}`"
        yield Observation(subject.at_tensor(decoder.name), message, "gte-surgery check CKPT --fix")


def _edge_rows(words: StoredTensor) -> int:
    return EDGE_ROWS if words.shard.file.place.near is not None else FEW_ROWS


def _zero_rows(words: StoredTensor, special: Iterable[int]) -> set[int]:
    """Indices of the rows that hold zero bytes only, at the table's ends and among `special`."""
    rows = words.shape[0]
    edge = _edge_rows(words)
    head = min(edge, rows)
    spans = [(0, head), (max(head, rows - edge), rows), *((row, row + 1) for row in special if 0 <= row < rows)]
    zero: set[int] = set()
    for begin, end in spans:
        raw, width = read_rows(words, begin, end - begin), row_nbytes(words)
        zero.update(
            row for row in range(begin, end) if not raw[(row - begin) * width : (row - begin + 1) * width].strip(b"\0")
        )
    return zero


def _first_difference(one: StoredTensor, other: StoredTensor) -> int | None:
    """The first row in which two tables of equal shape and dtype differ byte for byte, or None."""
    width = max(1, row_nbytes(one)) if one.shape[0] else 1
    step = max(1, _PIECE // width)
    for first in range(0, one.shape[0], step):
        count = min(step, one.shape[0] - first)
        left, right = read_rows(one, first, count), read_rows(other, first, count)
        if left != right:
            rows = (slice(row * width, (row + 1) * width) for row in range(count))
            return first + next(row for row, at in enumerate(rows) if left[at] != right[at])
    return None
