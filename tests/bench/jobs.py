"""The jobs that are measured, who does them and how, who cannot and why, and what the numbers must be.

A job's lines stand beside each other, so that the ratios of a round are between neighbours.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import peers
from tests.bench.measure import removing, run
from tests.bench.results import Reason, Target

OURS, FLOOR, TRANSFORMERS, SAFETENSORS = "gte-surgery", "floor", "transformers", "safetensors"
PROGRAMS = (OURS, FLOOR, TRANSFORMERS, SAFETENSORS, peers.BRAINSURGERY, peers.MERGEKIT)

JOBS = {
    "help": "`--help`; floor: Python doing nothing",
    "inspect": "`inspect`",
    "check": "`check`",
    "values": "`check --values`; floor: `cat`",
    "scan": "`scan`; floor: pyarrow decoding",
    "shrink": "`resize` to 32,000 rows; floor: `cp` of the result",
    "shrink, no hash": "`resize --no-hash` to 32,000 rows",
    "remap": "`remap --keep`, 32,000 random rows",
    "tokens": "`remap` to a tokenizer of 32,000 words",
    "convert": "`convert --to native`; floor: `cp`",
    "convert in place": "`convert --to native`, in place",
    "grow": "`resize` to 260,096 rows",
    "mean-cov": "`resize --init mean-cov` to 260,096 rows",
    "reshard": "`convert --shard-size 300MB`",
    "cast": "`convert --dtype BF16`",
    "new": "`new`",
    "reinit": "`reinit`",
}
"""In the order of the table."""

MIB = 1 << 20
TARGETS = (
    Target("help", OURS, "seconds", 1, ("help", FLOOR), 0.15),
    Target("check", OURS, "seconds", plus=0.35),
    Target("values", OURS, "seconds", 1.5, ("values", FLOOR), 0.5),
    Target("scan", OURS, "seconds", 1.5, ("scan", FLOOR)),
    Target("shrink", OURS, "seconds", 2, ("shrink", FLOOR)),
    Target("shrink, no hash", OURS, "seconds", 1.5, ("shrink", FLOOR)),
    Target("shrink", OURS, "seconds", 1 / 6, ("shrink", TRANSFORMERS)),
    Target("shrink", OURS, "peak", plus=64 * MIB),
    Target("remap", OURS, "seconds", 1.5, ("shrink", OURS)),
    Target("remap", OURS, "peak", plus=64 * MIB),
    Target("convert", OURS, "seconds", 1, ("convert", FLOOR)),
    Target("mean-cov", OURS, "seconds", 1 / 3, ("mean-cov", TRANSFORMERS)),
    Target("new", OURS, "seconds", 1 / 3, ("new", TRANSFORMERS)),
    Target("new", OURS, "peak", plus=128 * MIB),
    Target("reinit", OURS, "seconds", 1 / 3, ("new", TRANSFORMERS)),
    Target("reinit", OURS, "peak", plus=128 * MIB),
)

REASONS = (
    Reason(TRANSFORMERS, "inspect", "tells of config.json alone"),
    Reason(TRANSFORMERS, "values", "looks at no numbers"),
    Reason(TRANSFORMERS, "scan", "judges no ids before the model fails on them"),
    Reason(TRANSFORMERS, "remap", "has no call for it"),
    Reason(TRANSFORMERS, "tokens", "has no call for it"),
    Reason(TRANSFORMERS, "grow", "draws with the old rows' mean and covariance, unless told not to: see the next"),
    Reason(
        TRANSFORMERS,
        "convert",
        "reads the remote dialect with code from the hub only, and then cannot write the native one",
    ),
    Reason(SAFETENSORS, "scan", "knows of no ids"),
    Reason(SAFETENSORS, "tokens", "knows of no tokens"),
    Reason(SAFETENSORS, "convert", "the weights stay; what changes is config.json"),
    Reason(SAFETENSORS, "new", "knows of no model: names and shapes would come from one"),
)
BRAINSURGERY_REASONS = (
    Reason(peers.BRAINSURGERY, "check", "asserts what a plan spells out; has no rules of its own"),
    Reason(peers.BRAINSURGERY, "values", "the same"),
    Reason(peers.BRAINSURGERY, "scan", "knows of no ids"),
    Reason(peers.BRAINSURGERY, "remap", "takes slices of a tensor, no list of rows"),
    Reason(peers.BRAINSURGERY, "tokens", "knows of no tokens"),
    Reason(peers.BRAINSURGERY, "convert", "reads no config.json"),
    Reason(peers.BRAINSURGERY, "mean-cov", "draws with one mean and one deviation for all"),
    Reason(peers.BRAINSURGERY, "new", "a plan would spell out all 138 tensors"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One program at one job: the command, what makes its place empty, and how the table must look afterwards.

    `also` names other jobs whose number this is as well; `makes` is (dtype, rows) of the table in `out`.
    """

    job: str
    program: str
    command: tuple[str, ...]
    prepare: Callable[[], None]
    label: str = ""
    also: tuple[str, ...] = ()
    out: Path | None = None
    makes: tuple[str, int] | None = None


def ours(*arguments: str | Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "gte_surgery", "--quiet", *map(str, arguments))


def script(name: str, *arguments: str | Path) -> tuple[str, ...]:
    """One of the scripts beside this file."""
    return (sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments))


def copy_then_sync(source: Path, out: Path) -> tuple[str, ...]:
    return ("sh", "-c", 'cp "$0" "$1" && sync "$1"', str(source), str(out))


def prepare(folder: Path, layers: int | None, rows: int) -> None:
    """What the lines read: checkpoints (base, its shrunk form, the remote dialect twice), ids, tokenizers, a corpus."""
    sizes = ("--layers", str(layers)) if layers else ()
    base = folder / "base"
    run(ours("new", base, "--release", "gte-multilingual-base", "--dtype", "F32", *sizes))
    run(ours("convert", base, "--layout", "b", "--no-undo"))  # the published names, by which scripts and peers look
    run(ours("resize", base, "--vocab", "32000", "--pad", "0", "--out", folder / "small"))
    for remote in ("remote", "place"):
        run(ours("convert", base, "--to", "remote", "--out", folder / remote))
    rows_kept = random.Random(0).sample(range(2, 250_048), 31_999)
    (folder / "keep.txt").write_text("".join(f"{row}\n" for row in (1, *rows_kept)))
    for size in (32_000, 250_002):
        run(script("tokenizer.py", folder / f"words-{size}", str(size)))
    run((sys.executable, "-m", "tests.bench.scan", "--write", folder / "corpus.parquet", str(rows)))


def lines(folder: Path, environment: Path | None) -> Iterator[Line]:
    """All lines in the order of a round; those of the peers where there is an environment that has them."""
    out = folder / "out"
    clean = removing(out)
    yield from (*_looking(folder, clean), *_rewriting(folder, out, clean), *_making(folder, out, clean))
    if environment is not None:
        for job, plan in peers.write_plans(folder, folder / "base", out).items():
            makes = _MADE_BY_PLANS.get(job)
            command = peers.brainsurgery(environment, plan)
            yield Line(job, peers.BRAINSURGERY, command, clean, out=out if makes else None, makes=makes)


_SHRUNK, _GROWN, _WHOLE = ("F32", 32_000), ("F32", 260_096), ("F32", 250_048)
_MADE_BY_PLANS = {
    "shrink": _SHRUNK,
    "grow": _GROWN,
    "reinit": _WHOLE,
    "cast": ("BF16", 250_048),
    "reshard": _WHOLE,
}


def _looking(folder: Path, clean: Callable[[], None]) -> Iterator[Line]:
    """The jobs that only read."""
    base, corpus = folder / "base", folder / "corpus.parquet"
    weights = base / "model.safetensors"
    yield Line("help", FLOOR, (sys.executable, "-c", "pass"), clean, "python")
    yield Line("help", OURS, ours("--help"), clean)
    yield Line("inspect", OURS, ours("inspect", base), clean)
    header = script("by_hand.py", "inspect", weights)
    yield Line("inspect", SAFETENSORS, header, clean, "header only", ("check",))
    yield Line("check", OURS, ours("check", base), clean)
    yield Line("check", TRANSFORMERS, script("peer.py", "check", base), clean, "loading")
    yield Line("values", FLOOR, ("cat", str(weights)), clean, "cat")
    yield Line("values", OURS, ours("check", base, "--values"), clean)
    yield Line("values", SAFETENSORS, script("by_hand.py", "finite", weights), clean, "isfinite")
    yield Line("scan", FLOOR, (sys.executable, "-m", "tests.bench.scan", "--decode", str(corpus)), clean, "pyarrow")
    yield Line("scan", OURS, ours("scan", base, corpus, "--workers", "1"), clean)


def _rewriting(folder: Path, out: Path, clean: Callable[[], None]) -> Iterator[Line]:
    """The jobs whose result is mostly copied bytes."""
    base, small, weights = folder / "base", folder / "small", folder / "base" / "model.safetensors"
    shrink = ("resize", base, "--vocab", "32000", "--pad", "0", "--out", out)
    words = [folder / f"words-{size}" / "tokenizer.json" for size in (250_002, 32_000)]
    copy = copy_then_sync(small / "model.safetensors", out)
    yield Line("shrink", FLOOR, copy, clean, "cp", ("shrink, no hash", "remap", "tokens"))
    yield Line("shrink", OURS, ours(*shrink), clean, out=out, makes=_SHRUNK)
    yield Line("shrink, no hash", OURS, ours(*shrink, "--no-hash"), clean, out=out, makes=_SHRUNK)
    kept = ours("remap", base, "--keep", folder / "keep.txt", "--out", out)
    yield Line("remap", OURS, kept, clean, out=out, makes=_SHRUNK)
    shrunk = script("peer.py", "resize", base, out, "32000")
    yield Line("shrink", TRANSFORMERS, shrunk, clean, also=("shrink, no hash",), out=out, makes=_SHRUNK)
    sliced = script("by_hand.py", "shrink", weights, out, "32000")
    yield Line("shrink", SAFETENSORS, sliced, clean, also=("shrink, no hash",), out=out, makes=_SHRUNK)
    chosen = script("by_hand.py", "remap", weights, out, folder / "keep.txt")
    yield Line("remap", SAFETENSORS, chosen, clean, out=out, makes=_SHRUNK)
    tokens = ours("remap", base, "--from-tokenizer", words[0], "--to-tokenizer", words[1], "--out", out)
    yield Line("tokens", OURS, tokens, clean, out=out, makes=_SHRUNK)
    yield Line("convert", FLOOR, copy_then_sync(weights, out), clean, "cp", ("grow", "reshard", "new", "reinit"))
    native = ("convert", folder / "remote", "--to", "native", "--out", out)
    yield Line("convert", OURS, ours(*native), clean, out=out, makes=_WHOLE)
    place = folder / "place"
    again = restoring(place, folder / "remote" / "config.json")
    yield Line("convert in place", OURS, ours("convert", place, "--to", "native"), again, out=place, makes=_WHOLE)


def _making(folder: Path, out: Path, clean: Callable[[], None]) -> Iterator[Line]:
    """The jobs whose result is mostly computed."""
    base, weights = folder / "base", folder / "base" / "model.safetensors"
    grow = ("resize", base, "--vocab", "260096", "--pad", "0", "--out", out)
    layers = json.loads((base / "config.json").read_text())["num_hidden_layers"]
    fresh = ("new", out, "--release", "gte-multilingual-base", "--dtype", "F32", "--layers", str(layers))
    yield Line("grow", OURS, ours(*grow), clean, out=out, makes=_GROWN)
    added = script("by_hand.py", "grow", weights, out, "260096")
    yield Line("grow", SAFETENSORS, added, clean, out=out, makes=_GROWN)
    drawn = ours(*grow, "--init", "mean-cov")
    yield Line("mean-cov", OURS, drawn, clean, out=out, makes=_GROWN)
    theirs = script("peer.py", "resize", base, out, "260096")
    yield Line("mean-cov", TRANSFORMERS, theirs, clean, out=out, makes=_GROWN)
    with_numpy = script("by_hand.py", "mean_cov", weights, out, "260096")
    yield Line("mean-cov", SAFETENSORS, with_numpy, clean, out=out, makes=_GROWN)
    shards = ours("convert", base, "--shard-size", "300MB", "--out", out)
    yield Line("reshard", OURS, shards, clean, out=out, makes=_WHOLE)
    yield Line("reshard", TRANSFORMERS, script("peer.py", "reshard", base, out, "300MB"), clean, out=out, makes=_WHOLE)
    by_hand = script("by_hand.py", "reshard", weights, out, "300000000")
    yield Line("reshard", SAFETENSORS, by_hand, clean, out=out, makes=_WHOLE)
    half = ("BF16", 250_048)
    yield Line("cast", OURS, ours("convert", base, "--dtype", "BF16", "--out", out), clean, out=out, makes=half)
    yield Line("cast", TRANSFORMERS, script("peer.py", "cast", base, out, "bfloat16"), clean, out=out, makes=half)
    yield Line("cast", SAFETENSORS, script("by_hand.py", "cast", weights, out), clean, out=out, makes=half)
    yield Line("new", OURS, ours(*fresh), clean, out=out, makes=_WHOLE)
    yield Line("reinit", OURS, ours("reinit", base, "--out", out), clean, out=out, makes=_WHOLE)
    built = script("peer.py", "new", base, out)
    yield Line("new", TRANSFORMERS, built, clean, also=("reinit",), out=out, makes=_WHOLE)
    redrawn = script("by_hand.py", "reinit", weights, out)
    yield Line("reinit", SAFETENSORS, redrawn, clean, out=out, makes=_WHOLE)


def restoring(folder: Path, config: Path) -> Callable[[], None]:
    """Gives a folder its old config.json back, and forgets what was done to it."""
    text = config.read_bytes()

    def restore() -> None:
        removing(folder / ".gte-surgery", folder / "gte-surgery.json")()
        (folder / "config.json").write_bytes(text)

    return restore
