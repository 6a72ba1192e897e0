"""What was measured on a GPU becomes one table, without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from tests.gpu.bench import RATES, Bench, files, markdown


def test_the_table_holds_medians_spreads_memory_the_card_and_what_went_wrong(tmp_path: Path) -> None:
    bench = Bench(tmp_path, surroundings="1 x Card, torch 9")
    bench.step("fails", ["false"], 9)
    rates = {
        "a step": {"2 rows": {"packed": [1499, 1000, 2600], "packed, GiB": 1.5, "rested": [9e6, 8e6, 9e6]}},
        "texts": {"3 texts": {"rival": "ModuleNotFoundError: no"}},
    }
    table = markdown(bench, rates).splitlines()
    assert table[0] == "1 x Card, torch 9"
    assert table[4:7] == [
        "| a step | 2 rows | packed | 1 | 1 to 3 | 1.5 |",
        "| a step | 2 rows | rested | 9000 | 8000 to 9000 |  |",
        "| texts | 3 texts | rival | ModuleNotFoundError: no | |  |",
    ]
    assert table[-1].startswith("| fails | exit 1 |")


def test_every_kind_of_work_has_a_file_and_ways_of_its_own(tmp_path: Path) -> None:
    assert len(set(files(tmp_path))) == len(RATES)
    assert all(ways for _, _, ways in RATES.values())
