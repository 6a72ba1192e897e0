"""Layers that attend to all and to a sliding window by turns: which does what, and the rope of either kind.

As transformers' ModernBertConfig reads it (models/modernbert, 5.24): `layer_types` and nested `rope_parameters`, or the
keys of 4.x, `global_rope_theta`, `local_rope_theta` and `global_attn_every_n_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gte_surgery.gte.fields import GteConfig, Values, integer, wrong
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.rope import Rope, kind_of, positive
from gte_surgery.gte.wording import either, shown

FULL, SLIDING = "full_attention", "sliding_attention"
"""The two kinds of layers."""
THETAS = {FULL: ("global_rope_theta", 160000.0), SLIDING: ("local_rope_theta", 10000.0)}
MEMBERS_OF_5 = ("rope_parameters", "layer_types")
"""Those that came with transformers 5."""
_TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
"""What transformers knows [5.24, modeling_rope_utils.py, ROPE_INIT_FUNCTIONS]."""


def layer_types(values: Values, layers: int) -> tuple[str, ...]:
    """What each layer attends to; raises CheckpointError for a list that is not one word a layer."""
    stated = values.get("layer_types")
    if stated is None:
        every = integer(values, "global_attn_every_n_layers", 3, least=1)
        return tuple(SLIDING if layer % every else FULL for layer in range(layers))
    if not isinstance(stated, list) or len(stated) != layers or not set(map(str, stated)) <= {FULL, SLIDING}:
        raise wrong("layer_types", stated, f'a list of {layers} times "{FULL}" or "{SLIDING}"')
    return tuple(map(str, stated))


def read_rope(values: Values, kind: str) -> Rope:
    """The rope of the layers of a kind, as ModernBertConfig.convert_rope_params_to_dict reads it."""
    nested, scaling = values.get("rope_parameters"), values.get("rope_scaling") or {}
    nested = nested if isinstance(nested, Mapping) else {}
    stated = nested.get(kind)
    parameters: dict[str, object] = dict(stated) if isinstance(stated, Mapping) else {"rope_type": "default"}
    parameters |= scaling if isinstance(scaling, Mapping) else {}
    old_key, usual = THETAS[kind]
    stated_theta = parameters.get("rope_theta", values.get(old_key, usual))
    theta = positive(stated_theta)
    named = str(kind_of(parameters))
    if not isinstance(scaling, Mapping):
        return Rope("unsupported", usual, refusal=f"{shown(scaling)}, must be an object")
    if theta is None:
        key = "rope_theta: " if "rope_theta" in parameters else ""
        return Rope("unsupported", usual, refusal=f"{key}{shown(stated_theta)}, must be a number above 0")
    if strange := [str(key) for key in nested if key not in THETAS]:
        return Rope("unsupported", usual, refusal=f"{strange[0]}, must be {FULL} or {SLIDING}, each with a rope in it")
    if named not in _TYPES:
        return Rope("unsupported", usual, refusal=f"{shown(named)}, must be {either([shown(name) for name in _TYPES])}")
    return Rope("default", theta) if named == "default" else Rope("unsupported", theta, rope_type=named)


def ropes_of_both(values: Values, dialect: Dialect, head_size: int) -> tuple[Rope, Rope] | None:
    """The rope by the keys of 4.x and the one of `rope_parameters`, of the first kind of layers where they differ."""
    nested = values.get("rope_parameters")
    told = nested if isinstance(nested, Mapping) else {}
    both = [kind for kind, (old_key, _) in THETAS.items() if old_key in values and told.get(kind)]
    pairs = [(read_rope({THETAS[kind][0]: values[THETAS[kind][0]]}, kind), read_rope(values, kind)) for kind in both]
    return next((pair for pair in pairs if pair[0] != pair[1]), None)


def thetas(config: GteConfig) -> dict[str, object]:
    """The members in which 4.x kept the thetas."""
    ropes = {FULL: config.rope, SLIDING: config.local_rope}
    return {THETAS[kind][0]: rope.theta for kind, rope in ropes.items() if rope is not None}


def older(values: Values) -> Values:
    """The members as transformers 4.57.6 reads them: no `rope_parameters`, no `layer_types`, of `rope_scaling` its type
    alone, and the sliding layers turn by the theta of the others where theirs is null [models/modernbert].
    """
    seen = {key: value for key, value in values.items() if key not in MEMBERS_OF_5}
    scaling = seen.pop("rope_scaling", None)
    if isinstance(scaling, Mapping):
        seen["rope_scaling"] = {"rope_type": scaling.get("rope_type", scaling.get("type"))}
    (whole, usual), (local, _) = THETAS[FULL], THETAS[SLIDING]
    return seen | ({local: seen.get(whole, usual)} if seen.get(local, usual) is None else {})


def written(rope: Rope) -> dict[str, object]:
    """A rope as `rope_parameters` has it for a kind of layers."""
    return {"rope_theta": rope.theta, "rope_type": "default"}
