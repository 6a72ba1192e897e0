"""Our speed and memory beside `cp`, transformers, safetensors and other people's tools, in one run: `bin/bench`.

bin/bench [--quick] [--peers] [--rounds N] [--only JOB…] [--json FILE] [--write] [--render]

Works on a gte-multilingual-base in F32 (1.22 GB; --quick: 2 layers) from `new`, then on sparse checkpoints of up to
100 GB. Takes about ten minutes on two cores, and up to 7 GB of disk below a temporary folder (BENCH_DIR sets where).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from gte_surgery.checkpoint.headers.header import read_header
from tests.bench import peers, report, sizes
from tests.bench.chart import draw
from tests.bench.jobs import BRAINSURGERY_REASONS, OURS, REASONS, TARGETS, Line, lines, prepare
from tests.bench.measure import Run, run_clean
from tests.bench.results import Point, Reason, Results, Timing, from_json, to_json

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(__file__).with_name("results")
PACKAGES = ("gte-surgery", "numpy", "safetensors", "torch", "transformers", "pyarrow")
NOT_ASKED = Reason("brainsurgery, mergekit-tokensurgeon", "", "not asked for (`--peers`)")


def main() -> None:
    arguments = parse()
    if arguments.render:
        write(from_json(json.loads((KEPT / "bench.json").read_text(encoding="utf-8"))))
        return
    results = measure(arguments)
    sys.stdout.write(report.text(results, () if arguments.quick else TARGETS))
    if arguments.json:
        arguments.json.write_text(json.dumps(to_json(results), indent=1) + "\n")
    if arguments.write:
        write(results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a checkpoint of 2 layers, one round, up to 1 GB")
    parser.add_argument("--peers", action="store_true", help="install brainsurgery and mergekit aside, and run them")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command is run (default 3)")
    parser.add_argument("--only", nargs="+", default=[], metavar="JOB", help="these jobs alone, and no sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    parser.add_argument("--write", action="store_true", help="put table, chart and numbers into the page and results/")
    parser.add_argument("--render", action="store_true", help="draw page and chart from results/bench.json again")
    arguments = parser.parse_args()
    if arguments.write and (arguments.quick or arguments.only):
        parser.error("--write shows everything at full size: not with --quick or --only")
    return arguments


def measure(arguments: argparse.Namespace) -> Results:
    """Runs everything in a temporary folder."""
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        environment, reasons = install(folder) if arguments.peers else (None, [NOT_ASKED])
        tell("making the checkpoints")
        prepare(folder, layers=2 if arguments.quick else None, rows=2_500 if arguments.quick else 25_000)
        weights = (folder / "base" / "model.safetensors").stat().st_size
        chosen = [line for line in lines(folder, environment) if not arguments.only or line.job in arguments.only]
        timings, broken = take_turns(chosen, rounds)
        points: tuple[Point, ...] = ()
        extremes: tuple[Point, ...] = ()
        if not arguments.only:
            points = tuple(sizes.curve(folder, rounds, 1 if arguments.quick else 100, tell))
            extremes = () if arguments.quick else tuple(sizes.extremes(folder, rounds, tell))
    corpus = f"{2.56 if arguments.quick else 25.6} M ids and masks in parquet"
    wanted = f"gte-multilingual-base from `new` in F32, {weights / 1e9:.2f} GB, and {corpus}"
    return Results(
        datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        machine(),
        versions(environment),
        f"{wanted}, in the page cache; {rounds} {'round' if rounds == 1 else 'rounds'}",
        timings,
        (*REASONS, *reasons, *broken),
        points,
        extremes,
    )


def install(folder: Path) -> tuple[Path | None, list[Reason]]:
    """The environment with the peers that will run (None without), and why the others will not."""
    environment = ROOT / "build" / "peers"
    tell("installing the peers")
    failed = peers.make_environment(environment)
    reasons = [Reason(name, "", said) for name, said in failed.items()]
    if peers.MERGEKIT not in failed:
        (folder / "attempts").mkdir()
        reasons += peers.tokensurgeon_attempts(folder / "attempts", environment)
    if peers.BRAINSURGERY in failed:
        return None, reasons
    return environment, [*BRAINSURGERY_REASONS, *reasons]


def take_turns(chosen: Sequence[Line], rounds: int) -> tuple[tuple[Timing, ...], tuple[Reason, ...]]:
    """Every line once a round, so that a disk that slows down slows all alike; and why a line of others has no number.

    A line of ours that fails ends the bench.
    """
    runs: dict[Line, list[Run]] = {line: [] for line in chosen}
    reasons = []
    for _ in range(rounds):
        for line in tuple(runs):
            try:
                runs[line].append(run_clean(line.command, line.prepare))
                look(line)
            except RuntimeError as error:
                if line.program == OURS:
                    raise
                reasons.append(Reason(line.program, line.job, str(error)))
                del runs[line]
            else:
                tell(f"{line.job}, {line.program}: {runs[line][-1].seconds:.2f} s")
            line.prepare()
    timings = (timing for line, found in runs.items() for timing in timings_of(line, found))
    return tuple(timings), tuple(reasons)


def timings_of(line: Line, found: Sequence[Run]) -> Iterator[Timing]:
    """The line's numbers, under its job and under each other that they serve."""
    seconds, peak = tuple(run.seconds for run in found), max(run.peak for run in found)
    for job in (line.job, *line.also):
        yield Timing(job, line.program, line.label, seconds, peak)


def look(line: Line) -> None:
    """Raises RuntimeError when what a line made does not hold the table that was asked for."""
    if line.out is None or line.makes is None:
        return
    tables = [
        (entry.dtype, entry.shape[0])
        for file in sorted(line.out.glob("*.safetensors"))
        for entry in read_header(file).tensors
        if entry.name.endswith("word_embeddings.weight")
    ]
    if tables != [line.makes]:
        raise RuntimeError(f"{line.job}, {line.program}: made the table {tables}, wanted {line.makes}")


def machine() -> str:
    """ "a machine with 2 cores, 24 GB, Linux, Python 3.11.7"."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    python = f"Python {platform.python_version()}"
    return f"a machine with {os.cpu_count()} cores and {memory / (1 << 30):.0f} GB, {platform.system()}, {python}"


def versions(environment: Path | None) -> dict[str, str]:
    found = {name: version(name) for name in PACKAGES}
    return found | (peers.VERSIONS if environment is not None else {})


def write(results: Results) -> None:
    """The numbers, the chart, and the section of their page."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / "bench.json").write_text(json.dumps(to_json(results), indent=1) + "\n", encoding="utf-8")
    (KEPT / "bench.svg").write_text(draw(results), encoding="utf-8")
    page = KEPT.with_name("README.md")
    section = report.markdown(results, TARGETS, f"{KEPT.name}/bench.svg")
    page.write_text(report.put(page.read_text(encoding="utf-8"), section), encoding="utf-8")


def tell(words: str) -> None:
    sys.stderr.write(words + "\n")


if __name__ == "__main__":
    main()
