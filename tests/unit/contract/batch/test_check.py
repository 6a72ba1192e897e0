"""What is said about a batch: places, counts and wording, precedence, and what is let pass."""

from __future__ import annotations

import subprocess
import sys
from collections import UserDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gte_surgery.contract.batch import check as batch
from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import BatchError
from gte_surgery.findings import Severity

CONTRACT = IdContract(128, 0, 1, 8, cls_token_id=2, hidden_size=4)
IDS = [[2, 5, 6, 7], [2, 9, 0, 0]]
MASK = [[1, 1, 1, 1], [1, 1, 0, 0]]


def said(contract: IdContract = CONTRACT, **members: Any) -> list[str]:
    return [f"{finding.code} {finding}" for finding in contract.check_batch(members).findings]


@pytest.mark.parametrize("make", [list, np.array, torch.tensor], ids=["lists", "numpy", "torch"])
def test_a_finding_tells_the_first_places_how_many_and_the_span(make: Any) -> None:
    ids = make([[2, 128, 6, 7], [2, 900, 0, 0], [2, 300, 400, 500]])
    mask = make([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])
    assert said(input_ids=ids, attention_mask=mask) == [
        "GTE414 /input_ids/0/1: 128 at row 0, column 1, must be below vocab_size 128"
        " (5 such in 3 rows, 128 to 900: [0, 1], [1, 1], [2, 1], [2, 2], [2, 3])"
    ]


def test_of_many_places_five_are_shown() -> None:
    (finding,) = CONTRACT.check_batch({"input_ids": [[2, -1, -2, -3, -1, -1, -1]]}).findings
    assert finding.message.endswith("(6 such in 1 row, -3 to -1: [0, 1], [0, 2], [0, 3], [0, 4], [0, 5], …)")
    assert finding.location.pointer == "/input_ids/0/1"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]]},
         "GTE427 /attention_mask/1/2: 1 for the pad id 0 at row 1, column 2, must be 0"),
        ({"attention_mask": [[1, 1, 1, 0], [1, 1, 0, 0]]},
         "GTE428 /attention_mask/0/3: 0 for the id 7 at row 0, column 3, must be 1, for only 0 is padding"),
        ({"input_ids": [[2, 5, 6, 7], [0, 0, 0, 0]], "attention_mask": [[1] * 4, [0] * 4]},
         "GTE429 /attention_mask/1: no token in row 1, one is needed"),
        ({"input_ids": [[2, 5, 6, 7], [0, 0, 2, 9]], "attention_mask": [[1] * 4, [0, 0, 1, 1]]},
         "GTE431 /attention_mask/1/0: padding of length 2 before the first token at row 1, column 0, must stand on the "
         "right"),
        ({"attention_mask": [[0.0] * 4, [0.0, 0.0, -1e9, -1e9]]},
         "GTE424 /attention_mask: values 0 and -1e+09, must be 1 for tokens and 0 for pads"),
        ({"attention_mask": None, "input_ids": [[2, 5, 0]]},
         "GTE420 /input_ids/0/2: pad id 0 at row 0, column 2, must be masked, but there is no attention_mask"),
        ({"labels": [[-100, 5, -1, -100], [-100] * 4]},
         "GTE451 /labels/0/2: -1 at row 0, column 2, must be -100 or an id"),
        ({"position_ids": [[0, 1, 2, 3], [1, 2, 0, 0]]},
         "GTE463 /position_ids/1/0: 1 at row 1, column 0, must count the row's tokens from 0"),
        ({"input_ids": IDS[0]}, "GTE410 /input_ids: shape [4], must be [rows, columns]"),
        ({"attention_mask": MASK[:1]}, "GTE421 /attention_mask: shape [1, 4], must be [2, 4] as the ids'"),
        ({"token_type_id": [[0] * 4] * 2},
         "GTE403 /token_type_id: not a name that the model takes, token_type_ids is"),
        ({"input_ids": [[2, 5], [2]]}, "GTE405 /input_ids: rows of 1 to 2 entries, must be of one length"),
    ],
)  # fmt: skip
def test_a_message_tells_found_and_wanted(members: dict[str, Any], message: str) -> None:
    assert said(**{"input_ids": IDS, "attention_mask": MASK, **members}) == [message]


def test_several_faults_are_told_in_order_of_code() -> None:
    ids = torch.tensor([[5, 200, -1, 0]], dtype=torch.int32)
    mask = torch.tensor([[1, 1, 1, 1]])
    codes = [line.split()[0] for line in said(input_ids=ids, attention_mask=mask)]
    assert codes == ["GTE412", "GTE413", "GTE414", "GTE427"]


def test_int32_passes_where_it_is_allowed() -> None:
    batch = {"input_ids": torch.tensor(IDS, dtype=torch.int32), "attention_mask": torch.tensor(MASK)}
    assert [finding.code for finding in CONTRACT.check_batch(batch).findings] == ["GTE412"]
    assert CONTRACT.check_batch(batch, allow_int32=True).findings == ()


def test_raise_on_error_raises_the_whole_report() -> None:
    batch = {"input_ids": [[2, 128, -1]]}
    with pytest.raises(BatchError, match=r"GTE413 /input_ids/0/2: -1 at .*\(and 1 more\)") as caught:
        CONTRACT.check_batch(batch, raise_on_error=True)
    assert caught.value.report == CONTRACT.check_batch(batch)


def test_a_warning_alone_does_not_raise() -> None:
    contract = replace(CONTRACT, type_vocab_size=0)
    batch = {"input_ids": [[2, 5]], "token_type_ids": [[0, 1]]}
    report = contract.check_batch(batch, raise_on_error=True)
    assert [(finding.code, finding.severity) for finding in report.findings] == [("GTE443", Severity.WARNING)]


@pytest.mark.parametrize(
    "members",
    [
        {"labels": [0, 1]},
        {"labels": [0.5, 1.5]},
        {"labels": [[0.5, 1.5, 0.1], [0.0, 1.0, 0.2]]},
        {"label": [3, 999], "text": ["a", "b"], "length": [4, 2], "idx": 7},
        {"token_type_ids": None, "labels": None},
        {"position_ids": [[0, 1, 2, 3]]},
        {"attention_mask": np.array(MASK, dtype=bool).tolist()},
    ],
    ids=str,
)
def test_what_the_contract_does_not_speak_of_passes(members: dict[str, Any]) -> None:
    assert said(**{"input_ids": IDS, "attention_mask": MASK, **members}) == []


def test_any_mapping_and_rows_of_any_kind_will_do() -> None:
    rows: list[Any] = [(2, np.int64(5)), torch.tensor([2, 6]), np.array([2, 7])]
    assert CONTRACT.check_batch(UserDict(input_ids=rows)).findings == ()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.ones(2, 4, dtype=torch.int64, device="meta"), "on the meta device"),
        (torch.ones(2, 4).to_sparse(), "nested or sparse"),
        (np.array([["a", "b"]]), "an array of"),
        ("text", "str, must be"),
        ([[2, None]], "lists of NoneType"),
        ({1, 2}, "set, must be"),
        (7, "int, must be"),
    ],
)
def test_what_holds_no_numbers_is_said_to(value: Any, found: str) -> None:
    (line,) = said(input_ids=value)
    assert line.startswith("GTE404 /input_ids")
    assert found in line


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_masks_of_rare_dtypes_are_judged_as_well(dtype: str) -> None:
    mask = torch.tensor(MASK).to(getattr(torch, dtype))
    assert said(input_ids=torch.tensor(IDS), attention_mask=mask) == []
    mask[0, 3] = 0
    assert [line.split()[0] for line in said(input_ids=torch.tensor(IDS), attention_mask=mask)] == ["GTE428"]


def test_labels_of_the_pad_are_judged_by_the_ids_where_the_mask_is_absent() -> None:
    assert said(input_ids=[[2, 5]], labels=[[-100, 5]]) == []


def test_embeddings_alone_are_judged_by_the_mask() -> None:
    embeds = np.ones((2, 4, 4), np.float32)
    assert said(inputs_embeds=embeds, attention_mask=np.array(MASK)) == []
    codes = [line.split()[0] for line in said(inputs_embeds=embeds, attention_mask=np.array([[1] * 4, [1, 0, 1, 0]]))]
    assert codes == ["GTE430"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_embeddings_of_every_float_dtype_are_judged(dtype: torch.dtype) -> None:
    embeds = torch.ones(1, 2, 4, dtype=dtype, requires_grad=True)
    assert said(inputs_embeds=embeds) == []
    spoilt = embeds.detach().clone()
    spoilt[0, 1, 2] = float("nan")
    assert [line.split()[0] for line in said(inputs_embeds=spoilt)] == ["GTE473"]


def test_judging_lists_imports_no_array_library() -> None:
    script = (
        "import sys\n"
        "from gte_surgery.contract.spec import IdContract\n"
        "report = IdContract(128, 0, 1, 8).check_batch({'input_ids': [[5, 200]]})\n"
        "print(report.findings[0].code, {'torch', 'numpy', 'hypothesis', 'jsonschema'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "GTE414 set()"


@pytest.mark.slow
def test_torch_tensors_are_judged_without_numpy_being_imported_by_us() -> None:
    """A process that has torch loaded but where importing anything else of it would show."""
    script = (
        "import sys, torch\n"
        "from gte_surgery.contract.spec import IdContract\n"
        "contract = IdContract(128, 0, 1, 8)\n"
        "before = set(sys.modules)\n"
        "contract.check_batch({'input_ids': torch.tensor([[5, 7]])})\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - {'gte_surgery', 'copy'})"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "set()"


def test_int32_is_not_allowed_unasked() -> None:
    found = check_batch({"input_ids": np.array([[2, 5]], np.int32)}, CONTRACT).findings
    assert [finding.code for finding in found] == ["GTE412"]


def test_arrays_of_objects_are_read_as_lists() -> None:
    assert said(input_ids=np.array([[2, 128]], object)) == [
        "GTE414 /input_ids/0/1: 128 at row 0, column 1, must be below vocab_size 128"
    ]
    assert said(input_ids=np.array([[2, 5]], object), attention_mask=np.array([[1, 1]])) == [
        "GTE407 input_ids of lists, attention_mask of numpy, must be of one framework"
    ]


def test_lists_are_judged_where_no_framework_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "numpy"):
        monkeypatch.delitem(sys.modules, name)
    assert said(input_ids=[[2, 5]]) == []


def test_a_clean_batch_of_tensors_is_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(batch, "offences_of", walk)
    assert said(input_ids=np.array(IDS), attention_mask=np.array(MASK)) == []
