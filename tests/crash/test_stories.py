"""Any sequence of surgeries, undos, deaths and recoveries does what a dictionary of files would do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gte_surgery.errors import RefusedError
from gte_surgery.surgery.recovery import Recovery, recover
from gte_surgery.surgery.undo import undo
from tests.crash.faults import CHANGES, Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import Surgery, Tree, lay_down, leftovers, perform, snapshot

NAMES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "a/b",
    "a/c/d",
    "generation.json",
    "é\udcff",
)
files = st.tuples(st.sampled_from((0o600, 0o644, 0o755)), st.binary(max_size=40))
trees = st.dictionaries(st.sampled_from(NAMES), files, max_size=5)
deaths = st.none() | st.integers(0, 120)


class Checkpoint(RuleBasedStateMachine):
    """`files` is what the directory holds, `previous` what undo would give (None: nothing)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.target = Path(self.folder.name) / "checkpoint"
        self.files: Tree = {}
        self.previous: Tree | None = None

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(tree=trees)
    def begin(self, tree: Tree) -> None:
        lay_down(FaultyFilesystem(), self.target, tree)
        self.files = tree

    @rule(
        staged=trees,
        removed=st.sets(st.sampled_from(NAMES)),
        keep_undo=st.booleans(),
        death=deaths,
        links=st.booleans(),
    )
    def operate(self, staged: Tree, removed: set[str], keep_undo: bool, death: int | None, links: bool) -> None:
        gone = tuple(sorted((removed & self.files.keys()) - staged.keys()))
        surgery = Surgery(self.files, staged, gone, keep_undo)
        if not staged and not gone:
            return
        previous = self.files if keep_undo else None
        self._attempt(lambda fs: perform(surgery, self.target, fs), surgery.new, previous, death, links)

    @rule(death=deaths, links=st.booleans())
    def undo(self, death: int | None, links: bool) -> None:
        if self.previous is None:
            with pytest.raises(RefusedError, match="nothing to undo"):
                undo(self.target, FaultyFilesystem(), "undo")
        else:
            self._attempt(lambda fs: undo(self.target, fs, "undo"), self.previous, self.files, death, links)

    @rule()
    def recover(self) -> None:
        assert recover(self.target, FaultyFilesystem()) is Recovery.NOTHING

    def _attempt(
        self,
        act: Callable[[FaultyFilesystem], object],
        files: Tree,
        previous: Tree | None,
        death: int | None,
        has_hard_links: bool,
    ) -> None:
        """Act, dying at a change of the disk if told to, and recover."""
        fault = None if death is None else Fault(death, counted=CHANGES, is_torn=True)
        try:
            act(FaultyFilesystem(fault, has_hard_links))
        except Crashed:
            recover(self.target, FaultyFilesystem())
            if snapshot(FaultyFilesystem(), self.target) == self.files and self._can_undo_to(self.previous):
                return
        self.files, self.previous = files, previous

    def _can_undo_to(self, tree: Tree | None) -> bool:
        """Whether undo gives `tree`; undone again at once."""
        try:
            undo(self.target, FaultyFilesystem(), "undo")
        except RefusedError:
            return tree is None
        is_same = snapshot(FaultyFilesystem(), self.target) == tree
        undo(self.target, FaultyFilesystem(), "undo")
        return is_same

    @invariant()
    def holds_exactly_its_files(self) -> None:
        if self.target.exists():
            assert snapshot(FaultyFilesystem(), self.target) == self.files
            assert not leftovers(FaultyFilesystem(), self.target)
            assert self._can_undo_to(self.previous)


TestCheckpoint = Checkpoint.TestCase
