"""Command lines that every release answers alike, and what they answer: exit code, JSON, and the words on stderr.

They run one after the other in a scratch folder (`laid_out`), so that a later one may look at what an earlier one made.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from gte_surgery.cli.entry import run
from tests.conftest import GOLDEN, ROOT

EXAMPLES = ROOT / "tests" / "examples"
Answer = dict[str, Any]
"""{"command": the line, "exit": its code, "out": the JSON or text on stdout, "err": what it says on stderr}"""

INSPECTED = (
    *(f"golden/{path.name}" for path in sorted(GOLDEN.iterdir())),
    "valid/native-complete",
    "valid/remote-complete",
    "valid/remote-sharded",
    "invalid/GTE101-bert",
    "invalid/GTE046-hole",
)
PLANNED = (
    "resize golden/legacy-base --vocab 300 --pad 1 --round-to 64",
    "resize golden/legacy-base --vocab 300 --pad 0 --init mean --old-pad normal --seed 3",
    "resize golden/legacy-base --vocab 512 --pad 0 --init mean-cov",
    "resize golden/legacy-type2 --vocab 100 --pad 0 --type-vocab 0",
    "resize golden/legacy-type2 --vocab 100 --pad 0 --type-vocab 0 --type-vocab-mode drop",
    "resize golden/legacy-multilingual --vocab 64 --pad 1 --type-vocab 2 --init copy:5",
    "resize golden/legacy-mlm --vocab 64 --pad 0",
    "resize golden/legacy-mlm --vocab 256 --pad 0",
    "resize golden/legacy-mlm --vocab 256 --pad 1",
    "resize valid/remote-complete --vocab 64 --pad 0 --tokenizer remove",
    "remap golden/legacy-mlm --keep kept.txt --vocab 128 --init mean --pad 0",
    "remap golden/legacy-base --map map.json --allow-repeats --init normal --vocab 12 --seed 9",
    "convert golden/legacy-base --to native",
    "convert golden/legacy-mlm --to native",
    "convert golden/snowflake-m-v2 --to native --dtype BF16",
    "convert golden/legacy-base --dtype F16 --shard-size 40KB",
    "convert golden/legacy-mlm --layout f",
    "convert valid/native-complete --to remote",
    "convert valid/remote-sharded --shard-size 1GB",
    "reinit golden/legacy-base",
    "reinit golden/legacy-mlm --only *attention* --seed 5",
)
REFUSED = (
    "resize golden/legacy-base --vocab 0 --pad 0",
    "resize golden/legacy-base --vocab 64 --pad 64",
    "resize golden/legacy-base --vocab 64 --pad 0 --init copy:400 --out never",
    "resize golden/legacy-base --vocab 300 --pad 0 --init copy:400 --out never",
    "resize golden/legacy-base --pad 0",
    "resize nowhere --vocab 64 --pad 0",
    "resize invalid/GTE046-hole --vocab 4 --pad 0 --out never",
    "resize invalid/GTE201-norm-gone --vocab 4 --pad 0 --out never",
    "resize golden/legacy-base --vocab 64 --pad 0 --out golden",
    "remap golden/legacy-base --keep nowhere.txt",
    "remap golden/legacy-base --map map.json --out never",
    "convert golden/legacy-base --out never",
    "convert golden/legacy-absolute --to native --out never",
    "convert golden/legacy-base --layout b --out never",
    "reinit golden/legacy-base --only nothing* --out never",
    "new golden/legacy-base --release gte-base-en-v1.5",
    "new never --release nobody",
    "undo golden/legacy-base",
    "check nowhere",
    "check golden/legacy-base --select GTE9999",
    "check golden/legacy-base --fail-on note --format json",
    "check golden/legacy-base --fail-on nothing",
    "inspect nowhere",
    "diff golden/legacy-base nowhere",
    "scan golden/legacy-base nowhere.parquet",
    "explain GTE9999",
    "schema nothing",
    "smoke nowhere --device cpu",
    "fuzz golden/legacy-base",
    "nothing",
    "--nothing",
)
DONE = (
    "resize golden/legacy-base --vocab 64 --pad 0 --out resized",
    "resize golden/legacy-base --vocab 300 --pad 1 --init mean-cov --round-to 64 --seed 7 --out grown",
    "resize golden/legacy-type2 --vocab 100 --pad 0 --type-vocab 0 --out folded",
    "remap golden/legacy-mlm --keep kept.txt --vocab 128 --init mean --pad 0 --out remapped",
    "convert golden/legacy-mlm --to native --out native",
    "convert golden/legacy-base --dtype F16 --shard-size 40KB --out sharded",
    "reinit golden/legacy-base --out redrawn",
    "new fresh --release gte-base-en-v1.5 --vocab 128 --layers 2 --hidden 32 --heads 4 --intermediate 64 --seed 2",
    "new bert --release gte-en-mlm-base --vocab 96 --pad 3 --layers 1 --hidden 32 --heads 4 --dialect remote",
    "resize resized --vocab 32 --pad 0 --no-undo",
    "resize resized --vocab 48 --pad 1 --no-hash --init zeros",
    "resize resized --vocab 48 --pad 1",
    "history resized",
    "undo resized",
    "undo resized",
    "recover resized",
    "history grown",
    "diff golden/legacy-base grown",
    "diff golden/legacy-base grown --values",
    "diff golden/legacy-base golden/legacy-base --values",
    "diff golden/legacy-base golden/legacy-mlm",
    "diff golden/legacy-base folded --brief",
    "check grown --values --vocab 320 --format json",
    "check sharded --values --format sarif",
    "check golden/legacy-base --format json --config policy.toml",
    "check invalid/GTE230-trained-pad-row --fix --dry-run --format json",
    "scan golden/legacy-base good.jsonl",
    "scan golden/legacy-base bad.jsonl",
    "fuzz golden/legacy-multilingual --encoder released_encoder:encode --examples 20",
)  # fmt: skip
LISTED = ("rules --json", "explain GTE230", "explain GTE401")
PROVED = (
    "smoke golden/legacy-base --device cpu --batch 3 --max-length 16",
    "smoke golden/legacy-absolute --device cpu --batch 2 --max-length 16",
)
WITHOUT_JSON = ("check", "explain", "schema", "nothing", "--nothing")


def commands() -> Iterator[str]:
    """All of them, in their order."""
    yield from LISTED
    yield from (f"inspect {name} --json" for name in INSPECTED)
    for folder in ("valid", "invalid"):
        for path in sorted((EXAMPLES / folder).iterdir()):
            yield " ".join([f"check {folder}/{path.name} --format json", *options(path)])
    yield from (f"{line} --out planned --dry-run --json" for line in PLANNED)
    for line in (*REFUSED, *DONE, *PROVED):
        yield line if line.split()[0] in WITHOUT_JSON else f"{line} --json"


def options(example: Path) -> list[str]:
    """The words of the lines of expected.txt that start with `--`, without what only a contract can state."""
    expected = example / "expected.txt"
    lines = expected.read_text(encoding="utf-8").splitlines() if expected.exists() else []
    words = [line for line in lines if line.startswith("--")]
    return [line for line in words if line.split()[0] not in ("--max-length", "--hidden")]


def laid_out(folder: Path) -> Path:
    """The scratch folder, with checkpoints and data that the commands name."""
    shutil.copytree(GOLDEN, folder / "golden")
    for name in ("valid", "invalid"):
        shutil.copytree(EXAMPLES / name, folder / name, symlinks=True)
    (folder / "kept.txt").write_text("0\n1\n2\n" + "".join(f"{row}\n" for row in range(99, 3, -2)))
    (folder / "map.json").write_text(json.dumps({0: 0, 1: 1, 2: 7, 3: 7, 5: 200}))
    (folder / "policy.toml").write_text('[expect]\nvocab = 300\n\n[ignore]\nGTE150 = "a resize is on its way"\n')
    (folder / "good.jsonl").write_text('{"input_ids": [0, 5, 7], "attention_mask": [1, 1, 1]}\n' * 3)
    (folder / "bad.jsonl").write_text('{"input_ids": [1, 999, -1], "attention_mask": [1, 2, 0]}\n')
    (folder / "released_encoder.py").write_text(
        "def encode(sequences):\n"
        "    longest = max([1, *map(len, sequences)])\n"
        "    rows = [list(map(int, row)) for row in sequences]\n"
        "    return {'input_ids': [row + [0] * (longest - len(row)) for row in rows],\n"
        "            'attention_mask': [[1] * len(row) + [0] * (longest - len(row)) for row in rows]}\n"
    )
    return folder


def answers(folder: Path) -> Iterator[Answer]:
    """What the code at hand answers to every command, in a folder that is `laid_out`."""
    before = Path.cwd()
    os.chdir(folder)
    steady = {"SOURCE_DATE_EPOCH": "1767225600", "COLUMNS": "100", "NO_COLOR": "1"}
    try:
        with mock.patch.dict(os.environ, steady):
            for line in commands():
                yield answer(line)
    finally:
        os.chdir(before)


def answer(line: str) -> Answer:
    """What the code at hand answers to one command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(line.split())
    return {"command": line, "exit": code, "out": _parsed(out.getvalue()), "err": err.getvalue().splitlines()}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.splitlines()
