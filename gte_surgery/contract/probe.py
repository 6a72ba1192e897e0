"""What an encoder is asked and what it must answer: sequences of ids in, one row for each out, nothing lost or changed.

`verify` puts one question; `fuzz` looks for the question that breaks the encoder.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.batch.structure import IDS
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.frameworks import plain
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import BatchError, GteSurgeryError, UsageError
from gte_surgery.findings import Finding, Location, Report, Severity
from gte_surgery.gte.wording import counted

SPECIAL_TOKENS = 2
"""So many tokens an encoder may add to a sequence, and refuse one that leaves no room for them."""


_REFUSALS = (ValueError, GteSurgeryError)
"""What an encoder may raise on what it need not take; the latter is what `collate` and `GteAdapter` raise."""


_IMPORTABLE = "imported from the working directory, or from where `python -c 'import sys; print(sys.path)'` says"


def find_encoder(name: str, folder: Path = Path()) -> tuple[Any, bool]:
    """The object that "package.module:attribute" names, its module imported from `folder` or wherever Python finds it,
    and whether that is a class, which is called without arguments. Raises UsageError for none."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"--encoder {name}: must be MODULE:CALLABLE", "for example my_project.encoding:encode")
    if (here := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
        return (found(), True) if isinstance(found, type) else (found, False)
    except Exception as error:  # the module is the user's, and so is whatever it raises
        raise UsageError(f"--encoder {name}: cannot be had: {type(error).__name__}: {error}", _IMPORTABLE) from error


def verify(encoder: Any, sequences: Sequence[Any], contract: IdContract, *, strict_exceptions: bool = False) -> None:
    """Ask an encoder for one batch. Raises BatchError where the answer breaks the contract or is not that of the
    sequences.

    `encoder` has `encode_batch(sequences, add_special_tokens=…, max_length=…)`, or is called with the sequences alone.
    It may add two special tokens at the ends of a row. It may refuse an empty sequence, one too long, or one with the
    pad id inside by ValueError, unless `strict_exceptions`; cut one only when given max_length, or with a warning.

    >>> from gte_surgery import IdContract, verify
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> verify(lambda sequences: {"input_ids": [ids[:2] for ids in sequences]}, [[5, 6, 7]], contract)
    Traceback (most recent call last):
    gte_surgery.errors.BatchError: GTE492 /input_ids/0: 2 tokens of 3, must be all or an error
    """
    findings = tuple(judged(encoder, sequences, contract, strict_exceptions))
    if findings:
        raise BatchError(Report("batch", findings, (), ()))


def judged(encoder: Any, sequences: Sequence[Any], contract: IdContract, strict_exceptions: bool) -> list[Finding]:
    """What is wrong with the answer of an encoder; see `verify`."""
    wanted: list[list[int]] = [list(plain(each)) for each in sequences]
    call = _caller(encoder, contract)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            first, second = call(deepcopy(sequences)), call(deepcopy(sequences))
    except Exception as error:  # noqa: BLE001 - whatever an encoder raises is what was looked for
        return list(_raised(error, wanted, contract, strict_exceptions))
    if errors := _errors(first, contract):
        return errors
    rows = _rows(first, contract)
    found = list(_compared(rows, wanted, contract, bool(warned) or may_cut(encoder)))
    if not found and (_errors(second, contract) or _rows(second, contract) != rows):
        found.append(_finding("GTE494", "another batch the second time, must be the same"))
    return found


def may_cut(encoder: object) -> bool:
    """Whether an encoder may cut what is too long without a word: one that is told max_length with each call."""
    return callable(getattr(encoder, "encode_batch", None))


def is_hard(sequence: Sequence[int], contract: IdContract) -> bool:
    """Whether an encoder may refuse a sequence: nothing in it, no room for special tokens, or a pad among tokens."""
    has_room = len(sequence) <= max(contract.max_length - SPECIAL_TOKENS, 1)
    return not sequence or not has_room or contract.pad_token_id in sequence


def _caller(encoder: Any, contract: IdContract) -> Callable[[Sequence[Any]], object]:
    encode = getattr(encoder, "encode_batch", None)
    if callable(encode):
        return lambda sequences: encode(sequences, add_special_tokens=True, max_length=contract.max_length)
    if not callable(encoder):
        raise UsageError(f"{type(encoder).__name__}: cannot be called and has no encode_batch")
    return lambda sequences: encoder(sequences)


def _raised(
    error: Exception, wanted: list[list[int]], contract: IdContract, strict_exceptions: bool
) -> Iterator[Finding]:
    may_refuse = any(is_hard(each, contract) for each in wanted)
    if strict_exceptions or not may_refuse or not isinstance(error, _REFUSALS):
        rest = ", may be a ValueError" if may_refuse and not strict_exceptions else ", must be encoded"
        yield _finding("GTE490", f"{type(error).__name__}: {error}{rest}")


def _errors(batch: object, contract: IdContract) -> list[Finding]:
    return [each for each in check_batch(batch, contract).findings if each.severity is Severity.ERROR]


def _rows(batch: Any, contract: IdContract) -> list[list[int]]:
    """The tokens of each row of a sound batch, without padding; none where it holds vectors in place of ids."""
    return [[number for number in row if number != contract.pad_token_id] for row in plain(batch.get(IDS)) or []]


def _compared(
    rows: list[list[int]], wanted: list[list[int]], contract: IdContract, is_cutter: bool
) -> Iterator[Finding]:
    if len(rows) != len(wanted):
        told = f"{counted(len(rows), 'row')} for {counted(len(wanted), 'sequence')}, must be as many"
        yield _finding("GTE491", told)
        return
    asked = [[number for number in sequence if number != contract.pad_token_id] for sequence in wanted]
    if rows != asked and sorted(rows) == sorted(asked):
        yield _finding("GTE493", "the rows are those of the sequences in another order, must be in order", f"/{IDS}")
        return
    for number, (row, tokens) in enumerate(zip(rows, asked, strict=True)):
        if _contains(row, tokens) or (is_cutter and _is_cut(row, tokens, contract.max_length)):
            continue
        place = f"/{IDS}/{number}"
        if len(row) < len(tokens):
            found = f"{counted(len(row), 'token')} of {len(tokens):,}, must be all or an error"
            yield _finding("GTE492", found, place)
        else:
            yield _finding("GTE493", "not the ids of the sequence, must be them between special tokens", place)
        return


def _contains(row: list[int], tokens: list[int]) -> bool:
    """Whether the tokens stand in the row one after another, with two special tokens around them at most."""
    spare = len(row) - len(tokens)
    begins = range(spare + 1 if spare <= SPECIAL_TOKENS else 0)
    return any(row[begin : begin + len(tokens)] == tokens for begin in begins)


def _is_cut(row: list[int], tokens: list[int], most: int) -> bool:
    """Whether the row is full and holds as many of the first or of the last tokens as there is room for."""
    sizes = range(max(most - SPECIAL_TOKENS, 1), most + 1)
    return len(row) == most and any(_contains(row, tokens[:size]) or _contains(row, tokens[-size:]) for size in sizes)


def _finding(code: str, message: str, pointer: str = "") -> Finding:
    return CODES[code].found(Location(pointer=pointer), message)
