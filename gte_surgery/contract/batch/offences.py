"""Single offences against a contract, gathered into one finding for each code: the first place, how many, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.terms import Terms
from gte_surgery.findings import Finding, Location
from gte_surgery.gte.wording import SHOWN, counted


class Offence(NamedTuple):
    """One value, or with `column` None one row, of a member that breaks the contract."""

    code: str
    name: str
    column: int | None
    value: float | None


@dataclass
class _Group:
    """All offences of one code."""

    name: str
    count: int = 0
    rows: int = 0
    last_row: int = -1
    places: list[tuple[int, int | None]] = field(default_factory=list)
    first: float | None = None
    least: float = inf
    most: float = -inf

    def add(self, row: int, offence: Offence) -> None:
        self.count += 1
        self.rows += row != self.last_row
        self.last_row = row
        if len(self.places) < SHOWN:
            self.places.append((row, offence.column))
        if offence.value is None:
            return
        if self.first is None:
            self.first = offence.value
        self.least, self.most = min(self.least, offence.value), max(self.most, offence.value)


class Offences:
    """Takes offences one by one, in order of rows, and words them by the contract."""

    def __init__(self, contract: Terms) -> None:
        self._words = words(contract)
        self._contract = contract
        self._groups: dict[str, _Group] = {}
        self._whole: list[Finding] = []

    def add(self, row: int, offence: Offence) -> None:
        """Count an offence in a row, numbered from 0."""
        self._groups.setdefault(offence.code, _Group(offence.name)).add(row, offence)

    def add_whole(self, code: str, name: str, message: str) -> None:
        """Add a finding about a member as a whole."""
        self._whole.append(CODES[code].found(Location(pointer=f"/{name}"), message, HINTS[code]))

    def findings(self) -> list[Finding]:
        """One finding for each code, in order of code."""
        found = [self._worded(code, group) for code, group in self._groups.items()]
        return sorted((*self._whole, *found), key=lambda finding: finding.code)

    def _worded(self, code: str, group: _Group) -> Finding:
        found, wanted = self._words[code]
        row, column = group.places[0]
        place = f"in row {row}" if column is None else f"at row {row}, column {column}"
        span = f", {group.least} to {group.most}" if group.least < group.most else ""
        message = f"{found.format(group.first)} {place}, {wanted}{others(group.count, group.rows, group.places, span)}"
        pointer = f"/{group.name}/{row}" + ("" if column is None else f"/{column}")
        return CODES[code].found(Location(pointer=pointer), message, hinted(code, self._contract, group.most))


def others(count: int, rows: int, places: Sequence[tuple[int, int | None]], span: str = "") -> str:
    """How many more there are: ` (3 such in 2 rows, 128 to 140: [0, 1], [0, 2], [4, 0])`; of a row as a whole `[4]`."""
    if count == 1:
        return ""
    told = ", ".join(f"[{row}]" if column is None else f"[{row}, {column}]" for row, column in places)
    more = ", …" if count > len(places) else ""
    return f" ({count:,} such in {counted(rows, 'row')}{span}: {told}{more})"


def words(contract: Terms) -> dict[str, tuple[str, str]]:
    """What was found, with {} for the value, and what was wanted, by code."""
    begins = "the first token" if contract.padding_side == "right" else "the last token"
    end = "end" if contract.padding_side == "right" else "beginning"
    side = "before" if contract.padding_side == "right" else "after"
    return {
        "GTE413": ("{}", "must be at least 0"),
        "GTE414": ("{}", f"must be below vocab_size {contract.vocab_size}"),
        "GTE416": ("{}", f"must be the CLS id {contract.cls_token_id}"),
        "GTE420": ("pad id {}", "must be masked, but there is no attention_mask"),
        "GTE425": ("{}", "must be 0 or 1"),
        "GTE427": ("1 for the pad id {}", "must be 0"),
        "GTE428": ("0 for the id {}", f"must be 1, for only {contract.pad_token_id} is padding"),
        "GTE429": ("no token", "one is needed"),
        "GTE430": ("a pad between tokens", f"must stand at the {end}"),
        "GTE431": (f"padding of length {{}} {side} {begins}", f"must stand on the {contract.padding_side}"),
        "GTE441": ("{}", "must be at least 0"),
        "GTE442": ("{}", f"must be below type_vocab_size {contract.type_vocab_size}"),
        "GTE443": ("{}", "must be 0, for the model has no token types"),
        "GTE451": ("{}", f"must be {contract.ignore_label} or an id"),
        "GTE452": ("{}", f"must be below vocab_size {contract.vocab_size}"),
        "GTE453": ("{} for a pad", f"must be {contract.ignore_label}"),
        "GTE461": ("{}", "must be at least 0"),
        "GTE462": ("{}", f"must be below max_length {contract.max_length}"),
        "GTE463": ("{}", "must count the row's tokens from 0"),
        "GTE473": ("{}", "must be finite"),
    }


def hinted(code: str, contract: Terms, most: float) -> str:
    """What to do about a code, where `most` is the greatest value at fault."""
    wanted, limit = most + 1, {"GTE414": _MOST_ROWS, "GTE442": _MOST_TYPES}.get(code)
    if limit is None:
        return HINTS.get(code, "")
    if wanted > limit:
        return "no model has so many: is it an id at all?"
    rows, types = (int(wanted), ()) if code == "GTE414" else (contract.vocab_size, ("--type-vocab", str(int(wanted))))
    sizes = ("--vocab", str(rows), "--pad", str(contract.pad_token_id), *types)
    if not contract.checkpoint:
        return f"`gte-surgery resize`, with {' '.join(sizes)}, gives the checkpoint's table more rows"
    return f"{pasteable('resize', contract.checkpoint, *sizes)} gives the table more rows"


_MOST_ROWS, _MOST_TYPES = 2**31 - 1, 2**16
"""What `resize` gives at most, see `surgery.edits`."""

HINTS = {
    "GTE416": "encode with add_special_tokens=True",
    "GTE417": "encode the texts anew and store the ids as int32 or int64; a cast does not bring them back",
    "GTE420": "pass attention_mask = (input_ids != pad_token_id)",
    "GTE423": "pass the mask as int64 or bool",
    "GTE424": "pass (mask == 0)",
    "GTE426": "pass (mask == 0)",
    "GTE427": "does the encoder pad with the model's pad id?",
    "GTE431": "set padding_side of the tokenizer",
    "GTE451": "the label that the loss skips is ignore_label of the contract",
    "GTE454": "leave the batch out, or hide at least one token",
}
