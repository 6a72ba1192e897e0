"""gte-surgery.toml: where it is looked for, what it says, and how it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gte_surgery.checks.policy import Policy, find_policy, read_policy
from gte_surgery.checks.subject import Expectations
from gte_surgery.errors import UsageError
from gte_surgery.findings import Severity, Suppression

WHOLE = """
fail-on = "warning"

[expect]
vocab = 32000
pad = 0
type-vocab = 0
contract = "contracts/ids.json"
consumers = ["transformers5", "tei"]

[ignore]
GTE112 = "the tokenizer has 31,997 ids"
GTE14 = "we know"
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_it_can_say_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "policy.toml", WHOLE)
    assert read_policy(path) == Policy(
        source=str(path),
        fail_on=Severity.WARNING,
        expectations=Expectations(32000, 0, 0),
        contract=tmp_path / "contracts" / "ids.json",
        consumers=("transformers5", "tei"),
        suppressions=(
            Suppression("GTE112", "the tokenizer has 31,997 ids", str(path)),
            Suppression("GTE14", "we know", str(path)),
        ),
    )


def test_an_empty_one_says_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "policy.toml", "")
    assert read_policy(path) == Policy(source=str(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[ignore]\nGTE112 = ""', 'ignore.GTE112: "", must be the reason, in words'),
        ('[ignore]\nGTE112 = "  "', "must be the reason, in words"),
        ("[ignore]\nGTE112 = true", "ignore.GTE112: true, must be the reason, in words"),
        ("[ignore]\nE501 = 'why'", "E501"),
        ("[expect]\nvocab = '32000'", 'expect.vocab: "32000", must be an integer'),
        ("[expect]\nvocab = 0", "expect.vocab: 0, must be at least 1"),
        ("[expect]\nvocab = true", "expect.vocab: true, must be an integer"),
        ("[expect]\nconsumers = ['tgi']", "expect.consumers.0"),
        ("fail-on = 'always'", 'fail-on: "always", must be "error"'),
        ("failon = 'error'", "failon"),
        ("[expect\n", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path / "policy.toml", text)
    with pytest.raises(UsageError) as raised:
        read_policy(path)
    assert raised.value.message.startswith(f"{path}: ")
    assert told in raised.value.message


def test_one_that_is_not_there_or_not_text_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("nowhere.toml", "binary.toml"):
        with pytest.raises(UsageError):
            read_policy(tmp_path / name)


def test_it_is_found_beside_the_checkpoint_and_never_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "models" / "base"
    checkpoint.mkdir(parents=True)
    written(checkpoint / "gte-surgery.toml", '[ignore]\nGTE2 = "a checkpoint must not excuse itself"')
    written(checkpoint / "model.safetensors", "")
    assert find_policy(checkpoint) is None
    beside = written(tmp_path / "models" / "gte-surgery.toml", "")
    assert find_policy(checkpoint) == beside
    assert find_policy(checkpoint / "model.safetensors") == beside
    monkeypatch.chdir(checkpoint)
    for path in (".", "../base", "model.safetensors"):
        assert find_policy(Path(path)) == Path(os.path.abspath("..")) / "gte-surgery.toml"
