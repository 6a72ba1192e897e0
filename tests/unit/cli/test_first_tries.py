"""What people type first, coming from other programs, does what they mean."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from gte_surgery import check, describe, resize
from gte_surgery.cli.entry import run
from gte_surgery.cli.group import COMMANDS, OTHER_NAMES, program
from tests.builder import build


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return build(tmp_path / "ckpt")


def test_help_of_a_command_is_asked_either_way(capsys: pytest.CaptureFixture[str]) -> None:
    command = program.get_command(click.Context(program), "resize")
    assert command is not None
    command.make_context("resize", ["ckpt", "--vocab", "4", "--pad", "0"])  # click keeps its first help option
    for words in (["help", "resize"], ["resize", "--help"], ["resize", "-h"]):
        assert run(words) == 0
        assert "Give CHECKPOINT a vocabulary" in capsys.readouterr().out
    assert run(["help"]) == 0
    assert "resize" in capsys.readouterr().out
    assert run(["help", "nothing"]) == 2


def test_options_may_be_called_as_in_the_config_and_have_short_names(checkpoint: Path, tmp_path: Path) -> None:
    words = ["-q", "resize", str(checkpoint), "--vocab_size", "64", "--pad_token_id", "0", "-o", str(tmp_path / "out")]
    assert run(words) == 0
    assert run(["check", str(tmp_path / "out"), "--vocab", "64", "--pad-token-id", "0", "-o", str(tmp_path / "r")]) == 0
    assert "0 errors" in (tmp_path / "r").read_text()


def test_a_hint_of_a_scan_names_the_checkpoint(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.jsonl").write_text('{"input_ids": [2, 300]}\n')
    assert run(["scan", str(checkpoint), str(tmp_path / "ids.jsonl")]) == 1
    assert f"`gte-surgery resize {checkpoint} --vocab 301 --pad 1` gives the table more rows" in capsys.readouterr().out


def test_options_of_all_commands_stand_before_a_command_or_behind_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resized = ["resize", str(checkpoint), "--vocab", "64", "--pad", "0", "-o"]
    for words, told in ((["resize"], True), (["-q", "resize"], False), (["resize", "-q"], False)):
        assert run([*words, *resized[1:], str(tmp_path / "-".join(words))]) == 0
        assert bool(capsys.readouterr().err) is told
    for words in (
        ["--color", "always", "check"],
        ["check", "--color=always"],
        ["--color", "never", "check", "--color", "always"],
    ):
        assert run([*words, str(checkpoint)]) == 0
        assert "\x1b[" in capsys.readouterr().out
    assert run(["check", "--version"]) == 0
    assert capsys.readouterr().out.startswith("gte-surgery, version")


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_command_by_another_name_is_that_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == run([OTHER_NAMES[name], "--help"]) == 0
    found = capsys.readouterr().out.split("Usage: ")[1:]
    assert found[0].split("\n", 1)[1] == found[1].split("\n", 1)[1]


def test_a_mistake_behind_another_name_is_told_of_the_command(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reset", str(checkpoint), "--sead", "3"]) == 2
    assert f"`gte-surgery reset {checkpoint} --seed 3`" in capsys.readouterr().err
    assert run(["reset", str(checkpoint), "--seed", "x"]) == 2
    assert "`gte-surgery reinit --help`" in capsys.readouterr().err


def test_a_config_with_a_null_where_the_other_has_nothing_prints_no_absence_for_absence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = build(tmp_path / "other")
    text = (other / "config.json").read_text()
    (other / "config.json").write_text(text.replace("{", '{"nothing": null,', 1))
    run(["diff", str(checkpoint), str(other)])
    assert "absent → absent" not in capsys.readouterr().out


def test_python_takes_paths_and_an_outcome_is_short(checkpoint: Path) -> None:
    assert check(str(checkpoint)).checkpoint == describe(checkpoint).checkpoint == str(checkpoint)
    outcome = resize(checkpoint, vocab=64, pad=0, dry_run=True)
    assert repr(outcome) == f"<Outcome of resize in {checkpoint}: would write 2 files>"


@pytest.mark.parametrize("name", COMMANDS)
def test_at_60_columns_no_word_of_the_help_is_broken(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    wide, narrow = (
        command.get_help(click.Context(command, info_name=name, terminal_width=width, max_content_width=width))
        for width in (500, 60)
    )
    words = [set(re.split(r"[\s/-]+", text)) for text in (wide, narrow)]  # where a hyphen stands a line may end
    assert {word for word in words[0] ^ words[1] if len(word) < 40} == set()


def test_a_vocabulary_is_cut_to_a_size_by_the_option_that_resize_has(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--top", "--vocab", "--vocab_size"):
        assert run(["trim", str(checkpoint), option, "0", "--counts", "none"]) == 2
        assert "top: 0, must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("model_type", ["qwen2", "xlm-roberta", "electra"])
def test_what_no_mending_makes_a_gte_is_not_to_be_mended(
    checkpoint: Path, model_type: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = checkpoint / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": model_type, "auto_map": None}))
    assert run(["resize", str(checkpoint), "--vocab", "64", "--pad", "0"]) == 3
    told = capsys.readouterr().err
    assert f'model_type: "{model_type}", must be' in told
    assert "mend that" not in told
