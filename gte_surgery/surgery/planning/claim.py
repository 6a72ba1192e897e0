"""What a plan preserves, as values: the plan's words are made of them, `--prove` runs them, the receipt keeps them.

A claim speaks of ids by a row map (new id, old id), and of equality as bits or within a tolerance that it explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.vocabulary.row_map import RowMap

Kind = Literal["rows", "tensors", "states", "outputs", "drawn", "pad", "tokens"]


class Claim(NamedTuple):
    """One thing that holds between the checkpoint before and the one after.

    `kind`: "rows" of the word table, all other "tensors", hidden "states", head "outputs" are what they were, "drawn"
    tensors are new and random, the "pad" row is zero, "tokens" have the ids of their rows. `tolerance` is a relative
    norm, 0 for bit for bit. `ids` say which ids keep their meaning, but for the new ids `without`; `tensors` are
    canonical names: those that are "drawn", or that the claim about "tensors" leaves out. `rounded` is the dtype that
    every number was rounded to, "" for none; `adds_type` says that type row 0 was added to each row, `may_lose` that
    tensors went as asked for.
    """

    kind: Kind
    sentence: str
    tolerance: float = 0.0
    ids: RowMap | None = None
    without: frozenset[int] = frozenset()
    tensors: tuple[str, ...] = ()
    rounded: str = ""
    adds_type: bool = False
    may_lose: bool = False

    def pairs(self) -> tuple[Sequence[int], Sequence[int]]:
        """(new ids, old ids) of all that keep their meaning, in ascending order of the new ones."""
        found = list(self.each())
        return [new for new, _ in found], [old for _, old in found]

    def each(self) -> Iterator[tuple[int, int]]:
        """The `pairs`, one by one."""
        return ((new, old) for new, old in (self.ids.kept() if self.ids else ()) if new not in self.without)

    def record(self) -> dict[str, object]:
        """The claim as JSON for plans and receipts, but for its ids, which `recorded` tells once for all claims."""
        more = {
            "row": self.ids.new[0] if self.kind == "pad" and self.ids is not None else None,
            "tensors": list(self.tensors),
            "rounded": self.rounded,
            "adds_type": self.adds_type,
            "may_lose": self.may_lose,
        }
        chosen = {name: value for name, value in more.items() if value is not False and value not in (None, "", [])}
        return {"claim": self.kind, "says": self.sentence, "tolerance": self.tolerance, **chosen}


class Verdict(NamedTuple):
    """What running the claims came to. `largest` is the largest relative difference of hidden states, None where none
    were compared; `told` is the first thing that did not hold, or why nothing could be said.
    """

    outcome: Literal["proved", "refuted", "inconclusive"]
    device: str
    dtypes: tuple[str, ...] = ()
    batches: int = 0
    tokens: int = 0
    largest: float | None = None
    told: str = ""

    def record(self) -> dict[str, object]:
        """The verdict as JSON for receipts."""
        outcomes: dict[str, object] = {"proved": True, "refuted": False, "inconclusive": "inconclusive"}
        ran = {
            "device": self.device,
            "dtypes": list(self.dtypes),
            "batches": self.batches,
            "tokens": self.tokens,
            "largest_difference": self.largest,
            "told": self.told,
        }
        return {"proved": outcomes[self.outcome], "proof": ran}


def kept_count(ids: RowMap, without: frozenset[int]) -> int:
    """How many ids keep their meaning."""
    single = len(ids.new)
    if len(ids.old) != single:
        single = sum(end - begin == 1 for begin, end in pairwise(ids.offsets))
    return single - sum(len(ids.origin(new)) == 1 for new in without)


Prove = Callable[[Sequence[Claim], "Checkpoint | None", Checkpoint], Verdict]
"""Runs claims on a checkpoint before, None for one made from nothing, and the one after."""
