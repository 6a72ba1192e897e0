"""Batches in the making: members as nested lists beside the dtypes that they shall have, and how they become tensors.

`strategies` fills drafts, `faults` breaks them. Both speak of rows by their masks, so that padding may stand on either
side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gte_surgery.contract.batch.structure import EMBEDS, MASK
from gte_surgery.contract.collate import filled, with_mask
from gte_surgery.contract.frameworks import Framework, UnreadableError, member, tensor
from gte_surgery.contract.spec import IdContract

_SCALARS: dict[str, Callable[[Any], Any]] = {"bool": bool, "float32": float, "float64": float}
"""What the elements of lists are for a dtype; integers for the others."""


@dataclass
class Draft:
    """`members` are nested lists, `dtypes` what they become where that is not int64; `foreign` names the members that
    another framework shall make; without `is_mapping` the batch is a list of its members."""

    members: dict[str, Any]
    dtypes: dict[str, str] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    is_mapping: bool = True

    @property
    def columns(self) -> int:
        return len(self.members[MASK][0])

    def tokens(self, row: int) -> list[int]:
        """Columns of a row's tokens."""
        return [at for at, kept in enumerate(self.members[MASK][row]) if kept]

    def pads(self, row: int) -> list[int]:
        """Columns of a row's padding."""
        return [at for at, kept in enumerate(self.members[MASK][row]) if not kept]

    def built(self, framework: Framework, device: object = None) -> Any:
        """The batch: a dict of tensors of the framework, on the device."""
        other: Framework = "numpy" if framework == "lists" else "lists"
        batch = {
            name: self._tensor(name, value, other if name in self.foreign else framework, device)
            for name, value in self.members.items()
            if value is not None
        }
        return batch if self.is_mapping else list(batch.values())

    def _tensor(self, name: str, value: Any, framework: Framework, device: object) -> Any:
        dtype = self.dtypes.get(name, "float32" if name == EMBEDS else "int64")
        try:
            member(name, value)
        except UnreadableError as error:
            return [tensor(framework, row, dtype, device) for row in value] if error.is_ragged else value
        if framework == "lists":
            return _converted(value, _SCALARS.get(dtype, int))
        return tensor(framework, value, dtype, device)


def padded_draft(sequences: list[list[int]], columns: int, contract: IdContract) -> Draft:
    """Sequences padded to so many columns, with their mask."""
    return Draft(filled(with_mask(sequences), columns, contract))


def counted_positions(mask: list[list[int]]) -> list[list[int]]:
    """Position ids that count the tokens of each row from 0; 0 for padding."""
    rows = []
    for row in mask:
        numbers = iter(range(len(row)))
        rows.append([next(numbers) if kept else 0 for kept in row])
    return rows


def _converted(value: Any, scalar: Callable[[Any], Any]) -> Any:
    return [_converted(each, scalar) for each in value] if isinstance(value, list) else scalar(value)
