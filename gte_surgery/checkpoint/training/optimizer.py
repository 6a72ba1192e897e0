"""An optimizer's file beside a checkpoint: `{"state": {parameter: {moment: tensor}}, "param_groups": [...]}`.

Which parameter is which tensor of the model is not said in the file; planners judge that by shapes. Here it is only
read, and its bytes are named, so that a moment can be cut like any other table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gte_surgery.checkpoint.files import FileEntry, opened
from gte_surgery.checkpoint.headers.header import DTYPE_BITS
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.training.archive import Record, read_records
from gte_surgery.checkpoint.training.unpickle import MOST_BYTES, Tensor, Whole, unpickle
from gte_surgery.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Moment:
    """A tensor that the optimizer keeps of a parameter: `key` is its name there ("exp_avg"), `record` where it lies."""

    parameter: int
    key: str
    tensor: Tensor
    record: Record

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(length) for length in self.tensor.shape)


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """What an optimizer's file holds: the pickle as it stands in its record, every record, every moment."""

    file: FileEntry
    pickle: bytes
    pickled: Record
    records: tuple[Record, ...]
    moments: tuple[Moment, ...]
    parameters: int


def read_optimizer(file: FileEntry) -> OptimizerState:
    """Reads the file without executing any of it. Raises CheckpointError when it is not an optimizer's, by name of what
    stands in the way.
    """
    name = shown(file.name)
    with opened(file) as found:
        records = read_records(found.read, found.identity.size, name)
        pickled = _pickled(records, name)
        if pickled.size > MOST_BYTES:
            raise CheckpointError(f"{name}: a pickle of {pickled.size} bytes, at most {MOST_BYTES} are read")
        raw = found.read(pickled.begin, pickled.size)
    value = unpickle(raw, name)
    state = value.get("state") if isinstance(value, dict) else None
    groups = value.get("param_groups") if isinstance(value, dict) else None
    if not isinstance(state, dict) or not isinstance(groups, list):
        raise CheckpointError(f'{name}: not an optimizer\'s state, wanted {{"state": ..., "param_groups": [...]}}')
    prefix = pickled.name.removesuffix("data.pkl")
    by_key = {record.name.removeprefix(f"{prefix}data/"): record for record in records}
    moments = tuple(_moments(state, by_key, name))
    return OptimizerState(file, raw, pickled, records, moments, sum(_count(group, name) for group in groups))


def _pickled(records: tuple[Record, ...], name: str) -> Record:
    found = [record for record in records if record.name.endswith("/data.pkl") and record.name.count("/") == 1]
    if len(found) != 1:
        raise CheckpointError(f"{name}: no archive of torch.save: {len(found)} records called data.pkl, wanted one")
    return found[0]


def _moments(state: Mapping[object, object], by_key: Mapping[str, Record], name: str) -> Iterator[Moment]:
    for parameter, kept in state.items():
        if not isinstance(parameter, int) or not isinstance(kept, dict):
            raise CheckpointError(f"{name}: state of {shown(str(parameter)[:80])}, wanted numbers of parameters")
        for key, value in kept.items():
            if not isinstance(value, Tensor):
                continue
            record = by_key.get(value.storage.key)
            size = value.storage.count * DTYPE_BITS[value.storage.dtype] // 8
            if record is None or record.size != size:
                raise CheckpointError(f"{name}: `{shown(str(key))}` of parameter {parameter}: its record is not there")
            yield Moment(parameter, str(key), value, record)


def _count(group: object, name: str) -> int:
    parameters = group.get("params") if isinstance(group, dict) else None
    if not isinstance(parameters, list) or not all(isinstance(number, Whole) for number in parameters):
        raise CheckpointError(f"{name}: a group of parameters without their numbers")
    return len(parameters)
