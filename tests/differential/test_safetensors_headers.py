"""Our header reader against the safetensors package: never laxer on damaged files, stricter only where documented."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checkpoint.headers.header import DTYPE_BITS, Header, parse_header, render_header
from gte_surgery.errors import HeaderError

# What safetensors 0.8.0 accepts although the format forbids it.
DEPARTURES = {HeaderFault.DUPLICATE_NAME, HeaderFault.LEADING_SPACE}

DTYPES = st.sampled_from(list(DTYPE_BITS))
DIMENSIONS = st.sampled_from([0, 1, 2, 3, 4, 8])
SHAPES = st.lists(DIMENSIONS, max_size=3)
NAMES = st.text(max_size=6) | st.sampled_from(["a", "b", "encoder.layer.0.attn_ln.bias", "\u2028", "\x7f", "\0", '"'])
METADATA = st.none() | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)


MANY = settings(max_examples=5 * settings().max_examples)


def file_of(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def json_header(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


@st.composite
def good_tensors(draw: st.DrawFn) -> dict[str, tuple[str, list[int], int]]:
    """Name to dtype, shape and bytes; every tensor fills whole bytes."""
    tensors = {}
    for name in draw(st.lists(NAMES.filter(lambda name: name != "__metadata__"), max_size=4, unique=True)):
        dtype, shape = draw(DTYPES), draw(SHAPES)
        bits = DTYPE_BITS[dtype]
        for dimension in shape:
            bits *= dimension
        if bits % 8:
            shape, bits = [*shape, 4], bits * 4
        tensors[name] = (dtype, shape, bits // 8)
    return tensors


@st.composite
def good_headers(draw: st.DrawFn) -> tuple[dict[str, object], int]:
    """The JSON value of a well-formed header, and the bytes of its data."""
    header: dict[str, object] = {}
    metadata = draw(METADATA)
    if metadata is not None:
        header["__metadata__"] = metadata
    offset = 0
    for name, (dtype, shape, nbytes) in draw(good_tensors()).items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    return header, offset


def theirs(file: bytes) -> dict[str, tuple[str, list[int]]] | None:
    """What the package makes of the file, None where it refuses."""
    try:
        return {name: (tensor["dtype"], tensor["shape"]) for name, tensor in deserialize(file)}
    except SafetensorError:
        return None


def ours(file: bytes) -> Header | HeaderFault:
    try:
        return parse_header(file, len(file))
    except HeaderError as error:
        return HeaderFault(error.fault)


def compare(file: bytes, departures: set[HeaderFault] = DEPARTURES) -> None:
    expected, found = theirs(file), ours(file)
    if expected is None:
        assert isinstance(found, HeaderFault), "we accept what the package refuses"
    elif isinstance(found, HeaderFault):
        assert found in departures, f"{found}: we refuse what the package accepts"
    else:
        assert {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in found.tensors} == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=3) | DTYPES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.sampled_from([0, 1, 2, 7, 2**31, 2**32, 2**61, 2**63, 2**64 - 1, 2**64, -1, 1.0, True, None, "1"])


@st.composite
def damaged_values(draw: st.DrawFn) -> tuple[object, int]:
    """A good header with one thing in it replaced, removed or added."""
    header, size = draw(good_headers())
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return draw(VALUES), size
    entry = header[draw(st.sampled_from(names))]
    assert isinstance(entry, dict)
    offsets, shape = entry["data_offsets"], entry["shape"]
    match draw(st.integers(0, 7)):
        case 0:
            offsets[draw(st.integers(0, 1))] = draw(NUMBERS)
        case 1:
            shape.insert(0, draw(NUMBERS))
        case 2:
            entry[draw(st.sampled_from(["dtype", "shape", "data_offsets"]))] = draw(VALUES)
        case 3:
            del entry[draw(st.sampled_from(["dtype", "shape", "data_offsets"]))]
        case 4:
            entry[draw(st.text(max_size=3))] = draw(VALUES)
        case 5:
            offsets[1] += draw(st.integers(-2, 2))
            size += draw(st.integers(-2, 2))
        case 6:
            header["__metadata__"] = draw(VALUES.filter(lambda value: value is not None))
        case _:
            header[draw(NAMES)] = draw(VALUES)
    return header, max(size, 0)


@pytest.mark.slow
@MANY
@given(
    good_headers(), st.binary(max_size=3).map(lambda raw: raw.translate(bytes(b" \t\n\r"[i % 4] for i in range(256))))
)
def test_good_files_are_read_alike(header_and_size: tuple[dict[str, object], int], padding: bytes) -> None:
    header, size = header_and_size
    compare(file_of(json_header(header) + padding, bytes(size)), departures=set())


@MANY
@given(damaged_values())
@example(({"a": {"dtype": "U8", "shape": [-0.0], "data_offsets": [0, 0]}}, 0))
@example(({"a": {"dtype": "U8", "shape": [0, 2**64 - 1, 2], "data_offsets": [0, 0]}}, 0))
@example(({"a": {"dtype": "U8", "shape": [2**64 - 1, 2, 0], "data_offsets": [0, 0]}}, 0))
@example(({"a": {"dtype": "F64", "shape": [2**61, 0], "data_offsets": [0, 0]}}, 0))
@example(({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, 1))
def test_headers_damaged_in_their_json_are_never_judged_more_laxly(damaged: tuple[object, int]) -> None:
    value, size = damaged
    compare(file_of(json_header(value), bytes(size)), departures=DEPARTURES)


@MANY
@given(good_headers(), st.data())
def test_files_damaged_in_their_bytes_are_never_judged_more_laxly(
    header_and_size: tuple[dict[str, object], int], data: st.DataObject
) -> None:
    header, size = header_and_size
    file = bytearray(file_of(json_header(header), bytes(size)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(file)))
        piece = data.draw(st.sampled_from([b"", b" ", b"0", b"-", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"\xff"]))
        cut = data.draw(st.integers(0, 2))
        file[at : at + cut] = piece or data.draw(st.binary(max_size=2))
    if data.draw(st.booleans()):
        header_end = len(file) - size
        file[:8] = max(header_end - 8, 0).to_bytes(8, "little")
    compare(bytes(file))


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ('{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 0),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":NaN}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1e999}}', 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":%s}}' % ("9" * 400), 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":%s}}' % ("9" * 300), 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":%s}}' % ("[" * 125 + "]" * 125), 1),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":%s}}' % ("[" * 126 + "]" * 126), 1),
        ('{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        ('{"\\ud83d\\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        ('{"\\\\ud83d":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        ('{"a\n":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        ('{"a":{"d\\u0074ype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
        (
            '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}',
            2,
        ),
        (
            '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
            2,
        ),
        ('{"a":{"dtype":"U8","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}}', 0),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}\0', 1),
        ("[]", 0),
        ("", 0),
        ("{}", 1),
    ],
)
def test_corners_of_the_format_are_judged_alike(header: str, size: int) -> None:
    compare(file_of(header.encode(), bytes(size)), departures=set())


ENTRY = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (f'{{"a":{ENTRY},"a":{ENTRY}}}', HeaderFault.DUPLICATE_NAME),
        (f'{{"__metadata__":{{"k":"1","k":"2"}},"a":{ENTRY}}}', HeaderFault.DUPLICATE_NAME),
        (f' {{"a":{ENTRY}}}', HeaderFault.LEADING_SPACE),
        (f'{{"__metadata__":null,"a":{ENTRY}}}', HeaderFault.NULL_METADATA),
        ('{"a":["U8",[1],[0,1]]}', HeaderFault.ARRAY_ENTRY),
        ('{"a":{"dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]}}', HeaderFault.OBJECT_DTYPE),
    ],
)
def test_the_package_accepts_what_the_format_forbids_and_we_do_not(header: str, fault: HeaderFault) -> None:
    file = file_of(header.encode(), b"1")
    assert theirs(file) is not None
    assert ours(file) is fault


@MANY
@given(good_tensors(), st.none() | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=1))
def test_headers_that_we_write_are_read_by_the_package(
    tensors: dict[str, tuple[str, list[int], int]], metadata: dict[str, str] | None
) -> None:
    listed = [(name, dtype, shape) for name, (dtype, shape, _) in tensors.items()]
    raw = render_header(listed, None if metadata is None else tuple(metadata.items()))
    file = raw + bytes(sum(nbytes for *_, nbytes in tensors.values()))
    assert len(raw) % 8 == 0
    assert theirs(file) == {name: (dtype, shape) for name, dtype, shape in listed}
    header = ours(file)
    assert isinstance(header, Header)
    assert sorted((t.name, t.dtype, list(t.shape)) for t in header.tensors) == sorted(listed)
    assert header.metadata == (None if metadata is None else tuple(metadata.items()))


@MANY
@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from(["?", "u1", "f2", "f4", "i4", "f8", "u8"]), SHAPES), max_size=4),
    st.none() | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=1),
)
def test_headers_that_the_package_writes_are_what_we_would_write(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None
) -> None:
    assume(
        tensors or metadata
    )  # of nothing at all with empty metadata safetensors 0.8.0 writes `{},"__metadata__":{}}`
    arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in tensors.items()}
    file = save(arrays, metadata)
    header = ours(file)
    assert isinstance(header, Header)
    in_text_order = json.loads(file[8 : header.data_start])
    in_text_order.pop("__metadata__", None)
    entries = {tensor.name: tensor for tensor in header.tensors}
    listed = [(name, entries[name].dtype, entries[name].shape) for name in in_text_order]
    assert render_header(listed, header.metadata) == file[: header.data_start]
