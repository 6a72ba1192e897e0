"""Claims as a receipt keeps them, and read back: the row map, of which a trimmed vocabulary has tens of thousands of
entries, stands there once for all claims, as runs of ids.
"""

from __future__ import annotations

import re
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import get_args

from gte_surgery.checkpoint.receipts import Receipt
from gte_surgery.errors import CheckpointError
from gte_surgery.surgery.planning.claim import Claim, Kind
from gte_surgery.surgery.planning.claims import pad_row
from gte_surgery.vocabulary.row_map import ID_LIMIT, Places, RowMap

_READABLE = 2048
"""Characters of runs that stand in a receipt as they are; more are packed."""
_PACKED = "zlib:"
_MOST_TEXT = 1 << 25
"""Characters of runs; a map of a million rows that no two follow each other in has 16 million."""
MOST_ROWS = 1 << 24
"""Rows of a table that a receipt may speak of and that is not there to be asked."""


def recorded(claims: Sequence[Claim]) -> dict[str, object]:
    """The members of a receipt that tell of claims: "claims", and the "map" of the ids that they speak of.

    `runs` has gap:gap:count for each run of ids: new and old id of its first, less those after the last of the run
    before, and how many follow each other; of more than a few it is "zlib:" and the base64 of that. `without` are new
    ids of the map that do not keep their meaning.
    """
    told = [claim for claim in claims if claim.ids is not None and claim.kind != "pad"]
    kept = [{"map": {"runs": packed(claim.ids), "without": sorted(claim.without)}} for claim in told[:1] if claim.ids]
    return {"claims": [claim.record() for claim in claims], **(kept[0] if kept else {})}


def packed(ids: RowMap) -> str:
    """The runs of a map as text; rows that are made of several are left out."""
    stream, compressed, start, size = zlib.compressobj(9), bytearray(), b"", 0
    for part in _gaps(ids):
        compressed += stream.compress(part)
        start += part if size <= _READABLE else b""
        size += len(part)
    if size <= _READABLE:
        return start.decode()
    return _PACKED + b64encode(compressed + stream.flush()).decode()


def _gaps(ids: RowMap) -> Iterator[bytes]:
    """The text of each run, with a space before all but the first."""
    new_end = old_end = 0
    space = ""
    for new, old, count in _runs(ids):
        yield f"{space}{new - new_end}:{old - old_end}:{count}".encode()
        new_end, old_end, space = new + count, old + count, " "


def unpacked(text: str, rows: int) -> RowMap:
    """The map of such a text for a table of `rows` rows; raises ValueError where it is none."""
    if text.startswith(_PACKED):
        text = zlib.decompressobj().decompress(b64decode(text[len(_PACKED) :], validate=True), _MOST_TEXT).decode()
    if len(text) >= _MOST_TEXT:
        raise ValueError(f"runs of {_MOST_TEXT} characters and more")
    new, old = array("q"), array("q")
    new_end = old_end = 0
    for part in (found[0] for found in re.finditer(r"\S+", text)):
        new_gap, old_gap, count = map(int, part.split(":"))
        begin, origin = new_end + new_gap, old_end + old_gap
        new_end, old_end = begin + count, origin + count
        if new_gap < 0 or origin < 0 or count < 1 or new_end > rows or old_end > ID_LIMIT:
            raise ValueError(f"the run {part} leads out of a table of {rows} rows")
        new.extend(range(begin, new_end))
        old.extend(range(origin, old_end))
    return _single(new, old, rows)


def claims_of_receipt(receipt: Receipt, rows: int) -> tuple[Claim, ...]:
    """The claims that a receipt tells of, for a table of `rows` rows. Raises CheckpointError where it tells none, or
    they cannot be read.
    """
    listed, told = receipt.get("claims"), receipt.get("map", {"runs": "", "without": []})
    if not isinstance(listed, list) or not isinstance(told, dict):
        raise CheckpointError("gte-surgery.json: the receipt tells no claims, an earlier version wrote it", _BY_HAND)
    try:
        ids, without = unpacked(str(told["runs"]), rows), frozenset(map(int, told["without"]))
        return tuple(_claim(record, ids, without) for record in listed)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise CheckpointError(
            f"gte-surgery.json: the claims of the receipt cannot be read: {error}", _BY_HAND
        ) from None


_BY_HAND = "name the row map: --map FILE, new id, tab, old id in each line"


def joined(surgeries: Iterable[Sequence[Claim]]) -> tuple[Claim, ...]:
    """What holds after several surgeries, one after the other: what each of them claims, by the maps one after the
    other.
    """
    first, *others = surgeries
    return reduce(_after, others, tuple(first))


def _after(first: tuple[Claim, ...], then: Sequence[Claim]) -> tuple[Claim, ...]:
    before = {claim.kind: claim for claim in first}
    return tuple(claim for later in then for claim in _both(before.get(later.kind), later))


def _both(before: Claim | None, later: Claim) -> Iterator[Claim]:
    """The claim that follows from one and a later one; none where one of them does not follow from the other."""
    if later.kind in ("pad", "drawn"):
        yield later
    elif before is not None and not (later.rounded and before.rounded) and not (before.adds_type or later.adds_type):
        yield later._replace(
            sentence=f"{later.sentence}, and before that: {before.sentence}",
            tolerance=before.tolerance + later.tolerance,
            ids=_chained(before, later) if later.ids is not None else None,
            without=frozenset(),
            tensors=(*before.tensors, *later.tensors),
            rounded=later.rounded or before.rounded,
            may_lose=before.may_lose or later.may_lose,
        )


def _chained(before: Claim, later: Claim) -> RowMap:
    origins = dict(before.each())
    pairs = [(new, origins[between]) for new, between in later.each() if between in origins]
    return _single(array("q", (new for new, _ in pairs)), array("q", (old for _, old in pairs)), 0)


def _claim(record: Mapping[str, object], ids: RowMap, without: frozenset[int]) -> Claim:
    kind, row, tolerance = record["claim"], record.get("row"), record["tolerance"]
    named: Kind | None = next((each for each in get_args(Kind) if each == kind), None)
    if named is None or not isinstance(tolerance, (int, float)):
        raise ValueError(f"a claim about {kind!r}")
    if named == "pad":
        return pad_row(int(str(row)))[0]
    tensors = record.get("tensors", [])
    return Claim(
        named,
        str(record["says"]),
        float(tolerance),
        None if named in ("tensors", "drawn") else ids,
        without,
        tuple(map(str, tensors if isinstance(tensors, list) else ())),
        str(record.get("rounded", "")),
        bool(record.get("adds_type", False)),
        bool(record.get("may_lose", False)),
    )


def _runs(ids: RowMap) -> Iterator[tuple[int, int, int]]:
    """(new id, old id, count) of the rows that are kept side by side."""
    if isinstance(ids.new, range) and ids.new == ids.old:
        yield ids.new.start, ids.new.start, len(ids.new)
        return
    begin, origin, count = 0, 0, 0
    for new, old in ids.kept():
        if count and (new, old) == (begin + count, origin + count):
            count += 1
            continue
        if count:
            yield begin, origin, count
        begin, origin, count = new, old, 1
    if count:
        yield begin, origin, count


def _single(new: Sequence[int], old: Sequence[int], rows: int) -> RowMap:
    return RowMap(rows, new, old, range(len(new) + 1), Places("receipt", "run", new))
