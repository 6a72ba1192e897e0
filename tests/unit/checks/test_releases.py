"""The published releases, faithfully written in full size, get notes only; a rope that was lost is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Finding, Severity
from tests.builder import ABSENT, Config, change_config, remote_config, write_sidecars, write_sparse

BASE: Config = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
LARGE: Config = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
MULTILINGUAL: Config = {"vocab_size": 250048, "pad_token_id": 1, "type_vocab_size": 1}
ENGLISH: Config = {"vocab_size": 30528, "pad_token_id": 0, "type_vocab_size": 0}
ONE_LABEL: Config = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
RELEASES: dict[str, tuple[Config, float, float | None, str, str]] = {
    "gte-multilingual-base": (
        {**BASE, **MULTILINGUAL, **ONE_LABEL, "architectures": ["NewModel", "NewForTokenClassification"]},
        20000, 8.0, "classifier", "F16",
    ),
    "gte-base-en-v1.5": ({**BASE, **ENGLISH}, 500000, 2.0, "none", "F32"),
    "gte-large-en-v1.5": ({**LARGE, **ENGLISH, "type_vocab_size": 2}, 160000, 2.0, "none", "F32"),
    "gte-multilingual-mlm-base": (
        {**BASE, **MULTILINGUAL, "architectures": ["NewForMaskedLM"]}, 160000, None, "mlm", "F16",
    ),
    "gte-en-mlm-base": ({**BASE, **ENGLISH, "architectures": ["NewForMaskedLM"]}, 500000, None, "mlm", "F32"),
    "gte-en-mlm-large": (
        {**LARGE, **ENGLISH, "type_vocab_size": 2, "architectures": ["NewForMaskedLM"]}, 160000, None, "mlm", "F16",
    ),
    "gte-multilingual-reranker-base": (
        {**BASE, **MULTILINGUAL, **ONE_LABEL, "architectures": ["NewForSequenceClassification"]},
        20000, 8.0, "reranker", "F16",
    ),
    "snowflake-arctic-embed-m-v2.0": (
        {**BASE, **MULTILINGUAL, "model_type": "gte", "architectures": ["GteModel"],
         "unpad_inputs": "true", "use_memory_efficient_attention": "true"},
        160000, None, "none", "F32",
    ),
}  # fmt: skip


def write_release(path: Path, name: str) -> Path:
    """The release as published: config from its table of sizes, weights of the right shapes and all zero."""
    config, theta, factor, head, dtype = RELEASES[name]
    scaling = None if factor is None else {"type": "ntk", "factor": factor}
    stated = {"F16": "float16", "F32": "float32"}[dtype]
    whole = remote_config(
        **config
        | {"rope_theta": theta, "rope_scaling": scaling, "max_position_embeddings": 8192, "torch_dtype": stated},
        dtype=ABSENT,
    )
    return write_sparse(path, whole, head, dtype)


def go_native(path: Path, rope: object, **changes: object) -> None:
    """Make the config native, keeping the riding keys, with these rope_parameters."""
    gone = {"rope_theta": ABSENT, "rope_scaling": ABSENT, "architectures": ["GteModel"]}
    change_config(path, **{"model_type": "gte", **gone, "rope_parameters": rope, **changes})


def grave(path: Path) -> list[Finding]:
    report = run(open_checkpoint(path))
    assert report.skipped == () or any(finding.severity is Severity.ERROR for finding in report.findings)
    return [finding for finding in report.findings if finding.severity > Severity.NOTE]


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_gets_notes_only(tmp_path: Path, name: str) -> None:
    codes = {finding.code for finding in grave(write_release(tmp_path, name))}
    assert codes == ({"GTE104"} if name.startswith("snowflake") else set())


@pytest.mark.parametrize("name", RELEASES)
def test_the_files_beside_a_release_get_no_finding(tmp_path: Path, name: str) -> None:
    config = RELEASES[name][0]
    is_multilingual = config["vocab_size"] == 250048
    ids, pad, mask = (250002, 1, 250001) if is_multilingual else (30522, 0, 103)
    before = [finding.code for finding in run(open_checkpoint(write_release(tmp_path, name))).findings]
    width = config["hidden_size"]
    assert isinstance(width, int)
    write_sidecars(tmp_path, ids, width, 8192, pad, mask)
    assert [finding.code for finding in run(open_checkpoint(tmp_path)).findings] == before


def test_the_tokenizer_that_stayed_when_the_vocabulary_shrank_is_an_error(tmp_path: Path) -> None:
    write_sidecars(write_release(tmp_path, "gte-multilingual-base"), 250002, 768, 8192, 1, 250001)
    small = {**RELEASES["gte-multilingual-base"][0], "vocab_size": 32000, "max_position_embeddings": 8192}
    write_sparse(tmp_path, remote_config(**{**small, "dtype": "float16"}), "classifier", "F16")
    finding = next(finding for finding in grave(tmp_path) if finding.code == "GTE301")
    assert finding.message == "makes ids up to 250,001, vocab_size 32,000 has rows up to 31,999"


AS_PUBLISHED = {
    "transformers5": {"GTE600"},
    "transformers4": set(),
    "vllm": {"GTE620"},
    "tei": set(),
    "sentence-transformers": set(),
}


@pytest.mark.parametrize("name", RELEASES)
def test_programs_read_a_release_as_the_facts_say(tmp_path: Path, name: str) -> None:
    write_sidecars(write_release(tmp_path, name), 30522, int(str(RELEASES[name][0]["hidden_size"])), 8192)
    change_config(tmp_path, auto_map={"AutoConfig": "a/b--c.C", "AutoModel": "a/b--m.M"})
    for program, wanted in AS_PUBLISHED.items():
        codes = {f.code for f in run(open_checkpoint(tmp_path), consumers=[program]).findings if f.code > "GTE6"}
        is_snowflake, is_masked_lm = name.startswith("snowflake"), RELEASES[name][3] == "mlm"
        expected = set() if is_snowflake and program in ("transformers5", "vllm") else wanted
        more = {"GTE624"} if program == "vllm" and is_masked_lm else set()
        more |= {"GTE650"} if program == "tei" and name == "gte-multilingual-base" else set()
        assert codes == expected | more, program


@pytest.mark.parametrize("name", ["gte-base-en-v1.5", "gte-large-en-v1.5"])
def test_a_faithful_conversion_is_not_mistaken_for_a_lost_rope(tmp_path: Path, name: str) -> None:
    theta = RELEASES[name][1]
    write_release(tmp_path, name)
    rope = {"rope_type": "linear", "rope_theta": 2.0 * theta, "factor": 1.0218971486541166}
    go_native(tmp_path, rope)
    assert grave(tmp_path) == []


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 20000.0},
        {"rope_type": "linear", "rope_theta": 20000.0, "factor": 8.0},
        {"rope_type": "yarn", "rope_theta": 20000.0, "factor": 8.0},
        {"rope_type": "default", "rope_theta": 10000.0},
    ],
    ids=["theta without its factor", "linear with ntk's factor", "yarn", "default theta"],
)
def test_a_rope_that_no_release_of_this_shape_has_is_a_warning(tmp_path: Path, rope: object) -> None:
    go_native(write_release(tmp_path, "gte-base-en-v1.5"), rope)
    findings = grave(tmp_path)
    assert [(finding.code, finding.severity) for finding in findings] == [("GTE125", Severity.WARNING)]
    assert "ntk factor 2 (gte-base-en-v1.5)" in findings[0].message
    assert "1.0218971486541166" in findings[0].hint


def test_a_remote_rope_that_no_release_has_is_a_warning_too(tmp_path: Path) -> None:
    change_config(write_release(tmp_path, "gte-base-en-v1.5"), rope_scaling=None, rope_theta=10000)
    assert [finding.code for finding in grave(tmp_path)] == ["GTE125"]


def test_another_vocabulary_does_not_hide_a_lost_rope_nor_invent_one(tmp_path: Path) -> None:
    small = {**BASE, "vocab_size": 32000, "max_position_embeddings": 8192, "architectures": ["GteModel"]}
    write_sparse(tmp_path, remote_config(**small), "none", "F16")
    change_config(tmp_path, dtype="float16")
    assert grave(tmp_path) == []
    go_native(tmp_path, {"rope_type": "default", "rope_theta": 20000.0})
    assert [finding.code for finding in grave(tmp_path)] == ["GTE125"]


@pytest.mark.parametrize("digits", range(4, 10))
def test_a_rounded_factor_is_an_error_that_gives_all_digits(tmp_path: Path, digits: int) -> None:
    go_native(
        write_release(tmp_path, "gte-multilingual-base"),
        {"rope_type": "linear", "rope_theta": 160000.0, "factor": round(1.0671404006768237, digits)},
        architectures=["GteForTokenClassification"],
    )
    findings = grave(tmp_path)
    assert [(finding.code, finding.severity) for finding in findings] == [("GTE123", Severity.ERROR)]
    assert "1.0671404006768237" in findings[0].hint


def test_a_missing_rope_is_an_error_that_gives_what_was_trained(tmp_path: Path) -> None:
    go_native(write_release(tmp_path, "gte-multilingual-base"), ABSENT, architectures=["GteForTokenClassification"])
    findings = grave(tmp_path)
    assert [finding.code for finding in findings] == ["GTE120"]
    assert '"factor": 1.0671404006768237' in findings[0].hint
    assert '"rope_theta": 160000.0' in findings[0].hint
