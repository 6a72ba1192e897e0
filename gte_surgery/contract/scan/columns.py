"""Which columns of a corpus hold what. Readers find them by these names; what is in them is left to `judge`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gte_surgery.errors import UsageError


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns, tensors or keys. None means the usual name where it is there: `attention_mask` and
    `token_type_ids` are then judged, while `labels` and `position_ids` are not, for many a corpus calls the class of a
    text its label. `offsets` cuts flat ids into rows; npz and safetensors files are asked for `offsets` and
    `cu_seqlens` on their own.
    """

    ids: str = "input_ids"
    mask: str | None = None
    types: str | None = None
    labels: str | None = None
    positions: str | None = None
    offsets: str | None = None

    def __post_init__(self) -> None:
        named = [name for name in (getattr(self, field.name) for field in fields(self)) if name is not None]
        if "" in named or len(set(named)) < len(named):
            raise UsageError(f"columns: {', '.join(map(repr, named))}, must be different names")

    @property
    def roles(self) -> dict[str, str]:
        """Role → name of every column to be read when it is there, without the offsets."""
        usual = {"ids": self.ids, "mask": self.mask or "attention_mask", "types": self.types or "token_type_ids"}
        asked = {"labels": self.labels, "positions": self.positions}
        return usual | {role: name for role, name in asked.items() if name is not None}

    @property
    def required(self) -> dict[str, str]:
        """Role → name of every column that must be there: the ids and whatever was named, offsets included."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {role: name for role, name in named.items() if name is not None}
