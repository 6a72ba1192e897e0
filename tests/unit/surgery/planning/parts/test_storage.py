"""Tensors go from one layout to another by renaming, cutting and joining, and never by arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.errors import RefusedError
from gte_surgery.gte.kinds import Layout
from gte_surgery.gte.new_impl.names import BARE, NATIVE_HEAD
from gte_surgery.surgery.pieces.piece import CopyRange
from gte_surgery.surgery.planning.parts.storage import in_order, restored
from gte_surgery.surgery.planning.plan import PlannedTensor
from gte_surgery.surgery.planning.target import understand
from tests import builder

SPLIT = Layout("f", is_renamed=True, has_split_qkv=True, has_split_mlp=True, head_norm="layer_norm")
FILE = "model.safetensors"
LAYER = "encoder.layer.0."


def built(path: Path, shards: int = 1, **config: object) -> Path:
    return builder.build(path / "ckpt", builder.remote_config(**config), shards=shards)


def tensors(path: Path, layout: Layout) -> dict[str, PlannedTensor]:
    shards = restored(understand(open_checkpoint(path)), layout)
    return {tensor.name: tensor for planned in shards.values() for tensor in planned}


def bytes_of(path: Path, tensor: PlannedTensor) -> bytes:
    read = []
    for piece in tensor.pieces:
        assert isinstance(piece, CopyRange)
        read.append((path / piece.source).read_bytes()[piece.begin : piece.end])
    return b"".join(read)


def test_packed_tensors_are_cut_into_equal_parts(tmp_path: Path) -> None:
    path = built(tmp_path)
    found, before = tensors(path, SPLIT), builder.load(path)
    packed = before[f"{LAYER}attention.qkv_proj.weight"]
    for number, part in enumerate("qkv"):
        tensor = found[f"layers.0.self_attn.{part}_proj.weight"]
        assert repr(tensor.shape) == "(32, 32)"
        assert bytes_of(path, tensor) == packed[32 * number : 32 * (number + 1)].tobytes()
    biases = [found[f"layers.0.self_attn.{part}_proj.bias"] for part in "qkv"]
    assert b"".join(bytes_of(path, bias) for bias in biases) == before[f"{LAYER}attention.qkv_proj.bias"].tobytes()
    assert {bias.shape for bias in biases} == {(32,)}
    gates = [found[f"layers.0.mlp.{part}_proj.weight"] for part in ("up", "gate")]
    assert b"".join(bytes_of(path, gate) for gate in gates) == before[f"{LAYER}mlp.up_gate_proj.weight"].tobytes()
    assert "layers.0.self_attn.qkv_proj.weight" not in found


def test_parts_are_joined_where_the_layout_packs_them(tmp_path: Path) -> None:
    path = built(tmp_path, pack_qkv=False)
    found, before = tensors(path, NATIVE_HEAD), builder.load(path)
    for kind, shape in (("weight", (96, 32)), ("bias", (96,))):
        tensor = found[f"gte.{LAYER}attention.qkv_proj.{kind}"]
        assert tensor.shape == shape
        parts = [before[f"{LAYER}attention.{part}_proj.{kind}"] for part in "qkv"]
        assert bytes_of(path, tensor) == np.concatenate(parts).tobytes()


@pytest.mark.parametrize("layout", [BARE, NATIVE_HEAD, SPLIT], ids=lambda layout: layout.letter)
@pytest.mark.parametrize("pack", [True, False])
def test_no_byte_is_lost_or_doubled(layout: Layout, pack: bool, tmp_path: Path) -> None:
    path = built(tmp_path, pack_qkv=pack)
    shards = restored(understand(open_checkpoint(path)), layout)
    pieces = [piece for planned in shards.values() for tensor in planned for piece in tensor.pieces]
    ranges = sorted((piece.begin, piece.end) for piece in pieces if isinstance(piece, CopyRange))
    assert [begin for begin, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert len(ranges) == len(pieces)
    assert (path / FILE).stat().st_size == ranges[-1][1]


def test_a_tensor_stays_in_its_shard_and_a_packed_one_goes_where_its_first_part_lies(tmp_path: Path) -> None:
    path = built(tmp_path, shards=3, pack_qkv=False)
    checkpoint = open_checkpoint(path)
    shards = restored(understand(checkpoint), BARE)
    assert list(shards) == [shard.file.name for shard in checkpoint.shards]
    first = checkpoint.tensors[f"{LAYER}attention.q_proj.weight"].shard.file.name
    assert f"{LAYER}attention.qkv_proj.weight" in {tensor.name for tensor in shards[first]}
    for name, planned in shards.items():
        for tensor in planned:
            if "qkv" not in tensor.name:
                assert checkpoint.tensors[tensor.name].shard.file.name == name


def test_what_no_gte_has_keeps_its_name_and_bytes(tmp_path: Path) -> None:
    config = builder.remote_config()
    arrays = builder.tensors(config, "mlm") | {"optimizer.state": np.arange(3, dtype=np.int64)}
    path = builder.write(tmp_path / "ckpt", config, arrays)
    found = tensors(path, NATIVE_HEAD)["optimizer.state"]
    assert (found.dtype, found.shape) == ("I64", (3,))
    assert bytes_of(path, found) == arrays["optimizer.state"].tobytes()


def test_the_order_is_that_of_the_safetensors_package() -> None:
    names = [("b", "F16"), ("a", "F16"), ("z", "F64"), ("y", "F32"), ("c", "BF16")]
    planned = [PlannedTensor(name, dtype, (0,), ()) for name, dtype in names]
    assert [tensor.name for tensor in in_order(planned)] == ["z", "y", "a", "b", "c"]


def test_parts_of_two_dtypes_cannot_be_packed(tmp_path: Path) -> None:
    config = builder.remote_config(pack_qkv=False)
    arrays = builder.tensors(config)
    name = f"{LAYER}attention.k_proj.bias"
    arrays[name] = arrays[name].astype(np.float16)
    path = builder.write(tmp_path / "ckpt", config, arrays)
    with pytest.raises(RefusedError) as raised:
        tensors(path, BARE)
    assert raised.value.message == (
        f"`{LAYER}attention.q_proj.bias`: cannot be packed into `{LAYER}attention.qkv_proj.bias`, found "
        f"{LAYER}attention.q_proj.bias F32 [32], {name} F16 [32], {LAYER}attention.v_proj.bias F32 [32]"
    )
    assert raised.value.hint == "they must be of one dtype"
    assert tensors(path, SPLIT)["layers.0.self_attn.k_proj.bias"].dtype == "F16"


def test_attention_and_feed_forward_are_split_each_by_itself(tmp_path: Path) -> None:
    path = built(tmp_path)
    attention = tensors(path, Layout("a", has_split_qkv=True))
    assert {f"{LAYER}attention.q_proj.bias", f"{LAYER}mlp.up_gate_proj.weight"} <= attention.keys()
    feed_forward = tensors(path, Layout("a", has_split_mlp=True))
    assert {f"{LAYER}attention.qkv_proj.bias", f"{LAYER}mlp.gate_proj.weight"} <= feed_forward.keys()


@pytest.mark.parametrize("layout", [BARE, Layout("a", has_split_qkv=True)], ids=["packed", "split"])
@pytest.mark.parametrize("shape", [(), (97,), (97, 32)])
def test_what_cannot_be_cut_into_parts_stays_whole(shape: tuple[int, ...], layout: Layout, tmp_path: Path) -> None:
    config, name = builder.remote_config(), f"{LAYER}attention.qkv_proj.weight"
    arrays = builder.tensors(config) | {name: np.ones(shape, np.float32)}
    path = builder.write(tmp_path / "ckpt", config, arrays)
    shards = restored(understand(open_checkpoint(path), families=("GTE0",)), layout)
    found = {tensor.name: tensor for tensor in shards[FILE]}
    assert (found[name].shape, f"{LAYER}attention.q_proj.weight" in found) == (shape, False)
    assert bytes_of(path, found[name]) == arrays[name].tobytes()
