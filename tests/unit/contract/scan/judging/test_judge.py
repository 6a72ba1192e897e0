"""Each fault of a corpus, alone, has its code, its place and its words; a summary has its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gte_surgery.contract.scan.columns import Columns
from gte_surgery.contract.scan.summary import Offender, length_bins, length_within
from gte_surgery.contract.spec import IdContract
from tests.corpora import scan

CONTRACT = IdContract(vocab_size=100, pad_token_id=1, type_vocab_size=2, max_length=8, cls_token_id=0)
IDS = [[0, 7, 9, 8, 1, 1], [0, 5, 2, 2, 2, 2]]
MASK = [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
ALL = Columns(labels="labels", positions="position_ids")


def changed(rows: list[list[int]], row: int, column: int, value: int) -> list[list[int]]:
    copy = [list(values) for values in rows]
    copy[row][column] = value
    return copy


def found(tmp_path: Path, contract: IdContract = CONTRACT, **arrays: object) -> list[tuple[str, str]]:
    """(code, message) of every finding in an .npz of these arrays and, unless given, valid ones."""
    valid = {"input_ids": IDS, "attention_mask": MASK}
    np.savez(tmp_path / "a.npz", **{name: np.array(rows) for name, rows in (valid | arrays).items()})  # type: ignore[arg-type]
    columns = Columns(
        labels="labels" if "labels" in arrays else None,
        positions="position_ids" if "position_ids" in arrays else None,
    )
    return [(finding.code, finding.message) for finding in scan(contract, tmp_path, columns=columns).findings]


def test_valid_rows_have_no_finding(tmp_path: Path) -> None:
    count = [[0, 1, 2, 3, 0, 0], [0, 1, 2, 3, 4, 5]]
    labels = [[-100, 7, -100, -100, -100, -100], [-100] * 6]
    assert found(tmp_path, token_type_ids=[[0] * 6, [1] * 6], labels=labels, position_ids=count) == []


@pytest.mark.parametrize(
    ("arrays", "code", "message"),
    [
        ({"input_ids": changed(IDS, 1, 2, -3)}, "GTE413", "-3 at row 1, column 2, must be at least 0"),
        ({"input_ids": changed(IDS, 1, 2, 100)}, "GTE414", "100 at row 1, column 2, must be below vocab_size 100"),
        ({"input_ids": [[0] * 9], "attention_mask": [[1] * 9]}, "GTE415",
         "9 positions in row 0, must be at most max_length 8"),
        ({"input_ids": changed(IDS, 1, 0, 5)}, "GTE416", "5 in row 1, must be the CLS id 0"),
        ({"attention_mask": [[0, 0, 0, 0, -10000, -10000], MASK[1]]}, "GTE424",
         "an additive mask in row 0, must be 1 for tokens and 0 for pads"),
        ({"attention_mask": [[0, 0, 0, 0, -1000, -1000], MASK[1]]}, "GTE424",
         "an additive mask in row 0, must be 1 for tokens and 0 for pads"),
        ({"attention_mask": [[-10000] * 6, MASK[1]]}, "GTE425",
         "-10000 at row 0, column 0, must be 0 or 1 (6 such in 1 row: [0, 0], [0, 1], [0, 2], …)"),
        ({"attention_mask": changed(MASK, 1, 3, 2)}, "GTE425", "2 at row 1, column 3, must be 0 or 1"),
        ({"attention_mask": [[0, 0, 0, 0, 1, 1], MASK[1]]}, "GTE426",
         "1 at pads and 0 at tokens in row 0, must be the other way round"),
        ({"attention_mask": changed(MASK, 0, 4, 1)}, "GTE427", "1 for the pad id 1 at row 0, column 4, must be 0"),
        ({"input_ids": [IDS[0], [1] * 6]}, "GTE427",
         "1 for the pad id 1 at row 1, column 0, must be 0 (6 such in 1 row: [1, 0], [1, 1], [1, 2], …)"),
        ({"attention_mask": changed(MASK, 0, 3, 0)}, "GTE428",
         "0 for the id 8 at row 0, column 3, must be 1, for only 1 is padding"),
        ({"input_ids": [IDS[0], [1] * 6], "attention_mask": [MASK[0], [0] * 6]}, "GTE429",
         "no token in row 1, one is needed"),
        ({"input_ids": changed(IDS, 1, 3, 1), "attention_mask": changed(MASK, 1, 3, 0)}, "GTE430",
         "a pad between tokens at row 1, column 3, must stand at the end"),
        ({"input_ids": [[1, 1, 0, 5, 6, 7]], "attention_mask": [[0, 0, 1, 1, 1, 1]]}, "GTE431",
         "padding of length 2 before the first token in row 0, must stand on the right"),
        ({"token_type_ids": changed(MASK, 0, 1, -1)}, "GTE441", "-1 at row 0, column 1, must be at least 0"),
        ({"token_type_ids": changed(MASK, 0, 1, 2)}, "GTE442", "2 at row 0, column 1, must be below type_vocab_size 2"),
        ({"labels": changed([[-100] * 6] * 2, 0, 1, -1)}, "GTE451", "-1 at row 0, column 1, must be -100 or an id"),
        ({"labels": changed([[-100] * 6] * 2, 0, 1, 100)}, "GTE452",
         "100 at row 0, column 1, must be below vocab_size 100"),
        ({"labels": changed([[-100] * 6] * 2, 0, 5, 7)}, "GTE453", "7 for a pad at row 0, column 5, must be -100"),
        ({"position_ids": [[0, 1, 2, 3, -1, 0], list(range(6))]}, "GTE461",
         "-1 at row 0, column 4, must be at least 0"),
        ({"position_ids": [[0, 1, 2, 3, 8, 0], list(range(6))]}, "GTE462",
         "8 at row 0, column 4, must be below max_length 8"),
        ({"position_ids": [[0, 1, 3, 3, 4, 5], list(range(6))]}, "GTE463",
         "3 at row 0, column 2, must count the row's tokens from 0"),
        ({"attention_mask": [[1.0] * 4 + [0.0] * 2, [1.0] * 6]}, "GTE423",
         "mask is float64 in row 0, must be integers or booleans (2 such in 2 rows: [0], [1])"),
    ],
)  # fmt: skip
def test_one_fault_has_one_finding(arrays: dict[str, object], code: str, message: str, tmp_path: Path) -> None:
    assert found(tmp_path, **arrays) == [(code, message)]


def test_types_given_to_a_model_without_any_are_a_warning(tmp_path: Path) -> None:
    typeless = IdContract(vocab_size=100, pad_token_id=1, type_vocab_size=0, max_length=8)
    assert found(tmp_path, typeless, token_type_ids=[[0] * 6] * 2) == []
    told = found(tmp_path, typeless, token_type_ids=changed([[0] * 6] * 2, 1, 1, 1))
    assert told == [("GTE443", "1 at row 1, column 1, must be 0, for the model has no token types")]


def test_a_model_with_one_token_type_has_type_0(tmp_path: Path) -> None:
    single = IdContract(vocab_size=100, pad_token_id=1, type_vocab_size=1, max_length=8)
    assert found(tmp_path, single, token_type_ids=[[0] * 6] * 2) == []
    told = found(tmp_path, single, token_type_ids=changed([[0] * 6] * 2, 1, 1, 1))
    assert told == [("GTE442", "1 at row 1, column 1, must be below type_vocab_size 1")]


def test_padding_on_the_left_is_right_where_the_contract_says_so(tmp_path: Path) -> None:
    left = IdContract(vocab_size=100, pad_token_id=1, type_vocab_size=1, max_length=8, padding_side="left")
    flipped = {"input_ids": [row[::-1] for row in IDS], "attention_mask": [row[::-1] for row in MASK]}
    assert found(tmp_path, left, **flipped) == []
    assert found(tmp_path, left) == [
        ("GTE431", "padding of length 2 after the last token in row 0, must stand on the left")
    ]


def test_many_offenders_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    ids = [[0, 100, 200, 5], [0, 5, 5, 5], [0, 300, 5, 400]] * 50
    np.save(tmp_path / "a.npy", np.array(ids))
    (fault,) = scan(CONTRACT, tmp_path).summary.faults
    assert (fault.sums.places, fault.sums.rows) == (200, 100)
    assert fault.offenders == (Offender(0, 1, "100"), Offender(0, 2, "200"), Offender(2, 1, "300"))


def test_findings_beyond_the_most_are_counted(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.array([[0, 100, -1]]))
    report = scan(CONTRACT, tmp_path, max_findings=3)
    assert [(Path(each.location.file).name, each.code) for each in report.findings] == [
        ("0.npy", "GTE413"), ("0.npy", "GTE414"), ("1.npy", "GTE413"),
    ]  # fmt: skip
    assert {fault.value: sums.places for fault, sums in report.summary.sums.items()} == {"GTE413": 4, "GTE414": 4}
    assert report.worst is not None


def test_lengths_are_summed_up(tmp_path: Path) -> None:
    rows = [[0] * n for n in (1, 2, 3, 3, 4, 9, 9, 12)]
    flat = {"input_ids": np.zeros(sum(map(len, rows)), np.int64), "offsets": np.cumsum([0, *map(len, rows)])}
    np.savez(tmp_path / "a.npz", **flat)
    summary = scan(CONTRACT, tmp_path).summary
    assert length_bins(summary) == [(1, 1, 1), (2, 3, 3), (4, 7, 1), (9, 12, 3)]
    assert [length_within(summary, share) for share in (0.1, 0.5, 0.6, 1.0)] == [1, 3, 4, 12]


LARGE = IdContract(vocab_size=250048, pad_token_id=1, type_vocab_size=1, max_length=8, cls_token_id=0)


def test_ids_whose_dtype_ends_before_the_vocabulary_are_told_whatever_they_are(tmp_path: Path) -> None:
    told = found(tmp_path, LARGE, input_ids=np.array(IDS, np.uint16))
    assert told == [("GTE417", "ids are uint16 in row 0, must hold every id below 250048 (2 such in 2 rows: [0], [1])")]
    told = found(tmp_path, LARGE, labels=np.array([[-100, 7, -100, -100, -100, -100], [-100] * 6], np.int16))
    assert told == [
        ("GTE417", "labels are int16 in row 0, must hold every id below 250048 (2 such in 2 rows: [0], [1])")
    ]


@pytest.mark.parametrize(("dtype", "last"), [("i1", 127), ("u1", 255), ("i2", 32767), ("u2", 65535)])
def test_a_dtype_that_holds_the_vocabulary_is_as_good_as_any(dtype: str, last: int, tmp_path: Path) -> None:
    for size, codes in ((last + 1, []), (last + 2, ["GTE417"])):
        contract = IdContract(vocab_size=size, pad_token_id=1, type_vocab_size=1, max_length=8, cls_token_id=0)
        assert [code for code, _ in found(tmp_path, contract, input_ids=np.array(IDS, dtype))] == codes


def test_an_id_that_wrapped_below_0_is_no_large_one(tmp_path: Path) -> None:
    """Read without its sign, −1 of 16 bits is 65535, which a vocabulary of 250,048 has."""
    told = found(tmp_path, LARGE, input_ids=np.array(changed(IDS, 1, 2, -1), np.int16))
    assert [code for code, _ in told] == ["GTE413", "GTE417"]
    assert told[0][1] == "-1 at row 1, column 2, must be at least 0"
    long = IdContract(vocab_size=100, pad_token_id=1, type_vocab_size=2, max_length=512, cls_token_id=0)
    count = np.array([[0, 1, 2, 3, -1, 0], list(range(6))], np.int8)
    assert found(tmp_path, long, position_ids=count) == [("GTE461", "-1 at row 0, column 4, must be at least 0")]
