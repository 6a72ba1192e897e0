"""safetensors files: where their tensors lie, and what numpy makes of each dtype."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checkpoint.headers.header import render_header
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.portions import Format, Source, Span
from gte_surgery.contract.scan.readers import arrays
from gte_surgery.contract.scan.readers.array_files import plan, read
from tests.unit.contract.raw_blocks import all_columns


def file(folder: Path, *tensors: tuple[str, str, tuple[int, ...], bytes]) -> Source:
    path = folder / "a.safetensors"
    header = render_header([tensor[:3] for tensor in tensors], None)
    path.write_bytes(header + b"".join(tensor[3] for tensor in tensors))
    return Source("a", str(path), 0, Format.SAFETENSORS, 200)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("BOOL", "?"), ("U8", "u1"), ("I8", "i1"), ("U16", "<u2"), ("I16", "<i2"), ("U32", "<u4"), ("I32", "<i4"),
        ("U64", "<u8"), ("I64", "<i8"), ("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8"), ("BF16", "V2"),
        ("F8_E5M2", "V1"), ("C64", "V8"),
    ],
)  # fmt: skip
def test_a_tensor_is_read_as_its_dtype_or_as_bytes_of_its_width(name: str, dtype: str, tmp_path: Path) -> None:
    wanted = np.frombuffer(bytes(range(6 * np.dtype(dtype).itemsize)), dtype)
    mask = np.arange(6, dtype="u1")
    source = file(
        tmp_path,
        ("packed", "F4", (2, 8), bytes(8)),
        ("attention_mask", "U8", (2, 3), mask.tobytes()),
        ("input_ids", name, (2, 3), wanted.tobytes()),
    )
    (block,) = read(source, Span(0, 2, 0, 2, 0), Columns())
    assert block.ids.values.dtype == np.dtype(dtype)
    assert block.ids.values.tobytes() == wanted.tobytes()
    assert block.others["mask"].values.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_rows_of_tensors_are_shared_out_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "PORTION", 100)
    source = file(tmp_path, ("x", "I64", (4, 2), np.arange(8).tobytes()), ("y", "U8", (4, 2), bytes(range(8))))
    columns = Columns(ids="x", mask="y")
    assert plan(source, columns) == [Span(0, 2, 0, 2, 100), Span(2, 4, 2, 2, 100)]
    assert all_columns(read(source, Span(2, 4, 2, 2, 100), columns)) == [
        {"rows": [2, 3], "ids": [[4, 5], [6, 7]], "mask": [[4, 5], [6, 7]]}
    ]
