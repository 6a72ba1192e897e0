"""A whole project under its gate: checkpoint, corpus in parquet, encoder module, policy. It is green; then it is
damaged in one place at a time, over all steps, and each damage is told by its code in every format.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gte_surgery.cli.entry import run
from gte_surgery.surgery.verbs import resize
from tests.builder import build, change_config, load, remote_config, save
from tests.unit.gate.encoder import ENCODER

FORMATS = ("text", "json", "sarif", "junit", "github", "markdown")
POLICY = """
checkpoint = "runs/last"

[expect]
vocab = 128
pad = 1

[data]
paths = ["corpus/*.parquet"]
workers = 1

[encoder]
callable = "demo_encoding:encode"
examples = 20

[smoke]
device = "cpu"
attention = "sdpa"
batch = 4
max-length = 16
compare = "reference.safetensors"
against = "runs/base"

[quality]
texts = "texts.jsonl"
column = "ids"
"""
WEIGHTS, CONFIG, CORPUS = "runs/last/model.safetensors", "runs/last/config.json", "corpus/a.parquet"
ROWS = [[0, 5, 9, 2], [0, 7, 2, 1]]


def write_corpus(
    path: Path, ids: object = ROWS, name: str = "input_ids", mask: object = ([1] * 4, [1, 1, 1, 0])
) -> None:
    pq.write_table(pa.table({name: ids, "attention_mask": list(mask)}), path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    resize(build(project / "runs" / "base", remote_config(vocab_size=160)), vocab=128, pad=1, out=project / "runs/last")
    (project / "texts.jsonl").write_text("".join(f'{{"ids": [0, {5 + at}, {9 + 2 * at}, 2]}}\n' for at in range(20)))
    (project / "corpus").mkdir()
    write_corpus(project / CORPUS)
    (project / "demo_encoding.py").write_text(ENCODER)
    (project / "gte-surgery.toml").write_text(POLICY)
    line = ["smoke", str(project / "runs" / "last"), "--device", "cpu", "--attention", "sdpa", "--batch", "4"]
    assert run(["--quiet", *line, "--max-length", "16", "--save-reference", f"{project}/reference.safetensors"]) == 0
    return project


@pytest.fixture
def project(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(sound, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("demo_encoding", None)
    yield tmp_path / "project"
    sys.modules.pop("demo_encoding", None)


def codes_told(place: Path, form: str) -> set[str]:
    """The codes of what counts, as a reader of the format finds them."""
    text = place.read_text(encoding="utf-8")
    match form:
        case "json":
            return {finding["code"] for finding in json.loads(text)["findings"]}
        case "sarif":
            (only,) = json.loads(text)["runs"]
            return {result["ruleId"] for result in only["results"]}
        case "junit":
            cases = parse(place).getroot().iter("testcase")
            return {case.attrib["name"][:6] for case in cases if case.find("failure") is not None}
        case "github":
            return set(re.findall(r"^::error title=(GTE\d{3})", text, re.MULTILINE))
        case "markdown":
            return set(re.findall(r"^\| error \| (GTE\d{3})", text, re.MULTILINE))
        case "html":
            return set(re.findall(r"</span> (GTE\d{3}):", text))
        case _:
            return set(re.findall(r"^ +(?:[\d:]+  )?error +(GTE\d{3})", text, re.MULTILINE))


def gated(*options: str) -> tuple[int, dict[str, set[str]]]:
    """The exit code, and the codes that each format tells."""
    outputs = [word for form in FORMATS for word in ("--format", form, "--output", f"out.{form}")]
    code = run(["--quiet", "gate", *outputs, "--html", "out.html", *options])
    return code, {form: codes_told(Path(f"out.{form}"), form) for form in (*FORMATS, "html")}


@pytest.mark.slow
def test_the_project_passes_every_step(project: Path) -> None:
    begin = time.process_time()
    code, told = gated()
    assert code == 0, Path("out.text").read_text()
    assert set().union(*(told[form] for form in ("text", "junit", "github", "markdown"))) == set()
    steps = json.loads(Path("out.json").read_text())["steps"]
    assert [(step["name"], step["ending"]) for step in steps] == [
        (n, "done") for n in ("check", "scan", "fuzz", "smoke", "quality")
    ]
    page = Path("out.html").read_text()
    sections = ["what", "check", "scan", "fuzz", "smoke", "quality"]
    assert re.findall(r'<section id="(\w+)"', page) == re.findall(r'href="#(?!main)(\w+)"', page) == sections
    assert [suite.attrib["name"].split()[1] for suite in parse("out.junit").getroot()] == [
        step["name"] for step in steps
    ]
    assert time.process_time() - begin < 60


def config(**changes: object) -> Callable[[Path], None]:
    return lambda project: change_config(project / "runs/last", **changes)


def weights(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def damage(project: Path) -> None:
        arrays = load(project / WEIGHTS)
        change(arrays)
        save(project / WEIGHTS, arrays)

    return damage


def corpus(**changes: object) -> Callable[[Path], None]:
    return lambda project: write_corpus(project / CORPUS, **changes)


def encoder(old: str, new: str) -> Callable[[Path], None]:
    return replaced("demo_encoding.py", old, new)


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(project: Path) -> None:
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))

    return damage


def resized(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda project: (project / name).write_bytes(change((project / name).read_bytes()))


def named(arrays: dict[str, np.ndarray], ending: str) -> str:
    return next(name for name in arrays if name.endswith(ending))


def put(ending: str, where: object, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: arrays[named(arrays, ending)].__setitem__(where, value)


def shuffle(ending: str) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: np.random.default_rng(0).shuffle(arrays[named(arrays, ending)][2:])


DAMAGES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "pad beyond the vocabulary": ("check", "GTE110", config(pad_token_id=5000)),
    "config cut short": ("check", "GTE003", lambda project: (project / CONFIG).write_text("{")),
    "config gone": ("check", "GTE002", lambda project: (project / CONFIG).unlink()),
    "weights gone": ("check", "GTE004", lambda project: (project / WEIGHTS).unlink()),
    "weights are a page": ("check", "GTE005", lambda project: (project / WEIGHTS).write_text("<!DOCTYPE html><html>")),
    "a flag as a string": ("check", "GTE103", config(pack_qkv="false")),
    "heads that do not divide": ("check", "GTE111", config(num_attention_heads=5)),
    "another vocabulary is expected": ("check", "GTE150", replaced("gte-surgery.toml", "vocab = 128", "vocab = 64")),
    "another pad is expected": ("check", "GTE151", replaced("gte-surgery.toml", "pad = 1", "pad = 0")),
    "a tensor is gone": ("check", "GTE201", weights(lambda arrays: arrays.pop(named(arrays, "LayerNorm.bias")))),
    "bytes behind the last tensor": ("check", "GTE049", resized(WEIGHTS, lambda raw: raw + bytes(8))),
    "an id beyond the table": ("scan", "GTE414", corpus(ids=[[0, 128, 9, 2], [0, 7, 2, 1]])),
    "a negative id": ("scan", "GTE413", corpus(ids=[[0, -7, 9, 2], [0, 7, 2, 1]])),
    "a pad that is kept": ("scan", "GTE427", corpus(mask=([1] * 4, [1] * 4))),
    "a mask of other values": ("scan", "GTE425", corpus(mask=([1] * 4, [1, 1, 7, 0]))),
    "a token that is dropped": ("scan", "GTE428", corpus(mask=([1, 1, 1, 0], [1, 1, 1, 0]))),
    "a mask of another length": ("scan", "GTE421", corpus(mask=([1] * 4, [1] * 3))),
    "another column": ("scan", "GTE481", corpus(name="ids")),
    "parquet cut short": ("scan", "GTE480", resized(CORPUS, lambda raw: raw[:99])),
    "an encoder that raises": ("fuzz", "GTE490", encoder("width = max", "raise TypeError('no')\n    width = max")),
    "an encoder that loses rows": ("fuzz", "GTE491", encoder("for row in rows],", "for row in rows][:1],")),
    "an encoder that cuts": ("fuzz", "GTE492", encoder("for number in ids]", "for number in ids[:3]]")),
    "infinite weights": ("smoke", "GTE510", weights(put("layer.1.mlp.down_proj.weight", 3, np.inf))),
    "a pad row that is not zero": ("smoke", "GTE517", weights(put("word_embeddings.weight", 1, 0.5))),
    "weights of another training": ("smoke", "GTE540", weights(put("layer.0.mlp.down_proj.weight", 3, 0.5))),
    "weights that no surgery left": ("smoke", "GTE580", weights(put("layer.0.mlp.down_proj.weight", 3, 0.5))),
    "rows of the table in another order": ("quality", "GTE591", weights(shuffle("word_embeddings.weight"))),
    "the base is gone": ("quality", "GTE701", lambda project: shutil.rmtree(project / "runs/base")),
    "no such device": ("smoke", "GTE700", replaced("gte-surgery.toml", '"cpu"', '"cuda:99"')),
    "no such encoder": ("fuzz", "GTE701", replaced("gte-surgery.toml", "demo_encoding", "demo_absent")),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_told_by_its_code_in_every_format(project: Path, damage: str) -> None:
    step, wanted, change = DAMAGES[damage]
    change(project)
    code, told = gated("--only", step)
    assert code == 1
    assert {form: wanted in codes for form, codes in told.items()} == dict.fromkeys(told, True), told
    found = json.loads(Path("out.json").read_text())["findings"]
    assert {finding["step"] for finding in found if finding["code"] == wanted} == {step}


@pytest.mark.slow
def test_a_place_in_the_corpus_is_a_path_from_where_the_gate_runs(project: Path) -> None:
    write_corpus(project / CORPUS, [[0, 128, 9, 2], [0, 7, 2, 1]])
    gated("--only", "scan")
    (result,) = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == CORPUS
    assert f"::error title=GTE414 error,file={CORPUS}::" in Path("out.github").read_text()
