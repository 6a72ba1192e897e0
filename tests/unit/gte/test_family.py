"""A family that does not exist goes through every command: what they know of a GTE, its `Family` alone tells them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gte_surgery import check, diff, open_checkpoint, remap, resize, undo
from gte_surgery.checks.description import describe
from gte_surgery.gte import families
from gte_surgery.gte.family import Facts, Family, Names, prefixed
from gte_surgery.gte.fields import Defaults, GteConfig, Values, usual_config
from gte_surgery.gte.kinds import SUFFIXES, Dialect, Head, Layout
from gte_surgery.gte.rope import Rope
from gte_surgery.gte.tensors import H, Init, K, P, Part, V, linear

NAMES = Names(words="tok.weight", positions="pos.weight", decoder="say.weight", biases=("say.bias",))


def read(values: Values) -> GteConfig:
    usual = usual_config(values, Defaults(100, 32, None, type_vocab_size=0), {"hidden_size": "width"})
    return usual._replace(position_embedding_type="absolute", rope=Rope("none", 1.0))


def parts(config: GteConfig, layout: Layout, head: Head) -> Iterator[Part]:
    yield Part("tok.weight", (V, H), Init.NORMAL)
    yield Part("pos.weight", (P, H), Init.NORMAL)
    for number in range(config.num_hidden_layers):
        yield from linear(f"block.{number}.mix", H, H, has_bias=False)
    if head is Head.TOKEN_CLASSIFICATION:
        yield from linear("sort", K, H)


TOY = Family(
    name="toy", model_types=("toy",), names=NAMES, naming=prefixed(NAMES, "toy.", ("say", "sort")),
    dialect_of=lambda values: Dialect.NATIVE if values.get("model_type") == "toy" else None, read_config=read,
    parts=parts, facts=Facts(has_types=False, padded=("tok.weight",), spelled={"hidden_size": "width"}),
    head_of=lambda names, values: Head.TOKEN_CLASSIFICATION if "sort.weight" in names else Head.NONE,
    architecture=lambda head, dialect: "Toy" + SUFFIXES[head], is_known=lambda name: name.startswith("block."),
    region=lambda name, head: {"block": "layers", "sort": "head"}.get(name.partition(".")[0], "embeddings"),
)  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    everyone = tuple(families.families())
    monkeypatch.setattr(families, "families", lambda: iter((*everyone, TOY)))
    draw = np.random.default_rng(7).standard_normal
    shapes = {"toy.tok.weight": (100, 8), "toy.pos.weight": (32, 8), "toy.block.0.mix.weight": (8, 8)}
    shapes |= {"toy.block.1.mix.weight": (8, 8), "sort.weight": (2, 8), "sort.bias": (2,)}
    arrays = {name: draw(shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["toy.tok.weight"][3] = 0
    save_file(arrays, tmp_path / "model.safetensors", metadata={"format": "pt"})
    sizes = {"vocab_size": 100, "width": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 3}
    names = {"model_type": "toy", "architectures": ["ToyForTokenClassification"], "max_position_embeddings": 32}
    (tmp_path / "config.json").write_text(json.dumps(names | sizes, indent=2))
    return tmp_path


def codes(path: Path) -> list[str]:
    return [finding.code for finding in check(open_checkpoint(path)).findings]


def test_a_made_up_family_goes_through_every_command(toy: Path) -> None:
    told, before = describe(open_checkpoint(toy)), load_file(toy / "model.safetensors")
    assert (told.layout, told.prefix, told.head, told.pad and told.pad.is_zero) == ("b", "toy.", "classifier", True)
    assert {part.name: part.tensors for part in told.parts} == {"embeddings": 2, "layers": 2, "head": 2}
    assert codes(toy) == []
    resize(toy, vocab=40, pad=0)
    after = load_file(toy / "model.safetensors")
    assert np.array_equal(after["toy.tok.weight"], [np.zeros(8), *before["toy.tok.weight"][1:40]])
    assert np.array_equal(after["toy.pos.weight"], before["toy.pos.weight"])
    assert codes(toy) == ["GTE231"]
    copy = toy / "copy"
    remap(toy, keep=[0, 5, 7], out=copy)
    assert np.array_equal(load_file(copy / "model.safetensors")["toy.tok.weight"][1:], before["toy.tok.weight"][[5, 7]])
    assert [item.name for item in diff(toy, copy).tensors] == ["tok.weight"]
    undo(toy)
    assert codes(toy) == []
    whole = {name: array for name, array in before.items() if "block.1" not in name}
    save_file(whole, toy / "model.safetensors", metadata={"format": "pt"})
    assert "GTE201" in codes(toy)
