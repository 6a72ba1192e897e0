"""Odd corpora: whatever a file holds or a folder leads to is a finding with its name, soon and in little memory, and
the rest of the corpus is judged."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gte_surgery.contract.scan import process
from gte_surgery.contract.scan.corpus import scan
from gte_surgery.contract.spec import IdContract

CONTRACT = IdContract(vocab_size=1000, pad_token_id=1, type_vocab_size=1, max_length=8192)
MIB = 1 << 20


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + data


def zipped(compression: int, **members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, raw in members.items():
            archive.writestr(f"{name}.npy", raw)
    return packed.getvalue()


def damaged_lzma() -> bytes:
    raw = bytearray(zipped(zipfile.ZIP_LZMA, input_ids=npy("'<i8'", "(1, 4)", bytes(32))))
    raw[56:80] = bytes(24)
    return bytes(raw)


def long_line() -> bytes:
    return gzip.compress(b'{"input_ids":[0' + b",0" * (50 * MIB) + b"]}\n", 1)


def arrow_bomb() -> bytes:
    """A row of 2.4 · 10⁹ bytes of ids in a few hundred thousand."""
    ids = pa.array(np.zeros(300 * MIB, np.int64))
    table = pa.table({"input_ids": pa.LargeListArray.from_arrays(np.array([0, len(ids)]), ids)})
    packed = io.BytesIO()
    with pa.ipc.new_stream(packed, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return packed.getvalue()


def parquet_bomb() -> bytes:
    ids = pa.array(np.zeros(64 * MIB, np.int64))
    packed = io.BytesIO()
    pq.write_table(pa.table({"input_ids": pa.LargeListArray.from_arrays(np.array([0, len(ids)]), ids)}), packed)
    return packed.getvalue()


def objects() -> bytes:
    packed = io.BytesIO()
    np.save(packed, np.array([[1, "a"]], object))
    return packed.getvalue()


ODD: dict[str, tuple[str, Callable[[], bytes], str, str]] = {
    "no-columns": ("a.npy", lambda: npy("'<i8'", "(1000000000000, 0)"), "GTE410", "rows must have columns"),
    "arrays-in-arrays": ("a.npy", lambda: npy("('<i8', (100000,))", "(4, 4)", bytes(12_800_000)), "GTE480", "elements"),
    "no-bytes": ("a.npy", lambda: npy("'V0'", "(4, 4)"), "GTE480", "elements of"),
    "rows-that-are-not-there": ("a.npy", lambda: npy("'<i8'", "(1000000000000, 4)"), "GTE480", "in the middle"),
    "deep-header": ("a.npy", lambda: npy("'<i8'", "(" * 5000), "GTE480", ""),
    "python-objects": ("a.npy", objects, "GTE480", "never unpickled"),
    "damaged-lzma": ("a.npz", damaged_lzma, "GTE480", ""),
    "objects-in-a-zip": ("a.npz", lambda: zipped(0, input_ids=objects()), "GTE480", "never unpickled"),
    "long-line": ("a.jsonl.gz", long_line, "GTE480", "a line of more than 16,777,216 bytes"),
    "lines-of-numbers": ("a.jsonl.gz", lambda: gzip.compress(b"1\n" * (64 * MIB), 1), "GTE480", "hold no row"),
    "blank-lines": ("a.jsonl.gz", lambda: gzip.compress(b"\n" * (256 * MIB), 1), "GTE484", "no row"),
    "arrow-bomb": ("a.arrow", arrow_bomb, "GTE480", "memory"),
    "parquet-bomb": ("a.parquet", parquet_bomb, "GTE480", "memory"),
}  # fmt: skip


def processor_time() -> float:
    """Seconds that the processes took which this one has ended."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak() -> int:
    """Bytes of memory that this process, or one that it has ended, held at most."""
    return 1024 * max(getrusage(who).ru_maxrss for who in (RUSAGE_SELF, RUSAGE_CHILDREN))


def write_good(folder: Path) -> None:
    (folder / "good.jsonl").write_text('{"input_ids": [0, 5]}\n')


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_told_and_the_rest_judged(name: str, tmp_path: Path) -> None:
    file, make, code, told = ODD[name]
    (tmp_path / file).write_bytes(make())
    write_good(tmp_path)
    process.end_waiting()
    begin, before = processor_time(), peak()
    report = scan(CONTRACT, tmp_path)
    process.end_waiting()
    finding = report.findings[0]
    assert (finding.code, finding.location.file) == (code, str(tmp_path / file))
    assert told in finding.message
    assert report.summary.sequences == 1
    assert processor_time() - begin < 20
    assert peak() <= max(before, 500 * MIB)


def test_offsets_that_are_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "input_ids.npy").write_bytes(npy("'<i8'", "(8,)", bytes(64)))
    (tmp_path / "offsets.npy").write_bytes(npy("'<i8'", "(1000000000000,)"))
    write_good(tmp_path)
    report = scan(CONTRACT, tmp_path)
    assert [each.code for each in report.findings] == ["GTE480"]
    assert report.summary.sequences == 1


STATES: dict[str, Callable[[Path], object]] = {
    "fifo": lambda path: os.mkfifo(path),
    "nested": lambda path: path.write_text("[" * 5000),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "a-folder": lambda path: path.mkdir(),
    "of-no-files": lambda path: path.write_text(json.dumps({"_data_files": [{"filename": 5}]})),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_says_nothing_is_passed_over(name: str, tmp_path: Path) -> None:
    STATES[name](tmp_path / "state.json")
    write_good(tmp_path)
    assert scan(CONTRACT, tmp_path, workers=0).summary.sequences == 1


@pytest.mark.parametrize("name", ["fifo", "endless"])
def test_what_a_state_names_must_be_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    STATES[name](tmp_path / "a.arrow")
    (finding,) = scan(CONTRACT, tmp_path, workers=0).findings
    assert (finding.code, finding.message) == ("GTE480", "not a regular file")


def test_a_pattern_enters_no_folder_through_a_link(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).symlink_to(".")
    (tmp_path / "real").mkdir()
    write_good(tmp_path / "real")
    assert scan(CONTRACT, f"{tmp_path}/**/*.jsonl", workers=0).files == 1
