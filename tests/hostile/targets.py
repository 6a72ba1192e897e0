"""What is fuzzed: functions from bytes to nothing that raise only when a promise is broken.

Each compares our reading of hostile bytes with an independent one: the safetensors package, the json module, the list
of files that Python opens. They need no fuzzer: the corpus is replayed by `test_corpus`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, deserialize

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checkpoint.headers import header
from gte_surgery.checkpoint.headers.header import parse_header
from gte_surgery.checkpoint.json import scan as json_scan
from gte_surgery.checkpoint.json.strict import Document, decode_first, escape, parse_document, replace_members
from gte_surgery.checks.description import describe
from gte_surgery.checks.run import run
from gte_surgery.errors import HeaderError, JsonError
from gte_surgery.gte.kinds import Consumer
from gte_surgery.render.formats.github import report_github
from gte_surgery.render.formats.report import report_json, report_text
from tests.hostile import targets_beside
from tests.hostile.watch import SEPARATOR, WHOLE, only_files_below, place, sandbox, size_and_text

DEPARTURES = {
    HeaderFault.DUPLICATE_NAME,
    HeaderFault.LEADING_SPACE,
    HeaderFault.ARRAY_ENTRY,
    HeaderFault.NULL_METADATA,
    HeaderFault.OBJECT_DTYPE,
}
"""What safetensors 0.8 accepts although the format forbids it."""


def fuzz_header(raw: bytes) -> None:
    """`raw`: three bytes for the size of the data, then the header's text; with 0xffffff, a whole file as it is."""
    size, text = size_and_text(raw)
    file = text if size == WHOLE else len(text).to_bytes(8, "little") + text + bytes(size)
    found = _read(file)
    theirs = as_the_package_reads(file)
    if isinstance(found, HeaderError):
        assert theirs is None or HeaderFault(found.fault) in DEPARTURES, found
        assert str(found).isprintable()
    else:
        assert theirs is not None, "the package refuses it"
        assert {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in found.tensors} == theirs
    _require_both_readings_alike(file, found)


def _read(file: bytes) -> header.Header | HeaderError:
    try:
        return parse_header(file, len(file))
    except HeaderError as error:
        return error


def as_the_package_reads(file: bytes) -> dict[str, tuple[str, list[int]]] | None:
    """Dtype and shape by name, None where the safetensors package refuses the file."""
    try:
        return {name: (tensor["dtype"], tensor["shape"]) for name, tensor in deserialize(file)}
    except SafetensorError:
        return None


def _require_both_readings_alike(file: bytes, found: header.Header | HeaderError) -> None:
    """Member by member, or as one JSON value: a header means the same."""
    try:
        raw = file[: 8 + header._header_length(file, len(file))]
        plain = header._collect_plain(raw, None)
        whole = header._collect(header._parse_json(raw, None).items(), None) if plain else plain
    except HeaderError:
        assert isinstance(found, HeaderError)
        return
    assert plain == whole


def fuzz_json(raw: bytes) -> None:
    """`raw`: a JSON text. With a NUL in it, what stands before that are members to be set."""
    edit, _, text = raw.rpartition(b"\0")
    document, expected = _document(text), as_strict_json(text)
    if isinstance(document, JsonError):
        assert expected is None, "json accepts it"
        assert document.line >= 1
        assert document.column >= 1
        assert str(document).isprintable()
        return
    assert expected is not None, "json refuses it"
    assert document.value == expected[0]
    for pointer, value in _pointers(document.value, 30):
        span, position = document.span(pointer), document.position(pointer)
        assert span is not None
        assert position is not None
        assert _same(json.loads(document.text[slice(*span)]), value)
        line, column = position
        assert document.text.count("\n", 0, span[0]) == line - 1
        assert document.text.rfind("\n", 0, span[0]) + column == span[0]
    _require_first_value_alike(document.text, document.value)
    if isinstance(document.value, dict):
        _require_edit_does_as_asked(document, edit)


def _document(text: bytes) -> Document | JsonError:
    try:
        return parse_document(text, "x.json")
    except JsonError as error:
        return error


def _require_first_value_alike(text: str, value: object) -> None:
    begin = json_scan.skip_space(text, 0)
    found = decode_first(text + " ", begin)
    if found is not None:
        assert _same(found[0], value)
        assert text[found[1] :].strip(" \t\n\r") == ""


def _require_edit_does_as_asked(document: Document, edit: bytes) -> None:
    try:
        members = json.loads(edit or b'{"vocab_size":1,"b":[{"c":null}]}')
        json.dumps(members, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return
    if not isinstance(members, dict) or json_scan.first_offence(json.dumps(members)):
        return
    before = document.value
    removed = sorted(before)[:1]
    text = replace_members(document, members, removed)
    kept = {key: value for key, value in before.items() if key not in removed or key in members}
    assert parse_document(text.encode(), "x.json").value == {**kept, **members}
    for key in kept:
        if key not in members:
            assert _literal(text, key) == _literal(document.text, key)


def _literal(text: str, key: str) -> str:
    span = parse_document(text.encode(), "x.json").span("/" + escape(key))
    assert span is not None
    return text[slice(*span)]


def _same(one: object, other: object) -> bool:
    return json.dumps(one) == json.dumps(other) or one == other


def as_strict_json(raw: bytes) -> tuple[object] | None:
    """The value in a tuple, None where strict JSON has none; by the json module, with checks of its own."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    def finite(literal: str) -> float:
        if math.isinf(float(literal)):
            raise ValueError("infinite")
        return float(literal)

    def whole(literal: str) -> float | int:
        return -0.0 if literal == "-0" else int(literal) if math.isfinite(float(literal)) else finite(literal)

    def forbidden(literal: str) -> object:
        raise ValueError(literal)

    try:
        if raw.startswith(b"\xef\xbb\xbf"):
            return None
        text = raw.decode()
        value = json.loads(
            text, object_pairs_hook=unique, parse_float=finite, parse_int=whole, parse_constant=forbidden
        )
        json.dumps(value, ensure_ascii=False).encode()
        return (value,) if _depth(value) <= 127 else None
    except (ValueError, RecursionError):
        return None


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _pointers(value: object, most: int) -> Iterator[tuple[str, object]]:
    """The first values inside `value` with their JSON pointers, breadth first."""
    pending = [("", value)]
    for pointer, item in pending:
        yield pointer, item
        if len(pending) < most and isinstance(item, dict):
            pending += [(f"{pointer}/{escape(key)}", each) for key, each in item.items()]
        elif len(pending) < most and isinstance(item, list):
            pending += [(f"{pointer}/{number}", each) for number, each in enumerate(item)]


PLACES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "a.safetensors",
    "tokenizer_config.json",
    "tokenizer.json",
    "gte-surgery.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "modules.json",
    "special_tokens_map.json",
    "vocab.txt",
    "gte-surgery.toml",
)
"""The files of a fuzzed checkpoint, in the order of the parts of its bytes."""


def fuzz_checkpoint(raw: bytes) -> None:
    """`raw`: the contents of the files in `PLACES`; an empty part means no file, "->x" a link to x, and a part of
    weights that has a `{` behind three bytes is a header with so much data.
    """
    with sandbox() as folder:
        for name, content in zip(PLACES, raw.split(SEPARATOR), strict=False):
            place(folder / "checkpoint" / name, content)
        with only_files_below(folder / "checkpoint"):
            judge(folder / "checkpoint")


def judge(path: Path) -> None:
    """Everything that reads a checkpoint without changing it; what is said of it is fit for a terminal."""
    checkpoint = open_checkpoint(path)
    json.dumps([str(describe(checkpoint).parameters)])
    report = run(checkpoint, values=True, consumers=[consumer.value for consumer in Consumer])
    for line in f"{report_text(report)}\n{report_github(report)}".split("\n"):
        assert line.isprintable()
    json.loads(report_json(report))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "header": fuzz_header,
    "json": fuzz_json,
    "checkpoint": fuzz_checkpoint,
    "scan": targets_beside.fuzz_scan,
    "policy": targets_beside.fuzz_policy,
    "state": targets_beside.fuzz_state,
    "receipts": targets_beside.fuzz_receipts,
    "out": targets_beside.fuzz_out,
}
MOST_BYTES = {
    "header": 2_000, "json": 1_000, "checkpoint": 12_000, "scan": 4_000, "policy": 1_000, "state": 4_000,
    "receipts": 2_000, "out": 1_000,
}  # fmt: skip
"""The length of an input at most."""
