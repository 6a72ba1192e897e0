"""Every proof holds on good checkpoints, and each fails on a checkpoint, or an encoder, that is broken just so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gte_surgery import new
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.errors import CheckpointError, RefusedError, UsageError
from gte_surgery.findings import Severity
from tests import builder
from tests.builder import ABSENT, Tensors
from tests.conftest import GOLDEN

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from safetensors.torch import save_file  # noqa: E402

from gte_surgery.model.encoder import GteEncoder  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.smoke import matrix, training  # noqa: E402
from gte_surgery.smoke.batches import Ids, make_batch  # noqa: E402
from gte_surgery.smoke.codes import CODES  # noqa: E402
from gte_surgery.smoke.ledger import (  # noqa: E402
    BrokenRunError,
    Ledger,
    watched,
)
from gte_surgery.smoke.options import SmokeOptions  # noqa: E402
from gte_surgery.smoke.proofs import prove_forward  # noqa: E402
from gte_surgery.smoke.result import SmokeResult  # noqa: E402
from gte_surgery.smoke.run import smoke  # noqa: E402
from gte_surgery.smoke.subject import prove_rope  # noqa: E402
from gte_surgery.smoke.training import Objective, prove_pad_gradient  # noqa: E402

GOOD = sorted(folder.name for folder in GOLDEN.iterdir() if folder.name not in ("legacy-absolute", "legacy-rmsnorm"))
WORDS = "embeddings.word_embeddings.weight"
IDS = Ids(vocab_size=128, pad=1, type_vocab_size=1, max_length=128)


def run(folder: Path, **options: Any) -> SmokeResult:
    chosen = {"device": "cpu", "batch": 4, "max_length": 12, "attention": "sdpa", **options}
    return smoke(folder, SmokeOptions(**chosen))


def failed(result: SmokeResult) -> set[str]:
    """Codes of what did not hold."""
    return {finding.code for finding in result.findings if finding.severity is Severity.ERROR}


def broken(folder: Path, change: Callable[[Tensors], object], **config: object) -> Path:
    """A checkpoint that is sound but for one change to its tensors or config."""
    values = builder.remote_config(initializer_range=0.3, **config)
    tensors = builder.tensors(values)
    change(tensors)
    return builder.write(folder / "broken", values, tensors)


@pytest.mark.parametrize("case", GOOD)
def test_every_proof_holds_on_a_good_checkpoint(golden: Path, case: str) -> None:
    result = run(golden / case, train=1, attention="all")
    assert failed(result) == set()
    assert result.has_passed
    held = {proof.code for proof in result.proofs if proof.outcome == "passed"}
    assert held >= {
        "GTE500", "GTE504", "GTE505", "GTE510", "GTE511", "GTE512", "GTE513", "GTE514", "GTE516", "GTE517", "GTE518",
        "GTE519", "GTE530", "GTE531", "GTE532",
    }  # fmt: skip
    assert {(speed.backend, speed.path) for speed in result.speeds} >= {("eager", "padded"), ("sdpa", "packed")}


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_low_precision_is_close_to_float32_on_a_good_checkpoint(golden: Path, dtype: str) -> None:
    result = run(golden / "legacy-base", dtype=dtype)
    assert failed(result) == set()
    proof = next(proof for proof in result.proofs if proof.code == "GTE515")
    assert proof.measured is not None
    assert proof.measured > 1e-4


@pytest.mark.parametrize("task", ["regression", "mlm"])
def test_the_other_tasks_train_as_well(golden: Path, task: str) -> None:
    result = run(golden / "legacy-mlm", task=task, train=2)
    assert failed(result) == set()
    assert "GTE532" in {proof.code for proof in result.proofs if proof.outcome == "passed"}


@pytest.mark.slow
def test_a_head_on_a_wide_model_trains_as_well(tmp_path: Path) -> None:
    sizes = {"layers": 12, "hidden": 768, "heads": 12, "intermediate": 64, "vocab": 128, "pad": 1}
    made = new(tmp_path / "wide", release="gte-multilingual-base", dtype="F32", **sizes).target  # type: ignore[arg-type]
    for seed in (0, 1):
        assert failed(run(made, task="regression", train=1, seed=seed)) == set()


def set_nan(tensors: Tensors) -> None:
    tensors["encoder.layer.1.mlp.down_proj.bias"][3] = np.nan


def test_a_nan_weight_gives_outputs_losses_and_gradients_that_are_not_finite(tmp_path: Path) -> None:
    assert failed(run(broken(tmp_path, set_nan), train=1)) >= {"GTE510", "GTE530", "GTE531", "GTE532"}


def test_states_of_length_zero_cannot_be_normalised(tmp_path: Path) -> None:
    def silence(tensors: Tensors) -> None:
        tensors["encoder.layer.1.mlp_ln.weight"][:] = 0

    assert "GTE511" in failed(run(broken(tmp_path, silence)))


def test_a_pad_row_that_is_not_zero_stays_so(tmp_path: Path) -> None:
    def fill(tensors: Tensors) -> None:
        tensors[WORDS][1] = 0.5

    found = failed(run(broken(tmp_path, fill), train=1))
    assert "GTE517" in found
    assert failed(run(broken(tmp_path / "again", fill))) == found


def test_a_pad_row_that_masked_lm_training_moved_is_as_it_should_be(tmp_path: Path) -> None:
    folder = new(tmp_path / "mlm", release="gte-en-mlm-base", vocab=64, pad=0, dialect="native", layers=1, hidden=64,
                 heads=4, intermediate=96).target  # fmt: skip
    assert "GTE517" in {proof.code for proof in run(folder).proofs if proof.outcome == "passed"}
    encoder = load_encoder(folder, "cpu", "float32").train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    encoder.masked_loss({"input_ids": torch.tensor([[5, 7, 9]])}, torch.tensor([[-100, 8, -100]])).backward()
    optimizer.step()
    encoder.model.save_pretrained(tmp_path / "trained")
    result = run(tmp_path / "trained")
    assert failed(result) == set()
    assert "GTE517" in {proof.code for proof in result.proofs if proof.outcome == "skipped"}


def test_a_lost_rope_is_found_although_every_number_is_finite(tmp_path: Path) -> None:
    config = builder.native_config(rope_parameters=ABSENT)
    folder = builder.write(tmp_path / "x", config, builder.tensors(config))
    assert failed(run(folder)) == {"GTE504"}


def test_a_missing_tensor_is_found_and_named(tmp_path: Path) -> None:
    folder = broken(tmp_path, lambda tensors: tensors.pop("encoder.layer.0.attn_ln.bias"))
    result = run(folder)
    assert "GTE500" in failed(result)
    assert any("encoder.layer.0.attn_ln.bias" in f.message for f in result.findings if f.code == "GTE500")


def test_a_pad_id_beyond_the_table_is_found_and_does_not_raise(tmp_path: Path) -> None:
    assert failed(run(broken(tmp_path, lambda tensors: None, pad_token_id=5000))) >= {"GTE500", "GTE504"}


@pytest.mark.parametrize("case", ["legacy-absolute", "legacy-rmsnorm"])
def test_what_the_native_model_cannot_express_is_found(golden: Path, case: str) -> None:
    assert failed(run(golden / case)) == {"GTE501"}


def test_a_tokenizer_with_ids_beyond_the_table_is_found(tmp_path: Path) -> None:
    folder = broken(tmp_path, lambda tensors: None)
    token = {"content": "<mask>", "special": True}
    builder.write_json(
        folder / "tokenizer_config.json", {"mask_token": "<mask>", "added_tokens_decoder": {"250001": token}}
    )
    result = run(folder)
    assert failed(result) == {"GTE503"}
    assert any("mask is 250001, the table has 128 rows" in finding.message for finding in result.findings)


def test_bfloat16_far_from_float32_is_found(tmp_path: Path) -> None:
    config = builder.remote_config(initializer_range=4.0)
    folder = builder.write(tmp_path / "x", config, builder.tensors(config))
    assert "GTE515" in failed(run(folder, dtype="bf16"))


class Faulty(GteEncoder):
    """An encoder with one fault."""

    fault = ""

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, inputs_embeds=None, unpad_inputs=None):  # type: ignore[no-untyped-def]
        if self.fault == "mask" and not unpad_inputs:
            attention_mask = torch.ones_like(attention_mask)
        states = super().forward(input_ids, attention_mask, token_type_ids, inputs_embeds, unpad_inputs)
        if self.fault == "packed" and unpad_inputs:
            states = states.roll(1, dims=1)
        return states * 1.5 + 1 if self.fault == "embeds" and inputs_embeds is not None else states

    def embed(self, batch, dim=None):  # type: ignore[no-untyped-def]
        vectors = super().embed(batch, dim)
        if self.fault == "order":
            vectors = vectors.roll(1, dims=0) if batch["attention_mask"][0].sum() == 1 else vectors.cumsum(0)
        return vectors * 1.1 if self.fault == "length" else vectors


@pytest.mark.parametrize(
    ("fault", "code"),
    [("packed", "GTE512"), ("mask", "GTE513"), ("order", "GTE514"), ("embeds", "GTE518"), ("length", "GTE511")],
)
def test_an_encoder_with_one_fault_fails_the_proof_of_it(tmp_path: Path, fault: str, code: str) -> None:
    encoder = load_encoder(broken(tmp_path, lambda tensors: None), "cpu", "float32")
    batch = make_batch(IDS, 4, 12, 0)
    sound, ledger = Ledger(), Ledger()
    prove_forward(encoder, batch, sound)
    assert sound.findings == []
    encoder.__class__ = Faulty
    encoder.fault = fault
    prove_forward(encoder, batch, ledger)
    assert code in {finding.code for finding in ledger.findings}


@pytest.mark.parametrize("positions", [1, 12, 40])
def test_rows_as_long_as_a_table_of_positions_leave_room_for_more_padding(tmp_path: Path, positions: int) -> None:
    sizes = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 48, "vocab": 128, "max_positions": positions}
    made = new(tmp_path / "bert", release="gte-base", **sizes).target  # type: ignore[arg-type]
    assert failed(run(made, max_length=max(positions, 2))) == set()


def test_a_backend_that_disagrees_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name = "gte_surgery.sdpa.packed"
    attend = ALL_ATTENTION_FUNCTIONS[name]

    def sharper(*inputs: Any, **keywords: Any) -> Any:
        return attend(*inputs, **{**keywords, "scaling": 3 * keywords["scaling"]})

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, name, sharper)
    assert "GTE519" in failed(run(broken(tmp_path, lambda tensors: None)))


def test_rotary_frequencies_in_the_models_own_low_precision_are_found(tmp_path: Path) -> None:
    folder = broken(tmp_path, lambda tensors: None)
    encoder = load_encoder(folder, "cpu", "float32")
    subject = matrix.Subject.opened(str(folder), SmokeOptions(device="cpu"), torch.device("cpu"), 0, lambda told: None)
    ledger = Ledger()
    prove_rope(subject, encoder.model, ledger)
    assert ledger.findings == []
    encoder.model.bfloat16()
    prove_rope(subject, encoder.model, ledger)
    assert [finding.code for finding in ledger.findings] == ["GTE505"]


def test_a_table_without_padding_idx_gives_the_pad_row_a_gradient(tmp_path: Path) -> None:
    encoder = load_encoder(broken(tmp_path, lambda tensors: None), "cpu", "float32")
    batch, ledger = make_batch(IDS, 4, 12, 0), Ledger()
    prove_pad_gradient(encoder, batch, 1, ledger)
    assert ledger.findings == []
    encoder.model.embeddings.word_embeddings.padding_idx = None
    prove_pad_gradient(encoder, batch, 1, ledger)
    assert [finding.code for finding in ledger.findings] == ["GTE516"]


def test_a_loss_that_does_not_fall_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in ("_RATE", "_HEAD_RATE"):
        monkeypatch.setattr(training, rate, 0.0)
    assert failed(run(broken(tmp_path, lambda tensors: None), train=2)) == {"GTE532"}


def test_a_parameter_that_nothing_reaches_is_found(tmp_path: Path) -> None:
    encoder = load_encoder(broken(tmp_path, lambda tensors: None), "cpu", "float32")
    objective = Objective(encoder, "embed", 0)
    objective.forgotten = torch.nn.Parameter(torch.zeros(3))
    batch, ledger = make_batch(IDS, 4, 12, 0), Ledger()
    tensors = training.training_tensors(batch, "embed", IDS, 32, 0)
    training.prove_training(objective, batch, tensors, torch.float32, 1, 1, ledger)
    assert [(finding.code, "forgotten" in finding.message) for finding in ledger.findings] == [("GTE531", True)]


def test_ids_out_of_range_are_a_finding_with_their_batch(tmp_path: Path) -> None:
    encoder = load_encoder(broken(tmp_path, lambda tensors: None), "cpu", "float32")
    batch = make_batch(Ids(5000, 1, 1, 64), 4, 10, 0)
    with pytest.raises(BrokenRunError) as caught:
        prove_forward(encoder, batch, Ledger(subject="fp32 sdpa"))
    assert caught.value.finding.code == "GTE521"
    assert "fp32 sdpa forward: batch of 4 rows × 10" in caught.value.finding.message


@pytest.mark.parametrize(
    ("error", "code", "is_fatal"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "GTE520", False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "GTE520", False),
        (RuntimeError("CUDA error: device-side assert triggered"), "GTE521", True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "GTE522", True),
        (RuntimeError("cuBLAS said no"), "GTE522", False),
    ],
)
def test_what_a_device_throws_becomes_a_finding(error: Exception, code: str, is_fatal: bool) -> None:
    with pytest.raises(BrokenRunError) as caught, watched(make_batch(IDS, 4, 10, 0), "something"):
        raise error
    assert (caught.value.finding.code, caught.value.is_fatal) == (code, is_fatal)


def test_a_reference_holds_for_the_same_checkpoint_and_not_for_another_rope(tmp_path: Path, golden: Path) -> None:
    file = tmp_path / "reference.safetensors"
    assert failed(run(golden / "legacy-base", save_reference=file)) == set()
    again = run(golden / "legacy-base", compare=file)
    assert failed(again) == set()
    assert "GTE540" in {proof.code for proof in again.proofs}
    turned = builder.load(golden / "legacy-base")
    config = builder.remote_config(rope_theta=500, vocab_size=256, initializer_range=0.3)
    assert failed(run(builder.write(tmp_path / "x", config, turned), compare=file)) == {"GTE540"}


def test_a_reference_of_another_vocabulary_is_told_apart(tmp_path: Path, golden: Path) -> None:
    file = tmp_path / "reference.safetensors"
    run(golden / "legacy-base", save_reference=file, batch=16)
    assert failed(run(golden / "legacy-base.resized-160-pad0", compare=file)) == {"GTE541"}


def test_a_file_that_is_no_reference_is_refused(tmp_path: Path, golden: Path) -> None:
    with pytest.raises(CheckpointError, match="not a smoke reference"):
        run(golden / "legacy-base", compare=golden / "legacy-base" / "model.safetensors")
    with pytest.raises(CheckpointError, match="absent"):
        run(golden / "legacy-base", compare=tmp_path / "absent")


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_ids": torch.tensor([5, 6])},
        {"input_ids": torch.tensor([[5.0, 6.0]])},
        {"input_ids": torch.tensor([[-5, 6]])},
        {"attention_mask": torch.tensor([1, 1])},
        {"attention_mask": torch.tensor([[0, 0]])},
        {"embeddings": torch.zeros(2, 32)},
        {"embeddings": torch.tensor(3.0)},
    ],
)
def test_a_reference_whose_tensors_are_no_batch_is_refused(
    wrong: dict[str, torch.Tensor], tmp_path: Path, golden: Path
) -> None:
    sound = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.tensor([[1, 1]])}
    save_file({**sound, "embeddings": torch.zeros(1, 32), **wrong}, tmp_path / "r.safetensors")
    with pytest.raises(CheckpointError, match="no batch with an embedding a row, not a smoke reference"):
        run(golden / "legacy-base", compare=tmp_path / "r.safetensors")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compiled_the_packed_path_agrees_trains_alike_and_makes_no_more_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gte_surgery.model import compiled, encoder

    folder = broken(tmp_path, lambda tensors: None)
    monkeypatch.setattr(encoder, "CompiledBody", lambda body: compiled.CompiledBody(body, "eager"))
    result = run(folder, compile=True, train=1)
    assert failed(result) == set()
    assert "GTE571" in {proof.code for proof in result.proofs}
    assert any(speed.backend == "sdpa compiled" for speed in result.speeds)
    torch._dynamo.reset()

    def broken_twice(body: torch.nn.Module) -> compiled.CompiledBody:
        """Its graphs are of fixed sizes, and half of what goes into a layer has no gradient."""
        made = compiled.CompiledBody(body, "eager")
        layer = torch.compile(compiled._layer, backend="eager", dynamic=False)
        made._layer = lambda of, hidden, *given: layer(of, (hidden + hidden.detach()) / 2, *given)
        return made

    monkeypatch.setattr(encoder, "CompiledBody", broken_twice)
    assert failed(run(folder, compile=True, train=1)) == {"GTE570", "GTE571"}


def test_masked_lm_needs_its_head(golden: Path) -> None:
    with pytest.raises(UsageError, match="head is none"):
        run(golden / "legacy-base", task="mlm", train=1)


def test_a_backend_that_is_asked_for_by_name_and_cannot_serve_is_refused(golden: Path) -> None:
    with pytest.raises(RefusedError, match="varlen: has no operator for device cpu"):
        run(golden / "legacy-base", attention="varlen")


def test_a_backend_that_auto_passes_over_is_a_note_with_its_reason(golden: Path) -> None:
    result = run(golden / "legacy-base", attention="auto")
    assert {(member.backend, member.reason) for member in result.unserved} == {
        ("cudnn", "has no operator for device cpu"),
        ("xformers", "has no operator for device cpu"),
        ("varlen", "has no operator for device cpu"),
    }
    assert {finding.code for finding in result.findings} == {"GTE502"}
    assert result.has_passed


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither config.json nor"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch": 1}, "batch"), ({"max_length": 1}, "max_length"), ({"train": -1}, "train"),
        ({"dtype": "int8"}, "int8"), ({"attention": "flash"}, "flash"), ({"task": "dance"}, "dance"),
        ({"runtime": "remote"}, "remote"), ({"runtime": "there"}, "runtime: 'there', must be native or remote"),
    ],
)  # fmt: skip
def test_options_that_make_no_run_are_wrong_requests(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        SmokeOptions(**options)


def test_dtypes_are_taken_once_each_and_auto_follows_the_device() -> None:
    assert SmokeOptions(dtype="auto,fp32,bf16").dtypes("cuda") == ("fp16", "fp32", "bf16")
    assert SmokeOptions(dtype="auto,fp32,bf16").dtypes("cpu") == ("fp32", "bf16")


def test_a_batch_is_valid_and_has_rows_long_short_and_of_one_token() -> None:
    batch = make_batch(Ids(64, 3, 2, 40, first=0), 8, 500, 7)
    ids, mask = batch.tensors["input_ids"], batch.tensors["attention_mask"]
    assert (batch.lengths[0], batch.lengths[1], batch.width) == (40, 1, 40)
    assert tuple(mask.sum(1).tolist()) == batch.lengths
    assert ((ids == 3) == (mask == 0)).all()
    assert (ids[:, 0] == 0).all()
    assert int(ids.min()) >= 0
    assert int(ids.max()) < 64
    assert set(batch.tensors["token_type_ids"].unique().tolist()) == {0, 1}


def test_every_code_is_documented_under_its_own_number() -> None:
    assert all(code == known.code and known.title and known.explanation for code, known in CODES.items())
    used = set()
    for module in (Path(matrix.__file__).parent).rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        if module.name != "codes.py":
            used |= {code for code in CODES if code in text}
    assert used == set(CODES)


def test_opening_is_what_the_loader_takes_too(golden: Path) -> None:
    encoder = load_encoder(open_checkpoint(golden / "legacy-base"), "cpu", "float32")
    assert encoder.device.type == "cpu"
