"""`convert --head`: a head comes, goes or gives way to another, and the encoder stays bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gte_surgery import convert, diff, new, undo
from gte_surgery.errors import RefusedError
from tests.builder import Config, Tensors, build, change_config, load, native_config, remote_config
from tests.cases.test_config import grave

HEADS = ("none", "mlm", "classifier", "reranker")


def stored(path: Path) -> Tensors:
    return {name: array for file in sorted(path.glob("*.safetensors")) for name, array in load(file).items()}


SIZES = {"layers": 2, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 64, "pad": 0, "max_positions": 64}
RELEASES = [("gte-base-en-v1.5", "native"), ("gte-base-en-v1.5", "remote"), ("gte-small", "native"),
            ("gte-modernbert-base", "native")]  # fmt: skip


@pytest.mark.parametrize(("release", "dialect"), RELEASES)
@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_comes_is_the_one_that_new_makes(release: str, dialect: str, head: str, tmp_path: Path) -> None:
    bare, made = (
        new(tmp_path / name, release=release, head=each, dialect=dialect, seed=7, **SIZES).target  # type: ignore[arg-type]
        for name, each in (("bare", "none"), ("made", head))
    )
    outcome = convert(bare, head=head, seed=7, out=tmp_path / "after")  # type: ignore[arg-type]
    assert diff(made, outcome.target).is_equal, head
    assert grave(outcome.target) == set()
    assert ("outputs mean nothing" in " ".join(outcome.plan.meaning)) is (head != "none")
    assert outcome.plan.is_empty is (head == "none")


def test_auto_map_gets_the_class_of_a_head_that_it_lacks(tmp_path: Path) -> None:
    code = {"AutoConfig": "org/code--configuration.NewConfig", "AutoModel": "org/code--modeling.NewModel"}
    path = build(tmp_path / "c", remote_config(auto_map=code))
    convert(path, head="mlm")
    wanted = {**code, "AutoModelForMaskedLM": "org/code--modeling.NewForMaskedLM"}
    assert json.loads((path / "config.json").read_text())["auto_map"] == wanted
    convert(path, head="none")
    assert json.loads((path / "config.json").read_text())["auto_map"] == wanted


@pytest.mark.parametrize(
    ("before", "after", "labels"),
    [("mlm", "classifier", 1), ("classifier", "reranker", 3), ("reranker", "classifier", 3), ("reranker", "mlm", 3)],
)
@pytest.mark.parametrize("config", [native_config, remote_config])
def test_one_head_gives_way_to_another(
    config: Callable[..., Config], before: str, after: str, labels: int, tmp_path: Path
) -> None:
    stated = {"id2label": {str(number): "ABC"[number] for number in range(3)}} if labels == 3 else {}
    path = build(tmp_path / "c", config(**stated), head=before, shards=2)
    was = stored(path)
    convert(path, head=after)  # type: ignore[arg-type]
    found = stored(path)
    assert grave(path) == set()
    assert all(np.array_equal(found[name], was[name]) for name in found.keys() & was.keys())
    assert {name.partition(".")[0] for name in found} - {"new", "gte"} == {
        "mlm": {"lm_head"}, "classifier": {"classifier"}, "reranker": {"classifier"}
    }[after]  # fmt: skip
    if after != "mlm":
        assert found["classifier.weight"].shape[0] == labels
    undo(path)
    assert stored(path).keys() == was.keys()


@pytest.mark.parametrize(("before", "after"), [("none", "reranker"), ("mlm", "none")])
def test_the_proof_holds_for_what_stays(before: str, after: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from gte_surgery.smoke.prove.run import prover

    path = build(tmp_path / "c", native_config(), head=before)
    outcome = convert(path, head=after, prove=prover())  # type: ignore[arg-type]
    claims = {claim.kind for claim in outcome.plan.claims}
    assert "states" in claims
    assert "outputs" not in claims


def test_what_has_no_such_head_is_refused_and_a_dtype_goes_along(tmp_path: Path) -> None:
    path = build(tmp_path / "c", native_config())
    convert(path, head="mlm", dtype="F16")
    assert {array.dtype for array in load(path).values()} == {np.dtype(np.float16)}
    convert(path, head="none")
    change_config(path, hidden_act="relu")
    with pytest.raises(RefusedError, match="GTE117"):
        convert(path, head="mlm")
