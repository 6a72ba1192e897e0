"""Edits: what a user asks for, as plain values. They are checked against themselves here and against a checkpoint by
the planners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Any, Literal, get_args

from gte_surgery.errors import UsageError
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.whole import at_least, make_whole, require_choices

SEED_LIMIT = 2**64
"""Seeds are whole numbers from 0 up to, not including, this one."""
MOST_ROWS = 2**31 - 1
"""Token ids are 32-bit numbers in most programs that make them."""
MOST_TYPES = 2**16

INITS = ("normal", "mean", "mean-cov", "zeros")
"""What new rows may hold, beside copies of an old row: draws of N(0, initializer_range), the mean of the old rows,
draws with the mean and covariance of the old rows, zeros.
"""

HeadName = Literal["none", "mlm", "classifier", "reranker"]
TrainingState = Literal["follow", "drop", "refuse"]
"""What becomes of an optimizer's file beside the weights whose rows or parameters move: its moments follow the rows, it
goes, or the surgery is refused.
"""


@dataclass(frozen=True, slots=True)
class Resize:
    """Give the vocabulary `vocab` rows and make `pad` the pad id; optionally change the type vocabulary.

    `init` says where rows beyond the old table come from: a word of `INITS`, "copy:ID" for old row ID, or the name of a
    .npy file, whose rows are taken in order of the new ids (its end before rounding is followed by zeros, and a decoder
    weight of its own is drawn). `old_pad` says what becomes of the former pad row, which is zero: "keep" it or draw it
    anew ("normal"). Of the rows that are kept, those from `new_from` on count as new all the same. `type_vocab_mode`
    "fold" adds type row 0 to every word row except the pad row before the type table goes, so that outputs stay what
    they were; "drop" only removes it. `roles` are ids of one's own, {"cls": 5, …}: the rows that play these parts now
    come there.
    """

    vocab: int
    pad: int
    type_vocab: int | None = None
    type_vocab_mode: Literal["fold", "drop"] = "fold"
    init: str = "normal"
    round_to: int = 1
    old_pad: Literal["keep", "normal"] = "keep"
    tokenizer: Literal["keep", "remove"] = "keep"
    seed: int = 0
    training_state: TrainingState = "refuse"
    roles: Mapping[str, int] = field(default_factory=dict)
    new_from: int | None = None
    renewed: range = range(0)
    """The kept rows that count as new, once that has been found out."""

    def __post_init__(self) -> None:
        _at_the_door(self)
        at_least("vocab", self.vocab, 1, MOST_ROWS)
        if self.new_from is not None:
            at_least("new-from", self.new_from, 0, MOST_ROWS)
        at_least("pad", self.pad, 0)
        at_least("round-to", self.round_to, 1)
        if self.type_vocab is not None:
            at_least("type-vocab", self.type_vocab, 0, MOST_TYPES)
        _check_roles(self.roles, self.rows, self.pad)
        copied_row(self.init)
        if self.pad >= self.rows:
            raise UsageError(
                f"pad: {self.pad}, must be below the vocabulary size {self.rows}",
                f"choose a pad id from 0 to {self.rows - 1}, or a larger --vocab",
            )

    @property
    def rows(self) -> int:
        """The vocabulary size after rounding `vocab` up to a multiple of `round_to`."""
        return -(-self.vocab // self.round_to) * self.round_to


@dataclass(frozen=True, slots=True)
class Remap:
    """Make a new vocabulary of the rows that `origins` chooses; rows without an origin come from `init` as in `Resize`.

    `vocab` is for more rows than the map names, None means just those. `pad` is a new id; None means that the pad id
    follows the map. `tokenizer` says what becomes of the tokenizer's files: "rewrite" them to the new ids, or put the
    `installed` ones, content by name, in their place; "keep" or "remove" them. `roles` are as in `Resize`.
    """

    origins: RowMap
    pad: int | None = None
    vocab: int | None = None
    init: str = "normal"
    round_to: int = 1
    tokenizer: Literal["rewrite", "keep", "remove"] = "rewrite"
    seed: int = 0
    training_state: TrainingState = "refuse"
    installed: Mapping[str, bytes] = field(default_factory=dict)
    roles: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_the_door(self)
        at_least("round-to", self.round_to, 1)
        _check_roles(self.roles, None, self.pad)
        copied_row(self.init)
        if self.vocab is not None and self.vocab < self.origins.rows:
            raise UsageError(
                f"vocab: {self.vocab}, the map makes {self.origins.rows} rows",
                "leave --vocab out, or give at least as many",
            )
        if self.pad is not None:
            at_least("pad", self.pad, 0)
            if self.pad >= self.rows:
                raise UsageError(
                    f"pad: {self.pad}, must be below the vocabulary size {self.rows}",
                    f"choose a new id from 0 to {self.rows - 1}, or a larger --vocab",
                )

    @property
    def wanted(self) -> int:
        """The vocabulary size before rounding."""
        return self.vocab or self.origins.rows

    @property
    def rows(self) -> int:
        """The vocabulary size after rounding up to a multiple of `round_to`."""
        return -(-self.wanted // self.round_to) * self.round_to


@dataclass(frozen=True, slots=True)
class Trim(Remap):
    """A remap to the tokens that texts use; `origins` say which, and what the choice came to."""


@dataclass(frozen=True, slots=True)
class New:
    """Make a checkpoint from scratch with the structure of a published release; None means "as released"."""

    release: str
    vocab: int | None = None
    pad: int | None = None
    type_vocab: int | None = None
    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    intermediate: int | None = None
    max_positions: int | None = None
    head: HeadName | None = None
    dtype: Literal["F32", "F16", "BF16"] | None = None
    dialect: Literal["native", "remote"] = "native"
    seed: int = 0
    shard_size: int | None = None

    def __post_init__(self) -> None:
        _at_the_door(self)
        sizes = ("vocab", "layers", "hidden", "heads", "intermediate", "max_positions", "shard_size")
        for name in (*sizes, "pad", "type_vocab"):
            value = getattr(self, name)
            if value is not None:
                at_least(name.replace("_", "-"), value, int(name in sizes))


@dataclass(frozen=True, slots=True)
class Convert:
    """Give a checkpoint another dialect (`to`), dtype, shard size in bytes or layout; None leaves that as it is.

    `layout` is a letter of `gte.names`: a (the bare model), b, d (a model with a head) or f (transformers' own names).
    A dialect brings its usual layout, a or b, unless `layout` says otherwise. Before all that `strip_prefix` is taken
    off the tensor names, and the tensors whose stored or canonical names match a shell pattern of `drop` go. Another
    `head` takes the place of the one that is there: what both have stays, what is new is drawn as `New` draws it.
    """

    to: Literal["native", "remote"] | None = None
    dtype: Literal["F32", "F16", "BF16"] | None = None
    shard_size: int | None = None
    layout: Literal["a", "b", "d", "f"] | None = None
    allow_overflow: bool = False
    strip_prefix: str | None = None
    drop: tuple[str, ...] = ()
    training_state: TrainingState = "refuse"
    head: HeadName | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _at_the_door(self)
        asked = (self.to, self.dtype, self.shard_size, self.layout, self.strip_prefix, self.drop or None, self.head)
        if set(asked) == {None}:
            wanted = "give --to, --dtype, --shard-size, --layout, --strip-prefix, --drop or --head"
            raise UsageError("convert: nothing is asked for", wanted)
        if self.strip_prefix == "" or "" in self.drop:
            raise UsageError("convert: an empty prefix or pattern", "name what is to go")
        if self.shard_size is not None:
            at_least("shard-size", self.shard_size, 1)


@dataclass(frozen=True, slots=True)
class Reinit:
    """Fresh weights by the model's own rules: for every tensor, or for those whose stored or canonical name matches one
    of the shell patterns `only`.
    """

    only: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _at_the_door(self)
        if self.only == ():
            raise UsageError("only: no pattern is given", "leave it out to draw all tensors anew")


CURES = (
    "GTE004", "GTE010", "GTE011", "GTE013", "GTE014", "GTE015", "GTE016", "GTE020", "GTE021", "GTE055", "GTE060",
    "GTE066", "GTE103", "GTE104", "GTE145", "GTE200", "GTE209", "GTE210", "GTE211", "GTE215", "GTE230", "GTE241",
    "GTE250", "GTE638", "GTE639",
)  # fmt: skip
"""The rules whose findings a `Fix` can mend."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Mend what the rules `codes`, some of `CURES`, find, where that changes nothing that the model computes.

    Rules of a program count where `consumers` name it.
    """

    codes: tuple[str, ...] = CURES
    consumers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for code in self.codes:
            if code not in CURES:
                raise UsageError(f"{code}: has no safe cure", f"those that have: {', '.join(CURES)}")


Edit = Resize | Remap | Trim | New | Convert | Reinit | Fix


_FOUND = ("installed", "renewed")
"""Fields that hold what was found, not what was asked for."""


def as_record(edit: Edit) -> dict[str, object]:
    """The edit as JSON for plans and receipts, only what was chosen: {"vocab": 32000, "pad": 0, …}."""
    values = {each.name: getattr(edit, each.name) for each in fields(edit) if each.name not in _FOUND}
    origins = values.pop("origins").record if isinstance(edit, Remap) else {}
    if str(values.get("init")).endswith(".npy"):
        values["init"] = PurePath(str(values["init"])).name
    if values.get("training_state") == "refuse":
        del values["training_state"]
    roles = values.pop("roles", {})
    return {**origins, **{key: value for key, value in values.items() if value not in (None, ())}, **roles}


def copied_row(init: str) -> int | None:
    """The row that `init` copies: 5 for "copy:5", None for a word of `INITS` and for a .npy file; raises UsageError for
    anything else.
    """
    if init in INITS or init.endswith(".npy"):
        return None
    kind, _, row = init.partition(":")
    if kind == "copy" and row.isascii() and row.isdigit() and len(row) < 20:
        return int(row)
    raise UsageError(f"init: {init!r}, must be {', '.join(INITS)}, copy:ID or a .npy file", "for example --init copy:3")


_NAMED = {"HeadName": get_args(HeadName), "TrainingState": get_args(TrainingState)}


def _at_the_door(edit: Any) -> None:
    make_whole(edit)
    require_choices(edit, _NAMED)
    if edit.seed is not None and not 0 <= edit.seed < SEED_LIMIT:
        raise UsageError(f"seed: {edit.seed}, must be from 0 to {SEED_LIMIT - 1}")


def _check_roles(roles: Mapping[str, int], rows: int | None, pad: int | None) -> None:
    seen: dict[int, str] = {} if pad is None else {pad: "pad"}
    for role, number in roles.items():
        at_least(role, number, 0, MOST_ROWS - 1 if rows is None else rows - 1)
        if number in seen:
            raise UsageError(f"{role}: {number}, which is {seen[number]} already", "give each part an id of its own")
        seen[number] = role
