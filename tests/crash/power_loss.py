"""A disk in memory that knows what is durable, and every directory that a power loss may leave.

The model is the worst that POSIX allows a file system with atomic renames. The content of a file is durable up to its
last `fsync`; a name in a folder (made, removed, renamed) up to the last `fsync` of that folder. What is not durable may
be lost or kept, each change by itself, in any combination; but a rename never loses the file: its old name goes only
if the new one is there. Between two folders the new name may come without the old one going.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.holder import Holder

_inodes = itertools.count(1)
_ticks = itertools.count(1)


@dataclass(eq=False)
class File:
    """`content` is what a reader sees, `durable` what a power loss cannot take."""

    mode: int
    content: bytes = b""
    durable: bytes = b""
    links: int = 1
    time: int = field(default_factory=lambda: next(_ticks))
    inode: int = field(default_factory=lambda: next(_inodes))


@dataclass(eq=False)
class Folder:
    """`names` is what a reader sees, `durable` what a power loss cannot take."""

    mode: int = 0o755
    names: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)
    inode: int = field(default_factory=lambda: next(_inodes))


@dataclass(eq=False)
class Step:
    """Changes of names that become durable together: folder, name, and what it stands for (None: removed)."""

    changes: tuple[tuple[Folder, str, File | Folder | None], ...]
    requires: Step | None = None

    def touches(self, folder: Folder) -> bool:
        return any(place is folder for place, _, _ in self.changes)

    def collides(self, other: Step) -> bool:
        return any(a is c and b == d for a, b, _ in self.changes for c, d, _ in other.changes)


class PowerLossFilesystem(Filesystem):
    """`observe` is called after every operation that changes the disk or makes a change durable."""

    def __init__(
        self,
        observe: Callable[[PowerLossFilesystem], None] | None = None,
        has_hard_links: bool = True,
        has_exchange: bool = True,
    ) -> None:
        self.has_exchange = has_exchange
        self.root = Folder()
        self.observe = observe
        self.has_hard_links = has_hard_links
        self.pending: list[Step] = []
        self._open: dict[int, File] = {}
        self._descriptors = itertools.count(1000)

    def settle(self) -> None:
        """Make everything durable."""
        for node in self._nodes():
            if isinstance(node, File):
                node.durable = node.content
            else:
                node.durable = dict(node.names)
        self.pending.clear()

    def forget(self, path: Path) -> None:
        """Let a power loss take what a file holds, as of one that was written a moment ago."""
        file = self._find(path)
        assert isinstance(file, File)
        file.durable = b""

    def after_power_loss(self) -> Iterator[PowerLossFilesystem]:
        """Disks that a power loss may leave: all or nothing lost, each change alone lost or kept, data or not."""
        steps = frozenset(range(len(self.pending)))
        choices = {frozenset(), steps}
        choices |= {steps - {step} for step in steps} | {frozenset({step}) for step in steps}
        dirty = [node for node in self._nodes() if isinstance(node, File) and node.content != node.durable]
        for choice in choices:
            yield self._left(choice, {})
            if dirty:
                yield self._left(choice, {file: file.content for file in dirty})
        for file in dirty:
            others = {other: other.content for other in dirty if other is not file}
            yield self._left(steps, others)
            yield self._left(steps, {**others, file: file.content[: len(file.content) // 2]})

    def fingerprint(self) -> object:
        """Equal for disks that no reader can tell apart."""
        order: dict[File, int] = {}

        def seen(node: File | Folder) -> object:
            if isinstance(node, Folder):
                return tuple((name, seen(below)) for name, below in sorted(node.names.items()))
            return (order.setdefault(node, len(order)), node.mode, node.content)

        return seen(self.root)

    def after_death(self, left: PowerLossFilesystem) -> PowerLossFilesystem:
        """The disk as the next process sees it through `left`: the same changes are not yet durable."""
        copies: dict[int, File | Folder] = {}
        left.root = _copied(self.root, copies)
        renewed: dict[int, Step] = {}
        for step in self.pending:
            changes = tuple(
                (_copied(f, copies), name, node and _copied(node, copies)) for f, name, node in step.changes
            )
            renewed[id(step)] = Step(changes, renewed.get(id(step.requires)))
        left.pending = list(renewed.values())
        return left

    def _left(self, choice: frozenset[int], contents: dict[File, bytes]) -> PowerLossFilesystem:
        """The disk with the chosen pending steps done, durable contents but for `contents`."""
        kept: list[Step] = []
        for number, step in enumerate(self.pending):
            if number in choice and (
                step.requires is None or step.requires in kept or step.requires not in self.pending
            ):
                kept.append(step)
        changes: dict[Folder, dict[str, File | Folder | None]] = {}
        for step in kept:
            for folder, name, node in step.changes:
                changes.setdefault(folder, {})[name] = node
        left = PowerLossFilesystem(has_hard_links=self.has_hard_links, has_exchange=self.has_exchange)
        files: dict[File, File] = {}

        def rebuilt(folder: Folder) -> Folder:
            names = {**folder.durable, **changes.get(folder, {})}
            new = Folder(folder.mode)
            for name, node in names.items():
                if isinstance(node, Folder):
                    new.names[name] = rebuilt(node)
                elif node is not None:
                    if node in files:
                        files[node].links += 1
                    else:
                        files[node] = File(node.mode, contents.get(node, node.durable), time=node.time)
                    new.names[name] = files[node]
            return new

        left.root = rebuilt(self.root)
        left.settle()
        return left

    def _nodes(self) -> Iterator[File | Folder]:
        todo: list[File | Folder] = [self.root]
        while todo:
            node = todo.pop()
            yield node
            if isinstance(node, Folder):
                todo += node.names.values()

    def _find(self, path: Path) -> File | Folder:
        node: File | Folder = self.root
        for part in path.parts[1:]:
            if not isinstance(node, Folder):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))
            if part not in node.names:
                raise FileNotFoundError(errno.ENOENT, "nothing there", str(path))
            node = node.names[part]
        return node

    def _folder(self, path: Path) -> Folder:
        node = self._find(path)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))
        return node

    def _change(self, *changes: tuple[Folder, str, File | Folder | None], requires: Step | None = None) -> Step:
        for folder, name, node in changes:
            if node is None:
                del folder.names[name]
            else:
                folder.names[name] = node
        step = Step(changes, requires)
        self.pending.append(step)
        return step

    def _seen(self) -> None:
        if self.observe is not None:
            self.observe(self)

    def _opened(self, file: File) -> int:
        descriptor = next(self._descriptors)
        self._open[descriptor] = file
        return descriptor

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        folder = self._folder(path.parent)
        if path.name in folder.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self._change((folder, path.name, Folder(mode & ~0o022)))
        self._seen()

    def create(self, path: Path, mode: int | None = None) -> int:
        folder = self._folder(path.parent)
        if path.name in folder.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        file = File(0o644 if mode is None else mode)
        self._change((folder, path.name, file))
        self._seen()
        return self._opened(file)

    def open_read(self, path: Path) -> int:
        node = self._find(path)
        if isinstance(node, Folder):
            raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
        return self._opened(node)

    def open_own(self, path: Path) -> int:
        return self.open_read(path)

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor)

    def write(self, descriptor: int, content: bytes | bytearray | memoryview) -> None:
        self._open[descriptor].content += bytes(content)
        self._seen()

    def pread(self, descriptor: int, count: int, offset: int) -> bytes:
        return self._open[descriptor].content[offset : offset + count]

    def copy_range(self, source: int, destination: int, offset: int, count: int) -> None:
        self.write(destination, self.pread(source, count, offset))

    def chmod(self, descriptor: int, mode: int) -> None:
        self._open[descriptor].mode = mode

    def set_time(self, descriptor: int, mtime_ns: int) -> None:
        self._open[descriptor].time = mtime_ns

    def fsync(self, descriptor: int) -> None:
        file = self._open[descriptor]
        file.durable = file.content
        self._seen()

    def fsync_directory(self, path: Path) -> None:
        folder = self._folder(path)
        wanted: list[Step] = []
        for step in reversed(self.pending):
            if step.touches(folder) or any(later.requires is step or later.collides(step) for later in wanted):
                wanted.append(step)
        for step in reversed(wanted):
            for place, name, node in step.changes:
                if node is None:
                    place.durable.pop(name, None)
                else:
                    place.durable[name] = node
        self.pending = [step for step in self.pending if step not in wanted]
        self._seen()

    def link(self, source: Path, destination: Path) -> None:
        if not self.has_hard_links:
            raise OSError(errno.EOPNOTSUPP, "no hard links here")
        file, folder = self._find(source), self._folder(destination.parent)
        if destination.name in folder.names:
            raise FileExistsError(errno.EEXIST, "exists", str(destination))
        assert isinstance(file, File)
        file.links += 1
        self._change((folder, destination.name, file))
        self._seen()

    def replace(self, source: Path, destination: Path) -> None:
        node, origin, folder = self._find(source), self._folder(source.parent), self._folder(destination.parent)
        old = folder.names.get(destination.name)
        if old is node:
            return
        if isinstance(old, Folder) and old.names:
            raise OSError(errno.ENOTEMPTY, "not empty", str(destination))
        if isinstance(old, File):
            old.links -= 1
        if origin is folder:
            self._change((folder, destination.name, node), (folder, source.name, None))
        else:
            is_folder = isinstance(node, Folder)
            added = (folder, destination.name, node)
            gone = (origin, source.name, None)
            if is_folder:
                self._change(added, gone)
            else:
                self._change(gone, requires=self._change(added))
        self._seen()

    def exchange(self, one: Path, other: Path) -> None:
        """Atomic, on the disk too: file systems that can exchange names write both into one entry of their journal."""
        if not self.has_exchange:
            raise OSError(errno.EINVAL, "no exchange here")
        first, second = self._find(one), self._find(other)
        here, there = self._folder(one.parent), self._folder(other.parent)
        self._change((here, one.name, second), (there, other.name, first))
        self._seen()

    def move(self, source: Path, destination: Path) -> None:
        if not self.has_exchange:
            raise OSError(errno.EINVAL, "no such rename here")
        if destination.name in self._folder(destination.parent).names:
            raise FileExistsError(errno.EEXIST, "exists", str(destination))
        self.replace(source, destination)

    def holder(self) -> Holder:
        return Holder(1, "simulated")

    def is_dead(self, holder: Holder) -> bool:
        return True

    def wait(self, seconds: float) -> None:
        pass

    def unlink(self, path: Path) -> None:
        file = self._find(path)
        if isinstance(file, Folder):
            raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
        file.links -= 1
        self._change((self._folder(path.parent), path.name, None))
        self._seen()

    def rmdir(self, path: Path) -> None:
        if self._folder(path).names:
            raise OSError(errno.ENOTEMPTY, "not empty", str(path))
        self._change((self._folder(path.parent), path.name, None))
        self._seen()

    def listdir(self, path: Path) -> list[str]:
        return sorted(self._folder(path).names)

    def lstat(self, path: Path) -> os.stat_result:
        return _status(self._find(path))

    def fstat(self, descriptor: int) -> os.stat_result:
        return _status(self._open[descriptor])

    def is_writable(self, path: Path) -> bool:
        return isinstance(self._find(path), Folder)

    def attributes(self, path: Path) -> dict[str, bytes]:
        return {}

    def is_immutable(self, path: Path) -> bool:
        return False

    def is_mount_point(self, path: Path) -> bool:
        return False

    def free_bytes(self, path: Path) -> int:
        return 1 << 40

    def lock(self, descriptor: int) -> bool:
        return True


def _copied(node: File | Folder, copies: dict[int, File | Folder]) -> File | Folder:
    if node.inode not in copies:
        if isinstance(node, File):
            copies[node.inode] = File(node.mode, node.content, node.durable, node.links, node.time)
        else:
            copy = copies[node.inode] = Folder(node.mode)
            copy.names = {name: _copied(below, copies) for name, below in node.names.items()}
            copy.durable = {name: _copied(below, copies) for name, below in node.durable.items()}
    return copies[node.inode]


def _status(node: File | Folder) -> os.stat_result:
    if isinstance(node, Folder):
        return os.stat_result((stat.S_IFDIR | node.mode, node.inode, 1, 2, 0, 0, 0, 0, 0, 0))
    size = len(node.content)
    numbers = (stat.S_IFREG | node.mode, node.inode, 1, node.links, 0, 0, size, 0, 0, 0)
    return os.stat_result(numbers, {"st_mtime_ns": node.time})
