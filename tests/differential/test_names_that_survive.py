"""Which tensor names outlive a load and a save, a Trainer's resume and its return to the best checkpoint, by running.

The table is the one in the pages. Native models with a head are made and converted in layout f, the only one that
outlives all; a bare model stays in a, which servers read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gte_surgery import convert, fix, new, open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.checks.subject import Subject
from tests.differential.really_saved import CLASSES, RELEASES, SIZES
from tests.docs.sessions import REFERENCE, read

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

pytestmark = pytest.mark.filterwarnings("ignore")
SURVIVAL: dict[tuple[str, str], tuple[str, str, str]] = {
    ("none", "a"): ("a", "4 of 20", "4 of 20"),
    ("none", "f"): ("f", "20 of 20", "20 of 20"),
    ("mlm", "b"): ("c", "0 of 25", "0 of 25"),
    ("mlm", "d"): ("d", "7 of 25", "7 of 25"),
    ("mlm", "f"): ("f", "25 of 25", "25 of 25"),
    ("classifier", "b"): ("c", "0 of 22", "0 of 22"),
    ("classifier", "d"): ("d", "6 of 22", "6 of 22"),
    ("classifier", "f"): ("f", "22 of 22", "22 of 22"),
    ("reranker", "b"): ("c", "0 of 24", "0 of 24"),
    ("reranker", "d"): ("d", "8 of 24", "8 of 24"),
    ("reranker", "f"): ("f", "24 of 24", "24 of 24"),
}
"""By head and layout: the layout after a load and a save, and the tensors that a resume and load_best restore."""


def letter(path: Path) -> str:
    layout = Subject(open_checkpoint(path)).layout
    return layout.letter if layout is not None else ""


def made(path: Path, head: str, layout: str | None = None) -> Path:
    new(path, release=RELEASES[head], head=head, dtype="F32", **SIZES)  # type: ignore[arg-type]
    if layout is not None:
        convert(path, layout=layout)  # type: ignore[arg-type]
    return path


def model_of(path: Path, head: str) -> Any:
    return getattr(transformers, CLASSES[head]).from_pretrained(path)


@pytest.mark.parametrize("head", CLASSES)
def test_what_is_made_and_converted_by_default_is_what_survives(head: str, tmp_path: Path) -> None:
    usual = "a" if head == "none" else "f"
    path = made(tmp_path / "new", head)
    assert letter(path) == usual
    convert(path, to="remote", out=tmp_path / "remote")
    assert letter(tmp_path / "remote") == ("a" if head == "none" else "b")
    convert(tmp_path / "remote", to="native")
    assert letter(tmp_path / "remote") == usual


@pytest.mark.parametrize(("head", "layout"), SURVIVAL)
def test_a_load_and_a_save_keep_the_names_or_the_finding_says_so_and_is_mended(
    head: str, layout: str, tmp_path: Path
) -> None:
    model_of(made(tmp_path / "made", head, layout), head).save_pretrained(tmp_path / "saved")
    after = SURVIVAL[head, layout][0]
    assert letter(tmp_path / "saved") == after
    found = [each for each in run(open_checkpoint(tmp_path / "saved")).findings if each.code != "GTE212"]
    assert [each.code for each in found] == (["GTE210"] if after == "c" else [])
    if found:
        assert f"`gte-surgery check {tmp_path / 'saved'} --fix` mends it" in found[0].hint
        fix(tmp_path / "saved")
        assert letter(tmp_path / "saved") == "f"


@pytest.mark.long
@pytest.mark.parametrize(("head", "layout"), SURVIVAL)
def test_a_trainer_saves_resumes_and_takes_the_best_as_the_table_says(head: str, layout: str, tmp_path: Path) -> None:
    path = made(tmp_path / "made", head, layout)
    first = trainer(path, head, tmp_path / "runs")
    first.train()
    first.save_model(str(tmp_path / "saved"))
    checkpoint = marked(tmp_path / "runs/checkpoint-2")
    again = trainer(path, head, tmp_path / "runs")
    again.train(resume_from_checkpoint=str(checkpoint))
    for run_, model in enumerate((again.model, best(path, head, tmp_path / "best"))):
        weights = dict(model.named_parameters())
        restored = sum(bool((value == MARK).all()) for value in weights.values())
        assert f"{restored} of {len(weights)}" == SURVIVAL[head, layout][1 + run_]
    assert letter(tmp_path / "saved") == SURVIVAL[head, layout][0]


MARK = 0.125


def marked(checkpoint: Path) -> Path:
    """A checkpoint whose numbers are known again."""
    from safetensors.torch import load_file, save_file

    file = checkpoint / "model.safetensors"
    weights = {name: torch.full_like(value, MARK) for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return checkpoint


def best(path: Path, head: str, runs: Path) -> Any:
    """The model after a training whose best checkpoint was marked while it went on."""

    class Marks(transformers.TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            marked(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    options = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True, "save_total_limit": 5}
    running = trainer(path, head, runs, **options)
    running.add_callback(Marks())
    running.train()
    return running.model


def trainer(path: Path, head: str, runs: Path, **options: Any) -> Any:
    class Squares(transformers.Trainer):
        """A loss of its own for the model that has none."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **others: Any) -> Any:
            if head != "none":
                return super().compute_loss(model, inputs, return_outputs, **others)
            said = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
            loss = said.last_hidden_state.pow(2).mean()
            return (loss, said) if return_outputs else loss

    settings = transformers.TrainingArguments(
        str(runs), max_steps=2, save_steps=1, per_device_train_batch_size=4, use_cpu=True, report_to="none",
        disable_tqdm=True, logging_strategy="no", remove_unused_columns=False, label_names=["labels"], **options,
    )  # fmt: skip
    return Squares(model_of(path, head), settings, train_dataset=rows(head), eval_dataset=rows(head))


def rows(head: str) -> list[dict[str, Any]]:
    ids = [torch.arange(2 + at, 8 + at) for at in range(8)]
    labels = {"classifier": torch.zeros(6, dtype=torch.long), "reranker": torch.tensor(0.5)}
    return [
        {"input_ids": each, "attention_mask": torch.ones_like(each), "labels": labels.get(head, each)} for each in ids
    ]


@pytest.mark.long
@pytest.mark.parametrize(("layout", "after"), [("a", "a"), ("f", "f")])
def test_the_trainer_of_sentence_transformers_restores_all_names(layout: str, after: str, tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    from tests.differential.test_saved_by_sentence_transformers import write_tokenizer

    path = tmp_path / "made"
    new(path, release=RELEASES["none"], head="none", dtype="F32", **{**SIZES, "vocab": 320})  # type: ignore[arg-type]
    write_tokenizer(path)
    convert(path, layout=layout)  # type: ignore[arg-type]
    texts = Dataset.from_dict({"anchor": ["w1 w2", "w3"], "positive": ["w1", "w3 w4"]})

    def running(steps: int) -> Any:
        settings = Arguments(
            str(tmp_path / "runs"), max_steps=steps, save_steps=1, use_cpu=True, report_to="none", disable_tqdm=True,
            logging_strategy="no",
        )  # fmt: skip
        model = SentenceTransformer(modules=[Transformer(str(path)), Pooling(32, "cls")], device="cpu")
        loss = MultipleNegativesRankingLoss(model)
        return SentenceTransformerTrainer(model, settings, train_dataset=texts, loss=loss)

    running(1).train()
    checkpoint = marked(tmp_path / "runs/checkpoint-1")
    assert letter(checkpoint) == after
    again = running(1)
    again.train(resume_from_checkpoint=str(checkpoint))
    assert all((value == MARK).all() for value in again.model.parameters())


def test_the_page_has_this_table() -> None:
    page = read(REFERENCE)
    for (head, layout), (after, resumed, _) in SURVIVAL.items():
        assert f"| {head} | {layout} | {after} | {resumed} |" in page
