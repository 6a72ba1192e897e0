"""The surgeries as functions, for the command line and for Python alike: open, plan, and carry out unless it is a dry
run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gte_surgery.checkpoint.directory import Checkpoint, open_found
from gte_surgery.checkpoint.hub.address import address_of
from gte_surgery.checkpoint.receipts import receipts_of
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.surgery.apply import Manner, apply, rehearse, with_fetch
from gte_surgery.surgery.commit import recovery
from gte_surgery.surgery.commit import undo as undoing
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import Recovery, require_settled
from gte_surgery.surgery.commit.refusals import on_this_disk, placed, require_elsewhere
from gte_surgery.surgery.commit.undo import Undone
from gte_surgery.surgery.edits import (
    CURES,
    Convert,
    Edit,
    Fix,
    HeadName,
    New,
    Reinit,
    Remap,
    Resize,
    TrainingState,
)
from gte_surgery.surgery.outcome import Kept, Surgical, Writing, require_keywords
from gte_surgery.surgery.outcome import Outcome as Outcome
from gte_surgery.surgery.planning.claims import claims_of, claims_of_fix, claims_of_new
from gte_surgery.surgery.planning.companions.following import with_companions, with_signatures_aside
from gte_surgery.surgery.planning.plan import Plan
from gte_surgery.surgery.planning.target import understand
from gte_surgery.surgery.receipt import Receipt
from gte_surgery.vocabulary.origins import Keep, Map, beside, row_origins, tokenizer_file
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON
from gte_surgery.whole import whole, words

if TYPE_CHECKING:
    from typing_extensions import Unpack


def plan_surgery(checkpoint: Checkpoint | None, edit: Edit, threads: int | None = None) -> Plan:
    """The plan of an edit; `checkpoint` is None for `New` alone. Raises RefusedError and UsageError.

    `threads` work on what a plan must know of the numbers; their number changes nothing.
    """
    if isinstance(edit, New):
        from gte_surgery.surgery.planning.fresh import plan_new

        return replace(plan_new(edit), claims=claims_of_new(edit))
    if checkpoint is None:
        raise RefusedError("there is no checkpoint, one is needed")
    match edit:
        case Resize() | Remap():
            from gte_surgery.surgery.planning.roles import with_renewed, with_roles
            from gte_surgery.surgery.planning.rows import plan_rows

            has_types = isinstance(edit, Resize)
            target = understand(
                checkpoint,
                lambda names: (*names.sized_by_vocabulary, names.types) if has_types else names.sized_by_vocabulary,
            )
            asked, edit = edit, with_renewed(target, edit) if isinstance(edit, Resize) else edit
            edit = with_roles(target, edit) if edit.roles else edit
            plan = plan_rows(target, edit, asked)
        case Convert():
            from gte_surgery.surgery.planning.convert import CURED, plan_convert, prepared

            target = understand(prepared(checkpoint, edit), cured_codes=CURED if edit.to is not None else ())
            plan = plan_convert(target, edit, threads)
        case Reinit():
            from gte_surgery.surgery.planning.reinit import plan_reinit

            is_whole = edit.only is None
            target = understand(checkpoint, lambda names: (names.decoder,) if is_whole else ())
            plan = plan_reinit(target, edit)
        case Fix():
            from gte_surgery.surgery.planning.fix import plan_fix

            plan = with_signatures_aside(plan_fix(checkpoint, edit), checkpoint)
            return replace(plan, claims=claims_of_fix(checkpoint.values))
    plan = with_signatures_aside(with_companions(plan, target, edit), target.checkpoint)
    return replace(plan, claims=claims_of(target, edit))


def resize(
    path: Path | str,
    *,
    vocab: int,
    pad: int,
    type_vocab: int | None = None,
    type_vocab_mode: Literal["fold", "drop"] = "fold",
    init: Path | str = "normal",
    new_from: int | None = None,
    round_to: int = 1,
    old_pad: Literal["keep", "normal"] = "keep",
    tokenizer: Literal["keep", "remove"] = "keep",
    seed: int = 0,
    training_state: TrainingState = "refuse",
    cls: int | None = None,
    sep: int | None = None,
    mask: int | None = None,
    unk: int | None = None,
    **manner: Unpack[Surgical],
) -> Outcome:
    """Resizes the vocabulary of the checkpoint in `path`, in place or into the new directory `out`; see `edits.Resize`.

    When the checkpoint is already so, nothing is written in place, and `out` becomes a copy. Raises UsageError,
    CheckpointError, RefusedError, WriteError with nothing changed, UnfinishedSurgeryError when `recover` is needed.
    """
    require_keywords(resize, manner)
    roles = _given(cls=cls, sep=sep, mask=mask, unk=unk)
    edit = Resize(
        vocab, pad, type_vocab, type_vocab_mode, str(init), round_to, old_pad, tokenizer, seed, training_state,
        roles, new_from,
    )  # fmt: skip
    return carried_out(path, edit, **manner)


def remap(
    path: Path | str,
    *,
    map: Map | None = None,
    keep: Keep | None = None,
    from_tokenizer: Path | str | None = None,
    to_tokenizer: Path | str | None = None,
    pad: int | None = None,
    vocab: int | None = None,
    init: Path | str = "normal",
    round_to: int = 1,
    allow_repeats: bool = False,
    tokenizer: Literal["rewrite", "keep", "remove"] = "rewrite",
    seed: int = 0,
    training_state: TrainingState = "refuse",
    cls: int | None = None,
    sep: int | None = None,
    mask: int | None = None,
    unk: int | None = None,
    **manner: Unpack[Surgical],
) -> Outcome:
    """Makes a new vocabulary of chosen rows of the checkpoint in `path`; see `edits.Remap`.

    The rows are named by one of `map` (a file, or {new id: old id}), `keep` (a file, or old ids in their new order)
    and `to_tokenizer` (a tokenizer.json, which is installed with the files of its folder; `from_tokenizer` is the
    checkpoint's own if not given). The tokenizer's files follow the ids unless `tokenizer` says otherwise. In place or
    into `out`; raises as `resize` does.

    >>> from gte_surgery import new, remap
    >>> sizes = dict(layers=2, hidden=64, heads=4, intermediate=96, vocab=640, pad=0)
    >>> _ = new("wide", release="gte-en-mlm-base", **sizes)
    >>> for sentence in remap("wide", keep=[0, 101, 102, *range(512, 576)], init="mean", round_to=64).plan.meaning:
    ...     print(sentence)
    67 of 640 rows are kept under new ids, 573 are dropped, and the masked-LM head follows
    61 new rows have no origin, the first is 67: the mean of the old rows
    the vocabulary is rounded up from 67 to 128
    the pad row stays row 0
    """
    require_keywords(remap, manner)
    if to_tokenizer is not None and from_tokenizer is None and (address := address_of(path)) is not None:
        require_places(path, manner.get("out"))
        from gte_surgery.checkpoint.hub.snapshot import downloaded_file

        pinned, from_tokenizer = downloaded_file(address, TOKENIZER_JSON)
        path = str(pinned)
    to_tokenizer = None if to_tokenizer is None else tokenizer_file(to_tokenizer)
    origins = row_origins(
        Path(path),
        map=map,
        keep=keep,
        from_tokenizer=from_tokenizer,
        to_tokenizer=to_tokenizer,
        allow_repeats=allow_repeats,
    )
    installed = {} if to_tokenizer is None else beside(to_tokenizer)
    roles = _given(cls=cls, sep=sep, mask=mask, unk=unk)
    edit = Remap(origins, pad, vocab, str(init), round_to, tokenizer, seed, training_state, installed, roles)
    return carried_out(path, edit, **manner)


def _given(**roles: int | None) -> dict[str, int]:
    return {role: whole(role, number) for role, number in roles.items() if number is not None}


def convert(
    path: Path | str,
    *,
    to: Literal["native", "remote"] | None = None,
    dtype: Literal["F32", "F16", "BF16"] | None = None,
    shard_size: int | None = None,
    layout: Literal["a", "b", "d", "f"] | None = None,
    allow_overflow: bool = False,
    strip_prefix: str | None = None,
    drop: str | Sequence[str] = (),
    training_state: TrainingState = "refuse",
    head: HeadName | None = None,
    seed: int | None = None,
    **manner: Unpack[Surgical],
) -> Outcome:
    """Gives the checkpoint in `path` another dialect, dtype, sharding, layout or head, or fewer tensors; see
    `edits.Convert`.

    In place or into `out`; raises as `resize` does.
    """
    require_keywords(convert, manner)
    edit = Convert(
        to, dtype, shard_size, layout, allow_overflow, strip_prefix, words(drop), training_state, head, seed
    )  # fmt: skip
    return carried_out(path, edit, **manner)


def reinit(
    path: Path | str,
    *,
    only: str | Sequence[str] | None = None,
    seed: int = 0,
    **manner: Unpack[Surgical],
) -> Outcome:
    """Gives the checkpoint in `path` fresh weights, all or those whose names match `only`; see `edits.Reinit`.

    In place or into `out`; raises as `resize` does. With the same seed it makes the numbers that `new` makes:

    >>> from gte_surgery import diff, new, reinit
    >>> sizes = dict(layers=2, hidden=64, heads=4, intermediate=96, vocab=640, pad=0)
    >>> fresh, other = (new(f"seed-{seed}", release="gte-en-mlm-base", seed=seed, **sizes).target for seed in (7, 8))
    >>> diff(fresh, other).is_equal
    False
    >>> print(reinit(other, seed=7).plan.meaning[0])
    40 tensors (116,800 parameters) are made anew by the model's own rules, seed 7
    >>> diff(fresh, other).is_equal
    True
    """
    require_keywords(reinit, manner)
    edit = Reinit(None if only is None else words(only), seed)
    return carried_out(path, edit, **manner)


def fix(
    path: Path | str,
    *,
    codes: Sequence[str] = CURES,
    consumers: Sequence[str] = (),
    **manner: Unpack[Surgical],
) -> Outcome:
    """Mends in the checkpoint in `path` what has a cure that changes nothing that the model computes; see `edits.Fix`.

    The plan's `meaning` says what was mended, and what was left alone and why. What only some program minds is mended
    where `consumers` name it ("tei"). In place or into `out`; raises as `resize` does.

    >>> from gte_surgery import fix, new
    >>> sizes = dict(layers=2, hidden=64, heads=4, intermediate=96, vocab=640, pad=0)
    >>> place = new("littered", release="gte-base-en-v1.5", **sizes).target
    >>> size = (place / "model.safetensors.tmp").write_bytes(b"a save that was killed")
    >>> fix(place).plan.meaning
    ('model.safetensors.tmp goes: a temporary file that a save or a download left behind',)
    """
    require_keywords(fix, manner)
    return carried_out(path, Fix(words(codes), words(consumers)), **manner)


def new(
    out: Path | str,
    *,
    release: str,
    vocab: int | None = None,
    pad: int | None = None,
    type_vocab: int | None = None,
    layers: int | None = None,
    hidden: int | None = None,
    heads: int | None = None,
    intermediate: int | None = None,
    max_positions: int | None = None,
    head: HeadName | None = None,
    dtype: Literal["F32", "F16", "BF16"] | None = None,
    dialect: Literal["native", "remote"] = "native",
    seed: int = 0,
    shard_size: int | None = None,
    dry_run: bool = False,
    **manner: Unpack[Writing],
) -> Outcome:
    """Makes a checkpoint with random weights in the new directory `out`; see `edits.New`. Raises as `resize` does."""
    require_keywords(new, manner)
    edit = New(
        release, vocab, pad, type_vocab, layers, hidden, heads, intermediate, max_positions, head, dtype, dialect, seed,
        shard_size,
    )  # fmt: skip
    plan, target = plan_surgery(None, edit), on_this_disk(out)
    if dry_run:
        rehearse(plan, None, target, target, Filesystem())
        return Outcome(plan, None, target)
    return Outcome(plan, apply(plan, None, target, target, Manner(**manner)), target)


def undo(path: Path | str, *, force: bool = False, verify: bool = False) -> Undone:
    """Takes back the last surgery on `path`, or the last undo; the names of the files restored or removed.

    Raises RefusedError if a file is no longer what the surgery made, by size and time, with `verify` by its content
    where that was hashed; with `force` it is kept instead, and the next undo brings it back.
    """
    return undoing.undo(Path(path), Filesystem(), force=force, verify=verify)


def drop_undo(path: Path | str) -> bool:
    """Frees what is kept for undo in the checkpoint in `path`; whether there was anything."""
    return undoing.drop(Path(path), Filesystem())


def expected_recovery(path: Path | str) -> tuple[Recovery, tuple[str, ...]]:
    """What `recover` would do to the checkpoint in `path`, and to which files; touches nothing."""
    return recovery.expected_recovery(Path(path), Filesystem())


def recover(path: Path | str, *, force: bool = False) -> Recovery:
    """Settles what an interrupted surgery left in `path`: forward if it was committed, back if not, and back if another
    program has saved into the checkpoint since; with `force` forward, and undo brings back what was saved.
    """
    return recovery.recover(Path(path), Filesystem(), force)


def history(path: Path | str) -> tuple[Receipt, ...]:
    """The receipts of the checkpoint in `path`, oldest first. Raises CheckpointError when they cannot be read."""
    return receipts_of(opened(path))


def carried_out(
    given: Path | str | Checkpoint, edit: Edit, out: Path | str | None = None, dry_run: bool = False,
    **kept: Unpack[Kept],
) -> Outcome:  # fmt: skip
    """Plans an edit of an existing checkpoint and carries it out; `given` is where it lies, or the checkpoint that was
    opened, and its places required, to find the edit.

    A proof runs the model: one on a hub is downloaded into the hub's cache for it.
    """
    manner = Manner(**kept)
    place = None if out is None else on_this_disk(out)
    if isinstance(given, Checkpoint):
        checkpoint = given
    else:
        require_places(given, out, manner.filesystem)
        checkpoint = opened(given)
    if checkpoint.snapshot is not None and manner.prove is not None and not dry_run:
        checkpoint.snapshot.download()
        checkpoint = opened(checkpoint.name)
    with _spooled(checkpoint, None if dry_run else place):
        plan = with_fetch(plan_surgery(checkpoint, edit, manner.threads), checkpoint)
        target = place or checkpoint.path
        if dry_run:
            rehearse(plan, checkpoint, checkpoint.path, place, manner.filesystem)
        if dry_run or (plan.is_empty and place is None):
            return Outcome(plan, None, target)
        return Outcome(plan, apply(plan, checkpoint, checkpoint.path, place, manner), target)


def require_places(path: Path | str, out: Path | str | None, filesystem: Filesystem | None = None) -> None:
    """Raises UsageError or RefusedError for what no surgery starts on, before anything is read or fetched."""
    if Path(path).is_file():
        parent = str(Path(path).parent)
        raise UsageError(f"{path}: is a file, a surgery takes the whole directory", typed=str(path), meant=parent)
    if (address := address_of(path)) is not None:
        require_elsewhere(address, None if out is None else Path(out), filesystem or Filesystem())


def _spooled(checkpoint: Checkpoint, place: Path | None) -> AbstractContextManager[None]:
    """What is fetched of a checkpoint on a hub lies, while the surgery goes on, on the disk that it writes to."""
    if checkpoint.snapshot is None or place is None:
        return nullcontext()
    return checkpoint.snapshot.supply.spooling(placed(place).parent)


def opened(path: Path | str) -> Checkpoint:
    """The checkpoint in `path`, or on the hub. Raises CheckpointError, and UnfinishedSurgeryError for a local one."""
    checkpoint = open_found(path)
    if checkpoint.snapshot is None:
        require_settled(checkpoint.path)
    return checkpoint
