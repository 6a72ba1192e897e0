"""Coverage-guided fuzzing with atheris: `python -m tests.hostile.fuzz header 600` for ten minutes of processor time.

Starts from the corpus of the target, keeps what reaches new code, and writes back the smallest inputs that still reach
it all. An input that breaks a promise is printed and ends the run with exit code 1. Atheris is not among the
development dependencies: pip install atheris.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from types import FrameType
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
WORDS = Path(__file__).parent / "words.dict"
MOST_BYTES_OF_A_CORPUS = 90_000
TraceFunction = Callable[[FrameType, str, Any], Any]
_COUNTED = tuple(f"gte_surgery/{room}/" for room in ("checkpoint", "checks", "contract", "gte", "surgery"))


def read_corpus(target: str) -> list[bytes]:
    """The inputs kept for a target: one a line, in base64."""
    path = CORPUS / f"{target}.txt"
    return [base64.b64decode(line) for line in path.read_text().split()] if path.exists() else []


def write_corpus(target: str, inputs: Iterable[bytes]) -> None:
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(f"{base64.b64encode(each).decode()}\n" for each in inputs))


def main(target: str, seconds: str) -> int:
    """Fuzzes for so many seconds of processor time, in rounds, since libFuzzer counts by the clock."""
    with tempfile.TemporaryDirectory() as folder:
        for number, each in enumerate([*read_corpus(target), *seeds(target)]):
            (Path(folder) / f"seed-{number}").write_bytes(each)
        command = [sys.executable, "-m", "tests.hostile.fuzz", "--inside"]
        runs, deaths, spent = 0, 0, 0.0
        while spent < int(seconds):
            option = f"-max_total_time={max(10, int(seconds) - int(spent))}"
            ran = subprocess.run([*command, target, folder, option], stderr=subprocess.PIPE, text=True, check=False)
            used = getrusage(RUSAGE_CHILDREN)
            spent = used.ru_utime + used.ru_stime
            found = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
            runs += int(found[1]) if found else 0
            print(f"{target}: {runs} runs in {spent:.0f} s of processor time, {deaths} deaths told", flush=True)
            killers = [path.read_bytes() for path in Path(folder).glob("found-*")] if target == "scan" else []
            if ran.returncode and not (killers and all(map(_is_of_a_library, killers))):
                print(ran.stderr[-5000:], *Path(folder).glob("found-*"))
                shutil.copytree(folder, f"{tempfile.gettempdir()}/fuzz-{target}", dirs_exist_ok=True)
                return 1
            for path in Path(folder).glob("found-*"):
                path.unlink()
                deaths += 1
        return subprocess.run([*command, "minimise", target, folder], check=False).returncode


def _is_of_a_library(raw: bytes) -> bool:
    """Whether an input that ended the fuzzer is one that a scan, whose processes may be killed, tells in time."""
    ran = subprocess.run([sys.executable, "-m", "tests.hostile.fuzz", "--inside", "told"], input=raw, check=False)
    return ran.returncode == 0


def seeds(target: str) -> Iterator[bytes]:
    """Inputs to start from beside the corpus: the golden checkpoints and the examples of the rule book."""
    from tests.hostile.seeds import SEEDS
    from tests.hostile.targets import PLACES
    from tests.hostile.watch import SEPARATOR

    if target in SEEDS:
        yield from SEEDS[target]()
        return
    folders = [path.parent for path in Path(__file__).parents[1].rglob("config.json")]
    for folder in folders:
        if target == "json":
            yield from (path.read_bytes() for path in folder.glob("*.json"))
        weights = [_text_of(path) for path in sorted(folder.glob("*.safetensors")) if path.is_file()]
        if target == "header":
            yield from weights
        if target == "checkpoint":
            files = [folder / name for name in PLACES]
            parts = [
                b"" if not path.is_file() else _text_of(path) if path.suffix == ".safetensors" else path.read_bytes()
                for path in files
            ]
            yield SEPARATOR.join(parts)


def _text_of(path: Path) -> bytes:
    """A weight file as the targets take it: three bytes for the size of its data, then its header's text."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    data = len(raw) - 8 - length
    return (
        data.to_bytes(3, "little") + raw[8 : 8 + length].rstrip()
        if 0 <= data < 1 << 20
        else b"\xff\xff\xff" + raw[:500]
    )


def _fuzz(target: str, folder: str, *options: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["gte_surgery"]):
        from tests.hostile import targets

        import_all()
    limits = [f"-max_len={targets.MOST_BYTES[target]}", "-timeout=20", "-rss_limit_mb=1000", "-print_final_stats=1"]
    limits += [f"-artifact_prefix={folder}/found-"]
    inputs = Path(folder) / "corpus"
    inputs.mkdir(exist_ok=True)
    for path in Path(folder).glob("seed-*"):
        path.rename(inputs / path.name)
    atheris.Setup([sys.argv[0], str(inputs), f"-dict={WORDS}", *limits, *options], targets.TARGETS[target])
    atheris.Fuzz()


def import_all() -> None:
    """Everything that the targets may import on their way, so that it is instrumented and no input pays for it."""
    from gte_surgery.checks.registry import all_rules
    from gte_surgery.contract.scan.readers import array_files, arrow, json_lines, parquet  # noqa: F401
    from gte_surgery.gte import schemas

    all_rules()
    schemas.violations({}, "config.native")


def _minimise(target: str, folder: str) -> None:
    """Keeps the smallest inputs that together take every step, from one line to the next, that all of them take."""
    found = {path.read_bytes() for path in (Path(folder) / "corpus").iterdir()}
    inputs = sorted({*read_corpus(target), *found}, key=lambda each: (len(each), each))
    kept: list[bytes] = []
    covered: set[tuple[str, int, int]] = set()
    size = 0
    for each in inputs:
        new = steps_of(target, each) - covered
        if new and size + len(each) * 4 // 3 + 1 <= MOST_BYTES_OF_A_CORPUS:
            kept.append(each)
            covered |= new
            size += len(each) * 4 // 3 + 1
    write_corpus(target, kept)
    lines = {(file, line) for file, _, line in covered}
    print(f"{target}: {len(inputs)} inputs, {len(kept)} kept ({size} bytes), {len(covered)} steps, {len(lines)} lines")


def steps_of(target: str, raw: bytes) -> set[tuple[str, int, int]]:
    """(file, line before, line) for each step that our own code takes on an input."""
    from tests.hostile.targets import TARGETS

    steps: set[tuple[str, int, int]] = set()

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        name = frame.f_code.co_filename.partition("site-packages/")[0]
        if not any(part in name for part in _COUNTED):
            return None
        before = frame.f_lineno

        def step(frame: FrameType, event: str, _: object) -> TraceFunction:
            nonlocal before
            if event == "line":
                steps.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step

    sys.settrace(trace)
    try:
        TARGETS[target](raw)
    finally:
        sys.settrace(None)
    return steps


def _inside(arguments: list[str]) -> None:
    if arguments[0] == "minimise":
        _minimise(*arguments[1:])
    elif arguments[0] == "told":
        from tests.hostile.targets_beside import is_told_when_it_kills

        assert is_told_when_it_kills(sys.stdin.buffer.read())
    else:
        _fuzz(*arguments)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        _inside(sys.argv[2:])
    else:
        raise SystemExit(main(*sys.argv[1:]))
