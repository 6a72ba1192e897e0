"""What sentence-transformers 6.2 saves is judged clean, and what a surgery makes of it loads there again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gte_surgery import convert, fix, new, resize, trim
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from tests.builder import nest, write_json

pytest.importorskip("sentence_transformers")
SIZES = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 320, "pad": 1, "max_positions": 64}
TEXTS = ["w1 w2 w3", "w4 w5 w6"]


def grave(path: Path) -> list[str]:
    findings = run(open_checkpoint(path), consumers=("sentence-transformers", "transformers5")).findings
    return [str(finding) for finding in findings if finding.severity > Severity.NOTE]


def write_tokenizer(path: Path) -> None:
    """A tokenizer of 300 words as transformers saves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(296))]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 2)]
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    special = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **special).save_pretrained(str(path))


def fresh(path: Path, head: str) -> Path:
    """A native checkpoint with a tokenizer."""
    release = {"none": "gte-multilingual-base", "mlm": "gte-multilingual-mlm-base"}
    new(path, release=release.get(head, "gte-multilingual-reranker-base"), head=head, dtype="F32", **SIZES)
    write_tokenizer(path)
    return path


Encode = Callable[[Path], Any]


def follows(path: Path, encode: Encode, layout: str) -> None:
    """A save is clean, and encodes as before once it was resized, renamed, sharded, trimmed to its texts."""
    import numpy as np

    before = encode(path)
    texts = path.with_name("texts.txt")
    texts.write_text("".join(f"{text}\n" for text in TEXTS))
    surgeries: dict[str, Callable[[], object]] = {
        "saved": lambda: None,
        "resized": lambda: resize(path, vocab=384, pad=1),
        "renamed": lambda: convert(path, layout=layout),  # type: ignore[arg-type]
        "in shards": lambda: convert(path, shard_size=20_000),
        "trimmed": lambda: trim(path, texts=texts, round_to=64),
    }
    for name, operate in surgeries.items():
        operate()
        assert grave(path) == [], name
        assert np.array_equal(encode(path), before), name
    assert json.loads((path / "config.json").read_text())["vocab_size"] < 100
    convert(path, dtype="BF16")
    assert np.allclose(encode(path), before, atol=0.05)


def embedder(path: Path) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    source = fresh(path.with_name("source"), "none")
    modules = [Transformer(str(source)), Pooling(32, "cls"), Dense(32, 16), Normalize()]
    SentenceTransformer(modules=modules).save_pretrained(str(path))
    return path


def test_an_embedder_is_clean_and_follows_surgeries(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    follows(embedder(tmp_path / "st"), lambda path: SentenceTransformer(str(path)).encode(TEXTS), "f")


@pytest.mark.parametrize(("release", "mode"), [("gte-base", "mean"), ("gte-modernbert-base", "cls")])
def test_an_embedder_of_another_family_is_clean_pools_as_load_encoder_does_and_follows_a_resize(
    tmp_path: Path, release: str, mode: str
) -> None:
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    from gte_surgery import load_encoder

    source = new(tmp_path / "source", release=release, dtype="F32", **SIZES).target
    write_tokenizer(source)
    path = tmp_path / "st"
    model = SentenceTransformer(modules=[Transformer(str(source)), Pooling(32, mode)])
    model.save_pretrained(str(path))
    assert grave(path) == []
    before = model.encode(TEXTS, normalize_embeddings=True)
    batch = {key: value for key, value in model.preprocess(TEXTS).items() if key in ("input_ids", "attention_mask")}
    ours = load_encoder(path, device="cpu", dtype="float32", attention="eager").embed(batch)
    assert np.abs(ours.detach().numpy() - before).max() < 1e-5
    resize(path, vocab=384, pad=1)
    assert grave(path) == []
    assert np.array_equal(SentenceTransformer(str(path)).encode(TEXTS, normalize_embeddings=True), before)
    (path / "modules.json").unlink()
    assert any("modules.json" in told for told in grave(path)) is (mode == "cls")


def test_a_reranker_of_another_family_is_clean(tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    source = new(tmp_path / "source", release="gte-reranker-modernbert-base", dtype="F32", **SIZES).target
    write_tokenizer(source)
    CrossEncoder(str(source)).save_pretrained(str(tmp_path / "ce"))
    assert grave(tmp_path / "ce") == []


def test_the_older_spelling_of_a_pooling_and_the_older_layout_give_the_same_vectors(tmp_path: Path) -> None:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    path = embedder(tmp_path / "st")
    before = SentenceTransformer(str(path)).encode(TEXTS)
    fix(path, codes=("GTE638", "GTE639"), consumers=("tei",))
    assert "word_embedding_dimension" in json.loads((path / "1_Pooling/config.json").read_text())
    assert "max_seq_length" in json.loads((path / "sentence_bert_config.json").read_text())
    assert grave(path) == []
    assert np.array_equal(SentenceTransformer(str(path)).encode(TEXTS), before)
    (path / "gte-surgery.json").unlink()
    assert grave(nest(path)) == []
    assert np.array_equal(SentenceTransformer(str(path)).encode(TEXTS), before)


def test_layers_before_and_behind_the_pooling_are_clean(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Pooling, Transformer

    source = Transformer(str(fresh(tmp_path / "source", "none")))
    saves = {
        "no bias, a residual": [Pooling(32, "cls"), Dense(32, 16, bias=False, use_residual=True)],
        "a residual as wide, a norm": [Pooling(32, "cls"), Dense(32, 32, use_residual=True), LayerNorm(32)],
        "two layers": [Pooling(32, "cls"), Dense(32, 16), Dense(16, 8)],
        "tokens first": [Dense(32, 16, module_input_name="token_embeddings"), Pooling(16, "cls")],
    }
    for name, behind in saves.items():
        SentenceTransformer(modules=[source, *behind]).save_pretrained(str(tmp_path / name))
        assert grave(tmp_path / name) == [], name


@pytest.mark.parametrize("settings", [{"in_features": 64}, {"out_features": 8}])
def test_a_dense_layer_that_does_not_fit_is_found_and_stops_the_program(
    tmp_path: Path, settings: dict[str, int]
) -> None:
    from sentence_transformers import SentenceTransformer

    path = embedder(tmp_path / "st")
    found = json.loads((path / "2_Dense/config.json").read_text())
    (path / "2_Dense/config.json").write_text(json.dumps(found | settings))
    assert "GTE314" in " ".join(f"{finding.code}" for finding in run(open_checkpoint(path)).findings)
    with pytest.raises(RuntimeError):
        SentenceTransformer(str(path))


def test_a_cross_encoder_is_clean_and_follows_surgeries(tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    pairs = [("w1 w2", "w3"), ("w4", "w5 w6")]
    CrossEncoder(str(fresh(tmp_path / "source", "reranker"))).save_pretrained(str(tmp_path / "ce"))
    follows(tmp_path / "ce", lambda path: CrossEncoder(str(path)).predict(pairs), "b")


@pytest.mark.slow
def test_a_sparse_encoder_is_clean_and_follows_surgeries(tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    SparseEncoder(str(fresh(tmp_path / "source", "mlm"))).save_pretrained(str(tmp_path / "se"))

    def encode(path: Path) -> Any:
        """The scores of the words that a trim keeps: there is one a token."""
        model = SparseEncoder(str(path))
        scores = model.encode(TEXTS, convert_to_sparse_tensor=False).float().numpy()
        return scores[:, model.tokenizer.convert_tokens_to_ids(["w1", "w2", "w3", "w4", "w5", "w6"])]

    follows(tmp_path / "se", encode, "d")


DAMAGES: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "a class of nobody's": ("modules.json", lambda found: found[1].update(type="my_pkg.Pooling"), "GTE641"),
    "a module without a name": ("modules.json", lambda found: found[0].pop("name"), "GTE641"),
    "a module without a path": ("modules.json", lambda found: found[1].pop("path"), "GTE641"),
    "a module without a class": ("modules.json", lambda found: found[0].pop("type"), "GTE641"),
    "modules the other way round": ("modules.json", lambda found: found.reverse(), "GTE641"),
    "a pooling with more members": ("1_Pooling/config.json", lambda found: found.update(foo=1), "GTE645"),
    "a length in quotes": ("sentence_bert_config.json", lambda found: found.update(max_seq_length="64"), "GTE645"),
    "a member of no module": ("sentence_bert_config.json", lambda found: found.update(nonsense=3), "GTE645"),
    "the task of another save": (
        "sentence_bert_config.json", lambda found: found.update(transformer_task="fill-mask"), "GTE645"
    ),
    "a prompt that is not there": (
        "config_sentence_transformers.json", lambda found: found.update(default_prompt_name="q", prompts={}), "GTE645"
    ),
    "a dense layer without a width": ("2_Dense/config.json", lambda found: found.pop("out_features"), "GTE314"),
}  # fmt: skip
SPELLINGS = ("1_Pooling/", "./1_Pooling", "1_Pooling/.", ".//1_Pooling")


def embedder_with_dense(path: Path) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

    parts = [Transformer(str(fresh(path.with_name("source"), "none"))), Pooling(32, "cls"), Dense(32, 16)]
    SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(path))
    return path


def encoded(path: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path), device="cpu").encode(TEXTS)


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_sentence_transformers_stops_there_is_an_error(tmp_path: Path, damage: str) -> None:
    path = embedder_with_dense(tmp_path / "save")
    assert grave(path) == []
    name, change, code = DAMAGES[damage]
    settings = json.loads((path / name).read_text())
    change(settings)
    (path / name).write_text(json.dumps(settings))
    with pytest.raises(Exception):  # noqa: B017 - each of these stops it in its own way
        encoded(path)
    found = run(open_checkpoint(path), consumers=("sentence-transformers",)).findings
    assert code in {finding.code for finding in found if finding.severity is Severity.ERROR}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_folder_may_be_spelled_as_paths_are(tmp_path: Path, spelling: str) -> None:
    import numpy as np

    path = embedder_with_dense(tmp_path / "save")
    before = encoded(path)
    listed = json.loads((path / "modules.json").read_text())
    listed[1]["path"] = spelling
    (path / "modules.json").write_text(json.dumps(listed))
    assert np.array_equal(encoded(path), before)
    assert grave(path) == []


ACTIVATIONS = {
    "torch.nn.modules.activation.GELU": "GELU",
    "torch.nn.Identity": "Identity",
    "torch.nn.modules.linear.Identity": "Identity",
    "torch.nn.modules.linear.Tanh": "ImportError",
    "torch.nn.modules.activation.Swish": "ImportError",
    "torch.nn.functional.gelu": "ValueError",
    "torch.nn.Threshold": "TypeError",
    "os.getcwd": "Tanh",
}
"""What becomes of the activation that a dense layer names."""


@pytest.mark.parametrize("named", ACTIVATIONS)
def test_an_activation_is_told_where_another_is_taken_or_none_can_be(tmp_path: Path, named: str) -> None:
    from sentence_transformers import SentenceTransformer

    path = embedder(tmp_path / "st")
    file = path / "2_Dense/config.json"
    write_json(file, json.loads(file.read_text()) | {"activation_function": named})
    try:
        found = type(SentenceTransformer(str(path), device="cpu")[2].activation_function).__name__
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        found = type(error).__name__
    told = [each.code for each in run(open_checkpoint(path)).findings if each.severity > Severity.NOTE]
    assert told == ([] if named.endswith(f".{found}") else ["GTE319"])
    assert found == ACTIVATIONS[named]
