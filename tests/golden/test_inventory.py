"""The inventory of every golden checkpoint is, name by name and shape by shape, what the reference code wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from gte_surgery.gte.families import read_config
from gte_surgery.gte.kinds import Head
from gte_surgery.gte.new_impl.family import NEW_IMPL
from gte_surgery.gte.new_impl.names import head_of
from gte_surgery.gte.new_impl.names import canonical_name, detect_layout

CHECKPOINTS = sorted(path for path in (Path(__file__).parent / "checkpoints").iterdir() if path.is_dir())
LETTERS = {"legacy-multilingual": "b", "legacy-mlm": "b", "legacy-reranker": "b"}
HEADS = {
    "legacy-multilingual": Head.TOKEN_CLASSIFICATION,
    "legacy-mlm": Head.MASKED_LM,
    "legacy-reranker": Head.SEQUENCE_CLASSIFICATION,
}


def stored_shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name, in the order of the safetensors package."""
    with safe_open(checkpoint / "model.safetensors", "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.offset_keys()}


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda path: path.name)
def test_the_inventory_is_what_the_reference_code_wrote(checkpoint: Path) -> None:
    stored = stored_shapes(checkpoint)
    layout = detect_layout(stored)
    assert layout is not None
    canonical = [canonical_name(name, layout) for name in stored]
    head = head_of(name for name in canonical if name is not None)
    kind = checkpoint.name.removesuffix(".resized-160-pad0")
    assert (layout.letter, head) == (LETTERS.get(kind, "a"), HEADS.get(kind, Head.NONE))
    config = read_config(json.loads((checkpoint / "config.json").read_text()))
    specs = NEW_IMPL.inventory(config, layout, head)
    assert {spec.name: spec.shape for spec in specs} == stored
    assert [spec.name for spec in specs] == list(stored)
    assert [spec.canonical for spec in specs] == canonical
    assert len(stored) == len(canonical) == len(specs)


def test_all_sixteen_are_there() -> None:
    assert len(CHECKPOINTS) == 16
