"""Adapters that peft wrote: after a surgery of the base they hold, by the new ids, what they held by the old ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from gte_surgery import new, remap, resize  # noqa: E402
from gte_surgery.cli.entry import run  # noqa: E402

KEPT = [0, 9, 5, *range(20, 90), 4]
SIZES: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 128, "pad": 0}


def adapted(tmp_path: Path, **options: Any) -> tuple[Path, Path]:
    """A base, and an adapter below it whose every number is its own."""
    base = new(tmp_path / "base", release="gte-base-en-v1.5", **SIZES).target
    model = peft.get_peft_model(
        transformers.AutoModel.from_pretrained(base),
        peft.LoraConfig(r=4, **{"target_modules": ["q_proj"], **options}),
    )
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    model.save_pretrained(base / "adapter")
    return base, base / "adapter"


def only(tensors: dict[str, Any], part: str) -> Any:
    (found,) = [value for name, value in tensors.items() if part in name]
    return found


def test_a_whole_table_follows_the_map(tmp_path: Path) -> None:
    base, adapter = adapted(tmp_path, modules_to_save=["word_embeddings"])
    before = load_file(adapter / "adapter_model.safetensors")
    told = remap(base, keep=KEPT).plan.meaning
    after = load_file(adapter / "adapter_model.safetensors")
    wanted = only(before, "word_embeddings")[KEPT]
    wanted[0] = 0
    assert torch.equal(only(after, "word_embeddings"), wanted)
    assert torch.equal(only(after, "lora_A"), only(before, "lora_A"))
    assert [sentence for sentence in told if "adapter_model" in sentence] == [
        "adapter/adapter_model.safetensors, an adapter, follows: rows of the vocabulary in 1 tensor"
    ]


def test_columns_of_ids_follow_the_map(tmp_path: Path) -> None:
    base, adapter = adapted(tmp_path, target_modules=["word_embeddings"])
    before = load_file(adapter / "adapter_model.safetensors")
    remap(base, keep=KEPT)
    after = load_file(adapter / "adapter_model.safetensors")
    assert torch.equal(only(after, "lora_embedding_A"), only(before, "lora_embedding_A")[:, KEPT])
    assert torch.equal(only(after, "lora_embedding_B"), only(before, "lora_embedding_B"))


def test_columns_of_rows_that_count_as_new_are_zero(tmp_path: Path) -> None:
    base, adapter = adapted(tmp_path, target_modules=["word_embeddings"])
    before = only(load_file(adapter / "adapter_model.safetensors"), "lora_embedding_A")
    rows = before.shape[1]
    resize(base, vocab=rows + 2, pad=1, new_from=rows - 3)
    after = only(load_file(adapter / "adapter_model.safetensors"), "lora_embedding_A")
    assert torch.equal(after[:, : rows - 3], before[:, : rows - 3])
    assert after.shape[1] == rows + 2
    assert not after[:, rows - 3 :].any()


@pytest.mark.parametrize("is_named", [False, True])
def test_rows_of_some_ids_follow_with_their_indices(tmp_path: Path, is_named: bool) -> None:
    ids = [5, 6, 9, 50]
    base, adapter = adapted(tmp_path, trainable_token_indices={"word_embeddings": ids} if is_named else ids)
    before = load_file(adapter / "adapter_model.safetensors")
    remap(base, keep=KEPT)
    after = load_file(adapter / "adapter_model.safetensors")
    wanted = [KEPT.index(old) for old in (5, 9, 50)]
    found = json.loads((adapter / "adapter_config.json").read_text())["trainable_token_indices"]
    assert found == ({"word_embeddings": wanted} if is_named else wanted)
    assert torch.equal(only(after, "delta"), only(before, "delta")[[0, 2, 3]])


def test_peft_loads_what_followed(tmp_path: Path) -> None:
    base, adapter = adapted(tmp_path, modules_to_save=["word_embeddings"])
    ids, mask = torch.tensor([[5, 9, 20, 88]]), torch.ones(1, 4, dtype=torch.long)

    def states(tokens: Any) -> Any:
        model = peft.PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(base), adapter).eval()
        with torch.no_grad():
            return model(input_ids=tokens, attention_mask=mask).last_hidden_state

    before = states(ids)
    remap(base, keep=KEPT)
    assert torch.equal(states(torch.tensor([[KEPT.index(int(old)) for old in ids[0]]])), before)


WHOLE = "holds 128 rows of the vocabulary, which fits the base's 128 rows"
FITS = {
    "whole": ({"modules_to_save": ["word_embeddings"]}, WHOLE),
    "columns": ({"target_modules": ["word_embeddings"]}, WHOLE),
    "ids": ({"trainable_token_indices": [5, 120]}, WHOLE.replace("128 rows of", "rows of 2 ids of")),
    "none": ({}, "holds nothing of the vocabulary, so any size of the base's fits"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "fit"), FITS.values(), ids=FITS)
def test_an_adapter_says_what_it_is_and_whether_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], fit: str
) -> None:
    base, adapter = adapted(tmp_path, **options)
    on = "word_embeddings" if "target_modules" in options else "q_proj"
    assert run(["inspect", str(adapter)]) == 0
    told = capsys.readouterr().out
    assert f"LORA of rank 4 on {on}, " in told
    assert f"parameters, of the base {base}" in told
    assert fit in told
    assert run(["inspect", str(base)]) == 0
    assert fit in capsys.readouterr().out, "beside its base too"
    assert run(["check", str(adapter)]) == 1
    assert f"an adapter of PEFT, no whole model: LORA of rank 4 on {on}" in capsys.readouterr().out
    assert run(["resize", str(adapter), "--vocab", "90", "--pad", "0"]) == 3
    assert "an adapter of PEFT, no whole model: LORA" in capsys.readouterr().err
    moved = adapter.rename(tmp_path / "away")
    resize(base, vocab=100, pad=0)
    assert run(["inspect", str(moved), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["adapter"]
    assert bool(found["misfit"]) is (options != {})
    assert found["base_rows"] == 100


def test_an_adapter_of_another_vocabulary_is_named_and_stays(tmp_path: Path) -> None:
    base, adapter = adapted(tmp_path, modules_to_save=["word_embeddings"])
    resize(base, vocab=100, pad=0)
    kept = (adapter / "adapter_model.safetensors").read_bytes()
    moved = adapter.rename(tmp_path / "away")
    resize(base, vocab=90, pad=0)
    moved.rename(adapter)
    told = resize(base, vocab=80, pad=0).plan.meaning
    assert any("does not fit this base and stays so" in sentence for sentence in told)
    assert (adapter / "adapter_model.safetensors").read_bytes() == kept
