"""A scan as a whole: what it takes, what it refuses, where it ends, and what its report counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gte_surgery.contract.scan import corpus
from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.local import Local
from gte_surgery.contract.scan.portions import Format, Portion, Source, Span
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.findings import Severity
from gte_surgery.render.corpus import corpus_json, corpus_text
from tests.corpora import scan, scan_by_processes

CONTRACT = IdContract(vocab_size=10, pad_token_id=1, type_vocab_size=1, max_length=4)


def save(path: Path, *rows: list[int]) -> Path:
    np.save(path, np.array(rows))
    return path


def without(name: str) -> Callable[[str], ModuleSpec | None]:
    """find_spec where a package is not installed."""
    return lambda asked: None if asked == name else find_spec(asked)


def test_a_report_counts_files_bytes_and_ids_that_nobody_uses(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a.npy", [0, 5], [0, 7]), save(tmp_path / "b.npy", [0, 7])
    gone = tmp_path / "c.npy"
    gone.symlink_to(tmp_path / "nowhere")
    report = scan(CONTRACT, first, second, str(gone), counts=True)
    assert (report.contract, report.files, report.nbytes) == (CONTRACT, 3, first.stat().st_size + second.stat().st_size)
    assert report.summary.uses.tolist() == [3, 0, 0, 0, 0, 1, 0, 2, 0, 0]
    assert report.unused_ids == 7
    assert scan(CONTRACT, first).summary.uses.tolist() == [True, *[False] * 4, True, False, True, False, False]


def test_the_worst_fault_counts_even_where_no_finding_is_kept(tmp_path: Path) -> None:
    good, empty, bad = save(tmp_path / "a.npy", [0]), tmp_path / "b.npy", save(tmp_path / "c.npy", [10])
    np.save(empty, np.zeros((0, 4), np.int64))
    assert scan(CONTRACT, good).worst is None
    assert scan(CONTRACT, good, empty, max_findings=0).worst is Severity.WARNING
    report = scan(CONTRACT, bad, empty, max_findings=0)
    assert (report.worst, report.findings) == (Severity.ERROR, ())


def test_the_contract_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    path.write_text(CONTRACT.to_json())
    for name in (path, str(path)):
        report = scan(name, save(tmp_path / "a.npy", [0]))
        assert (report.contract, report.judged_by) == (CONTRACT, str(path))
        assert json.loads(corpus_json(report))["judged_by"] == str(path)
        assert f"by the contract of {path}" in corpus_text(report)
    assert "by the contract of" not in corpus_text(scan(CONTRACT, tmp_path / "a.npy"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": -1}, "workers: -1, must be at least 0"),
        ({"limit": 0}, "limit: 0, must be at least 1"),
        ({"max_findings": -1}, "max_findings: -1, must be at least 0"),
        ({"runner": "Ray"}, 'runner: \'Ray\', must be "local" or "ray"'),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        scan(CONTRACT, tmp_path, **wrong)
    assert caught.value.message == message


def test_the_least_numbers_are_taken(tmp_path: Path) -> None:
    report = scan(CONTRACT, save(tmp_path / "a.npy", [10], [11]), workers=1, limit=1, max_findings=0)
    assert (report.summary.rows, report.findings) == (1, ())


def test_without_being_told_how_many_a_hundred_findings_are_kept(tmp_path: Path) -> None:
    for number in range(101):
        save(tmp_path / f"{number:03}.npy", [10])
    assert [Path(finding.location.file).stem for finding in scan(CONTRACT, tmp_path).findings] == [
        f"{number:03}" for number in range(100)
    ]


def test_what_pyarrow_reads_is_refused_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"input_ids": [0]}')
    numpy = save(tmp_path / "b.npy", [0])
    monkeypatch.setattr(corpus, "find_spec", without("pyarrow"))
    assert scan(CONTRACT, numpy).summary.rows == 1
    with pytest.raises(RefusedError) as caught:
        scan(CONTRACT, tmp_path)
    assert caught.value.message == "pyarrow: not installed, it reads all but numpy and safetensors"
    assert caught.value.hint == "`pip install 'gte-surgery[data]'`"


def test_one_worker_does_it_unless_more_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Noted(Local):
        def __init__(self, workers: int) -> None:
            made.append(workers)
            super().__init__(workers)

    monkeypatch.setattr("gte_surgery.contract.scan.local.Local", Noted)
    path = save(tmp_path / "a.npy", [0])
    scan_by_processes(CONTRACT, path)
    scan(CONTRACT, path, workers=3)
    assert made == [1, 3]


def test_a_cluster_is_looked_for_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    @contextmanager
    def cluster(address: str) -> Iterator[Local]:
        asked.append(address)
        yield Local(0)

    monkeypatch.setitem(sys.modules, "gte_surgery.contract.scan.on_ray", SimpleNamespace(cluster=cluster))  # type: ignore[arg-type]
    monkeypatch.setattr(corpus, "find_spec", lambda name: object())
    path = save(tmp_path / "a.npy", [0])
    assert scan(CONTRACT, path, runner="ray").summary.rows == 1
    scan(CONTRACT, path, runner="ray", address="10.0.0.1:6379")
    assert asked == ["auto", "10.0.0.1:6379"]


def test_a_cluster_is_refused_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "find_spec", without("ray"))
    with pytest.raises(RefusedError) as caught:
        scan(CONTRACT, save(tmp_path / "a.npy", [0]), runner="ray")
    assert caught.value.message == "ray: not installed, --engine ray needs it"
    assert caught.value.hint == "`pip install 'gte-surgery[ray]'`"


def portion(rows: int | None, is_whole: bool = False, nbytes: int = 0) -> Portion:
    return Portion(Source("a", "a", 0, Format.NPY, 0), Span(0, 1, 0, rows, nbytes), is_whole)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(None, [4, 0, 3, 5]), (1, [1]), (4, [4]), (5, [4, 0, 1]), (7, [4, 0, 3]), (8, [4, 0, 3, 1]), (99, [4, 0, 3, 5])],
)
def test_a_limit_cuts_the_portion_that_it_ends_in(limit: int | None, kept: list[int]) -> None:
    portions = [portion(4), portion(0, is_whole=True), portion(3), portion(5, is_whole=True)]
    assert [each.span.rows for each in corpus._limited(portions, limit)] == kept


def test_of_no_rows_only_what_is_a_whole_file_is_looked_at() -> None:
    assert corpus._limited([portion(0), portion(0, is_whole=True)], 1) == [portion(0, is_whole=True)]


def test_progress_is_told_in_bytes_and_tokens(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.npy", [0, 5]), save(tmp_path / "b.npy", [0, 7, 2])]
    first, second = (file.stat().st_size for file in files)
    told: list[tuple[int, int, int]] = []
    scan(CONTRACT, *files, progress=lambda *now: told.append(now))
    assert told == [(first, first + second, 2), (first + second, first + second, 5)]


def test_columns_are_found_by_the_names_given(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"input_ids": [10], "tokens": [0]}))
    assert [finding.code for finding in scan(CONTRACT, tmp_path).findings] == ["GTE414"]
    assert scan(CONTRACT, tmp_path, columns=Columns(ids="tokens")).findings == ()
