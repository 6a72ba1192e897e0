"""fuzz finds planted mistakes, each as small as it gets, and none where there is none; what it prints can be run."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from gte_surgery.cli.entry import run
from gte_surgery.contract.fuzz import Break, Given, fuzz
from gte_surgery.contract.probe import find_encoder, verify
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import BatchError, UsageError
from gte_surgery.findings import Finding, Location, Severity
from tests.unit.contract import encoders

CONTRACT = IdContract(encoders.VOCAB, encoders.PAD, 1, encoders.LONGEST)

PLANTED = {
    "id_of_vocab_size_on_a_rare_branch": ("GTE414", "[[1, 1, 1, 1, 1, 999]]"),
    "mask_off_by_one_at_max_length": ("GTE428", "[[1] * 32]"),
    "pad_not_masked": ("GTE427", "[[1], [1, 1]]"),
    "silent_truncation": ("GTE492", "[[1] * 33]"),
    "int32_output": ("GTE412", "[[1]]"),
    "rows_in_another_order": ("GTE493", "[[2], [1]]"),
    "one_row_too_few": ("GTE491", "[[1], [1], [1], [1]]"),
    "index_error_for_numpy_integers": ("GTE490", '[numpy.array([1], dtype="int64")]'),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_and_shrunk(name: str) -> None:
    breaks = fuzz(getattr(encoders, name), CONTRACT, examples=250)
    assert [(each.finding.code, str(each)) for each in breaks] == [PLANTED[name]]


def test_the_usual_edges_are_not_left_to_chance() -> None:
    (found,) = fuzz(encoders.silent_truncation, CONTRACT, examples=48, seed=123)
    assert (found.finding.code, str(found)) == PLANTED["silent_truncation"]


def test_a_sound_encoder_is_not_broken() -> None:
    assert fuzz(encoders.sound, CONTRACT, examples=300) == ()
    assert fuzz(encoders.Truncating(), CONTRACT, examples=100) == ()


def test_an_encoder_with_a_memory_is_found() -> None:
    (found,) = fuzz(encoders.Stateful(), CONTRACT, examples=50)
    assert found.finding.code == "GTE494"


def test_strict_exceptions_let_a_clean_refusal_count() -> None:
    (found,) = fuzz(encoders.sound, CONTRACT, examples=200, strict_exceptions=True)
    assert found.finding.code == "GTE490"
    assert found.finding.message.startswith("ValueError: an empty sequence")


def test_the_same_seed_finds_the_same() -> None:
    first, second = (fuzz(encoders.silent_truncation, CONTRACT, examples=100, seed=7) for _ in range(2))
    assert first == second


def test_several_mistakes_are_told_one_by_one() -> None:
    def careless(sequences: Any) -> Any:
        return {"input_ids": [[int(number) for number in each] for each in sequences]}

    assert {each.finding.code for each in fuzz(careless, CONTRACT, examples=150)} >= {"GTE405", "GTE406", "GTE420"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (Given((1, 2)), "[1, 2]"),
        (Given(()), "[]"),
        (Given((1, 2), "tuple"), "tuple([1, 2])"),
        (Given((1, 2), "numpy array"), 'numpy.array([1, 2], dtype="int64")'),
        (Given((1, 2), "torch tensor"), "torch.tensor([1, 2], dtype=torch.int64)"),
        (Given((5,) * 13), "[5] * 13"),
        (Given((0, *(5,) * 20, 7, 7, 8, *(9,) * 4)), "[0] + [5] * 20 + [7, 7, 8] + [9] * 4"),
    ],
)
def test_sequences_are_written_as_short_python(given: Given, code: str) -> None:
    assert str(given) == code


@pytest.mark.parametrize("form", ["list", "tuple", "numpy array", "numpy integers", "torch tensor", "torch integers"])
@pytest.mark.parametrize("ids", [(), (1,), (3, 4, 4, 4, 4, 4, *range(9), 7, 7)])
def test_what_is_written_is_what_was_given(form: str, ids: tuple[int, ...]) -> None:
    import numpy
    import torch

    given = Given(ids, form)
    value = eval(str(given), {"numpy": numpy, "torch": torch})  # noqa: S307 - our own output
    assert type(value) is type(given.built())
    assert [int(number) for number in value] == list(ids)
    assert [type(number) for number in value] == [type(number) for number in given.built()]


def test_the_test_that_is_printed_fails_on_the_encoder_and_passes_once_it_is_sound() -> None:
    """The snippet is run as it stands, against the broken encoder and against the sound one."""
    name = "tests.unit.contract.encoders:silent_truncation"
    (found,) = fuzz(encoders.silent_truncation, CONTRACT, examples=600, seed=7)
    code = found.test(name, CONTRACT)
    assert "from tests.unit.contract.encoders import silent_truncation" in code
    with pytest.raises(BatchError, match="GTE492"):
        ran(code)["test_encoder_keeps_gte492"]()
    ran(code.replace("silent_truncation", "sound"))["test_encoder_keeps_gte492"]()


def ran(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own output
    return names


def test_a_test_imports_the_frameworks_that_it_needs() -> None:
    finding = Finding("GTE490", Severity.ERROR, Location(), "IndexError: x")
    code = Break(finding, (Given((1,), "numpy integers"), Given((2,), "torch tensor"))).test(
        "a.b:Thing.encode", CONTRACT
    )
    assert code.startswith(
        "import numpy\nimport torch\n\nfrom gte_surgery import IdContract, verify\nfrom a.b import Thing\n"
    )
    assert "verify(Thing.encode, [" in code


def test_truncation_that_is_told_is_no_loss() -> None:
    def telling(sequences: Any) -> Any:
        if any(len(each) > encoders.LONGEST for each in sequences):
            warnings.warn("cut", stacklevel=1)
        return encoders.silent_truncation(sequences)

    verify(telling, [[1] * 40], CONTRACT)
    with pytest.raises(BatchError, match="GTE492"):
        verify(encoders.silent_truncation, [[1] * 40], CONTRACT)


def test_special_tokens_may_stand_at_the_ends_alone() -> None:
    def between(sequences: Any) -> Any:
        return encoders.padded([[7, *row[:1], 8, *row[1:]] for row in encoders.accepted(sequences)])

    def around(sequences: Any) -> Any:
        return encoders.padded([[7, *row, 8] for row in encoders.accepted(sequences)])

    verify(around, [[1, 2], [3]], CONTRACT)
    with pytest.raises(BatchError, match="GTE493"):
        verify(between, [[1, 2], [3, 4]], CONTRACT)


def test_encoders_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("fuzzed_here.py").write_text("class Thing:\n    def __call__(self, sequences): return 7\nbroken = Thing()\n")
    assert find_encoder("fuzzed_here:Thing")([]) == 7
    assert find_encoder("fuzzed_here:broken.__call__")([]) == 7
    Path("fuzzed_badly.py").write_text("1 / 0\n")
    for name, message in (
        ("fuzzed_here", "must be MODULE:CALLABLE"),
        ("fuzzed_here:absent", "AttributeError"),
        ("fuzzed_nowhere:x", "ModuleNotFoundError"),
        ("fuzzed_badly:x", "ZeroDivisionError"),
    ):
        with pytest.raises(UsageError, match=message):
            find_encoder(name)


def test_what_cannot_be_called_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="int: cannot be called"):
        verify(7, [[1]], CONTRACT)


@pytest.fixture
def contract_file(tmp_path: Path) -> Path:
    path = tmp_path / "contract.json"
    path.write_text(CONTRACT.to_json())
    return path


def test_the_command_tells_the_break_and_exits_with_1(contract_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "tests.unit.contract.encoders:int32_output"
    assert run(["fuzz", str(contract_file), "--encoder", name, "--examples", "30"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("error GTE412 /input_ids: int32, must be int64\n    smallest input: [[1]]\n    as a test:\n")
    assert "        def test_encoder_keeps_gte412() -> None:\n" in text
    assert text.endswith(f"{name}: 1 break (30 examples, seed 0)\n")


def test_the_command_prints_json(contract_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "tests.unit.contract.encoders:int32_output"
    assert run(["fuzz", str(contract_file), "--encoder", name, "--examples", "30", "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["breaks"]
    assert (told["code"], told["severity"], told["sequences"]) == ("GTE412", "error", "[[1]]")
    assert "verify(int32_output, [[1]], contract)" in told["test"]


def test_the_command_takes_a_checkpoint_and_is_good_on_a_sound_encoder(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(golden / "legacy-multilingual.resized-160-pad0", tmp_path / "checkpoint")
    name = "tests.unit.contract.encoders:Truncating"
    assert run(["fuzz", str(path), "--encoder", name, "--examples", "5"]) in (0, 1)
    assert f"{name}: " in capsys.readouterr().out
    assert run(["fuzz", str(path), "--encoder", "nowhere_at_all:x"]) == 2


def test_a_sound_encoder_makes_the_exit_code_0(contract_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "tests.unit.contract.encoders:sound"
    assert run(["fuzz", str(contract_file), "--encoder", name, "--examples", "40"]) == 0
    assert capsys.readouterr().out == f"{name}: 0 breaks (40 examples, seed 0)\n"
    assert run(["fuzz", str(contract_file), "--encoder", name, "--examples", "40", "--strict-exceptions"]) == 1


def test_without_hypothesis_the_command_says_what_to_install(
    contract_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    for name in ("fuzz", "strategies"):
        monkeypatch.delitem(sys.modules, f"gte_surgery.contract.{name}")
    assert run(["fuzz", str(contract_file), "--encoder", "tests.unit.contract.encoders:sound"]) == 2
    told = capsys.readouterr().err
    assert told == "error: hypothesis: not installed, fuzz needs it\nhint: `pip install 'gte-surgery[fuzz]'`\n"
