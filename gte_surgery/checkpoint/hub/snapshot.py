"""A repository on a hub at one commit, as what a checkpoint is read from: its files, and what has been read of them.

The commit is asked for once, with names, sizes and ETags of all files; names are hostile input. What lies in the hub's
own cache on this disk is read there.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, get_ident
from typing import Any

from gte_surgery.checkpoint.bounds import count_values
from gte_surgery.checkpoint.files import FileEntry, read_whole
from gte_surgery.checkpoint.hub.address import WANTED, Address
from gte_surgery.checkpoint.hub.reading import OpenedRemote, Supply
from gte_surgery.checkpoint.hub.transfer import Hub, Patience, Remote, Told, TransientError
from gte_surgery.checkpoint.listing import SURGERY_FOLDER, Listing, is_unsafe
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.source import Disk, LocalFile, Opened, Place
from gte_surgery.errors import CheckpointError, FetchError

_MOST_FILES = 10_000
_MOST_VALUES = 250_000
"""Of what a hub says of a model, by `bounds.count_values`: a file has eight."""
_MOST_NAME, _MOST_DEPTH = 1024, 32
"""Characters of a file's name, and the folders that it may lie in."""
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_LOADED = (".json", ".txt", ".model", ".safetensors", ".py")
"""How the names of files end that a model is loaded from."""


@dataclass(frozen=True, slots=True)
class RemoteFile(Place):
    """A file of a snapshot."""

    snapshot: Snapshot = field(repr=False, compare=False)
    remote: Remote

    def __str__(self) -> str:
        return str(self.remote)

    @property
    def near(self) -> LocalFile | None:
        return self.snapshot.cached(self.remote)

    def open(self, disk: Disk | None = None) -> Opened:
        near = self.near
        return near.open(disk) if near is not None else OpenedRemote(self.snapshot.supply, self.remote)


class Snapshot:
    """The files of one commit below the address's folder. Nothing is fetched before it is read."""

    def __init__(self, address: Address, hub: Hub, remotes: Mapping[str, Remote], branch: str = "") -> None:
        self.address, self.hub, self._remotes, self._branch = address, hub, remotes, branch
        self.supply = Supply(hub)
        self._near: dict[Remote, LocalFile | None] = {}

    def __str__(self) -> str:
        return str(self.address)

    @property
    def commit(self) -> str:
        return self.address.revision

    @property
    def listing(self) -> Listing:
        """As one of a directory."""
        entries = {name: self._entry(name, remote) for name, remote in sorted(self._remotes.items())}
        return Listing(Path(str(self)), entries, {}, frozenset())

    def _entry(self, name: str, remote: Remote) -> FileEntry:
        near = self.cached(remote)
        changed = 0 if near is None else near.path.stat().st_mtime_ns
        return FileEntry(name, RemoteFile(self, remote), remote.size, changed, 0o644, False)

    def etag(self, name: str) -> str:
        """Of the file that the checkpoint has under this name: its SHA-256 if it is in LFS, else what git calls it."""
        return self._remotes[name].etag

    def cached(self, remote: Remote) -> LocalFile | None:
        """The file in the hub's cache on this disk, where it lies there whole."""
        if remote not in self._near:
            from huggingface_hub import try_to_load_from_cache

            found = try_to_load_from_cache(remote.repository, remote.name, revision=remote.commit)
            place = LocalFile(Path(found)) if isinstance(found, str) else None
            is_whole = place is not None and place.path.is_file() and place.path.stat().st_size == remote.size
            self._near[remote] = place if is_whole else None
        return self._near[remote]

    def download(self, tell: Callable[[str], object] | None = None) -> Path:
        """Fetch all that a model is loaded from into the hub's cache on this disk; the folder there.

        `tell` is told how much that is before it begins. Raises FetchError.
        """
        wanted = [(name, file) for name, file in self.listing.files.items() if file.name.endswith(_LOADED)]
        far = sum(file.size for _, file in wanted if file.place.near is None)
        if far and tell is not None:
            tell(f"fetching {far:,} bytes of {self} into the hub's cache")
        paths = [self.kept(name) for name, _ in wanted]
        if not paths:
            raise FetchError(f"{self}: has nothing that a model is loaded from")
        return paths[0].parents[wanted[0][0].count("/")]

    def kept(self, name: str) -> Path:
        """A file in the hub's cache on this disk, fetched if it is not there, where huggingface_hub keeps it too: the
        content in blobs, by its ETag, and a link to it in the commit's snapshot. Raises FetchError.
        """
        from huggingface_hub import constants

        remote = self._remotes[name]
        folder = Path(constants.HF_HUB_CACHE, f"models--{remote.repository.replace('/', '--')}")
        if (near := self.cached(remote)) is not None:
            self._refer(folder)
            return near.path
        if _COMMIT.fullmatch(remote.etag) is None:
            raise FetchError(f"{remote}: its ETag is {shown(remote.etag[:64])}, which names no content")
        blob, link = folder / "blobs" / remote.etag, folder / "snapshots" / remote.commit / remote.name
        try:
            if not blob.is_file() or blob.stat().st_size != remote.size:
                self._fetch(remote, blob)
            link.parent.mkdir(parents=True, exist_ok=True)
            arriving = _arriving(blob)
            arriving.symlink_to(os.path.relpath(blob, link.parent))
            arriving.replace(link)  # others may do the same now
        except OSError as error:
            raise FetchError(f"{remote}: {error.filename or folder}: {error.strerror or error}") from None
        self._near[remote] = LocalFile(link)
        self._refer(folder)
        return link

    def _refer(self, folder: Path) -> None:
        """Which commit the branch is, as the library notes it: without a hub it is looked up there, and what no branch
        refers to is the first to be pruned."""
        from huggingface_hub import constants

        branch, commit = self._branch or constants.DEFAULT_REVISION, self.commit.encode()
        note = folder / "refs" / branch
        if branch == self.commit or is_unsafe(branch):
            return
        with suppress(OSError, CheckpointError):
            if not note.is_file() or read_whole(note, _MOST_NAME) != commit:
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_bytes(commit)

    def _fetch(self, remote: Remote, blob: Path) -> None:
        """The content as a new file, whole or not at all."""
        digest = remote.digest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        arriving = _arriving(blob)
        try:
            with arriving.open("xb") as file:
                for chunk in self.hub.chunks(remote, 0, remote.size):
                    digest.update(chunk)
                    file.write(chunk)
            remote.require(digest)
            arriving.replace(blob)
        finally:
            arriving.unlink(missing_ok=True)


def open_snapshot(address: Address) -> Snapshot:
    """The commit that the address means now. Raises FetchError where the hub does not say, or says what cannot be."""
    hub = Hub()
    commit, remotes = _asked_model(hub, address)
    if len(remotes) > _MOST_FILES:
        raise FetchError(f"{address}: {len(remotes)} files, at most {_MOST_FILES} are looked at")
    _require_sane(address, [remote.name for remote in remotes])
    below = f"{address.folder}/" if address.folder else ""
    wanted = {each.name.removeprefix(below): each for each in remotes if each.name.startswith(below)}
    return Snapshot(address._replace(revision=commit), hub, wanted, address.revision)


def downloaded(address: Address, tell: Callable[[str], object] | None = None) -> tuple[Path, Address]:
    """The folder in the hub's cache on this disk, and the address of its commit; see `Snapshot.download`."""
    if (cached := cached_snapshot(address)) is not None:
        return cached
    snapshot = open_snapshot(address)
    return snapshot.download(tell), snapshot.address


def downloaded_file(address: Address, name: str) -> tuple[Address, Path]:
    """A file of a checkpoint in the hub's cache on this disk, fetched if it is not there; with it, the address of the
    commit that it is of. Raises FetchError, also where the checkpoint has no such file.
    """
    snapshot = open_snapshot(address)
    if name not in snapshot.listing.files:
        raise FetchError(f"{snapshot}: has no {name}")
    return snapshot.address, snapshot.kept(name)


def cached_snapshot(address: Address) -> tuple[Path, Address] | None:
    """Where HF_HUB_OFFLINE says that no hub is to be asked, the folder in the cache on this disk, and the address of
    its commit. Raises FetchError.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    below = glob.escape(f"{address.folder}/" if address.folder else "")
    wanted = [f"{below}*{ending}" for ending in _LOADED]  # `download` takes no others, and here none is missed
    try:
        found = snapshot_download(
            address.repository, revision=address.revision or None, allow_patterns=wanted, local_files_only=True
        )
    except LocalEntryNotFoundError:
        message = f"{address}: not in the hub's cache, and HF_HUB_OFFLINE forbids to ask for it"
        commits = sorted(
            Path(constants.HF_HUB_CACHE).glob(f"models--{address.repository.replace('/', '--')}/snapshots/*")
        )
        meant = str(address._replace(revision=commits[0].name)) if commits and not address.revision else ""
        raise FetchError(message, "", str(address) if meant else "", meant) from None
    return Path(found, address.folder), address._replace(revision=Path(found).name)


def _asked_model(hub: Hub, address: Address) -> tuple[str, list[Remote]]:
    """What the hub says of the model: the commit, and all its files."""
    patience = Patience(str(address), Event())
    while True:
        try:
            told = hub.model(address.repository, address.revision)
        except TransientError as failure:
            patience.wait(failure)
            continue
        if told.status >= 400:
            raise _refused(address, told)
        try:
            if count_values(told.content) > _MOST_VALUES:
                raise ValueError(f"more than {_MOST_VALUES} values")
            found = json.loads(told.content)
            if _COMMIT.fullmatch(commit := found["sha"]) is None:
                raise ValueError(f"no commit: {commit[:64]}")
            return commit, [_remote(address, commit, sibling) for sibling in found.get("siblings") or ()]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FetchError(f"{address}: the hub's answer cannot be read: {shown(str(error))}") from None


def _arriving(path: Path) -> Path:
    """What becomes this file by one renaming: no other process or thread writes it."""
    return path.with_name(f"{path.name}.{os.getpid()}.{get_ident()}.incomplete")


def _refused(address: Address, told: Told) -> FetchError:
    """As huggingface_hub reads it [2.4, utils/_http.py, hf_raise_for_status]; 401 is most often for none."""
    login, status = "log in with `hf auth login`, or set HF_TOKEN", told.status
    code, said = (told.headers.get(f"x-error-{each}", "") for each in ("code", "message"))
    if code == "GatedRepo":
        return FetchError(f"{address}: is gated, and this login has no access", login)
    if code == "RevisionNotFound":
        return FetchError(f"{address}: no such revision", WANTED)
    if code == "RepoNotFound" or (status == 401 and said != "Invalid credentials in Authorization header"):
        return FetchError(f"{address}: no such repository, or a private one", f"{WANTED}; {login} for a private one")
    return FetchError(f"{address}: the hub answered {status}", login if status in (401, 403) else "")


def _remote(address: Address, commit: str, sibling: Mapping[str, Any]) -> Remote:
    name, lfs, size = str(sibling["rfilename"]), sibling.get("lfs"), sibling.get("size")
    etag = lfs.get("sha256") if lfs else sibling.get("blobId")
    if type(size) is not int or not 0 <= size < 2**63 or not isinstance(etag, str) or not etag:
        raise FetchError(f"{address}: {shown(name[:_MOST_NAME])}: the hub does not say size and ETag")
    return Remote(address.repository, commit, name, size, etag)


def _require_sane(address: Address, names: list[str]) -> None:
    """Names become paths below a directory of the user's: raises FetchError for any that would not stay there."""
    taken = set(names)
    for name in names:
        parts = name.split("/", _MOST_DEPTH)
        if (
            len(parts) > _MOST_DEPTH
            or len(name) > _MOST_NAME
            or not all(map(_is_file_name, parts))
            or is_unsafe(name)
            or parts[0] == SURGERY_FOLDER
            or any("/".join(parts[:depth]) in taken for depth in range(1, len(parts)))
        ):
            raise FetchError(f"{address}: has a file named {shown(name[:_MOST_NAME])!r}, which no checkpoint has")
    if len(taken) != len(names):
        raise FetchError(f"{address}: lists a file twice")


def _is_file_name(part: str) -> bool:
    """Whether a file system takes it, and an address can say it."""
    try:
        return len(part.encode()) <= 255
    except UnicodeEncodeError:
        return False
