"""What transformers itself loads and saves gets exactly the findings that its names deserve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.gte.families import read_config
from gte_surgery.gte.rope import to_native

transformers = pytest.importorskip("transformers")

ROUND_TRIPS = [
    ("legacy-base", "GteModel", set()),
    ("legacy-type2", "GteModel", set()),
    ("legacy-mixed-ntk", "GteModel", set()),
    ("legacy-mlm", "GteModel", set()),
    ("legacy-mlm", "GteForMaskedLM", {"GTE210"}),
    ("legacy-multilingual", "GteForTokenClassification", {"GTE210"}),
    ("legacy-reranker", "GteForSequenceClassification", {"GTE210"}),
    ("legacy-base", "GteForMaskedLM", {"GTE211"}),
]
CLASSES = ["GteModel", "GteForMaskedLM", "GteForSequenceClassification", "GteForTokenClassification"]


def codes(path: Path) -> set[str]:
    report = run(open_checkpoint(path))
    assert report.skipped == ()
    return {finding.code for finding in report.findings}


def converted(golden: Path, name: str, path: Path) -> Path:
    """A golden checkpoint under a native config; the weights keep their names, as in the published conversions."""
    path.mkdir()
    shutil.copyfile(golden / name / "model.safetensors", path / "model.safetensors")
    config = json.loads((golden / name / "config.json").read_text(encoding="utf-8"))
    known = read_config(config)
    rope = to_native(known.rope, known.head_size, known.max_position_embeddings)
    native = {key: value for key, value in config.items() if key not in ("auto_map", "rope_theta", "rope_scaling")}
    native |= {"model_type": "gte", "rope_parameters": rope}
    (path / "config.json").write_text(json.dumps(native, indent=2), encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "class_name", "deserved"), ROUND_TRIPS)
def test_loaded_and_saved_by_transformers(
    golden: Path, tmp_path: Path, name: str, class_name: str, deserved: set[str]
) -> None:
    source = converted(golden, name, tmp_path / "converted")
    assert codes(source) == set()
    model = getattr(transformers, class_name).from_pretrained(source)
    model.save_pretrained(tmp_path / "saved")
    assert codes(tmp_path / "saved") == deserved
    model.save_pretrained(tmp_path / "renamed", save_original_format=False)
    assert codes(tmp_path / "renamed") == ({"GTE212"} if class_name == "GteModel" else set())


@pytest.mark.parametrize("class_name", CLASSES)
def test_made_from_scratch_by_transformers(golden: Path, tmp_path: Path, class_name: str) -> None:
    config = transformers.AutoConfig.from_pretrained(converted(golden, "legacy-base", tmp_path / "converted"))
    getattr(transformers, class_name)(config).save_pretrained(tmp_path / "made")
    assert codes(tmp_path / "made") == set()
