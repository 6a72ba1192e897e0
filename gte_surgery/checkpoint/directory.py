"""A checkpoint directory opened: config, index, shard headers, the list of all files, and what is wrong with them.

Only JSON and headers are read, only regular files are opened, and nothing outside the directory but a hub cache's own
blobs. What cannot be read becomes a `Fault`; judging is left to the rules.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gte_surgery.checkpoint.adapters import CONFIG as ADAPTER_CONFIG
from gte_surgery.checkpoint.adapters import AdapterFacts, adapters_of, word_rows
from gte_surgery.checkpoint.faults import Fault, FaultKind, unreadable
from gte_surgery.checkpoint.files import FileEntry, opened, read_json, reason_of
from gte_surgery.checkpoint.hub.address import Address, address_of
from gte_surgery.checkpoint.index import (
    INDEX_NAME,
    Index,
    compare_index,
    compare_total_size,
    read_index,
    shard_files,
    weights_missing,
)
from gte_surgery.checkpoint.json.strict import Document, kind_of
from gte_surgery.checkpoint.listing import (
    JOURNAL_FORMATS,
    JOURNAL_NAME,
    SURGERY_FOLDER,
    Listing,
    is_leftover,
    list_directory,
    list_files,
    ways_to,
    why_unusable,
)
from gte_surgery.checkpoint.nearby import WANTED, base_of, nearby, no_checkpoint, others
from gte_surgery.checkpoint.printable import pasteable, shown
from gte_surgery.checkpoint.receipts import compare_receipt
from gte_surgery.checkpoint.shards import Shard, StoredTensor, duplicate_tensors, read_shards
from gte_surgery.errors import CheckpointError, JsonError
from gte_surgery.findings import Location, several

if TYPE_CHECKING:
    from gte_surgery.checkpoint.hub.snapshot import Snapshot

__all__ = [
    "Checkpoint", "Fault", "FaultKind", "FileEntry", "Index", "Shard", "StoredTensor", "open_checkpoint",
    "open_listing",
]  # fmt: skip

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
MODULES_NAME = "modules.json"
_MERGE = "merge it into its base with PEFT (`merge_and_unload`, then `save_pretrained`); the base lies elsewhere"
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What lies in a checkpoint directory, read once.

    `config` is a JSON object, or None when absent or unreadable; `index` is None when absent, stale or unreadable.
    `files` are all files below the directory, sorted by name, without `.gte-surgery/` and `.git/`; `links_out` names
    those that are links leading out of it, which are never opened; `restated` those of the shards whose tensors are
    told with other names or shapes than they are stored with (see `restated`). `faults` are in the order of their
    discovery. `snapshot` is what it is read from where that is a hub; `path` means nothing then. `address` is where it
    came from into a hub's cache. `around` are the files of the save that it is the transformer of, "../modules.json",
    which no surgery carries (see `nested`).
    """

    path: Path
    config: Document | None
    index: Index | None
    shards: tuple[Shard, ...]
    files: tuple[FileEntry, ...]
    faults: tuple[Fault, ...]
    links_out: frozenset[str] = frozenset()
    snapshot: Snapshot | None = None
    address: Address | None = None
    restated: frozenset[str] = frozenset()
    around: tuple[FileEntry, ...] = ()
    _read: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What messages call it: its path, or its address with the commit."""
        return str(self.snapshot or self.address or self.path)

    @property
    def values(self) -> Mapping[str, object]:
        """The members of config.json as they are written; empty when it is absent, unreadable or not an object."""
        return self.config.members if self.config is not None else {}

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """All tensors by name, shard by shard in offset order; of two with one name the first."""
        return self.once(_tensors)

    def file(self, name: str) -> FileEntry | None:
        """The file called `name`, relative to the directory, or None."""
        return self.once(_by_name).get(name)

    def has(self, name: str) -> bool:
        return self.file(name) is not None

    def once(self, read: Callable[[Checkpoint], Found]) -> Found:
        """What `read` makes of this checkpoint; asked again, it is not read again."""
        if read not in self._read:
            self._read[read] = read(self)
        found: Found = self._read[read]
        return found

    def readable(self, name: str) -> FileEntry | None:
        """The file called `name` if it may be opened: regular, and not a link that leads out of the checkpoint."""
        file = self.file(name)
        return file if file is not None and not why_unusable(file, self.links_out) else None

    def document(self, name: str) -> Document | None:
        """What the small JSON file called `name` holds, None without it. Raises CheckpointError if it is unreadable."""
        if not self.has(name):
            return None
        file = self.readable(name)
        if file is None:
            raise CheckpointError(f"{name}: not a regular file of this checkpoint")
        return read_json(file)


def _tensors(checkpoint: Checkpoint) -> Mapping[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for shard in checkpoint.shards:
        for entry in shard.entries:
            found.setdefault(entry.name, StoredTensor(shard, entry))
    return found


def _by_name(checkpoint: Checkpoint) -> Mapping[str, FileEntry]:
    return {entry.name: entry for entry in (*checkpoint.files, *checkpoint.around)}


def open_checkpoint(path: Path | str) -> Checkpoint:
    """Open the checkpoint in the directory `path`, or the one `.safetensors` file `path` and the config.json beside it,
    or the one on a hub at an address such as "hf://org/name".

    Raises FetchError where a hub does not give it, and CheckpointError only if `path` does not exist or is neither of
    the first two; anything else becomes a Fault.
    """
    if (address := address_of(path)) is not None:
        return _open_address(address)
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise no_checkpoint(path, reason_of(error)) from None
    if stat.S_ISDIR(mode):
        expected = (CONFIG_NAME, WEIGHTS_NAME, INDEX_NAME, MODULES_NAME)
        return _open(list_directory(path, expected), WEIGHTS_NAME, is_on_disk=True)
    if not stat.S_ISREG(mode) or path.suffix != ".safetensors":
        raise no_checkpoint(path, "neither a directory nor a .safetensors file")
    root = path.parent
    beside = {name: root / name for name in (CONFIG_NAME, path.name) if os.path.lexists(root / name)}
    return _open(list_files(root, beside, trusted=(path.name,)), path.name, is_on_disk=True)


def _open_address(address: Address) -> Checkpoint:
    """The checkpoint on a hub; where that is not to be asked, its snapshot in the cache on this disk."""
    from gte_surgery.checkpoint.hub.snapshot import cached_snapshot, open_snapshot

    if (cached := cached_snapshot(address)) is not None:
        return _in_cache(*cached)
    snapshot = open_snapshot(address)
    return replace(_open(snapshot.listing, WEIGHTS_NAME, is_on_disk=False), snapshot=snapshot)


def open_near(path: Path | str, tell: Callable[[str], object] | None = None) -> Checkpoint:
    """As `open_checkpoint`, for programs that read paths: what lies on a hub is downloaded into its cache on this disk.

    `tell` is told how much that is before it begins.
    """
    if (address := address_of(path)) is None:
        return open_checkpoint(path)
    from gte_surgery.checkpoint.hub.snapshot import downloaded

    return _in_cache(*downloaded(address, tell))


def _in_cache(folder: Path, address: Address) -> Checkpoint:
    return replace(open_checkpoint(folder), address=address)


def open_found(path: Path | str, opening: Callable[[Path | str], Checkpoint] = open_checkpoint) -> Checkpoint:
    """As `open_checkpoint`, but raises CheckpointError as well where nothing of a checkpoint is in the directory."""
    checkpoint = opening(path)
    for fault in checkpoint.faults:
        if fault.kind is FaultKind.NOT_A_CHECKPOINT:
            reason = f"{fault.message} [GTE001]"
            if checkpoint.snapshot is not None:
                raise CheckpointError(f"{checkpoint.name}: {reason}", fault.hint)
            raise no_checkpoint(checkpoint.path, reason)
    return checkpoint


def open_listing(path: Path, files: Mapping[str, Path]) -> Checkpoint:
    """Open a checkpoint that is still being put together: each relative name with its content at the given path.

    `path` is where it will lie and need not exist. The given paths are trusted: links are followed.
    """
    return _open(list_files(path, files, trusted=tuple(files)), WEIGHTS_NAME, is_on_disk=False)


def open_folder(outer: Checkpoint, folder: str) -> Checkpoint:
    """The checkpoint in a folder of `outer`, which sees the files there as "../modules.json"."""
    inside = f"{folder}/"
    below = {file.name.removeprefix(inside): file for file in outer.files if file.name.startswith(inside)}
    inner = {name: file._replace(name=name) for name, file in below.items()}
    links = frozenset(name.removeprefix(inside) for name in outer.links_out if name.startswith(inside))
    around = (file._replace(name=f"../{file.name}") for file in outer.files if outer.readable(file.name))
    opened = _open(Listing(outer.path / folder, inner, {}, links), WEIGHTS_NAME, outer.snapshot is None)
    return replace(opened, snapshot=outer.snapshot, around=tuple(around))


def _open(listing: Listing, weights_name: str, is_on_disk: bool) -> Checkpoint:
    faults = [
        Fault(FaultKind.UNREADABLE, Location(file=shown(name)), reason) for name, reason in listing.unreadable.items()
    ]
    config: Document | None = None
    index: Index | None = None
    shards: tuple[Shard, ...] = ()
    has_weights = weights_name in listing.files or INDEX_NAME in listing.files
    if not has_weights and CONFIG_NAME not in listing.files:
        faults.append(_not_a_checkpoint(listing))
    else:
        config, found = _read_config(listing)
        faults += found
        index, shards, found = _read_weights(listing, weights_name)
        faults += found
        faults += compare_receipt(listing, shards)
    faults += several(_leftovers(listing))
    told = {fault.location.file for fault in faults} | ways_to(index.shard_names if index else ())
    faults += several(_not_ours(listing, told))
    if is_on_disk:
        faults += _unfinished_surgery(listing.root)
    files = tuple(listing.files.values())
    return Checkpoint(listing.root, config, index, shards, files, tuple(faults), listing.links_out)


def _not_a_checkpoint(listing: Listing) -> Fault:
    message, root = f"neither {CONFIG_NAME} nor {WEIGHTS_NAME} nor {INDEX_NAME} is here", listing.root
    if ADAPTER_CONFIG in listing.files:
        facts = _adapter_in(listing)
        told = f": {facts.words}; it {facts.fit}" if facts is not None else ""
        whole = f"{message}: an adapter of PEFT, no whole model{told}"
        return Fault(FaultKind.NOT_A_CHECKPOINT, Location(), whole, _MERGE)
    if (address := address_of(root)) is not None:
        return Fault(FaultKind.NOT_A_CHECKPOINT, Location(), message, _folders_of(address, listing))
    found = nearby(root)
    hint = f"did you mean {pasteable('check', found[0])}? {others(found)}".strip() if found else WANTED
    return Fault(FaultKind.NOT_A_CHECKPOINT, Location(), message, hint)


def _folders_of(address: Address, listing: Listing) -> str:
    """What to do where a repository has no checkpoint in the folder that was named: name the one that has."""
    folders = [name[: -len(CONFIG_NAME) - 1] for name in listing.files if name.endswith(f"/{CONFIG_NAME}")]
    whole = [
        folder for folder in folders if any(f"{folder}/{name}" in listing.files for name in (WEIGHTS_NAME, INDEX_NAME))
    ]
    if not whole:
        return "name the folder that holds config.json and the weights: hf://org/name/folder"
    meant = address._replace(folder="/".join(filter(None, (address.folder, whole[0]))))
    return f"did you mean {pasteable('check', str(meant))}?"


def adapter_in(path: Path) -> AdapterFacts | None:
    """What the adapter of PEFT in a folder is, beside its base where that lies on this disk; None where none is."""
    if not (path / ADAPTER_CONFIG).is_file() or (path / CONFIG_NAME).exists():
        return None
    return _adapter_in(list_directory(path, ()))


def _adapter_in(listing: Listing) -> AdapterFacts | None:
    here = Checkpoint(listing.root, None, None, (), tuple(listing.files.values()), (), listing.links_out)
    adapter = next(iter(adapters_of(here)), None)
    if adapter is None:
        return None
    base = base_of(adapter.base, listing.root)
    return adapter.facts(word_rows(open_checkpoint(base).tensors) if base is not None else None)


def _read_config(listing: Listing) -> tuple[Document | None, list[Fault]]:
    file = listing.files.get(CONFIG_NAME)
    location = Location(file=CONFIG_NAME)
    if file is None:
        return None, [Fault(FaultKind.CONFIG_MISSING, location, "does not exist")]
    if unusable := why_unusable(file, listing.links_out):
        return None, [Fault(FaultKind.UNREADABLE, location, unusable)]
    try:
        document = read_json(file)
    except CheckpointError as error:
        kind = FaultKind.CONFIG_UNREADABLE if isinstance(error, JsonError) else FaultKind.UNREADABLE
        return None, [unreadable(kind, CONFIG_NAME, error)]
    if not isinstance(document.value, dict):
        message = f"{kind_of(document.value)}, wanted an object"
        return None, [Fault(FaultKind.CONFIG_UNREADABLE, document.location(""), message)]
    return document, []


def _read_weights(listing: Listing, weights_name: str) -> tuple[Index | None, tuple[Shard, ...], list[Fault]]:
    single, index_file = listing.files.get(weights_name), listing.files.get(INDEX_NAME)
    if single is None and index_file is None:
        return None, (), [weights_missing(listing, weights_name)]
    index, faults = read_index(index_file, listing.links_out) if index_file else (None, [])
    if single is not None and index is not None and index.shard_names != (weights_name,):
        faults = []  # nobody reads it
        message = f"{weights_name} lies beside it, which transformers reads instead"
        hint = "remove the index, and the shards it names if nothing else needs them"
        faults.append(Fault(FaultKind.STALE_INDEX, Location(file=INDEX_NAME), message, hint))
        index = None
    files: list[FileEntry] = []
    if single is not None:
        unusable = why_unusable(single, listing.links_out)
        files = [] if unusable else [single]
        if unusable:
            faults.append(Fault(FaultKind.UNREADABLE, Location(file=shown(weights_name)), unusable))
    elif index is not None:
        files, unsafe = shard_files(index, listing)
        faults += unsafe
    shards, found = read_shards(files)
    faults += found
    faults += _disagreements(index, shards, is_whole=not faults)
    return index, shards, faults


def _disagreements(index: Index | None, shards: tuple[Shard, ...], is_whole: bool) -> list[Fault]:
    faults = duplicate_tensors(shards)
    if index is not None:
        faults += compare_index(index, shards)
        if is_whole and not faults and (fault := compare_total_size(index, shards)):
            faults.append(fault)
    return faults


def _leftovers(listing: Listing) -> Iterator[Fault]:
    for file in listing.files.values():
        if is_leftover(file.name):
            message = f"a temporary file of {file.size} bytes"
            yield Fault(FaultKind.LEFTOVER, Location(file=shown(file.name)), message)


def _not_ours(listing: Listing, told: Collection[str | None]) -> Iterator[Fault]:
    """Files that are never opened, and that no surgery carries into another directory."""
    for file in listing.files.values():
        unusable = why_unusable(file, listing.links_out)
        if unusable and shown(file.name) not in told:
            yield Fault(FaultKind.NOT_CARRIED, Location(file=shown(file.name)), unusable)


def _is_journal(root: Path) -> bool:
    """Whether the journal says that it is of a format that `recover` reads."""
    try:
        with opened(root / SURGERY_FOLDER / JOURNAL_NAME) as file:
            raw = file.read(0, 64)
    except CheckpointError:
        return True
    format_number = re.match(rb'\s*\{\s*"format": (\d+)\b', raw)
    return format_number is not None and int(format_number[1]) in JOURNAL_FORMATS


def _unfinished_surgery(root: Path) -> Iterator[Fault]:
    command = pasteable("recover", root)
    if os.path.lexists(root / SURGERY_FOLDER / JOURNAL_NAME):
        location = Location(file=f"{SURGERY_FOLDER}/{JOURNAL_NAME}")
        if not _is_journal(root):
            command = (
                f"its journal cannot be read: if you know all files to be whole, remove the folder {SURGERY_FOLDER}"
            )
        yield Fault(FaultKind.INTERRUPTED_SURGERY, location, "a surgery was cut short after its commit", command)
    elif stages := sorted(name.name for name in (root / SURGERY_FOLDER).glob("stage*")):
        location = Location(file=f"{SURGERY_FOLDER}/{shown(stages[0])}")
        message = "a surgery was cut short before its commit, or is running"
        yield Fault(FaultKind.UNFINISHED_STAGING, location, message, f"if none is running: {command}")
