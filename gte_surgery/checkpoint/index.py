"""model.safetensors.index.json: read, its paths judged safe or not, and compared with the shards that it names;
and what lies there where there are neither it nor weights.

The format is transformers' [modeling_utils.py, `save_pretrained`]: `weight_map` from tensor name to shard, and
`metadata.total_size`, the bytes of all tensors together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gte_surgery.checkpoint.bounds import MAX_INDEX_BYTES, MAX_INDEX_VALUES
from gte_surgery.checkpoint.faults import Fault, FaultKind, unreadable
from gte_surgery.checkpoint.files import FileEntry, read_json
from gte_surgery.checkpoint.json.strict import Document, escape, kind_of
from gte_surgery.checkpoint.listing import Listing, is_unsafe, why_unusable
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.shards import Shard
from gte_surgery.errors import CheckpointError
from gte_surgery.findings import Location, as_word, several

_FIX = "gte-surgery check CKPT --fix"
INDEX_NAME = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth")
_OTHER_WEIGHTS = (".safetensors", *_PICKLES, ".gguf", ".onnx")
_IN_PARTS = re.compile(r"adapter_model\.safetensors|.*-\d+(-of-\d+)?\.safetensors|.*/.*")
"""What is not all the weights under another name."""
_DISTRIBUTED = (
    "a distributed save; in its folder torch puts it together: "
    "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch . pytorch_model.bin`"
)
_SAVED_AGAIN = "pickles; load them in transformers where you trust them, then save_pretrained writes safetensors"
_NUMBERED = re.compile(r"(.*)-(\d+)-of-(\d+)\.safetensors", re.ASCII)
"""How a shard is called: the save's name, the shard's number, and how many there are."""


class Index(NamedTuple):
    """The index of a sharded checkpoint; `total_size` is None where the file does not state one."""

    document: Document
    weight_map: Mapping[str, str]
    total_size: int | None

    @property
    def shard_names(self) -> tuple[str, ...]:
        """The distinct files of the weight map, sorted: the order in which transformers reads them."""
        return tuple(sorted(set(self.weight_map.values())))

    def location(self, tensor: str) -> Location:
        """Where the index says which file holds `tensor`."""
        return self.document.location(f"/weight_map/{escape(tensor)}")


def read_index(file: FileEntry, links_out: Collection[str]) -> tuple[Index | None, list[Fault]]:
    """Read an index file; None and a fault if it may not be opened, is not strict JSON or not an index."""
    kind = FaultKind.INDEX_UNREADABLE
    if unusable := why_unusable(file, links_out):
        return None, [Fault(FaultKind.UNREADABLE, Location(file=INDEX_NAME), unusable)]
    try:
        document = read_json(file, MAX_INDEX_BYTES, MAX_INDEX_VALUES)
    except CheckpointError as error:
        return None, [unreadable(kind, shown(file.name), error)]
    value = document.value
    if not isinstance(value, dict):
        return None, [Fault(kind, document.location(""), f"{kind_of(value)}, wanted an object")]
    weight_map = value.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        found = "no weight_map" if weight_map is None else "an empty weight_map"
        found = found if not weight_map else f"a weight_map that is {kind_of(weight_map)}"
        return None, [Fault(kind, document.location("/weight_map"), f"{found}, wanted tensor names and their files")]
    wrong = [name for name, shard in weight_map.items() if not isinstance(shard, str)]
    if wrong:
        location = document.location(f"/weight_map/{escape(wrong[0])}")
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return None, [Fault(kind, location, f"a file name that is no string{more}")]
    metadata = value.get("metadata")
    total_size = metadata.get("total_size") if isinstance(metadata, dict) else None
    bare = {name: shard.removeprefix("./") for name, shard in weight_map.items()}
    index = Index(document, bare, total_size if type(total_size) is int else None)
    return index, _oddities(document, value, weight_map)


def _oddities(document: Document, value: Mapping[str, object], weight_map: Mapping[str, str]) -> list[Fault]:
    """What an index has that some loaders refuse: no `metadata`, or names with "./" before them."""
    faults: list[Fault] = []
    if not isinstance(value.get("metadata"), dict):
        found = kind_of(value["metadata"]) if "metadata" in value else "absent"
        message = f"{found}, transformers stops with a {'TypeError' if 'metadata' in value else 'KeyError'}"
        faults.append(Fault(FaultKind.INDEX_METADATA, document.location("/metadata"), message, _FIX))
    dotted = [name for name, shard in weight_map.items() if shard.startswith("./")]
    if dotted:
        message = f'"{shown(weight_map[dotted[0]])}", wanted the bare file name'
        more = f" (and {len(dotted) - 1} more such)" if len(dotted) > 1 else ""
        place = document.location(f"/weight_map/{escape(dotted[0])}")
        faults.append(Fault(FaultKind.INDEX_DOTTED, place, message + more, _FIX))
    return faults


def shard_files(index: Index, listing: Listing) -> tuple[list[FileEntry], list[Fault]]:
    """The files that the index names, in its order, and a fault for each name that is unsafe or leads to nothing."""
    users: dict[str, str] = {}
    for tensor, name in index.weight_map.items():
        users.setdefault(name, tensor)
    wrong = {
        name: fault for name in index.shard_names if (fault := _name_fault(name, listing.files.get(name), listing))
    }
    files = [listing.files[name] for name in index.shard_names if name not in wrong]
    faults = several(Fault(kind, index.location(users[name]), message) for name, (kind, message) in wrong.items())
    return files, list(faults)


def compare_index(index: Index, shards: tuple[Shard, ...]) -> Iterator[Fault]:
    """Where index and shards disagree about what is stored where; shards without a header are passed over."""
    holders: dict[str, str | list[str]] = {}
    for shard in shards:
        for entry in shard.entries:
            others = holders.get(entry.name)
            holders[entry.name] = shard.file.name if others is None else [*_listed(others), shard.file.name]
    yield from several(_absent(index, shards, holders))
    yield from several(_unlisted(index, holders))


def _absent(index: Index, shards: tuple[Shard, ...], holders: Mapping[str, str | list[str]]) -> Iterator[Fault]:
    readable = {shard.file.name for shard in shards if shard.header}
    for tensor, name in index.weight_map.items():
        held = _listed(holders.get(tensor, []))
        if name in readable and name not in held:
            elsewhere = f", {shown(held[0])} holds it" if held else ""
            message = f"{shown(name)} does not hold this tensor{elsewhere}"
            yield Fault(FaultKind.INDEX_TENSOR_ABSENT, index.location(tensor), message)


def _unlisted(index: Index, holders: Mapping[str, str | list[str]]) -> Iterator[Fault]:
    for tensor, names in holders.items():
        if tensor not in index.weight_map:
            location = Location(file=shown(_listed(names)[0]), tensor=shown(tensor))
            yield Fault(FaultKind.INDEX_TENSOR_UNLISTED, location, f"not listed in {index.document.source}")


def _listed(names: str | list[str]) -> list[str]:
    """The holders of a tensor: of most there is one, which is kept without a list."""
    return [names] if isinstance(names, str) else names


def compare_total_size(index: Index, shards: tuple[Shard, ...]) -> Fault | None:
    """The fault of a stated total size that is not the sum of all tensors' bytes."""
    total = sum(entry.nbytes for shard in shards for entry in shard.entries)
    if index.total_size is None or index.total_size == total:
        return None
    location = index.document.location("/metadata/total_size")
    return Fault(FaultKind.WRONG_TOTAL_SIZE, location, f"{index.total_size}, the tensors have {total} bytes")


def _name_fault(name: str, entry: FileEntry | None, listing: Listing) -> tuple[FaultKind, str] | None:
    if is_unsafe(name):
        return FaultKind.INDEX_UNSAFE_PATH, f'"{shown(name)}", wanted the name of a file in the checkpoint'
    parts = name.split("/")
    folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
    link = next((folder for folder in folders if folder in listing.files and listing.files[folder].is_symlink), None)
    if link is not None:
        return FaultKind.INDEX_UNSAFE_PATH, f"{shown(name)}: {shown(link)} is a link, wanted a folder of the checkpoint"
    if entry is None:
        return FaultKind.INDEX_MISSING_FILE, f"{shown(name)} does not exist"
    if unusable := why_unusable(entry, listing.links_out):
        kind = FaultKind.INDEX_UNSAFE_PATH if name in listing.links_out else FaultKind.INDEX_MISSING_FILE
        return kind, f"{shown(name)} is {unusable}"
    return None


def saves_of(names: Iterable[str]) -> list[list[str]]:
    """The names of shards by the save that they are numbered as, of each save that has all its numbers."""
    saves: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if found := _NUMBERED.fullmatch(name):
            saves.setdefault((found[1], found[3]), []).append(name)
    return [sorted(shards) for (_, total), shards in sorted(saves.items()) if len(shards) == int(total)]


def weights_missing(listing: Listing, weights_name: str) -> Fault:
    """That there are no weights, what lies there instead, and how it becomes weights."""
    message = f"neither {weights_name} nor {INDEX_NAME}"
    others = [name for name in listing.files if name.endswith(_OTHER_WEIGHTS)]
    if others:
        message += f"; found {', '.join(map(shown, others[:3]))}{', …' if len(others) > 3 else ''}"
    pickles = [name for name in others if name.endswith(_PICKLES)]
    if any(name.endswith(".distcp") for name in listing.files):
        return Fault(FaultKind.WEIGHTS_MISSING, Location(), message, _DISTRIBUTED)
    if "zero_to_fp32.py" in listing.files and any(name.endswith("_optim_states.pt") for name in listing.files):
        hint = "parted by DeepSpeed; in this folder: `python zero_to_fp32.py . whole --safe_serialization`"
        return Fault(FaultKind.WEIGHTS_MISSING, Location(), message, hint)
    hint = _conversion(listing.root, pickles[0], weights_name) if len(pickles) == 1 else _SAVED_AGAIN if pickles else ""
    hint = "" if saves_of(listing.files) else hint  # whose index is made anew, if they are whole
    if len(others) == 1 and others[0].endswith(".safetensors") and not _IN_PARTS.fullmatch(others[0]):
        renamed = " ".join(("mv", *(as_word(str(listing.root / name)) for name in (others[0], weights_name))))
        hint = f"loaders take it only by its name; `{renamed}` makes it the weights"
    return Fault(FaultKind.WEIGHTS_MISSING, Location(), message, hint)


def _conversion(root: Path, name: str, weights_name: str) -> str:
    """How a pickle becomes safetensors, by torch, with torch's own guard against code in it."""
    script = (
        "import sys; from torch import load; from safetensors.torch import save_file; "
        "found = load(sys.argv[1], map_location='cpu', weights_only=True); "
        "inner = [found[key] for key in ('module', 'model', 'state_dict') if isinstance(found.get(key), dict)]; "
        "tensors = (inner or [found])[0]; "
        "save_file({name: tensor.clone() for name, tensor in tensors.items()}, sys.argv[2], {'format': 'pt'})"
    )
    source, target = (as_word(str(root / each)) for each in (name, weights_name))
    return f'a pickle; torch converts it without running its code: `python -c "{script}" {source} {target}`'
