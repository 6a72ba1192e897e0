"""Texts embedded and trained on by sentence-transformers and by us: `python -m tests.gpu.rival CKPT FILE [WAY…]`.

Both read the same checkpoint and the same texts, tokenizing included: `encode` of sentence-transformers under SDPA
against batches of alike long texts through `GteEncoder.embed`, fp16; then one epoch of pairs under in-batch negatives,
bf16 autocast and fused AdamW, by its trainer and by a plain loop. The file is JSON, as `speeds` writes it.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from gte_surgery import GteEncoder, load_encoder
from tests.gpu import speeds

WORDS = 20_000
TEXTS, PAIRS, BATCH = 4096, 2048, 64
SCALE = 20.0
"""Of the cosines under the loss, as its MultipleNegativesRankingLoss has it."""
MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))


def prepared(checkpoint: str, folder: Path) -> Path:
    """A copy with a tokenizer of whole words, and what sentence-transformers needs to load it."""
    place = shutil.copytree(checkpoint, folder / "both")
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | {f"w{number}": number + 4 for number in range(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])  # type: ignore[assignment]
    special = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=512, **special).save_pretrained(place)
    width = json.loads((place / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    listed = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(MODULES)
    ]
    (place / "modules.json").write_text(json.dumps(listed))
    (place / "1_Pooling").mkdir()
    settings = {"word_embedding_dimension": width, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (place / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    (place / "2_Normalize").mkdir()
    return place


def texts(count: int, longest: int, seed: int) -> list[str]:
    """Texts of 14 words to so many, all lengths alike often, in no order."""
    drawn = random.Random(seed)
    return [" ".join(f"w{drawn.randrange(WORDS)}" for _ in range(drawn.randint(14, longest))) for _ in range(count)]


def batches(tokenizer: Any, given: list[str]) -> Iterator[dict[str, Tensor]]:
    """The texts on the device, long ones with long ones, as `encode` sorts them too."""
    order = sorted(range(len(given)), key=lambda at: -len(given[at]))
    for at in range(0, len(order), BATCH):
        made = tokenizer([given[place] for place in order[at : at + BATCH]], padding=True, return_tensors="pt")
        yield {"input_ids": made["input_ids"].cuda(), "attention_mask": made["attention_mask"]}


@torch.no_grad()
def embedded(encoder: GteEncoder, tokenizer: Any, given: list[str]) -> Tensor:
    """What `encode` gives, though in the order of the batches: on the CPU."""
    return torch.cat([encoder.embed(batch) for batch in batches(tokenizer, given)]).cpu()


def epoch(encoder: GteEncoder, tokenizer: Any, pairs: tuple[list[str], list[str]]) -> None:
    """One epoch over the pairs."""
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-5, fused=True)
    for at in range(0, len(pairs[0]), BATCH):
        both = [text for side in pairs for text in side[at : at + BATCH]]
        made = tokenizer(both, padding=True, return_tensors="pt")
        with torch.autocast("cuda", torch.bfloat16):
            vectors = encoder.embed({"input_ids": made["input_ids"].cuda(), "attention_mask": made["attention_mask"]})
            one, other = vectors.chunk(2)
            loss = functional.cross_entropy(SCALE * one @ other.T, torch.arange(len(one), device=one.device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def our_encode(place: Path, tokenizer: Any, given: list[str], way: str) -> Callable[[], object]:
    """`embed` over the texts, loaded and ready."""
    return partial(embedded, load_encoder(place, "cuda", "float16", compile=way.endswith("compiled")), tokenizer, given)


def our_epoch(place: Path, tokenizer: Any, pairs: tuple[list[str], list[str]], way: str) -> Callable[[], object]:
    """One epoch by a plain loop, loaded and ready."""
    encoder = load_encoder(place, "cuda", "float32", compile=way.endswith("compiled")).train()
    return partial(epoch, encoder, tokenizer, pairs)


def rival_encode(place: Path, given: list[str]) -> Callable[[], object]:
    """`encode` of sentence-transformers, loaded and ready."""
    from sentence_transformers import SentenceTransformer

    kind: dict[str, Any] = {"dtype": torch.float16, "attn_implementation": "sdpa"}
    model = SentenceTransformer(str(place), device="cuda", model_kwargs=kind)
    return partial(model.encode, given, batch_size=BATCH, show_progress_bar=False)


def rival_epoch(place: Path, pairs: tuple[list[str], list[str]], folder: Path) -> Callable[[], object]:
    """The same by the trainer of sentence-transformers, loaded and ready."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(str(place), device="cuda", model_kwargs={"attn_implementation": "sdpa"})
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "trained"), num_train_epochs=1, per_device_train_batch_size=BATCH, bf16=True,
        optim="adamw_torch_fused", save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    given = Dataset.from_dict({"anchor": pairs[0], "positive": pairs[1]})
    return SentenceTransformerTrainer(model, settings, given, loss=MultipleNegativesRankingLoss(model)).train


def measured(table: speeds.Table, name: str, way: str, run: Callable[[], object], tokens: int, times: int = 3) -> None:
    """Median, least and most of whole runs after one warm one, and the most memory of them."""

    def measure() -> speeds.Rate:
        taken = []
        for _ in range(times + 1):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            run()
            torch.cuda.synchronize()
            taken.append(time.perf_counter() - begin)
        taken = sorted(taken[1:], reverse=True)
        return tokens / taken[len(taken) // 2], tokens / taken[0], tokens / taken[-1]

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    table.add(name, way, measure)
    table.add(name, f"{way}, GiB", speeds.most_memory)


WAYS = ("sentence-transformers, SDPA", "embed", "embed, compiled")


def main(checkpoint: str, file: str, ways: tuple[str, ...]) -> None:
    """Measure the ways, each on the texts and on the pairs."""
    table = speeds.Table(Path(file))
    with tempfile.TemporaryDirectory() as scratch:
        place = prepared(checkpoint, Path(scratch))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(place)
        given, pairs = texts(TEXTS, 510, 0), (texts(PAIRS, 126, 1), texts(PAIRS, 126, 2))
        tokens, trained = (sum(len(text.split()) + 2 for text in each) for each in (given, pairs[0] + pairs[1]))
        names = (f"{TEXTS} texts of 16 to 512", f"an epoch of {PAIRS} pairs of 16 to 128")
        for way in ways:
            encode = rival_encode(place, given) if way == WAYS[0] else our_encode(place, tokenizer, given, way)
            measured(table, names[0], way, encode, tokens)
            del encode
            train = (
                rival_epoch(place, pairs, Path(scratch)) if way == WAYS[0] else our_epoch(place, tokenizer, pairs, way)
            )
            measured(table, names[1], way, train, trained)
            del train


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], tuple(sys.argv[3:]) or WAYS)
