"""config.json for either dialect, from any: what transformers' own GteModel (from 5.18 on) understands, and the way
back for transformers 4, vLLM and text-embeddings-inference.

Pure: from the members of one config to those of another. Packing q, k and v, which the native dialect needs in storage,
is for whoever writes or loads the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.errors import RefusedError
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import SUFFIXES, Dialect, Head
from gte_surgery.gte.new_impl.names import architecture
from gte_surgery.gte.new_impl.reading import FLAGS, read_config
from gte_surgery.gte.new_impl.releases import auto_map
from gte_surgery.gte.new_impl.rope_reading import moved_rope
from gte_surgery.gte.rope import describe, to_native, to_remote

EXACT_GELU = ("gelu", "gelu_python")
"""The names of the activation that transformers' native masked-LM head has as a constant."""
_DROPPED = ("rope_theta", "rope_scaling")
_HEEDED_BY_NATIVE_ONLY = ("head_dim", "is_causal", "partial_rotary_factor", "rope_parameters")
"""Members that the remote code carries along unread, but that the native model would obey."""
_EXPLICIT_IN_NATIVE = ("max_position_embeddings", "pad_token_id", "tie_word_embeddings", "vocab_size")
"""Members whose defaults differ between the dialects, or that readers expect to find."""
_EXPLICIT_IN_REMOTE = (
    "layer_norm_type",
    "max_position_embeddings",
    "pack_qkv",
    "pad_token_id",
    "position_embedding_type",
)
"""Members that differ in their defaults between the dialects, or that vLLM and TEI want to find."""
_KNOWN_ROPES = "the remote code knows plain rope, and ntk scaling with or without mixed_b"


def native_members(values: Mapping[str, object], head: Head, has_code: bool = False) -> dict[str, object]:
    """The members of a native config.json ("model_type": "gte") for the same network with this head.

    Flags that are strings become what the loader takes them for: "true" and "false" alike are true. `pack_qkv`, where
    it rides along, becomes true; other members unknown to the native model stay as they are, and so does `auto_map`
    where it `has_code`: files that lie here. Raises RefusedError for what that model cannot express: RMS norm,
    absolute positions, a question answering head, a masked-LM head of another activation, a rope of another family.
    """
    config = read_config(values)
    _refuse_inexpressible(values, config, head)
    unwanted = _DROPPED if config.dialect is Dialect.NATIVE else (*_DROPPED, *_HEEDED_BY_NATIVE_ONLY)
    if not has_code:
        unwanted = (*unwanted, "auto_map")
    members = {key: _plain(key, value) for key, value in values.items() if key not in unwanted}
    members |= {"architectures": _architectures(config, head, Dialect.NATIVE), "model_type": "gte"}
    members |= {"rope_parameters": _rope_parameters(values, config)}
    members |= {key: getattr(config, key) for key in _EXPLICIT_IN_NATIVE}
    if "pack_qkv" in members:
        members["pack_qkv"] = True
    return _in_order(values, members)


def _refuse_inexpressible(values: Mapping[str, object], config: GteConfig, head: Head) -> None:
    if config.layer_norm_type != "layer_norm":
        raise _refusal(f"layer_norm_type is {config.layer_norm_type}, the native model has LayerNorm only")
    if config.position_embedding_type != "rope":
        raise _refusal(
            f"position_embedding_type is {config.position_embedding_type}, the native model has rotary positions only"
        )
    if head is Head.MASKED_LM and config.hidden_act not in EXACT_GELU:
        raise _refusal(f"hidden_act is {config.hidden_act}, the native masked-LM head has gelu only [GTE117]")
    if any(name.endswith("ForMultipleChoice") for name in config.architectures):
        raise _refusal("the head is for multiple choice, the native model has no class for it")
    if head is Head.QUESTION_ANSWERING:
        raise _refusal("the head is for question answering, the native model has no class for it")
    if config.dialect is Dialect.REMOTE and moved_rope(values) is not None:
        raise RefusedError(
            "config.json: /rope_parameters: in a remote config, where no loader of that dialect reads it [GTE122]",
            "put rope_theta and rope_scaling back first, with `gte-surgery convert --to remote`",
        )


def _refusal(reason: str) -> RefusedError:
    return RefusedError(f"config.json: {reason}", "keep the remote dialect and its code for this checkpoint")


def _plain(key: str, value: object) -> object:
    return bool(value) if key in FLAGS and isinstance(value, str) else value


def _rope_parameters(values: Mapping[str, object], config: GteConfig) -> dict[str, object]:
    """The effective rope, written out; one that only transformers knows stays as a native config has it."""
    rope = config.rope
    if rope.kind != "unsupported":
        return to_native(rope, config.head_size, config.max_position_embeddings)
    stored = values.get("rope_scaling") or values.get("rope_parameters")
    if config.dialect is not Dialect.NATIVE or rope.refusal or not isinstance(stored, Mapping):
        raise _refusal(f"rope is {describe(rope)}, the native model has no form for it")
    return {**stored, "rope_theta": rope.theta}


def remote_members(values: Mapping[str, object], head: Head, has_code: bool = False) -> dict[str, object]:
    """The members of a remote config.json ("model_type": "new") for the same network with this head.

    The rope becomes `rope_theta` and `rope_scaling`; raises RefusedError for one that the remote code has no form for.
    Members unknown to us ride along, as does `auto_map` where it `has_code`: files that lie here. A remote config
    comes back with `architectures` by its head, and with its rope at the top level where transformers 5 had moved it,
    else unchanged.
    """
    config = read_config(values)
    if config.dialect is Dialect.REMOTE and (moved := moved_rope(values)) is not None:
        values = {**{key: value for key, value in values.items() if key != "rope_parameters"}, **moved}
        config = read_config(values)
        if config.rope.refusal:
            raise RefusedError(f"config.json: /rope_parameters: {config.rope.refusal}", _KNOWN_ROPES)
    members = {key: value for key, value in values.items() if key != "rope_parameters"}
    if config.dialect is Dialect.NATIVE and config.tie_word_embeddings:
        members.pop("tie_word_embeddings", None)
    members |= {"architectures": _architectures(config, head, Dialect.REMOTE), "model_type": "new"}
    if config.dialect is Dialect.REMOTE:
        return members
    theta, scaling = _top_level_rope(config)
    if not has_code:
        members["auto_map"] = auto_map(Dialect.REMOTE)
    members |= {"rope_theta": theta, "rope_scaling": scaling}
    members["vocab_size"] = config.vocab_size
    members |= {key: getattr(config, key) for key in _EXPLICIT_IN_REMOTE if key not in members}
    return _in_order(values, members)


def _top_level_rope(config: GteConfig) -> tuple[int | float, dict[str, object] | None]:
    """`rope_theta`, a whole number as published where it is one, and `rope_scaling`."""
    found = to_remote(config.rope, config.head_size, config.max_position_embeddings)
    if found is None:
        raise RefusedError(
            f"config.json: rope is {describe(config.rope)}, the remote dialect has no form for it",
            _KNOWN_ROPES,
        )
    theta, scaling = found
    return (int(theta) if theta.is_integer() else theta), scaling


def _architectures(config: GteConfig, head: Head, dialect: Dialect) -> list[str]:
    """The class of the head really there; the bare model stays beside it where the config names both."""
    bare, named = architecture(Head.NONE, dialect), architecture(head, dialect)
    declared = [name.removeprefix("New").removeprefix("Gte") for name in config.architectures]
    return [bare, named] if declared == [SUFFIXES[Head.NONE], SUFFIXES[head]] and named != bare else [named]


def _in_order(values: Mapping[str, object], members: dict[str, object]) -> dict[str, object]:
    """The members in alphabetical order where the config's are."""
    return dict(sorted(members.items())) if list(values) == sorted(values) else members
