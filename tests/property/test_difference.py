"""Random edits of a random checkpoint: `diff` tells exactly what was edited, against an oracle made of numpy arrays."""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.compare.difference import TensorDifference, diff
from gte_surgery.surgery.verbs import convert
from tests import builder

WORDS = "embeddings.word_embeddings.weight"
ROWS, WIDTH = 40, 32
CONFIG = builder.remote_config(vocab_size=ROWS, num_hidden_layers=1)
ARRAYS = builder.tensors(CONFIG)
DTYPES = {"float32": "F32", "float16": "F16", "float64": "F64"}
NAMES = sorted(ARRAYS)

elements = st.tuples(st.integers(0, 10**6), st.sampled_from([0.0, -0.0, 1e-3, 1.0, np.inf, np.nan, 1e30]))
edits = st.one_of(
    st.tuples(st.just("poke"), st.sampled_from([*NAMES, WORDS, WORDS]), st.lists(elements, max_size=6)),
    st.tuples(st.just("cut"), st.sampled_from(NAMES), st.integers(1, ROWS)),
    st.tuples(st.just("cast"), st.sampled_from(NAMES), st.sampled_from(list(DTYPES))),
    st.tuples(st.just("remove"), st.sampled_from([name for name in NAMES if name != WORDS]), st.none()),
    st.tuples(st.just("add"), st.sampled_from(["extra.weight", "scale"]), st.integers(0, 3)),
)


def edited(changes: list[tuple[str, str, object]]) -> dict[str, np.ndarray]:
    after = {name: array.copy() for name, array in ARRAYS.items()}
    for kind, name, value in changes:
        if kind == "add":
            after[name] = np.arange(value)
        elif name not in after:
            continue
        elif kind == "poke":
            for place, number in value:
                with np.errstate(over="ignore"):
                    after[name].reshape(-1)[place % after[name].size] = number
        elif kind == "cut":
            after[name] = after[name][:value].copy()
        elif kind == "cast":
            with np.errstate(over="ignore"):
                after[name] = after[name].astype(value)
        else:
            del after[name]
    return after


def kinds(name: str, after: dict[str, np.ndarray]) -> set[str]:
    """What the edits came to, by numpy alone."""
    if name not in after or name not in ARRAYS:
        return {"removed"} if name in ARRAYS else {"added"}
    one, other = ARRAYS[name], after[name]
    rows = min(len(one), len(other))
    found = {"reshaped"} if one.shape != other.shape else set()
    if one.dtype != other.dtype:
        return found | {"recast"}
    return found | ({"changed"} if one[:rows].tobytes() != other[:rows].tobytes() else set())


def changed_rows(one: np.ndarray, other: np.ndarray) -> list[int]:
    if one.dtype == other.dtype:
        return [row for row in range(len(one)) if one[row].tobytes() != other[row].tobytes()]
    return [row for row in range(len(one)) if not np.array_equal(one[row], other[row], equal_nan=True)]


def check_gap(tensor: TensorDifference, other: np.ndarray) -> None:
    rows = min(len(ARRAYS[tensor.name]), len(other))
    one, other = ARRAYS[tensor.name][:rows], other[:rows]
    if one.dtype == other.dtype and one.tobytes() == other.tobytes():
        assert tensor.gap is None
        return
    left, right = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    finite = np.isfinite(left) & np.isfinite(right)
    gap = tensor.gap
    assert gap is not None
    assert (gap.compared, gap.not_finite) == (one.size, one.size - finite.sum())
    left, right = left[finite], right[finite]
    assert gap.largest == np.abs(left - right).max(initial=0)
    assert np.isclose(gap.mean, np.abs(left - right).mean() if len(left) else 0, rtol=1e-12, atol=0)
    norms = np.linalg.norm(left) * np.linalg.norm(right)
    if norms == 0:
        assert gap.cosine is None
    else:
        assert gap.cosine is not None
        assert np.isclose(gap.cosine, left @ right / norms, rtol=1e-9, atol=1e-12)
    if tensor.name != WORDS:
        assert gap.rows is None
        return
    assert gap.rows is not None
    wanted = changed_rows(one, other)
    runs = [list(group) for _, group in groupby(enumerate(wanted), lambda item: item[1] - item[0])]
    assert gap.rows.ranges == tuple((run[0][1], run[-1][1]) for run in runs)
    assert (gap.rows.compared, gap.rows.changed) == (rows, len(wanted))


@given(changes=st.lists(edits, max_size=5), shards=st.sampled_from([1, 3]))
def test_diff_reports_exactly_what_was_edited(changes: list[tuple[str, str, object]], shards: int) -> None:
    after = edited(changes)
    wanted = {name: kinds(name, after) for name in {*ARRAYS, *after} if kinds(name, after)}
    with tempfile.TemporaryDirectory() as folder:
        left = builder.write(Path(folder) / "left", CONFIG, ARRAYS)
        right = builder.write(Path(folder) / "right", CONFIG, after, shards)
        found = diff(left, right, values=True)
        assert {tensor.name: set(tensor.kinds) for tensor in found.tensors} == wanted
        plain = diff(left, right)
        assert {tensor.name: set(tensor.kinds) for tensor in plain.tensors} == wanted
        assert found.is_equal is plain.is_equal is diff(left, right, brief=True).is_equal is (not wanted)
        swapped = {tensor.name: set(tensor.kinds) for tensor in diff(right, left).tensors}
        turned = {"added": "removed", "removed": "added"}
        assert swapped == {name: {turned.get(kind, kind) for kind in told} for name, told in wanted.items()}
    for tensor in found.tensors:
        if tensor.left is not None and tensor.right is not None:
            check_gap(tensor, after[tensor.name])


@given(layer=st.sampled_from(["qkv_proj", "up_gate_proj"]), place=st.integers(0, 10**6))
def test_one_changed_element_is_found_in_its_part_through_a_conversion(layer: str, place: int) -> None:
    name = next(name for name in NAMES if name.endswith(f"{layer}.weight"))
    after = {**ARRAYS, name: ARRAYS[name].copy()}
    place %= after[name].size
    after[name].reshape(-1)[place] += 1
    parts = ("q_proj", "k_proj", "v_proj") if layer == "qkv_proj" else ("up_proj", "gate_proj")
    with tempfile.TemporaryDirectory() as folder:
        left = builder.write(Path(folder) / "left", CONFIG, ARRAYS)
        right = builder.write(Path(folder) / "right", CONFIG, after)
        convert(right, to="native", layout="f", hashes=False, keep_undo=False)
        changed = [tensor.name for tensor in diff(left, right).tensors if not tensor.is_equal]
    assert changed == [name.replace(layer, parts[place * len(parts) // after[name].size])]
