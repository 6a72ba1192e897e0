"""Every layout gives the same model, and a tensor that does not fit is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gte_surgery.errors import CheckpointError
from tests import builder
from tests.builder import Tensors

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model.load import load_encoder  # noqa: E402

QKV_PARTS = ("q_proj", "k_proj", "v_proj")
BATCH = {
    "input_ids": torch.tensor([[5, 9, 7, 3], [8, 4, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
}


def say(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        encoder = load_encoder(folder, "cpu", "float32")
        return encoder.logits(BATCH) if encoder.head.value != "none" else encoder(**BATCH)


def split(tensors: Tensors, packed: str, parts: tuple[str, ...]) -> Tensors:
    """Each tensor of a packed projection, in so many pieces."""
    made: Tensors = {}
    for name, array in tensors.items():
        if f".{packed}." not in name:
            made[name] = array
            continue
        for part, piece in zip(parts, np.split(array, len(parts)), strict=True):
            made[name.replace(packed, part)] = piece.copy()
    return made


def renamed(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    made = {}
    for name, array in tensors.items():
        for old, new in pairs:
            name = name.replace(old, new)
        made[name] = array
    return made


def in_layout(letter: str, tensors: Tensors) -> Tensors:
    """Reference tensors of a masked LM (layout b) as the other layouts store them."""
    match letter:
        case "b":
            return tensors
        case "c":
            return {f"new.{name.replace('new.', 'gte.')}": array for name, array in tensors.items()}
        case "d":
            return renamed(tensors, ("new.", "gte."))
        case "e":
            return renamed(tensors, ("new.", "gte."), ("lm_head.norm", "lm_head.layer_norm"))
        case _:
            return renamed(
                split(split(tensors, "qkv_proj", QKV_PARTS), "up_gate_proj", ("up_proj", "gate_proj")),
                ("new.", "gte."), ("lm_head.norm", "lm_head.layer_norm"), ("encoder.layer.", "layers."),
                ("attention.", "self_attn."), ("attn_ln", "post_attention_layernorm"), ("mlp_ln", "post_mlp_layernorm"),
            )  # fmt: skip


@pytest.fixture(scope="module")
def config() -> builder.Config:
    return builder.remote_config(initializer_range=0.3, architectures=["NewForMaskedLM"])


@pytest.fixture(scope="module")
def masked_lm(config: builder.Config) -> Tensors:
    return builder.tensors(config, "mlm")


@pytest.mark.parametrize("letter", ["c", "d", "e", "f"])
def test_every_layout_gives_the_same_model(
    tmp_path: Path, config: builder.Config, masked_lm: Tensors, letter: str
) -> None:
    wanted = say(builder.write(tmp_path / "b", config, masked_lm))
    assert torch.equal(say(builder.write(tmp_path / letter, config, in_layout(letter, masked_lm))), wanted)


def test_storage_split_in_three_gives_the_same_model(tmp_path: Path, config: builder.Config) -> None:
    bare = builder.tensors(config)
    packed = builder.write(tmp_path / "packed", config, bare)
    parts = split(bare, "qkv_proj", QKV_PARTS)
    unpacked = builder.write(tmp_path / "unpacked", {**config, "pack_qkv": False}, parts)
    assert torch.equal(say(packed), say(unpacked))


def test_shards_give_the_same_model(tmp_path: Path, config: builder.Config, masked_lm: Tensors) -> None:
    one = builder.write(tmp_path / "one", config, masked_lm)
    three = builder.write(tmp_path / "three", config, masked_lm, shards=3)
    assert torch.equal(say(one), say(three))


def test_the_native_config_of_the_same_model_gives_the_same_model(tmp_path: Path, config: builder.Config) -> None:
    tensors = builder.tensors(config)
    remote = builder.write(tmp_path / "remote", config, tensors)
    native = builder.write(tmp_path / "native", builder.native_config(initializer_range=0.3), tensors)
    assert torch.equal(say(remote), say(native))


def test_the_decoder_is_tied_to_the_embeddings_and_an_untied_one_is_read(
    tmp_path: Path, config: builder.Config, masked_lm: Tensors
) -> None:
    tied = load_encoder(builder.write(tmp_path / "tied", config, masked_lm), "cpu", "float32").model
    assert tied.lm_head.decoder.weight is tied.gte.embeddings.word_embeddings.weight
    own = masked_lm | {"lm_head.decoder.weight": np.full((128, 32), 0.5, np.float32)}
    untied = builder.write(tmp_path / "untied", {**config, "tie_word_embeddings": False}, own)
    assert (load_encoder(untied, "cpu", "float32").model.lm_head.decoder.weight == 0.5).all()


def without(name: str, tensors: Tensors) -> Tensors:
    return {key: array for key, array in tensors.items() if key != name}


QKV = "new.encoder.layer.1.attention.qkv_proj.weight"


def test_a_missing_tensor_is_named_as_it_would_be_stored(
    tmp_path: Path, config: builder.Config, masked_lm: Tensors
) -> None:
    with pytest.raises(CheckpointError, match=rf"1 missing: `{QKV}`"):
        load_encoder(builder.write(tmp_path / "x", config, without(QKV, masked_lm)), "cpu", "float32")


def test_an_unexpected_tensor_is_named(tmp_path: Path, config: builder.Config, masked_lm: Tensors) -> None:
    extra = masked_lm | {"new.encoder.layer.7.attn_ln.weight": np.ones(32, np.float32)}
    with pytest.raises(CheckpointError, match=r"1 unexpected: `new\.encoder\.layer\.7\.attn_ln\.weight`"):
        load_encoder(builder.write(tmp_path / "x", config, extra), "cpu", "float32")


def test_a_misshapen_tensor_is_named_with_both_shapes(
    tmp_path: Path, config: builder.Config, masked_lm: Tensors
) -> None:
    wrong = masked_lm | {QKV: masked_lm[QKV][:90]}
    with pytest.raises(CheckpointError, match=rf"misshapen: `{QKV}`: shape \[90, 32\], config needs \[96, 32\]"):
        load_encoder(builder.write(tmp_path / "x", config, wrong), "cpu", "float32")


def test_a_type_table_that_the_config_denies_is_an_error(tmp_path: Path, config: builder.Config) -> None:
    denied = builder.write(tmp_path / "x", {**config, "type_vocab_size": 0}, builder.tensors(config))
    with pytest.raises(CheckpointError, match=r"unexpected: `embeddings\.token_type_embeddings\.weight`"):
        load_encoder(denied, "cpu", "float32")


def test_parameters_have_the_dtype_asked_for_and_angles_stay_float32(tmp_path: Path) -> None:
    encoder = load_encoder(builder.build(tmp_path / "x"), "cpu", "bfloat16")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.bfloat16}
    assert encoder.model.rotary_emb.inv_freq.dtype is torch.float32


@pytest.mark.parametrize(
    ("member", "value"),
    [("id2label", "x"), ("attention_probs_dropout_prob", None), ("layer_norm_eps", 1), ("num_labels", None)],
)
def test_a_config_that_transformers_makes_no_model_of_is_told(member: str, value: object, tmp_path: Path) -> None:
    checkpoint = builder.build(tmp_path / "checkpoint", builder.native_config(**{member: value}))
    with pytest.raises(CheckpointError, match=r"no model is what transformers \S+ makes of config.json: \w+Error: "):
        load_encoder(checkpoint, "cpu", "float32")


def test_weights_that_do_not_fit_the_model_are_told(tmp_path: Path) -> None:
    checkpoint = builder.build(tmp_path / "checkpoint", builder.native_config(num_attention_heads=3))
    with pytest.raises(CheckpointError, match="the weights do not fit the model that transformers"):
        load_encoder(checkpoint, "cpu", "float32")


@pytest.mark.parametrize("config", [builder.remote_config, builder.native_config])
def test_an_activation_that_nobody_knows_is_told(config: Callable[..., builder.Config], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="hidden_act: no_such, is no activation of transformers"):
        load_encoder(builder.build(tmp_path, config(hidden_act="no_such")), device="cpu", dtype="float32")


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_the_place_of_the_numbers_in_the_file_makes_no_difference(tmp_path: Path, dtype: str) -> None:
    """A longer header moves all tensors, and products of vectors add up as their addresses are."""
    config = builder.remote_config(initializer_range=0.3, architectures=["NewForSequenceClassification"])
    arrays = builder.tensors(config, "classifier")
    stored = {name: array.astype({"F32": "f4", "F64": "f8"}[dtype]) for name, array in arrays.items()}
    folder = builder.write(tmp_path / "c", config, stored)
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    header, numbers = (
        whole[8 : 8 + int.from_bytes(whole[:8], "little")],
        whole[8 + int.from_bytes(whole[:8], "little") :],
    )
    said = []
    for more in range(0, 64, 4):
        file.write_bytes((len(header) + more).to_bytes(8, "little") + header + b" " * more + numbers)
        model = load_encoder(folder, "cpu", "float32").model
        assert {parameter.data_ptr() % 64 for parameter in model.parameters()} == {0}
        said.append(say(folder))
    assert all(torch.equal(each, said[0]) for each in said)
