"""What the verbs take beside their edits is one bundle of keywords, the same for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gte_surgery.surgery.trim import trim
from gte_surgery.surgery.verbs import convert, fix, new, reinit, remap, resize
from tests import builder

EDITS: dict[Callable[..., Any], dict[str, Any]] = {
    resize: {"vocab": 32, "pad": 0},
    remap: {"keep": [0, 1, 5, 9]},
    convert: {"dtype": "F16"},
    reinit: {},
    fix: {"codes": ["GTE060"]},
}


@pytest.mark.parametrize("verb", EDITS, ids=lambda verb: verb.__name__)
def test_a_misspelt_keyword_is_refused_and_nothing_written(verb: Callable[..., Any], tmp_path: Path) -> None:
    place = builder.build(tmp_path / "ckpt", builder.remote_config())
    (place / "left.tmp").write_bytes(b"a save that was killed")
    before = {path: path.read_bytes() for path in place.iterdir()}
    told = rf"^{verb.__name__}\(\) got an unexpected keyword argument 'tread'\. Did you mean 'threads'\?$"
    with pytest.raises(TypeError, match=told):
        verb(place, **EDITS[verb], tread=1)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_a_misspelt_keyword_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    told = r"^trim\(\) got an unexpected keyword argument 'text'\. Did you mean 'texts'\?$"
    with pytest.raises(TypeError, match=told):
        trim(tmp_path / "none", text=tmp_path / "none.txt")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^new\(\) got an unexpected keyword argument 'xyzzy'$"):
        new(tmp_path / "out", release="no release", xyzzy=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("verb", EDITS, ids=lambda verb: verb.__name__)
def test_every_surgery_takes_the_whole_bundle(verb: Callable[..., Any], tmp_path: Path) -> None:
    place, steps = builder.build(tmp_path / "ckpt", builder.remote_config()), list[int]()
    (place / "left.tmp").write_bytes(b"a save that was killed")
    bundle = {"hashes": False, "threads": 1, "keep_undo": False, "progress": lambda done, total: steps.append(done)}
    assert verb(place, **EDITS[verb], out=tmp_path / "out", dry_run=True, **bundle).receipt is None
    made = verb(place, **EDITS[verb], out=tmp_path / "out", **bundle)
    assert all("sha256" not in written for written in made.receipt["written"])
    assert steps == sorted(steps)
    assert (tmp_path / "out" / "model.safetensors").exists()
