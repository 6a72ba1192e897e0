"""gte-surgery.toml: where it is looked for, what it says, and how it is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gte_surgery.checks.policy import Policy, find_policy, passed_over, read_policy
from gte_surgery.checks.subject import Expectations
from gte_surgery.errors import UsageError
from gte_surgery.findings import Severity, Suppression
from gte_surgery.gte.kinds import Consumer

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


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "gte-surgery.toml").write_bytes("[expect]\r\nvocab = 640\r\n".encode("utf-8-sig"))
    assert read_policy(tmp_path / "gte-surgery.toml").expectations.vocab == 640


def test_everything_that_it_can_say_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "policy.toml", WHOLE)
    assert read_policy(path) == Policy(
        source=str(path),
        folder=tmp_path,
        fail_on=Severity.WARNING,
        expectations=Expectations(32000, 0, 0),
        contract=tmp_path / "contracts" / "ids.json",
        consumers=("transformers5", "tei"),
        suppressions=(
            Suppression("GTE112", "the tokenizer has 31,997 ids", str(path)),
            Suppression("GTE14", "we know", str(path)),
        ),
    )


def test_any_program_may_be_named(tmp_path: Path) -> None:
    known = tuple(consumer.value for consumer in Consumer)
    path = written(tmp_path / "policy.toml", f"[expect]\nconsumers = {list(known)}")
    assert read_policy(path).consumers == known


def test_an_empty_one_says_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "policy.toml", "")
    assert read_policy(path) == Policy(source=str(path), folder=tmp_path)


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


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        ".".join(["a"] * 100_000) + "=1",
        ".".join(["a"] * 30_000) + "=1",
        "\n".join(f"[{'.'.join(['a'] * 30)}.b{at}]" for at in range(500)),
        "a = " + "{a=" * 900 + "1" + "}" * 900,
    ],
    ids=["brackets", "digits", "200 kB of dots", "60 kB of dots", "tables", "inline tables"],
)
def test_a_hostile_one_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "policy.toml", text)
    begin = time.process_time()
    with pytest.raises(UsageError):
        read_policy(path)
    assert time.process_time() - begin < 2


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "policy.toml")
    with pytest.raises(UsageError, match="no regular file"):
        read_policy(tmp_path / "policy.toml")


def test_it_is_found_from_the_working_directory_up_to_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "elsewhere" / "ckpt"
    deep = tmp_path / "project" / "a" / "b"
    for folder in (checkpoint, deep, tmp_path / "project" / ".git"):
        folder.mkdir(parents=True)
    written(tmp_path / "gte-surgery.toml", "")
    beside = written(checkpoint.parent / "gte-surgery.toml", "")
    monkeypatch.chdir(deep)
    assert find_policy(checkpoint) is None, "beyond the root of the repository nothing is looked for"
    of_project = written(tmp_path / "project" / "gte-surgery.toml", "")
    assert find_policy(checkpoint) == of_project
    assert passed_over(checkpoint, of_project) == (beside,)
    nearer = written(deep / "gte-surgery.toml", "")
    assert find_policy(checkpoint) == nearer
    (tmp_path / "project" / ".git").rmdir()
    nearer.unlink()
    assert find_policy(checkpoint) is None, "without a repository the working directory alone counts"


def test_one_inside_the_checkpoint_is_passed_over_wherever_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "project" / "ckpt"
    for folder in (checkpoint, tmp_path / "project" / ".git"):
        folder.mkdir(parents=True)
    inside = written(checkpoint / "gte-surgery.toml", '[ignore]\nGTE2 = "a checkpoint must not excuse itself"')
    written(checkpoint / "model.safetensors", "")
    of_project = written(tmp_path / "project" / "gte-surgery.toml", "")
    monkeypatch.chdir(checkpoint)
    for path in (".", "../ckpt", "model.safetensors"):
        assert find_policy(Path(path)) == of_project
        assert passed_over(Path(path), of_project) == (inside,)
