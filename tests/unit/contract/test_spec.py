"""Where a contract comes from, what it refuses to be, and that JSON keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.cli.entry import run
from gte_surgery.contract.spec import IdContract
from gte_surgery.errors import CheckpointError, UsageError
from gte_surgery.gte.schemas import violations
from tests.builder import build, change_config, remote_config, write_json

SMALL: dict[str, Any] = {"vocab_size": 128, "pad_token_id": 1, "type_vocab_size": 1, "max_length": 128}


def with_tokenizer(path: Path, **roles: int) -> Path:
    """Tokenizer files that give each role (pad, cls, ...) an id."""
    decoder = {str(number): {"content": f"<{role}>"} for role, number in roles.items()}
    tokens = {f"{role}_token": f"<{role}>" for role in roles}
    write_json(path / "tokenizer_config.json", {"added_tokens_decoder": decoder, **tokens})
    return path


def test_a_checkpoint_says_sizes_and_pad(tmp_path: Path) -> None:
    assert IdContract.from_checkpoint(build(tmp_path)) == IdContract(**SMALL, hidden_size=32)


def test_a_fitting_tokenizer_says_cls_mask_and_what_else_is_special(tmp_path: Path) -> None:
    contract = IdContract.read(with_tokenizer(build(tmp_path), pad=1, cls=0, sep=2, mask=127, unk=3))
    assert (contract.cls_token_id, contract.mask_token_id) == (0, 127)
    assert contract.special_ids == (0, 2, 3, 127)
    assert contract.kept_ids == {0, 1, 2, 3, 127}


def test_a_tokenizer_that_pads_with_another_id_is_left_aside(tmp_path: Path) -> None:
    contract = IdContract.read(with_tokenizer(build(tmp_path), pad=0, cls=2, mask=127))
    assert (contract.cls_token_id, contract.mask_token_id, contract.special_ids) == (None, None, ())


def test_a_tokenizer_without_a_pad_is_not_left_aside(tmp_path: Path) -> None:
    contract = IdContract.read(with_tokenizer(build(tmp_path), cls=2, mask=127))
    assert (contract.cls_token_id, contract.mask_token_id) == (2, 127)


@pytest.mark.parametrize("beyond", [128, 250001])
def test_special_ids_beyond_a_shrunk_table_are_left_aside(tmp_path: Path, beyond: int) -> None:
    contract = IdContract.read(with_tokenizer(build(tmp_path), pad=1, cls=0, mask=beyond))
    assert (contract.cls_token_id, contract.mask_token_id) == (0, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pad_token_id": None}, "pad_token_id: none, one is needed"),
        ({"pad_token_id": 128}, "pad_token_id: 128, must be from 0 to vocab_size − 1 = 127"),
        ({"model_type": "electra"}, "model_type"),
    ],
)
def test_a_checkpoint_that_no_batch_could_fit_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    change_config(build(tmp_path), **changes)
    with pytest.raises(CheckpointError, match=message) as raised:
        IdContract.read(tmp_path)
    assert raised.value.message.startswith(f"{tmp_path}: config.json: ")


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither config.json nor"):
        IdContract.from_checkpoint(tmp_path)


contracts = st.builds(
    IdContract,
    vocab_size=st.integers(4, 10**6),
    pad_token_id=st.just(1),
    type_vocab_size=st.integers(0, 4),
    max_length=st.integers(1, 10**5),
    cls_token_id=st.none() | st.just(0),
    mask_token_id=st.none() | st.just(3),
    padding_side=st.sampled_from(("right", "left")),
    ignore_label=st.integers(-1000, -1),
    hidden_size=st.none() | st.integers(1, 4096),
    special_ids=st.just(()) | st.just((2, 3)),
)


@given(contracts)
def test_json_keeps_a_contract_and_keeps_the_schema(contract: IdContract) -> None:
    assert IdContract.from_json(contract.to_json()) == contract
    assert violations(json.loads(contract.to_json()), "contract") == []


def test_json_needs_no_more_than_the_four_sizes(tmp_path: Path) -> None:
    write_json(tmp_path / "contract.json", SMALL)
    assert IdContract.read(tmp_path / "contract.json") == IdContract(**SMALL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "c.json:1:"),
        (json.dumps({**SMALL, "vocab_size": "128"}), '/vocab_size: "128", must be an integer'),
        (json.dumps({**SMALL, "vocab": 128}), "vocab"),
        (json.dumps({"vocab_size": 128}), "/max_length: missing, must be present"),
        (json.dumps({**SMALL, "pad_token_id": 500}), "c.json: pad_token_id: 500, must be from 0"),
        (json.dumps({**SMALL, "cls_token_id": 1}), "c.json: cls_token_id: 1, must not be the pad id"),
        (json.dumps({**SMALL, "special_ids": [128]}), "special_ids: 128"),
    ],
)
def test_json_that_is_no_contract_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        IdContract.from_json(text, "c.json")
    assert message in caught.value.message


def test_the_config_of_a_checkpoint_is_not_taken_for_a_contract(tmp_path: Path) -> None:
    build(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        IdContract.read(tmp_path / "config.json")
    with pytest.raises(CheckpointError):
        IdContract.read(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 1}, "vocab_size: 1, must be at least 2"),
        ({"type_vocab_size": -1}, "type_vocab_size: -1"),
        ({"max_length": 0}, "max_length: 0"),
        ({"pad_token_id": -1}, "pad_token_id: -1"),
        ({"mask_token_id": 1}, "mask_token_id: 1, must not be the pad id"),
        ({"padding_side": "both"}, "padding_side: 'both'"),
        ({"ignore_label": 5}, "ignore_label: 5"),
    ],
)
def test_values_that_contradict_each_other_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        IdContract(**{**SMALL, **changes})


def test_a_contract_is_what_check_expects(tmp_path: Path) -> None:
    expected = IdContract.from_checkpoint(build(tmp_path, remote_config())).expectations()
    assert (expected.ids, expected.pad, expected.type_vocab, expected.max_length, expected.hidden) == (
        128, 1, 1, 128, 32,
    )  # fmt: skip


def told(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> list[str]:
    """Codes that `check` finds; its exit code must be `code`."""
    assert run(["check", *map(str, arguments), "--format", "json"]) == code, capsys.readouterr().err
    return [finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]]


def test_check_holds_a_checkpoint_to_a_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = build(tmp_path / "ckpt")
    file = tmp_path / "contract.json"
    file.write_text(IdContract(**SMALL, hidden_size=32).to_json())
    assert told(capsys, 0, path, "--contract", file) == []
    other = {"vocab_size": 160, "pad_token_id": 0, "type_vocab_size": 2, "max_length": 256, "hidden_size": 64}
    file.write_text(IdContract(**other).to_json())
    assert told(capsys, 1, path, "--contract", file) == ["GTE151", "GTE152", "GTE153", "GTE154", "GTE155"]


def test_a_flag_overrides_the_contract_and_the_contract_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = build(tmp_path / "ckpt")
    (tmp_path / "gte-surgery.toml").write_text('[expect]\nids = 640\ncontract = "contract.json"\n')
    (tmp_path / "contract.json").write_text(IdContract(**{**SMALL, "pad_token_id": 0}).to_json())
    assert told(capsys, 1, path) == ["GTE151"]
    assert told(capsys, 0, path, "--pad", "1") == []
    (tmp_path / "other.json").write_text(IdContract(**SMALL).to_json())
    assert told(capsys, 0, path, "--contract", tmp_path / "other.json") == []


def test_a_contract_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "contract.json").write_text("{}")
    assert run(["check", str(build(tmp_path / "ckpt")), "--contract", str(tmp_path / "contract.json")]) == 3
    assert "contract.json" in capsys.readouterr().err


def test_refusals_of_a_checkpoint_say_what_to_do(tmp_path: Path) -> None:
    change_config(build(tmp_path), pad_token_id=None)
    with pytest.raises(CheckpointError) as raised:
        IdContract.read(tmp_path)
    assert raised.value.message == f"{tmp_path}: config.json: pad_token_id: none, one is needed"
    assert raised.value.hint == f"`gte-surgery resize {tmp_path} --vocab 128 --pad 127` sets it"
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError) as raised:
        IdContract.from_checkpoint(tmp_path)
    assert raised.value.message == f"{tmp_path}: no readable config.json"
    assert raised.value.hint == f"`gte-surgery check {tmp_path}` tells more"


def test_json_has_a_member_a_line() -> None:
    text = IdContract(8, 0, 1, 4, special_ids=(3,)).to_json()
    assert text.startswith('{\n  "vocab_size": 8,\n  "pad_token_id": 0,\n')
    assert text.endswith("\n}\n")
    assert len(text.splitlines()) == 14


def test_an_opened_checkpoint_is_read_as_well(tmp_path: Path) -> None:
    assert IdContract.from_checkpoint(open_checkpoint(build(tmp_path))) == IdContract(**SMALL, hidden_size=32)


def test_json_that_departs_from_the_schema_is_told_where_and_what_to_read() -> None:
    with pytest.raises(CheckpointError) as caught:
        IdContract.from_json(json.dumps({**SMALL, "max_length": 0}), "c.json")
    assert caught.value.hint == "`gte-surgery schema contract`"


def test_json_of_no_file_is_told_as_a_contract() -> None:
    with pytest.raises(CheckpointError, match=r"^contract\.json:1:"):
        IdContract.from_json("{")


@pytest.mark.parametrize("value", [True, np.bool_(True), 4.0, np.float32(4), "4", [4]])
def test_what_is_no_integer_is_refused_at_the_door(value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        IdContract(128, value, 1, 8)
    assert caught.value.message == f"pad_token_id: {value!r}, must be an integer"
    with pytest.raises(UsageError, match="special_ids: "):
        IdContract(128, 1, 1, 8, special_ids=(value,))


def test_integers_of_numpy_are_taken_as_what_they_are() -> None:
    small = np.int16(100)
    contract = IdContract(np.int64(128), np.uint8(1), np.int32(1), small, special_ids=(np.int64(3),))
    assert contract == IdContract(128, 1, 1, 100, special_ids=(3,))
    assert IdContract.from_json(contract.to_json()) == contract


def test_a_contract_names_its_checkpoint_in_hints_and_nowhere_else(tmp_path: Path) -> None:
    path = build(tmp_path / "my ckpt")
    contract = IdContract.from_checkpoint(path)
    rows = {"input_ids": [[5, 2 * contract.vocab_size]], "attention_mask": [[1, 1]]}
    (finding,) = contract.check_batch(rows).findings
    assert finding.hint.startswith(f"`gte-surgery resize '{path}' --vocab {2 * contract.vocab_size + 1} --pad 1` ")
    assert str(path) not in f"{contract!r}{contract.to_json()}"
    (other,) = IdContract.from_json(contract.to_json()).check_batch(rows).findings
    assert other.hint.startswith("`gte-surgery resize`, with --vocab")
