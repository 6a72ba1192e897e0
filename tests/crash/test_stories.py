"""Any sequence of surgeries, undos, deaths and recoveries does what a dictionary of files would do.

Two machines with the same model: one moves arbitrary files through the transaction, the other edits real checkpoints,
in place and elsewhere, also in two processes at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.errors import GteSurgeryError, LockedError, RefusedError, UsageError
from gte_surgery.surgery.apply import Manner, apply
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import Recovery, recover
from gte_surgery.surgery.commit.transaction import in_place
from gte_surgery.surgery.commit.undo import undo
from gte_surgery.surgery.edits import Convert, Edit, Fix, Reinit, Remap, Resize
from gte_surgery.surgery.planning.plan import Plan
from gte_surgery.surgery.verbs import plan_surgery
from gte_surgery.vocabulary.row_map import keep_of
from tests import builder
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


class Story(RuleBasedStateMachine):
    """`files` is what the directory holds, `previous` what undo would give (None: nothing)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.target = Path(self.folder.name) / "checkpoint"
        self.files: Tree = {}
        self.previous: Tree | None = None

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(death=deaths, links=st.booleans())
    def undo(self, death: int | None, links: bool) -> None:
        if self.previous is None:
            with pytest.raises(RefusedError, match="nothing to undo"):
                undo(self.target, FaultyFilesystem())
        else:
            self.attempt(lambda fs: undo(self.target, fs), self.previous, self.files, death, links)

    @rule()
    def recover(self) -> None:
        assert recover(self.target, FaultyFilesystem()) is Recovery.NOTHING

    @rule()
    def come_second(self) -> None:
        """Another process is at work: every surgery is told so, and changes nothing."""
        with in_place(self.target, "the first", FaultyFilesystem()):
            if os.fork() == 0:
                os._exit(self._is_locked_out())
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 1

    def attempt(
        self,
        act: Callable[[FaultyFilesystem], object],
        files: Tree,
        previous: Tree | None,
        death: int | None,
        has_hard_links: bool,
    ) -> None:
        """Act, dying at a change of the disk if told to, and recover, dying there too, until that succeeds."""
        fault = None if death is None else Fault(death, counted=CHANGES, is_torn=True)
        try:
            act(FaultyFilesystem(fault, has_hard_links))
        except Crashed:
            self._recover_from(fault)
            if snapshot(FaultyFilesystem(), self.target) == self.files and self._can_undo_to(self.previous):
                return
        self.files, self.previous = files, previous

    def _recover_from(self, fault: Fault | None) -> None:
        for at in range(fault.at % 5 if fault else 0, 0, -1):
            try:
                recover(self.target, FaultyFilesystem(Fault(at, counted=CHANGES)))
            except Crashed:
                continue
        recover(self.target, FaultyFilesystem())

    def _is_locked_out(self) -> bool:
        """In another process; whether each way to change the checkpoint was refused."""
        refused = 0
        for act in (undo, recover):
            try:
                act(self.target, Filesystem())
            except LockedError:
                refused += 1
        return refused == 2

    def _can_undo_to(self, tree: Tree | None) -> bool:
        """Whether undo gives `tree`; undone again at once."""
        try:
            undo(self.target, FaultyFilesystem())
        except RefusedError:
            return tree is None
        is_same = snapshot(FaultyFilesystem(), self.target) == tree
        undo(self.target, FaultyFilesystem())
        return is_same

    @invariant()
    def holds_exactly_its_files(self) -> None:
        if self.target.exists():
            assert snapshot(FaultyFilesystem(), self.target) == self.files
            assert not leftovers(FaultyFilesystem(), self.target)
            assert self._can_undo_to(self.previous)


class FilesStory(Story):
    """Arbitrary files."""

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
        self.attempt(lambda fs: perform(surgery, self.target, fs), surgery.new, previous, death, links)


edits = st.one_of(
    st.builds(
        Resize,
        st.integers(41, 200),
        st.integers(0, 40),
        st.sampled_from((None, 0, 1, 2)),
        init=st.sampled_from(("normal", "zeros", "mean")),
        old_pad=st.sampled_from(("keep", "normal")),
        seed=st.integers(0, 3),
    ),
    st.builds(
        Remap,
        st.lists(st.integers(0, 60), min_size=1, max_size=40, unique=True).map(lambda ids: keep_of(ids, False)),
        vocab=st.none() | st.integers(40, 80),
    ),
    st.builds(
        Convert,
        st.sampled_from(("native", "remote")),
        st.sampled_from((None, "F32", "F16", "BF16")),
        st.sampled_from((None, 20_000, 1_000_000)),
    ),
    st.builds(Reinit, st.sampled_from((None, ("*LayerNorm*",), ("*qkv_proj*",))), st.integers(0, 3)),
    st.builds(Fix),
)
dialects = st.sampled_from((builder.remote_config, builder.native_config))


class CheckpointStory(Story):
    """Real checkpoints. What an edit leads to is told by the same edit of a copy, where nothing goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        os.environ["SOURCE_DATE_EPOCH"] = "0"

    def teardown(self) -> None:
        del os.environ["SOURCE_DATE_EPOCH"]
        super().teardown()

    @initialize(
        config=dialects,
        vocab=st.integers(50, 150),
        types=st.integers(0, 2),
        head=st.sampled_from(("none", "mlm", "classifier", "reranker")),
        shards=st.integers(1, 3),
        is_littered=st.booleans(),
    )
    def begin(
        self, config: Callable[..., builder.Config], vocab: int, types: int, head: str, shards: int, is_littered: bool
    ) -> None:
        wanted = config(vocab_size=vocab, type_vocab_size=types, num_hidden_layers=1)
        builder.build(self.target, wanted, head=head, shards=shards)
        (self.target / "1_Pooling").mkdir()
        (self.target / "1_Pooling" / "config.json").write_text("{}")
        if is_littered:
            (self.target / "model.safetensors.tmp").write_bytes(b"half")
        self.files = snapshot(FaultyFilesystem(), self.target) or {}

    @rule(edit=edits, keep_undo=st.booleans(), death=st.none() | st.integers(0, 60), links=st.booleans())
    def edit(self, edit: Edit, keep_undo: bool, death: int | None, links: bool) -> None:
        new = self._foretold(edit, self.files)
        if new is None:
            with pytest.raises((RefusedError, UsageError)):
                self._edit(edit, keep_undo, FaultyFilesystem())
        elif self._is_empty(edit):
            self._edit(edit, keep_undo, FaultyFilesystem())
        else:
            previous = self.files if keep_undo else None
            self.attempt(lambda fs: self._edit(edit, keep_undo, fs), new, previous, death, links)

    @rule(edit=edits, death=st.none() | st.integers(0, 40))
    def edit_elsewhere(self, edit: Edit, death: int | None) -> None:
        new, out = self._foretold(edit, self.files, is_elsewhere=True), Path(self.folder.name) / "out"
        if new is None:
            return
        try:
            self._edit(edit, True, FaultyFilesystem(None if death is None else Fault(death, counted=CHANGES)), out)
        except Crashed:
            if out.exists() or (out.parent / ".out.gte-surgery").exists():
                recover(out, FaultyFilesystem())
            assert snapshot(FaultyFilesystem(), out) in (None, new)
        else:
            assert snapshot(FaultyFilesystem(), out) == new
        assert not leftovers(FaultyFilesystem(), out)
        shutil.rmtree(out, ignore_errors=True)

    @rule(mine=edits, others=edits, is_overlapping=st.booleans())
    def race(self, mine: Edit, others: Edit, is_overlapping: bool) -> None:
        """Two processes at once, or one after the other, but both with a plan of what was there: one is done, whole."""
        either = [self._foretold(edit, self.files) for edit in (mine, others)]
        if None in either or self._is_empty(mine) or self._is_empty(others):
            return
        checkpoint = open_checkpoint(self.target)
        plans = [plan_surgery(checkpoint, edit, threads=1) for edit in (mine, others)]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            done = 99
            try:
                os.close(writing)
                os.read(reading, 1)
                done = self._is_carried_out(plans[1], checkpoint)
            finally:
                os._exit(done)
        if is_overlapping:
            os.write(writing, b"x")
        is_done = self._is_carried_out(plans[0], checkpoint)
        os.close(writing)
        os.close(reading)
        is_others_done = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert is_done + is_others_done == 1
        self.previous, self.files = self.files, either[is_others_done]

    def _is_carried_out(self, plan: Plan, checkpoint: Checkpoint) -> bool:
        """Carries a plan out; whether it was not refused."""
        try:
            apply(plan, checkpoint, self.target, None, Manner(True, False, 1))
        except RefusedError:
            return False
        return True

    def _edit(
        self, edit: Edit, keep_undo: bool, fs: Filesystem, out: Path | None = None, target: Path | None = None
    ) -> None:
        checkpoint = open_checkpoint(target or self.target)
        plan = plan_surgery(checkpoint, edit, threads=1)
        if not plan.is_empty or out is not None:
            apply(plan, checkpoint, checkpoint.path, out, Manner(keep_undo, False, 1, filesystem=fs))

    def _is_empty(self, edit: Edit) -> bool:
        return plan_surgery(open_checkpoint(self.target), edit, threads=1).is_empty

    def _foretold(self, edit: Edit, files: Tree, is_elsewhere: bool = False) -> Tree | None:
        """What the edit makes of a copy of `files` when nothing goes wrong; None where it refuses them."""
        with tempfile.TemporaryDirectory() as folder:
            copy, out = Path(folder) / "copy", Path(folder) / "out"
            lay_down(FaultyFilesystem(), copy, files)
            try:
                self._edit(edit, True, FaultyFilesystem(), out if is_elsewhere else None, copy)
            except GteSurgeryError:
                return None
            return snapshot(FaultyFilesystem(), out if is_elsewhere else copy)


TestFiles = pytest.mark.slow(FilesStory.TestCase)
TestFiles.settings = settings(max_examples=settings.default.max_examples // 3)
TestCheckpoints = CheckpointStory.TestCase
TestCheckpoints.settings = settings(
    max_examples=max(8, settings.default.max_examples // 8),
    stateful_step_count=6,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a minimal story is not worth the minutes that it takes
)
