"""No name and no value out of a file, a path or an argument reaches a terminal raw, in any format, in any message.

A hostile name tries to set the window's title, clear the screen, turn the line round and forge a line of ours.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery import findings
from gte_surgery.cli.entry import run
from gte_surgery.cli.group import COMMANDS
from gte_surgery.cli.reports import FORMATS, rendered
from gte_surgery.findings import Report, Severity
from gte_surgery.render.ink import harmless
from tests.builder import build, remote_config, write_json

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\r\nforged: line\x9b31m\u2028\u200b\x7f"
DANGEROUS_TEXT = st.text(
    st.sampled_from("ab:,%<&`|\n\r\t\x00\x1b\x7f\x9b\u2028\u202e\u200b\ufeff\ud800\uffff[]\U000e0041")
)


def require_harmless(output: str) -> None:
    """Every character printable but for line breaks, and no line that a name began."""
    assert all(line.isprintable() for line in output.replace("\t", " ").split("\n")), output
    assert not [line for line in output.split("\n") if line.startswith("forged")]


def reports() -> st.SearchStrategy[Report]:
    numbers = st.none() | st.integers(1, 9)
    locations = st.builds(findings.Location, DANGEROUS_TEXT, numbers, numbers, DANGEROUS_TEXT, DANGEROUS_TEXT)
    codes = st.sampled_from(["GTE001", "GTE203"])
    found = st.builds(findings.Finding, codes, st.sampled_from(Severity), locations, DANGEROUS_TEXT, DANGEROUS_TEXT)
    suppressions = st.builds(findings.Suppression, codes, DANGEROUS_TEXT, DANGEROUS_TEXT)
    suppressed = st.builds(findings.SuppressedFinding, found, suppressions)
    several = [st.lists(each, max_size=2).map(tuple) for each in (found, suppressed, suppressions)]
    return st.builds(
        lambda path, some, ignored, unused: Report(path, some, (), ("GTE001", "GTE203"), ignored, unused),
        DANGEROUS_TEXT,
        *several,
    )


@pytest.mark.parametrize("form", FORMATS)
@given(report=reports())
def test_no_report_in_any_format_holds_a_character_that_drives_a_terminal(form: str, report: Report) -> None:
    output = rendered(report, form, Severity.ERROR, color=False)
    require_harmless(output)
    output.encode("utf-8")
    if form in ("json", "sarif"):
        assert output.isascii()
        json.loads(output)
    if form == "junit":
        ElementTree.fromstring(output)
    if form == "github":
        commands = [line for line in output.split("\n") if line.startswith("::")]
        assert len(commands) == len(report.findings) + len(report.unused)


@given(DANGEROUS_TEXT)
def test_the_last_gate_lets_lines_and_our_own_colours_through_and_nothing_else(text: str) -> None:
    require_harmless(harmless(text))
    assert harmless(f"\x1b[31;1m{text}\x1b[0m", color=True).startswith("\x1b[31;1m")
    assert harmless("\x1b[31;1mx\x1b[5mx") == "\\x1b[31;1mx\\x1b[5mx"
    assert "\x1b" not in harmless(f"\x1b[5m{text}", color=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints with hostile names and values wherever a file may have them, in a folder with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile") / os.fsdecode(os.fsencode(EVIL) + b"\xff")
    folder.mkdir()
    good = build(folder / "good")
    (good / f"{EVIL}.tmp").write_text("")
    odd = build(folder / "odd", remote_config(model_type=EVIL, architectures=[EVIL], hidden_act=EVIL, dtype=EVIL))
    (odd / "gte-surgery.toml").write_text(f"[ignore]\nGTE203 = {json.dumps(EVIL)}\n{json.dumps(EVIL)} = 'x'\n")
    names = folder / "names"
    shutil.copytree(good, names)
    rename_a_tensor(names / "model.safetensors")
    write_json(names / "tokenizer_config.json", {"pad_token": EVIL, "added_tokens_decoder": {"1": {"content": EVIL}}})
    receipt = {"tool": EVIL, "time": EVIL, "command": EVIL, "edits": {EVIL: EVIL}, "written": [{"name": EVIL}]}
    write_json(names / "gte-surgery.json", {"receipts": [receipt | {"seed": 1, "sources": [], "removed": [EVIL]}]})
    sharded = build(folder / "sharded")
    (sharded / "model.safetensors").unlink()
    write_json(sharded / "model.safetensors.index.json", {"weight_map": {EVIL: EVIL, "a": f"../{EVIL}"}})
    cut = folder / "cut"
    shutil.copytree(good, cut)
    (cut / ".gte-surgery").mkdir()
    write_json(
        cut / ".gte-surgery" / "journal.json", {"format": 1, "command": EVIL, "staged": {EVIL: 1, f"../{EVIL}": 1}}
    )
    broken = folder / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({EVIL: 1})[:-1] + f',"{EVIL}":')
    (folder / "ids.jsonl").write_text(json.dumps({"input_ids": [0, 5, 10**30], EVIL: EVIL}) + "\n")
    return folder


def rename_a_tensor(path: Path) -> None:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header = {(EVIL if name.endswith("attn_ln.bias") else name): entry for name, entry in header.items()}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


LINES: dict[str, tuple[str, ...]] = {
    "inspect": ("CKPT",),
    "inspect as JSON": ("inspect", "CKPT", "--json"),
    "inspect every tensor": ("inspect", "CKPT", "--tensors"),
    **{f"check as {form}": ("check", "CKPT", "--format", form) for form in FORMATS},
    "check with a hostile config": ("check", "CKPT", "--config", EVIL),
    "check for a hostile program": ("check", "CKPT", "--for", EVIL, "--ignore", EVIL),
    "check --fix": ("check", "CKPT", "--fix", "--dry-run"),
    "diff": ("diff", "CKPT", "GOOD"),
    "diff as JSON": ("diff", "GOOD", "CKPT", "--values", "--json"),
    "resize": ("resize", "CKPT", "--vocab", "32", "--pad", "0", "--dry-run"),
    "resize as JSON": ("resize", "CKPT", "--vocab", "32", "--pad", "0", "--dry-run", "--json"),
    "resize out": ("resize", "CKPT", "--vocab", "32", "--pad", "0", "--out", f"/no/{EVIL}"),
    "resize to a hostile size": ("resize", "CKPT", "--vocab", EVIL, "--pad", EVIL),
    "resize like a hostile row": ("resize", "CKPT", "--vocab", "999", "--pad", "0", "--init", EVIL),
    "remap by a hostile file": ("remap", "CKPT", "--map", EVIL, "--pad", "0"),
    "convert": ("convert", "CKPT", "--to", "native", "--dry-run"),
    "convert to a hostile size": ("convert", "CKPT", "--dtype", EVIL, "--shard-size", EVIL),
    "reinit by a hostile pattern": ("reinit", "CKPT", "--only", EVIL, "--dry-run"),
    "new of a hostile release": ("new", EVIL, "--release", EVIL),
    "undo": ("undo", "CKPT"),
    "recover": ("recover", "CKPT"),
    "history": ("history", "CKPT"),
    "history as JSON": ("history", "CKPT", "--json"),
    "scan": ("scan", "CKPT", "IDS"),
    "scan of hostile columns": ("scan", "CKPT", "IDS", EVIL, "--input-ids", EVIL),
    "fuzz of a hostile encoder": ("fuzz", "CKPT", "--encoder", f"{EVIL}:{EVIL}"),
    "smoke on a hostile device": ("smoke", "CKPT", "--device", EVIL),
    "explain": ("explain", EVIL),
    "schema": ("schema", EVIL),
    "no such command": (EVIL,),
    "no such option": ("check", f"--{EVIL}"),
    "a value too many": ("rules", EVIL),
}


@pytest.mark.parametrize("line", LINES.values(), ids=list(LINES))
def test_no_command_line_shows_a_hostile_name_raw(
    line: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    line = line if line[0] in COMMANDS or line[0] == EVIL else ("inspect", *line)
    checkpoints = (*CHECKPOINTS, EVIL) if "CKPT" in line else ("good",)
    for checkpoint in checkpoints:
        places = {"CKPT": folder / checkpoint, "GOOD": folder / "good", "IDS": folder / "ids.jsonl"}
        code = run([str(places.get(word, word)) for word in line])
        output = capsys.readouterr()
        assert code != 70, output.err
        require_harmless(output.out)
        require_harmless(output.err)
        assert output.out or output.err


CHECKPOINTS = ("good", "odd", "names", "sharded", "cut", "broken")


@pytest.mark.parametrize("line", [("check", "CKPT"), ("scan", "CKPT", "IDS")], ids=" ".join)
def test_no_page_holds_a_hostile_name_raw(line: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="needs the extra report")
    page = tmp_path / "page.html"
    for checkpoint in ("odd", "names", "broken") if line[0] == "check" else ("good",):
        places = {"CKPT": folder / checkpoint, "IDS": folder / "ids.jsonl"}
        assert run([*(str(places.get(word, word)) for word in line), "--html", str(page)]) in (0, 1)
        require_harmless(page.read_text(encoding="utf-8"))


def every_gigantic_number() -> dict[str, Callable[[str], tuple[str, ...]]]:
    edit = ("resize", "CKPT", "--dry-run")
    return {
        "--vocab": lambda number: (*edit, "--vocab", number, "--pad", "0"),
        "--pad": lambda number: (*edit, "--vocab", "32", "--pad", number),
        "--type-vocab": lambda number: (*edit, "--vocab", "32", "--pad", "0", "--type-vocab", number),
        "--round-to": lambda number: (*edit, "--vocab", "32", "--pad", "0", "--round-to", number),
        "--seed": lambda number: (*edit, "--vocab", "32", "--pad", "0", "--seed", number),
        "--init": lambda number: (*edit, "--vocab", "32", "--pad", "0", "--init", f"copy:{number}"),
        "check --vocab": lambda number: ("check", "CKPT", "--vocab", number),
        "check --pad": lambda number: ("check", "CKPT", "--pad", number),
        "--layers": lambda number: (
            "new",
            "/no/where",
            "--release",
            "gte-base-en-v1.5",
            "--layers",
            number,
            "--dry-run",
        ),
        "--shard-size": lambda number: ("convert", "CKPT", "--shard-size", number, "--dry-run"),
        "--limit": lambda number: ("scan", "CKPT", "IDS", "--limit", number),
    }


@pytest.mark.parametrize("number", ["1" + "0" * 4_000, "1" + "0" * 5_000, "-" + "9" * 4_000, str(2**63), "1e999"])
@pytest.mark.parametrize("line", every_gigantic_number().values(), ids=list(every_gigantic_number()))
def test_a_gigantic_number_on_the_command_line_is_refused_or_done(
    line: Callable[[str], tuple[str, ...]], number: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"CKPT": folder / "good", "IDS": folder / "ids.jsonl"}
    code = run([str(places.get(word, word)) for word in line(number)])
    output = capsys.readouterr()
    assert code in (0, 1, 2, 3), output.err[-2000:]
    require_harmless(output.out + output.err)


@pytest.mark.parametrize("key", [*remote_config(), "num_labels", "bos_token_id"])
def test_a_gigantic_number_in_the_config_is_judged(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = build(tmp_path / "c")
    text = json.dumps({**remote_config(), key: 12345})
    for number in ("1" + "0" * 250, "-1" + "0" * 300, "1" + "0" * 5_000, "1" + "0" * 300 + ".5"):
        (path / "config.json").write_text(text.replace("12345", number))
        for command in (["check"], ["inspect"], ["resize", "--vocab", "32", "--pad", "0", "--dry-run"]):
            assert run([*command, str(path)]) in (0, 1, 3), capsys.readouterr().err[-2000:]
            require_harmless(capsys.readouterr().out)
