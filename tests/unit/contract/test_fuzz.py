"""fuzz finds planted mistakes, each as small as it gets, and none where there is none; what it prints can be run."""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase

from gte_surgery.cli.commands.fuzz import command
from gte_surgery.cli.entry import run
from gte_surgery.contract import fuzz as fuzzing
from gte_surgery.contract.fuzz import (
    FORMS,
    Break,
    Given,
    _BrokenError,
    _code,
    _edges,
    _questions,
    _repeated,
    _Search,
    _smaller,
    _with_pads,
    fuzz,
)
from gte_surgery.contract.probe import find_encoder, is_hard, verify
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
    breaks = fuzz(getattr(encoders, name), CONTRACT, examples=100)
    assert [(each.finding.code, str(each)) for each in breaks] == [PLANTED[name]]


def test_the_usual_edges_are_not_left_to_chance() -> None:
    (found,) = fuzz(encoders.silent_truncation, CONTRACT, examples=48, seed=123)
    assert (found.finding.code, str(found)) == PLANTED["silent_truncation"]


def test_a_sound_encoder_is_not_broken(long: bool) -> None:
    assert fuzz(encoders.sound, CONTRACT, examples=1000 if long else 80) == ()
    assert fuzz(encoders.Truncating(), CONTRACT, examples=40) == ()


def test_an_encoder_with_a_memory_is_found() -> None:
    (found,) = fuzz(encoders.Stateful(), CONTRACT, examples=50)
    assert found.finding.code == "GTE494"


def test_strict_exceptions_let_a_clean_refusal_count() -> None:
    (found,) = fuzz(encoders.sound, CONTRACT, examples=60, strict_exceptions=True)
    assert found.finding.code == "GTE490"
    assert found.finding.message.startswith("ValueError: an empty sequence")


def test_the_same_seed_finds_the_same() -> None:
    first, second = (fuzz(encoders.silent_truncation, CONTRACT, examples=50, seed=7) for _ in range(2))
    assert first == second


def test_several_mistakes_are_told_one_by_one() -> None:
    def careless(sequences: Any) -> Any:
        return {"input_ids": [[int(number) for number in each] for each in sequences]}

    assert {each.finding.code for each in fuzz(careless, CONTRACT, examples=50)} >= {"GTE405", "GTE406", "GTE420"}


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
    given = Given(ids, form)
    value = eval(str(given), {"numpy": numpy, "torch": torch})  # noqa: S307 - our own output
    assert type(value) is type(given.built())
    assert [int(number) for number in value] == list(ids)
    assert [type(number) for number in value] == [type(number) for number in given.built()]


def test_the_test_that_is_printed_fails_on_the_encoder_and_passes_once_it_is_sound() -> None:
    """The snippet is run as it stands, against the broken encoder and against the sound one."""
    name = "tests.unit.contract.encoders:silent_truncation"
    (found,) = fuzz(encoders.silent_truncation, CONTRACT, examples=100, seed=7)
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
    assert find_encoder("fuzzed_here:Thing")[0]([]) == 7
    assert find_encoder("fuzzed_here:broken.__call__")[0]([]) == 7
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


def test_a_test_of_a_class_runs_as_it_is_pasted(
    contract_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = "class Made:\n    def __call__(self, sequences):\n        return {'input_ids': [[1, 2]]}\n"
    (tmp_path / "made_of_a_class.py").write_text(source)
    assert run(["fuzz", str(contract_file), "--encoder", "made_of_a_class:Made", "--examples", "5", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["breaks"][0]
    assert "verify(Made(), " in told["test"]
    names: dict[str, Any] = {}
    exec(told["test"], names)  # noqa: S102 - what a user would paste
    with pytest.raises(BatchError, match=told["code"]):
        names[f"test_encoder_keeps_{told['code'].lower()}"]()


def test_fuzz_is_told_in_the_formats_of_check(contract_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "tests.unit.contract.encoders:int32_output"
    for form in ("sarif", "junit", "github", "markdown"):
        assert run(["fuzz", str(contract_file), "--encoder", name, "--examples", "9", "--format", form]) == 1
        assert "GTE412" in capsys.readouterr().out


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
    said = capsys.readouterr().out
    assert f"{name}(): " in said
    assert "it is given max_length, and may cut to it)" in said
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
    assert run(["fuzz", str(contract_file), "--encoder", "tests.unit.contract.encoders:sound"]) == 3
    told = capsys.readouterr().err
    assert told == "error: hypothesis: not installed, fuzz needs it\nhint: `pip install 'gte-surgery[fuzz]'`\n"


SMALL = IdContract(10, 0, 1, 4)
HEADED = IdContract(10, 9, 1, 4, cls_token_id=2)


def seven_is_too_much(sequences: Any) -> Any:
    """Makes an id beyond the table of each 7."""
    rows = [[int(number) for number in each] for each in sequences]
    if any(not row or len(row) > SMALL.max_length or 0 in row for row in rows):
        raise ValueError
    return encoders.padded([[10 if number == 7 else number for number in row] for row in rows])


def searching(known: frozenset[str] = frozenset(), encoder: Any = seven_is_too_much) -> _Search:
    return _Search(encoder, SMALL, strict_exceptions=False, known=known)


@pytest.mark.parametrize(
    ("contract", "ids"),
    [
        (SMALL, [(), (1,), (1, 9), (1,) * 3, (1,) * 4, (1,) * 5, (1,) * 8, (1, 0, 0, 1)]),
        (
            HEADED,
            [(), (2,), (2, 0, 8), (2, 0, 0), (2, 0, 0, 0), (2, *[0] * 4), (2, *[0] * 7), (2, 0, 9, 9, 0)],
        ),
    ],
)
def test_the_usual_edges_come_in_every_form(contract: IdContract, ids: list[tuple[int, ...]]) -> None:
    assert list(_edges(contract)) == [(Given(each, form),) for each in ids for form in FORMS]


def test_no_framework_is_loaded_for_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert [each.form for (each,) in _edges(SMALL)][:5] == ["list", "tuple", "numpy array", "numpy integers", "list"]


def test_steps_to_smaller_inputs_are_bold_at_first() -> None:
    given, other = Given((5, 6, 7), "tuple"), Given((2,))
    assert list(_smaller((given, other), SMALL)) == [
        (other,),
        (Given((5, 6, 7)), other),
        *((Given(ids, "tuple"), other) for ids in [(6, 7), (5, 7), (5, 6)]),
        *((Given(ids, "tuple"), other) for ids in [(1, 6, 7), (5, 1, 7), (5, 6, 1)]),
        (given,),
        (given, Given((1,))),
    ]
    smaller = [(1, 5), (2, 9), (9, 1, 5), (2, 1, 5), (2, 9, 5), (2, 9, 1), (2, 9, 0, 5), (2, 9, 1, 0)]
    assert [each.ids for (each,) in _smaller((Given((2, 9, 1, 5)),), HEADED)] == smaller


def test_of_long_inputs_not_every_step_is_tried() -> None:
    steps = [each.ids for (each,) in _smaller((Given((5,) * 300),), SMALL)]
    assert [300 - len(ids) for ids in steps[:6]] == [150, 150, 75, 75, 75, 75]
    assert [len(ids) for ids in steps].count(299) == 64
    assert steps[-16:] == [(5,) * at + (1,) + (5,) * (299 - at) for at in range(16)]


def test_a_break_is_made_smaller_as_long_as_its_code_stays() -> None:
    search = searching()
    with pytest.raises(_BrokenError):
        search.ask((Given((5, 7, 6, 8)), Given((7, 1), "tuple")))
    broken = search.broken
    assert broken is not None
    assert (broken.finding.code, str(broken)) == ("GTE414", "[[5, 7, 6, 8], tuple([7, 1])]")
    smallest = search.smallest(broken)
    assert smallest.sequences == (Given((7,)),)
    assert smallest.finding.message == "10 at row 0, column 0, must be below vocab_size 10"


def test_what_is_as_small_as_it_gets_stays() -> None:
    search = searching()
    with pytest.raises(_BrokenError):
        search.ask((Given((7,)),))
    broken = search.broken
    assert broken is not None
    assert search.smallest(broken) is broken


def test_so_many_questions_and_no_more_are_asked_for_a_smaller_input(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counting(sequences: Any) -> Any:
        nonlocal calls
        calls += 1
        return seven_is_too_much(sequences)

    monkeypatch.setattr(fuzzing, "_MOST_QUESTIONS", 2)
    finding = Finding("GTE414", Severity.ERROR, Location(), "")
    searching(encoder=counting).smallest(Break(finding, (Given((7, 7, 7, 7)),)))
    assert calls == 2 * 2


def test_a_search_is_for_a_code_that_is_not_known_and_then_for_that_alone() -> None:
    searching(known=frozenset({"GTE414"})).ask((Given((7,)),))
    search = searching()
    search.broken = Break(Finding("GTE490", Severity.ERROR, Location(), ""), ())
    search.ask((Given((7,)),))
    search.ask((Given((5,)),))
    assert search.broken.finding.code == "GTE490"


def test_so_many_edges_and_as_many_drawn_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[list[int]]] = []

    def judged(encoder: Any, sequences: Any, contract: IdContract, strict_exceptions: bool) -> list[Finding]:
        asked.append([list(map(int, each)) for each in sequences])
        return []

    monkeypatch.setattr(fuzzing, "judged", judged)
    assert fuzz(encoders.sound, SMALL, examples=8) == ()
    assert asked[:8] == [[[]]] * 6 + [[[1]]] * 2
    assert len(asked) == 16


def broken_thrice(sequences: Any) -> Any:
    """What is wrong depends on the length of the first sequence."""
    length = len(sequences[0])
    if length == 0:
        raise KeyError("empty")
    return {"input_ids": [[10 if length == 1 else -1] for _ in sequences]}


def test_breaks_are_told_in_the_order_in_which_they_are_found() -> None:
    breaks = fuzz(broken_thrice, SMALL, examples=20)
    assert [(each.finding.code, str(each)) for each in breaks] == [
        ("GTE490", "[[]]"),
        ("GTE414", "[[1]]"),
        ("GTE413", "[[1, 1]]"),
    ]


def test_no_more_than_so_many_breaks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "_MOST_BREAKS", 2)
    assert [each.finding.code for each in fuzz(broken_thrice, SMALL, examples=20)] == ["GTE490", "GTE414"]


@pytest.fixture
def demanding() -> Iterator[InMemoryExampleDatabase]:
    """A profile of Hypothesis that would stop a search or note its examples, as that of a project may."""
    database = InMemoryExampleDatabase()
    settings.register_profile("before", settings())
    settings.register_profile(
        "demanding", deadline=1, database=database, max_examples=1, phases=(), suppress_health_check=()
    )
    settings.load_profile("demanding")
    yield database
    settings.load_profile("before")


def test_a_search_is_the_same_whatever_the_profile_of_hypothesis(demanding: InMemoryExampleDatabase) -> None:
    def slow(sequences: Any) -> Any:
        time.sleep(0.0015)
        return encoders.padded(encoders.accepted(sequences)[:1])

    (found,) = fuzz(slow, CONTRACT, examples=50)
    assert (found.finding.code, str(found)) == ("GTE491", "[[1], [1]]")
    assert demanding.data == {}


@pytest.mark.parametrize("contract", [SMALL, HEADED, IdContract(10, 0, 1, 40), IdContract(2, 0, 1, 1)])
@given(data=st.data())
def test_questions_are_of_a_few_sequences_in_any_form(contract: IdContract, data: st.DataObject) -> None:
    question = data.draw(_questions(contract))
    assert 1 <= len(question) <= 4
    for each in question:
        assert each.form in FORMS
        assert type(each.ids) is tuple
        assert set(each.ids) <= set(contract.allowed_ids)
        if contract.pad_token_id not in each.ids:
            most = contract.max_length
            fitting = range(max(most - 2, 1) + 1)
            assert len(each.ids) in (*fitting, most - 1, most, most + 1, 2 * most)
            assert len(each.ids) <= 16 or len(set(each.ids)) <= 4
        if each.ids and contract.cls_token_id is not None:
            assert each.ids[0] in (contract.cls_token_id, contract.pad_token_id)


@pytest.mark.parametrize(
    "is_wanted",
    [
        lambda question: len(question) == 4,
        lambda question: [each.ids for each in question] == [()],
        lambda question: [len(each.ids) for each in question] == [3] and 9 not in question[0].ids,
        lambda question: [len(each.ids) for each in question] == [4] and 9 not in question[0].ids,
        lambda question: [len(each.ids) for each in question] == [5] and 9 not in question[0].ids,
        lambda question: [len(each.ids) for each in question] == [8] and 9 not in question[0].ids,
        lambda question: len(question) == 1 and question[0].ids.count(9) > 1,
        lambda question: [is_hard(each.ids, HEADED) for each in question] == [False],
        lambda question: [is_hard(each.ids, HEADED) for each in question] == [False, True],
        lambda question: len(question) == 4 and not any(is_hard(each.ids, HEADED) for each in question),
        lambda question: any(each.form == "torch integers" for each in question),
    ],
)
def test_questions_of_every_kind_are_asked(is_wanted: Callable[[list[Given]], bool]) -> None:
    within = settings(max_examples=1000, database=None, derandomize=True, phases=(Phase.generate,))
    assert is_wanted(find(_questions(HEADED), is_wanted, settings=within))


@given(data=st.data())
def test_a_pattern_is_repeated_to_a_length(data: st.DataObject) -> None:
    ids = data.draw(_repeated(HEADED, st.just(12)))
    assert len(ids) == 12
    assert ids[0] == 2
    rest = ids[1:]
    assert any(rest == (rest[:period] * 12)[:11] for period in (1, 2, 3))


@given(data=st.data())
def test_pads_are_put_into_a_sequence_at_one_place(data: st.DataObject) -> None:
    ids = data.draw(_with_pads(HEADED))
    begin = ids.index(9)
    count = ids.count(9)
    assert 1 <= count <= 3
    assert ids[begin : begin + count] == [9] * count
    assert 1 <= len(ids) - count <= 8


@pytest.mark.parametrize(
    ("contract", "code"),
    [
        (SMALL, "IdContract(vocab_size=10, pad_token_id=0, type_vocab_size=1, max_length=4)"),
        (
            IdContract(10, 9, 1, 4, cls_token_id=2, padding_side="left", special_ids=(3,)),
            "IdContract(vocab_size=10, pad_token_id=9, type_vocab_size=1, max_length=4, "
            "cls_token_id=2, padding_side='left', special_ids=(3,))",
        ),
    ],
)
def test_a_contract_is_written_without_what_is_at_its_default(contract: IdContract, code: str) -> None:
    assert _code(contract) == code
    assert eval(code, {"IdContract": IdContract}) == contract  # noqa: S307 - our own output


def test_a_test_is_written_in_full() -> None:
    finding = Finding("GTE414", Severity.ERROR, Location(), "")
    assert Break(finding, (Given((1, 2)), Given((3,), "tuple"))).test("a.b:encode", SMALL) == (
        "from gte_surgery import IdContract, verify\n"
        "from a.b import encode\n"
        "\n"
        "\n"
        "def test_encoder_keeps_gte414() -> None:\n"
        "    contract = IdContract(vocab_size=10, pad_token_id=0, type_vocab_size=1, max_length=4)\n"
        "    verify(encode, [[1, 2], tuple([3])], contract)"
    )


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (range(12), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"),
        ([5] * 12, "[5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]"),
        (range(13), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]"),
        ([7] * 3 + [8] * 4 + [9] * 3 + [10] * 3 + [1], "[7, 7, 7] + [8] * 4 + [9, 9, 9, 10, 10, 10, 1]"),
        ([8] * 13 + [9] * 13 + [1], "[8] * 13 + [9] * 13 + [1]"),
    ],
)
def test_runs_of_four_and_more_are_written_as_products(ids: Sequence[int], code: str) -> None:
    assert str(Given(tuple(ids))) == code
    assert eval(code) == list(ids)  # noqa: S307 - our own output


def test_each_search_takes_the_examples_and_the_seed_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[int, int]] = []
    monkeypatch.setattr(_Search, "run", lambda self, examples, seed: called.append((examples, seed)))
    fuzz(print, CONTRACT, examples=3, seed=7)
    fuzz(print, CONTRACT)
    defaults = {each.name: each.default for each in command.params}
    assert called == [(3, 7), (defaults["examples"], defaults["seed"])]


def test_behind_a_known_finding_another_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [Finding(code, Severity.ERROR, Location(), "") for code in ("GTE427", "GTE414", "GTE490")]
    monkeypatch.setattr(fuzzing, "judged", lambda *_: iter(told))
    search = _Search(print, CONTRACT, False, frozenset({"GTE427"}))
    with pytest.raises(_BrokenError):
        search.ask((Given((5,), FORMS[0]),))
    assert search.broken == Break(told[1], (Given((5,), FORMS[0]),))
