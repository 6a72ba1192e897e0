"""`auto` takes what works and says why the rest does not; a library that does not load is explained by its file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError, UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model import xformers_library  # noqa: E402
from gte_surgery.model.availability import Use, choose, obstacle  # noqa: E402
from gte_surgery.model.load import find_device, load_encoder  # noqa: E402

CPU = Use(torch.device("cpu"), torch.float32, 4, 8)


def test_on_a_cpu_torchs_own_attention_is_taken_and_the_others_say_why() -> None:
    choice = choose("auto", CPU)
    assert (choice.packed, choice.full) == ("sdpa", "sdpa")
    assert dict(choice.refused) == {
        "cudnn": "has no operator for device cpu",
        "xformers": "has no operator for device cpu",
        "varlen": "has no operator for device cpu",
    }


def test_a_named_backend_that_does_not_work_is_refused_with_its_reason() -> None:
    with pytest.raises(RefusedError, match="attention varlen: has no operator for device cpu"):
        choose("varlen", CPU)


def test_a_name_that_is_no_backend_is_a_wrong_request() -> None:
    with pytest.raises(UsageError, match="must be auto, cudnn, xformers"):
        choose("flash", CPU)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"dtype": torch.float32}, "takes float16 and bfloat16 only, not float32"),
        ({"dropout": 0.1}, "has no dropout, and attention_probs_dropout_prob is 0.1"),
    ],
)
def test_varlen_says_what_it_does_not_take(change: dict[str, object], wanted: str) -> None:
    use = dataclasses.replace(Use(torch.device("cuda", 0), torch.float16, 4, 8), **change)
    assert obstacle("varlen", use) == wanted


def test_xformers_is_not_compiled() -> None:
    use = Use(torch.device("cuda", 0), torch.float16, 4, 8, is_compiled=True)
    assert "cannot be compiled" in obstacle("xformers", use)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (
            "libcudart.so.12: cannot open shared object file: No such file or directory",
            "libcudart.so.12 is missing: pip install nvidia-cuda-runtime-cu12, "
            "and put its folder nvidia/cuda_runtime/lib on LD_LIBRARY_PATH",
        ),
        ("libc10_cuda.so: cannot open shared object file: …", "libc10_cuda.so is missing: this torch has no CUDA"),
        ("libstrange.so.3: cannot open shared object file: …", "libstrange.so.3 is missing"),
        ("undefined symbol: _ZN3c10", "undefined symbol: _ZN3c10"),
    ],
)  # fmt: skip
def test_the_loaders_message_becomes_what_is_missing_and_what_to_do(message: str, wanted: str) -> None:
    assert xformers_library.explained(message) == wanted


def test_what_the_loader_says_of_a_real_file_is_its_own_message(tmp_path: Path) -> None:
    (tmp_path / "_C.so").write_bytes(b"not a library")
    assert "_C.so" in xformers_library.load_error(tmp_path / "_C.so")


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="is not one that torch knows"):
        find_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(RefusedError, match="no CUDA device is here"):
            load_encoder("nowhere", device="cuda")


def test_a_dtype_that_no_encoder_has_is_a_wrong_request() -> None:
    with pytest.raises(UsageError, match="must be float32, float16 or bfloat16"):
        load_encoder("nowhere", device="cpu", dtype="int8")
