"""Plans a `Fix`: cures for findings that have one which changes nothing that the model computes on valid input.

Each cure says in the plan's meaning what it does, or why it leaves the finding alone. Judging is for the rules; here
it is only asked which of them found something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gte_surgery.checkpoint.directory import WEIGHTS_NAME, Checkpoint
from gte_surgery.checkpoint.index import INDEX_NAME, read_index
from gte_surgery.checkpoint.json.strict import replace_members
from gte_surgery.checkpoint.listing import is_leftover
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.restated import renamed, reshaped, with_readable_headers
from gte_surgery.checkpoint.shards import duplicate_tensors
from gte_surgery.checkpoint.sidecars import (
    POOLING_CONFIG,
    SENTENCE_CONFIG,
    longest_text,
    read_sidecar,
    spelled_as_before,
)
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.rules.config import AFFIRMATIVE, flag_strings
from gte_surgery.checks.rules.tensors import is_buffer, is_flattened
from gte_surgery.checks.run import DAMAGED_NAMES, run, soundness_errors
from gte_surgery.checks.shards import reindexed
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Finding
from gte_surgery.gte.families import family_of
from gte_surgery.gte.kinds import Head
from gte_surgery.gte.wording import counted
from gte_surgery.gte.wrappers import is_unmerged, unwrapped, wrapper_of
from gte_surgery.surgery.edits import Fix
from gte_surgery.surgery.pieces.evaluate import ARITHMETIC_DTYPES
from gte_surgery.surgery.planning.parts.rewrite import TensorChanges, assembled, regroup, rewrite, text_file
from gte_surgery.surgery.planning.parts.sharding import new_index
from gte_surgery.surgery.planning.parts.storage import restored, storage_changes
from gte_surgery.surgery.planning.parts.tables import RowSource, table_of
from gte_surgery.surgery.planning.plan import PlainFile, Plan, PlannedTensor
from gte_surgery.surgery.planning.roles import CONFIG_IDS
from gte_surgery.surgery.planning.target import Target, understand, unsound
from gte_surgery.vocabulary.row_map import kept_rows
from gte_surgery.vocabulary.tokenizer import read_tokenizer

_QUANTIZER = ("quantization_config",)
_INDEX_CODES = ("GTE004", "GTE010", "GTE011", "GTE013", "GTE014", "GTE020", "GTE021", "GTE066")
_ALONE = ("GTE015", "GTE016", "GTE103", "GTE104", "GTE145", "GTE250", "GTE638", "GTE639")
"""Of the cures below those that read no tensor, and take away nothing that may be the better save."""


@dataclass(frozen=True, slots=True)
class _Cure:
    """What one cure changes, and what it has to say."""

    meaning: tuple[str, ...]
    rewritten: dict[str, PlannedTensor] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    members: dict[str, object] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    files: tuple[PlainFile, ...] = ()


def plan_fix(checkpoint: Checkpoint, edit: Fix) -> Plan:
    """The plan of `edit`; empty when nothing is found, or nothing that has a safe cure.

    What keeps a checkpoint from being understood at all goes first, in a plan of its own: an index that is wrong, then
    headers, shapes and names. What stands beside errors of tensors that have no cure is mended all the same where it
    needs no sound ones. Raises UnsoundError where nothing can be mended for such an error.
    """
    if (first := _made_whole(checkpoint, edit)) is not None:
        return first
    found, left = _found(checkpoint, edit), soundness_errors(checkpoint)
    if left and (found := [code for code in found if code in _ALONE]):
        target = understand(checkpoint, families=("GTE0",))
    else:
        target = understand(checkpoint)
    cures = [_CURES[code](target) for code in found if code in _CURES]
    changes = TensorChanges(
        {name: tensor for cure in cures for name, tensor in cure.rewritten.items()},
        [name for cure in cures for name in cure.dropped],
    )
    written, emptied = rewrite(target.checkpoint, changes) if cures else ((), ())
    weights = ((*written, *(file for cure in cures for file in cure.files)), emptied)
    members = {key: value for cure in cures for key, value in cure.members.items()}
    removed = tuple(name for cure in cures for name in cure.removed)
    unset = [key for cure in cures for key in cure.unset]
    plan = assembled(target.checkpoint, edit, weights, members, removed=removed, dropped=unset)
    return _leaving(left, replace(plan, meaning=tuple(sentence for cure in cures for sentence in cure.meaning)))


def _leaving(errors: Sequence[Finding], plan: Plan) -> Plan:
    """The plan, which says that these errors stand after it as before."""
    if not errors:
        return plan
    told = f"what has no safe cure stays: {unsound(errors)}"
    return replace(plan, left=frozenset(error.code for error in errors)).besides(meaning=[told])


def _found(checkpoint: Checkpoint, edit: Fix) -> list[str]:
    """The codes of the edit under which something is found."""
    asked = ("", *(f"--for {name}" for name in edit.consumers))
    codes = [code for code in edit.codes if all_rules()[code].only_with in asked]
    if not codes:
        return []
    found = {finding.code for finding in run(checkpoint, select=codes, consumers=edit.consumers).findings}
    return [code for code in codes if code in found]


def _made_whole(checkpoint: Checkpoint, edit: Fix) -> Plan | None:
    """The plan that writes a new index, and the same numbers with a readable header, in their shapes, or under names
    that loaders know; None where nothing of that is wrong."""
    found, told, is_reindexed = _found(checkpoint, edit), [], False
    wrong = {*_INDEX_CODES} & {*found}
    view = reindexed(checkpoint) if wrong else None
    own = checkpoint.index.shard_names if checkpoint.index is not None else ()
    if view is not None and (wrong != {"GTE066"} or own != tuple(sorted(shard.file.name for shard in view.shards))):
        checkpoint, is_reindexed = view, True
        told.append(f"{INDEX_NAME} is made anew from {counted(len(view.shards), 'shard')}, which are whole")
    if "GTE055" in found or checkpoint.restated:
        checkpoint = with_readable_headers(checkpoint)
        if duplicate_tensors(checkpoint.shards):
            return None
        told.append("the header is padded with spaces")
    wrapper = None if is_unmerged(checkpoint.tensors) else wrapper_of(family_of(checkpoint.values), checkpoint.tensors)
    if "GTE200" in edit.codes and wrapper is not None:
        prefix = wrapper.prefix
        checkpoint = renamed(checkpoint, lambda name: unwrapped(name, prefix))
        told.append(f"`{wrapper.prefix}`, which {wrapper.origin} put there, goes from the tensor names")
    if "GTE209" in edit.codes and (shapes := _true_shapes(checkpoint)):
        checkpoint = reshaped(checkpoint, shapes)
        told.append(f"{counted(len(shapes), 'flat tensor')} reshaped as the config asks for")
    relayout = bool({*DAMAGED_NAMES} & {*found}) and not is_reindexed
    if not told and not relayout:
        return None
    written, emptied = rewrite(checkpoint, TensorChanges())
    if is_reindexed:
        written = (*written, new_index(checkpoint))
    left = soundness_errors(checkpoint)
    if relayout and not (told and left):
        target = understand(checkpoint)
        layout = target.family.usual_layout(target.config.dialect, target.head)
        written, emptied = regroup(checkpoint, restored(target, layout))
        told.append(f"{storage_changes(target.layout, layout)}: no number changes")
    return _leaving(left, assembled(checkpoint, edit, (written, emptied), meaning=told))


def _true_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """The shapes that the config asks for of tensors that are stored flat, by stored name."""
    return {spec.name: spec.shape for spec, stored in Subject(checkpoint).pairs if is_flattened(spec, stored)}


def _buffers(target: Target) -> _Cure:
    names = tuple(name for name in target.checkpoint.tensors if is_buffer(name))
    told = f"{len(names)} stored buffer{'s go' if len(names) > 1 else ' goes'}: the model computes them itself"
    return _Cure((told,), dropped=names)


def _stale_index(target: Target) -> _Cure:
    file = target.checkpoint.file(INDEX_NAME)
    index, _ = read_index(file, target.checkpoint.links_out) if file is not None else (None, [])
    shards = [name for name in index.shard_names if name != WEIGHTS_NAME] if index is not None else []
    present = [shown(name) for name in shards if target.checkpoint.has(name)]
    if present:
        return _Cure((f"{INDEX_NAME} stays: {', '.join(present[:3])} that it names is here, so either may be meant",))
    return _Cure((f"{INDEX_NAME} goes: the shards that it names are not here",), removed=(INDEX_NAME,))


def _total_size(target: Target) -> _Cure:
    total = sum(tensor.nbytes for tensor in target.checkpoint.tensors.values())
    return _Cure((f"{INDEX_NAME} states the bytes that the tensors have, {total:,}",))


def _leftovers(target: Target) -> _Cure:
    names = tuple(file.name for file in target.checkpoint.files if is_leftover(file.name))
    told = "goes: a temporary file that a save or a download left behind"
    return _Cure(tuple(f"{shown(name)} {told}" for name in names), removed=names)


def _flags(target: Target, wants: Callable[[str], bool]) -> _Cure:
    """Strings of which `wants` is true become the booleans that they spell, where that changes no number."""
    sentences: list[str] = []
    members: dict[str, object] = {}
    for flag, text in flag_strings(target.family, target.values):
        if not wants(text):
            continue
        value = _is_affirmative(text)
        if value or not text or flag in target.family.facts.unnumbered:
            members[flag] = value
        else:
            sentences.append(
                f'{flag} stays the string "{shown(text)}": loaders that take it for true compute otherwise'
            )
    return _Cure(tuple(sentences), members=members)


def _pad_row(target: Target) -> _Cure:
    words, pad = target.tensors[target.names.words], target.config.pad_token_id
    obstacle = _why_not_zero(target, pad)
    if pad is None or obstacle:
        return _Cure((f"row {pad}, the pad row, stays as it is: {obstacle}",))
    source, held = RowSource(table_of(words)), words.shape[0]
    pieces = source.chosen(kept_rows(held), held, {pad: source.zeros(pad, pad + 1)})
    planned = PlannedTensor(words.name, words.dtype, words.shape, tuple(pieces))
    return _Cure((f"row {pad}, the pad row, becomes zero",), rewritten={words.name: planned})


def _why_not_zero(target: Target, pad: int | None) -> str:
    """Why zeroing the pad row might change an output; empty if it cannot."""
    tokenizer = read_tokenizer(target.checkpoint)
    if target.tensors[target.names.words].dtype not in ARITHMETIC_DTYPES:
        return f"its dtype is {target.tensors[target.names.words].dtype}"
    if target.head is Head.MASKED_LM and target.config.tie_word_embeddings:
        return "the masked-LM head is tied to it and would give the pad token another score"
    if tokenizer.ids.get("pad", pad) != pad:
        return f"the tokenizer pads with id {tokenizer.ids['pad']}, so this one may be an ordinary token"
    roles = [role for role, number in tokenizer.ids.items() if number == pad and role != "pad"]
    roles += [key.removesuffix("_token_id") for key in CONFIG_IDS if target.values.get(key) == pad]
    return f"id {pad} is the {roles[0]} token as well" if roles else ""


def _redundant_decoder(target: Target) -> _Cure:
    name = target.tensors[target.names.decoder].name
    return _Cure((f"`{name}` goes: it equals the word embeddings, to which it is tied",), dropped=(name,))


def _pooling(target: Target) -> _Cure:
    """The pooling as every reader has it: the older spelling, which sentence-transformers from 5.4 on reads as well
    and TEI alone [measured with sentence-transformers 6.2]."""
    document = read_sidecar(target.checkpoint, POOLING_CONFIG)
    former = document.value if document is not None and isinstance(document.value, dict) else {}
    members = spelled_as_before(former)
    if document is None or members is None:
        return _Cure((f"{POOLING_CONFIG} stays: it does not state a width and a mode that are known",))
    text = replace_members(document, members, [key for key in former if key not in members])
    told = f"{POOLING_CONFIG} says the same in the older spelling, which every reader has"
    return _Cure((told,), files=(text_file(target.checkpoint, document, text),))


def _length(target: Target) -> _Cure:
    document = read_sidecar(target.checkpoint, SENTENCE_CONFIG)
    if document is None:
        return _Cure((f"{SENTENCE_CONFIG} stays: it cannot be read",))
    most = longest_text(target.checkpoint, target.config.max_position_embeddings)
    text = replace_members(document, {"max_seq_length": most})
    told = f"{SENTENCE_CONFIG} states max_seq_length {most:,}, which is what the tokenizer and the positions allow"
    return _Cure((told,), files=(text_file(target.checkpoint, document, text),))


def _is_affirmative(text: str) -> bool:
    return text.lower() in AFFIRMATIVE


_CURES: dict[str, Callable[[Target], _Cure]] = {
    "GTE015": _stale_index,
    "GTE016": _total_size,
    "GTE060": _leftovers,
    "GTE103": lambda target: _flags(target, lambda text: not _is_affirmative(text)),
    "GTE104": lambda target: _flags(target, _is_affirmative),
    "GTE145": lambda target: _Cure(("quantization_config goes: all weights are floating point",), unset=_QUANTIZER),
    "GTE230": _pad_row,
    "GTE241": _redundant_decoder,
    "GTE250": _buffers,
    "GTE638": _pooling,
    "GTE639": _length,
}
