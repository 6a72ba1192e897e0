"""Every dtype and every odd value of config.json, given to every command: an answer or a refusal, never a traceback,
and a refusal changes nothing.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gte_surgery.checkpoint.headers.header import DTYPE_BITS
from gte_surgery.cli.entry import run
from gte_surgery.cli.group import COMMANDS
from tests.builder import build, native_config, remote_config, tensors, write_json

WORDS = "embeddings.word_embeddings.weight"
LINES = (
    "inspect CKPT",
    "check CKPT --values",
    "check CKPT --fix --dry-run",
    "diff CKPT GOOD --values",
    "diff GOOD CKPT",
    "contract CKPT",
    "history CKPT",
    "scan CKPT ROWS",
    "undo CKPT",
    "recover CKPT",
    "resize CKPT --vocab 64 --pad 0 --type-vocab 0 --out OUT",
    "resize CKPT --vocab 256 --pad 0 --init mean-cov --out OUT",
    "resize CKPT --vocab 128 --pad 3",
    "remap CKPT --keep IDS --vocab 8 --pad 1 --init mean --out OUT",
    "trim CKPT --counts COUNTS --top 5 --dry-run",
    "convert CKPT --to native --out OUT",
    "convert CKPT --to remote --dtype BF16 --out OUT",
    "convert CKPT --shard-size 8KB --out OUT",
    "reinit CKPT --only *.dense.* --out OUT",
)
RUNS = "smoke CKPT --device cpu --batch 2 --max-length 8 --dtype fp32"
"""Of config values a few more alone, for it imports torch and makes the model."""
ELSEWHERE = {"fuzz", "gate", "new", "explain", "rules", "schema", "demo", "sign"}
"""Commands that read no checkpoint, or are of others."""
VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "none", "8",
    "\ud800", [], [1], {}, {"type": "ntk"}, {"0": 1}, [None], [["NewModel"]],
)  # fmt: skip
MORE_KEYS = ("torch_dtype", "id2label", "num_labels", "auto_map", "quantization_config")
KEYS = sorted({*remote_config(), *native_config(), *MORE_KEYS})


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound checkpoint, with what the lines name beside it."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "ids.txt").write_text("0\n1\n5\n")
    (folder / "counts.tsv").write_text("5\t# 3\n")
    (folder / "rows.jsonl").write_text('{"input_ids": [5, 6, 7]}\n')
    return build(folder / "good")


def test_every_command_is_tried() -> None:
    assert {line.split()[0] for line in (*LINES, RUNS)} | ELSEWHERE == set(COMMANDS)


def of_dtype(path: Path, dtype: str, is_all: bool) -> Path:
    """A checkpoint whose word table, or every tensor, is of this dtype, with random bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in sorted(tensors(remote_config()).items()):
        stored = dtype if is_all or name == WORDS else "F32"
        begin, end = end, end + math.prod(array.shape) * DTYPE_BITS[stored] // 8
        header[name] = {"dtype": stored, "shape": list(array.shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    path.mkdir()
    write_json(path / "config.json", remote_config())
    content = len(raw).to_bytes(8, "little") + raw + random.Random(0).randbytes(end)
    (path / "model.safetensors").write_bytes(content)
    return path


def answered(checkpoint: Path, good: Path, out: Path, lines: tuple[str, ...] = LINES) -> Iterator[tuple[str, int]]:
    """(line, exit code) of every line; what is refused has left the checkpoint as it was."""
    before = {file.name: file.read_bytes() for file in checkpoint.iterdir() if file.is_file()}
    beside = good.parent
    places = {"CKPT": checkpoint, "GOOD": good, "OUT": out, "ROWS": beside / "rows.jsonl", "IDS": beside / "ids.txt"}
    places["COUNTS"] = beside / "counts.tsv"
    for line in lines:
        shutil.rmtree(out, ignore_errors=True)
        code = run(["--quiet", *(str(places.get(word, word)) for word in line.split())])
        yield line, code
        after = {file.name: file.read_bytes() for file in checkpoint.iterdir() if file.is_file()}
        if code:
            assert after == before, line
            assert not out.exists(), line
        before = after


@pytest.mark.parametrize("is_all", [False, True], ids=["words", "all"])
@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_dtype(dtype: str, is_all: bool, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = of_dtype(tmp_path / "ckpt", dtype, is_all)
    for line, code in answered(checkpoint, good, tmp_path / "out"):
        told = capsys.readouterr()
        assert code in (0, 1, 2, 3), (line, told.err)
        assert "Traceback" not in told.err + told.out, line


@pytest.mark.slow
@given(st.sampled_from(KEYS), st.sampled_from(VALUES), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_value_of_the_config(
    good: Path, tmp_path_factory: pytest.TempPathFactory, key: str, value: object, is_native: bool
) -> None:
    _try_value(good, tmp_path_factory.mktemp("value"), key, value, is_native, LINES)


@pytest.mark.slow
@given(st.sampled_from(KEYS), st.sampled_from(VALUES), st.booleans())
@settings(
    max_examples=settings().max_examples // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_value_of_the_config_is_run(
    good: Path, tmp_path_factory: pytest.TempPathFactory, key: str, value: object, is_native: bool
) -> None:
    _try_value(good, tmp_path_factory.mktemp("run"), key, value, is_native, (RUNS,))


def _try_value(good: Path, folder: Path, key: str, value: object, is_native: bool, lines: tuple[str, ...]) -> None:
    config = native_config() if is_native else remote_config()
    checkpoint = build(folder / "ckpt", config)
    (checkpoint / "config.json").write_text(json.dumps({**config, key: value}), encoding="utf-8")
    for line, code in answered(checkpoint, good, folder / "out", lines):
        assert code in (0, 1, 2, 3), (line, key, value)
    shutil.rmtree(folder)
