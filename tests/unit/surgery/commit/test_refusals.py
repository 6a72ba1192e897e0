"""What a surgery refuses, and that refusing changes nothing: not a byte, not a file, not a mode."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gte_surgery.errors import GteSurgeryError, RefusedError, UsageError
from gte_surgery.surgery.verbs import convert, resize
from tests import builder


def picture(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below a folder, links followed: mode, links, content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[str(path.relative_to(folder))] = (stat.S_IMODE(status.st_mode), status.st_nlink, path.read_bytes())
    return found


def hub_snapshot(folder: Path) -> Path:
    """A hub cache: files of the snapshot are links into blobs that other snapshots share."""
    cache = folder / "models--Alibaba-NLP--gte-multilingual-base"
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "0123abcd"
    made = builder.build(folder / "made")
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(made.iterdir())):
        shutil.move(file, blobs / f"blob{number}")
        (snapshot / file.name).symlink_to(f"../../blobs/blob{number}")
    return snapshot


def test_a_hub_cache_is_refused_in_place_and_copied_with_out(tmp_path: Path) -> None:
    snapshot = hub_snapshot(tmp_path)
    before = picture(tmp_path)
    with pytest.raises(RefusedError, match="symlink") as refusal:
        resize(snapshot, vocab=64, pad=0)
    assert "--out" in refusal.value.hint
    assert picture(tmp_path) == before
    resize(snapshot, vocab=64, pad=0, out=tmp_path / "out")
    assert builder.load(tmp_path / "out")["embeddings.word_embeddings.weight"].shape == (64, 32)
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    after = picture(tmp_path)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_hard_linked_file_is_refused(name: str, tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    os.link(source / name, tmp_path / "other")
    before = picture(tmp_path)
    with pytest.raises(RefusedError, match="2 hard links"):
        resize(source, vocab=64, pad=0)
    assert picture(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("place", ["../outside.safetensors", "{absolute}", "link.safetensors"])
def test_an_index_that_leads_out_is_refused_by_every_command(place: str, tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt", shards=2)
    outside = tmp_path / "outside.safetensors"
    shard = source / "model-00002-of-00002.safetensors"
    shutil.move(shard, outside)
    if place == "link.safetensors":
        (source / place).symlink_to(outside)
    target = place.format(absolute=outside)
    index = source / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(shard.name, target))
    before = picture(tmp_path)
    checks = ["inspect", "check"], ["resize", "--vocab", "64", "--pad", "0"], ["convert", "--to", "native"]
    for verb, *options in checks:
        for extra in ([], ["--out", str(tmp_path / "out")]) if options else ([],):
            command = [sys.executable, "-m", "gte_surgery", verb, str(source), *options, *extra]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if verb == "inspect":
                continue
            assert done.returncode == (1 if verb == "check" else 3), done.stderr
            assert "GTE012" in done.stdout + done.stderr
    assert picture(tmp_path) == before


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    (source / "model.safetensors").write_bytes(pickle.dumps({"weights": [1.0]}))
    before = picture(tmp_path)
    with pytest.raises(RefusedError, match="pickle"):
        resize(source, vocab=64, pad=0)
    assert picture(tmp_path) == before


def test_an_unsound_checkpoint_is_refused_but_what_the_edit_cures_is_not(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt", head="mlm")
    arrays = builder.load(source)
    half_done = arrays | {"new.embeddings.word_embeddings.weight": arrays["new.embeddings.word_embeddings.weight"][:64]}
    builder.save(source / "model.safetensors", half_done)
    resize(source, vocab=64, pad=0)
    assert builder.load(source)["lm_head.decoder.bias"].shape == (64,)
    broken = builder.load(source)
    del broken["new.encoder.layer.0.attn_ln.weight"]
    builder.save(source / "model.safetensors", broken)
    with pytest.raises(RefusedError, match=r"attn_ln\.weight"):
        resize(source, vocab=32, pad=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab": 64, "pad": 64}, "pad: 64, must be below the vocabulary size 64"),
        ({"vocab": 64, "pad": -1}, "pad: -1, must be at least 0"),
        ({"vocab": 0, "pad": 0}, "vocab: 0, must be at least 1"),
        ({"vocab": 64, "pad": 0, "init": "copy:x"}, "init: 'copy:x'"),
        ({"vocab": 64, "pad": 0, "type_vocab": -1}, "type-vocab: -1"),
        ({"vocab": 64, "pad": 0, "seed": -1}, "seed: -1"),
    ],
)
def test_requests_that_fit_no_checkpoint_are_usage_errors(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    source = builder.build(tmp_path / "ckpt")
    before = picture(tmp_path)
    with pytest.raises(UsageError, match=message.replace("'", ".")):
        resize(source, **options)  # type: ignore[arg-type]
    assert picture(tmp_path) == before


def test_copying_a_row_that_the_table_lacks_is_refused(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    with pytest.raises(RefusedError, match="copy:128, the table has rows 0 to 127"):
        resize(source, vocab=200, pad=0, init="copy:128")


def test_a_single_file_is_no_place_for_surgery(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    with pytest.raises(UsageError, match="takes the whole directory"):
        resize(source / "model.safetensors", vocab=64, pad=0)


def test_files_keep_their_modes(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    (source / "config.json").chmod(0o664)
    (source / "model.safetensors").chmod(0o600)
    resize(source, vocab=64, pad=0)
    modes = {name: stat.S_IMODE((source / name).stat().st_mode) for name in ("config.json", "model.safetensors")}
    assert modes == {"config.json": 0o664, "model.safetensors": 0o600}


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    before, moment = picture(tmp_path), source.stat().st_mtime_ns
    outcome = resize(source, vocab=64, pad=0, dry_run=True)
    assert outcome.receipt is None
    assert not outcome.plan.is_empty
    convert(source, to="native", dry_run=True)
    assert (picture(tmp_path), source.stat().st_mtime_ns) == (before, moment)


def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path: Path) -> None:
    snapshot = hub_snapshot(tmp_path)
    with pytest.raises(RefusedError, match="symlink"):
        resize(snapshot, vocab=64, pad=0, dry_run=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("mine")
    with pytest.raises(RefusedError, match="not empty"):
        resize(snapshot, vocab=64, pad=0, dry_run=True, out=tmp_path / "out")


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    weights = source / "model.safetensors"

    def touch(done: int, total: int) -> None:
        os.utime(weights, ns=(0, time.time_ns()))

    with pytest.raises(RefusedError, match="changed since the plan was made"):
        resize(source, vocab=64, pad=0, progress=touch)
    assert sorted(path.name for path in source.iterdir()) == ["config.json", "model.safetensors"]


def test_a_resize_while_another_one_works_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    source = builder.build(tmp_path / "ckpt")
    refusals: list[GteSurgeryError] = []

    def meanwhile(done: int, total: int) -> None:
        if not refusals:
            with pytest.raises(RefusedError) as refusal:
                resize(source, vocab=96, pad=0)
            refusals.append(refusal.value)

    resize(source, vocab=64, pad=0, progress=meanwhile)
    assert str(os.getpid()) in refusals[0].message + refusals[0].hint
    assert "resize" in refusals[0].message + refusals[0].hint
    assert json.loads((source / "config.json").read_text())["vocab_size"] == 64
