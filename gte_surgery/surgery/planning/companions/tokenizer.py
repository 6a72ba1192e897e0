"""The tokenizer's files beside the weights: they follow a remap by being rewritten to its ids, or give way to the
tokenizer that the rows were chosen for.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import read_json, sha256_of
from gte_surgery.checkpoint.json.strict import replace_members
from gte_surgery.checkpoint.receipts import LEFT_BEHIND, receipts_of
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.surgery.edits import Edit, Remap
from gte_surgery.surgery.planning.plan import PlainFile, Plan, SourceFile
from gte_surgery.surgery.planning.recorded import MOST_ROWS, claims_of_receipt
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.row_map import RowMap
from gte_surgery.vocabulary.token_files import (
    ROLES,
    SPECIAL_TOKENS,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    VOCABULARIES,
    token_text,
)
from gte_surgery.vocabulary.tokenizer import read_tokenizer

SETTINGS = (TOKENIZER_CONFIG, SPECIAL_TOKENS)
_NEW_FILE = 0o644


def with_tokenizer(plan: Plan, target: Target, edit: Edit) -> Plan:
    """The plan of `edit` with what becomes of the tokenizer's files; only a remap that says "rewrite" changes any.

    Raises RefusedError where they cannot hold the new ids, or need tokens that get none.
    """
    if not isinstance(edit, Remap) or edit.tokenizer == "remove":
        return plan
    if edit.tokenizer == "keep":
        return _left_behind(plan, target, edit)
    if edit.installed:
        return _installed(plan, target, edit.installed)
    present = [name for name in TOKENIZER_FILES if target.checkpoint.has(name)]
    if not present:
        return plan
    from gte_surgery.vocabulary.rewriting.made import require_made
    from gte_surgery.vocabulary.rewriting.rewrite import load, rewritten, settings_alone

    ids = edit.origins.new_ids()
    if not any(name in VOCABULARIES for name in present):
        files = settings_alone(target.checkpoint, ids)
        return _with_files(
            plan, target, files, [f"{', '.join(files)} follow: the ids in them are new"] if files else []
        )
    source = load(target.checkpoint)
    files = rewritten(source, ids)
    if source.is_made:
        files = require_made(target.checkpoint, files)
    kept = sum(number in ids for number in source.contents.texts)
    verb, total = "follows" if len(files) == 1 else "follow", len(source.contents.texts)
    told = f"{', '.join(files)} {verb}: {kept} of {total} tokens are kept, under their new ids"
    return _with_files(plan, target, files, (told,) if files else ())


def moves(origins: RowMap, checkpoint: Checkpoint) -> bool:
    """Whether rows that the tokenizer's ids name are another's, or gone, after a remap."""
    ids, rows = origins.new_ids(), _rows_since(checkpoint)
    size = read_tokenizer(checkpoint).vocab_size or 0
    return any(ids.get(number if rows is None else rows.get(number, -1)) != number for number in range(size))


def _left_behind(plan: Plan, target: Target, edit: Remap) -> Plan:
    """The plan that tells, for the receipt, which vocabularies stay though the ids in them mean other rows now; of one
    that was left behind and fits again there is no SHA-256.
    """
    is_left = moves(edit.origins, target.checkpoint)
    if plan.is_empty or not (is_left or _rows_since(target.checkpoint) is not None):
        return plan
    digests = {name: digest if is_left else "" for name, digest in _digests(target.checkpoint).items()}
    return replace(plan, edits={**plan.edits, LEFT_BEHIND: digests})


def _rows_since(checkpoint: Checkpoint) -> dict[int, int] | None:
    """Row by tokenizer id, where surgeries left the tokenizer behind and their receipts tell how the rows moved."""
    receipts = receipts_of(checkpoint)
    edits = [each.get("edits") for each in receipts]
    left = [each.get(LEFT_BEHIND) if isinstance(each, dict) else None for each in edits]
    digests = _digests(checkpoint) if any(left) else {}
    at = next((at for at, each in enumerate(left) if each and _is_one_of(each, digests)), None)
    if at is None:
        return None
    try:
        claims = [claim for each in receipts[at:] for claim in claims_of_receipt(each, MOST_ROWS)]
    except CheckpointError:
        return None
    moved = [claim.ids.new_ids() for claim in claims if claim.kind == "rows" and claim.ids is not None]
    return (
        reduce(lambda before, then: {old: then[row] for old, row in before.items() if row in then}, moved)
        if moved
        else None
    )


def _is_one_of(left: object, digests: Mapping[str, str]) -> bool:
    return isinstance(left, dict) and any(left.get(name) == digest for name, digest in digests.items())


def _digests(checkpoint: Checkpoint) -> dict[str, str]:
    files = {name: checkpoint.readable(name) for name in VOCABULARIES}
    return {name: sha256_of(file.place) for name, file in files.items() if file is not None}


def _installed(plan: Plan, target: Target, given: Mapping[str, bytes]) -> Plan:
    told = [f"{', '.join(given)} come from beside the tokenizer that was given"]
    files = dict(given)
    if not any(name in files for name in SETTINGS):
        files |= dict(_settings(target, files[TOKENIZER_JSON]))
    stay = [name for name in SETTINGS if name in files and name not in given]
    told += [f"{', '.join(stay)} stay, for the special tokens that they name are there"] if stay else []
    gone = tuple(name for name in TOKENIZER_FILES if target.checkpoint.has(name) and name not in files)
    told += [f"{', '.join(gone)} go: they belong to the tokenizer before"] if gone else []
    return _with_files(plan, target, files, told).besides(removed=gone)


def _settings(target: Target, tokenizer: bytes) -> Iterator[tuple[str, bytes]]:
    """The checkpoint's own settings, without the ids that they state, where the new tokenizer has their tokens."""
    for name in SETTINGS:
        entry = target.checkpoint.readable(name)
        document = read_json(entry) if entry is not None else None
        if document is None or not isinstance(document.value, dict):
            continue
        texts = [token_text(document.value.get(f"{role}_token")) for role in ROLES]
        if all(json.dumps(text, ensure_ascii=False).encode() in tokenizer for text in texts if text):
            yield name, replace_members(document, {}, ("added_tokens_decoder",)).encode()


def _with_files(plan: Plan, target: Target, files: Mapping[str, bytes], told: Sequence[str]) -> Plan:
    entries = {name: target.checkpoint.file(name) for name in files}
    for name, entry in entries.items():
        if entry is not None and not entry.is_regular:
            raise RefusedError(f"{name}: not a regular file, it cannot be replaced")
    modes = {name: stat.S_IMODE(entry.mode) if entry else _NEW_FILE for name, entry in entries.items()}
    planned = tuple(PlainFile(name, modes[name], raw) for name, raw in files.items())
    found = [entry for entry in entries.values() if entry is not None]
    return plan.besides(planned, map(SourceFile.of, found), meaning=told)
