"""Members of config.json at which transformers 5 stops, or of which it makes other numbers, are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gte_surgery import check, convert, load_encoder
from gte_surgery.errors import CheckpointError
from gte_surgery.findings import Severity
from gte_surgery.gte.fields import ACTIVATIONS
from tests.builder import build, native_config, remote_config
from tests.unit.checks.test_damage_families import damaged

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

STOPS = {
    "native": {
        "hidden_act": "gelu_fancy", "layer_norm_eps": 0, "initializer_range": 1, "bos_token_id": "<s>",
        "eos_token_id": 2.0, "quantization_config": "int8", "is_causal": 1,
    },
    "bert-base": {
        "hidden_act": "GELU", "layer_norm_eps": 1, "chunk_size_feed_forward": "0", "bos_token_id": 0.0,
        "is_causal": "no",
    },
    "modernbert-base": {
        "hidden_activation": "geglu", "initializer_cutoff_factor": 2, "norm_eps": 0, "cls_token_id": "[CLS]",
        "sep_token_id": [1], "head_dim": 2, "sliding_window": 3.0,
    },
}  # fmt: skip
CHANGES = [
    ("native", "is_causal", True), ("bert-base", "is_causal", True), ("modernbert-base", "is_causal", True),
    ("modernbert-base", "sliding_window", 1),
]  # fmt: skip


def made(path: Path, base: str, **members: object) -> Path:
    return build(path / base, native_config(**members)) if base == "native" else damaged(path, base, **members)


def output(path: Path) -> Any:
    with torch.no_grad():
        model = transformers.AutoModel.from_pretrained(path).eval()
        return model(input_ids=torch.tensor([[2, 9, 7, 30, 12, 3, 8, 5]]))[0]


def is_condemned(path: Path) -> bool:
    return any(finding.severity is Severity.ERROR for finding in check(path, consumers=["transformers5"]).findings)


@pytest.mark.parametrize(
    ("base", "key", "value"), [(base, key, value) for base, keys in STOPS.items() for key, value in keys.items()]
)
def test_where_transformers_stops_there_is_an_error(tmp_path: Path, base: str, key: str, value: object) -> None:
    path = made(tmp_path, base, **{key: value})
    with pytest.raises(Exception):  # noqa: B017 - each of these stops it in its own way
        output(path)
    assert is_condemned(path)
    assert not is_condemned(made(tmp_path / "sound", base))


@pytest.mark.parametrize(("base", "key", "value"), CHANGES)
def test_where_transformers_computes_other_numbers_there_is_an_error(
    tmp_path: Path, base: str, key: str, value: object
) -> None:
    path, sound = made(tmp_path, base, **{key: value}), made(tmp_path / "sound", base)
    assert not torch.equal(output(path), output(sound))
    assert is_condemned(path)
    with pytest.raises(CheckpointError, match=key):
        load_encoder(path, "cpu")


@pytest.mark.parametrize(("key", "value"), [("is_causal", False), ("head_dim", None), ("sliding_window", 8)])
def test_what_says_no_more_than_is_so_is_no_error(tmp_path: Path, key: str, value: object) -> None:
    path, sound = made(tmp_path, "modernbert-base", **{key: value}), made(tmp_path / "sound", "modernbert-base")
    assert torch.equal(output(path), output(sound))
    assert not is_condemned(path)


def test_what_the_remote_code_does_not_read_is_not_carried_where_the_native_model_reads_it(tmp_path: Path) -> None:
    path = build(tmp_path / "c", remote_config())
    convert(path, to="native", out=tmp_path / "sound")
    causal = build(tmp_path / "causal", remote_config(is_causal=True))
    convert(causal, to="native")
    assert torch.equal(output(causal), output(tmp_path / "sound"))


def test_every_activation_of_transformers_is_known() -> None:
    assert set(transformers.activations.ACT2FN) <= ACTIVATIONS
