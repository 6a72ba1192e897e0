"""Resizing equals, in every tensor, what the usual in-memory recipe of the reference implementation gave."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from gte_surgery.surgery.verbs import resize
from tests import builder

CASES = ("legacy-base", "legacy-en-v1.5", "legacy-multilingual", "legacy-mlm")


def loaded(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every tensor of every weight file: dtype, shape, bytes."""
    files = folder.glob("model*.safetensors")
    arrays = {name: array for file in files for name, array in load_file(file).items()}
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}


def config_lines(folder: Path) -> list[str]:
    lines = (folder / "config.json").read_text().splitlines()
    return [line for line in lines if "transformers_version" not in line]


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_resize_equals_the_reference_recipe(case: str, shards: int, golden: Path, tmp_path: Path) -> None:
    source, wanted = tmp_path / case, golden / f"{case}.resized-160-pad0"
    if shards == 1:
        shutil.copytree(golden / case, source)
    else:
        builder.write(source, None, load_file(golden / case / "model.safetensors"), shards)
        shutil.copy(golden / case / "config.json", source)
    resize(source, vocab=160, pad=0)
    assert loaded(source) == loaded(wanted)
    assert config_lines(source) == config_lines(wanted)
    assert len(list(source.glob("model*.safetensors"))) == shards
