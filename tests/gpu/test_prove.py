"""Proofs on one card: of a surgery before its commit and of two finished checkpoints, in each dtype that is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery import SmokeOptions, new, prover, resize, smoke  # noqa: E402
from gte_surgery.checkpoint.directory import open_checkpoint  # noqa: E402
from gte_surgery.checkpoint.source import path_of  # noqa: E402
from gte_surgery.smoke.prove import memory  # noqa: E402

pytestmark = pytest.mark.gpu
SIZES = {"layers": 2, "hidden": 128, "heads": 2, "intermediate": 256, "vocab": 640}
RUN = {"F32": ["float32"], "F16": ["float32", "float16"], "BF16": ["float32", "bfloat16"]}
"""The dtypes that a proof on a card runs, by the one that is stored."""


def swap_two_rows(folder: Path) -> None:
    """Rows 5 and 6 of the word table change places."""
    tensor = next(each for name, each in open_checkpoint(folder).tensors.items() if "word_embeddings" in name)
    path, row = path_of(tensor.shard.file.place), tensor.nbytes // tensor.shape[0]
    raw = bytearray(path.read_bytes())
    at = tensor.file_begin + 5 * row
    raw[at : at + 2 * row] = raw[at + row : at + 2 * row] + raw[at : at + row]
    path.write_bytes(raw)


@pytest.mark.parametrize("stored", RUN)
@pytest.mark.parametrize("has_room", [True, False], ids=["together", "one after the other"])
def test_a_shrink_is_proved_on_the_card_and_swapped_rows_are_refuted(
    stored: str, has_room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_room:
        monkeypatch.setattr(memory, "free_bytes", lambda device: memory._BESIDE)
    old = new(tmp_path / "old", release="gte-base-en-v1.5", dtype=stored, **SIZES).target  # type: ignore[arg-type]
    made = resize(old, vocab=256, pad=0, prove=prover("cuda"), out=tmp_path / "small")
    assert made.receipt is not None
    proof = made.receipt["proof"]
    assert (made.receipt["proved"], proof["device"], proof["dtypes"]) == (True, "cuda:0", RUN[stored])
    assert proof["largest_difference"] == 0
    options = SmokeOptions(against=old)
    assert smoke(made.target, options).has_passed
    swap_two_rows(made.target)
    assert [finding.code for finding in smoke(made.target, options).findings] == ["GTE580"]
