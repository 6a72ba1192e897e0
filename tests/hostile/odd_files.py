"""Odd headers, configs, indexes, tokenizers and receipts by the hundred, each judged beside a sound checkpoint and
compared with the program that others read such a file with: safetensors, the json module, the tokenizers package.

`python -m tests.hostile.odd_files KIND,KIND COUNT SEED` judges so many of each in this process and prints
what it took: the peak memory in megabytes, the longest processor time in seconds, how many were refused by the other
program, and of how many we find something wrong.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from itertools import product
from pathlib import Path

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Finding
from gte_surgery.gte.kinds import Consumer
from gte_surgery.vocabulary.tokenizer import read_tokenizer
from tests.hostile.targets import as_strict_json, as_the_package_reads, fuzz_header
from tests.hostile.targets_beside import lay
from tests.hostile.watch import WHOLE, sandbox

ODD = (
    None, True, -1, 0, 1, 3, 2**31, 2**53 + 1, 2**64, 10**30, 0.5, -0.0, 1e308, "", "x", "F32", "../x", "\ud800",
    "\x1b[2J", "𝄞" * 40, [], {}, [0], [[]], {"type": "ntk"}, ["NewModel"],
)  # fmt: skip
SLIPS = ("", ",", "}", "]", '"', "\\", "\0", "\ufeff", "NaN", "1e999", "01", "/**/", "'", '{"a":1,"a":2}', "\\ud800")
HUGE = (
    lambda text: text.replace("{", "{" + " " * 2_000_000, 1),
    lambda text: text.replace("{", '{"a":' + "[" * 150_000 + "]" * 150_000 + ",", 1),
    lambda text: text.replace("{", '{"a":"' + "x" * 3_000_000 + '",', 1),
    lambda text: text.replace("{", "{" + ",".join(f'"k{number}":{number}' for number in range(90_000)) + ",", 1),
    lambda text: text.replace("{", '{"a":' + "9" * 500_000 + ",", 1),
)
"""What makes a text long or deep: one in thirty is."""


OF_HEADERS = ("GTE005", "GTE03", "GTE04", "GTE05")


def odd(sound: bytes, chance: random.Random) -> bytes:
    """The JSON text with a value or two replaced, gone or doubled, with slips of the pen, or grown huge."""
    value = json.loads(sound)
    for _ in range(chance.choice((0, 1, 1, 2))):
        _change(value, chance)
    text = json.dumps(value)
    if chance.random() < 1 / 30:
        text = chance.choice(HUGE)(text)
    for _ in range(chance.choice((0, 0, 1, 2))):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(SLIPS) + text[at + chance.choice((0, 0, 1, 9)) :]
    raw = text.encode("utf-8", "surrogatepass")
    return raw[: chance.randrange(len(raw) + 1)] if chance.random() < 1 / 30 else raw


def _change(value: object, chance: random.Random) -> None:
    """Changes something somewhere inside `value`."""
    while isinstance(value, (dict, list)) and value:
        key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]  # type: ignore[index]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.7:
            value = inner
            continue
        match chance.randrange(4):
            case 0:
                del value[key]  # type: ignore[arg-type]
            case 1 if isinstance(value, dict):
                value[chance.choice(("x", "", "a/b", "\u2028", str(key) * 2))] = inner
            case _:
                value[key] = deepcopy(chance.choice(ODD))  # type: ignore[index]
        return


def _judged(folder: Path) -> tuple[Finding, ...]:
    return run(open_checkpoint(folder), values=True, consumers=[each.value for each in Consumer]).findings


def _require_found(folder: Path, name: str, is_refused: bool) -> bool:
    """Whether anything is wrong with the file; something must be where the other program refuses it."""
    wrong = any(each.location.file == name for each in _judged(folder))
    assert wrong or not is_refused, f"nothing is found in {name}"
    return wrong


def header(folder: Path, chance: random.Random) -> tuple[bool, bool]:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    text = odd(raw[8:end].rstrip(), chance)
    size = len(text) + chance.choice((*[0] * 12, 1, -1, 1 << 40))
    file = size.to_bytes(8, "little", signed=False) + text + raw[end:] if size >= 0 else b""
    path.write_bytes(file)
    fuzz_header(WHOLE.to_bytes(3, "little") + file)
    is_refused = as_the_package_reads(file) is None
    wrong = any(each.code.startswith(OF_HEADERS) for each in _judged(folder))
    assert wrong or not is_refused, "the package refuses it, and nothing is found"
    return is_refused, wrong


def of_json(name: str) -> Callable[[Path, random.Random], tuple[bool, bool]]:
    def judge(folder: Path, chance: random.Random) -> tuple[bool, bool]:
        path = folder / name
        path.write_bytes(odd(path.read_bytes(), chance))
        is_refused = as_strict_json(path.read_bytes()) is None
        return is_refused, _require_found(folder, name, is_refused)

    return judge


def tokenizer(folder: Path, chance: random.Random) -> tuple[bool, bool]:
    path = folder / "tokenizer.json"
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    path.write_bytes(odd(path.read_bytes(), chance))
    theirs, found = _package_says(path.read_bytes()), read_tokenizer(open_checkpoint(folder))
    wrong = _require_found(folder, path.name, as_strict_json(path.read_bytes()) is None)
    if theirs is not None and not found.trouble:
        assert found.vocab_size == theirs, f"{found.vocab_size} rows, the package says {theirs}"
    return theirs is None, wrong or bool(found.trouble)


def _package_says(raw: bytes) -> int | None:
    """The rows that the tokenizers package needs for what it makes of the file, in a process that it may kill."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            signal.alarm(20)
            resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
            from tokenizers import Tokenizer

            vocabulary = Tokenizer.from_str(raw.decode()).get_vocab(with_added_tokens=True)
            os.write(writing, b"%d" % (max(vocabulary.values(), default=-1) + 1))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:
        said = told.read()
    os.waitpid(child, 0)
    return int(said) if said else None


KINDS: Mapping[str, Callable[[Path, random.Random], tuple[bool, bool]]] = {
    "header": header,
    "config": of_json("config.json"),
    "index": of_json("model.safetensors.index.json"),
    "tokenizer": tokenizer,
    "receipt": of_json("gte-surgery.json"),
}
SOUND_RECEIPT = {
    "receipts": [
        {
            "tool": "gte-surgery 0.1.0", "time": "2026-01-01T00:00:00Z", "command": "resize",
            "edits": {"vocab": 64}, "seed": 0, "removed": ["vocab.txt"],
            "sources": [{"name": "config.json", "size": 3, "header": ""}],
            "written": [{"name": "config.json", "size": 3, "sha256": "0" * 64}],
        }
    ],
    "of another": {"a": [1]},
}  # fmt: skip


def main(kinds: str, count: str, seed: str) -> None:
    longest, refused, found = 0.0, 0, 0
    for kind, number in product(kinds.split(","), range(int(count))):
        name = f"{kind} {seed} {number}"
        with sandbox() as folder:
            target = lay(folder / "checkpoint", is_sharded=kind == "index")
            (target / "gte-surgery.json").write_text(json.dumps(SOUND_RECEIPT))
            begin = time.process_time()
            try:
                theirs, ours = KINDS[kind](target, random.Random(name))
            except BaseException:
                print(name, file=sys.stderr)
                raise
            longest = max(longest, time.process_time() - begin)
            refused, found = refused + theirs, found + ours
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().split("\n") if "VmHWM" in line)
    print(json.dumps({"megabytes": int(peak) / 1e3, "seconds": longest, "refused": refused, "found": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
