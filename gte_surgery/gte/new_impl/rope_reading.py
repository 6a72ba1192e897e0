"""Which rope a config means: the one that its loader would apply, silent defaults included.

Mirrors the reference implementation (Alibaba-NLP/new-impl, modeling.py, `NewEmbeddings`) and transformers
(modeling_rope_utils.py, `RotaryEmbeddingConfigMixin`). What follows from a rope is for `gte.rope`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.rope import NATIVE_THETA, REMOTE_THETA, Rope, kind_of, positive
from gte_surgery.gte.wording import shown

_LARGEST_MIXED_B = 8
_POSITIVE = "must be a number above 0, within float32"


def read_rope(config: Mapping[str, object], dialect: Dialect, head_size: int) -> Rope:
    """The effective rope of a parsed config.json; never raises: what the loader refuses is an "unsupported" Rope."""
    return _read_native(config, head_size) if dialect is Dialect.NATIVE else _read_remote(config)


def is_stated(config: Mapping[str, object]) -> bool:
    """Whether a native config says a rope at all; without one transformers takes its own default, silently."""
    parameters = config.get("rope_parameters")
    has_theta = isinstance(parameters, Mapping) and "rope_theta" in parameters
    return has_theta or "rope_theta" in config or bool(config.get("rope_scaling"))


def moved_rope(config: Mapping[str, object]) -> dict[str, object] | None:
    """`rope_theta` and `rope_scaling` of a remote config that transformers 5 saved again and thereby moved into
    `rope_parameters`, where its loader does not look; None where they stand at the top level.
    """
    parameters = config.get("rope_parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        return None
    kind = kind_of(parameters)
    if "rope_theta" in config and (kind == "default" or config.get("rope_scaling")):
        return None
    theta = parameters.get("rope_theta", config.get("rope_theta", REMOTE_THETA))
    scaling = {key: parameters[key] for key in ("factor", "mixed_b") if key in parameters}
    return {"rope_theta": theta, "rope_scaling": None if kind == "default" else {"type": kind, **scaling}}


def ropes_of_both(config: Mapping[str, object], dialect: Dialect, head_size: int) -> tuple[Rope, Rope] | None:
    """The rope that the old keys (rope_theta, rope_scaling) say, and the one of `rope_parameters`, where both speak."""
    parameters = config.get("rope_parameters")
    if (
        not isinstance(parameters, Mapping)
        or not parameters
        or not ("rope_theta" in config or config.get("rope_scaling"))
    ):
        return None
    old = {key: value for key, value in config.items() if key != "rope_parameters"}
    if dialect is Dialect.NATIVE:
        old.setdefault("rope_theta", parameters.get("rope_theta", NATIVE_THETA))
        new = {"rope_parameters": parameters, "max_position_embeddings": config.get("max_position_embeddings", 8192)}
        return _read_native(old, head_size), _read_native({"rope_theta": old["rope_theta"], **new}, head_size)
    kept = {"rope_theta": parameters.get("rope_theta", config.get("rope_theta", REMOTE_THETA))}
    scaling = None if kind_of(parameters) == "default" else {**parameters, "type": kind_of(parameters)}
    return _read_remote(old), _read_remote({**kept, "rope_scaling": scaling})


def read_rope_of_tei(config: Mapping[str, object]) -> Rope:
    """The rope that text-embeddings-inference makes of a config [backends/candle/src/models/gte.rs]."""
    parameters = config.get("rope_parameters")
    nested = parameters.get("rope_theta") if isinstance(parameters, dict) else None
    theta = positive(config.get("rope_theta", nested)) or REMOTE_THETA
    scaling = config.get("rope_scaling")
    factor = positive(scaling.get("factor")) if isinstance(scaling, dict) else None
    return Rope("default", theta) if factor is None else Rope("ntk", theta, factor)


def _read_remote(config: Mapping[str, object]) -> Rope:
    theta = positive(config.get("rope_theta", REMOTE_THETA))
    if config.get("position_embedding_type") == "absolute":
        return Rope("none", theta or REMOTE_THETA)
    if theta is None:
        return _refused("default", f"rope_theta: {shown(config.get('rope_theta'))}, {_POSITIVE}")
    scaling = config.get("rope_scaling")
    if scaling is None:
        return Rope("default", theta)
    if not isinstance(scaling, Mapping):
        return _refused("", f"rope_scaling: {shown(scaling)}, must be an object or null", theta)
    kind = str(scaling.get("type"))
    factor = positive(scaling.get("factor"))
    if kind != "ntk":
        return _refused(kind, f'rope_scaling type: {shown(scaling.get("type"))}, must be "ntk"', theta)
    if factor is None:
        return _refused(kind, f"rope_scaling factor: {shown(scaling.get('factor'))}, {_POSITIVE}", theta)
    if factor <= 1:
        # The reference rescales only when factor * max_position_embeddings exceeds max_position_embeddings.
        return Rope("default", theta)
    if scaling.get("mixed_b") is None:
        return Rope("ntk", theta, factor)
    mixed_b = scaling["mixed_b"]
    if not isinstance(mixed_b, (int, float)) or isinstance(mixed_b, bool):
        return _refused(kind, f"rope_scaling mixed_b: {shown(mixed_b)}, must be a number", theta)
    if not 0 <= mixed_b <= _LARGEST_MIXED_B:
        return Rope("unsupported", theta, rope_type=f"ntk with mixed_b {shown(mixed_b)}")
    return Rope("mixed-ntk", theta, factor, float(mixed_b))


def _read_native(config: Mapping[str, object], head_size: int) -> Rope:
    """As PreTrainedConfig.convert_rope_params_to_dict does: a non-empty `rope_scaling` beats `rope_parameters`."""
    parameters = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(parameters, Mapping):
        return _refused("", f"rope_parameters: {shown(parameters)}, must be an object or null")
    kind = kind_of(parameters)
    found_theta = parameters.get("rope_theta", config.get("rope_theta", NATIVE_THETA))
    theta = positive(found_theta)
    if theta is None:
        return _refused(str(kind), f"rope_theta: {shown(found_theta)}, {_POSITIVE}")
    partial = parameters.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if kind not in ("default", "proportional") and partial not in (None, 1):
        # transformers 5.24, modeling_gte.py: apply_rotary_pos_emb turns whole heads and stops at fewer angles.
        return _refused(str(kind), f"partial_rotary_factor: {shown(partial)}, must be 1 or absent with {kind}", theta)
    match kind:
        case "default":
            return Rope("default", theta)
        case "linear":
            return _read_linear(parameters, theta)
        case "longrope":
            return _read_longrope(parameters, theta, head_size, config.get("max_position_embeddings", 8192))
        case "dynamic" | "yarn" | "llama3" | "proportional":
            return Rope("unsupported", theta, rope_type=str(kind))
        case _:
            return _refused(str(kind), f"rope_type: {shown(kind)}, is unknown to the native model", theta)


def _read_linear(parameters: Mapping[str, object], theta: float) -> Rope:
    factor = positive(parameters.get("factor"))
    if factor is None:
        return _refused("linear", f"factor: {shown(parameters.get('factor'))}, {_POSITIVE}", theta)
    return Rope("linear", theta, factor)


def _read_longrope(parameters: Mapping[str, object], theta: float, head_size: int, max_positions: object) -> Rope:
    short, long = (_factors(parameters.get(key)) for key in ("short_factor", "long_factor"))
    if short is None or long is None or len(short) != head_size // 2 or len(long) != head_size // 2:
        wanted = f"short_factor and long_factor must be lists of {head_size // 2} numbers above 0"
        return _refused("longrope", wanted, theta)
    if short != long:
        return Rope("unsupported", theta, rope_type="longrope with short_factor unlike long_factor")
    if not _leaves_attention_alone(parameters, max_positions):
        return Rope("unsupported", theta, rope_type="longrope with an attention_factor")
    return Rope("longrope", theta, factors=short)


def _leaves_attention_alone(parameters: Mapping[str, object], max_positions: object) -> bool:
    """Without `attention_factor`, transformers works it out from `factor`, and that from the two lengths."""
    attention_factor = parameters.get("attention_factor")
    if attention_factor is not None:
        return attention_factor == 1
    if parameters.get("factor") is not None:
        return parameters["factor"] == 1
    return parameters.get("original_max_position_embeddings", max_positions) == max_positions


def _refused(rope_type: str, refusal: str, theta: float = REMOTE_THETA) -> Rope:
    return Rope("unsupported", theta, rope_type=rope_type, refusal=refusal)


def _factors(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = tuple(number for number in map(positive, value) if number is not None)
    return numbers if len(numbers) == len(value) else None
