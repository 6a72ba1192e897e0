"""An encoder joined to a contract: pads aligned, nothing cut silently, nothing wrong let through."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.contract.adapter import GteAdapter, TruncationWarning
from gte_surgery.contract.spec import IdContract
from gte_surgery.contract.strategies import token_sequences
from gte_surgery.errors import BatchError, RefusedError, UsageError

CONTRACT = IdContract(100, 1, 1, 8, cls_token_id=2)


@dataclass
class Encoder:
    """Sequences of ids behind a CLS id 2, cut at max_length; `form` is what it returns, `pad` what it pads with."""

    pad: int = 0
    form: Literal["ragged", "lists", "numpy", "torch", "fixed"] = "ragged"
    has_mask: bool = True
    calls: list[int] = field(default_factory=list)

    def encode_batch(self, sequences: Sequence[Any], *, add_special_tokens: bool, max_length: int) -> dict[str, Any]:
        self.calls.append(max_length)
        rows = [([2, *each] if add_special_tokens else list(each))[:max_length] for each in sequences]
        width = max_length if self.form == "fixed" else max(map(len, rows))
        mask = [[1] * len(row) for row in rows]
        if self.form != "ragged":
            mask = [each + [0] * (width - len(each)) for each in mask]
            rows = [row + [self.pad] * (width - len(row)) for row in rows]
        make: Any = {"numpy": np.array, "torch": torch.tensor}.get(self.form, list)
        return {"input_ids": make(rows), **({"attention_mask": make(mask)} if self.has_mask else {})}


@pytest.mark.parametrize("has_mask", [True, False])
@pytest.mark.parametrize("form", ["ragged", "lists", "numpy", "torch"])
def test_the_models_pad_id_stands_where_the_encoder_padded(form: Any, has_mask: bool) -> None:
    adapter = GteAdapter(Encoder(form=form, has_mask=has_mask), CONTRACT, pad_id=0)
    batch = adapter([[5], [6, 7, 8]])
    assert batch["input_ids"].tolist() == [[2, 5, 1, 1], [2, 6, 7, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64


def test_a_token_that_has_the_encoders_pad_id_stays_where_the_mask_keeps_it() -> None:
    batch = GteAdapter(Encoder(form="lists"), CONTRACT, pad_id=0)([[0], [6, 0, 8]])
    assert batch["input_ids"].tolist() == [[2, 0, 1, 1], [2, 6, 0, 8]]


def test_the_pad_id_is_asked_of_the_encoder_or_seen_behind_the_mask() -> None:
    encoder: Any = Encoder(pad=9, form="lists")
    assert GteAdapter(encoder, CONTRACT)([[5], [6, 7]])["input_ids"].tolist() == [[2, 5, 1], [2, 6, 7]]
    encoder.has_mask = False
    encoder.pad_token_id = 9
    assert GteAdapter(encoder, CONTRACT)([[5], [6, 7]])["input_ids"].tolist() == [[2, 5, 1], [2, 6, 7]]


def test_a_token_with_the_models_pad_id_is_refused() -> None:
    with pytest.raises(BatchError, match="GTE427"):
        GteAdapter(Encoder(), CONTRACT)([[5, 1, 6]])


def test_a_masked_token_that_is_no_pad_is_refused() -> None:
    class Hides(Encoder):
        def encode_batch(self, *arguments: Any, **options: Any) -> dict[str, Any]:
            batch = super().encode_batch(*arguments, **options)
            batch["attention_mask"][0][-1] = 0
            return batch

    with pytest.raises(BatchError, match="GTE428"):
        GteAdapter(Hides(form="lists"), CONTRACT, pad_id=0)([[5, 6], [7, 8]])


@pytest.mark.parametrize("form", ["ragged", "torch", "fixed"])
def test_a_row_that_is_too_long_is_refused_by_number(form: Any) -> None:
    encoder = Encoder(form=form)
    with pytest.raises(RefusedError, match="1 of 2 sequences have more than 8 tokens: 1"):
        GteAdapter(encoder, CONTRACT, pad_id=0)([[5], [6] * 8])
    assert encoder.calls == [9]


@pytest.mark.parametrize("form", ["ragged", "torch", "fixed"])
def test_a_row_is_cut_when_asked_for_by_the_encoder_and_with_a_warning(form: Any) -> None:
    encoder = Encoder(form=form)
    adapter = GteAdapter(encoder, CONTRACT, pad_id=0, overflow="cut")
    with pytest.warns(TruncationWarning, match="1 of 2 sequences have more than 8 tokens: 1; they were cut"):
        batch = adapter([[5], [6] * 8])
    assert batch["attention_mask"].sum(1).tolist() == [2, 8]
    assert batch["input_ids"].shape == (2, 8)
    assert encoder.calls == [9, 8]


@pytest.mark.parametrize("form", ["ragged", "torch", "fixed"])
def test_what_fits_to_the_last_token_is_neither_cut_nor_warned_of(form: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = GteAdapter(Encoder(form=form), CONTRACT, pad_id=0, overflow="cut")([[5], [6] * 7])
    assert batch["attention_mask"].sum(1).tolist() == [2, 8]


def test_an_encoder_that_ignores_max_length_is_refused() -> None:
    class Stubborn(Encoder):
        def encode_batch(self, sequences: Any, *, add_special_tokens: bool, max_length: int) -> dict[str, Any]:
            return super().encode_batch(sequences, add_special_tokens=add_special_tokens, max_length=99)

    with pytest.warns(TruncationWarning), pytest.raises(RefusedError, match="more than the 4 tokens"):
        GteAdapter(Stubborn(), CONTRACT, overflow="cut")([[6] * 6], max_length=4)


def test_max_length_may_be_less_than_the_models_but_not_more() -> None:
    encoder = Encoder()
    GteAdapter(encoder, CONTRACT)([[5]], max_length=4)
    GteAdapter(encoder, CONTRACT)([[5]], max_length=400)
    assert encoder.calls == [5, 9]


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ([[2, 5]], "GTE400"),
        ({"ids": [[2, 5]]}, "GTE401"),
        ({"input_ids": [2, 5]}, "GTE410"),
        ({"input_ids": [[2, 5.5]]}, "GTE411"),
        ({"input_ids": torch.tensor([[2.0, 5.0]])}, "GTE411"),
        ({"input_ids": [["a", "b"]]}, "GTE404"),
        ({"input_ids": [[2, 5]], "attention_mask": [[1]]}, "GTE421"),
        ({"input_ids": [[2, 5]], "attention_mask": [[1.0, 1.0]]}, "GTE423"),
        ({"input_ids": [[2, 5, 6], [2]], "attention_mask": [[1, 1], [1]]}, "GTE405"),
        ({"input_ids": [[2, 500]]}, "GTE414"),
        ({"input_ids": [[5, 6]]}, "GTE416"),
        ({"input_ids": [[2, 5]], "token_type_ids": [[0, 1]]}, "GTE442"),
        ({"input_ids": [[2, 5], [2, 6]]}, "GTE491"),
        ({"input_ids": []}, "GTE491"),
    ],
    ids=str,
)
def test_what_the_encoder_does_wrong_is_refused_under_its_code(returned: Any, code: str) -> None:
    class Wrong:
        def encode_batch(self, sequences: Any, *, add_special_tokens: bool, max_length: int) -> Any:
            return returned

    with pytest.raises(BatchError) as caught:
        GteAdapter(Wrong(), CONTRACT)(["text"])
    assert caught.value.report.findings[0].code == code


def test_types_of_a_model_without_types_are_left_out_when_they_tell_nothing() -> None:
    class Typed(Encoder):
        def encode_batch(self, *arguments: Any, **options: Any) -> dict[str, Any]:
            batch = super().encode_batch(*arguments, **options)
            return {**batch, "token_type_ids": [[0] * len(row) for row in batch["input_ids"]], "offsets": "any"}

    assert set(GteAdapter(Typed(), CONTRACT)([[5]])) == {"input_ids", "attention_mask", "token_type_ids"}
    assert set(GteAdapter(Typed(), replace(CONTRACT, type_vocab_size=0))([[5]])) == {"input_ids", "attention_mask"}


@given(st.data())
def test_whatever_fits_comes_back_token_for_token(data: st.DataObject) -> None:
    plain = replace(CONTRACT, cls_token_id=None)
    sequences = data.draw(st.lists(token_sequences(plain, 1, 7), min_size=1, max_size=5))
    form = data.draw(st.sampled_from(("ragged", "lists", "numpy", "torch", "fixed")))
    batch = GteAdapter(Encoder(form=form), CONTRACT, framework="lists", pad_id=0)(sequences)
    rows = [[n for n, kept in zip(*pair, strict=True) if kept] for pair in zip(*batch.values(), strict=True)]
    assert rows == [[2, *each] for each in sequences]


def test_an_adapter_packs_on_its_device() -> None:
    with pytest.raises(BatchError, match="meta"):
        GteAdapter(Encoder(), CONTRACT, pad_id=0, device="meta")([[5]])


@pytest.mark.parametrize("name", ["pad_token_id", "pad_id"])
def test_either_name_of_the_encoders_pad_is_heard_and_the_adapters_own_comes_first(name: str) -> None:
    encoder = Encoder(pad=9, form="lists", has_mask=False)
    setattr(encoder, name, 9)
    assert GteAdapter(encoder, CONTRACT)([[5], [6, 7]])["input_ids"].tolist() == [[2, 5, 1], [2, 6, 7]]
    with pytest.raises(BatchError):
        GteAdapter(encoder, CONTRACT, pad_id=5)([[5], [6, 7]])


def test_rows_that_do_not_fit_each_other_are_named() -> None:
    class Uneven:
        def encode_batch(self, sequences: Any, *, add_special_tokens: bool, max_length: int) -> dict[str, Any]:
            return {"input_ids": [[2, 5], [2]], "attention_mask": [[1], [1, 1]]}

    with pytest.raises(BatchError) as raised:
        GteAdapter(Uneven(), CONTRACT, pad_id=0)([[5], [6]])
    told = [(each.code, each.location.pointer, each.message) for each in raised.value.report.findings]
    assert told == [
        ("GTE405", f"/{name}", "rows of 1 to 2 entries, must be of one length")
        for name in ("input_ids", "attention_mask")
    ]


@pytest.mark.parametrize(("count", "rows"), [(2, "0, 1"), (5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, …")])
def test_rows_that_are_too_long_are_named(count: int, rows: str) -> None:
    with pytest.raises(RefusedError) as raised:
        GteAdapter(Encoder(), CONTRACT)([[5] * 8] * count)
    assert raised.value.message == f"{count} of {count} sequences have more than 8 tokens: {rows}"
    assert raised.value.hint == 'overflow="cut" cuts them and warns'


def test_a_row_for_each_sequence_is_wanted() -> None:
    class Fewer(Encoder):
        def encode_batch(self, sequences: Any, **options: Any) -> dict[str, Any]:
            return super().encode_batch(sequences[1:], **options)

    with pytest.raises(BatchError) as raised:
        GteAdapter(Fewer(), CONTRACT)([[5], [6], [7]])
    report = raised.value.report
    assert [(each.code, each.location.pointer, each.message) for each in report.findings] == [
        ("GTE491", "/input_ids", "2 rows for 3 sequences, must be as many")
    ]
    assert (report.checkpoint, report.skipped, report.rules) == ("batch", (), ())


@dataclass
class Typed(Encoder):
    """Returns token types and a mask as well, as they are given."""

    types: Any = None
    mask: Any = None

    def encode_batch(self, sequences: Sequence[Any], *, add_special_tokens: bool, max_length: int) -> dict[str, Any]:
        found = super().encode_batch(sequences, add_special_tokens=add_special_tokens, max_length=max_length)
        found |= {"token_type_ids": self.types} if self.types is not None else {}
        return found | ({"attention_mask": self.mask} if self.mask is not None else {})


def test_types_of_zero_are_left_out_for_a_model_without_types() -> None:
    without = replace(CONTRACT, type_vocab_size=0)
    assert "token_type_ids" not in GteAdapter(Typed(types=[[0, 0]]), without)([[5]])
    assert "token_type_ids" in GteAdapter(Typed(types=[[0, 0]]), CONTRACT)([[5]])
    assert "token_type_ids" in GteAdapter(Typed(types=[[0, 1]]), without)([[5]])  # a warning, not an error
    assert "token_type_ids" not in GteAdapter(Encoder(), without)([[5]])


def test_a_mask_may_be_of_booleans_and_other_members_may_not() -> None:
    batch = GteAdapter(Typed(mask=[[True, True]]), CONTRACT, pad_id=0)([[5]])
    assert batch["attention_mask"].tolist() == [[1, 1]]
    with pytest.raises(BatchError):
        GteAdapter(Typed(types=[[False, False]]), CONTRACT, pad_id=0)([[5]])


@dataclass
class Returning:
    """Returns the same whatever it is given."""

    returned: Any

    def encode_batch(self, sequences: Any, *, add_special_tokens: bool, max_length: int) -> Any:
        return self.returned


@pytest.mark.parametrize(
    "returned",
    [
        {"inputs_embeds": [[[0.5]], [[0.5]]]},
        {"input_ids": [[2, 5], [2, 6]], "position_ids": [[0, 1]]},
    ],
    ids=["vectors", "positions"],
)
def test_what_only_the_model_would_take_is_refused_for_want_of_rows(returned: Any) -> None:
    with pytest.raises(BatchError) as raised:
        GteAdapter(Returning(returned), CONTRACT)([[5], [6]])
    report = raised.value.report
    message = "must be a row of input_ids for each sequence, and of every other member one as long"
    assert [(each.code, each.location.pointer, each.message) for each in report.findings] == [("GTE491", "", message)]
    assert (report.checkpoint, report.skipped, report.rules) == ("batch", (), ())


def test_booleans_beside_integers_count_as_integers() -> None:
    returned = {"input_ids": [[2, 5], [2, True]], "token_type_ids": [[0, 0], [False, 0]]}
    contract = replace(CONTRACT, pad_token_id=0)
    batch = GteAdapter(Returning(returned), contract)([[5], [1]])
    assert batch["input_ids"].tolist() == [[2, 5], [2, 1]]
    assert batch["token_type_ids"].tolist() == [[0, 0], [0, 0]]


def test_no_sequences_are_a_batch_without_rows() -> None:
    with pytest.raises(BatchError) as raised:
        GteAdapter(Returning({"input_ids": []}), CONTRACT)([])
    assert [each.code for each in raised.value.report.findings] == ["GTE406"]


def test_rows_padded_on_the_left_to_a_fixed_length_lose_padding_alone() -> None:
    left = replace(CONTRACT, padding_side="left")
    returned = {"input_ids": [[0] * 7 + [2, 5], [0, 2, 5, 6, 7, 8, 9, 3, 4]]}
    batch = GteAdapter(Returning(returned), left, pad_id=0)(["short", "long"])
    assert batch["input_ids"].tolist() == [[1] * 6 + [2, 5], [2, 5, 6, 7, 8, 9, 3, 4]]
    assert batch["attention_mask"].tolist() == [[0] * 6 + [1, 1], [1] * 8]


def test_the_warning_points_at_the_call_of_the_adapter() -> None:
    with pytest.warns(TruncationWarning) as warned:
        GteAdapter(Encoder(), CONTRACT, overflow="cut")([[6] * 8])
    assert [each.filename for each in warned] == [__file__]


def test_what_to_do_with_what_is_too_long_is_one_of_two_words() -> None:
    with pytest.raises(UsageError) as raised:
        GteAdapter(Encoder(), CONTRACT, overflow="raise")  # type: ignore[arg-type]
    assert raised.value.message == 'overflow: \'raise\', must be "error" or "cut"'


@pytest.mark.parametrize("zero", [0, np.int64(0), np.uint8(0), torch.tensor(0)])
def test_a_pad_id_is_an_integer_of_any_make(zero: Any) -> None:
    stating = Encoder(form="lists", has_mask=False)
    stating.pad_token_id = zero  # type: ignore[attr-defined]
    for adapter in (
        GteAdapter(Encoder(form="lists", has_mask=False), CONTRACT, pad_id=zero),
        GteAdapter(stating, CONTRACT),
    ):
        batch = adapter([[5], [6, 7, 8]])
        assert batch["input_ids"].tolist() == [[2, 5, 1, 1], [2, 6, 7, 8]]
        assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_a_pad_id_that_is_no_integer_is_refused_and_of_an_encoder_passed_over() -> None:
    with pytest.raises(UsageError, match=r"^pad_id: '0', must be an integer$"):
        GteAdapter(Encoder(), CONTRACT, pad_id="0")  # type: ignore[arg-type]
    asking = Encoder(form="lists")
    asking.pad_id = lambda: 7  # type: ignore[attr-defined]  # as SentencePiece's is
    assert GteAdapter(asking, CONTRACT)([[5], [6, 7]])["input_ids"].tolist() == [[2, 5, 1], [2, 6, 7]]


@pytest.mark.parametrize(("length", "told"), [(0, "0, must be at least 1"), (-1, "-1, must be at least 1"),
                                              (4.0, "4.0, must be an integer")])  # fmt: skip
def test_a_length_that_is_none_is_refused(length: Any, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        GteAdapter(Encoder(), CONTRACT, pad_id=0)([[5]], max_length=length)
    assert raised.value.message == f"max_length: {told}"
