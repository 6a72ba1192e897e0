"""An OpenSSF model signature names the hash of every file, so no surgery leaves one that holds: it is moved aside.

Known by its content, a sigstore bundle over a statement of model-signing [its predicate, `_signing/signing.py` of
model-signing 1.1.1], whatever its name. Making and verifying signatures is left to `model_signing`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_whole
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError, RefusedError
from gte_surgery.surgery.planning.parts.rewrite import permissions
from gte_surgery.surgery.planning.plan import Plan, TextFile

SUFFIX = ".before-surgery"
_PREDICATES = ("https://model_signing/signature/v1.0", "https://model_signing/Digests/v0.1")
_MOST_BYTES = 64 << 20


def with_signatures_aside(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """The plan with each signature moved aside, and told. Raises RefusedError where its new name is taken."""
    if plan.is_empty:
        return plan
    for file, content in _signatures(checkpoint):
        aside = f"{file.name}{SUFFIX}"
        if checkpoint.has(aside):
            raise RefusedError(
                f"{shown(file.name)}: a signature that will not hold, and {shown(aside)} is there already",
                "move one of the two out of the checkpoint",
            )
        moved = TextFile(aside, permissions(file.mode), content)
        told = f"the signature {shown(file.name)} no longer holds and becomes {shown(aside)}: sign the result anew"
        plan = replace(
            plan,
            files=(*plan.files, moved),
            removed=(*plan.removed, file.name),
            meaning=(*plan.meaning, told),
        )
    return plan


def _signatures(checkpoint: Checkpoint) -> Iterator[tuple[FileEntry, bytes]]:
    """The files called *.sig or *.sigstore.json that are signatures, with their content."""
    for entry in checkpoint.files:
        file = checkpoint.readable(entry.name) if entry.name.endswith((".sig", ".sigstore.json")) else None
        if file is None or file.size > _MOST_BYTES:
            continue
        try:
            content = read_whole(file.place, _MOST_BYTES)
        except CheckpointError:
            continue
        if _is_signature(content):
            yield file, content


def _is_signature(content: bytes) -> bool:
    """Whether this is a sigstore bundle whose envelope holds a statement of model-signing."""
    try:
        envelope = json.loads(content)["dsseEnvelope"]
        return json.loads(base64.b64decode(envelope["payload"]))["predicateType"] in _PREDICATES
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
