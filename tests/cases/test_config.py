"""Configs that programs write, or that forks bring, and what a conversion may make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gte_surgery import convert, remap, resize
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.errors import RefusedError
from gte_surgery.findings import Severity
from gte_surgery.gte.families import read_config
from gte_surgery.gte.new_impl.reading import PUBLISHED_READS, foreign_reads
from gte_surgery.gte.rope import Rope, angle_gap
from tests.builder import ABSENT, build, change_config, load, native_config, remote_config, save, tensors, write

MOVED = {"factor": 8.0, "rope_theta": 20000, "rope_type": "ntk", "type": "ntk"}


def config_of(path: Path) -> dict[str, object]:
    read: dict[str, object] = json.loads((path / "config.json").read_text())
    return read


def grave(path: Path, **options: Any) -> set[str]:
    return {
        finding.code for finding in run(open_checkpoint(path), **options).findings if finding.severity > Severity.NOTE
    }


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A remote config that transformers 5 saved again."""
    path = build(tmp_path / "c")
    change_config(path, rope_theta=ABSENT, rope_scaling=ABSENT, rope_parameters=MOVED)
    return path


def test_a_rope_that_was_moved_comes_back_to_where_the_remote_code_reads_it(moved: Path) -> None:
    assert grave(moved) == {"GTE122"}
    convert(moved, to="remote")
    found = config_of(moved)
    assert "rope_parameters" not in found
    assert (found["rope_theta"], found["rope_scaling"]) == (20000, {"type": "ntk", "factor": 8.0})
    assert grave(moved) == set()
    convert(moved, to="native")
    assert angle_gap(read_config(config_of(moved)).rope, Rope("ntk", 20000.0, 8.0), 8, 8191) < 1e-9


def test_a_moved_rope_that_the_remote_code_cannot_compute_is_not_written(moved: Path) -> None:
    change_config(moved, rope_parameters={**MOVED, "rope_type": "yarn"})
    with pytest.raises(RefusedError, match="yarn"):
        convert(moved, to="remote")


def test_a_moved_rope_is_put_back_before_anything_is_made_native(moved: Path) -> None:
    with pytest.raises(RefusedError) as raised:
        convert(moved, to="native")
    assert "convert --to remote" in raised.value.hint


@pytest.mark.parametrize("to", ["native", "remote"])
def test_a_rope_that_nobody_stated_is_not_written_down_as_a_guess(tmp_path: Path, to: str) -> None:
    path = build(tmp_path / "c", native_config())
    change_config(path, rope_parameters=ABSENT)
    with pytest.raises(RefusedError, match="GTE120"):
        convert(path, to=to)


@pytest.mark.parametrize("to", ["native", "remote"])
def test_of_two_ropes_that_disagree_none_is_chosen(tmp_path: Path, to: str) -> None:
    path = build(tmp_path / "c")
    change_config(path, rope_parameters={**MOVED, "factor": 2.0})
    with pytest.raises(RefusedError, match="GTE127"):
        convert(path, to=to)


def test_two_ropes_that_agree_are_one(tmp_path: Path) -> None:
    path = build(tmp_path / "c", native_config(rope_theta=20000, rope_scaling=ABSENT))
    change_config(path, rope_theta=160000.0, rope_parameters={"rope_type": "default", "rope_theta": 160000.0})
    assert grave(path) == set()


def test_a_linear_rope_becomes_no_table_of_billions_of_positions(tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 256.0}
    path = build(tmp_path / "c", native_config(rope_parameters=rope))
    with pytest.raises(RefusedError, match="no form for it"):
        convert(path, to="remote")


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu_new", "gelu_pytorch_tanh"])
def test_a_masked_lm_of_another_activation_stays_remote(tmp_path: Path, activation: str) -> None:
    config = remote_config(architectures=["NewForMaskedLM"], hidden_act=activation)
    path = write(tmp_path / "c", config, tensors(config, "mlm"))
    with pytest.raises(RefusedError, match="GTE117"):
        convert(path, to="native")
    assert grave(path) == set()


def test_an_encoder_of_another_activation_becomes_native(tmp_path: Path) -> None:
    path = build(tmp_path / "c", remote_config(hidden_act="relu"))
    convert(path, to="native")
    assert grave(path) == set()


PUBLISHED = "\n".join(f"    x = self.config.{name}" for name in sorted(PUBLISHED_READS))
CODES: Mapping[str, tuple[str, str]] = {
    "something else": ("class NewModel: pass", "is not the published modeling code"),
    "a key more": (f"{PUBLISHED}\n    y = config.qk_norm\n", "reads qk_norm"),
    "a key more, asked for": (f"{PUBLISHED}\n    y = getattr(config, 'num_kv_heads', 4)\n", "reads num_kv_heads"),
}


@pytest.mark.parametrize("code", CODES)
def test_code_of_ones_own_is_told_and_not_converted(tmp_path: Path, code: str) -> None:
    path = build(tmp_path / "c")
    text, reason = CODES[code]
    (path / "modeling_fork.py").write_text(text)
    mapped = {"AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig", "AutoModel": "modeling_fork.NewModel"}
    change_config(path, auto_map=mapped, qk_norm=True)
    assert grave(path) == {"GTE144"}
    with pytest.raises(RefusedError, match=reason):
        convert(path, to="native")


def test_published_code_that_lies_here_survives_native_and_back(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    mapped = {"AutoConfig": "configuration_gte.NewConfig", "AutoModel": "modeling_gte.NewModel"}
    (path / "modeling_gte.py").write_text(PUBLISHED)
    (path / "configuration_gte.py").write_text("class NewConfig: pass")
    change_config(path, auto_map=mapped)
    assert foreign_reads(PUBLISHED) == ()
    convert(path, to="native")
    assert config_of(path)["auto_map"] == mapped
    convert(path, to="remote")
    assert config_of(path)["auto_map"] == mapped


def test_frequencies_that_were_stored_and_are_others_stop_a_conversion(tmp_path: Path) -> None:
    path = build(tmp_path / "c")
    save(path / "model.safetensors", load(path) | {"rotary_emb.inv_freq": load(path)["embeddings.LayerNorm.bias"][:4]})
    assert grave(path) == {"GTE251"}
    with pytest.raises(RefusedError, match="GTE251"):
        convert(path, to="native")


@pytest.mark.parametrize("pad", [16, 100])
def test_a_pad_id_beyond_absolute_positions_is_refused(tmp_path: Path, pad: int) -> None:
    config = remote_config(position_embedding_type="absolute", max_position_embeddings=16)
    path = write(tmp_path / "c", config, tensors(config))
    with pytest.raises(RefusedError, match="GTE107"):
        resize(path, vocab=128, pad=pad)
    with pytest.raises(RefusedError, match="GTE107"):
        remap(path, keep=list(range(128)), pad=pad)
    resize(path, vocab=128, pad=15)
    assert grave(path) == set()


def test_a_pad_of_null_and_an_absent_one_are_two_things(tmp_path: Path) -> None:
    path = build(tmp_path / "c", native_config())
    for value, said in ((None, "null, no row is exempt"), (ABSENT, "absent, transformers takes 1")):
        change_config(path, pad_token_id=value)
        (finding,) = [each for each in run(open_checkpoint(path)).findings if each.code == "GTE113"]
        assert said in finding.message
