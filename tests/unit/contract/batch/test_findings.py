"""Every code about a batch: what is found, where, in which words, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gte_surgery.contract.batch import verdict
from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.batch.structure import _judge_company, framed
from gte_surgery.contract.batch.verdict import is_clean
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import BatchError

CONTRACT = IdContract(vocab_size=64, pad_token_id=0, type_vocab_size=2, max_length=6, cls_token_id=2, hidden_size=3)
IDS, MASK = [[2, 5, 0], [2, 6, 7]], [[1, 1, 0], [1, 1, 1]]
SHORT = [[2, 5]]
NAN, INF = float("nan"), float("inf")

Found = tuple[str, str, str, str]


def found(batch: object, contract: IdContract = CONTRACT) -> list[Found]:
    report = contract.check_batch(batch)  # type: ignore[arg-type]
    return [(each.code, each.location.pointer, each.message, each.hint) for each in report.findings]


CASES: list[tuple[object, Found]] = [
    ([1, 2], ("GTE400", "", "a batch that is a list, must map names to tensors", "")),
    ({}, ("GTE401", "", "no input_ids and no inputs_embeds, one of them is needed", "")),
    (
        {"input_ids": IDS, "attention_mask": MASK, "inputs_embeds": [[[0.1] * 3] * 3] * 2},
        ("GTE402", "/inputs_embeds", "beside input_ids, must be one of the two", ""),
    ),
    (
        {"input_ids": SHORT, "attention_masks": [[1, 1]]},
        (
            "GTE403",
            "/attention_masks",
            "not a name that the model takes, attention_mask is",
            "call it attention_mask",
        ),
    ),
    ({"input_ids": "x"}, ("GTE404", "/input_ids", "str, must be a tensor, an array or nested lists of numbers", "")),
    ({"input_ids": [["a", 1.5]]}, ("GTE404", "/input_ids", "lists of str, must hold numbers", "")),
    ({"input_ids": [[1, 2], [3]]}, ("GTE405", "/input_ids", "rows of 1 to 2 entries, must be of one length", "")),
    (
        {"input_ids": [[1, 2], 3]},
        ("GTE405", "/input_ids", "lists beside numbers at one depth, must be nested evenly", ""),
    ),
    ({"input_ids": [[]]}, ("GTE406", "/input_ids", "shape [1, 0], must have a row and a column", "")),
    (
        {"input_ids": np.array(IDS), "attention_mask": MASK},
        ("GTE407", "", "input_ids of numpy, attention_mask of lists, must be of one framework", ""),
    ),
    ({"input_ids": [2, 5]}, ("GTE410", "/input_ids", "shape [2], must be [rows, columns]", "")),
    ({"input_ids": [[2.0, 5.0]]}, ("GTE411", "/input_ids", "float, must be int64", "")),
    ({"input_ids": SHORT, "labels": [[True, False]]}, ("GTE411", "/labels", "bool, must be int64", "")),
    (
        {"input_ids": np.array(SHORT, "i4")},
        ("GTE412", "/input_ids", "int32, must be int64", "allow_int32 lets it pass"),
    ),
    ({"input_ids": np.array(SHORT, "i2")}, ("GTE412", "/input_ids", "int16, must be int64", "")),
    (
        {"input_ids": np.array(SHORT), "labels": np.array(SHORT, "i1")},
        ("GTE412", "/labels", "int8, must be int64", ""),
    ),
    ({"input_ids": [[2, -1]]}, ("GTE413", "/input_ids/0/1", "-1 at row 0, column 1, must be at least 0", "")),
    (
        {"input_ids": [[2, 64]]},
        (
            "GTE414",
            "/input_ids/0/1",
            "64 at row 0, column 1, must be below vocab_size 64",
            "`gte-surgery resize`, with --vocab 65 --pad 0, gives the checkpoint's table more rows",
        ),
    ),
    ({"input_ids": [[2] * 7]}, ("GTE415", "/input_ids", "7 columns, must be at most max_length 6", "")),
    (
        {"input_ids": [[5, 6]]},
        (
            "GTE416",
            "/input_ids/0/0",
            "5 at row 0, column 0, must be the CLS id 2",
            "encode with add_special_tokens=True",
        ),
    ),
    (
        {"input_ids": IDS},
        (
            "GTE420",
            "/input_ids/0/2",
            "pad id 0 at row 0, column 2, must be masked, but there is no attention_mask",
            "pass attention_mask = (input_ids != pad_token_id)",
        ),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[1, 1], [1, 1]]},
        ("GTE421", "/attention_mask", "shape [2, 2], must be [2, 3] as the ids'", ""),
    ),
    (
        {"input_ids": IDS, "attention_mask": [1, 1]},
        ("GTE422", "/attention_mask", "shape [2], must be [rows, columns] = [2, 3]", ""),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]},
        ("GTE423", "/attention_mask", "float, must be integers or booleans", "pass the mask as int64 or bool"),
    ),
    (
        {"input_ids": np.array(IDS), "attention_mask": np.array(MASK, "c16")},
        ("GTE423", "/attention_mask", "complex128, must be integers or booleans", "pass the mask as int64 or bool"),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[0.0, 0.0, -1000.0], [0.0, 0.0, 0.0]]},
        (
            "GTE424",
            "/attention_mask",
            "values 0 and -1000, must be 1 for tokens and 0 for pads",
            "pass (mask == 0)",
        ),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[0.0, 0.0, -999.0], [0.0, 0.0, 0.0]]},
        ("GTE423", "/attention_mask", "float, must be integers or booleans", "pass the mask as int64 or bool"),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[1, 1, 2], [1, 1, 1]]},
        ("GTE425", "/attention_mask/0/2", "2 at row 0, column 2, must be 0 or 1", ""),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[0, 0, 1], [0, 0, 0]]},
        (
            "GTE426",
            "/attention_mask",
            "1 at pads and 0 at tokens, must be the other way round",
            "pass (mask == 0)",
        ),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[1, 1, 1], [1, 1, 1]]},
        (
            "GTE427",
            "/attention_mask/0/2",
            "1 for the pad id 0 at row 0, column 2, must be 0",
            "does the encoder pad with the model's pad id?",
        ),
    ),
    (
        {"input_ids": IDS, "attention_mask": [[1, 0, 0], [1, 1, 1]]},
        (
            "GTE428",
            "/attention_mask/0/1",
            "0 for the id 5 at row 0, column 1, must be 1, for only 0 is padding",
            "",
        ),
    ),
    (
        {"input_ids": [[0, 0]], "attention_mask": [[0, 0]]},
        ("GTE429", "/attention_mask/0", "no token in row 0, one is needed", ""),
    ),
    (
        {"input_ids": [[2, 0, 5]], "attention_mask": [[1, 0, 1]]},
        ("GTE430", "/attention_mask/0/1", "a pad between tokens at row 0, column 1, must stand at the end", ""),
    ),
    (
        {"input_ids": [[0, 0, 2]], "attention_mask": [[0, 0, 1]]},
        (
            "GTE431",
            "/attention_mask/0/0",
            "padding of length 2 before the first token at row 0, column 0, must stand on the right",
            "set padding_side of the tokenizer",
        ),
    ),
    (
        {"input_ids": SHORT, "token_type_ids": [[0]]},
        ("GTE440", "/token_type_ids", "shape [1, 1], must be [1, 2] as the ids'", ""),
    ),
    (
        {"input_ids": SHORT, "token_type_ids": [[0, -1]]},
        ("GTE441", "/token_type_ids/0/1", "-1 at row 0, column 1, must be at least 0", ""),
    ),
    (
        {"input_ids": SHORT, "token_type_ids": [[0, 2]]},
        (
            "GTE442",
            "/token_type_ids/0/1",
            "2 at row 0, column 1, must be below type_vocab_size 2",
            "`gte-surgery resize`, with --vocab 64 --pad 0 --type-vocab 3, gives the checkpoint's table more rows",
        ),
    ),
    ({"input_ids": SHORT, "labels": [[5]]}, ("GTE450", "/labels", "shape [1, 1], must be [1, 2] as the ids'", "")),
    (
        {"input_ids": SHORT, "labels": [[-1, 5]]},
        (
            "GTE451",
            "/labels/0/0",
            "-1 at row 0, column 0, must be -100 or an id",
            "the label that the loss skips is ignore_label of the contract",
        ),
    ),
    (
        {"input_ids": SHORT, "labels": [[5, 64]]},
        ("GTE452", "/labels/0/1", "64 at row 0, column 1, must be below vocab_size 64", ""),
    ),
    (
        {"input_ids": IDS, "attention_mask": MASK, "labels": [[-100, 5, 7], [-100] * 3]},
        ("GTE453", "/labels/0/2", "7 for a pad at row 0, column 2, must be -100", ""),
    ),
    (
        {"input_ids": [[2, 5]], "attention_mask": [[1, 0]], "labels": [[-100, 5]]},
        ("GTE428", "/attention_mask/0/1", "0 for the id 5 at row 0, column 1, must be 1, for only 0 is padding", ""),
    ),
    (
        {"inputs_embeds": [[[1.0, 2.0, 3.0]] * 2], "attention_mask": [[1, 0]], "labels": [[5, 7]]},
        ("GTE453", "/labels/0/1", "7 for a pad at row 0, column 1, must be -100", ""),
    ),
    (
        {"input_ids": SHORT, "labels": [[-100, -100]]},
        (
            "GTE454",
            "/labels",
            "every label is -100, one must be another",
            "leave the batch out, or hide at least one token",
        ),
    ),
    (
        {"input_ids": SHORT, "position_ids": [[0]]},
        ("GTE460", "/position_ids", "shape [1, 1], must be [1, 2] as the ids'", ""),
    ),
    (
        {"input_ids": SHORT, "position_ids": [[0, -1]]},
        ("GTE461", "/position_ids/0/1", "-1 at row 0, column 1, must be at least 0", ""),
    ),
    (
        {"input_ids": SHORT, "position_ids": [[0, 6]]},
        ("GTE462", "/position_ids/0/1", "6 at row 0, column 1, must be below max_length 6", ""),
    ),
    (
        {"input_ids": SHORT, "position_ids": [[0, 2]]},
        ("GTE463", "/position_ids/0/1", "2 at row 0, column 1, must count the row's tokens from 0", ""),
    ),
    (
        {"inputs_embeds": [[1.0, 2.0, 3.0]]},
        ("GTE470", "/inputs_embeds", "shape [1, 3], must be [rows, columns, hidden]", ""),
    ),
    ({"inputs_embeds": [[[1.0, 2.0]]]}, ("GTE471", "/inputs_embeds", "width 2, must be hidden_size 3", "")),
    ({"inputs_embeds": [[[1, 2, 3]]]}, ("GTE472", "/inputs_embeds", "int, must be floating point", "")),
    (
        {"inputs_embeds": [[[1.0, 2.0, 3.0], [1.0, -INF, NAN]]]},
        ("GTE473", "/inputs_embeds/0/1", "-inf at row 0, column 1, must be finite", ""),
    ),
]


@pytest.mark.parametrize(("batch", "wanted"), CASES, ids=[wanted[0] for _, wanted in CASES])
def test_a_batch_with_one_fault_has_that_finding_and_no_other(batch: object, wanted: Found) -> None:
    assert found(batch) == [wanted]


def test_every_code_about_a_batch_has_a_case() -> None:
    elsewhere = {"GTE408", "GTE417", "GTE443"}
    about_batches = {code for code in CODES if "GTE400" <= code < "GTE480"}
    assert {wanted[0] for _, wanted in CASES} == about_batches - elsewhere


def test_a_model_without_types_takes_zeros_only() -> None:
    without = replace(CONTRACT, type_vocab_size=0)
    message = "1 at row 0, column 1, must be 0, for the model has no token types"
    assert found({"input_ids": SHORT, "token_type_ids": [[0, 1]]}, without) == [
        ("GTE443", "/token_type_ids/0/1", message, "")
    ]
    assert found({"input_ids": SHORT, "token_type_ids": [[0, 0]]}, without) == []


def test_members_are_on_one_device() -> None:
    batch = {"input_ids": torch.tensor(SHORT), "attention_mask": torch.ones((1, 2), dtype=torch.int64, device="meta")}
    assert [each[0] for each in found(batch)] == ["GTE404"]
    assert found(batch)[0][2] == "a tensor on the meta device, must be a dense one that holds numbers"
    sparse = torch.tensor(SHORT).to_sparse()
    assert found({"input_ids": sparse})[0][2] == "a tensor nested or sparse, must be a dense one that holds numbers"


def test_with_padding_on_the_left_places_are_told_from_there() -> None:
    left = replace(CONTRACT, padding_side="left", cls_token_id=None)
    assert found({"input_ids": [[2, 5, 0]], "attention_mask": [[1, 1, 0]]}, left) == [
        (
            "GTE431",
            "/attention_mask/0/2",
            "padding of length 1 after the last token at row 0, column 2, must stand on the left",
            "set padding_side of the tokenizer",
        )
    ]
    assert found({"input_ids": [[2, 0, 5]], "attention_mask": [[1, 0, 1]]}, left) == [
        ("GTE430", "/attention_mask/0/1", "a pad between tokens at row 0, column 1, must stand at the beginning", "")
    ]


@pytest.mark.parametrize("make", [list, np.array, torch.tensor], ids=["lists", "numpy", "torch"])
def test_positions_of_one_row_may_serve_all_rows(make: Any) -> None:
    batch = {"input_ids": make([[2, 5, 6], [2, 6, 7]]), "position_ids": make([[0, 1, 2]])}
    assert found(batch) == []
    assert [each[:2] for each in found({**batch, "position_ids": make([[0, 2, 1]])})] == [
        ("GTE463", "/position_ids/0/1")
    ]


@pytest.mark.parametrize("labels", [[3, 70], [0.5, -1.0], [[0.5], [1.5]]])
def test_one_label_or_score_a_row_is_not_judged(labels: list[Any]) -> None:
    assert found({"input_ids": [[2, 5], [2, 6]], "labels": labels}) == []


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("positions", "codes"),
    [
        ([[0, 1, 2], [0, 1, 2]], []),
        ([[0, 1, 2]], []),
        ([[1, 2, 3], [1, 2, 3]], ["GTE463"]),
        ([[0, 1, 2], [1, 2, 3]], ["GTE463"]),
        ([[0, 2, 3], [0, 1, 2]], ["GTE463"]),
        ([[0, 1, 0], [0, 1, 2]], ["GTE463"]),
        ([[0, 0, 0], [0, 1, 2]], ["GTE463"]),
        ([[0, 1, 6], [0, 1, 2]], ["GTE462"]),
        ([[0, -1, 2], [0, 1, 2]], ["GTE461"]),
    ],
)
def test_positions_of_vectors_without_a_mask_count_from_zero(make: Any, positions: Any, codes: list[str]) -> None:
    batch = {"inputs_embeds": make(np.ones((2, 3, 3), "f4")), "position_ids": make(positions)}
    assert [each[0] for each in found(batch)] == codes
    assert is_clean(framed(batch, CONTRACT, False), CONTRACT) is not bool(codes)


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_clean_batch_is_told_without_a_walk(make: Any, side: Any) -> None:
    rows = [[2, 5, 6], [2, 7, 0]] if side == "right" else [[2, 5, 6], [0, 2, 7]]
    mask = [[int(number != 0) for number in row] for row in rows]
    labels = [[-100, 5, -100], [-100] * 3]
    batch = {"input_ids": make(rows), "attention_mask": make(mask), "labels": make(labels)}
    contract = replace(CONTRACT, padding_side=side)
    frame = framed({**batch, "token_type_ids": make([[0, 1, 0]] * 2)}, contract, False)
    assert (frame.findings, is_clean(frame, contract)) == ([], True)
    assert is_clean(framed(batch, replace(contract, cls_token_id=3), False), replace(contract, cls_token_id=3)) is False


def test_a_hole_behind_pads_is_told_where_it_is() -> None:
    batch = {"input_ids": [[0, 2, 0, 5]], "attention_mask": [[0, 1, 0, 1]]}
    assert [each[:2] for each in found(batch)] == [("GTE430", "/attention_mask/0/2")]


def test_booleans_beside_integers_count_as_integers() -> None:
    assert found({"input_ids": [[2, True]]}) == []
    assert found({"input_ids": [[2, 5.0]]})[0][:3] == ("GTE411", "/input_ids", "float, must be int64")
    assert found({"inputs_embeds": [[[1, True, 0.5]]]}) == []
    assert found({"inputs_embeds": [[[1, True, 0]]]})[0][:3] == (
        "GTE472",
        "/inputs_embeds",
        "int, must be floating point",
    )


def test_vectors_must_begin_as_the_ids() -> None:
    pieces = {"input_ids": [[2, 5], [2, 6]], "inputs_embeds": [[[1.0, 2.0, 3.0]]]}
    shapes = ("GTE470", "/inputs_embeds", "shape [1, 1, 3], must begin as that of input_ids", "")
    assert found(pieces) == [("GTE402", "/inputs_embeds", "beside input_ids, must be one of the two", ""), shapes]


def test_a_report_about_a_batch_names_the_rules_and_skips_none() -> None:
    report = CONTRACT.check_batch({"input_ids": SHORT})
    assert (report.checkpoint, report.findings, report.skipped) == ("batch", (), ())
    assert set(report.rules) == {code for code in CODES if code < "GTE480"}


def test_errors_are_raised_only_on_demand() -> None:
    assert [each.code for each in check_batch({"input_ids": [[2, 64]]}, CONTRACT).findings] == ["GTE414"]
    with pytest.raises(BatchError) as raised:
        check_batch({"input_ids": [[2, 64]]}, CONTRACT, raise_on_error=True)
    assert raised.value.report.findings[0].code == "GTE414"


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16"])
@pytest.mark.parametrize("allow", [True, False])
def test_int32_passes_where_it_is_allowed(dtype: str, allow: bool) -> None:
    batch = {"input_ids": np.array(SHORT, dtype)}
    codes = [each.code for each in check_batch(batch, CONTRACT, allow_int32=allow).findings]
    assert codes == ([] if dtype == "int64" or (allow and dtype == "int32") else ["GTE412"])
    assert check_batch({"input_ids": SHORT}, CONTRACT, allow_int32=allow).findings == ()


def test_devices_are_compared() -> None:
    frame = framed({"input_ids": torch.tensor(SHORT), "labels": torch.tensor(SHORT)}, CONTRACT, False)
    assert frame.findings == []
    frame.members["labels"] = replace(frame.members["labels"], device="cuda:0")
    _judge_company(frame)
    assert [(each.code, each.location.pointer, each.message) for each in frame.findings] == [
        ("GTE408", "", "input_ids on cpu, labels on cuda:0, must be on one device")
    ]


@pytest.mark.parametrize("name", ["label", "Labels", "input-ids", "INPUT_ID", "tokenTypeId", "position_id"])
def test_a_name_that_is_almost_right_is_told_the_right_one(name: str) -> None:
    told = [
        each for each in found({"input_embed": [], "attention_mask": [[1, 1]], name: SHORT}) if each[1] == f"/{name}"
    ]
    right = {"Labels": "labels", "input-ids": "input_ids", "INPUT_ID": "input_ids"}
    right |= {"tokenTypeId": "token_type_ids", "position_id": "position_ids"}
    assert [each[3] for each in told] == ([f"call it {right[name]}"] if name in right else [])


def test_numbers_of_many_kinds_are_named_in_order() -> None:
    assert found({"input_ids": [["a", None, 1]]})[0][2] == "lists of NoneType, str, must hold numbers"
    assert found({"input_ids": np.array(["a"])})[0][2] == "an array of str32, must hold numbers"
    assert found({"input_ids": np.array([[2, 5]], "c16")})[0][:3] == (
        "GTE411",
        "/input_ids",
        "complex128, must be int64",
    )


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("row", [[5, 6], [0, 5]])
def test_the_first_token_behind_pads_on_the_left_is_the_cls(make: Any, row: list[int]) -> None:
    left = replace(CONTRACT, padding_side="left")
    batch = {"input_ids": make([row]), "attention_mask": make([[int(number != 0) for number in row]])}
    assert [each[:2] for each in found(batch, left)] == [("GTE416", f"/input_ids/0/{row.index(5)}")]


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("positions", [[[0, 0]], [[0, 2]]])
def test_two_positions_are_counted_too(make: Any, positions: Any) -> None:
    batch = {"inputs_embeds": make(np.ones((1, 2, 3), "f4")), "position_ids": make(positions)}
    assert [each[0] for each in found(batch)] == ["GTE463"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("wrong", [0, 1, 2, 3, 4, 5, 6])
def test_every_block_of_rows_is_judged(rows: int, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "_BLOCK", 6)  # three rows of two
    ids = np.full((rows, 2), 2)
    assert is_clean(framed({"input_ids": ids}, CONTRACT, False), CONTRACT)
    if wrong < rows:
        ids[wrong, 1] = 64
        assert not is_clean(framed({"input_ids": ids}, CONTRACT, False), CONTRACT)


NO_TOKEN = "no token in row 0, one is needed (2 such in 2 rows: [0], [1])"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"input_ids": [[0, 0], [0, 0]], "attention_mask": [[0, 0], [0, 0]]}, NO_TOKEN),
        (
            {"inputs_embeds": [[[1.0, 1.0, NAN], [1.0, NAN, 1.0]]]},
            "nan at row 0, column 0, must be finite (2 such in 1 row: [0, 0], [0, 1])",
        ),
        (
            {"inputs_embeds": [[[NAN, INF, 1.0], [INF, 1.0, 1.0], [1.0, -INF, 1.0]]]},
            "nan at row 0, column 0, must be finite (3 such in 1 row, -inf to inf: [0, 0], [0, 1], [0, 2])",
        ),
        (
            {"input_ids": [[2, 70], [70, 2]]},
            "70 at row 0, column 1, must be below vocab_size 64 (2 such in 2 rows: [0, 1], [1, 0])",
        ),
        (
            {"input_ids": [[2, 80], [70, 90]]},
            "80 at row 0, column 1, must be below vocab_size 64 (3 such in 2 rows, 70 to 90: [0, 1], [1, 0], [1, 1])",
        ),
    ],
)
def test_several_of_a_kind_are_told_together(members: dict[str, Any], message: str) -> None:
    assert [each[2] for each in found(members, replace(CONTRACT, cls_token_id=None))] == [message]


def test_thousands_are_told_with_separators() -> None:
    message = found({"input_ids": [[70] * 6] * 200}, replace(CONTRACT, cls_token_id=None))[0][2]
    assert message.endswith("(1,200 such in 200 rows: [0, 0], [0, 1], [0, 2], [0, 3], [0, 4], …)")


@pytest.mark.parametrize("make", [np.array, lambda rows, dtype: torch.tensor(rows, dtype=getattr(torch, dtype))])
@pytest.mark.parametrize(
    ("dtype", "vocabulary", "code"),
    [
        ("int8", 128, "GTE412"), ("int8", 129, "GTE417"), ("uint8", 256, "GTE412"), ("uint8", 257, "GTE417"),
        ("int16", 32768, "GTE412"), ("int16", 32769, "GTE417"), ("uint16", 65536, "GTE412"),
        ("uint16", 65537, "GTE417"), ("int32", 2**31, "GTE412"), ("int32", 2**31 + 1, "GTE417"),
    ],
)  # fmt: skip
def test_a_dtype_that_ends_before_the_vocabulary_is_told_for_itself(
    make: Any, dtype: str, vocabulary: int, code: str
) -> None:
    contract = replace(CONTRACT, vocab_size=vocabulary)
    assert [each[0] for each in found({"input_ids": make(SHORT, dtype)}, contract)] == [code]
    assert [each[0] for each in found({"input_ids": make(SHORT, "int64"), "labels": make(SHORT, dtype)}, contract)] == [
        code
    ]


def test_ids_that_have_wrapped_are_told_with_the_vocabulary_and_the_way_out() -> None:
    large = replace(CONTRACT, vocab_size=250048)
    ids = np.array([[2, 250000]]).astype("uint16")
    assert found({"input_ids": ids, "labels": ids}, large) == [
        ("GTE417", f"/{name}", "uint16, must hold every id below 250048",
         "encode the texts anew and store the ids as int32 or int64; a cast does not bring them back")
        for name in ("input_ids", "labels")
    ]  # fmt: skip
    assert (
        found({"input_ids": ids.astype("int64"), "token_type_ids": np.array([[0, 1]], "i1")}, large)[0][0] == "GTE412"
    )
