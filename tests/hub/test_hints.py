"""What is said of an address, of one that is none, and of a folder without a checkpoint can be pasted as it is said."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gte_surgery.cli import entry
from tests.builder import build, remote_config
from tests.hub.stand_in import StandIn

ADDRESS = "hf://org/name"


@pytest.fixture(autouse=True)
def commit(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return hub.publish("org/name", build(tmp_path / "local", remote_config(vocab_size=256)))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = entry.run(arguments)
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("options", [("--vocab", "320"), ("--pad", "3"), ("--for", "transformers5")])
def test_a_surgery_that_check_hints_at_writes_elsewhere(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    code, said = told(capsys, "check", ADDRESS, *options)
    command = re.search(r"hint: gte-surgery (.*)", said)
    assert code == 1
    assert command, said
    assert told(capsys, *shlex.split(command[1]))[0] == 0
    assert told(capsys, "check", "name-edited", *options)[0] == 0


def test_so_does_one_that_a_plan_names(capsys: pytest.CaptureFixture[str]) -> None:
    _, said = told(capsys, "resize", f"{ADDRESS}@main", "--vocab", "64", "--pad", "0", "--out", "a", "--cls", "5")
    assert "which row plays this part now is not known" in said
    _, said = told(capsys, "contract", ADDRESS, "--ids", "300")
    assert "--out name-edited`" in said


def test_a_folder_of_a_repository_is_named(capsys: pytest.CaptureFixture[str], hub: StandIn, tmp_path: Path) -> None:
    build(tmp_path / "deep" / "a" / "b", remote_config(vocab_size=256))
    (tmp_path / "deep" / "1_Pooling").mkdir()
    (tmp_path / "deep" / "1_Pooling" / "config.json").write_text("{}")
    commit = hub.publish("org/deep", tmp_path / "deep")
    for folder in ("", "/a"):
        _, said = told(capsys, "check", f"hf://org/deep{folder}")
        assert f"did you mean `gte-surgery check hf://org/deep@{commit}/a/b`?" in said
        assert "nothing is fetched" not in said
    assert "name the folder" in told(capsys, "check", "hf://org/deep/1_Pooling/nix")[1]


@pytest.mark.parametrize(
    ("page", "meant"),
    [
        ("https://huggingface.co/org/name", ADDRESS),
        ("https://huggingface.co/org/name/tree/main", f"{ADDRESS}@main"),
        ("https://huggingface.co/org/name/tree/v1/onnx/fp16/", f"{ADDRESS}@v1/onnx/fp16"),
    ],
)
def test_a_page_is_taken_for_the_address_that_it_shows(
    capsys: pytest.CaptureFixture[str], page: str, meant: str
) -> None:
    code, said = told(capsys, "check", page)
    assert code == 3
    assert f"did you mean `gte-surgery check {meant}`?" in said


@pytest.mark.parametrize("verb", ["undo", "recover", "gate"])
def test_an_address_is_told_as_it_is_typed(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert not re.search("hf:/[^/]", told(capsys, verb, ADDRESS)[1])


def test_nothing_is_written_to_one(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (f"new {ADDRESS} --release gte-base", f"resize local --vocab 64 --pad 0 --out {ADDRESS}"):
        code, said = told(capsys, *command.split())
        assert (code, said.splitlines()[0]) == (2, f"error: {ADDRESS}: lies on a hub, where nothing is written")


def test_the_prefix_alone_is_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(capsys, "check", "hf://")
    assert (code, said.splitlines()[0]) == (2, "error: hf://: is no address of a model")
