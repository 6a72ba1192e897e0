"""Tokens a second of an encoder on five sets of lengths, per backend: `python -m tests.gpu.speeds CKPT FILE [WAY…]`.

Real tokens only; a run is one forward under no_grad from a padded batch on the device to the hidden states, packing
included. Eager attention takes the rows in portions where its scores would not fit. The file is JSON, rewritten after
every measurement, so that an interrupted run keeps what it has, and processes one after the other write into one file.

Rates are sustained for a second, in which such a device meets the limit of its power and lowers its clock. The compiled
path is measured rested as well: a few runs after a pause, before that happens.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from gte_surgery.model.availability import Choice
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.load import load_encoder
from gte_surgery.smoke.batches import Batch, Ids, fill

MOST_SCORES = 7 << 30
"""Elements of the scores [rows, heads, width, width] that eager attention may hold at once."""


def sets() -> dict[str, torch.Tensor]:
    """Lengths of the rows, by what the set is called."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.empty(32).log_normal_(mean=8.52, std=0.5, generator=generator)
    return {
        "16 rows of 16 to 512": torch.linspace(16, 512, 16).long(),
        "64 rows of 16 to 512": torch.linspace(16, 512, 64).long(),
        "8 rows of 256 to 8192": torch.linspace(256, 8192, 8).long(),
        "16 rows of 2048": torch.full((16,), 2048),
        "32 rows, log-normal up to 8192": drawn.clamp(16, 8192).long(),
    }


def portions(batch: Batch, heads: int) -> list[Batch]:
    """The batch in as few equal portions as eager attention can hold, all as wide as the batch: what padding costs."""
    rows = max(1, min(batch.rows, MOST_SCORES // (heads * batch.width**2)))
    made = []
    for at in range(0, batch.rows, rows):
        lengths = batch.lengths[at : at + rows]
        cut = {name: tensor[at : at + rows] for name, tensor in batch.tensors.items()}
        made.append(Batch(cut, lengths, batch.pad))
    return made


Rate = tuple[float, float, float]
"""Tokens a second: the median, and the first and the third quartile."""


def rate(run: Callable[[], object], tokens: int, seconds: float = 1.0, pause: float = 0.0, together: int = 1) -> Rate:
    """Of runs over about so many seconds, after two warm ones and a pause; so many at once between two waits."""
    for _ in range(2):
        run()
    torch.cuda.synchronize()
    time.sleep(pause)
    taken: list[float] = []
    while len(taken) < 3 or (together * sum(taken) < seconds and len(taken) < 100):
        begin = time.perf_counter()
        for _ in range(together):
            run()
        torch.cuda.synchronize()
        taken.append((time.perf_counter() - begin) / together)
    taken.sort(reverse=True)
    return tokens / taken[len(taken) // 2], tokens / taken[len(taken) // 4], tokens / taken[3 * len(taken) // 4]


def most_memory() -> float:
    """GiB that were held at once since the counter was set back."""
    return torch.cuda.max_memory_allocated() / 2**30


def ways(encoder: GteEncoder) -> Iterator[tuple[str, Choice, bool]]:
    """(name, backends, whether packed) of what is measured without compiling."""
    yield "eager padded", Choice("eager", "eager", {}), False
    yield "sdpa padded", Choice("sdpa", "sdpa", {}), False
    for backend in ("xformers", "varlen", "cudnn"):
        yield f"{backend} packed", Choice(backend, backend, {}), True
    yield "auto", encoder.choose_attention(), True


class Table:
    """Rates by set and way; every addition is printed and saved."""

    def __init__(self, file: Path) -> None:
        self.file = file
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self.rates: dict[str, dict[str, float | list[int] | str]] = before

    def add(self, name: str, way: str, measure: Callable[[], float | Rate]) -> None:
        """Measure one cell; what goes wrong is written into it."""
        try:
            measured = measure()
            found: float | list[int] | str = (
                round(measured, 1) if isinstance(measured, float) else [round(each) for each in measured]
            )
        except RuntimeError as error:
            found = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            torch.cuda.empty_cache()
        self.rates.setdefault(name, {})[way] = found
        print(f"{name}: {way}: {found}", flush=True)
        self.file.write_text(json.dumps(self.rates, indent=2) + "\n", encoding="utf-8")


def batches(encoder: GteEncoder, lengths: dict[str, torch.Tensor]) -> dict[str, Batch]:
    """A batch of ids that the encoder knows for each set of lengths, on its device."""
    config = encoder.config
    ids = Ids(config.vocab_size, config.pad_token_id or 0, config.type_vocab_size, config.max_position_embeddings)
    return {
        name: fill(ids, each, torch.Generator().manual_seed(1)).to(encoder.device) for name, each in lengths.items()
    }


def measure_uncompiled(checkpoint: str, table: Table) -> None:
    """Every backend, and the most memory of each."""
    encoder = load_encoder(checkpoint, "cuda", "float16", "sdpa")
    for name, batch in batches(encoder, sets()).items():
        print(f"{name}: {batch.tokens} tokens, mean length {batch.tokens / batch.rows:.0f}", flush=True)
        for way, choice, is_packed in ways(encoder):
            encoder.choice = choice
            parts = portions(batch, encoder.config.num_attention_heads) if way.startswith("eager") else [batch]

            def run(parts: list[Batch] = parts, is_packed: bool = is_packed) -> None:
                for part in parts:
                    encoder.encode(part.tensors, unpad_inputs=is_packed)

            torch.cuda.reset_peak_memory_stats()
            table.add(name, way, lambda run=run, batch=batch: rate(run, batch.tokens))  # type: ignore[misc]
            table.add(name, f"{way}, GiB", most_memory)


def measure_compiled(checkpoint: str, table: Table) -> None:
    """`auto`, compiled; sustained, and rested."""
    compiled = load_encoder(checkpoint, "cuda", "float16", "auto", compile=True)
    for name, batch in batches(compiled, sets()).items():
        torch.cuda.reset_peak_memory_stats()

        def run_compiled(batch: Batch = batch) -> None:
            compiled.encode(batch.tensors)

        table.add(name, "compiled", lambda run=run_compiled, batch=batch: rate(run, batch.tokens))  # type: ignore[misc]
        table.add(name, "compiled, GiB", most_memory)
        table.add(
            name,
            "compiled, rested",
            lambda run=run_compiled, batch=batch: rate(run, batch.tokens, seconds=0.2, pause=1.0),  # type: ignore[misc]
        )


WAYS = {"uncompiled": measure_uncompiled, "compiled": measure_compiled}


@torch.no_grad()
def main(checkpoint: str, file: str, ways: tuple[str, ...]) -> None:
    """Measure the ways."""
    table = Table(Path(file))
    for way in ways:
        WAYS[way](checkpoint, table)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], tuple(sys.argv[3:]) or tuple(WAYS))
