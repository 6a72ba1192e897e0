"""Looks for the smallest sequences that break an encoder: the usual edges first, then what Hypothesis draws.

One breaking input is kept for each code. The same seed finds the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from itertools import groupby, islice
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from gte_surgery.contract.frameworks import load, tensor
from gte_surgery.contract.probe import SPECIAL_TOKENS, judged
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.strategies import token_sequences
from gte_surgery.findings import Finding

_FORMS: dict[str, tuple[str, Callable[[list[int]], Any]]] = {
    "list": ("{}", list),
    "tuple": ("tuple({})", tuple),
    "numpy array": ('numpy.array({}, dtype="int64")', partial(tensor, "numpy")),
    "numpy integers": ("[numpy.int64(number) for number in {}]", lambda ids: [*map(load("numpy").int64, ids)]),
    "torch tensor": ("torch.tensor({}, dtype=torch.int64)", partial(tensor, "torch")),
    "torch integers": ("list(torch.tensor({}, dtype=torch.int64))", lambda ids: [*tensor("torch", ids)]),
}
"""What a sequence may come as, the simplest first: written as Python code, and made."""

FORMS = tuple(_FORMS)

_DRAWN = 16
"""So many ids at most are drawn one by one; longer sequences repeat a few."""

_MOST_QUESTIONS = 2000
"""So often the encoder is asked at most while an input is made smaller."""

_MOST_CUTS = 64
"""So many places of a sequence are tried for cutting out a stretch of one length."""

_SHOWN_AS_THEY_ARE = 12
_MOST_BREAKS = 8


@dataclass(frozen=True, slots=True)
class Given:
    """One sequence as the encoder gets it: ids, and the form that they come in."""

    ids: tuple[int, ...]
    form: str = "list"

    def built(self) -> Any:
        """The value itself."""
        return _FORMS[self.form][1](list(self.ids))

    def __str__(self) -> str:
        """The value as Python code."""
        return _FORMS[self.form][0].format(_written(self.ids))


@dataclass(frozen=True, slots=True)
class Break:
    """What broke an encoder: the finding, and the smallest sequences that lead to it."""

    finding: Finding
    sequences: tuple[Given, ...]

    def __str__(self) -> str:
        """The sequences as Python code."""
        return f"[{', '.join(map(str, self.sequences))}]"

    def test(self, encoder: str, contract: IdContract) -> str:
        """A test to paste: it fails as long as the encoder, named "module:callable" or, where a class makes it,
        "module:Class()", is broken so."""
        module, _, attribute = encoder.partition(":")
        name = attribute.removesuffix("()").partition(".")[0]
        frameworks = [name for name in ("numpy", "torch") if any(each.form.startswith(name) for each in self.sequences)]
        return "\n".join(
            (
                *(f"import {framework}" for framework in frameworks),
                *([""] if frameworks else []),
                "from gte_surgery import IdContract, verify",
                f"from {module} import {name}",
                "",
                "",
                f"def test_encoder_keeps_{self.finding.code.lower()}() -> None:",
                f"    contract = {_code(contract)}",
                f"    verify({attribute}, {self}, contract)",
            )
        )


def fuzz(
    encoder: Any, contract: IdContract, *, examples: int = 500, seed: int = 0, strict_exceptions: bool = False
) -> tuple[Break, ...]:
    """The ways in which an encoder breaks, one for each code, in the order in which they were found; none for a sound
    one. Each takes at most `examples` batches of sequences to find; see `verify` for what is asked.

    >>> from gte_surgery import IdContract, fuzz
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> def encode(sequences):
    ...     rows = [[int(number) for number in ids] for ids in sequences]
    ...     if any(not row or len(row) > 8 or 0 in row for row in rows):
    ...         raise ValueError("cannot be encoded")
    ...     width = max(map(len, rows))
    ...     return {"input_ids": [row + [0] * (width - len(row)) for row in rows]}
    >>> for each in fuzz(encode, contract, examples=50):
    ...     print(each.finding.code, each)
    GTE420 [[1], [1, 1]]
    """
    found: dict[str, Break] = {}
    while len(found) < _MOST_BREAKS:
        search = _Search(encoder, contract, strict_exceptions, frozenset(found))
        broken = search.run(examples, seed)
        if broken is None:
            break
        found[broken.finding.code] = broken
    return tuple(found.values())


class _BrokenError(Exception):
    """Tells Hypothesis that an example is what it looks for."""


@dataclass
class _Search:
    """One search for a code that is not `known`; from the first such finding on, for smaller inputs with that code."""

    encoder: Any
    contract: IdContract
    strict_exceptions: bool
    known: frozenset[str]
    broken: Break | None = None

    def run(self, examples: int, seed: int) -> Break | None:
        @hypothesis.seed(seed)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(_questions(self.contract))
        def holds(sequences: list[Given]) -> None:
            self.ask(tuple(sequences))

        try:
            for sequences in islice(_edges(self.contract), examples):
                self.ask(sequences)
            holds()
        except (_BrokenError, Flaky):
            return self.broken and self.smallest(self.broken)
        return None

    def smallest(self, broken: Break) -> Break:
        """The break with fewer sequences, fewer and lower ids, as lists: whatever smaller input has the same code.

        Hypothesis shrinks the choices that led to an input; a repeated pattern stays one unless taken apart here.
        """
        questions = 0
        candidates = _smaller(broken.sequences, self.contract)
        while questions < _MOST_QUESTIONS and (sequences := next(candidates, None)) is not None:
            questions += 1
            try:
                self.ask(sequences)
            except _BrokenError:
                broken = self.broken or broken
                candidates = _smaller(broken.sequences, self.contract)
        return broken

    def ask(self, sequences: tuple[Given, ...]) -> None:
        """Put one question; raises _BrokenError when the answer has the code that is looked for."""
        values = [each.built() for each in sequences]
        for finding in judged(self.encoder, values, self.contract, self.strict_exceptions):
            if finding.code in self.known or (self.broken and finding.code != self.broken.finding.code):
                continue
            self.broken = Break(finding, sequences)
            raise _BrokenError


def _code(contract: IdContract) -> str:
    """A contract as Python code, without what is at its default."""
    told = ((each.name, getattr(contract, each.name), each.default) for each in fields(contract) if each.repr)
    return f"IdContract({', '.join(f'{name}={value!r}' for name, value, default in told if value != default)})"


def _forms() -> tuple[str, ...]:
    """Those that can be built without loading torch for it."""
    return FORMS if "torch" in sys.modules else FORMS[:4]


def _edges(contract: IdContract) -> Iterator[tuple[Given, ...]]:
    """What every encoder meets some day, in every form: nothing, one id, the lowest with the highest, the longest row,
    a shorter and two longer ones, pads inside. None of it is left to chance."""
    allowed, pad, most = contract.allowed_ids, contract.pad_token_id, contract.max_length
    low, high = (next(number for number in ids if number != pad) for ids in (allowed, reversed(allowed)))
    head = () if contract.cls_token_id is None else (contract.cls_token_id,)
    long = ((head + (low,) * length)[:length] for length in (most - 1, most, most + 1, 2 * most))
    for ids in [(), (*head, low)[:1], (*head, low, high), *long, (*head, low, pad, pad, low)]:
        for form in _forms():
            yield (Given(ids, form),)


def _questions(contract: IdContract) -> st.SearchStrategy[list[Given]]:
    """Some sequences that every encoder must take; one that is difficult, that is long, empty or with pads; or both.

    Not always both: a sequence that is refused would hide what the encoder does to those beside it.
    """
    ordinary = token_sequences(contract, 1, max(min(contract.max_length - SPECIAL_TOKENS, _DRAWN), 1))
    fitting = ordinary | _repeated(contract, st.integers(1, max(contract.max_length - SPECIAL_TOKENS, 1)))
    most = contract.max_length
    limits = st.sampled_from((most, most - 1, most + 1, 2 * most))
    hard: st.SearchStrategy[list[int]] = st.one_of(_repeated(contract, limits), st.just([]), _with_pads(contract))
    forms = st.sampled_from(_forms())
    easy, difficult = (st.builds(Given, ids.map(tuple), forms) for ids in (fitting, hard))
    return st.one_of(
        st.lists(easy, min_size=1, max_size=4),
        st.lists(difficult, min_size=1, max_size=1),
        st.lists(easy | difficult, min_size=2, max_size=4),
    )


@st.composite
def _repeated(draw: st.DrawFn, contract: IdContract, lengths: st.SearchStrategy[int]) -> list[int]:
    """A few ids again and again, to one of the lengths."""
    length = draw(lengths)
    pattern = draw(token_sequences(contract, 1, 3))
    head = [] if contract.cls_token_id is None else [contract.cls_token_id]
    return (head + pattern * length)[:length]


@st.composite
def _with_pads(draw: st.DrawFn, contract: IdContract) -> list[int]:
    """A sequence with the pad id inside, once or several times over."""
    ids = draw(token_sequences(contract, 1, 8))
    at = draw(st.integers(0, len(ids)))
    return ids[:at] + [contract.pad_token_id] * draw(st.integers(1, 3)) + ids[at:]


def _smaller(sequences: tuple[Given, ...], contract: IdContract) -> Iterator[tuple[Given, ...]]:
    """Inputs a step smaller, the boldest first."""
    least = next(number for number in contract.allowed_ids if number != contract.pad_token_id)
    for at, each in enumerate(sequences):
        before, after = sequences[:at], sequences[at + 1 :]
        if before or after:
            yield before + after
        if each.form != "list":
            yield (*before, Given(each.ids), *after)
        step = len(each.ids) // 2
        while step > 0:
            for begin in range(0, min(len(each.ids), _MOST_CUTS * step), step):
                yield (*before, Given(each.ids[:begin] + each.ids[begin + step :], each.form), *after)
            step //= 2
        for place in range(min(len(each.ids), _DRAWN)):
            if each.ids[place] not in (least, contract.cls_token_id, contract.pad_token_id):
                yield (*before, Given((*each.ids[:place], least, *each.ids[place + 1 :]), each.form), *after)


def _written(ids: tuple[int, ...]) -> str:
    """Ids as a Python list; long runs of one id as `[5] * 8192`."""
    if len(ids) <= _SHOWN_AS_THEY_ARE:
        return repr(list(ids))
    parts: list[str] = []
    for number, run in groupby(ids):
        count = len(list(run))
        if count > 3:
            parts.append(f"[{number}] * {count}")
        elif parts and not parts[-1].rstrip("0123456789").endswith("* "):
            parts[-1] = parts[-1][:-1] + f", {number}" * count + "]"
        else:
            parts.append(repr([number] * count))
    return " + ".join(parts)
