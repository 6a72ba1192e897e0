"""Every fault of a safetensors header: found, named, and told with the tensor and the numbers."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gte_surgery.checkpoint.bounds import MAX_HEADER_BYTES
from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checkpoint.headers.header import (
    DTYPE_BITS,
    Header,
    TensorEntry,
    parse_header,
    read_header,
    render_header,
)
from gte_surgery.errors import CheckpointError, HeaderError


def file_of(header: bytes | str | dict[str, Any], data_size: int = 0) -> bytes:
    if isinstance(header, dict):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    return len(raw).to_bytes(8, "little") + raw + bytes(data_size)


def entry(dtype: object = "U8", shape: object = (2,), offsets: object = (0, 2), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


FAULTY: dict[HeaderFault, tuple[bytes, str, str]] = {
    HeaderFault.TOO_SHORT: (b"1234567", "", "7 bytes, wanted at least 8"),
    HeaderFault.HEADER_TOO_LARGE: (b"\xff" * 8, "", "header of 18446744073709551615 bytes, at most 100000000"),
    HeaderFault.HEADER_BEYOND_FILE: (file_of("{}")[:-1], "", "header of 2 bytes in a file of 9 bytes"),
    HeaderFault.NOT_UTF8: (file_of(b'{"\xff":1}'), "", "header byte 2 (0xff) is not UTF-8"),
    HeaderFault.LEADING_SPACE: (file_of(" {}"), "", "starts with white space"),
    HeaderFault.INVALID_JSON: (file_of('{"a":}'), "", "header character 5: not JSON: expecting value"),
    HeaderFault.DUPLICATE_NAME: (file_of('{"a":1,"a":2}'), "a", "the name occurs twice"),
    HeaderFault.NOT_AN_OBJECT: (file_of("[]"), "", "a JSON array, wanted an object"),
    HeaderFault.BAD_METADATA: (file_of({"__metadata__": {"k": 1}}), "", "a JSON number under k, wanted a string"),
    HeaderFault.ARRAY_ENTRY: (
        file_of({"a": ["U8", [1], [0, 1]]}, 1),
        "a",
        "the entry is a JSON array, wanted an object",
    ),
    HeaderFault.NULL_METADATA: (
        file_of({"__metadata__": None}),
        "",
        "null, wanted an object of strings or no such member",
    ),
    HeaderFault.OBJECT_DTYPE: (
        file_of({"a": entry(dtype={"U8": None})}),
        "a",
        "dtype is a JSON object, wanted a string",
    ),
    HeaderFault.BAD_ENTRY: (file_of({"a": {"dtype": "U8", "shape": []}}), "a", "the entry has no data_offsets"),
    HeaderFault.UNKNOWN_DTYPE: (file_of({"a": entry("float32")}, 2), "a", "dtype float32, wanted one of BOOL, F4"),
    HeaderFault.BAD_SHAPE: (file_of({"a": entry(shape=[2.0])}, 2), "a", "shape [2.0], wanted a list"),
    HeaderFault.SHAPE_OVERFLOW: (file_of({"a": entry(shape=[2**63, 2])}, 2), "a", "of U8 overflows 64 bits"),
    HeaderFault.BAD_OFFSETS: (
        file_of({"a": entry(offsets=[2, 0])}, 2),
        "a",
        "data_offsets [2, 0], wanted [begin, end]",
    ),
    HeaderFault.SIZE_MISMATCH: (
        file_of({"a": entry("F32")}, 2),
        "a",
        "data of 2 bytes, dtype F32 and shape [2] need 8",
    ),
    HeaderFault.SUB_BYTE_MISALIGNED: (file_of({"a": entry("F4", [3])}, 2), "a", "12 bits (shape [3] of F4)"),
    HeaderFault.HOLE: (file_of({"a": entry(offsets=[1, 3])}, 3), "a", "data begins at 1, wanted 0"),
    HeaderFault.OVERLAP: (file_of({"a": entry(), "b": entry(offsets=[1, 3])}, 3), "b", "data begins at 1, inside"),
    HeaderFault.BEYOND_FILE: (file_of({"a": entry()}, 1), "a", "data ends at 2, the file has 1 bytes of data"),
    HeaderFault.NUL_PADDED: (file_of(b"{}" + bytes(6)), "", "the header ends with 6 NUL bytes, wanted spaces"),
    HeaderFault.TRAILING_BYTES: (file_of({"a": entry()}, 5), "", "3 bytes follow the last tensor"),
}


@pytest.mark.parametrize("fault", HeaderFault)
def test_each_fault_is_found_and_told_with_its_tensor_and_numbers(fault: HeaderFault) -> None:
    file, tensor, message = FAULTY[fault]
    with pytest.raises(HeaderError) as caught:
        parse_header(file, len(file))
    assert caught.value.fault == fault.value
    assert caught.value.tensor == tensor
    assert message in caught.value.reason
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("fault", HeaderFault)
def test_each_fault_is_called_in_small_letters_and_hyphens(fault: HeaderFault) -> None:
    assert fault.value == fault.value.lower().replace(" ", "-")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"__metadata__": None}, HeaderFault.NULL_METADATA),
        ({"__metadata__": []}, HeaderFault.BAD_METADATA),
        ({"a": 1}, HeaderFault.BAD_ENTRY),
        ({"a": entry(dtype=1)}, HeaderFault.BAD_ENTRY),
        ({"a": entry(shape=[True])}, HeaderFault.BAD_SHAPE),
        ({"a": entry(shape=[-1])}, HeaderFault.BAD_SHAPE),
        ({"a": entry(shape=[2**64])}, HeaderFault.BAD_SHAPE),
        ({"a": entry(shape="2")}, HeaderFault.BAD_SHAPE),
        ({"a": entry(shape=[2**40, 2**40, 0])}, HeaderFault.SHAPE_OVERFLOW),
        ({"a": entry("F64", shape=[2**60])}, HeaderFault.SHAPE_OVERFLOW),
        ({"a": entry(offsets=[0])}, HeaderFault.BAD_OFFSETS),
        ({"a": entry(offsets=[0, 1, 2])}, HeaderFault.BAD_OFFSETS),
        ({"a": entry(offsets=[0, 2.0])}, HeaderFault.BAD_OFFSETS),
        ({"a": entry(offsets=None)}, HeaderFault.BAD_OFFSETS),
        ({"a": entry(), "b": entry()}, HeaderFault.OVERLAP),
        ({"a": entry(), "b": entry(offsets=[4, 6])}, HeaderFault.HOLE),
        ({"a": entry(), "b": entry(shape=[0], offsets=[1, 1])}, HeaderFault.OVERLAP),
    ],
)
def test_variants_are_the_same_fault(value: dict[str, Any], fault: HeaderFault) -> None:
    file = file_of(value, 6)
    with pytest.raises(HeaderError) as caught:
        parse_header(file, len(file))
    assert caught.value.fault == fault.value


def test_a_good_header_is_read_in_offset_order_with_metadata_and_digest() -> None:
    value = {
        "__metadata__": {"format": "pt", "": "x"},
        "late": entry("F16", [2, 2], [2, 10]),
        "empty": entry("F32", [0, 5], [10, 10]),
        "early": entry(),
        "none": entry("I8", [0], [10, 10], extra="ignored"),
    }
    file = file_of(value, 10)
    start = len(file) - 10
    assert parse_header(file, len(file)) == Header(
        (("format", "pt"), ("", "x")),
        (
            TensorEntry("early", "U8", (2,), 0, 2),
            TensorEntry("late", "F16", (2, 2), 2, 10),
            TensorEntry("empty", "F32", (0, 5), 10, 10),
            TensorEntry("none", "I8", (0,), 10, 10),
        ),
        start,
        "sha256:" + hashlib.sha256(file[:start]).hexdigest(),
    )


def test_a_written_header_is_these_bytes() -> None:
    raw = render_header([("é", "F32", (2, 3)), ("s", "U8", ())], [("format", "pt"), ("a", "b")])
    text = (
        '{"__metadata__":{"format":"pt","a":"b"},"é":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
        '"s":{"dtype":"U8","shape":[],"data_offsets":[24,25]}}'
    ).encode()
    padding = b" " * (-len(text) % 8)
    assert raw == (len(text) + len(padding)).to_bytes(8, "little") + text + padding
    assert render_header([], None) == b"\x08" + bytes(7) + b"{}      "


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ([("a", "U8", (1,)), ("a", "U8", (1,))], HeaderFault.DUPLICATE_NAME),
        ([("__metadata__", "U8", (1,))], HeaderFault.DUPLICATE_NAME),
        ([("a", "U9", (1,))], HeaderFault.UNKNOWN_DTYPE),
        ([("a", "F64", (2**61,))], HeaderFault.SHAPE_OVERFLOW),
        ([("a", "F4", (1,))], HeaderFault.SUB_BYTE_MISALIGNED),
        ([("a", "U8", (-1,))], HeaderFault.BAD_SHAPE),
        ([("\udcff", "U8", (1,))], HeaderFault.NOT_UTF8),
    ],
)
def test_what_would_not_be_well_formed_is_not_written(
    tensors: list[tuple[str, str, tuple[int, ...]]], fault: HeaderFault
) -> None:
    with pytest.raises(HeaderError) as caught:
        render_header(tensors, None)
    assert caught.value.fault == fault.value


def test_there_are_the_22_dtypes_of_safetensors() -> None:
    assert len(DTYPE_BITS) == 22
    assert sorted({*DTYPE_BITS.values()}) == [4, 6, 8, 16, 32, 64]


def test_a_name_cannot_forge_lines_or_drive_a_terminal() -> None:
    file = file_of({"x\nerror: \x1b[31m" + "y" * 1000: entry("?")}, 2)
    with pytest.raises(HeaderError) as caught:
        parse_header(file, len(file))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 700


@pytest.mark.parametrize(
    "header",
    [
        '{"a":' + "[" * 1_000_000,
        '{"a":' * 200_000,
        '{"a":' + "[" * 128 + "]" * 128 + "}",
        '{"a":{"dtype":"U8","shape":[' + "9" * 1_000_000 + '],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"U8","shape":[' + "9," * 500_000 + '9],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"U8","shape":{"' + "k" * 1_000_000 + '":1},"data_offsets":[0,0]}}',
        '{"' + "\\" * 1_000_000,
        '"' * 1_000_001,
    ],
    ids=["arrays", "objects", "at the limit", "long integer", "long shape", "long key", "backslashes", "quotes"],
)
def test_a_hostile_header_is_refused_in_little_time_and_few_words(header: str) -> None:
    file = file_of(header)
    with pytest.raises(HeaderError) as caught:
        parse_header(file, len(file))
    assert len(caught.value.message) < 700


def test_nothing_is_allocated_for_a_header_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for length in (MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + b"{}")
        with pytest.raises(HeaderError):
            read_header(path)


def test_a_header_larger_than_one_read_is_read_whole(tmp_path: Path) -> None:
    names = [f"tensor.{number:06}" for number in range(3000)]
    raw = render_header([(name, "U8", (1,)) for name in names], None)
    assert len(raw) > 1 << 17
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw + bytes(3000))
    header = read_header(path)
    assert [tensor.name for tensor in header.tensors] == names
    assert header.data_start == len(raw)


def test_a_file_that_shrank_while_it_was_read_is_a_fault() -> None:
    file = file_of({"a": entry()}, 2)
    with pytest.raises(HeaderError) as caught:
        parse_header(file[:20], len(file))
    assert caught.value.fault == HeaderFault.HEADER_BEYOND_FILE.value


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to("/dev/zero")],
    ids=["folder", "fifo", "broken link", "device"],
)
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "x.safetensors"
    make(path)
    outcome: list[BaseException] = []

    def read() -> None:
        with pytest.raises(CheckpointError) as caught:
            read_header(path)
        outcome.append(caught.value)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert outcome, "reading waits"
