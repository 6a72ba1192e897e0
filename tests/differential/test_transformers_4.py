"""What `--for transformers4` says, and what transformers 4.57.6 does: it is installed apart, beside torch of today."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gte_surgery import convert, new
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.findings import Severity
from tests import builder
from tests.differential.test_saved_by_sentence_transformers import write_tokenizer

pytest.importorskip("torch")
pytestmark = pytest.mark.long
PACKAGES = ("transformers==4.57.6", "huggingface_hub==0.36.0", "tokenizers==0.22.1")
SIZES = {"layers": 2, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 128, "pad": 0, "max_positions": 64}
CONFIGURATION = """
from transformers import PretrainedConfig
class NewConfig(PretrainedConfig):
    model_type = "new"
"""
MODELING = """
import torch
from transformers import PreTrainedModel
from .configuration import NewConfig
class NewModel(PreTrainedModel):
    config_class = NewConfig
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = torch.nn.Module()
        self.embeddings.word_embeddings = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()
    def _init_weights(self, module):
        pass
"""
LOADER = """
import json, os, sys
import torch, transformers
assert transformers.__version__ == "4.57.6", transformers.__version__
found = {}
for path in sys.argv[1:]:
    try:
        model, told = transformers.AutoModel.from_pretrained(path, trust_remote_code=True, output_loading_info=True)
        missing = [name for name in told["missing_keys"] if "pooler" not in name]
        found[path] = f"random: {missing}" if missing else "loads"
        for layer in model.layers if model.config.model_type == "modernbert" else ():
            turns = layer.attn.rotary_emb
            found[path] += f" {turns.config.rope_theta:g}{turns.rope_type if turns.rope_type != 'default' else ''}"
        if model.config.model_type != "new":
            model(torch.full((1, 8), 5))
        if os.path.exists(f"{path}/tokenizer_config.json"):
            transformers.AutoTokenizer.from_pretrained(path)
    except Exception as error:
        found[path] = type(error).__name__
print("found " + json.dumps(found))
"""


def with_code(path: Path, **mapped: str) -> Path:
    """A remote checkpoint with code of its own."""
    names = {"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"} | mapped
    made = builder.build(path, builder.remote_config(auto_map=names))
    (made / "configuration.py").write_text(CONFIGURATION)
    (made / "modeling.py").write_text(MODELING)
    return made


def bert(path: Path) -> Path:
    return new(path, release="gte-base", dtype="F32", **SIZES).target  # type: ignore[arg-type]


def stated(path: Path, metadata: Mapping[str, str] | None) -> Path:
    """A BERT whose header has this metadata."""
    from safetensors.numpy import load_file, save_file

    file = bert(path) / "model.safetensors"
    save_file(load_file(file), file, metadata=None if metadata is None else dict(metadata))
    return path


def without(path: Path, name: str) -> Path:
    (path / name).unlink()
    return path


def index_without_metadata(path: Path) -> Path:
    convert(bert(path), shard_size=20_000)
    file = path / "model.safetensors.index.json"
    builder.write_json(file, {"weight_map": json.loads(file.read_text())["weight_map"]})
    return path


def bert_with(path: Path, **members: object) -> Path:
    builder.change_config(bert(path), **members)
    return path


def modernbert(path: Path, **members: object) -> Path:
    new(path, release="gte-modernbert-base", dtype="F32", **SIZES)  # type: ignore[arg-type]
    builder.change_config(path, **members)
    return path


def tokenized(path: Path, **members: object) -> Path:
    """A tokenizer as transformers 5 saves it, with extra special tokens."""
    from transformers import AutoTokenizer

    (path.parent / "words").mkdir(exist_ok=True)
    write_tokenizer(path.parent / "words")
    tokenizer = AutoTokenizer.from_pretrained(path.parent / "words", extra_special_tokens=["w1"])
    tokenizer.save_pretrained(new(path, release="gte-base", dtype="F32", **(SIZES | {"vocab": 320, "pad": 1})).target)  # type: ignore[arg-type]
    file = path / "tokenizer_config.json"
    changed = {**json.loads(file.read_text()), **members}
    builder.write_json(file, {key: value for key, value in changed.items() if value is not builder.ABSENT})
    return path


def dangling(path: Path) -> Path:
    (bert(path) / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to("gone")
    return path


OURS = {"GTE064", "GTE144"}
"""Of these cases: changed behind the receipt's back, and with code that is no published one."""
ROPES = {
    "full_attention": {"rope_type": "default", "rope_theta": 50000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 7000.0},
}
NO_ROPE = {"rope_parameters": builder.ABSENT}
CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}
EXTRA = {"extra_special_tokens": builder.ABSENT, "additional_special_tokens": ["w1"]}
CASES: dict[str, tuple[Callable[[Path], object], set[str], str]] = {
    "native": (lambda path: new(path, release="gte-base-en-v1.5", **SIZES), {"GTE610"}, "ValueError"),  # type: ignore[arg-type]
    "code": (with_code, set(), "loads"),
    "no auto_map": (lambda path: builder.build(path), {"GTE611"}, "ValueError"),
    "no file of the code": (lambda path: without(with_code(path), "modeling.py"), {"GTE612"}, "OSError"),
    "no class": (lambda path: with_code(path, AutoModel="modeling.OldModel"), {"GTE614"}, "AttributeError"),
    "bert": (bert, set(), "loads"),
    "no metadata": (lambda path: stated(path, None), {"GTE613"}, "loads"),  # 4.41 has an AttributeError
    "no format": (lambda path: stated(path, {"made_by": "hand"}), {"GTE613"}, "ValueError"),
    "format of numpy": (lambda path: stated(path, {"format": "np"}), {"GTE613"}, "ValueError"),
    "index without metadata": (index_without_metadata, {"GTE020"}, "KeyError"),
    "dangling": (dangling, {"GTE006"}, "OSError"),
    "heads taken off": (lambda path: bert_with(path, pruned_heads={"0": [0]}), {"GTE615"}, "RuntimeError"),
    "newer activation": (lambda path: bert_with(path, hidden_act="hardswish"), {"GTE615"}, "KeyError"),
    "newer tokenizer": (lambda path: tokenized(path, extra_special_tokens={}), {"GTE615"}, "ValueError"),
    "newer extra tokens": (lambda path: tokenized(path, **CLASS), {"GTE615"}, "AttributeError"),
    "tokenizer for both": (lambda path: tokenized(path, **CLASS, **EXTRA), set(), "loads"),
    "modernbert": (modernbert, set(), "loads 160000 10000"),
    "modernbert of 5": (lambda path: modernbert(path, rope_parameters=ROPES), {"GTE610"}, "loads 160000 10000"),
    "half turned": (lambda path: modernbert(path, partial_rotary_factor=0.5), {"GTE615"}, "RuntimeError"),
    "all turned": (lambda path: modernbert(path, partial_rotary_factor=1.0), set(), "loads 160000 10000"),
    "turned by null": (lambda path: modernbert(path, partial_rotary_factor=None), {"GTE615"}, "TypeError"),
    "theta in the scaling": (
        lambda path: modernbert(path, rope_scaling={"rope_type": "default", "rope_theta": 50.0}, **NO_ROPE),
        {"GTE610"},
        "loads 160000 10000",
    ),
    "scaling without a type": (lambda path: modernbert(path, rope_scaling={"factor": 2.0}), {"GTE615"}, "KeyError"),
    "type by its old key": (
        lambda path: modernbert(path, rope_scaling={"type": "linear", "factor": 2.0}, **NO_ROPE),
        {"GTE610"},
        "loads 160000linear 10000linear",
    ),
    "linear for both": (
        lambda path: modernbert(path, rope_scaling={"rope_type": "linear", "factor": 2.0}, **NO_ROPE),
        {"GTE126"},
        "loads 160000linear 10000linear",
    ),
    "local theta null": (lambda path: modernbert(path, local_rope_theta=None), {"GTE610"}, "loads 160000 160000"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What transformers 4.57.6 does with each case."""
    folder = tmp_path_factory.mktemp("transformers4")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site"), *PACKAGES]
    subprocess.run(pip, check=True)
    for name, (make, _, _) in CASES.items():
        make(folder / name)
    environment = {
        **os.environ, "PYTHONPATH": str(folder / "site"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"),
    }  # fmt: skip
    command = [sys.executable, "-c", LOADER, *(str(folder / name) for name in CASES)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(said.rpartition("found ")[2])
    judged = {name: codes(folder / name) for name in CASES}
    shutil.rmtree(folder)
    return {name: f"{sorted(judged[name])} {found[str(folder / name)]}" for name in CASES}


def codes(path: Path) -> set[str]:
    findings = run(open_checkpoint(path), consumers=("transformers4",)).findings
    return {each.code for each in findings if each.severity > Severity.NOTE} - OURS


@pytest.mark.parametrize("name", CASES)
def test_a_verdict_is_what_transformers_4_does(name: str, answers: dict[str, str]) -> None:
    _, wanted, done = CASES[name]
    assert answers[name] == f"{sorted(wanted)} {done}"
