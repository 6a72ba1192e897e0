"""The table of damages once more, for BERT and ModernBERT: what is broken in a small checkpoint of theirs is found."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.cli import entry
from gte_surgery.findings import Severity
from gte_surgery.gte.families import releases
from gte_surgery.surgery.verbs import resize
from tests.builder import ABSENT, change_config, write_json, write_sidecars
from tests.golden.test_families import FOLDER, NAMES
from tests.unit.checks.test_damage import CONFIG_DAMAGES, FOREIGN, NATIVE_DAMAGES, TYPES, WORDS
from tests.unit.checks.test_damage_beside import BIAS, NORM, SIDECAR_DAMAGES, VALUE_DAMAGES
from tests.unit.checks.test_damage_beside import QKV as BESIDE_QKV

Arrays = dict[str, np.ndarray]  # type: ignore[type-arg]
Array = np.ndarray  # type: ignore[type-arg]
FAMILIES = ("bert-base", "modernbert-base")
GATED = "encoder.layer.0.mlp.up_gate_proj.weight"
ALL = []
for _name in NAMES:
    with safe_open(FOLDER / _name / "model.safetensors", "np") as _file:
        ALL += [(_name, tensor) for tensor in _file.keys()]  # noqa: SIM118
each_tensor = pytest.mark.parametrize(("base", "name"), ALL)
UNREAD = ("pooler.dense.weight", "pooler.dense.bias")
"""The pooler of a bare BERT may be absent."""


def found(path: Path, **options: object) -> set[str]:
    """The codes of errors and warnings, but for the rows of 256, which is no multiple of anything wrong here."""
    report = run(open_checkpoint(path), **options)  # type: ignore[arg-type]
    return {finding.code for finding in report.findings if finding.severity > Severity.NOTE}


def damaged(
    tmp_path: Path, base: str, change: Callable[[Arrays], object] = lambda arrays: None, **members: object
) -> Path:
    """A copy with changed tensors and members of config.json; a member of None goes."""
    place = tmp_path / base
    shutil.copytree(FOLDER / base, place, ignore=shutil.ignore_patterns("reference.safetensors"))
    arrays = load_file(place / "model.safetensors")
    change(arrays)
    save_file(arrays, place / "model.safetensors", metadata={"format": "pt"})
    values = json.loads((place / "config.json").read_text()) | members
    values = {key: value for key, value in values.items() if value is not None or key not in members}
    (place / "config.json").write_text(json.dumps(values, indent=2))
    return place


@each_tensor
def test_a_tensor_that_is_missing(tmp_path: Path, base: str, name: str) -> None:
    codes = found(damaged(tmp_path, base, lambda arrays: arrays.pop(name)))
    if name in UNREAD:
        assert codes == set()
    elif "token_type" in name:
        assert codes == {"GTE220"}
    elif "embeddings.weight" in name and "position" not in name:
        assert codes == {"GTE200"}
    else:
        assert codes & {"GTE115", "GTE201"}


@each_tensor
def test_a_tensor_that_lost_a_row(tmp_path: Path, base: str, name: str) -> None:
    path = damaged(tmp_path, base, lambda arrays: arrays.update({name: arrays[name][:-1]}))
    codes, is_empty = found(path), load_file(path / "model.safetensors")[name].shape == (0,)
    assert codes == {"GTE222" if "token_type" in name else "GTE205" if is_empty else "GTE204"}


@each_tensor
def test_a_tensor_of_another_dtype(tmp_path: Path, base: str, name: str) -> None:
    half = damaged(tmp_path / "half", base, lambda arrays: arrays.update({name: arrays[name].astype(np.float16)}))
    assert found(half) == {"GTE206"}
    whole = damaged(tmp_path / "whole", base, lambda arrays: arrays.update({name: arrays[name].astype(np.int32)}))
    assert "GTE207" in found(whole)


@pytest.mark.parametrize("base", NAMES)
def test_numbers_that_cannot_be(tmp_path: Path, base: str) -> None:
    def poison(arrays: Arrays) -> None:
        name = next(name for name in arrays if "Wo" in name or "output.dense.weight" in name)
        arrays[name] = arrays[name].copy()
        arrays[name][1, 2] = np.nan

    assert found(damaged(tmp_path, base, poison), values=True) == {"GTE260"}


WRONG: list[tuple[str, str, dict[str, object]]] = [
    ("bert-base", "GTE102", {"vocab_size": -5}),
    ("bert-base", "GTE102", {"hidden_size": "32"}),
    ("bert-base", "GTE102", {"position_embedding_type": "relative_key"}),
    ("bert-base", "GTE102", {"is_decoder": True}),
    ("bert-base", "GTE103", {"tie_word_embeddings": "false"}),
    ("bert-base", "GTE110", {"pad_token_id": 256}),
    ("bert-base", "GTE111", {"num_attention_heads": 5}),
    ("bert-base", "GTE204", {"vocab_size": 250}),
    ("bert-base", "GTE204", {"max_position_embeddings": 32}),
    ("bert-base", "GTE201", {"num_hidden_layers": 5}),
    ("bert-base", "GTE202", {"num_hidden_layers": 3}),
    ("bert-base", "GTE221", {"type_vocab_size": 0}),
    ("bert-base", "GTE230", {"pad_token_id": 7}),
    ("bert-base", "GTE115", {"architectures": ["BertForMaskedLM"]}),
    ("bert-mlm", "GTE116", {"architectures": ["BertModel"]}),
    ("bert-mlm", "GTE201", {"tie_word_embeddings": False}),
    ("bert-base", "GTE101", {"position_embedding_type": "alibi"}),
    ("modernbert-base", "GTE102", {"hidden_size": 32.0}),
    ("modernbert-base", "GTE102", {"layer_types": ["full_attention", "causal", "causal", "full_attention"]}),
    ("modernbert-base", "GTE105", {"layer_types": ["full_attention"]}),
    ("modernbert-base", "GTE102", {"rope_parameters": {"full_attention": {"rope_theta": 0}}}),
    ("modernbert-base", "GTE103", {"mlp_bias": "false"}),
    ("modernbert-base", "GTE110", {"pad_token_id": 300}),
    ("modernbert-base", "GTE111", {"num_attention_heads": 3}),
    ("modernbert-base", "GTE112", {"vocab_size": 250}),
    ("modernbert-base", "GTE201", {"attention_bias": True}),
    ("modernbert-base", "GTE202", {"num_hidden_layers": 3, "layer_types": None}),
    ("modernbert-mlm", "GTE202", {"decoder_bias": False}),
    ("modernbert-mlm", "GTE115", {"architectures": ["ModernBertForSequenceClassification"]}),
    ("modernbert-reranker", "GTE204", {"id2label": {"0": "A", "1": "B"}}),
]


@pytest.mark.parametrize(("base", "code", "members"), WRONG)
def test_a_config_that_was_edited(tmp_path: Path, base: str, code: str, members: dict[str, object]) -> None:
    assert code in found(damaged(tmp_path, base, **members))


ROPE = json.loads((FOLDER / "modernbert-base" / "config.json").read_text())["rope_parameters"]


def roped(**changes: object) -> dict[str, object]:
    """Another rope of the layers with full attention."""
    return {"rope_parameters": ROPE | {"full_attention": ROPE["full_attention"] | changes}}


OTHERWISE: dict[str, dict[str, dict[str, object]]] = {
    "a layer less": {"modernbert-base": {"num_hidden_layers": 3, "layer_types": ABSENT}},
    "a layer more": {
        "bert-base": {"num_hidden_layers": 5}, "modernbert-base": {"num_hidden_layers": 5, "layer_types": ABSENT},
    },
    "a flag as a number": {base: {"tie_word_embeddings": 1} for base in FAMILIES},
    "another pad row": {base: {"pad_token_id": 7} for base in FAMILIES},
    "another scaling": {"modernbert-base": roped(rope_type="spiral")},
    "architecture of a reranker": {
        "bert-base": {"architectures": ["BertForSequenceClassification"]},
        "modernbert-base": {"architectures": ["ModernBertForSequenceClassification"]},
    },
    "dropout above one": {"modernbert-base": {"mlp_dropout": 10}},
    "dynamic": {"modernbert-base": roped(rope_type="dynamic", factor=2.0)},
    "empty string for a flag": {base: {"tie_word_embeddings": ""} for base in FAMILIES},
    "linear without a factor": {"modernbert-base": {"rope_parameters": {"rope_type": "linear"}}},
    "more types": {"bert-base": {"type_vocab_size": 3}},
    "negative theta": {"modernbert-base": roped(rope_theta=-20000)},
    "pad just beyond the table": {base: {"pad_token_id": 256} for base in FAMILIES},
    "quoted False": {base: {"tie_word_embeddings": "False"} for base in FAMILIES},
    "quoted True": {base: {"tie_word_embeddings": "True"} for base in FAMILIES},
    "quoted no": {base: {"tie_word_embeddings": "no"} for base in FAMILIES},
    "theta in words": {"modernbert-base": roped(rope_theta="160000")},
    "theta of before beside the new rope": {"modernbert-base": {"global_rope_theta": 20000}},
    "two thetas": {"modernbert-base": {"local_rope_theta": 160000}},
    "unheard-of rope": {"modernbert-base": roped(rope_type="spiral")},
}  # fmt: skip
"""Damages of the table whose numbers or members are others in these families."""
NOT_OF = {
    "bert-base": {
        "another scaling", "dynamic", "linear without a factor", "negative theta", "theta in words", "two thetas",
        "theta of before beside the new rope", "unheard-of rope",
    },
    "modernbert-base": {"more types", "negative types", "no types"},
}  # fmt: skip
"""A BERT turns nothing, a ModernBERT has no types."""
OF_GTE = {
    "absolute positions", "architecture of a native reranker", "empty rope", "factor cut off", "factor of four digits",
    "longrope with too few factors", "no rope", "ntk", "ntk in a native config", "ntk in a renamed config",
    "ntk left beside the new rope", "null rope", "quoted False for packing", "rms norm", "rope without theta",
    "saved again without a scaling", "scaling without a factor", "two ropes", "unknown norm", "unpacked",
    "unpadding alone",
}  # fmt: skip
"""Damages of what only the GTE of 2024 has: its dialects, its norm, its packing, its rope that must be stated."""


@pytest.mark.parametrize("base", FAMILIES)
def test_every_damage_of_a_config_in_the_table_is_found(tmp_path: Path, base: str) -> None:
    assert OF_GTE | OTHERWISE.keys() <= CONFIG_DAMAGES.keys() | NATIVE_DAMAGES.keys()
    missed, place = {}, damaged(tmp_path, base)
    before = (place / "config.json").read_text()
    for name, (code, changes) in {**CONFIG_DAMAGES, **NATIVE_DAMAGES}.items():
        if name not in OF_GTE | NOT_OF[base]:
            change_config(place, **OTHERWISE.get(name, {}).get(base, changes))
            if code not in (codes := found(place)):
                missed[name] = codes
            (place / "config.json").write_text(before)
    assert missed == {}


@pytest.mark.parametrize("base", FAMILIES)
def test_every_damage_of_a_file_beside_the_weights_in_the_table_is_found(tmp_path: Path, base: str) -> None:
    right = {"pooling by mean", "pooling named mean"} if base == "bert-base" else set()
    place = resize(FOLDER / base, vocab=128, pad=1, out=tmp_path / "sound").target
    equip(place, {} if base == "bert-base" else {"max_position_embeddings": 128})
    missed = {}
    for name, (code, damage) in SIDECAR_DAMAGES.items():
        copy = shutil.copytree(place, tmp_path / "copy")
        if code == "GTE302":
            (copy / "tokenizer.json").unlink()
        damage(copy)
        if (code in (codes := found(copy))) is (name in right):
            missed[name] = codes
        shutil.rmtree(copy)
    assert missed == {}


def equip(place: Path, members: dict[str, object]) -> None:
    """The files beside the weights for a vocabulary of 128, and a config that names the same special ids."""
    (place / "gte-surgery.json").unlink()
    write_sidecars(place, length=64)
    change_config(
        place, **{f"{role}_token_id": ABSENT for role in ("bos", "eos", "cls", "sep", "mask", "unk")}, **members
    )
    assert found(place) - {"GTE310"} == set()


NUMBERS = {
    "bert-base": {
        BESIDE_QKV: "encoder.layer.1.attention.self.key.weight", NORM: "embeddings.LayerNorm.weight",
        BIAS: "encoder.layer.0.output.dense.bias", WORDS: WORDS, GATED: "encoder.layer.0.intermediate.dense.weight",
        TYPES: TYPES,
    },
    "modernbert-base": {
        BESIDE_QKV: "layers.1.attn.Wqkv.weight", NORM: "final_norm.weight", GATED: "layers.0.mlp.Wi.weight",
        WORDS: "embeddings.tok_embeddings.weight",
    },
}  # fmt: skip
"""The tensors that the table damages, as these families call them; a ModernBERT has neither biases nor types."""


@pytest.mark.parametrize("base", FAMILIES)
def test_every_damage_of_a_number_in_the_table_is_found(tmp_path: Path, base: str) -> None:
    names, missed = NUMBERS[base], {}
    sound = load_file(FOLDER / base / "model.safetensors")
    for name, (code, damage) in VALUE_DAMAGES.items():
        theirs = {mine: sound[its].copy() for mine, its in names.items()}
        try:
            damage(theirs)
        except (KeyError, IndexError):
            assert "token_type" in name or BIAS in name or code in ("GTE265", "GTE266"), name
            continue
        place = damaged(tmp_path, base, lambda arrays: arrays.update({names[n]: a for n, a in theirs.items()}))  # noqa: B023
        if code not in (codes := found(place, values=True)):
            missed[name] = codes
        shutil.rmtree(place)
    assert missed == {}


@pytest.mark.parametrize("base", FAMILIES)
def test_every_damage_of_a_tensors_shape_and_of_all_names_is_found(tmp_path: Path, base: str) -> None:
    is_first = re.compile(r"(?!.*\.[1-9]\.)")
    names = [name for owner, name in ALL if owner == base and name not in UNREAD and is_first.match(name)]
    kinds: dict[str, Callable[[Array], Array]] = {
        "gained a dimension": lambda array: array[None],
        "only the place was saved": lambda array: array.reshape(-1)[:0],
        "laid flat": lambda array: array.reshape(-1),
    }
    wanted = {
        "gained a dimension": {"GTE204", "GTE222"},
        "only the place was saved": {"GTE205"},
        "laid flat": {"GTE209"},
    }
    for kind, change in kinds.items():
        for name in names:
            place = damaged(tmp_path, base, lambda arrays: arrays.update({name: change(arrays[name])}))  # noqa: B023
            is_same = kind == "laid flat" and load_file(place / "model.safetensors")[name].shape == (
                load_file(FOLDER / base / "model.safetensors")[name].shape
            )
            codes = found(place)
            assert codes <= wanted[kind], (kind, name)
            assert bool(codes) is not is_same, (kind, name)
            shutil.rmtree(place)
    for prefix in ("_orig_mod.", "module.", "_fsdp_wrapped_module.", "base_model.model.", "0.auto_model."):
        place = damaged(tmp_path, base)
        arrays = load_file(place / "model.safetensors")
        save_file({prefix + name: array for name, array in arrays.items()}, place / "model.safetensors")
        assert found(place) == {"GTE200"}
        shutil.rmtree(place)


@pytest.mark.parametrize("base", FAMILIES)
def test_every_damage_of_the_file_itself_is_found(tmp_path: Path, base: str) -> None:
    place = damaged(tmp_path, base)
    weights = place / "model.safetensors"
    whole = weights.read_bytes()
    for content in FOREIGN.values():
        weights.write_bytes(content)
        assert found(place) == {"GTE005"}
    for share, code in ((0.001, "GTE032"), (0.5, "GTE048"), (0.999, "GTE048")):
        weights.write_bytes(whole[: int(len(whole) * share)])
        assert found(place) == {code}


@pytest.mark.parametrize("base", NAMES)
@pytest.mark.parametrize("consumer", ["transformers5", "transformers4", "vllm"])
def test_the_programs_that_have_these_models_take_them(tmp_path: Path, base: str, consumer: str) -> None:
    codes = found(damaged(tmp_path, base), consumers=(consumer,))
    allowed = {"GTE620", "GTE624", "GTE625"} if base.endswith("mlm") else set()
    assert {code for code in codes if code.startswith("GTE6")} <= allowed


@pytest.mark.parametrize("base", ["bert-mlm", "modernbert-mlm"])
def test_what_vllm_has_no_place_for_goes_by_the_hint(tmp_path: Path, base: str) -> None:
    place = damaged(tmp_path, base)
    report = run(open_checkpoint(place), consumers=("vllm",))
    (hint,) = (found.hint for found in report.findings if found.code == "GTE625")
    assert entry.run([word.replace("CKPT", str(place)) for word in shlex.split(hint)[1:]]) == 0
    assert {code for code in found(place, consumers=("vllm",)) if code.startswith("GTE6")} == set()


@pytest.mark.parametrize("base", ["modernbert-base", "modernbert-mlm"])
def test_what_vllm_has_no_place_for_goes_by_any_one_of_its_hints(tmp_path: Path, base: str) -> None:
    def add(arrays: Arrays) -> None:
        layers = 1 + max(int(number) for name in arrays for number in re.findall(r"layers\.([0-9]+)\.", name))
        last = {name: array for name, array in arrays.items() if f"layers.{layers - 1}." in name}
        arrays |= {name.replace(f".{layers - 1}.", f".{layers}."): array for name, array in last.items()}
        arrays["adapter.weight"] = np.ones(2, np.float32)

    place = damaged(tmp_path, base, add)
    findings = run(open_checkpoint(place), consumers=("vllm",)).findings
    hints = {finding.hint for finding in findings if finding.code in ("GTE624", "GTE625")}
    assert hints
    for number, hint in enumerate(hints):
        copy = shutil.copytree(place, tmp_path / f"copy{number}")
        assert (
            entry.run(
                [word.replace("CKPT", str(copy)).replace(str(place), str(copy)) for word in shlex.split(hint)[1:]]
            )
            == 0
        )
        assert found(copy, select=("GTE202", "GTE203", "GTE624"), consumers=("vllm",)) == set()


def test_vllm_computes_gelu_in_a_modernbert_and_minds_strangers(tmp_path: Path) -> None:
    relu = damaged(tmp_path / "relu", "modernbert-base", hidden_activation="relu")
    assert "GTE621" in found(relu, consumers=("vllm",))

    def add(arrays: Arrays) -> None:
        arrays["adapter.weight"] = np.ones(2, np.float32)

    codes = {
        base: found(damaged(tmp_path, base, add), consumers=("vllm",)) for base in ("bert-base", "modernbert-base")
    }
    assert codes == {"bert-base": {"GTE203"}, "modernbert-base": {"GTE203", "GTE624"}}


def test_the_pooling_that_is_right_depends_on_the_family(tmp_path: Path) -> None:
    for base, mode, wanted in (
        ("bert-base", "mean", set()), ("bert-base", "cls", {"GTE310"}),
        ("modernbert-base", "cls", set()), ("modernbert-base", "mean", {"GTE310"}),
    ):  # fmt: skip
        place = damaged(tmp_path / mode, base)
        (place / "1_Pooling").mkdir()
        stated = {"word_embedding_dimension": 32, "pooling_mode": mode}
        (place / "1_Pooling" / "config.json").write_text(json.dumps(stated))
        assert {code for code in found(place) if code == "GTE310"} == wanted


@pytest.mark.parametrize("model_type", [None, "roberta"])
def test_where_no_family_is_told_no_pooling_is_wrong(tmp_path: Path, model_type: str | None) -> None:
    place = damaged(tmp_path, "bert-base", model_type=model_type)
    (place / "1_Pooling").mkdir()
    stated = {"word_embedding_dimension": 32, "pooling_mode": "mean"}
    (place / "1_Pooling" / "config.json").write_text(json.dumps(stated))
    assert found(place) == {"GTE101"}


@pytest.mark.parametrize("base", ["bert-base", "modernbert-base"])
def test_a_key_that_nobody_reads_is_told(tmp_path: Path, base: str) -> None:
    def told(path: Path) -> list[str]:
        return [finding.location.pointer for finding in run(open_checkpoint(path), select=("GTE143",)).findings]

    assert told(damaged(tmp_path / "sound", base)) == []
    assert told(damaged(tmp_path / "other", base, qk_norm=True)) == ["/qk_norm"]


def test_no_release_has_a_key_that_nobody_reads() -> None:
    for family, release in releases().values():
        unread = family.release_config(release, release.dialect).keys() - (family.known_keys or frozenset())
        assert unread == set(), release.name


OLD = {
    "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "initializer_range": 0.02, "classifier_pooling": "cls",
    "initializer_cutoff_factor": 2.0, "global_attn_every_n_layers": 3, "classifier_activation": "gelu",
    "eos_token_id": 2, "bos_token_id": 1, "cls_token_id": 1, "sep_token_id": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        ({"rope_scaling": "linear"}, '/rope_scaling: "linear", must be an object'),
        ({"local_rope_theta": None, "rope_parameters": {}}, "/local_rope_theta: null, must be a number above 0"),
        ({"local_rope_theta": None, "rope_parameters": {"sliding_attention": {"rope_theta": 10000.0}}}, ""),
    ],
)
def test_a_rope_at_which_transformers_5_stops(tmp_path: Path, members: dict[str, object], refused: str) -> None:
    place = damaged(tmp_path / "it", "modernbert-base")
    change_config(place, **members)
    found = [str(each) for each in run(open_checkpoint(place), select=("GTE124",)).findings]
    assert [each.partition("config.json:")[2].partition(": ")[2] for each in found] == ([refused] if refused else [])


def test_what_programs_ask_of_a_modernbert(tmp_path: Path) -> None:
    def told(consumer: str, **members: object) -> dict[str, str]:
        place = damaged(tmp_path / str(len(list(tmp_path.iterdir()))), "modernbert-base", **members)
        report = run(open_checkpoint(place), consumers=(consumer,))
        judged = [each for each in report.findings if each.code in ("GTE610", "GTE630", "GTE633", "GTE635", "GTE637")]
        return {each.location.pointer: f"{each.code} {each.hint}" for each in judged}

    assert told("tei", **OLD) == told("transformers4") == {}
    apart = {"rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}}}
    hint = 'write "global_rope_theta": 500000.0, "local_rope_theta": 10000.0 beside it'
    assert told("transformers4", **apart) == {"/rope_parameters": f"GTE610 {hint}"}
    assert told("tei", **OLD, **apart) == {"/rope_parameters": f"GTE633 {hint}"}
    assert told("transformers5", **apart) == told("vllm", **apart) == {}
    scaled: dict[str, object] = {"rope_scaling": {"rope_type": "default", "rope_theta": 50.0}}
    both = 'write "global_rope_theta": 50.0, "local_rope_theta": 50.0 beside it'
    assert told("transformers4", **scaled) == {"/rope_scaling": f"GTE610 {both}"}
    assert told("tei", **OLD, **scaled) == {"/rope_scaling": f"GTE633 {both}"}
    assert told("transformers4", rope_scaling={"type": "linear", "factor": 2.0}) == {"/rope_scaling": "GTE610 "}
    place = damaged(tmp_path / "tokenized", "modernbert-base", **(OLD | {"cls_token_id": None, "eos_token_id": None}))
    write_sidecars(place, ids=60, hidden=32)
    write_json(place / "tokenizer_config.json", {"cls_token": "<s>", "pad_token": "<pad>"})
    asked = run(open_checkpoint(place), consumers=("tei",), select=("GTE630",)).findings
    assert {each.location.pointer: each.hint for each in asked} == {
        "/cls_token_id": 'write "cls_token_id": 0',
        "/eos_token_id": "",
    }
    lacking = told("tei", **(OLD | {"global_rope_theta": None, "norm_eps": None}))
    assert lacking == {
        "/global_rope_theta": 'GTE630 write "global_rope_theta": 160000.0',
        "/norm_eps": 'GTE630 write "norm_eps": 1e-05',
    }
    assert told("tei", **OLD, hidden_activation="tanh").keys() == {"/hidden_activation"}
    assert told("tei", **OLD, classifier_bias=True) == {"/classifier_bias": "GTE635 "}
    layers = ["full_attention", "full_attention", "sliding_attention", "sliding_attention"]
    assert told("transformers4", layer_types=layers).keys() == {"/layer_types"}
