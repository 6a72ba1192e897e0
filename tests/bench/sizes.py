"""What the size of a checkpoint costs: 0.1 to 100 GB, and three odd shapes. Most are sparse files of zeros.

The vocabulary grows, everything else stays. Nothing is written that holds more than 0.2 GB: growing, casting and
whole copies are left out above that, for their result would take as much room as the checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gte_surgery.checkpoint.headers.header import render_header
from gte_surgery.gte.families import find_release, read_config
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.names import REMOTE_HEAD
from gte_surgery.gte.tensors import Init, TensorSpec
from tests.bench.jobs import ours
from tests.bench.measure import Run, removing, run, run_clean
from tests.bench.results import Point

SIZES = (0.1, 1, 10, 100)
"""In GB."""
ROWS = 16_000
"""That a shrink and a remap keep."""
FOUND = (0, 1)
"""Exit codes of a check that ran: a checkpoint of zeros has findings."""
REFUSED = 3
SLOW = 5.0
"""Seconds from which on one run is enough."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done to a checkpoint at `folder`; the exit codes that are an answer; the largest that is still tried."""

    name: str
    command: Callable[[Path, Path], tuple[str | Path, ...]]
    codes: tuple[int, ...] = (0,)
    largest: float = math.inf


OPERATIONS = (
    Operation("`inspect`", lambda path, _: ("inspect", path)),
    Operation("`check`", lambda path, _: ("check", path), FOUND),
    Operation("`resize --dry-run`", lambda path, _: (*_shrink(path), "--dry-run")),
    Operation("`resize --out`", lambda path, out: (*_shrink(path), "--out", out)),
    Operation("`remap --keep --out`", lambda path, out: ("remap", path, "--keep", _keep(path), "--out", out)),
    Operation("`check --values`", lambda path, _: ("check", path, "--values"), FOUND, largest=10),
    Operation("`convert`, in place", lambda path, _: ("convert", path, "--to", "remote")),
    Operation("`resize`, in place", lambda path, _: _shrink(path)),
)
"""Those in place come last, for they change the checkpoint."""
EXTREME = ("`inspect`", "`check`", "`resize --dry-run`", "`resize --out`", "`check --values`")
"""What is done to the odd shapes."""


def curve(folder: Path, repeat: int, largest: float, tell: Tell) -> Iterator[Point]:
    """Each operation on sparse checkpoints of the SIZES up to `largest` GB."""
    for size in SIZES:
        if size <= largest:
            operations = [operation for operation in OPERATIONS if size <= operation.largest]
            make = partial(_write_of_size, size=int(size * 1e9))
            yield from _points(folder / f"{size:g} GB", make, operations, repeat, tell)


def extremes(folder: Path, repeat: int, tell: Tell) -> Iterator[Point]:
    """Some operations on 200 shards, 100,000 tensors, and a table of two million rows with numbers in it."""
    small = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
    tiny = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    subjects = {
        "200 shards": partial(write_sparse, vocab=32_000, layers=20, shards=200, **small),
        "100,000 tensors": partial(write_sparse, vocab=32_000, layers=4_096, tensors=100_000, **tiny),
        "2,000,000 rows": _draw_two_million,
    }
    operations = [operation for operation in OPERATIONS if operation.name in EXTREME]
    for name, make in subjects.items():
        yield from _points(folder / name, make, operations, repeat, tell)


def write_sparse(path: Path, vocab: int, layers: int, shards: int = 1, tensors: int = 0, **changes: object) -> int:
    """A native checkpoint in F32 whose numbers are all zero and take no room; gives the bytes of its tensors.

    `tensors` is how many it has at least: those beyond the model's own are small ones that no GTE has.
    """
    family, release = find_release("gte-multilingual-base")
    sizes = {"vocab_size": vocab, "num_hidden_layers": layers, "dtype": "float32", **changes}
    config = family.release_config(release, Dialect.NATIVE, **sizes)
    removing(path)()
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    specs = family.inventory(read_config(config), REMOTE_HEAD, Head.TOKEN_CLASSIFICATION)
    strangers = (f"other.{number}" for number in range(tensors - len(specs)))
    specs = (*specs, *(TensorSpec(name, name, (), (1,), Init.ZEROS) for name in strangers))
    parts = [specs[number * len(specs) // shards : (number + 1) * len(specs) // shards] for number in range(shards)]
    places: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        name = "model.safetensors" if shards == 1 else f"model-{number:05}-of-{shards:05}.safetensors"
        _write_shard(path / name, part)
        places |= {spec.name: name for spec in part}
    total = 4 * sum(spec.size for spec in specs)
    if shards > 1:
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return total


def _write_shard(path: Path, specs: tuple[TensorSpec, ...]) -> None:
    header = render_header([(spec.name, "F32", spec.shape) for spec in specs], [("format", "pt")])
    path.write_bytes(header)
    os.truncate(path, len(header) + 4 * sum(spec.size for spec in specs))


def _write_of_size(path: Path, size: int) -> None:
    """A sparse checkpoint of `size` bytes; its table takes what the one layer and the head leave."""
    rest = write_sparse(path, vocab=2, layers=1)
    write_sparse(path, vocab=(size - rest) // (768 * 4), layers=1)


def _draw_two_million(path: Path) -> None:
    """A table of two million rows of 64 random numbers, half a GB that is really there."""
    sizes = ("--hidden", "64", "--heads", "4", "--intermediate", "96", "--layers", "1", "--vocab", "2000000")
    removing(path)()
    run(ours("new", path, "--release", "gte-multilingual-base", "--dtype", "F32", "--dialect", "native", *sizes))


def _points(
    path: Path, make: Callable[[Path], object], operations: Sequence[Operation], repeat: int, tell: Tell
) -> Iterator[Point]:
    """The operations on the checkpoint that `make` puts at `path`; each time a new one where it is changed."""
    make(path)
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    out = path.parent / "out"
    for operation in operations:
        is_changed = operation.name.endswith("in place")
        runs: list[Run] = []
        while len(runs) < repeat and (not runs or runs[-1].seconds < SLOW):
            clean = partial(make, path) if is_changed else removing(out)
            command = ours(*operation.command(path, out))
            runs.append(run_clean(command, clean, (*operation.codes, REFUSED)))
        seconds, last = tuple(one.seconds for one in runs), runs[-1]
        tell(f"{path.name}, {operation.name}: {seconds[0]:.2f} s, exit {last.code}")
        refused = last.said if last.code not in operation.codes else ""
        yield Point(operation.name, path.name, size, seconds, max(one.peak for one in runs), last.code, refused)
    removing(path, out, _keep(path))()


def _shrink(path: Path) -> tuple[str | Path, ...]:
    return ("resize", path, "--vocab", str(ROWS), "--pad", "0")


def _keep(path: Path) -> Path:
    """A file of ids scattered over the table of the checkpoint at `path`, the pad's first."""
    file = path.parent / f"{path.name}.txt"
    if not file.exists():
        vocab = json.loads((path / "config.json").read_text())["vocab_size"]
        rows = random.Random(0).sample(range(2, vocab), ROWS - 1)
        file.write_text("".join(f"{row}\n" for row in (1, *rows)))
    return file
