"""The last step of a planner: what becomes of config.json, the seed and the files that go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.surgery.edits import Convert, Reinit
from gte_surgery.surgery.planning.parts.rewrite import assembled
from gte_surgery.surgery.planning.plan import ConfigChange, PlainFile
from tests import builder


def test_members_are_set_and_others_dropped(tmp_path: Path) -> None:
    path = builder.build(tmp_path / "ckpt")
    checkpoint, before = open_checkpoint(path), builder.remote_config()
    plan = assembled(checkpoint, Convert(to="native"), ((), ()), {"hidden_act": "relu"}, dropped=["dtype", "absent"])
    (config,) = plan.files
    assert isinstance(config, PlainFile)
    assert json.loads(config.head) == {key: before[key] for key in before if key != "dtype"} | {"hidden_act": "relu"}
    assert plan.changes == (ConfigChange("hidden_act", "gelu", "relu"), ConfigChange("dtype", "float32", None))
    assert (plan.command, plan.source, plan.edits) == (
        "convert", str(path), {"to": "native", "allow_overflow": False},
    )  # fmt: skip


def test_a_plan_has_the_seed_of_its_edit_where_that_has_one(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(builder.build(tmp_path / "ckpt"))
    edits = (Reinit(seed=7), Convert(to="native"))
    assert [assembled(checkpoint, edit, ((), ())).seed for edit in edits] == [7, None]


def test_files_that_go_are_those_left_without_a_tensor_and_those_named(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(builder.build(tmp_path / "ckpt"))
    weights = ((), ("model.safetensors",))
    plan = assembled(checkpoint, Reinit(), weights, removed=("vocab.txt",), meaning=iter(["both go"]))
    assert (plan.removed, plan.meaning) == (("model.safetensors", "vocab.txt"), ("both go",))


def test_a_plan_with_nothing_to_do_is_not_asked_what_it_means(tmp_path: Path) -> None:
    def meaning() -> Iterator[str]:
        yield pytest.fail("asked")

    plan = assembled(open_checkpoint(builder.build(tmp_path / "ckpt")), Reinit(), ((), ()), meaning=meaning())
    assert (plan.is_empty, plan.meaning) == (True, ())
