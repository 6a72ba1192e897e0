"""What the small files beside the weights say: pooling, sequence length; bad files say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import Checkpoint, open_checkpoint
from gte_surgery.checkpoint.sidecars import max_seq_length, pooling


def checkpoint_of(root: Path, **files: object) -> Checkpoint:
    """A directory with a config and the given files; "__" in a name is a dot, "_in_" a folder."""
    (root / "config.json").write_text("{}")
    for name, content in files.items():
        path = root / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return open_checkpoint(root)


def test_no_files_say_nothing(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path)
    assert pooling(checkpoint) is None
    assert max_seq_length(checkpoint) is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"max_seq_length": 12.5, "word_embedding_dimension": "x"}'],
)
def test_bad_files_say_nothing_and_never_raise(tmp_path: Path, content: str) -> None:
    names = ("sentence_bert_config__json", "1_Pooling_in_config__json")
    checkpoint = checkpoint_of(tmp_path, **dict.fromkeys(names, content))
    assert max_seq_length(checkpoint) is None
    found = pooling(checkpoint)
    assert found is None or (found.modes, found.width) == ((), None)


def test_a_sidecar_that_links_out_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "checkpoint"
    root.mkdir()
    (tmp_path / "outside.json").write_text('{"max_seq_length": 5}')
    (root / "sentence_bert_config.json").symlink_to(tmp_path / "outside.json")
    assert max_seq_length(checkpoint_of(root)) is None


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls_token"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token+mean_tokens"),
        ({"pooling_mode_cls_token": "true"}, ""),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_pooling_tells_its_mode_and_width(tmp_path: Path, settings: dict[str, object], mode: str) -> None:
    files = {"1_Pooling_in_config__json": {"word_embedding_dimension": 768} | settings}
    found = pooling(checkpoint_of(tmp_path, **files))
    assert found is not None
    assert (found.mode, found.width) == (mode, 768)


def test_max_seq_length_is_read(tmp_path: Path) -> None:
    assert max_seq_length(checkpoint_of(tmp_path, sentence_bert_config__json={"max_seq_length": 8192})) == 8192
