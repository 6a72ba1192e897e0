"""What an encoder must answer to one question, and how it is told that it did not."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gte_surgery.contract.probe import find_encoder, is_hard, judged, verify
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import BatchError, UsageError

CONTRACT = IdContract(vocab_size=64, pad_token_id=0, type_vocab_size=1, max_length=8)

Found = list[tuple[str, str, str]]
Rows = list[list[int]]


def answer(rows: Rows) -> dict[str, Rows]:
    """Rows padded to one length, with their mask."""
    width = max(map(len, rows))
    return {
        "input_ids": [row + [0] * (width - len(row)) for row in rows],
        "attention_mask": [[1] * len(row) + [0] * (width - len(row)) for row in rows],
    }


def answering(change: Callable[[Rows], Rows]) -> Callable[[Any], Any]:
    return lambda sequences: answer(change([list(each) for each in sequences]))


def found(encoder: Any, sequences: Sequence[Any], contract: IdContract = CONTRACT, strict: bool = False) -> Found:
    findings = judged(encoder, sequences, contract, strict)
    return [(each.code, each.location.pointer, each.message) for each in findings]


class Encoding:
    """Has encode_batch, and notes how it is called."""

    def __init__(self, change: Callable[[Rows], Rows]) -> None:
        self.change = change
        self.calls: list[tuple[Any, bool, int]] = []

    def encode_batch(self, sequences: Any, *, add_special_tokens: bool, max_length: int) -> Any:
        self.calls.append((sequences, add_special_tokens, max_length))
        return answer(self.change([list(each) for each in sequences]))


def test_an_encoder_is_asked_twice_for_special_tokens_within_the_models_length() -> None:
    encoder = Encoding(lambda rows: rows)
    assert found(encoder, [[5, 6], (7,)]) == []
    assert encoder.calls == [([[5, 6], (7,)], True, 8)] * 2


def test_what_an_encoder_does_to_its_input_is_not_seen_the_second_time() -> None:
    def consuming(sequences: list[list[int]]) -> Any:
        rows = [list(each) for each in sequences]
        for each in sequences:
            each.clear()
        return answer(rows)

    sequences = [[5, 6], [7]]
    assert found(consuming, sequences) == []
    assert sequences == [[5, 6], [7]]


def test_what_is_wrong_with_the_batch_is_told_before_all_else_but_for_warnings() -> None:
    assert found(lambda sequences: {"input_ids": [[64]]}, [[5], [6]]) == [
        ("GTE414", "/input_ids/0/0", "64 at row 0, column 0, must be below vocab_size 64")
    ]
    without_types = replace(CONTRACT, type_vocab_size=0)
    assert found(lambda sequences: {"input_ids": [[5]], "token_type_ids": [[1]]}, [[5]], without_types) == []


@pytest.mark.parametrize(
    ("rows", "sequences", "finding"),
    [
        ([[5, 6]], [[5, 6]], None),
        ([[1, 5, 6]], [[5, 6]], None),
        ([[5, 6, 1]], [[5, 6]], None),
        ([[1, 5, 6, 2]], [[5, 6]], None),
        ([[1, 2, 5, 6]], [[5, 6]], None),
        ([[5, 6, 1, 2]], [[5, 6]], None),
        ([[5]], [[5, 6]], ("GTE492", "/input_ids/0", "1 token of 2, must be all or an error")),
        (
            [[5], [7, 8]],
            [[5], [7, 9]],
            ("GTE493", "/input_ids/1", "not the ids of the sequence, must be them between special tokens"),
        ),
        (
            [[1, 2, 5, 6, 3]],
            [[5, 6]],
            ("GTE493", "/input_ids/0", "not the ids of the sequence, must be them between special tokens"),
        ),
        (
            [[5, 6, 1, 2, 3]],
            [[5, 6]],
            ("GTE493", "/input_ids/0", "not the ids of the sequence, must be them between special tokens"),
        ),
        (
            [[5, 1, 6]],
            [[5, 6]],
            ("GTE493", "/input_ids/0", "not the ids of the sequence, must be them between special tokens"),
        ),
        (
            [[6], [5]],
            [[5], [6]],
            ("GTE493", "/input_ids", "the rows are those of the sequences in another order, must be in order"),
        ),
        ([[5], [5]], [[5]], ("GTE491", "", "2 rows for 1 sequence, must be as many")),
        ([[5]], [[5], [5]], ("GTE491", "", "1 row for 2 sequences, must be as many")),
        ([[5, 6]], [[5, 0, 6]], None),
    ],
)
def test_the_tokens_of_a_row_are_those_of_its_sequence(
    rows: Rows, sequences: Rows, finding: tuple[str, str, str] | None
) -> None:
    assert found(answering(lambda _: rows), sequences) == ([] if finding is None else [finding])


def test_rows_without_a_mask_are_compared_as_well() -> None:
    assert found(lambda sequences: {"input_ids": np.array([[1, 5, 6]])}, [[5, 6]]) == []
    assert [each[0] for each in found(lambda sequences: {"input_ids": [[1, 5, 7]]}, [[5, 6]])] == ["GTE493"]


def test_only_the_first_row_that_differs_is_told() -> None:
    assert [each[1] for each in found(answering(lambda rows: [[9] for _ in rows]), [[5], [6]])] == ["/input_ids/0"]


def test_another_batch_the_second_time_is_told() -> None:
    answers = iter([[[5, 1]], [[5, 2]]])
    assert found(answering(lambda _: next(answers)), [[5]]) == [
        ("GTE494", "", "another batch the second time, must be the same")
    ]
    wrong = iter([[[6]], [[7]]])
    assert [each[0] for each in found(answering(lambda _: next(wrong)), [[5]])] == ["GTE493"]


@pytest.mark.parametrize(
    "second",
    [
        None,
        {},
        {"input_ids": [[5], [6, 7]]},
        {"input_ids": [[5, 6]], "attention_mask": [[1]]},
        {"input_ids": [[64, 6]]},
    ],
    ids=str,
)
def test_what_is_no_batch_the_second_time_is_another(second: Any) -> None:
    answers = iter([{"input_ids": [[5, 6]]}, second])
    assert [each[0] for each in found(lambda sequences: next(answers), [[5, 6]])] == ["GTE494"]


@pytest.mark.parametrize(
    "batch",
    [
        {"inputs_embeds": [[[0.5]]]},
        {"inputs_embeds": [[[0.5]]], "input_ids": None},
        {"inputs_embeds": [[[0.5]]], "attention_mask": [[1]]},
    ],
    ids=str,
)
def test_vectors_are_no_rows(batch: Any) -> None:
    assert found(lambda sequences: batch, [[5]]) == [("GTE491", "", "0 rows for 1 sequence, must be as many")]


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_answers_may_be_tensors_and_masks_booleans(make: Any) -> None:
    batch = {"input_ids": make([[5, 6], [7, 0]]), "attention_mask": make([[True, True], [True, False]])}
    assert found(lambda sequences: batch, [[5, 6], [7]]) == []
    assert [each[0] for each in found(lambda sequences: batch, [[5, 6], [8]])] == ["GTE493"]


LONG = list(range(1, 11))


@pytest.mark.parametrize(
    ("row", "is_told"),
    [
        (LONG[:8], False),
        (LONG[-8:], False),
        ([60, *LONG[:7]], False),
        ([60, *LONG[:6], 61], False),
        ([*LONG[-6:], 60, 61], False),
        ([60, *LONG[-6:], 61], False),
        (LONG[:7], True),
        (LONG[1:9], True),
        ([60, *LONG[:5], 61, 62], True),
    ],
)
def test_a_row_is_cut_where_it_is_full(row: list[int], is_told: bool) -> None:
    assert bool(found(Encoding(lambda _: [row]), [LONG])) is is_told
    assert [each[0] for each in found(answering(lambda _: [row]), [LONG])] == ["GTE492"]


def test_a_row_of_one_position_is_cut_to_it() -> None:
    short = replace(CONTRACT, max_length=1)
    assert found(Encoding(lambda _: [[5]]), [[5, 6]], short) == []
    assert [each[0] for each in found(Encoding(lambda _: [[7]]), [[5, 6]], short)] == ["GTE492"]


def test_a_cut_that_is_warned_of_is_allowed_once_more_and_each_time() -> None:
    def warning(sequences: Any) -> Any:
        warnings.warn("cut", UserWarning, stacklevel=1)
        return answer([LONG[:8]])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(warning, [LONG]) == found(warning, [LONG]) == []


@pytest.mark.parametrize(
    ("sequence", "most", "is_so"),
    [
        ([5], 8, False),
        ([5] * 6, 8, False),
        ([5] * 7, 8, True),
        ([], 8, True),
        ([5, 0], 8, True),
        ([5], 1, False),
        ([5], 2, False),
        ([5, 6], 2, True),
        ([5, 6], 3, True),
        ([5, 6], 4, False),
    ],
)
def test_what_an_encoder_may_refuse(sequence: list[int], most: int, is_so: bool) -> None:
    assert is_hard(sequence, replace(CONTRACT, max_length=most)) is is_so


def raising(error: Exception) -> Callable[[Any], Any]:
    def encode(sequences: Any) -> Any:
        raise error

    return encode


@pytest.mark.parametrize("error", [ValueError("no"), UsageError("no")], ids=["ValueError", "ours"])
def test_what_is_hard_may_be_refused(error: Exception) -> None:
    assert found(raising(error), [[5], []]) == []
    name = type(error).__name__
    assert found(raising(error), [[5], []], strict=True) == [("GTE490", "", f"{name}: no, must be encoded")]
    assert found(raising(error), [[5]]) == [("GTE490", "", f"{name}: no, must be encoded")]


def test_what_is_hard_may_not_end_in_any_error() -> None:
    assert found(raising(KeyError("x")), [[]]) == [("GTE490", "", "KeyError: 'x', may be a ValueError")]
    assert found(raising(KeyError("x")), [[5]]) == [("GTE490", "", "KeyError: 'x', must be encoded")]
    assert found(raising(KeyError("x")), [[]], strict=True) == [("GTE490", "", "KeyError: 'x', must be encoded")]


def test_verify_raises_what_was_found_as_a_report() -> None:
    with pytest.raises(BatchError) as raised:
        verify(answering(lambda rows: [row[:1] for row in rows]), [[5, 6]], CONTRACT)
    report = raised.value.report
    assert [each.code for each in report.findings] == ["GTE492"]
    assert (report.checkpoint, report.skipped, report.rules) == ("batch", (), ())
    verify(answering(lambda rows: rows), [[5, 6]], CONTRACT)


def test_verify_lets_a_refusal_pass_unless_exceptions_are_strict() -> None:
    verify(raising(ValueError("no")), [[]], CONTRACT)
    with pytest.raises(BatchError, match="GTE490"):
        verify(raising(ValueError("no")), [[]], CONTRACT, strict_exceptions=True)


def test_what_cannot_be_called_is_refused_by_its_type() -> None:
    class Uncallable:
        encode_batch = "not a method"

    with pytest.raises(UsageError) as raised:
        verify(Uncallable(), [[5]], CONTRACT)
    assert raised.value.message == "Uncallable: cannot be called and has no encode_batch"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, from which modules are imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


def test_the_working_directory_is_looked_into_first_and_added_once(here: Path) -> None:
    (here / "probed_first.py").write_text("class Thing:\n    inner = [7]\nthing = Thing()\n")
    assert find_encoder("probed_first:thing.inner") == ([7], False)
    made, is_class = find_encoder("probed_first:Thing")
    assert (type(made).__name__, is_class) == ("Thing", True)
    assert sys.path[0] == str(here)
    assert sys.path.count(str(here)) == 1


@pytest.mark.parametrize("name", ["probed", "probed:", ":thing", ""])
def test_a_name_has_two_parts(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_encoder(name)
    assert raised.value.message == f"--encoder {name}: must be MODULE:CALLABLE"
    assert raised.value.hint == "for example my_project.encoding:encode"


def test_what_cannot_be_had_says_why_and_where_it_was_looked_for(here: Path) -> None:
    with pytest.raises(UsageError) as raised:
        find_encoder("probed_nowhere:thing")
    assert raised.value.message == (
        "--encoder probed_nowhere:thing: cannot be had: ModuleNotFoundError: No module named 'probed_nowhere'"
    )
    where = "`python -c 'import sys; print(sys.path)'`"
    assert raised.value.hint == f"imported from the working directory, or from where {where} says"
