"""What judging a checkpoint yields: findings, where they point, and the report that collects them.

Plain frozen data. Rules make these values, `render` turns them into text, the command line into an exit code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, replace
from enum import IntEnum
from shlex import quote
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeVar

MOST_ALIKE = 1_000
"""Faults of one kind that are told one by one, whatever the format; a hostile index could make a million."""


class Severity(IntEnum):
    """How bad a finding is: an error breaks or corrupts, a warning may, a note informs."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Location:
    """Where a finding points: a file of the checkpoint, and in it a JSON value or a tensor.

    `file` is relative to the checkpoint, with "/" between folders; `line` and `column` count from 1;
    `pointer` is a JSON pointer [RFC 6901]. Empty or None means "not that precise".
    """

    file: str = ""
    line: int | None = None
    column: int | None = None
    pointer: str = ""
    tensor: str = ""

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        subject = f"`{self.tensor}`" if self.tensor else self.pointer
        return ": ".join(part for part in (place, subject) if part)


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement. `message` says what was found and what was wanted, `hint` what to do."""

    code: str
    severity: Severity
    location: Location
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = str(self.location)
        return f"{place}: {self.message}" if place else self.message

    def pasteable(self, checkpoint: str) -> Finding:
        """With the checkpoint's own name, fit for a shell, where the hint says CKPT, and another for DIR."""
        if "CKPT" not in self.hint:
            return self
        checkpoint = as_path(checkpoint)
        out, verb = as_word(f"{checkpoint}-2"), _SURGERY.search(self.hint)
        if verb and (wanted := out_of(verb[1], checkpoint)):
            out = wanted[1]
            if "--out DIR" not in self.hint:
                return replace(self, hint=self.hint.replace("CKPT", f"{as_word(checkpoint)} --out {out}", 1))
        return replace(self, hint=self.hint.replace("CKPT", as_word(checkpoint)).replace("--out DIR", f"--out {out}"))


_SURGERIES = ("resize", "remap", "trim", "convert", "reinit")
_SURGERY = re.compile(f"gte-surgery ({'|'.join(_SURGERIES)}) CKPT")
_ON_A_HUB = re.compile(r"hf:/+[^/]+/([^/@]+)")


def as_word(text: str) -> str:
    """A text as one word for a shell; what no terminal shows by its bytes, as bash, ksh and zsh read them."""
    if text.isprintable():
        return quote(text)
    return f"$'{''.join(map(_typed, text))}'"


def _typed(char: str) -> str:
    if char.isprintable():
        return f"\\{char}" if char in "\\'" else char
    is_byte = "\udc80" <= char <= "\udcff"  # of a name that is no text [PEP 383]
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass"))


def as_path(text: str) -> str:
    """A path that no program takes for an option."""
    return f"./{text}" if text.startswith("-") else text


def out_of(verb: str, checkpoint: str) -> tuple[str, ...]:
    """What a surgery on a hub needs, where nothing is changed: ("--out", "gte-edited") for hf://org/gte; else ()."""
    found = _ON_A_HUB.match(checkpoint) if verb in _SURGERIES else None
    return ("--out", f"{found[1]}-edited") if found else ()


@dataclass(frozen=True, slots=True)
class Code:
    """What a code stands for where no rule of `gte_surgery.checks` carries it: batches are judged in one pass for all
    their codes. `title` is one line, `explanation` what `gte-surgery explain` prints below it; `only_with` tells who
    judges so.
    """

    code: str
    severity: Severity
    title: str
    explanation: str
    requires: tuple[str, ...] = ()
    only_with: str = ""

    def found(self, location: Location, message: str, hint: str = "") -> Finding:
        """A finding under this code."""
        return Finding(self.code, self.severity, location, message, hint)


def documented(table: str, only_with: str = "") -> Mapping[str, Code]:
    """Codes by the text that documents them: of each, with a blank line between, a line of code, severity and title,
    then the explanation.
    """
    entries = (entry.partition("\n") for entry in table.strip().split("\n\n"))
    heads = ((*head.split(" ", 2), explanation) for head, _, explanation in entries)
    return MappingProxyType(
        {
            code: Code(code, Severity[severity.upper()], title, explanation, only_with=only_with)
            for code, severity, title, explanation in heads
        }
    )


@dataclass(frozen=True, slots=True)
class SkippedRule:
    """A rule that could not be judged, because the rules `because` (their codes) found errors."""

    code: str
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suppression:
    """A wish to hear nothing of the rules whose codes start with `code`, with the `reason` and where it was stated."""

    code: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class SuppressedFinding:
    """A finding that does not count, because someone who knew it said so."""

    finding: Finding
    suppression: Suppression


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a gate: its name, what it was to do in words, how it ended ("done", "useless" after the errors of
    another, "impossible"), and how long it took.
    """

    name: str
    told: str
    ending: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """All that `check` has to say of one checkpoint: findings in order of code and place, and what was not judged.

    `suppressed` findings are not among `findings`; `unused` suppressions found nothing to suppress. `policy` is the
    path of the gte-surgery.toml that was followed, empty without one; those `passed_over` came with the checkpoint.
    Places are relative to the checkpoint, or to `folder` where there is one. A report of several has them as `parts`,
    each that of a `step` where a gate made it.
    """

    checkpoint: str
    findings: tuple[Finding, ...]
    skipped: tuple[SkippedRule, ...]
    rules: tuple[str, ...]
    suppressed: tuple[SuppressedFinding, ...] = ()
    unused: tuple[Suppression, ...] = ()
    policy: str = ""
    passed_over: tuple[str, ...] = ()
    folder: str | None = None
    step: Step | None = None
    parts: tuple[Report, ...] = ()

    @classmethod
    def of(
        cls, checkpoint: str, parts: Iterable[Report], policy: str = "", passed_over: tuple[str, ...] = ()
    ) -> Report:
        """One report of several. A suppression is unused where no part used it, a rule skipped where none judged it."""
        parts = tuple(parts)
        used = {each.suppression for part in parts for each in part.suppressed}
        judged = {code for part in parts for code in {*part.rules} - {rule.code for rule in part.skipped}}
        skipped = dict.fromkeys(rule for part in parts for rule in part.skipped if rule.code not in judged)
        unused = dict.fromkeys(each for part in parts for each in part.unused if each not in used)
        return cls(
            checkpoint,
            tuple(finding for part in parts for finding in part.findings),
            tuple(skipped),
            tuple(dict.fromkeys(code for part in parts for code in part.rules)),
            tuple(each for part in parts for each in part.suppressed),
            tuple(unused),
            policy,
            passed_over,
            parts=parts,
        )

    @property
    def each(self) -> tuple[Report, ...]:
        """The parts, or this report where it has none."""
        return self.parts or (self,)

    @property
    def worst(self) -> Severity | None:
        return max((finding.severity for finding in self.findings), default=None)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


class _Told(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def message(self) -> str: ...


Told = TypeVar("Told", bound=_Told)


def several(alike: Iterable[Told], most: int = MOST_ALIKE) -> Iterator[Told]:
    """The first `most` of what is all of one kind, the last of them with a count of the rest."""
    last: Told | None = None
    rest = 0
    for number, each in enumerate(alike, start=1):
        if number < most:
            yield each
        elif number == most:
            last = each
        else:
            rest += 1
    if last is not None:
        yield replace(last, message=f"{last.message} (and {rest} more such)") if rest else last
