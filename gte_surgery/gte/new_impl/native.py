"""config.json for the native dialect, from any dialect: what transformers' own GteModel (from 5.18 on) understands.

The counterpart of `gte.remote`. Pure: from the members of one config to those of another. Packing q, k and v, which the
native dialect needs in storage, is for whoever writes or loads the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.errors import RefusedError
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.names import architecture
from gte_surgery.gte.new_impl.reading import FLAGS, read_config
from gte_surgery.gte.new_impl.rope_reading import moved_rope
from gte_surgery.gte.rope import describe, to_native

EXACT_GELU = ("gelu", "gelu_python")
"""The names of the activation that transformers' native masked-LM head has as a constant."""
_DROPPED = ("rope_theta", "rope_scaling")
_HEEDED_BY_NATIVE_ONLY = ("head_dim", "is_causal", "partial_rotary_factor", "rope_parameters")
"""Members that the remote code carries along unread, but that the native model would obey."""
_EXPLICIT = ("max_position_embeddings", "pad_token_id", "tie_word_embeddings", "vocab_size")
"""Members whose defaults differ between the dialects, or that readers expect to find."""


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
    members |= {"architectures": _architectures(config, head), "model_type": "gte"}
    members |= {"rope_parameters": _rope_parameters(values, config)}
    members |= {key: getattr(config, key) for key in _EXPLICIT}
    if "pack_qkv" in members:
        members["pack_qkv"] = True
    return dict(sorted(members.items())) if list(values) == sorted(values) else members


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


def _architectures(config: GteConfig, head: Head) -> list[str]:
    """The class of the head really there; the bare model stays beside it where the config names both."""
    named = architecture(head, Dialect.NATIVE)
    bare = architecture(Head.NONE, Dialect.NATIVE)
    declared = [f"Gte{name[3:]}" if name.startswith("New") else name for name in config.architectures]
    return [bare, named] if declared == [bare, named] != [bare, bare] else [named]


def _rope_parameters(values: Mapping[str, object], config: GteConfig) -> dict[str, object]:
    """The effective rope, written out; one that only transformers knows stays as a native config has it."""
    rope = config.rope
    if rope.kind != "unsupported":
        return to_native(rope, config.head_size, config.max_position_embeddings)
    stored = values.get("rope_scaling") or values.get("rope_parameters")
    if config.dialect is not Dialect.NATIVE or rope.refusal or not isinstance(stored, Mapping):
        raise _refusal(f"rope is {describe(rope)}, the native model has no form for it")
    return {**stored, "rope_theta": rope.theta}
