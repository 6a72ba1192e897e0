"""Checkpoints as the programs of today save them, each by the program itself, with the verdict that is right.

`python -m tests.differential.really_saved FOLDER` makes them all and prints what `check` says; the test holds each to
its verdict. Models are of one layer; no two are saved in the same way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gte_surgery import convert, new

SIZES = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 128, "pad": 1, "max_positions": 64}
RELEASES = {
    "none": "gte-multilingual-base",
    "mlm": "gte-multilingual-mlm-base",
    "classifier": "gte-multilingual-base",
    "reranker": "gte-multilingual-reranker-base",
}
CLASSES = {
    "none": "AutoModel",
    "mlm": "AutoModelForMaskedLM",
    "classifier": "AutoModelForTokenClassification",
    "reranker": "AutoModelForSequenceClassification",
}
ROWS = [{"input_ids": [2, at, 5, 3], "attention_mask": [1] * 4, "labels": [-100, at, -100, -100]} for at in range(4, 8)]


@dataclass(frozen=True)
class Save:
    """One way to save: `make` writes into a folder, `codes` are the warnings and errors that are right then."""

    make: Callable[[Path], object]
    codes: frozenset[str]


SAVES: dict[str, Save] = {}


def saves(*codes: str, **cases: tuple[object, ...]) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Registers a way to save, with the codes of its verdict; once for each value of an argument where there are."""

    def register(make: Callable[..., object]) -> Callable[..., object]:
        name = make.__name__.replace("_", "-")
        if not cases:
            SAVES[name] = Save(make, frozenset(codes))
        for argument, values in cases.items():
            for value in values:
                SAVES[f"{name}-{value}"] = Save(partial(make, **{argument: value}), frozenset(codes))
        return make

    return register


def made(path: Path, head: str, layout: str | None = None, release: str = "", **sizes: Any) -> Path:
    """A native checkpoint of ours."""
    place = path.parent / f".{path.name}"
    new(place, release=release or RELEASES[head], head=head, dtype="F32", **{**SIZES, **sizes})
    if layout is not None:
        convert(place, layout=layout)
    return place


def model_of(path: Path, head: str, layout: str | None = None, **others: Any) -> Any:
    """The same in transformers."""
    import transformers

    return getattr(transformers, CLASSES[head]).from_pretrained(made(path, head, layout, **others))


def written(path: Path, model: Any, state: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    """A state dict as safetensors, beside the model's config."""
    from safetensors.torch import save_file

    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(path)
    first = {value.data_ptr(): name for name, value in reversed(state.items())}
    kept = {name: value for name, value in state.items() if first[value.data_ptr()] == name}
    save_file(kept, path / "model.safetensors", metadata=metadata)


@saves(head=tuple(CLASSES))
def transformers_anew(path: Path, head: str) -> None:
    """Load and save: the names outlive it."""
    model_of(path, head).save_pretrained(path)


@saves("GTE210", head=("mlm", "classifier", "reranker"))
def transformers_from_published(path: Path, head: str) -> None:
    """Load names of layout b and save: `new.gte.`."""
    model_of(path, head, "b").save_pretrained(path)


@saves(head=tuple(CLASSES))
def transformers_renamed(path: Path, head: str) -> None:
    model_of(path, head).save_pretrained(path, save_original_format=False)


@saves("GTE211")
def transformers_head_on_bare(path: Path) -> None:
    """A masked LM made of an encoder: the head's names are transformers' own, the encoder's the published."""
    import transformers

    transformers.AutoModelForMaskedLM.from_pretrained(made(path, "none")).save_pretrained(path)


@saves(head=("none", "mlm"))
def transformers_from_config(path: Path, head: str) -> None:
    import transformers

    config = transformers.AutoConfig.from_pretrained(made(path, head))
    getattr(transformers, CLASSES[head]).from_config(config).save_pretrained(path)


@saves(head=("none", "mlm"))
def transformers_sharded(path: Path, head: str) -> None:
    model_of(path, head).save_pretrained(path, max_shard_size="20KB")


@saves(dtype=("bfloat16", "float16", "float64"))
def transformers_cast(path: Path, dtype: str) -> None:
    import torch

    model_of(path, "mlm").to(getattr(torch, dtype)).save_pretrained(path)


@saves("GTE112", rows=(100, 160))
def transformers_resized(path: Path, rows: int) -> None:
    model = model_of(path, "mlm")
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(path)


@saves("GTE004")
def transformers_variant(path: Path) -> None:
    model_of(path, "none").save_pretrained(path, variant="fp16")


@saves("GTE015")
def transformers_sharded_then_whole(path: Path) -> None:
    """A save clears the shards of the one before, and leaves their index."""
    model = model_of(path, "none")
    model.save_pretrained(path, max_shard_size="20KB")
    model.save_pretrained(path)


@saves(release=("gte-base", "gte-modernbert-base"))
def transformers_family(path: Path, release: str) -> None:
    model_of(path, "none", release=release).save_pretrained(path)


@saves(release=("gte-base", "gte-modernbert-base"))
def transformers_family_mlm(path: Path, release: str) -> None:
    model_of(path, "mlm", release=release).save_pretrained(path)


@saves("GTE200", wrapper=("compile", "DataParallel", "both", "DistributedDataParallel"))
def torch_wrapped(path: Path, wrapper: str) -> None:
    import torch

    model = model_of(path, "classifier")
    wrapped = torch.compile(model) if wrapper in ("compile", "both") else model
    if wrapper in ("DataParallel", "both"):
        wrapped = torch.nn.DataParallel(wrapped)
    with one_process(path) if wrapper.startswith("Distributed") else nothing():
        if wrapper.startswith("Distributed"):
            wrapped = torch.nn.parallel.DistributedDataParallel(wrapped)
        written(path, model, wrapped.state_dict(), {"format": "pt"})


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def one_process(path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    from torch import distributed

    store = distributed.FileStore(str(path.parent / f"{path.name}.store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@saves("GTE004")
def torch_distributed_checkpoint(path: Path) -> None:
    from torch.distributed import checkpoint

    model = model_of(path, "none")
    model.config.save_pretrained(path)
    checkpoint.save(model.state_dict(), checkpoint_id=path)


@saves("GTE004")
def torch_pickle(path: Path) -> None:
    import torch

    model = model_of(path, "none")
    model.config.save_pretrained(path)
    torch.save(model.state_dict(), path / "pytorch_model.bin")


@saves()
def safetensors_model(path: Path) -> None:
    from safetensors.torch import save_model

    model = model_of(path, "mlm")
    model.config.save_pretrained(path)
    save_model(model, str(path / "model.safetensors"))


@saves()
def safetensors_numpy(path: Path) -> None:
    from safetensors.numpy import save_file

    model = model_of(path, "none")
    model.config.save_pretrained(path)
    save_file({name: value.numpy() for name, value in model.state_dict().items()}, path / "model.safetensors")


@saves("GTE207")
def safetensors_fp8(path: Path) -> None:
    import torch

    model = model_of(path, "none")
    state = {n: v.to(torch.float8_e4m3fn) if n.endswith("proj.weight") else v for n, v in model.state_dict().items()}
    written(path, model, state)


@saves(limit=("10GB", "20KB"))
def accelerate_model(path: Path, limit: str) -> None:
    from accelerate import Accelerator

    model = model_of(path, "none", "f")
    model.config.save_pretrained(path)
    Accelerator(cpu=True).save_model(model, str(path), max_shard_size=limit)


@saves("GTE201")
def accelerate_from_published(path: Path) -> None:
    """Packed names are loaded as views of one tensor, and of those that share memory accelerate saves one."""
    from accelerate import Accelerator

    model = model_of(path, "none", "a")
    model.config.save_pretrained(path)
    Accelerator(cpu=True).save_model(model, str(path))


@saves()
def accelerate_state(path: Path) -> None:
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = model_of(path, "none", "f")
    prepared = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    accelerator.save_state(str(path))
    prepared[0].config.save_pretrained(path)


def adapted(path: Path, **options: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model_of(path, "mlm"), LoraConfig(target_modules=["q_proj", "v_proj"], **options))


@saves("GTE001")
def peft_adapter(path: Path) -> None:
    adapted(path).save_pretrained(path)


@saves()
def peft_merged(path: Path) -> None:
    adapted(path).merge_and_unload().save_pretrained(path)


@saves("GTE200")
def peft_whole(path: Path) -> None:
    """All of it, adapters too, under PEFT's names."""
    model = adapted(path)
    written(path, model.get_base_model(), model.state_dict())


def trainer(path: Path, head: str, **options: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    settings = TrainingArguments(
        str(path.parent / f"{path.name}.runs"), max_steps=1, save_steps=1, per_device_train_batch_size=4, use_cpu=True,
        report_to="none", disable_tqdm=True, logging_strategy="no", **options,
    )  # fmt: skip
    rows = ROWS if head == "mlm" else [{**row, "labels": [0] * 4} for row in ROWS]
    return Trainer(model_of(path, head), settings, train_dataset=rows)


@saves()
def trainer_model(path: Path) -> None:
    running = trainer(path, "classifier")
    running.train()
    running.save_model(str(path))


@saves("GTE230")
def trainer_checkpoint(path: Path) -> None:
    running = trainer(path, "mlm")
    running.train()
    os.rename(Path(running.args.output_dir) / "checkpoint-1", path)


def sentences(path: Path, head: str) -> Path:
    """A checkpoint with a tokenizer."""
    from tests.differential.test_saved_by_sentence_transformers import write_tokenizer

    place = made(path, head, vocab=320)
    write_tokenizer(place)
    return place


@saves()
def sentence_transformer(path: Path) -> None:
    embedder(path).save_pretrained(str(path))


def embedder(path: Path) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    return SentenceTransformer(modules=[Transformer(str(sentences(path, "none"))), Pooling(32, "cls")], device="cpu")


@saves("GTE200")
def sentence_transformer_state(path: Path) -> None:
    model = embedder(path)
    written(path, model[0].auto_model, model.state_dict())


@saves()
def sentence_transformer_checkpoint(path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    settings = SentenceTransformerTrainingArguments(
        str(path.parent / f"{path.name}.runs"), max_steps=1, save_steps=1, use_cpu=True, report_to="none",
        disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    model, texts = embedder(path), Dataset.from_dict({"anchor": ["w1 w2", "w3"], "positive": ["w1", "w3 w4"]})
    SentenceTransformerTrainer(model, settings, train_dataset=texts, loss=MultipleNegativesRankingLoss(model)).train()
    os.rename(Path(settings.output_dir) / "checkpoint-1", path)


@saves()
def cross_encoder(path: Path) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(sentences(path, "reranker")), device="cpu").save_pretrained(str(path))


@saves()
def sparse_encoder(path: Path) -> None:
    from sentence_transformers import SparseEncoder

    SparseEncoder(str(sentences(path, "mlm")), device="cpu").save_pretrained(str(path))


def verdict(path: Path) -> frozenset[str]:
    """The codes of warnings and errors."""
    from gte_surgery import check
    from gte_surgery.findings import Severity

    return frozenset(each.code for each in check(path).findings if each.severity > Severity.NOTE)


def main(folder: Path) -> None:
    import time

    for name, save in ((name, save) for name, save in SAVES.items() if name.startswith(tuple(sys.argv[2:]) or "")):
        path, begin = folder / name, time.perf_counter()
        path.mkdir(parents=True)
        save.make(path)
        found = verdict(path)
        told = "" if found == save.codes else f"  EXPECTED {sorted(save.codes)}"
        print(f"{name:45} {time.perf_counter() - begin:5.2f} s  {sorted(found)}{told}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
