"""The schemas are sound, say what they mean, fit what the tool itself writes, and word departures well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gte_surgery.errors import UsageError
from gte_surgery.findings import Finding, Location, Report, Severity, SkippedRule
from gte_surgery.gte import schemas
from gte_surgery.gte.schemas import Violation, load, names, violations
from gte_surgery.render.formats.report import report_json

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
FLAG_HINT = "write true or false without quotes; Python takes every string but the empty one for true"
RECEIPT: dict[str, object] = {
    "tool": "gte-surgery 0.1.0",
    "time": "2026-01-31T12:00:00Z",
    "command": "resize",
    "edits": {"vocab": 160, "pad": 0},
    "seed": 0,
    "sources": [{"name": "model.safetensors", "size": 10, "header": "sha256:" + "a" * 64}],
    "written": [
        {"name": "model.safetensors", "size": 8, "header": "sha256:" + "b" * 64, "sha256": "c" * 64},
        {"name": "config.json", "size": 5},
    ],
    "removed": ["tokenizer.json"],
}
PLAN: dict[str, object] = {
    "command": "resize",
    "source": "ckpt",
    "edits": {},
    "seed": None,
    "changes": [{"key": "vocab_size", "before": 256, "after": 160}],
    "meaning": ["row 0 becomes zero"],
    "files": [
        {
            "name": "model.safetensors",
            "nbytes": 12,
            "tensors": [
                {
                    "name": "x",
                    "dtype": "F32",
                    "shape": [1],
                    "nbytes": 4,
                    "pieces": [{"nbytes": 4, "does": "1 zeros"}],
                }
            ],
        }
    ],
    "removed": [],
    "nbytes": 12,
    "target": "ckpt",
    "receipt": None,
}


def native(**keys: object) -> list[Violation]:
    return violations({"model_type": "gte", **keys}, "config.native")


def remote(**keys: object) -> list[Violation]:
    return violations({"model_type": "new", **keys}, "config.remote")


def test_the_schemas_are_those_of_the_folder() -> None:
    assert list(names()) == sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.iterdir())
    assert {"config.native", "config.remote", "index", "plan", "receipt", "report"} <= set(names())
    with pytest.raises(UsageError, match="schema: 'nothing', is not known"):
        load("nothing")


@pytest.mark.parametrize("name", names())
def test_a_schema_is_sound_and_names_itself(name: str) -> None:
    schema: dict[str, Any] = load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:gte-surgery:schema:{name}"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]


def test_a_schema_that_is_printed_needs_no_other() -> None:
    for name, value in (("plan", {**PLAN, "receipt": RECEIPT}), ("receipt", {"receipts": [RECEIPT]})):
        Draft202012Validator(load(name)).validate(value)  # which asks for nothing but what the schema holds
    assert not Draft202012Validator(load("plan")).is_valid({**PLAN, "receipt": {**RECEIPT, "tool": 1}})


def properties(schema: object, place: str = "") -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from ((f"{place}/{name}", each) for name, each in value.items())
            yield from properties(value, f"{place}/{key}")


@pytest.mark.parametrize("name", names())
def test_every_property_is_described(name: str) -> None:
    assert [place for place, each in properties(load(name)) if not each.get("description")] == []


@pytest.mark.parametrize("checkpoint", ["legacy-multilingual", "legacy-mlm", "legacy-absolute", "legacy-mixed-ntk"])
def test_golden_configs_fit(golden: Path, checkpoint: str) -> None:
    assert violations(json.loads((golden / checkpoint / "config.json").read_text()), "config.remote") == []


def test_the_snowflake_config_departs_in_its_two_string_flags_alone(golden: Path) -> None:
    config = json.loads((golden / "snowflake-m-v2" / "config.json").read_text())
    assert violations(config, "config.remote") == [
        Violation(f"/{flag}", '"true", must be true or false', FLAG_HINT)
        for flag in ("unpad_inputs", "use_memory_efficient_attention")
    ]


def test_unknown_keys_are_allowed() -> None:
    assert native(my_own_key={"a": [1]}) == []
    assert remote(my_own_key=None) == []


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("vocab_size", -5, "-5, must be at least 1", ""),
        ("vocab_size", 1000.0, "1000.0, must be an integer", "write 1000, without a fraction"),
        ("vocab_size", 1000.5, "1000.5, must be an integer", ""),
        ("vocab_size", True, "true, must be an integer", ""),
        ("vocab_size", "256", '"256", must be an integer', "write it without quotes"),
        ("vocab_size", None, "null, must be an integer", ""),
        ("pad_token_id", [0], "[0], must be an integer or null", ""),
        ("initializer_range", "small", '"small", must be a number', ""),
        ("hidden_dropout_prob", 1.5, "1.5, must be at most 1", ""),
        ("tie_word_embeddings", "false", '"false", must be true or false', FLAG_HINT),
        ("rope_theta", 0, "0, must be above 0", ""),
        ("dtype", "fp16", '"fp16", must be "float64", "float32", "float16", "bfloat16" or null', ""),
        ("hidden_act", ["x" * 100], '["' + "x" * 58 + "…, must be a string", ""),
    ],
)
def test_a_departure_says_what_was_found_and_what_was_wanted(key: str, value: object, message: str, hint: str) -> None:
    assert native(**{key: value}) == [Violation(f"/{key}", message, hint)]


def test_pointers_lead_into_nested_values() -> None:
    found = remote(rope_scaling={"type": "linear", "factor": 0}, id2label={"0": 1, "a/~b": "x"})
    assert [(violation.pointer, violation.message) for violation in found] == [
        ("/id2label", '"a/~b", must match "^[0-9]+$"'),
        ("/id2label/0", "1, must be a string"),
        ("/rope_scaling/factor", "0, must be above 0"),
        ("/rope_scaling/type", '"linear", must be "ntk"'),
    ]
    assert native(label2id={"a/~b": "x"})[0].pointer == "/label2id/a~1~0b"


def test_a_missing_key_is_pointed_at() -> None:
    assert remote(rope_scaling={"type": "ntk"}) == [Violation("/rope_scaling/factor", "missing, must be present")]
    assert violations({}, "config.native") == [Violation("/model_type", "missing, must be present")]
    assert violations([], "config.native") == [Violation("", "[], must be an object")]


def test_an_index_names_files_and_carries_metadata() -> None:
    sound = {"metadata": {"total_size": 4}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    assert violations(sound, "index") == []
    assert violations({"weight_map": {}, "metadata": {"total_size": 4.0}}, "index") == [
        Violation("/metadata/total_size", "4.0, must be an integer", "write 4, without a fraction"),
        Violation("/weight_map", "{}, must not be empty"),
    ]
    assert [violation.pointer for violation in violations({"weight_map": {"a/b": ""}}, "index")] == [
        "/metadata",
        "/weight_map/a~1b",
    ]


def test_the_report_schema_fits_what_check_prints() -> None:
    report = Report(
        "ckpt",
        (
            Finding("GTE101", Severity.ERROR, Location("config.json", 3, 1, "/model_type"), "found, wanted", "do"),
            Finding("GTE201", Severity.NOTE, Location(tensor="x"), "missing"),
        ),
        (SkippedRule("GTE202", ("GTE101",)),),
        ("GTE101", "GTE201", "GTE202"),
    )
    assert violations(json.loads(report_json(report)), "report") == []
    assert violations({}, "report") != []


def test_receipts_fit_and_broken_ones_do_not() -> None:
    assert violations({"receipts": [RECEIPT]}, "receipt") == []
    broken = {**RECEIPT, "time": "yesterday", "sources": [{"name": "x", "size": -1, "header": "sha256:0"}]}
    assert [violation.pointer for violation in violations({"receipts": [broken]}, "receipt")] == [
        "/receipts/0/sources/0/header",
        "/receipts/0/sources/0/size",
        "/receipts/0/time",
    ]


def test_a_plan_carries_a_receipt_or_null() -> None:
    assert violations(PLAN, "plan") == []
    assert violations({**PLAN, "receipt": RECEIPT}, "plan") == []
    assert [violation.pointer for violation in violations({**PLAN, "receipt": {**RECEIPT, "tool": 1}}, "plan")] == [
        "/receipt/tool"
    ]


def test_an_unknown_schema_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError) as raised:
        load("nothing")
    assert raised.value.hint == f"known schemas: {', '.join(names())}"


def test_an_installed_package_brings_its_own_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "gte_surgery" / "gte" / "schemas.py"
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "source.schema.json").write_text('{"title": "Ω"}', encoding="utf-8")
    monkeypatch.setattr(schemas, "__file__", str(module))
    assert (names(), load("source")) == (("source",), {"title": "Ω"})
    (tmp_path / "gte_surgery" / "schemas").mkdir(parents=True)
    (tmp_path / "gte_surgery" / "schemas" / "wheel.schema.json").write_text("{}")
    assert (names(), load("wheel")) == (("wheel",), {})


@pytest.mark.parametrize(
    ("text", "hint"), [("+12", "write it without quotes"), ("-3", "write it without quotes"), ("1-2", ""), ("X12", "")]
)
def test_a_number_in_quotes_is_told_to_lose_them(text: str, hint: str) -> None:
    assert native(vocab_size=text) == [Violation("/vocab_size", f'"{text}", must be an integer', hint)]


def test_what_jsonschema_words_itself_is_pointed_at_too() -> None:
    found = violations(
        {"vocab_size": 8, "pad_token_id": 0, "type_vocab_size": 1, "max_length": 4, "own": 1}, "contract"
    )
    assert Violation("", "Additional properties are not allowed ('own' was unexpected)") in found


@pytest.mark.parametrize(
    ("at_least", "wanted"), [(1, "must not be empty"), (2, "must have a length of at least 2")], ids=str
)
@pytest.mark.parametrize(("keyword", "value"), [("minItems", []), ("minLength", ""), ("minProperties", {})])
def test_too_short_is_empty_only_where_one_would_do(
    keyword: str, value: object, at_least: int, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "short.schema.json").write_text(
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", keyword: at_least})
    )
    monkeypatch.setattr(schemas, "__file__", str(tmp_path / "gte_surgery" / "gte" / "schemas.py"))
    schemas._validator.cache_clear()
    found = violations(value, "short")
    schemas._validator.cache_clear()
    assert found == [Violation("", f"{json.dumps(value)}, {wanted}")]
