"""What the room `gte` says of a GTE, held against transformers' own GteModel: ropes, names, shapes and outputs."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

from huggingface_hub.errors import StrictDataclassClassValidationError  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from gte_surgery.gte.families import find_release, read_config  # noqa: E402
from gte_surgery.gte.family import Release  # noqa: E402
from gte_surgery.gte.fields import GteConfig  # noqa: E402
from gte_surgery.gte.kinds import (  # noqa: E402
    Dialect,
    Head,
    Layout,
)
from gte_surgery.gte.new_impl.family import NEW_IMPL  # noqa: E402
from gte_surgery.gte.new_impl.names import (  # noqa: E402  # noqa: E402
    BARE,
    NATIVE_HEAD,
    REMOTE_HEAD,
    architecture,
    canonical_name,
    detect_layout,
    head_of,
)
from gte_surgery.gte.new_impl.releases import RELEASES, release_config  # noqa: E402
from gte_surgery.gte.rope import Rope, describe, inv_freq, mixed_factors, to_native  # noqa: E402

MODELS = {
    Head.NONE: transformers.GteModel,
    Head.MASKED_LM: transformers.GteForMaskedLM,
    Head.SEQUENCE_CLASSIFICATION: transformers.GteForSequenceClassification,
    Head.TOKEN_CLASSIFICATION: transformers.GteForTokenClassification,
}
TINY = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
MIXED = Rope("mixed-ntk", 20000.0, 4.0, 0.7)
ROPES = sorted({release.rope for release in RELEASES}, key=describe)
Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def rotary_buffer(rope_parameters: dict[str, object] | None, head_size: int) -> Any:
    sizes = {**TINY, "hidden_size": 2 * head_size, "max_position_embeddings": 8192}
    config = transformers.GteConfig(**sizes, rope_parameters=rope_parameters)
    return transformers.GteModel(config).rotary_emb.inv_freq


def reference_buffer(rope: Rope, head_size: int) -> Any:
    """inv_freq in float32, operation by operation as NTKScalingRotaryEmbedding does it [new-impl modeling.py]."""
    base = rope.theta * (rope.factor if rope.kind == "ntk" else 1)
    frequencies = 1.0 / (base ** (torch.arange(0, head_size, 2).float() / head_size))
    if rope.kind == "ntk":
        return frequencies / rope.factor ** (2 / head_size)
    if rope.kind == "mixed-ntk":
        assert rope.mixed_b is not None
        a = torch.tensor(rope.factor).log() / (head_size / 2) ** rope.mixed_b
        return frequencies / (a * torch.arange(1, head_size // 2 + 1).float() ** rope.mixed_b).exp()
    return frequencies


@pytest.mark.parametrize("head_size", [8, 64, 128])
@pytest.mark.parametrize("rope", ROPES, ids=describe)
def test_the_native_equivalent_of_a_released_rope_is_bit_identical(rope: Rope, head_size: int) -> None:
    native = rotary_buffer(to_native(rope, head_size, 8192), head_size)
    assert torch.equal(native, reference_buffer(rope, head_size))


@pytest.mark.parametrize("head_size", [8, 64])
def test_the_native_equivalent_of_a_mixed_rope_differs_by_rounding_alone(head_size: int) -> None:
    native = rotary_buffer(to_native(MIXED, head_size, 8192), head_size)
    torch.testing.assert_close(native, reference_buffer(MIXED, head_size), rtol=4e-7, atol=0)


@pytest.mark.parametrize("head_size", [8, 64, 128])
@pytest.mark.parametrize("rope", [*ROPES, MIXED], ids=describe)
def test_our_frequencies_are_those_of_transformers_up_to_float32(rope: Rope, head_size: int) -> None:
    native = rotary_buffer(to_native(rope, head_size, 8192), head_size)
    ours = torch.tensor(inv_freq(rope, head_size), dtype=torch.float64)
    torch.testing.assert_close(native.double(), ours, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"rope_parameters": None},
        {"rope_theta": 20000},
        {"rope_parameters": {"rope_type": "default"}, "rope_theta": 20000},
        {"rope_parameters": {"rope_theta": 30000.0}, "rope_theta": 20000},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
        {"rope_parameters": {"type": "linear", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 30000.0}},
        {"rope_scaling": {}, "rope_parameters": {"rope_theta": 30000.0}},
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [1.0, 2.0]}},
    ],
    ids=json.dumps,
)
def test_a_native_rope_is_read_as_transformers_reads_it(keys: dict[str, Any]) -> None:
    sizes = {**TINY, "hidden_size": 8}
    ours = inv_freq(read_config({"model_type": "gte", **sizes, **json.loads(json.dumps(keys))}).rope, 4)
    rotary = transformers.GteModel(transformers.GteConfig(**sizes, **json.loads(json.dumps(keys)))).rotary_emb
    assert rotary.attention_scaling == 1.0
    torch.testing.assert_close(rotary.inv_freq.double(), torch.tensor(ours, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "keys",
    [
        {"rope_scaling": {"type": "ntk", "factor": 8.0}},
        {"rope_parameters": {"rope_type": "linear"}},
        {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": None}},
        {"rope_theta": None},
    ],
    ids=json.dumps,
)
def test_a_rope_that_we_call_refused_makes_transformers_fail(keys: dict[str, Any]) -> None:
    assert read_config({"model_type": "gte", **TINY, **json.loads(json.dumps(keys))}).rope.refusal
    with pytest.raises((KeyError, TypeError, StrictDataclassClassValidationError)):
        transformers.GteModel(transformers.GteConfig(**TINY, **keys))


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn"])
def test_a_rope_of_a_part_of_each_head_is_refused_and_makes_transformers_fail(kind: str) -> None:
    rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    assert read_config({"model_type": "gte", **TINY, "rope_parameters": dict(rope)}).rope.refusal
    with pytest.raises(RuntimeError, match="size of tensor"):
        transformers.GteModel(transformers.GteConfig(**TINY, rope_parameters=rope))(torch.tensor([[2, 3]]))


def test_the_longrope_attention_factor_counts_as_transformers_counts_it() -> None:
    longrope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0] * 4}
    for extra, is_plain in (({}, True), ({"original_max_position_embeddings": 16}, False), ({"factor": 2.0}, False)):
        parameters = {**longrope, **extra}
        ours = read_config({"model_type": "gte", **TINY, "rope_parameters": dict(parameters)}).rope
        rotary = transformers.GteModel(transformers.GteConfig(**TINY, rope_parameters=dict(parameters))).rotary_emb
        assert (ours.kind == "longrope") is is_plain
        assert math.isclose(rotary.attention_scaling, 1.0) is is_plain


def test_our_defaults_are_those_of_transformers() -> None:
    theirs, ours = transformers.GteConfig(), read_config({"model_type": "gte"})
    for key in (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "max_position_embeddings", "type_vocab_size", "pad_token_id", "initializer_range", "layer_norm_eps",
        "hidden_act", "tie_word_embeddings", "num_labels",
    ):  # fmt: skip
        assert getattr(ours, key) == getattr(theirs, key), key


def stored_shapes(checkpoint: Path) -> Shapes:
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.offset_keys()}


def recognised(checkpoint: Path) -> tuple[Layout, Head, GteConfig]:
    """What we make of a checkpoint, after its inventory has been found equal to what is stored, order included."""
    stored = stored_shapes(checkpoint)
    layout = detect_layout(stored)
    assert layout is not None
    head = head_of(name for name in (canonical_name(stored_name, layout) for stored_name in stored) if name)
    config = read_config(json.loads((checkpoint / "config.json").read_text()))
    assert config.dialect is Dialect.NATIVE
    assert [(spec.name, spec.shape) for spec in NEW_IMPL.inventory(config, layout, head)] == list(stored.items())
    return layout, head, config


def native_copy(golden: Path, folder: Path) -> Path:
    """A golden checkpoint as the published native conversions are made: another config beside the same weights."""
    folder.mkdir()
    members = json.loads((golden / "config.json").read_text())
    config = read_config(members)
    stored = stored_shapes(golden)
    layout = detect_layout(stored)
    assert layout is not None
    head = head_of(name for name in (canonical_name(each, layout) for each in stored) if name)
    for key in ("auto_map", "rope_scaling", "rope_theta"):
        members.pop(key)
    members |= {
        "model_type": "gte",
        "architectures": [architecture(head, Dialect.NATIVE)],
        "rope_parameters": to_native(config.rope, config.head_size, config.max_position_embeddings),
    }
    (folder / "config.json").write_text(json.dumps(members))
    shutil.copy(golden / "model.safetensors", folder)
    return folder


@pytest.mark.parametrize(("is_original", "letters"), [(True, "ad"), (False, "ff")])
@pytest.mark.parametrize("head", MODELS)
def test_what_transformers_writes_from_scratch_is_recognised(
    head: Head, is_original: bool, letters: str, tmp_path: Path
) -> None:
    model = MODELS[head](transformers.GteConfig(**TINY, num_labels=3))
    model.save_pretrained(tmp_path, save_original_format=is_original)
    layout, found, config = recognised(tmp_path)
    assert (layout.letter, found) == (letters[head is not Head.NONE], head)
    assert (layout.prefix, layout.head_prefix) == ("" if head is Head.NONE else "gte.", "")
    assert config.num_labels == 3


@pytest.mark.parametrize(
    ("source", "head", "letter"),
    [
        ("legacy-base", Head.NONE, "a"),
        ("legacy-base", Head.MASKED_LM, "e"),
        ("legacy-base", Head.SEQUENCE_CLASSIFICATION, "d"),
        ("legacy-base", Head.TOKEN_CLASSIFICATION, "d"),
        ("legacy-mlm", Head.NONE, "b"),
        ("legacy-mlm", Head.MASKED_LM, "c"),
        ("legacy-multilingual", Head.TOKEN_CLASSIFICATION, "c"),
        ("legacy-reranker", Head.SEQUENCE_CLASSIFICATION, "c"),
        ("legacy-type2", Head.NONE, "a"),
        ("legacy-en-v1.5", Head.NONE, "a"),
    ],
)
def test_what_transformers_loads_and_saves_again_is_recognised(
    source: str, head: Head, letter: str, golden: Path, tmp_path: Path
) -> None:
    model = MODELS[head].from_pretrained(native_copy(golden / source, tmp_path / "native"))
    for is_original in (True, False):
        again = tmp_path / f"again-{is_original}"
        model.save_pretrained(again, save_original_format=is_original)
        layout, found, _ = recognised(again)
        assert (layout.letter, found) == (letter if is_original else "f", head)
        assert layout.is_damaged is (is_original and letter in "ce")


def test_an_untied_decoder_weight_is_stored_and_expected(tmp_path: Path) -> None:
    config = transformers.GteConfig(**TINY, tie_word_embeddings=False)
    transformers.GteForMaskedLM(config).save_pretrained(tmp_path)
    recognised(tmp_path)
    assert "lm_head.decoder.weight" in stored_shapes(tmp_path)


DAMAGED = Layout("c", prefix="new.gte.", head_prefix="new.")
RENAMED = Layout("f", "gte.", is_renamed=True, has_split_qkv=True, has_split_mlp=True, head_norm="layer_norm")


def written(folder: Path, members: dict[str, object], layout: Layout, head: Head) -> Path:
    folder.mkdir()
    specs = NEW_IMPL.inventory(read_config(members), layout, head)
    save_file({spec.name: torch.ones(spec.shape) for spec in specs}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(members))
    return folder


LOADABLE = [
    (BARE, Head.NONE),
    *((layout, head) for layout in (REMOTE_HEAD, DAMAGED, NATIVE_HEAD, RENAMED) for head in MODELS),
]


@pytest.mark.parametrize(("layout", "head"), LOADABLE, ids=lambda value: getattr(value, "letter", value))
def test_transformers_finds_every_tensor_of_an_inventory(layout: Layout, head: Head, tmp_path: Path) -> None:
    members = release_config(find_release("gte-base-en-v1.5")[1], Dialect.NATIVE, head, **TINY)
    _, loading = MODELS[head].from_pretrained(written(tmp_path / "x", members, layout, head), output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_transformers_builds_each_release_with_as_many_parameters(release: Release) -> None:
    members = release_config(release, Dialect.NATIVE)
    with torch.device("meta"):
        model = MODELS[release.head](transformers.GteConfig(**members))
    assert sum(parameter.numel() for parameter in model.parameters()) == release.parameters
    assert members["architectures"][-1] == type(model).__name__  # type: ignore[index]


EXPRESSIBLE = [
    "legacy-base", "legacy-en-v1.5", "legacy-mixed-ntk", "legacy-mlm", "legacy-multilingual", "legacy-norope-scaling",
    "legacy-reranker", "legacy-type2", "snowflake-m-v2", "legacy-base.resized-160-pad0",
]  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_the_native_config_gives_the_outputs_of_the_reference_code(name: str, golden: Path, tmp_path: Path) -> None:
    checkpoint = native_copy(golden / name, tmp_path / "native")
    _, head, _ = recognised(checkpoint)
    model: Callable[..., Any] = MODELS[head].from_pretrained(checkpoint).eval()
    reference = load_file(golden / name / "reference.safetensors")
    with torch.no_grad():
        outputs = model(input_ids=reference["input_ids"], attention_mask=reference["attention_mask"])
    (key,) = reference.keys() - {"input_ids", "attention_mask"}
    kept = reference["attention_mask"].bool()
    found, wanted = outputs[key], reference[key]
    if found.dim() == 3:
        found, wanted = found[kept], wanted[kept]
    # Both compute in float32, where the reference itself is off by up to 3e-6 of its largest value.
    torch.testing.assert_close(found, wanted, rtol=0, atol=3e-6 * float(wanted.abs().max()))


def test_mixed_factors_reach_the_factor_at_the_last_pair() -> None:
    assert math.isclose(mixed_factors(MIXED, 64)[-1], 4.0)
