"""The spellings of a config of this family, told from its keys alone."""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.gte.kinds import Dialect


def detect_dialect(config: Mapping[str, object]) -> Dialect | None:
    """The dialect of a parsed config.json, or None when it is not a GTE config at all.

    A "gte" config without `rope_parameters` is the renamed remote dialect if it has that dialect's own keys and a
    rope key. One with a rope scaling but no `auto_map` has no code that could apply the scaling: it counts as native.
    """
    match config.get("model_type"):
        case "new":
            return Dialect.REMOTE
        case "gte":
            return Dialect.RENAMED if _is_renamed(config) else Dialect.NATIVE
        case _:
            return None


def _is_renamed(config: Mapping[str, object]) -> bool:
    if config.get("rope_parameters") is not None:
        return False
    has_old_keys = "position_embedding_type" in config or "pack_qkv" in config
    has_rope_keys = "rope_theta" in config or "rope_scaling" in config
    return has_old_keys and has_rope_keys and ("auto_map" in config or not config.get("rope_scaling"))
