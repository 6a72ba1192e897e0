"""Our speed and memory beside `cp` and transformers, all in one run on one machine: `bin/bench`.

python -m tests.bench.main [--quick] [--repeat N] [--json FILE] [--only NAME…]

Works on a gte-multilingual-base in F32 (1.22 GB; --quick: 2 layers) from `new`. Every line is a median of whole
processes, start to end, with fsync; ratios are against the line named. Needs about 6 GB of disk below a temporary
folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.measure import Timing, joined, removing, time_command

PEER = str(Path(__file__).with_name("peer.py"))
PACKAGES = ("gte-surgery", "click", "jsonschema", "numpy", "safetensors", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: a command, what makes its place empty, and the line that it is compared with."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[], None]
    against: str = ""
    target: float | None = None


def ours(*arguments: str | Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "gte_surgery", "--quiet", *map(str, arguments))


def peer(*arguments: str | Path) -> tuple[str, ...]:
    return (sys.executable, PEER, *map(str, arguments))


def copy_then_sync(source: Path, out: Path) -> tuple[str, ...]:
    return ("sh", "-c", 'cp "$0" "$1" && sync "$1"', str(source), str(out))


def cases(folder: Path) -> Iterator[Case]:
    """The lines, each before those that name it."""
    base, small, out = folder / "base", folder / "small", folder / "out"
    clean = removing(out)
    shrink = ("resize", base, "--vocab", "32000", "--pad", "0", "--out", out)
    grow = ("resize", base, "--vocab", "260096", "--pad", "0", "--out", out)
    yield Case("python", (sys.executable, "-c", "pass"), clean)
    yield Case("help", ours("--help"), clean)
    yield Case("check", ours("check", base), clean)
    yield Case("cp small", copy_then_sync(small / "model.safetensors", out), clean)
    yield Case("shrink", ours(*shrink), clean, "cp small", 2.0)
    yield Case("shrink --no-hash", ours(*shrink, "--no-hash"), clean, "cp small", 1.5)
    chosen = ours("remap", base, "--keep", folder / "keep.txt", "--out", out)
    yield Case("remap", chosen, clean, "shrink", 1.5)
    yield Case("transformers shrink", peer("resize", base, out, "32000"), clean)
    yield Case("shrink, again", ours(*shrink), clean, "transformers shrink", 1 / 6)
    yield Case("cp base", copy_then_sync(base / "model.safetensors", out), clean)
    yield Case("grow normal", ours(*grow), clean, "cp base")
    yield Case("transformers grow mean", peer("resize", base, out, "260096", "mean"), clean)
    yield Case("grow mean-cov", ours(*grow, "--init", "mean-cov"), clean, "transformers grow mean", 1 / 3)
    fresh = ours("new", out, "--release", "gte-multilingual-base", "--dtype", "F32")
    yield Case("transformers new", peer("new", base, out), clean)
    yield Case("new", fresh, clean, "transformers new", 1 / 3)
    yield Case("reinit", ours("reinit", base, "--out", out), clean, "transformers new", 1 / 3)
    yield Case("convert --to remote", ours("convert", base, "--to", "remote", "--out", out), clean, "cp base", 1.0)
    yield Case("convert --dtype BF16", ours("convert", base, "--dtype", "BF16", "--out", out), clean, "cp base")
    yield Case("transformers cast", peer("cast", base, out, "bfloat16"), clean)
    yield Case("reshard", ours("convert", base, "--shard-size", "300MB", "--out", out), clean, "cp base")
    yield Case("transformers reshard", peer("reshard", base, out, "300MB"), clean)


def prepare(folder: Path, quick: bool) -> None:
    """The checkpoints that the cases read, and the ids of 32000 random rows."""
    rows = random.Random(0).sample(range(2, 250_048), 31_999)
    (folder / "keep.txt").write_text("".join(f"{row}\n" for row in (1, *rows)))
    nothing = removing()
    sizes = ("--layers", "2") if quick else ()
    release = ("--release", "gte-multilingual-base", "--dtype", "F32", *sizes)
    time_command(ours("new", folder / "base", *release), 1, nothing)
    time_command(
        ours("resize", folder / "base", "--vocab", "32000", "--pad", "0", "--out", folder / "small"), 1, nothing
    )


def machine() -> dict[str, str]:
    """Where and with what the numbers were made."""
    packages = {}
    for name in PACKAGES:
        packages[name] = version(name)
    return {"python": platform.python_version(), "system": f"{os.cpu_count()} cores, {platform.system()}", **packages}


def table(timings: dict[str, Timing], chosen: list[Case]) -> str:
    """The table as text: seconds, peak memory, ratio, and whether a target is met."""
    lines = [f"{'':24} {'seconds':>8} {'MiB':>7}  ratio"]
    for case in chosen:
        timing = timings[case.name]
        line = f"{case.name:24} {timing.seconds:8.2f} {timing.peak / 2**20:7.0f}"
        if case.against in timings:
            ratio = timing.seconds / timings[case.against].seconds
            line += f"  {ratio:5.2f} x {case.against}"
            if case.target is not None:
                line += f", target {case.target:.2f}: {'met' if ratio <= case.target else 'missed'}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a checkpoint of 2 layers, one run of each")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command (default 3)")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--only", nargs="+", default=[], help="run the lines whose names contain one of these")
    arguments = parser.parse_args()
    repeat = 1 if arguments.quick else arguments.repeat
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        prepare(folder, arguments.quick)
        chosen = [c for c in cases(folder) if not arguments.only or any(word in c.name for word in arguments.only)]
        rounds: dict[str, list[Timing]] = {case.name: [] for case in chosen}
        for _ in range(repeat):  # in rounds, so that a disk that slows down slows all alike
            for case in chosen:
                rounds[case.name].append(time_command(case.command, 1, case.prepare))
                sys.stderr.write(f"{case.name}: {rounds[case.name][-1].seconds:.2f} s\n")
        timings = {name: joined(found) for name, found in rounds.items()}
    sys.stdout.write(table(timings, chosen) + "\n" + json.dumps(machine()) + "\n")
    if arguments.json:
        numbers = {name: asdict(timing) for name, timing in timings.items()}
        arguments.json.write_text(json.dumps({"machine": machine(), "timings": numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
