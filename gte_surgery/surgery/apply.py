"""Carries out a plan: writes its files into the stage of a transaction, adds the receipt, checks the staged
checkpoint, commits.

In place only the planned files are written; into a new directory everything that the plan does not name is carried
along.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from gte_surgery import __version__
from gte_surgery.checkpoint.directory import Checkpoint, open_listing
from gte_surgery.checkpoint.files import FileEntry, Progress, adding_up, entry_of
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checkpoint.receipts import RECEIPT_NAME, members_of
from gte_surgery.checkpoint.source import path_of
from gte_surgery.checks.run import soundness_errors
from gte_surgery.errors import RefusedError
from gte_surgery.surgery.carried import carried, empty_folders, require_carriable, require_known
from gte_surgery.surgery.commit.files import carry_attributes
from gte_surgery.surgery.commit.filesystem import Filesystem, closing
from gte_surgery.surgery.commit.refusals import changed, placed, require_disposable, require_free, require_replaceable
from gte_surgery.surgery.commit.stops import HeldStops
from gte_surgery.surgery.commit.transaction import Transaction, in_place, into
from gte_surgery.surgery.commit.tree import make_parents, state_inside
from gte_surgery.surgery.pieces.fetching import fetch_of
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.pieces.sources import Sources
from gte_surgery.surgery.pieces.statistics import refuse_unmeasurable, tables_to_measure
from gte_surgery.surgery.pieces.writer import WrittenFile, write_files
from gte_surgery.surgery.planning.claim import Prove, Verdict
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.plan import OutputFile, PlainFile, Plan, SourceFile
from gte_surgery.surgery.planning.target import unsound
from gte_surgery.surgery.receipt import Receipt, make_receipt, origin_of, render_receipts, require_listed

SPARE = 1 << 20
"""Bytes asked of the disk beyond what the files hold: folders, receipt, journal."""

OPEN_AT_ONCE = 64
"""Files that are carried into a new directory with all of them open."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a plan is carried out; none of it changes a byte of a weight file."""

    keep_undo: bool = True
    hashes: bool = True
    threads: int | None = None
    progress: Progress | None = None
    prove: Prove | None = None
    allow_inconclusive: bool = False
    filesystem: Filesystem = field(default_factory=Filesystem)


class _Work(NamedTuple):
    """Files to be written while their sources, and no others, are open."""

    files: Sequence[OutputFile]
    sources: Sequence[SourceFile]

    def under(self, mask: int, present: Collection[str]) -> _Work:
        """As a program writes that makes new files: those beside the `present` ones without the permissions that the
        umask withholds.
        """
        files = [file if file.name in present else file._replace(mode=file.mode & ~mask) for file in self.files]
        return self._replace(files=files)


def apply(plan: Plan, checkpoint: Checkpoint | None, target: Path, out: Path | None, manner: Manner) -> Receipt:
    """Carries out `plan` on `target`, or into the new directory `out`, and returns the receipt.

    Raises RefusedError (and LockedError), WriteError, UnfinishedSurgeryError; only after the last has anything changed.
    """
    command, filesystem = f"gte-surgery {plan.command}", manner.filesystem
    opening = in_place(target, command, filesystem) if out is None else into(out, command, filesystem)
    require_known(plan, checkpoint)
    others = carried(plan, checkpoint)
    replaced = watched = [*(file.name for file in plan.files), *plan.removed, RECEIPT_NAME]
    works = [_Work(plan.files, plan.sources)]
    if out is not None:
        require_carriable(others, checkpoint)
        works += [_copies(others[at : at + OPEN_AT_ONCE]) for at in range(0, len(others), OPEN_AT_ONCE)]
        watched = [*replaced, *(file.name for file in others)]
    nbytes = sum(file.nbytes for work in works for file in work.files)
    with HeldStops() as stops, opening as transaction:
        present = {file.name for file in checkpoint.files} if checkpoint is not None and out is None else ()
        works = [work.under(filesystem.umask(), present) for work in works]
        _refuse_changed(checkpoint, watched)
        transaction.require_replaceable(replaced)
        fetched = plan.fetch.nbytes if plan.fetch is not None else 0
        transaction.require_space(nbytes + fetched + SPARE, replaced if manner.keep_undo else ())
        with stops.let_through():
            advance = adding_up(manner.progress, nbytes)
            written = [each for work in works for each in _write(work, transaction, manner, advance)]
            if out is not None and checkpoint is not None and checkpoint.snapshot is None:
                for folder in empty_folders(checkpoint.path):
                    make_parents(filesystem, transaction.stage, f"{folder}/")
            kept = {} if out is not None else {file.name: path_of(file.place) for file in others}
            staged = _staged(transaction, kept)
            _refuse_unsound(staged, plan.left, plan.source if out is not None else str(transaction.target))
            verdict = _proved(plan, checkpoint, staged, manner) if manner.prove else None
            receipt = _add_receipt(plan, checkpoint, written, verdict, transaction, is_new=out is not None)
        _refuse_changed(checkpoint, watched)
        if checkpoint is not None and out is None:
            _carry_attributes(checkpoint, replaced, transaction, filesystem)
        hashes = {file.name: file.sha256 for file in written if file.sha256 is not None}
        planned = {name: _planned(checkpoint, name) for name in replaced} if checkpoint is not None else None
        transaction.commit(plan.removed if out is None else (), manner.keep_undo, hashes, planned)
    return receipt


def with_fetch(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """The plan, for a checkpoint on a hub with what is fetched to write it, and all that is carried, elsewhere."""
    if checkpoint.snapshot is None:
        return plan
    written = (*plan.files, *_copies(carried(plan, checkpoint)).files)
    pieces = [piece for file in written for piece in file.pieces]
    far = {file.name: file.size for file in checkpoint.files if file.place.near is None}
    return replace(plan, fetch=fetch_of(checkpoint.name, pieces, far, sum(far.values())))


def rehearse(plan: Plan, checkpoint: Checkpoint | None, target: Path, out: Path | None, filesystem: Filesystem) -> None:
    """Raises RefusedError where `apply` would refuse the place that it is to write to, or a table whose rows have no
    mean, but for one that would have to be fetched; touches nothing.
    """
    pieces = [piece for file in plan.files for piece in file.pieces]
    if tables_to_measure(pieces) and plan.fetch is None:
        with Sources(plan.sources, filesystem) as opened:
            refuse_unmeasurable(pieces, opened.read)
    require_known(plan, checkpoint)
    if out is not None:
        require_carriable(carried(plan, checkpoint), checkpoint)
        require_free(placed(out), filesystem)
        return
    state = state_inside(target.resolve())
    require_disposable(state, filesystem)
    for name in (*(file.name for file in plan.files), *plan.removed):
        require_replaceable(state, name, filesystem)


def _copies(files: Sequence[FileEntry]) -> _Work:
    copies = [
        PlainFile(file.name, permissions(file.mode), b"", (CopyRange(file.name, 0, file.size),)) for file in files
    ]
    return _Work(copies, list(map(SourceFile.of, files)))


def _write(
    work: _Work, transaction: Transaction, manner: Manner, advance: Callable[[int], None]
) -> Sequence[WrittenFile]:
    with Sources(work.sources, manner.filesystem) as opened:
        opened.expect(piece for file in work.files for piece in file.pieces)
        return write_files(
            work.files,
            transaction.stage,
            opened,
            manner.filesystem,
            hashes=manner.hashes,
            threads=manner.threads or os.cpu_count() or 1,
            advance=advance,
        )


def _add_receipt(
    plan: Plan,
    checkpoint: Checkpoint | None,
    written: Sequence[WrittenFile],
    verdict: Verdict | None,
    transaction: Transaction,
    is_new: bool,
) -> Receipt:
    filesystem = transaction.filesystem
    receipt = make_receipt(plan, f"gte-surgery {__version__}", written, transaction.stage, verdict)
    if checkpoint is not None and checkpoint.snapshot is not None:
        copies = carried(plan, checkpoint)
        names = {file.name for file in copies}
        require_listed(checkpoint, [file for file in written if file.name in names], transaction.stage)
        receipt = {**receipt, **origin_of(checkpoint, receipt, [*plan.sources, *_copies(copies).sources], names)}
    former = members_of(checkpoint) if checkpoint is not None else {}
    entry = checkpoint.file(RECEIPT_NAME) if checkpoint is not None else None
    mode = permissions(entry.mode) if entry else 0o644
    if is_new or not entry:
        mode &= ~filesystem.umask()
    with closing(filesystem, filesystem.create(transaction.stage / RECEIPT_NAME, mode)) as descriptor:
        filesystem.write(descriptor, render_receipts(former, receipt))
    return receipt


def _staged(transaction: Transaction, carried: Mapping[str, Path]) -> Checkpoint:
    """The checkpoint as it would be after the commit."""
    staged = {
        path.relative_to(transaction.stage).as_posix(): path for path in transaction.stage.rglob("*") if path.is_file()
    }
    return open_listing(transaction.target, {**carried, **staged})


def _proved(plan: Plan, before: Checkpoint | None, after: Checkpoint, manner: Manner) -> Verdict | None:
    """What running the plan's claims came to; raises RefusedError where they do not hold, or nobody can say."""
    verdict = manner.prove(plan.claims, before, after) if manner.prove is not None else None
    if verdict is None or verdict.outcome == "proved":
        return verdict
    if verdict.outcome == "refuted":
        raise RefusedError(f"the proof failed: {verdict.told}; nothing was changed", "this is a bug worth reporting")
    if not manner.allow_inconclusive:
        raise RefusedError(
            f"the proof is inconclusive: {verdict.told}; nothing was changed",
            "commit without it by typing --allow-inconclusive",
            meant="--allow-inconclusive",
        )
    return verdict


def _refuse_unsound(staged: Checkpoint, left: Collection[str], there: str) -> None:
    """Raises RefusedError if what was made has an error, but for those that the plan says are `left`; `there` is what
    the hint tells to look at: where it was to be made in a new directory, the source."""
    errors = [error for error in soundness_errors(staged) if error.code not in left]
    if errors:
        raise RefusedError(
            f"the result would not be sound: {unsound(errors)}; nothing was changed",
            f"{pasteable('check', there)} says what is wrong with it now" if there else "",
        )


def _planned(checkpoint: Checkpoint, name: str) -> tuple[int, int] | None:
    file = checkpoint.file(name)
    return (file.size, file.mtime_ns) if file is not None else None


def _refuse_changed(checkpoint: Checkpoint | None, names: Sequence[str]) -> None:
    """Raises RefusedError when a file that is to go is not what it was when the plan was made: what another program
    wrote meanwhile would be lost. The sources are watched while they are read, see `writer.Sources`.
    """
    if checkpoint is None or checkpoint.snapshot is not None:
        return
    for name in names:
        before = checkpoint.file(name)
        try:
            now = entry_of(name, checkpoint.path / name)
        except FileNotFoundError:
            now = None
        if (before and (before.size, before.mtime_ns)) != (now and (now.size, now.mtime_ns)):
            raise changed(name)


def _carry_attributes(
    checkpoint: Checkpoint, names: Sequence[str], transaction: Transaction, filesystem: Filesystem
) -> None:
    """Owner, ACL and extended attributes of the files that are replaced go to those that take their places."""
    for name in names:
        if checkpoint.has(name) and (transaction.stage / name).exists():
            carry_attributes(filesystem, transaction.target / name, transaction.stage / name)
