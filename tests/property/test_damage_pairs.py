"""Two damages at once are both found, unless the one stands in the way of the other, and then the report says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.run import run
from gte_surgery.findings import Report
from gte_surgery.gte.kinds import Consumer
from tests.builder import ABSENT, Config, Tensors, remote_config, tensors, write, write_json, write_sidecars

WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
QKV = "encoder.layer.0.attention.qkv_proj.weight"
DOWN = "encoder.layer.1.mlp.down_proj.weight"
NORM = "encoder.layer.0.attn_ln.weight"


@dataclass
class Scene:
    """A checkpoint before it is written: what a damage may change."""

    config: Config
    arrays: Tensors
    files: dict[str, dict[str, object] | str | None]


@dataclass(frozen=True)
class Damage:
    """`code` is the rule that finds it; damages with a target in common are not made together."""

    code: str
    targets: tuple[str, ...]
    change: Callable[[Scene], object]


def config(code: str, **changes: object) -> Damage:
    return Damage(code, tuple(changes), lambda scene: scene.config.update(changes))


def tensor(code: str, name: str, change: Callable[[np.ndarray], np.ndarray] | None) -> Damage:
    def damage(scene: Scene) -> None:
        if change is None:
            scene.arrays.pop(name)
        else:
            scene.arrays[name] = change(scene.arrays[name].copy())

    return Damage(code, (name,), damage)


def one(place: object, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


def beside(code: str, name: str, content: dict[str, object] | str | None) -> Damage:
    return Damage(code, (name,), lambda scene: scene.files.update({name: content}))


DAMAGES = [
    config("GTE101", model_type="electra"),
    config("GTE102", initializer_range=-1),
    config("GTE103", unpad_inputs="false"),
    config("GTE104", pack_qkv="true"),
    config("GTE110", pad_token_id=128),
    config("GTE111", num_attention_heads=5),
    config("GTE113", pad_token_id=None),
    config("GTE115", architectures=["NewForMaskedLM"]),
    config("GTE124", rope_scaling={"type": "linear", "factor": 2.0}),
    config("GTE140", auto_map={"AutoModel": "a/b--m.M"}),
    config("GTE142", logn_attention_scale=True),
    config("GTE202", num_hidden_layers=1),
    config("GTE204", intermediate_size=32),
    config("GTE305", cls_token_id=4096),
    config("GTE621", hidden_act="relu"),
    tensor("GTE200", WORDS, None),
    tensor("GTE201", NORM, None),
    tensor("GTE204", DOWN, lambda array: array[:-1]),
    tensor("GTE206", "encoder.layer.1.attn_ln.weight", lambda array: array.astype(np.float16)),
    tensor("GTE207", "encoder.layer.1.mlp_ln.bias", lambda array: array.astype(np.int8)),
    tensor("GTE220", TYPES, None),
    tensor("GTE230", WORDS, one(1, 0.02)),
    tensor("GTE231", WORDS, one(9, 0.0)),
    tensor("GTE260", "encoder.layer.0.mlp_ln.bias", one(3, np.nan)),
    tensor("GTE261", "encoder.layer.1.attention.o_proj.bias", one(3, np.inf)),
    tensor("GTE262", QKV, one(slice(None), 0)),
    tensor("GTE263", "encoder.layer.1.attention.o_proj.weight", one(slice(None), 0.5)),
    tensor("GTE264", "encoder.layer.0.attention.o_proj.weight", one(slice(0, 9), 1e-40)),
    tensor("GTE265", "encoder.layer.0.mlp.down_proj.bias", one(0, 1e6)),
    tensor("GTE266", "encoder.layer.1.attention.qkv_proj.weight", one((0, 0), 6e4)),
    tensor("GTE267", WORDS, one(70, 9.0)),
    Damage("GTE203", ("extra",), lambda scene: scene.arrays.update({"extra": np.ones(3, np.float32)})),
    Damage("GTE250", ("buffer",), lambda scene: scene.arrays.update({"embeddings.position_ids": np.arange(4)})),
    beside("GTE060", "half.tmp", "half"),
    beside("GTE063", "gte-surgery.json", "[]"),
    beside("GTE300", "special_tokens_map.json", "{"),
    beside("GTE303", "tokenizer_config.json", {"pad_token": "<s>"}),
    beside("GTE306", "tokenizer_config.json", {"padding_side": "left"}),
    beside("GTE302", "added_tokens.json", {"<new>": 128}),
    beside("GTE310", "1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "word_embedding_dimension": 32}),
    beside("GTE311", "1_Pooling/config.json", {"pooling_mode_cls_token": True, "word_embedding_dimension": 768}),
    beside("GTE312", "sentence_bert_config.json", {"max_seq_length": 9999}),
    beside("GTE642", "sentence_bert_config.json", None),
    beside("GTE643", "tokenizer.json", None),
    beside("GTE640", "modules.json", None),
]
CONFLICTS = {
    frozenset(pair)
    for pair in (
        ("GTE306", "GTE310"),  # left padding is right for a mean
        ("GTE303", "GTE643"),  # without a tokenizer.json no token has an id
        ("GTE110", "GTE230"),  # the pad row is another one
        ("GTE113", "GTE230"),
        ("GTE113", "GTE303"),  # no pad id that the tokenizer could contradict
        ("GTE202", "GTE204"),  # the layer with the misshapen tensor is the one that is denied
        ("GTE204", "GTE204"),  # only five of a kind are shown, and the code is the same
    )
}
"""Pairs of which the one makes the other no damage at all."""
IN_LAYER_1 = ("GTE206", "GTE207", "GTE261", "GTE263", "GTE266")


def judged(path: Path, damages: tuple[Damage, ...]) -> Report:
    path.mkdir()
    scene = Scene(remote_config(), tensors(remote_config()), {})
    for damage in damages:
        damage.change(scene)
    write(path, {key: value for key, value in scene.config.items() if value is not ABSENT}, scene.arrays)
    write_sidecars(path)
    for name, content in scene.files.items():
        if content is None:
            (path / name).unlink()
        elif isinstance(content, str):
            (path / name).write_text(content)
        else:
            old = json.loads((path / name).read_text()) if name == "tokenizer_config.json" else {}
            write_json(path / name, {**old, **content})
    return run(open_checkpoint(path), values=True, consumers=[consumer.value for consumer in Consumer])


def hidden(report: Report, damages: tuple[Damage, ...]) -> list[str]:
    """The codes that should have been found and were not, although nothing that was found is their prerequisite."""
    found = {finding.code for finding in report.findings}
    because = {rule.code: set(rule.because) for rule in report.skipped}
    return [d.code for d in damages if d.code not in found and not because.get(d.code, set()) & found]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: f"{damage.code} {damage.targets[0]}")
def test_each_damage_alone_is_found(tmp_path: Path, damage: Damage) -> None:
    report = judged(tmp_path / "checkpoint", (damage,))
    assert damage.code in {finding.code for finding in report.findings}


@pytest.mark.parametrize("first", range(len(DAMAGES)), ids=lambda at: f"{DAMAGES[at].code} {DAMAGES[at].targets[0]}")
def test_damages_do_not_hide_each_other(tmp_path: Path, first: int, long: bool) -> None:
    pairs = [(DAMAGES[first], other) for other in DAMAGES[first + 1 :] if is_possible(DAMAGES[first], other)]
    for number, pair in enumerate(pairs if long else pairs[first % 3 :: 3]):
        report = judged(tmp_path / str(number), pair)
        assert hidden(report, pair) == [], pair


def test_the_pairs_are_many() -> None:
    assert sum(is_possible(one, other) for one, other in combinations(DAMAGES, 2)) > 800


def test_what_stands_in_the_way_is_declared() -> None:
    """A skipped rule names prerequisites that it, or a rule that it requires, has declared."""
    rules = all_rules()
    for rule in rules.values():
        for prefix in rule.requires:
            assert any(code.startswith(prefix) for code in rules), f"{rule.code} requires {prefix}, which is no rule"


def is_possible(one: Damage, other: Damage) -> bool:
    in_lost_layer = "GTE202" in (one.code, other.code) and bool({one.code, other.code} & set(IN_LAYER_1))
    is_conflict = frozenset((one.code, other.code)) in CONFLICTS or in_lost_layer
    return not set(one.targets) & set(other.targets) and not is_conflict
