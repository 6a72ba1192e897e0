"""Corpora for tests: rows as plain Python, written to any format, and a plain judgement of what a scan must see.

`judged` looks at one row after the other and shares no code with the scan.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gte_surgery.contract.scan.corpus import scan as scan_by_processes
from gte_surgery.contract.scan.summary import Summary
from gte_surgery.contract.spec import IdContract

scan = partial(scan_by_processes, workers=0)
"""A scan in this thread, which nothing has to start for."""

Row = dict[str, Any]

CONTRACT = IdContract(vocab_size=12, pad_token_id=1, type_vocab_size=2, max_length=6, cls_token_id=0)
NAMES = ("input_ids", "attention_mask", "token_type_ids", "labels", "position_ids")

_SHAPE_CODES = {
    "attention_mask": "GTE421", "token_type_ids": "GTE440", "labels": "GTE450", "position_ids": "GTE460",
}  # fmt: skip


def plain(summary: Summary) -> dict[str, Any]:
    """A summary as values that can be compared, without the texts that depend on the format."""
    faults = {
        (fault.file, fault.fault.value): (
            fault.sums.places, fault.sums.rows, [(at.row, max(at.column, 0)) for at in fault.offenders],
        )
        for fault in summary.faults
    }  # fmt: skip
    return {
        **{name: value for name, value in asdict(summary).items() if isinstance(value, int)},
        "lengths": {length: count for length, count in enumerate(summary.lengths.tolist()) if count},
        "uses": {number: count for number, count in enumerate(summary.uses.tolist()) if count},
        "faults": faults,
        "sums": {fault.value: (sums.places, sums.rows) for fault, sums in summary.sums.items()},
    }


def judged(rows: list[Row], contract: IdContract, file: str) -> dict[str, Any]:
    """What `plain` must give for a corpus of one file, ids counted."""
    places: dict[str, list[tuple[int, int]]] = {}
    lengths: Counter[int] = Counter()
    uses: Counter[int] = Counter()
    seen = Counter(rows=len(rows), sequences=0, tokens=0, real_tokens=0, unmasked=0, longest=0)
    max_id = -1
    for number, row in enumerate(rows):
        ids = row["input_ids"]
        if (code := _shapeless(row)) is not None:
            places.setdefault(code, []).append((number, 0))
            continue
        seen.update(sequences=1, tokens=len(ids), unmasked=row.get("attention_mask") is None)
        max_id = max([max_id, *ids])
        uses.update(value for value in ids if 0 <= value < contract.vocab_size)
        found = list(_row_faults(row, contract))
        for code, column in found:
            places.setdefault(code, []).append((number, column))
        if not {"GTE424", "GTE425", "GTE426"} & {code for code, _ in found}:
            length = sum(_real(row, contract))
            seen.update(real_tokens=length)
            seen["longest"] = max(seen["longest"], length)
            lengths[min(length, contract.max_length + 1)] += 1
    sums = {code: (len(at), len({row for row, _ in at})) for code, at in places.items()}
    return {
        **seen,
        "max_id": max_id,
        "lengths": dict(lengths),
        "uses": dict(uses),
        "faults": {(file, code): (*sums[code], sorted(at)[:3]) for code, at in places.items()},
        "sums": sums,
    }


def _shapeless(row: Row) -> str | None:
    ids = row["input_ids"]
    if ids is None or None in ids:
        return "GTE482"
    for name in NAMES[1:]:
        column = row.get(name)
        if column is not None and None in column:
            return "GTE482"
        if column is not None and len(column) != len(ids):
            return _SHAPE_CODES[name]
    return None


def _real(row: Row, contract: IdContract) -> list[bool]:
    mask = row.get("attention_mask")
    return [bool(m) for m in mask] if mask is not None else [i != contract.pad_token_id for i in row["input_ids"]]


def _row_faults(row: Row, contract: IdContract) -> Iterator[tuple[str, int]]:
    """(code, column) of every fault of a row that has a shape."""
    ids, mask = row["input_ids"], row.get("attention_mask")
    pad = contract.pad_token_id
    if len(ids) > contract.max_length:
        yield "GTE415", 0
    yield from _outside(ids, contract.vocab_size, "GTE413", "GTE414")
    types = row.get("token_type_ids") or []
    if contract.type_vocab_size:
        yield from _outside(types, contract.type_vocab_size, "GTE441", "GTE442")
    else:
        yield from (("GTE443", at) for at, value in enumerate(types) if value)
    yield from _outside(row.get("position_ids") or [], contract.max_length, "GTE461", "GTE462")
    labels = row.get("labels") or []
    yield from (("GTE451", at) for at, label in enumerate(labels) if label < 0 and label != contract.ignore_label)
    yield from (("GTE452", at) for at, label in enumerate(labels) if label >= contract.vocab_size)
    odd: list[int] = []
    if mask is not None and not set(mask) <= {0, 1}:
        if 0 in mask and all(value == 0 or value <= -1000 for value in mask):
            yield "GTE424", 0
            return
        odd = [at for at, value in enumerate(mask) if value not in (0, 1)]
        yield from (("GTE425", at) for at in odd)
    real = _real(row, contract)
    disagree = [at for at, number in enumerate(ids) if at not in odd and real[at] == (number == pad)]
    if disagree and not odd and len(disagree) == len(ids) and 0 < sum(real) < len(ids):
        yield "GTE426", 0
        return
    yield from (("GTE427" if ids[at] == pad else "GTE428", at) for at in disagree)
    for at, label in enumerate(row.get("labels") or []):
        if not real[at] and ids[at] == pad and 0 <= label < contract.vocab_size:
            yield "GTE453", at
    if not odd and not disagree:
        yield from _order_faults(row, real, contract)


def _order_faults(row: Row, real: list[bool], contract: IdContract) -> Iterator[tuple[str, int]]:
    """Faults of a row whose pads are known beyond doubt."""
    if True not in real:
        yield "GTE429", 0
        return
    first, last = real.index(True), len(real) - 1 - real[::-1].index(True)
    if False in real[first:last]:
        yield "GTE430", real.index(False, first)
    elif (first > 0) if contract.padding_side == "right" else (last < len(real) - 1):
        yield "GTE431", 0
    if contract.cls_token_id is not None and row["input_ids"][first] != contract.cls_token_id:
        yield "GTE416", 0
    positions = row.get("position_ids")
    if positions is not None:
        told = [(at, position) for at, position in enumerate(positions) if real[at]]
        if all(0 <= position < contract.max_length for _, position in told):
            wrong = [at for count, (at, position) in enumerate(told) if position != count]
            yield from (("GTE463", at) for at in wrong[:1])


def _outside(values: list[int], size: int, below: str, beyond: str) -> Iterator[tuple[str, int]]:
    yield from ((below, at) for at, value in enumerate(values) if value < 0)
    yield from ((beyond, at) for at, value in enumerate(values) if value >= size)


@st.composite
def tidy_rows(draw: st.DrawFn, contract: IdContract = CONTRACT) -> list[Row]:
    """Rows that all have the same columns, each as long as its ids: every format can hold them. Mostly valid."""
    names = draw(st.sets(st.sampled_from(NAMES[1:])))
    return [_row(draw, contract, names) for _ in range(draw(st.integers(1, 12)))]


def _row(draw: st.DrawFn, contract: IdContract, names: set[str]) -> Row:
    """A valid row, or one with a value or two changed."""
    tokens = draw(st.lists(st.integers(2, contract.vocab_size - 1), max_size=contract.max_length))
    pads = draw(st.integers(0, 2))
    ids = [contract.cls_token_id or 0, *tokens][: contract.max_length] + [contract.pad_token_id] * pads
    real = [1] * (len(ids) - pads) + [0] * pads
    columns = {
        "input_ids": ids,
        "attention_mask": real,
        "token_type_ids": draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids))),
        "labels": [
            value if kept and value % 2 else contract.ignore_label for value, kept in zip(ids, real, strict=True)
        ],
        "position_ids": [min(at, contract.max_length - 1) for at in range(len(ids))],
    }
    row: Row = {name: list(columns[name]) for name in ("input_ids", *sorted(names))}
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        name = draw(st.sampled_from(sorted(row)))
        if row[name]:
            at = draw(st.integers(0, len(row[name]) - 1))
            row[name][at] = draw(st.sampled_from([0, 1, 2, contract.max_length, -1, 11, 12, 99, -100, -10000]))
    kind = draw(st.sampled_from(["as it is"] * 6 + ["empty", "reversed", "inverted", "additive"]))
    if kind == "empty":
        row = {name: [] for name in row}
    elif kind == "reversed":
        row = {name: values[::-1] for name, values in row.items()}
    elif kind != "as it is" and "attention_mask" in row:
        wrong = 1 - np.array(row["attention_mask"], int)
        row["attention_mask"] = (wrong * (-10000 if kind == "additive" else 1)).tolist()
    return row


@st.composite
def wild_rows(draw: st.DrawFn, contract: IdContract = CONTRACT) -> list[Row]:
    """Rows with nulls, columns that only some have, and columns of wrong lengths: what lists can hold."""
    rows = draw(tidy_rows(contract))
    for row in rows:
        match draw(st.sampled_from(["tidy", "tidy", "absent", "null", "element", "short"])):
            case "absent":
                row.pop(draw(st.sampled_from(NAMES[1:])), None)
            case "null":
                row["input_ids"] = None
            case "element":
                values = row[draw(st.sampled_from(sorted(row)))]
                values.insert(draw(st.integers(0, len(values))), None)
            case "short":
                row[draw(st.sampled_from(sorted(row)))].append(1)
    return rows


def _table(rows: list[Row], kind: Callable[[pa.DataType], pa.DataType] = pa.list_) -> pa.Table:
    names = [name for name in NAMES if any(name in row for row in rows)]
    small = {"attention_mask": pa.int32(), "token_type_ids": pa.int32()}
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], kind(small.get(name, pa.int64()))) for name in names}
    ).append_column("text", pa.array(["text"] * len(rows)))


def _parquet(rows: list[Row], folder: Path, at_once: int) -> Path:
    pq.write_table(_table(rows), folder / "c.parquet", row_group_size=at_once)
    return folder / "c.parquet"


def _arrow_file(rows: list[Row], folder: Path, at_once: int) -> Path:
    table = _table(rows, pa.large_list)
    with pa.ipc.new_file(str(folder / "c.arrow"), table.schema) as writer:
        writer.write_table(table, at_once)
    return folder / "c.arrow"


def _arrow_stream(rows: list[Row], folder: Path, at_once: int) -> Path:
    table = _table(rows)
    with pa.ipc.new_stream(str(folder / "c.arrow"), table.schema) as writer:
        writer.write_table(table, at_once)
    return folder / "c.arrow"


def _lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _json_lines(rows: list[Row], folder: Path, at_once: int) -> Path:
    (folder / "c.jsonl").write_bytes(_lines(rows))
    return folder / "c.jsonl"


def _json_lines_gz(rows: list[Row], folder: Path, at_once: int) -> Path:
    parts = (rows[begin : begin + at_once] for begin in range(0, len(rows), at_once))
    (folder / "c.jsonl.gz").write_bytes(b"".join(gzip.compress(_lines(part)) for part in parts))
    return folder / "c.jsonl.gz"


def _json_lines_zst(rows: list[Row], folder: Path, at_once: int) -> Path:
    (folder / "c.jsonl.zst").write_bytes(pa.compress(_lines(rows), "zstd", asbytes=True))
    return folder / "c.jsonl.zst"


def _flat(rows: list[Row]) -> dict[str, Any]:
    arrays = {name: np.array([value for row in rows for value in row[name]], np.int64) for name in rows[0]}
    return arrays | {"offsets": np.cumsum([0, *(len(row["input_ids"]) for row in rows)])}


def _npy(rows: list[Row], folder: Path, at_once: int) -> Path:
    for name, array in _flat(rows).items():
        np.save(folder / f"c_{name}.npy", array.astype(np.int32))
    return folder / "c_input_ids.npy"


def _npz(rows: list[Row], folder: Path, at_once: int) -> Path:
    np.savez_compressed(folder / "c.npz", **_flat(rows))
    return folder / "c.npz"


def _safetensors(rows: list[Row], folder: Path, at_once: int) -> Path:
    save_file(_flat(rows), folder / "c.safetensors")
    return folder / "c.safetensors"


Writer = Callable[[list[Row], Path, int], Path]

LIST_WRITERS: list[Writer] = [_parquet, _arrow_file, _arrow_stream, _json_lines, _json_lines_gz, _json_lines_zst]
"""Write rows into a folder, so many at once where the format has batches, and tell the file."""

WRITERS: list[Writer] = [*LIST_WRITERS, _npy, _npz, _safetensors]
"""All of them; those for flat arrays need tidy rows."""
