"""Each command from its arguments to its output and exit code, on real small checkpoints."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.cli.entry import run
from gte_surgery.cli.group import program
from gte_surgery.gte.schemas import violations
from gte_surgery.render.ink import size
from gte_surgery.surgery import outcome, verbs
from gte_surgery.surgery.apply import Manner
from tests.crash.faults import Crashed, Fault, FaultyFilesystem


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    return shutil.copytree(golden / "legacy-multilingual", tmp_path / "checkpoint")


def printed(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """What a command line prints to stdout; its exit code must be `code`."""
    assert run([str(argument) for argument in arguments]) == code, capsys.readouterr().err
    return capsys.readouterr().out


def set_config(checkpoint: Path, **members: object) -> None:
    config = checkpoint / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | members))


@pytest.mark.parametrize(
    ("name", "verb", "required"),
    [
        ("resize", verbs.resize, ["ckpt", "--vocab", "160", "--pad", "0"]),
        ("remap", verbs.remap, ["ckpt"]),
        ("reinit", verbs.reinit, ["ckpt"]),
        ("new", verbs.new, ["ckpt", "--release", "gte-base-en-v1.5"]),
    ],
)
def test_a_command_gives_its_verb_what_it_takes_with_the_same_defaults(
    name: str, verb: Callable[..., object], required: list[str]
) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    given = command.make_context(name, list(required)).params
    taken = {name: it.default for name, it in inspect.signature(verb).parameters.items()}
    bundle = {"Unpack[Surgical]": outcome.Surgical, "Unpack[Writing]": outcome.Writing}
    manner = bundle[str(inspect.signature(verb).parameters["manner"].annotation)].__annotations__
    usual = {"out": None, "dry_run": False} | {it.name: it.default for it in fields(Manner)}
    del taken["manner"]
    taken |= {name: usual[name] for name in manner if name != "progress"}
    defaults = {name: value for name, value in taken.items() if value is not inspect.Parameter.empty}
    assert {**given, **defaults} == given
    assert set(given) - set(taken) <= {"as_json", "checkpoint"}


@pytest.mark.parametrize(("flag", "name"), [("--no-hash", "hashes"), ("--no-undo", "keep_undo")])
def test_a_switch_off_makes_its_parameter_false(flag: str, name: str) -> None:
    command = program.get_command(click.Context(program), "resize")
    assert command is not None
    assert command.make_context("resize", ["ckpt", "--vocab", "160", "--pad", "0", flag]).params[name] is False


def test_check_is_good_on_a_sound_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{checkpoint}: 0 errors" in printed(capsys, 0, "check", checkpoint)


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("note", 1)])
def test_fail_on_sets_the_bar(fail_on: str, code: int, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors.tmp").write_bytes(b"left behind")
    printed(capsys, code, "check", checkpoint, "--select", "GTE060", "--fail-on", fail_on)


def test_an_expectation_that_does_not_hold_is_a_finding(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(
        capsys, 1, "check", checkpoint, "--vocab", "160", "--pad", "0", "--type-vocab", "2", "--select", "GTE15"
    )
    told = [line.split()[2] for line in text.splitlines()[1:-1] if not line.lstrip().startswith("hint")]
    assert sorted(told) == ["GTE150", "GTE151", "GTE152"]


def test_codes_may_be_given_with_commas_and_ignored(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_config(checkpoint, pad_token_id=5000)
    text = printed(capsys, 1, "check", checkpoint, "--select", "GTE110,GTE060", "--format", "json")
    assert json.loads(text)["rules"] == ["GTE060", "GTE110"]
    printed(capsys, 0, "check", checkpoint, "--ignore", "GTE110")


def test_an_unknown_code_is_a_usage_error(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(checkpoint), "--select", "GTE999"]) == 2
    assert capsys.readouterr().err.startswith("error: GTE999: ")


def test_the_report_goes_to_the_output_file_and_follows_its_schema(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_config(checkpoint, pad_token_id=5000)
    report = tmp_path / "report.json"
    assert printed(capsys, 1, "check", checkpoint, "--format", "json", "--output", report) == ""
    value = json.loads(report.read_text())
    assert violations(value, "report") == []
    assert "GTE110" in {finding["code"] for finding in value["findings"]}


def test_a_path_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(tmp_path / "nowhere")]) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_a_pickle_is_refused_with_one_error_and_one_hint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"\x80\x02junk")
    assert run(["resize", str(checkpoint), "--vocab", "160", "--pad", "0"]) == 3
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == ["error", "hint"]


def test_reinit_takes_several_patterns_and_says_what_it_makes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(
        capsys, 0, "reinit", checkpoint, "--only", "classifier.*", "--only", "*attn_ln*", "--seed", "5",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    value = json.loads(text)
    assert violations(value, "plan") == []
    assert value["edits"] == {"only": ["classifier.*", "*attn_ln*"], "seed": 5}
    assert value["meaning"][0].startswith("6 tensors (")
    assert run(["reinit", str(checkpoint), "--only", "nothing"]) == 3
    assert "matches no tensor" in capsys.readouterr().err


def test_diff_tells_equal_from_different_by_its_exit_code(
    checkpoint: Path, tmp_path: Path, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, 0, "convert", checkpoint, "--to", "native", "--out", tmp_path / "native")
    assert "equal, 38 tensors" in printed(capsys, 0, "diff", checkpoint, tmp_path / "native")
    smaller = golden / "legacy-multilingual.resized-160-pad0"
    assert "1 of 160 rows changed: 0" in printed(capsys, 1, "diff", checkpoint, smaller, "--values")
    assert printed(capsys, 1, "diff", checkpoint, smaller, "--brief") == f"{checkpoint} and {smaller}: different\n"
    value = json.loads(printed(capsys, 1, "diff", checkpoint, smaller, "--values", "--json"))
    assert violations(value, "diff") == []
    assert value["tensors"][0]["gap"]["rows"] == {"compared": 160, "changed": 1, "ranges": [[0, 0]], "left_out": 0}


@pytest.mark.parametrize("broken", ["nowhere", "text"])
def test_diff_refuses_what_is_no_checkpoint_with_one_error(
    broken: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "model.safetensors").write_text("<html>")
    for pair in ((checkpoint, tmp_path / broken), (tmp_path / broken, checkpoint)):
        assert run(["diff", *map(str, pair)]) == 3
        told = capsys.readouterr().err.splitlines()
        assert [line.partition(":")[0] for line in told][:1] == ["error"]
        assert sum(line.startswith("error: ") for line in told) == 1


def test_a_dry_run_prints_the_plan_and_touches_nothing(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in checkpoint.iterdir()}
    text = printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0", "--dry-run")
    assert "vocab_size: 256 → 160" in text
    assert {path: path.read_bytes() for path in checkpoint.iterdir()} == before


@pytest.mark.parametrize("extra", [["--dry-run"], []], ids=["dry run", "for real"])
def test_the_json_of_a_surgery_follows_its_schema(
    extra: list[str], checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = json.loads(printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0", "--json", *extra))
    assert violations(value, "plan") == []
    assert (value["receipt"] is None) == bool(extra)


def test_resize_undo_undo_comes_back_to_the_resized(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = (checkpoint / "model.safetensors").read_bytes()
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    resized = (checkpoint / "model.safetensors").read_bytes()
    assert "model.safetensors" in json.loads(printed(capsys, 0, "undo", checkpoint, "--json"))["files"]
    assert (checkpoint / "model.safetensors").read_bytes() == original
    assert "as it was before" in printed(capsys, 0, "undo", checkpoint)
    assert (checkpoint / "model.safetensors").read_bytes() == resized


def test_a_second_resize_to_the_same_says_so(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("resize", checkpoint, "--vocab", "160", "--pad", "0")
    printed(capsys, 0, *arguments)
    assert printed(capsys, 0, *arguments) == f"{checkpoint}: already so, nothing to write\n"


def test_history_lists_the_receipts_and_follows_its_schema(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, 0, "history", checkpoint) == "no surgery yet\n"
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0", "--no-hash")
    value = json.loads(printed(capsys, 0, "history", checkpoint, "--json"))
    assert violations(value, "receipt") == []
    assert "vocab 160, pad 0" in printed(capsys, 0, "history", checkpoint)


def test_undo_takes_no_newer_work_away_unless_forced(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = checkpoint / "model.safetensors"
    original = weights.read_bytes()
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    trained = bytearray(weights.read_bytes())
    trained[-1] ^= 1
    for options in ([], ["--verify"]):
        weights.write_bytes(trained)
        assert run(["undo", str(checkpoint), *options]) == 3
        told = capsys.readouterr().err
        assert "model.safetensors: was saved anew at " in told
        assert f"`gte-surgery undo {checkpoint} --force`" in told
        assert weights.read_bytes() == trained
    printed(capsys, 0, "undo", checkpoint, "--force")
    assert weights.read_bytes() == original
    assert "redo" in printed(capsys, 0, "undo", checkpoint)
    assert weights.read_bytes() == trained


def test_undo_that_verifies_goes_by_content_not_by_time(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    os.utime(checkpoint / "model.safetensors", (1, 1))
    assert run(["undo", str(checkpoint)]) == 3
    assert f"`gte-surgery undo {checkpoint} --verify`" in capsys.readouterr().err
    printed(capsys, 0, "undo", checkpoint, "--verify")
    assert json.loads((checkpoint / "config.json").read_text())["vocab_size"] == 256


def test_what_undo_would_install_is_what_was_kept(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bit rot in what is kept, its size and time as they were, is found where the surgery before hashed that file."""
    for vocab in ("160", "150"):
        printed(capsys, 0, "resize", checkpoint, "--vocab", vocab, "--pad", "0")
    kept = checkpoint / ".gte-surgery" / "previous" / "files" / "model.safetensors"
    time = kept.stat().st_mtime_ns
    with kept.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"rust")
    os.utime(kept, ns=(time, time))
    before = (checkpoint / "model.safetensors").read_bytes()
    assert run(["undo", str(checkpoint), "--force"]) == 3
    assert "is not what was kept" in capsys.readouterr().err
    assert (checkpoint / "model.safetensors").read_bytes() == before


def test_undo_drop_frees_what_is_kept(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing is kept" in printed(capsys, 0, "undo", checkpoint, "--drop")
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    resized = (checkpoint / "model.safetensors").read_bytes()
    assert run(["undo", str(checkpoint), "--drop", "--force"]) == 2
    capsys.readouterr()
    kept = sum(file.stat().st_size for file in (checkpoint / ".gte-surgery/previous/files").iterdir())
    assert json.loads(printed(capsys, 0, "inspect", checkpoint, "--json"))["kept"] == {"files": 2, "nbytes": kept}
    assert f"2 files, {size(kept)}, kept for it" in printed(capsys, 0, "inspect", checkpoint)
    assert f"is gone, {size(kept)}" in printed(capsys, 0, "undo", checkpoint, "--drop")
    assert "kept for it" not in printed(capsys, 0, "inspect", checkpoint)
    assert not (checkpoint / ".gte-surgery").exists()
    assert (checkpoint / "model.safetensors").read_bytes() == resized
    assert run(["undo", str(checkpoint)]) == 3
    assert "nothing to undo" in capsys.readouterr().err


@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "another machine"])
def test_recover_shows_what_it_would_do_and_follows_no_stranger(
    is_ours: bool, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A surgery dies right after its commit; its journal may then have come with the checkpoint."""
    fs = FaultyFilesystem(Fault(0, counted=frozenset({"exchange"})))
    with pytest.raises(Crashed):
        verbs.resize(checkpoint, vocab=160, pad=0, filesystem=fs)
    journal = checkpoint / ".gte-surgery" / "journal.json"
    assert any("recover" in fault.hint for fault in open_checkpoint(checkpoint).faults)
    if not is_ours:
        journal.write_text(json.dumps(json.loads(journal.read_text()) | {"made_by": "0@elsewhere"}))
    text = printed(capsys, 0, "recover", checkpoint, "--dry-run")
    assert "would roll forward" in text
    value = json.loads(printed(capsys, 0, "recover", checkpoint, "--dry-run", "--json"))
    assert value["recovery"] == "rolled-forward"
    assert "model.safetensors" in value["files"]
    assert journal.exists()
    if not is_ours:
        assert run(["recover", str(checkpoint)]) == 3
        assert "by another user or on another machine" in capsys.readouterr().err
    assert "rolled forward" in printed(capsys, 0, "recover", checkpoint, *([] if is_ours else ["--force"]))
    assert json.loads((checkpoint / "config.json").read_text())["vocab_size"] == 160


def test_nothing_to_recover_is_good(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, 0, "recover", checkpoint) == f"{checkpoint}: nothing to recover\n"
    assert json.loads(printed(capsys, 0, "recover", checkpoint, "--json"))["recovery"] == "nothing"


def test_an_interrupted_surgery_stops_every_surgery_with_exit_code_4(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / ".gte-surgery").mkdir()
    (checkpoint / ".gte-surgery" / "journal.json").write_text("{}")
    for command in (["resize", "--vocab", "160", "--pad", "0"], ["undo"], ["history"]):
        assert run([command[0], str(checkpoint), *command[1:]]) == 4
        assert "gte-surgery recover" in capsys.readouterr().err


def test_explain_prints_the_documentation_of_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, 0, "explain", "gte110").startswith("GTE110 (error): ")
    assert run(["explain", "GTE999"]) == 2


def test_rules_are_listed_in_order_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    codes = [line.split()[0] for line in printed(capsys, 0, "rules").splitlines()]
    assert codes == sorted(set(codes))
    assert codes == [rule["code"] for rule in json.loads(printed(capsys, 0, "rules", "--json"))]


def test_schemas_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    names = printed(capsys, 0, "schema").split()
    assert {"config.native", "config.remote", "index", "report", "plan", "receipt"} <= set(names)
    assert all(json.loads(printed(capsys, 0, "schema", name))["$schema"] for name in names)
    assert run(["schema", "nothing"]) == 2


def test_the_demo_ends_with_a_checkpoint_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, 0, "demo", tmp_path / "tour")
    assert "GTE110" in text
    printed(capsys, 0, "check", tmp_path / "tour", "--vocab", "640", "--pad", "0")


def test_the_demo_without_a_directory_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    printed(capsys, 0, "demo")
    assert list(tmp_path.iterdir()) == []


def test_remap_follows_a_map_and_refuses_a_faulty_one_with_its_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = tmp_path / "keep.txt"
    keep.write_text("0\n1\n200\n")
    outcome = json.loads(
        printed(capsys, 0, "remap", checkpoint, "--keep", keep, "--init", "mean-cov", "--vocab", "64", "--json")
    )
    assert not violations(outcome, "plan")
    assert outcome["command"] == "remap"
    assert "the pad row stays row 1" in outcome["meaning"]
    assert json.loads((checkpoint / "config.json").read_text())["vocab_size"] == 64
    keep.write_text("1\n0\n64\n")
    assert run(["remap", str(checkpoint), "--keep", str(keep)]) == 3
    assert f"error: {keep}:3: old id 64, the table has rows 0 to 63" in capsys.readouterr().err
    assert run(["remap", str(checkpoint)]) == 2
    assert run(["remap", str(checkpoint), "--keep", str(tmp_path / "absent")]) == 2
