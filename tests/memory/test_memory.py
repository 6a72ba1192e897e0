"""Memory stays under 64 MiB whatever the size of a checkpoint: 0.2 GB and ten times as much, made of sparse files. The
number of tensors does cost memory: a hundred thousand, less than 200 MB.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from tests import builder

LIMIT = 64 << 20
HIDDEN = 768


def sparse(folder: Path, vocab: int) -> Path:
    """A sound two-layer checkpoint in F32 whose tensors are all zero and take no space on disk."""
    config = builder.remote_config(vocab_size=vocab, hidden_size=HIDDEN, num_attention_heads=12, intermediate_size=3072)
    small = builder.remote_config(vocab_size=2, hidden_size=32, num_attention_heads=4, pad_token_id=1)
    folder.mkdir()
    builder.write_json(folder / "config.json", config)
    sizes = {32: HIDDEN, 48: 3072, 96: 3 * HIDDEN, 2: vocab}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in sorted(builder.tensors(small).items()):
        shape = [6144 if "up_gate" in name and n == 0 else sizes.get(size, size) for n, size in enumerate(array.shape)]
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    weights = folder / "model.safetensors"
    weights.write_bytes(len(raw).to_bytes(8, "little") + raw)
    os.truncate(weights, 8 + len(raw) + end)
    return folder


# A process counts the memory of the one that it was forked from; so a small one stands between this and the command.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024)
"""


def peak(*arguments: str | Path, code: int = 0) -> int:
    """Peak resident memory in bytes of one run of the command, which must end with this exit code."""
    command = [sys.executable, "-m", "gte_surgery", "--quiet", *map(str, arguments)]
    launched = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, text=True, check=True
    )
    exit_code, found = map(int, launched.stdout.split())
    assert exit_code == code, launched.stderr
    return found


@pytest.mark.parametrize("vocab", [60_000, 3_000_000])
def test_reading_and_shrinking_stay_under_the_limit(vocab: int, tmp_path: Path) -> None:
    source = sparse(tmp_path / "ckpt", vocab)
    assert (source / "model.safetensors").stat().st_size > vocab * HIDDEN * 4
    peaks = {
        "inspect": peak("inspect", source),
        "check": peak("check", source),
        "shrink": peak("resize", source, "--vocab", "30000", "--pad", "0", "--out", tmp_path / "out"),
        "dry run": peak("resize", source, "--vocab", "30000", "--pad", "0", "--dry-run"),
        "in place": peak("resize", source, "--vocab", "30000", "--pad", "0"),
    }
    assert {name: found for name, found in peaks.items() if found > LIMIT} == {}


def adapted(folder: Path, count: int) -> Path:
    """A sound checkpoint with so many tensors beside its own, as adapters would add them."""
    source = sparse(folder, 64)
    weights = source / "model.safetensors"
    with open(weights, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    end = weights.stat().st_size - 8 - length
    for number in range(count):
        name = f"encoder.layer.{number % 12}.adapter.{number}.lora_A.weight"
        header[name] = {"dtype": "F32", "shape": [2, 4], "data_offsets": [end, end + 32]}
        end += 32
    raw = json.dumps(header).encode()
    weights.write_bytes(len(raw).to_bytes(8, "little") + raw)
    os.truncate(weights, 8 + len(raw) + end)
    return source


@pytest.mark.slow
def test_a_header_of_100_000_tensors_takes_less_than_200_megabytes(tmp_path: Path) -> None:
    source = adapted(tmp_path / "ckpt", 100_000)
    smaller = ("--vocab", "32", "--pad", "0")
    peaks = {
        "inspect": peak("inspect", source),
        "check": peak("check", source, "--fail-on", "error"),
        "in place": peak("resize", source, *smaller),
    }
    assert {name: found for name, found in peaks.items() if found > 200_000_000} == {}


@pytest.mark.slow
def test_choosing_rows_stays_under_the_limit(tmp_path: Path) -> None:
    """As many rows as gte-multilingual-base has, scattered over a table twelve times as large."""
    source = sparse(tmp_path / "ckpt", 3_000_000)
    rows = [1, *random.Random(0).sample(range(2, 3_000_000), 250_000)]
    (tmp_path / "keep.txt").write_text("".join(f"{row}\n" for row in rows))
    (tmp_path / "map.json").write_text(json.dumps(dict(enumerate(rows))))
    peaks = {
        "map": peak("remap", source, "--map", tmp_path / "map.json", "--dry-run"),
        "keep": peak("remap", source, "--keep", tmp_path / "keep.txt", "--out", tmp_path / "out", "--no-hash"),
    }
    assert {name: found for name, found in peaks.items() if found > LIMIT} == {}


@pytest.mark.slow
def test_a_hundred_checkpoints_of_10_gigabytes_need_the_memory_of_one_and_their_share_of_time(tmp_path: Path) -> None:
    """At most a hundred times one, by the cores that read; one process for all would show what it keeps of each."""
    many = [sparse(tmp_path / f"c{number}", 3_300_000) for number in range(100)]
    assert (many[0] / "model.safetensors").stat().st_size > 10_000_000_000
    begun = time.monotonic()
    one = peak("check", many[0])
    single = time.monotonic() - begun
    assert peak("check", *many) <= one + (8 << 20)
    begun = time.monotonic()
    peak("check", *many, "--jobs", "2")
    assert time.monotonic() - begun <= 100 * single / 2


@pytest.mark.slow
def test_a_table_of_zero_rows_is_judged_under_the_limit(tmp_path: Path) -> None:
    """Each of them is a finding; they are counted, and the first are told."""
    assert peak("check", sparse(tmp_path / "ckpt", 300_000), "--values") <= LIMIT


@pytest.mark.slow
def test_drawing_folding_and_casting_stay_under_twice_the_limit(tmp_path: Path) -> None:
    """numpy alone takes about 30 MiB, and each thread some blocks."""
    source = sparse(tmp_path / "ckpt", 60_000)
    peaks = {
        "grow": peak("resize", source, "--vocab", "90000", "--pad", "0", "--out", tmp_path / "a", "--threads", "2"),
        "fold": peak(
            "resize",
            source,
            "--vocab",
            "60000",
            "--pad",
            "1",
            "--type-vocab",
            "0",
            "--out",
            tmp_path / "b",
            "--threads",
            "2",
        ),
        "mean-cov": peak(
            "resize",
            source,
            "--vocab",
            "62000",
            "--pad",
            "0",
            "--init",
            "mean-cov",
            "--out",
            tmp_path / "f",
            "--threads",
            "2",
        ),
        "reinit": peak("reinit", source, "--out", tmp_path / "d", "--threads", "2"),
        "cast": peak("convert", source, "--dtype", "BF16", "--out", tmp_path / "c", "--threads", "2"),
    }
    assert {name: found for name, found in peaks.items() if found > 2 * LIMIT} == {}
    sys.stderr.write(f"{ {name: found >> 20 for name, found in peaks.items()} }\n")


@pytest.mark.slow
def test_comparing_stays_under_the_limit(tmp_path: Path) -> None:
    """Every third row of the table differs: more ranges than are kept."""
    left, right = sparse(tmp_path / "left", 100_000), sparse(tmp_path / "right", 100_000)
    peaks = {"equal": peak("diff", left, right)}
    table = open_checkpoint(right).tensors["embeddings.word_embeddings.weight"]
    with open(right / "model.safetensors", "r+b") as file:
        for row in range(0, 100_000, 3):
            file.seek(table.file_begin + 4 * HIDDEN * row)
            file.write(b"\x00\x00\x80\x3f")
    peaks["different"] = peak("diff", left, right, code=1)
    peaks["values"] = peak("diff", left, right, "--values", "--json", code=1)
    peaks["brief"] = peak("diff", left, right, "--brief", code=1)
    assert {name: found for name, found in peaks.items() if found > LIMIT} == {}
