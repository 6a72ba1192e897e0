"""A surgery's plan and its outcome, as text for people and as JSON for programs (schema: plan)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from gte_surgery.render.ink import columns, count, paint, printable, section, size
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.planning.plan import OutputFile, Plan, PlannedTensor

LONGEST_VALUE = 100
"""Characters of a config value that the text form shows."""
SHOWN = 5
"""Of a long list, so many are shown."""


def plan_text(plan: Plan, target: Path, color: bool = False) -> str:
    """What a surgery would do: config, meaning in words, files with the tensors that are more than a copy."""
    if plan.is_empty:
        return f"{printable(str(target))}: already so, nothing to write"
    parts = [
        paint(f"{plan.command} → {printable(str(target))}", "strong", color),
        section("config.json", _change_lines(plan), "  "),
        section("meaning", [printable(sentence) for sentence in plan.meaning], "  "),
        section("preserved, which --prove runs", [claim.sentence for claim in plan.claims], "  "),
        section("files to write", [line for file in plan.files for line in _file_lines(file)], "  "),
        section("files to remove", [printable(name) for name in plan.removed], "  "),
        section("to fetch", _fetch_lines(plan), "  "),
    ]
    return "\n".join(part for part in parts if part)


def outcome_text(plan: Plan, receipt: Mapping[str, object] | None, target: Path, color: bool = False) -> str:
    """What a surgery did; for a dry run, which leaves no receipt, the plan and a word that nothing was written."""
    if plan.is_empty and receipt is not None:
        return f"{printable(str(target))}: a plain copy, the checkpoint was already so"
    if plan.is_empty:
        return plan_text(plan, target, color)
    if receipt is None:
        return f"{plan_text(plan, target, color)}\n{paint('dry run: nothing was written', 'faint', color)}"
    written = f"wrote {count(len(plan.files), 'file')}, {size(plan.nbytes)}"
    done = f"{plan.command} {printable(str(target))}: {written if plan.files else 'wrote no file'}"
    parts = [
        paint(done, "good", color),
        section("config.json", _change_lines(plan), "  "),
        section("meaning", [printable(sentence) for sentence in plan.meaning], "  "),
        section("proof", list(_proof_lines(receipt)), "  "),
        section("removed", [printable(name) for name in plan.removed], "  "),
    ]
    return "\n".join(part for part in parts if part)


def outcome_json(plan: Plan, receipt: Mapping[str, object] | None, target: Path) -> str:
    """The plan, where it went, and the receipt: null after a dry run or when there was nothing to do."""
    return json.dumps(_plan_object(plan) | {"target": str(target), "receipt": receipt}, indent=2)


def _fetch_lines(plan: Plan) -> list[str]:
    fetch = plan.fetch
    if fetch is None:
        return []
    asked = f"in {count(fetch.requests, 'request')}"
    return [f"{size(fetch.nbytes)} of the {size(fetch.of)} at {printable(fetch.source)}, {asked}"]


def _proof_lines(receipt: Mapping[str, object]) -> Iterator[str]:
    """What was proved before the commit; nothing where no proof was asked for."""
    ran = receipt.get("proof")
    if not isinstance(ran, dict):
        return
    outcome = "proved" if receipt["proved"] is True else "inconclusive"
    gap = f", largest difference {ran['largest_difference']:.3g}" if ran["largest_difference"] is not None else ""
    told = f": {printable(ran['told'])}" if ran["told"] else ""
    done = f"{ran['batches']} batches, {count(ran['tokens'], 'token')}"
    yield f"{outcome} on {ran['device']} in {', '.join(ran['dtypes'])}: {done}{gap}{told}"


def _change_lines(plan: Plan) -> list[str]:
    if not plan.source:
        return []
    told = [change for change in plan.changes if (change.before, change.after) != (None, None)]
    return [f"{printable(change.key)}: {_value(change.before)} → {_value(change.after)}" for change in told]


def _value(value: object) -> str:
    """The value as JSON, cut short; absent and null are one."""
    if value is None:
        return "absent"
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _file_lines(file: OutputFile) -> list[str]:
    if not file.tensors:
        return [f"{printable(file.name)}: {size(file.nbytes)}"]
    made = [tensor for tensor in file.tensors if not _is_copy(tensor)]
    summary = f"{count(len(file.tensors), 'tensor')}, {len(made):,} of them more than a copy"
    more = [f"  and {len(made) - SHOWN} more"] if len(made) > SHOWN else []
    tensors = [f"  {line}" for tensor in made[:SHOWN] for line in _tensor_lines(tensor)]
    return [f"{printable(file.name)}: {size(file.nbytes)}, {summary}", *tensors, *more]


def _is_copy(tensor: PlannedTensor) -> bool:
    return len(tensor.pieces) == 1 and isinstance(tensor.pieces[0], CopyRange)


def _tensor_lines(tensor: PlannedTensor) -> list[str]:
    more = [f"  and {len(tensor.pieces) - SHOWN} more"] if len(tensor.pieces) > SHOWN else []
    pieces = [(f"  {size(piece.nbytes)}", printable(piece.describe())) for piece in tensor.pieces[:SHOWN]]
    head = f"`{printable(tensor.name)}` {tensor.dtype} {list(tensor.shape)}"
    return [head, *(columns(pieces).splitlines() if pieces else ()), *more]


def _plan_object(plan: Plan) -> dict[str, object]:
    return {
        "command": plan.command,
        "source": plan.source,
        "edits": dict(plan.edits),
        "seed": plan.seed,
        "changes": [{"key": change.key, "before": change.before, "after": change.after} for change in plan.changes],
        "meaning": list(plan.meaning),
        "files": [_file_object(file) for file in plan.files],
        "removed": list(plan.removed),
        "nbytes": plan.nbytes,
        "claims": [claim.record() for claim in plan.claims],
        **({"curve": [point._asdict() for point in plan.curve]} if plan.curve else {}),
        **({"fetch": plan.fetch._asdict()} if plan.fetch is not None else {}),
    }


def _file_object(file: OutputFile) -> dict[str, object]:
    tensors = [
        {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "nbytes": tensor.nbytes,
            "pieces": [{"nbytes": piece.nbytes, "does": piece.describe()} for piece in tensor.pieces],
        }
        for tensor in file.tensors
    ]
    return {"name": file.name, "nbytes": file.nbytes, "tensors": tensors}
