"""Whatever a config, an index or a weight file holds, checking and describing it ends in a report and never raises."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.description import describe
from gte_surgery.checks.registry import all_rules
from gte_surgery.checks.run import run
from gte_surgery.checks.subject import Expectations
from gte_surgery.findings import Report
from tests.builder import Config, build, native_config, remote_config, write_json

EXTREMES = st.sampled_from([0, -1, 1, 2**31, 2**64, 10**400, -(10**400), 1e-320, 1e308, 5e-324, 0.0, -0.0, 1.0, True])
SCALARS = EXTREMES | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=8) | st.sampled_from(["ntk", "linear", "longrope", "yarn", "default", "new", "gte", "false"])
ROPE_KEYS = st.sampled_from(
    ["type", "rope_type", "factor", "mixed_b", "rope_theta", "short_factor", "long_factor", "attention_factor"]
)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | ROPE_KEYS, inner, max_size=5),
    max_leaves=8,
)
KEYS = sorted({*remote_config(), *native_config(), "auto_map", "id2label", "num_labels", "tie_word_embeddings"})
CHANGES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)
BASES = st.sampled_from([remote_config(), native_config(), remote_config(model_type="gte", rope_scaling=None)])


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield build(Path(name))


def judged(path: Path) -> Report:
    checkpoint = open_checkpoint(path)
    json.dumps(asdict(describe(checkpoint)))
    report = run(checkpoint, Expectations(vocab=128, pad=0, type_vocab=0))
    for finding in report.findings:
        assert finding.message
        assert "\n" not in f"{finding}{finding.hint}"
    skipped = {rule.code for rule in report.skipped}
    assert not skipped & {finding.code for finding in report.findings}
    assert all(because for because in (rule.because for rule in report.skipped))
    assert report.rules == tuple(code for code, rule in all_rules().items() if not rule.only_with)
    return report


@given(base=BASES, changes=CHANGES)
@example(base=remote_config(), changes={"rope_theta": 10**400})
@example(base=remote_config(), changes={"rope_scaling": {"type": "ntk", "factor": 1e308, "mixed_b": 1e308}})
@example(base=remote_config(), changes={"rope_scaling": {"type": "ntk", "factor": 2, "mixed_b": -1e308}})
@example(base=native_config(), changes={"num_hidden_layers": 10**400})
@example(base=native_config(), changes={"rope_parameters": {"rope_type": "linear", "rope_theta": 1, "factor": 5e-324}})
def test_any_config_is_judged(folder: Path, base: Config, changes: dict[str, object]) -> None:
    write_json(folder / "config.json", {**base, **changes})
    judged(folder)


@given(raw=st.binary(max_size=64) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_for_a_config_are_judged(folder: Path, raw: bytes) -> None:
    (folder / "config.json").write_bytes(raw)
    judged(folder)


@given(at=st.floats(0, 1), new=st.binary(max_size=4))
def test_any_change_of_a_few_bytes_of_the_weights_is_judged(folder: Path, at: float, new: bytes) -> None:
    write_json(folder / "config.json", remote_config())
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    begin = int(at * min(len(whole), 4096))
    try:
        weights.write_bytes(whole[:begin] + new + whole[begin + 2 :])
        judged(folder)
    finally:
        weights.write_bytes(whole)


@given(weight_map=st.dictionaries(st.text(max_size=4), SCALARS | st.text(max_size=8), max_size=3) | VALUES)
def test_any_index_is_judged(folder: Path, weight_map: object) -> None:
    index = folder / "model.safetensors.index.json"
    try:
        write_json(index, {"weight_map": weight_map, "metadata": weight_map})
        judged(folder)
    finally:
        index.unlink()
