"""Random sound surgeries are proved, never refuted: edits, families, layouts, heads, dtypes and their orders."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from gte_surgery import convert, prover, reinit, remap, resize
from gte_surgery.errors import RefusedError

PLACES = (
    "checkpoints/legacy-base", "checkpoints/legacy-en-v1.5", "checkpoints/legacy-mlm", "checkpoints/legacy-mixed-ntk",
    "checkpoints/legacy-reranker", "checkpoints/legacy-type2", "checkpoints/snowflake-m-v2",
    "families/bert-base", "families/bert-mlm", "families/modernbert-base", "families/modernbert-mlm",
)  # fmt: skip


def proved(seed: int, golden: Path, folder: Path) -> None:
    """Two random surgeries, one after the other; a refusal of the edit itself is no proof and no fault."""
    draw = random.Random(seed)
    path = shutil.copytree(golden.parent / draw.choice(PLACES), folder / "ckpt")
    prove = prover("cpu")
    for _ in range(2):
        rows, pad = draw.randrange(24, 300), draw.randrange(0, 16)
        edits = (
            lambda: resize(path, vocab=rows, pad=pad, init=draw.choice(["normal", "mean", "zeros"]), prove=prove),  # noqa: B023
            lambda: remap(path, keep=draw.sample(range(24), 20), pad=pad, prove=prove),  # noqa: B023
            lambda: convert(path, dtype=draw.choice(["F16", "BF16", "F32"]), prove=prove),
            lambda: convert(path, to=draw.choice(["native", "remote"]), prove=prove),
            lambda: convert(path, shard_size=draw.randrange(20_000, 90_000), prove=prove),
            lambda: reinit(path, seed=seed, prove=prove),
        )
        try:
            receipt = draw.choice(edits)().receipt
        except RefusedError as refused:
            if "proof" in refused.message:
                raise
            continue
        assert receipt is None or receipt["proved"] is True


@pytest.mark.parametrize("seed", range(4))
def test_a_few_random_sound_surgeries_are_proved(seed: int, golden: Path, tmp_path: Path) -> None:
    proved(seed, golden, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 104))
def test_two_hundred_random_sound_surgeries_are_proved(seed: int, golden: Path, tmp_path: Path) -> None:
    proved(seed, golden, tmp_path)
