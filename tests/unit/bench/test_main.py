"""How the bench goes: in turns, looking at what was made, with a word for what failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.jobs import OURS, TRANSFORMERS, Line, restoring
from tests.bench.main import look, take_turns
from tests.bench.measure import run
from tests.bench.sizes import write_sparse


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def test_a_run_tells_time_memory_exit_code_and_the_last_words() -> None:
    found = run(python("import sys, time; x = bytearray(50 << 20); time.sleep(0.2); sys.exit('one\\ntwo')"), codes=(1,))
    assert 0.2 <= found.seconds < 20
    assert 50 << 20 < found.peak < 100 << 20
    assert (found.code, found.said) == (1, "two")


def test_the_memory_of_the_bench_itself_is_not_counted() -> None:
    """`ru_maxrss` goes through a fork and an exec, so a command of a large process would seem large."""
    ballast = b"x" * (200 << 20)
    assert run(python("pass")).peak < len(ballast) / 4


def test_an_exit_code_that_was_not_expected_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="exit 3: no"):
        run(python("import sys; sys.stderr.write('no'); sys.exit(3)"))


def test_lines_take_turns_and_a_failing_peer_becomes_a_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def line(name: str, program: str, code: str) -> Line:
        return Line(
            name, program, python(f"open({str(log)!r}, 'a').write('{name}'); {code}"), lambda: None, also=("z",)
        )

    chosen = [line("a", OURS, "0"), line("b", TRANSFORMERS, "raise SystemExit('cannot')"), line("c", OURS, "0")]
    timings, reasons = take_turns(chosen, 3)
    assert log.read_text() == "abcacac"
    assert [(timing.job, len(timing.runs)) for timing in timings] == [("a", 3), ("z", 3), ("c", 3), ("z", 3)]
    assert [(reason.program, reason.job) for reason in reasons] == [(TRANSFORMERS, "b")]
    assert "cannot" in reasons[0].reason


def test_a_line_of_ours_that_fails_ends_the_bench() -> None:
    with pytest.raises(RuntimeError, match="exit 1"):
        take_turns([Line("a", OURS, python("raise SystemExit(1)"), lambda: None)], 1)


def test_a_result_without_the_table_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    write_sparse(tmp_path / "out", 64, 1, hidden_size=8, num_attention_heads=2, intermediate_size=8)
    wanted = Line("shrink", TRANSFORMERS, (), lambda: None, out=tmp_path / "out", makes=("F32", 64))
    look(wanted)
    for makes in (("F32", 63), ("BF16", 64)):
        with pytest.raises(RuntimeError, match="made the table"):
            look(Line("shrink", TRANSFORMERS, (), lambda: None, out=tmp_path / "out", makes=makes))


def test_a_folder_gets_its_config_back_and_forgets(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("old")
    place = tmp_path / "place"
    (place / ".gte-surgery").mkdir(parents=True)
    (place / "gte-surgery.json").touch()
    (place / "config.json").write_text("new")
    restoring(place, tmp_path / "kept.json")()
    assert [path.name for path in place.iterdir()] == ["config.json"]
    assert (place / "config.json").read_text() == "old"
