"""config.json for the remote dialect, from any dialect: the way back for transformers 4, vLLM and
text-embeddings-inference.

The counterpart of `gte.native`. Pure: from the members of one config to those of another.
"""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.errors import RefusedError
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.names import architecture
from gte_surgery.gte.new_impl.reading import read_config
from gte_surgery.gte.new_impl.releases import auto_map
from gte_surgery.gte.new_impl.rope_reading import moved_rope
from gte_surgery.gte.rope import describe, to_remote

_EXPLICIT = ("layer_norm_type", "max_position_embeddings", "pack_qkv", "pad_token_id", "position_embedding_type")
"""Members that differ in their defaults between the dialects, or that vLLM and TEI want to find."""

_KNOWN_ROPES = "the remote code knows plain rope, and ntk scaling with or without mixed_b"


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
    members |= {"architectures": _architectures(config, head), "model_type": "new"}
    if config.dialect is Dialect.REMOTE:
        return members
    theta, scaling = _rope(config)
    if not has_code:
        members["auto_map"] = auto_map(Dialect.REMOTE)
    members |= {"rope_theta": theta, "rope_scaling": scaling}
    members["vocab_size"] = config.vocab_size
    members |= {key: getattr(config, key) for key in _EXPLICIT if key not in members}
    return dict(sorted(members.items())) if list(values) == sorted(values) else members


def _architectures(config: GteConfig, head: Head) -> list[str]:
    """The class of the head really there; the bare model stays beside it where the config names both."""
    bare, named = (architecture(each, Dialect.REMOTE) for each in (Head.NONE, head))
    both = [architecture(each, config.dialect) for each in (Head.NONE, head)]
    return [bare, named] if bare != named and list(config.architectures) == both else [named]


def _rope(config: GteConfig) -> tuple[int | float, dict[str, object] | None]:
    """`rope_theta`, a whole number as published where it is one, and `rope_scaling`."""
    found = to_remote(config.rope, config.head_size, config.max_position_embeddings)
    if found is None:
        raise RefusedError(
            f"config.json: rope is {describe(config.rope)}, the remote dialect has no form for it",
            _KNOWN_ROPES,
        )
    theta, scaling = found
    return (int(theta) if theta.is_integer() else theta), scaling
