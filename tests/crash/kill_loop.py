"""Kills surgeries with SIGKILL at random moments, again and again, and looks at what is left.

python tests/crash/kill_loop.py FOLDER KILLS [SEED]

A parent that has imported and built everything forks a process for each round, which resizes, remaps, converts,
reinitialises, mends, makes, undoes or recovers, in place or into a new directory, hashing and with several threads.
Half of the kills come at any time of its run, half after it has said that its commit begins. What is left, after
`recover` where told (which is killed as well now and then), must be exactly the old or exactly the new checkpoint,
without leftovers, and undo must lead back; anything else ends the loop with a message. Prints how many kills hit, how
they ended, how often a commit had to be finished, and in which phase each surgery was hit.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from gte_surgery.surgery import verbs
from gte_surgery.surgery.commit import recovery, transaction
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import Recovery
from gte_surgery.surgery.commit.tree import state_beside, state_inside
from tests import builder
from tests.crash.faults import CHANGES, Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import Tree, leftovers, snapshot

FS = Filesystem()
DISK = 0.0003
"""Seconds added to each step for which a disk must be waited for: in memory there would be no time to kill."""
SIZES = {"layers": 2, "hidden": 32, "heads": 4, "intermediate": 48, "vocab": 4_000, "pad": 1}
REVERSED = range(3_999, 0, -2)
EDITS: dict[str, Callable[..., object]] = {
    "resize": lambda path, **how: verbs.resize(path, vocab=2_500, pad=0, type_vocab=0, threads=2, **how),
    "remap": lambda path, **how: verbs.remap(path, keep=REVERSED, pad=0, init="mean-cov", vocab=2_500, **how),
    "convert": lambda path, **how: verbs.convert(path, to="native", dtype="F16", shard_size=150_000, **how),
    "reinit": lambda path, **how: verbs.reinit(path, threads=2, **how),
    "fix": lambda path, **how: verbs.fix(path, **how),
}


def wait_for_disk() -> None:
    """Lets the steps of a commit take the time that they take on a disk."""

    def slow(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            time.sleep(DISK)
            return real(*arguments)

        return step

    for name in ("fsync", "fsync_directory", "replace", "link", "unlink", "rmdir"):
        setattr(Filesystem, name, slow(getattr(Filesystem, name)))


@dataclass(frozen=True, slots=True)
class Story:
    """What is killed: `act` leads from the directory `source` to `new`; `out` is where it writes, None: in place."""

    name: str
    source: Path
    act: Callable[[Path, Path | None], object]
    old: Tree | None
    new: Tree | None
    is_elsewhere: bool
    took: float
    commit_took: float

    @property
    def kind(self) -> str:
        return self.name.rstrip(" 0123456789")


def seen(folder: Path) -> Tree | None:
    return snapshot(FS, folder)


def story(base: Path, name: str, source: Path, act: Callable[[Path, Path | None], object], out: bool) -> Story:
    """The story, performed until it is warm, to know its end and its length."""
    elsewhere = base / "out" if out else None
    lengths = []
    for _ in range(3):
        folder = copied(source, base / "ckpt")
        shutil.rmtree(base / "out", ignore_errors=True)
        begun = time.perf_counter()
        with commits_told(marks := []):
            act(folder, elsewhere)
        ended = time.perf_counter()
        lengths.append((ended - begun, ended - marks[0] if marks else ended - begun))
    new, old = seen(elsewhere or folder), None if out else seen(source)
    return Story(name, source, act, old, new, out, *min(lengths))


def stories(base: Path) -> Iterator[Story]:
    config = builder.remote_config(vocab_size=4_000)
    source = builder.build(base / "source", config, head="mlm", shards=3)
    (source / "left.tmp").write_bytes(b"a save that was killed" * 1000)
    for name, edit in EDITS.items():
        yield story(base, name, source, lambda path, _, edit=edit: edit(path), out=False)
        yield story(base, f"{name} --out", source, lambda path, out, edit=edit: edit(path, out=out), out=True)
    yield story(base, "new", source, lambda _, out: verbs.new(out, release="gte-en-mlm-base", **SIZES), out=True)
    for name in ("resize", "convert"):
        done = copied(source, base / f"done {name}")
        EDITS[name](done)
        yield story(base, f"undo {name}", done, lambda path, _: verbs.undo(path), out=False)
    for number, dead in enumerate(deaths(base, source)):
        yield story(base, f"recover {number}", dead, lambda path, _: verbs.recover(path), out=False)


def deaths(base: Path, source: Path) -> Iterator[Path]:
    """Checkpoints on which a resize died: some before its commit, some in every part of it."""
    counting = FaultyFilesystem(Fault(1 << 30, counted=CHANGES))
    resize_on(copied(source, base / "ckpt"), counting)
    for number, at in enumerate(range(counting.count - 1, 0, -max(1, counting.count // 20))):
        folder = copied(source, base / f"dead {number}")
        try:
            resize_on(folder, FaultyFilesystem(Fault(at, counted=CHANGES)))
        except Crashed:
            state = state_inside(folder)
            if state.journal.exists() or any(state.path.glob("stage-*")):
                yield folder


def resize_on(folder: Path, filesystem: Filesystem) -> None:
    from gte_surgery.checkpoint.directory import open_checkpoint
    from gte_surgery.surgery.apply import Manner, apply
    from gte_surgery.surgery.edits import Resize

    checkpoint = open_checkpoint(folder)
    plan = verbs.plan_surgery(checkpoint, Resize(2_500, 0, 0))
    apply(plan, checkpoint, folder, None, Manner(hashes=False, threads=1, filesystem=filesystem))


def copied(source: Path, folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    return Path(shutil.copytree(source, folder))


def killed_at_work(act: Callable[[], object], delay: float, in_commit: bool) -> bool:
    """Acts in another process and kills it `delay` seconds after its start, or the start of its commit.

    Whether the kill came in time.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            if in_commit:
                with commits_told([], writing):
                    act()
            else:
                os.write(writing, b"x")
                act()
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"a surgery that nobody had killed yet failed with {code}")
    return code == -signal.SIGKILL


@contextmanager
def commits_told(marks: list[float], descriptor: int | None = None) -> Iterator[None]:
    """Marks the time at which a commit begins, or a recovery goes forward or back, and tells it through a pipe."""

    def telling(real: Callable[..., object]) -> Callable[..., object]:
        def told(*arguments: object, **options: object) -> object:
            if descriptor is not None and not marks:
                os.write(descriptor, b"x")
            marks.append(time.perf_counter())
            return real(*arguments, **options)

        return told

    places = (transaction.Transaction, "commit"), (recovery, "finish"), (recovery, "roll_back")
    reals = [getattr(*place) for place in places]
    for place, real in zip(places, reals, strict=True):
        setattr(*place, telling(real))
    try:
        yield
    finally:
        for place, real in zip(places, reals, strict=True):
            setattr(*place, real)


def phase(target: Path, is_elsewhere: bool) -> str:
    """How far a killed surgery had come, by what it left."""
    state = state_beside(target) if is_elsewhere else state_inside(target)
    if state.journal.exists():
        return "commit"
    if any((*state.path.glob("originals-*"), *state.path.glob("journal-*"))):
        return "setting aside"
    if any(state.path.glob("stage-*")):
        return "writing"
    return "locking or settled" if state.lock.exists() else "before or after"


class Loop:
    """The rounds and what they counted."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.random, self.counts = base, random.Random(seed), Counter[str]()
        self.phases: Counter[tuple[str, str, str]] = Counter()
        self.stories: dict[str, list[Story]] = {}
        for each in stories(base):
            self.stories.setdefault(each.kind, []).append(each)

    def round(self) -> None:
        chosen = self.random.choice(self.stories[self.random.choice(list(self.stories))])
        folder = copied(chosen.source, self.base / "ckpt")
        out = self.base / "out"
        shutil.rmtree(out, ignore_errors=True)
        target = out if chosen.is_elsewhere else folder
        in_commit = self.random.random() < 0.5
        delay = self.random.uniform(0, 1.2 * (chosen.commit_took if in_commit else chosen.took))
        if not killed_at_work(lambda: chosen.act(folder, out if chosen.is_elsewhere else None), delay, in_commit):
            return
        self.counts["killed"] += 1
        where = phase(target, chosen.is_elsewhere)
        self._settle(target)
        found = seen(target)
        if found not in (chosen.old, chosen.new) or leftovers(FS, target):
            sys.exit(f"{chosen.name}, killed in its {where}: neither the old nor the new checkpoint is left")
        if chosen.is_elsewhere and seen(folder) != seen(chosen.source):
            sys.exit(f"{chosen.name}: the source is not what it was")
        end = "new" if found == chosen.new else "old"
        self.counts[end] += 1
        self.phases[chosen.kind, where, end] += 1
        if self.random.random() < 0.1:
            self._go_on(chosen, folder, out, found)

    def _settle(self, target: Path) -> None:
        """Recovers, killing the recovery now and then."""
        while target.exists() or state_beside(target).path.exists():
            if self.random.random() < 0.7:
                self.counts["recovered"] += verbs.recover(target) is Recovery.ROLLED_FORWARD
                return
            if killed_at_work(lambda: verbs.recover(target), self.random.uniform(0, 0.002), in_commit=False):
                self.counts["recoveries killed"] += 1

    def _go_on(self, chosen: Story, folder: Path, out: Path, found: Tree | None) -> None:
        """What had not been done can be done now; what had been done can be undone."""
        self.counts["gone on with"] += 1
        target = out if chosen.is_elsewhere else folder
        if found == chosen.old != chosen.new:
            if chosen.name.startswith("recover"):
                return
            chosen.act(folder, out if chosen.is_elsewhere else None)
        elif not chosen.is_elsewhere and state_inside(folder).previous.exists():
            verbs.undo(folder)
            verbs.undo(folder)
        if seen(target) != chosen.new:
            sys.exit(f"{chosen.name}: did not go on as if nothing had been")


def main(base: Path, kills: int, seed: int = 0) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    wait_for_disk()
    loop = Loop(base, seed)
    gc.freeze()
    while loop.counts["killed"] < kills:
        loop.round()
    names = ("killed", "old", "new", "recovered", "recoveries killed", "gone on with")
    print(" ".join(f"{name.replace(' ', '-')}={loop.counts[name]}" for name in names))
    for (name, where, end), count in sorted(loop.phases.items()):
        print(f"{count:6} {name}, hit in {where}: {end}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
