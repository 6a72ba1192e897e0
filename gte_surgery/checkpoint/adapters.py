"""PEFT adapters that lie in a checkpoint: which files they are, and what of the base's vocabulary they hold.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors` [peft 0.21, utils/constants.py]. Its
tensors are the base model's under a prefix: a whole table (modules_to_save), a column for each id
(`lora_embedding_A`), or one row for each id of `trainable_token_indices` (`trainable_tokens_delta`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gte_surgery.checkpoint.bounds import MAX_HEADER_MEMORY
from gte_surgery.checkpoint.files import FileEntry, read_json
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.shards import Shard, StoredTensor, read_shards
from gte_surgery.errors import CheckpointError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
INDICES = "trainable_token_indices"
_DELTA = "trainable_tokens_delta"
_COLUMNS = "lora_embedding_A"
MOST_ADAPTERS = 64
"""That are looked at; the headers of all of them together take a quarter of what those of a checkpoint may."""
MOST_MODULES = 64
"""That `trainable_token_indices` may name, each of which is looked for in the name of each tensor."""
_TABLES = ("word_embeddings", "tok_embeddings")
"""What the word table of a family is called, within the names of its tensors."""
_PARTS = (_DELTA, _COLUMNS, "_A", "_B", "_delta")


class Folder(Protocol):
    """A checkpoint, or whatever else has files."""

    @property
    def files(self) -> Sequence[FileEntry]: ...
    def readable(self, name: str) -> FileEntry | None: ...


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What an adapter is: its kind, its rank, the modules it is put on, the parameters it holds, and of which `base` it
    is. `rows` is how many rows its tables give that base, None where it holds none; `token_ids` how many ids have rows
    of their own. `base_rows` are those of the base that was found, None where none was, and `misfit` says why the two
    do not fit, "" where they do or nobody knows.
    """

    folder: str
    kind: str
    rank: int | None
    targets: tuple[str, ...]
    parameters: int
    base: str
    rows: int | None
    token_ids: int
    base_rows: int | None
    misfit: str

    @property
    def words(self) -> str:
        """All of that in one sentence."""
        rank = f" of rank {self.rank}" if self.rank is not None else ""
        on = f" on {', '.join(self.targets[:5])}{' …' if len(self.targets) > 5 else ''}" if self.targets else ""
        return (
            f"{self.kind}{rank}{on}, {self.parameters:,} parameters, of the base {self.base or 'that it does not name'}"
        )

    @property
    def fit(self) -> str:
        """Whether its tables fit the base's vocabulary, in words."""
        if self.misfit:
            return f"does not fit the base: {self.misfit}"
        if self.rows is None and not self.token_ids:
            return "holds nothing of the vocabulary, so any size of the base's fits"
        held = f"{self.rows} rows" if self.rows is not None else f"rows of {self.token_ids} ids"
        return f"holds {held} of the vocabulary" + (
            f", which fits the base's {self.base_rows} rows" if self.base_rows is not None else "; its base is not here"
        )


class Adapter(NamedTuple):
    """One adapter: the folder's name ("" for the checkpoint's own), its config, and its weights by name."""

    folder: str
    config: Document
    shard: Shard
    tensors: Mapping[str, StoredTensor]

    @property
    def values(self) -> Mapping[str, object]:
        return self.config.members

    @property
    def base(self) -> str:
        """What it says it was trained on."""
        name = self.values.get("base_model_name_or_path")
        return name if isinstance(name, str) else ""

    @property
    def token_ids(self) -> Mapping[str, Sequence[int]]:
        """The ids of `trainable_token_indices` by the name of the module; "" where it names none."""
        found = self.values.get(INDICES)
        listed = found if isinstance(found, dict) else {"": found}
        return {
            str(module): ids
            for module, ids in listed.items()
            if isinstance(ids, list) and all(type(number) is int for number in ids)
        }

    def deltas(self) -> Mapping[str, Sequence[int]]:
        """The tensors that hold a row for each of some ids, and those ids. Raises CheckpointError where more modules
        are named than can be looked up for each tensor.
        """
        found, modules = {}, self.token_ids
        if len(modules) > MOST_MODULES:
            place = f"{self.folder}/{CONFIG}" if self.folder else CONFIG
            raise CheckpointError(
                f"{shown(place)}: `{INDICES}` names {len(modules)} modules, at most {MOST_MODULES} are read"
            )
        for name, tensor in self.tensors.items():
            if name.endswith(_DELTA):
                ids = next((ids for module, ids in modules.items() if f".{module}." in f".{name}" or not module), ())
                if tensor.shape and len(ids) == tensor.shape[0]:
                    found[name] = ids
        return found

    @property
    def rows(self) -> Mapping[str, int]:
        """How many rows of the word table its tensors speak for, by name: whole tables, columns for each id."""
        found = {tensor.name: tensor.shape[1] for tensor in self.columns() if len(tensor.shape) == 2}
        for name, tensor in self.tensors.items():
            is_table = any(each in name for each in _TABLES) and len(tensor.shape) == 2
            if is_table and not name.endswith(_PARTS):
                found[name] = tensor.shape[0]
        return found

    def misfit(self, rows: int) -> str:
        """Why it is of another vocabulary than a base of so many rows; "" where it is not."""
        for name, held in self.rows.items():
            if held != rows:
                return f"`{shown(name)}` has {held} rows, the table {rows}"
        highest = max((number for ids in self.token_ids.values() for number in ids), default=-1)
        return f"it has a row for id {highest}, the table {rows} rows" if highest >= rows else ""

    def facts(self, base_rows: int | None) -> AdapterFacts:
        """What it is, beside a base of so many rows; None for one that is not there."""
        rank, kind, targets = (self.values.get(key) for key in ("r", "peft_type", "target_modules"))
        listed = [targets] if isinstance(targets, str) else targets if isinstance(targets, list) else []
        return AdapterFacts(
            self.folder,
            shown(str(kind or "PEFT")),
            rank if type(rank) is int else None,
            tuple(shown(str(each)) for each in sorted(map(str, listed))),
            sum(math.prod(tensor.shape) for tensor in self.tensors.values()),
            shown(self.base),
            max(self.rows.values(), default=None),
            sum(len(ids) for ids in self.token_ids.values()),
            base_rows,
            "" if base_rows is None else self.misfit(base_rows),
        )

    def columns(self) -> tuple[StoredTensor, ...]:
        """The tensors that hold a column for each id of a table."""
        return tuple(tensor for name, tensor in self.tensors.items() if name.endswith(_COLUMNS))


def word_rows(tensors: Mapping[str, StoredTensor]) -> int | None:
    """The rows of the word table among a model's tensors; None where none is known by its name."""
    named = (tensor for name, tensor in tensors.items() if any(each in name for each in _TABLES))
    return next((tensor.shape[0] for tensor in named if len(tensor.shape) == 2), None)


def adapters_of(checkpoint: Folder) -> tuple[Adapter, ...]:
    """The adapters in a checkpoint's folder and below it that can be read, in the order of their names."""
    configs = [file for file in checkpoint.files if file.name.rpartition("/")[2] == CONFIG][:MOST_ADAPTERS]
    weights = (checkpoint.readable(f"{file.name.removesuffix(CONFIG)}{WEIGHTS}") for file in configs)
    pairs = [
        pair for pair in zip(configs, weights, strict=True) if pair[1] is not None and checkpoint.readable(pair[0].name)
    ]
    shards, _ = read_shards([file for _, file in pairs if file is not None], MAX_HEADER_MEMORY // 4)
    found = (_adapter(config, shard) for (config, _), shard in zip(pairs, shards, strict=True))
    return tuple(adapter for adapter in found if adapter is not None)


def _adapter(config: FileEntry, shard: Shard) -> Adapter | None:
    if shard.header is None:
        return None
    try:
        document = read_json(config)
    except CheckpointError:
        return None
    tensors = {entry.name: StoredTensor(shard, entry) for entry in shard.entries}
    return Adapter(config.name.rpartition("/")[0], document, shard, tensors)
