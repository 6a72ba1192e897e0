"""PEFT adapters that lie in a checkpoint: which files they are, and what of the base's vocabulary they hold.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors` [peft 0.21, utils/constants.py]. Its
tensors are the base model's under a prefix: a whole table (modules_to_save), a column for each id
(`lora_embedding_A`), or one row for each id of `trainable_token_indices` (`trainable_tokens_delta`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_json
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.shards import Shard, StoredTensor, read_shards
from gte_surgery.errors import CheckpointError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
INDICES = "trainable_token_indices"
_DELTA = "trainable_tokens_delta"
_COLUMNS = "lora_embedding_A"
MOST_ADAPTERS = 64


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter: the folder's name ("" for the checkpoint's own), its config, and its weights by name."""

    folder: str
    config: Document
    shard: Shard
    tensors: Mapping[str, StoredTensor]

    @property
    def values(self) -> Mapping[str, object]:
        return self.config.value if isinstance(self.config.value, dict) else {}

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
        """The tensors that hold a row for each of some ids, and those ids."""
        found = {}
        for name, tensor in self.tensors.items():
            if name.endswith(_DELTA):
                ids = next(
                    (ids for module, ids in self.token_ids.items() if f".{module}." in f".{name}" or not module), ()
                )
                if tensor.shape and len(ids) == tensor.shape[0]:
                    found[name] = ids
        return found

    def columns(self) -> tuple[StoredTensor, ...]:
        """The tensors that hold a column for each id of a table."""
        return tuple(tensor for name, tensor in self.tensors.items() if name.endswith(_COLUMNS))


def adapters_of(checkpoint: Checkpoint) -> tuple[Adapter, ...]:
    """The adapters in a checkpoint's folder and below it that can be read, in the order of their names."""
    configs = [file for file in checkpoint.files if file.name.rpartition("/")[2] == CONFIG][:MOST_ADAPTERS]
    found = (_adapter(checkpoint, file) for file in configs)
    return tuple(adapter for adapter in found if adapter is not None)


def _adapter(checkpoint: Checkpoint, config: FileEntry) -> Adapter | None:
    folder = config.name.rpartition("/")[0]
    weights = checkpoint.readable(f"{folder}/{WEIGHTS}" if folder else WEIGHTS)
    if weights is None or checkpoint.readable(config.name) is None:
        return None
    try:
        document = read_json(config)
    except CheckpointError:
        return None
    (shard, *_), _ = read_shards([weights])
    if shard.header is None:
        return None
    return Adapter(folder, document, shard, {entry.name: StoredTensor(shard, entry) for entry in shard.entries})
