"""After a power loss anywhere a checkpoint is exactly old or exactly new, and no fsync in the code is for show."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gte_surgery.errors import GteSurgeryError
from gte_surgery.surgery.commit.recovery import recover, require_settled
from gte_surgery.surgery.commit.undo import previous_generation, undo
from tests.crash.power_loss import PowerLossFilesystem
from tests.crash.surgeries import (
    NEW,
    SHARDED,
    SINGLE,
    WITHOUT_UNDO,
    Surgery,
    Tree,
    lay_down,
    leftovers,
    perform,
    perform_into,
    snapshot,
)

TARGET = Path("/simulated disk/checkpoint")


class Violation(Exception):
    """The checkpoint is neither old nor new, or its undo is not the old one."""


@dataclass(frozen=True, slots=True)
class Story:
    """`prepare` and then `act` lead from `old` to `new`; if it `has_undo`, undoing `new` gives `old`. Those of the old
    files that are `unsynced` may be lost until `act` has ended.
    """

    name: str
    prepare: Callable[[PowerLossFilesystem], object]
    act: Callable[[PowerLossFilesystem], object]
    old: Tree | None
    new: Tree
    has_undo: bool = True
    has_hard_links: bool = True
    has_exchange: bool = True
    unsynced: tuple[str, ...] = ()


def _surgery(name: str, surgery: Surgery, has_hard_links: bool = True) -> Story:
    return Story(
        name,
        lambda fs: lay_down(fs, TARGET, surgery.old),
        lambda fs: perform(surgery, TARGET, fs),
        surgery.old,
        surgery.new,
        surgery.keep_undo,
        has_hard_links,
    )


def _undo(name: str, has_hard_links: bool = True) -> Story:
    def prepare(fs: PowerLossFilesystem) -> None:
        lay_down(fs, TARGET, SHARDED.old)
        perform(SHARDED, TARGET, fs)

    return Story(name, prepare, lambda fs: undo(TARGET, fs), SHARDED.new, SHARDED.old, has_hard_links=has_hard_links)


def _second(name: str, keep_undo: bool) -> Story:
    """A surgery on a checkpoint that already has a previous generation."""
    staged = {"config.json": (0o644, b"third"), "model.safetensors": (0o600, b"the third weights, longer")}
    second = Surgery(SINGLE.new, staged, ("gte-surgery.json",), keep_undo)

    def prepare(fs: PowerLossFilesystem) -> None:
        lay_down(fs, TARGET, SINGLE.old)
        perform(SINGLE, TARGET, fs)

    return Story(name, prepare, lambda fs: perform(second, TARGET, fs), SINGLE.new, second.new, keep_undo)


def _into(name: str, is_there: bool) -> Story:
    def prepare(fs: PowerLossFilesystem) -> None:
        if is_there:
            fs.mkdir(TARGET)

    old = {} if is_there else None
    return Story(name, prepare, lambda fs: perform_into(NEW, TARGET, fs), old, NEW.new, has_undo=False)


STORIES = (
    _surgery("single", SINGLE),
    _surgery("without undo", WITHOUT_UNDO),
    _second("second surgery", keep_undo=True),
    _second("second surgery without undo", keep_undo=False),
    _into("into nothing", is_there=False),
    _into("into an empty directory", is_there=True),
    _surgery("sharded", SHARDED),
    _surgery("without hard links", SHARDED, has_hard_links=False),
    _undo("undo"),
    _undo("undo without hard links", has_hard_links=False),
    replace(_surgery("of files written a moment ago", SINGLE), unsynced=("config.json", "model.safetensors")),
)


WITHOUT_EXCHANGE = tuple(
    replace(story, name=f"{story.name}, names cannot be exchanged", has_exchange=False)
    for story in STORIES
    if story.has_undo or story.name == "without undo"
)


class Forgetful(PowerLossFilesystem):
    """Notes in `sites` from where it is asked to make things durable, and does nothing when asked from `forgotten`."""

    forgotten: str = ""

    def __init__(self, story: Story, forgotten: str = "") -> None:
        super().__init__(has_hard_links=story.has_hard_links, has_exchange=story.has_exchange)
        self.forgotten = forgotten
        self.sites: set[str] = set()

    def _is_forgotten(self) -> bool:
        site = _site()
        self.sites.add(site)
        return site == self.forgotten

    def fsync(self, descriptor: int) -> None:
        if not self._is_forgotten():
            super().fsync(descriptor)

    def fsync_directory(self, path: Path) -> None:
        if not self._is_forgotten():
            super().fsync_directory(path)


def _site() -> str:
    """The two innermost calls inside the package."""
    chain = []
    frame = sys._getframe(3)
    while frame is not None and len(chain) < 2:
        code = frame.f_code
        if f"{os.sep}gte_surgery{os.sep}surgery{os.sep}" in code.co_filename and code.co_name != "undo":
            chain.append(f"{code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(chain)


class Witness:
    """Looks at every disk that a power loss may leave, or after every so many operations of a process: recovers it,
    undoes it, raises `Violation` if one is wrong.
    """

    def __init__(self, *stories: Story, every: int = 1) -> None:
        self.stories = stories
        self.every = every
        self._operations = 0
        self.is_done = False
        self._seen: set[object] = set()

    def look(self, fs: PowerLossFilesystem) -> None:
        self._operations += 1
        if self._operations % self.every and not self.is_done:
            return
        for left in fs.after_power_loss():
            fingerprint = (self.is_done, left.fingerprint())
            if fingerprint not in self._seen:
                self._seen.add(fingerprint)
                self._judge(left)

    def _judge(self, fs: PowerLossFilesystem) -> None:
        try:
            if self.is_done:
                require_settled(TARGET, fs)
            if snapshot(fs, TARGET) is not None or fs.listdir(TARGET.parent):
                recover(TARGET, fs)
            found = snapshot(fs, TARGET)
            allowed = [self.stories[-1].new] if self.is_done else self._trees()
            if found not in allowed:
                raise Violation(f"the checkpoint is {found}")
            if leftovers(fs, TARGET):
                raise Violation(f"recovery leaves {leftovers(fs, TARGET)}")
            for story in self.stories:
                if found == story.new:
                    _undo_gives_old(story, fs)
        except GteSurgeryError as error:
            raise Violation(f"it cannot be recovered: {error}") from error

    def _trees(self) -> list[Tree | None]:
        return [tree for story in self.stories for tree in (story.old, story.new)]


def _undo_gives_old(story: Story, fs: PowerLossFilesystem) -> None:
    if not story.has_undo:
        if previous_generation(TARGET, fs) is not None:
            raise Violation("an old generation is kept that does not fit")
        return
    undo(TARGET, fs)
    if snapshot(fs, TARGET) != story.old:
        raise Violation(f"undo gives {snapshot(fs, TARGET)}")


def _begun(story: Story, forgotten: str) -> Forgetful:
    fs = Forgetful(story)
    fs.mkdir(TARGET.parent)
    story.prepare(fs)
    fs.settle()
    for name in story.unsynced:
        fs.forget(TARGET / name)
    fs.forgotten = forgotten
    return fs


def _tell(story: Story, forgotten: str = "", every: int = 1) -> set[str]:
    """Run a story with a power loss after every operation, or some; returns from where it asked for durability."""
    fs, witness = _begun(story, forgotten), Witness(story, every=every)
    if not story.unsynced:
        fs.observe = witness.look
    story.act(fs)
    witness.is_done = True
    witness.look(fs)
    return fs.sites


def _tell_on(story: Story, sequel: Story, forgotten: str = "", every: int = 1) -> None:
    """Kill the process at each operation of a story, or at some; the next recovers and performs the sequel; lose power
    anywhere.
    """
    deaths: list[PowerLossFilesystem] = []
    fs = _begun(story, forgotten)
    fs.observe = lambda disk: deaths.append(disk.after_death(Forgetful(story, forgotten)))
    story.act(fs)
    witness = Witness(story, sequel)
    for death in deaths[::every]:
        death.observe = witness.look
        recover(TARGET, death)
        if snapshot(death, TARGET) == story.new:
            sequel.act(death)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_power_loss_anywhere_leaves_the_old_or_the_new_checkpoint(story: Story, long: bool) -> None:
    assert len(_tell(story, every=1 if long else 2)) > 1


@pytest.mark.parametrize("story", WITHOUT_EXCHANGE, ids=lambda story: story.name)
def test_a_power_loss_where_names_cannot_be_exchanged(story: Story, long: bool) -> None:
    _tell(story, every=1 if long else 29)


@pytest.mark.long
def test_a_power_loss_after_a_death_where_names_cannot_be_exchanged() -> None:
    _tell_on(WITHOUT_EXCHANGE[0], replace(STORIES[2], has_exchange=False), every=3)


@pytest.mark.slow
def test_a_power_loss_after_a_death_leaves_one_of_the_checkpoints(long: bool) -> None:
    _tell_on(STORIES[0], STORIES[2], every=1 if long else 5)


@pytest.mark.slow
def test_without_any_one_of_its_fsyncs_a_checkpoint_or_its_undo_would_be_lost(long: bool) -> None:
    sites = sorted(set().union(*map(_sites, STORIES)))
    assert len(sites) > 10
    needless = {site for site in sites[:: 1 if long else 2] if not _is_needed(site)}
    assert not needless


def _sites(story: Story) -> set[str]:
    fs = _begun(story, "")
    fs.sites.clear()
    story.act(fs)
    return fs.sites


def _is_needed(site: str) -> bool:
    for story in STORIES:
        if site in _sites(story):
            try:
                _tell(story, site)
            except Violation:
                return True
    try:
        _tell_on(STORIES[0], STORIES[2], site)
    except Violation:
        return True
    return False
