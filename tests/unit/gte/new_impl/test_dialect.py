"""Each spelling of a config is told from its keys alone."""

from __future__ import annotations

import pytest

from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.new_impl.reading import detect_dialect

OLD_KEYS = {"model_type": "gte", "position_embedding_type": "rope", "pack_qkv": True}
NTK = {"type": "ntk", "factor": 8.0}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"model_type": "new"}, Dialect.REMOTE),
        ({"model_type": "new", "rope_parameters": {"rope_type": "default"}}, Dialect.REMOTE),
        ({**OLD_KEYS, "rope_theta": 160000}, Dialect.RENAMED),
        ({**OLD_KEYS, "rope_theta": 160000, "rope_scaling": None, "auto_map": {}}, Dialect.RENAMED),
        ({**OLD_KEYS, "rope_theta": 20000, "rope_scaling": NTK, "auto_map": {}}, Dialect.RENAMED),
        ({"model_type": "gte"}, Dialect.NATIVE),
        ({"model_type": "gte", "rope_theta": 20000}, Dialect.NATIVE),
        ({**OLD_KEYS, "rope_parameters": {"rope_type": "default"}}, Dialect.NATIVE),
        ({**OLD_KEYS, "rope_theta": 20000, "rope_parameters": {"rope_type": "default"}}, Dialect.NATIVE),
        (OLD_KEYS, Dialect.NATIVE),
        ({"model_type": "bert"}, None),
        ({"model_type": ["new"]}, None),
        ({}, None),
    ],
)
def test_a_config_is_of_the_dialect_that_its_keys_show(config: dict[str, object], wanted: Dialect | None) -> None:
    assert detect_dialect(config) is wanted


def test_an_ntk_scaling_that_no_code_would_apply_is_native() -> None:
    assert detect_dialect({**OLD_KEYS, "rope_theta": 20000, "rope_scaling": NTK}) is Dialect.NATIVE


@pytest.mark.parametrize("old", ["position_embedding_type", "pack_qkv"])
@pytest.mark.parametrize("rope", ["rope_theta", "rope_scaling"])
def test_one_old_key_and_one_rope_key_are_enough(old: str, rope: str) -> None:
    assert detect_dialect({"model_type": "gte", old: None, rope: None}) is Dialect.RENAMED
    assert detect_dialect({"model_type": "gte", rope: None}) is Dialect.NATIVE
    assert detect_dialect({"model_type": "gte", old: None}) is Dialect.NATIVE
