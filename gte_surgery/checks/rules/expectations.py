"""GTE150 to GTE159: what the user expects of the checkpoint, given as --vocab, --ids, --pad, --type-vocab, --contract.

Only what is stated is compared. Whether the tables have the rows that the config promises is for the tensor rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity


@rule("GTE150", Severity.ERROR, requires=SOUND)
def unexpected_vocabulary(subject: Subject) -> Iterator[Observation]:
    """The vocabulary does not have the size that --vocab expects.

    The tokenizer or encoder that will feed the model makes ids up to that size. Fewer rows mean an IndexError, on CUDA
    an assertion that poisons the whole process; more rows are only waste, but then something else than you think was
    built. `gte-surgery resize CKPT --vocab N --pad ID` makes it so.
    """
    yield from _compared(subject, "vocab_size", subject.expectations.vocab)


@rule("GTE151", Severity.ERROR, requires=SOUND)
def unexpected_pad(subject: Subject) -> Iterator[Observation]:
    """The pad id is not the one that --pad expects.

    Batches padded with another id feed a real token's row at every padded place, and the row that never trains is some
    ordinary token's. `gte-surgery resize CKPT --vocab N --pad ID` moves it and zeroes the new row.
    """
    yield from _compared(subject, "pad_token_id", subject.expectations.pad)


@rule("GTE152", Severity.ERROR, requires=SOUND)
def unexpected_type_vocabulary(subject: Subject) -> Iterator[Observation]:
    """The type vocabulary does not have the size that --type-vocab expects.

    With 0 the model takes no token types, with 1 it adds the same row to every token, from 2 on it tells segments
    apart. `gte-surgery resize CKPT --vocab N --pad ID --type-vocab T` changes config and table together.
    """
    yield from _compared(subject, "type_vocab_size", subject.expectations.type_vocab)


@rule("GTE153", Severity.ERROR, requires=SOUND)
def too_few_positions(subject: Subject) -> Iterator[Observation]:
    """The model has fewer positions than the contract's max_length.

    Rows of that length will be fed. Rotary angles beyond max_position_embeddings were never trained, and a table of
    absolute positions ends there. Lower max_length in the contract, or take a checkpoint that was trained longer.
    """
    expected, held = subject.expectations.max_length, subject.config.max_position_embeddings
    if expected is not None and held < expected:
        yield Observation(subject.at("max_position_embeddings"), f"{held}, expected at least {expected}")


@rule("GTE154", Severity.ERROR, requires=SOUND)
def unexpected_width(subject: Subject) -> Iterator[Observation]:
    """The model does not have the width that the contract expects.

    inputs_embeds of another width cannot be fed, and vectors that come out do not fit an index of the old ones.
    """
    yield from _compared(subject, "hidden_size", subject.expectations.hidden)


@rule("GTE155", Severity.ERROR, requires=SOUND)
def too_few_rows(subject: Subject) -> Iterator[Observation]:
    """The table has fewer rows than there are ids.

    --ids, or the contract, says how many ids will be fed. On a CPU an id without a row is an IndexError, on CUDA an
    assertion that poisons the whole process. `gte-surgery resize CKPT --vocab N --pad ID` gives the table more rows.
    """
    rows, ids = subject.config.vocab_size, subject.expectations.ids
    if ids is not None and rows < ids:
        yield Observation(subject.at("vocab_size"), f"{rows}, expected at least {ids} for as many ids")


@rule("GTE156", Severity.NOTE, requires=SOUND)
def spare_rows(subject: Subject) -> Iterator[Observation]:
    """The table has more rows than ids, and more than rounding explains.

    Tables are rounded up to a multiple of 64 or 128 for speed; the spare rows of that are never looked up. Many more
    may mean that the ids are not all of those that the model was made for.
    `gte-surgery resize CKPT --vocab N --pad ID` takes rows away.
    """
    rows, ids = subject.config.vocab_size, subject.expectations.ids
    if ids is not None and rows - ids >= ROUNDING:
        yield Observation(subject.at("vocab_size"), f"{rows}, {rows - ids} more than the {ids} ids")


ROUNDING = 128
"""The multiple that tables are rounded up to at most."""


def _compared(subject: Subject, key: str, expected: int | None) -> Iterator[Observation]:
    found = getattr(subject.config, key)
    if expected is not None and found != expected:
        hint = _cure(subject, key)
        yield Observation(subject.at(key), f"{'none' if found is None else found}, expected {expected}", hint)


def _cure(subject: Subject, key: str) -> str:
    """The resize that meets what is expected of vocabulary, pad and types at once; "" where none can."""
    config, expected, facts = subject.config, subject.expectations, subject.family.facts
    types = expected.type_vocab
    if key not in ("vocab_size", "pad_token_id", "type_vocab_size"):
        return ""
    rows = config.vocab_size if expected.vocab is None else expected.vocab
    if rows < 1 or (expected.pad is not None and not 0 <= expected.pad < rows):
        return ""
    command = subject.resized(rows, expected.pad)
    if types is None or types == config.type_vocab_size:
        return command
    if types < facts.least_types or (types and not facts.has_types):
        return ""
    return f"{command} --type-vocab {types}"
