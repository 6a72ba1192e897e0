"""GTE120 to GTE139: rotary positions that cannot be, or are unlikely to be, those that the weights were trained with.

A wrong rope loads without a word and turns every token to the wrong angle; no shape gives it away. The releases and the
formulas are those of `gte_surgery.gte`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.gte.family import Release, shape_of
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.rope import Rope, describe, kind_of, to_native, turns_alike
from gte_surgery.gte.wording import listed

_SOUND = (*SOUND, "GTE111")
_NTK_FACTORS = range(2, 65)
_SCALINGS = ("rope_scaling", "rope_parameters")


@rule("GTE120", Severity.ERROR, requires=_SOUND)
def native_without_rope(subject: Subject) -> Iterator[Observation]:
    """A native config states no rope.

    transformers then takes theta 160000 and no scaling, without a word. A multilingual-base opened so gives outputs
    that are off by 3.8 where values are about 0.8, and training starts from that ruin. Write `rope_parameters` out,
    even where 160000 is right.
    """
    silent = subject.family.facts.silent_rope
    if subject.dialect is not Dialect.NATIVE or silent is None:
        return
    if not subject.family.ropes.is_stated(subject.values):
        found = "no rope_theta" if subject.values.get("rope_parameters") else "absent"
        message = f"{found}, so that {describe(silent)} without scaling is used silently; must be stated"
        yield Observation(subject.at("rope_parameters"), message, _trained(subject, subject.config))


@rule("GTE121", Severity.ERROR, requires=_SOUND)
def ntk_in_gte(subject: Subject) -> Iterator[Observation]:
    """An "ntk" scaling stands in a config of model_type "gte".

    "ntk" is a word of the remote code; transformers' own GteModel stops with KeyError: 'ntk'. The native spelling of
    the same frequencies is rope_type "linear" with theta·f and the factor f^(2/d), all digits kept.
    """
    is_gte = subject.family.facts.silent_rope is not None
    if subject.dialect is Dialect.REMOTE or not is_gte:
        return
    for key in _SCALINGS:
        scaling = subject.values.get(key)
        if isinstance(scaling, Mapping) and kind_of(scaling) == "ntk":
            message = f"{shown(scaling)}, the type must be one that transformers knows"
            yield Observation(subject.at(key), message, _native_spelling(subject, scaling))


@rule("GTE122", Severity.ERROR, requires=_SOUND)
def rope_moved(subject: Subject) -> Iterator[Observation]:
    """A remote config was saved again by transformers 5, which moved its rope.

    It now stands in `rope_parameters`, which the remote code on transformers 4, text-embeddings-inference and vLLM do
    not read: they fall back to theta 10000 without scaling, or stop. `gte-surgery convert CKPT --to remote` puts
    rope_theta and rope_scaling back at the top level; the hint says what they are.
    """
    moved = subject.family.ropes.moved(subject.values) if subject.dialect is Dialect.REMOTE else None
    if moved is not None:
        found = shown(subject.values.get("rope_parameters"))
        spelling = ", ".join(f'"{key}": {shown(value)}' for key, value in moved.items())
        hint = f"gte-surgery convert CKPT --to remote, which writes {spelling}"
        message = f"{found}, must be rope_theta and rope_scaling at the top level"
        yield Observation(subject.at("rope_parameters"), message, hint)


@rule("GTE127", Severity.ERROR, requires=(*_SOUND, "GTE121", "GTE122"))
def two_ropes(subject: Subject) -> Iterator[Observation]:
    """The config states two ropes that disagree.

    rope_theta and rope_scaling are read by the remote code, transformers 4 and servers; `rope_parameters` by
    transformers 5. Here they give a token different angles, so which model runs depends on who loads it, and a
    conversion would have to guess. Keep the one that the weights were trained with.
    """
    config = subject.config
    both = subject.family.ropes.of_both(subject.values, config.dialect, config.head_size)
    if both is None:
        return
    old, new = both
    if old.has_frequencies and new.has_frequencies and not turns_alike(old, new, config.head_size):
        keys = ("rope_scaling", "global_rope_theta", "local_rope_theta", "rope_theta")
        key = next((key for key in keys if subject.values.get(key)), "rope_theta")
        message = f"says {describe(old)}, rope_parameters says {describe(new)}"
        yield Observation(subject.at(key), message, "keep the one that the weights were trained with")


@rule("GTE123", Severity.ERROR, requires=(*_SOUND, "GTE120", "GTE121"))
def rounded_factor(subject: Subject) -> Iterator[Observation]:
    """The rope factor was rounded.

    It looks like f^(2/d) of an ntk scaling, cut to a few digits. The error grows with the position: with 4 digits the
    angle at position 8191 is off by 0.29 radians, so long texts degrade and short ones do not show it. Write all 17
    digits.
    """
    config = subject.config
    if config.dialect is not Dialect.NATIVE or config.rope.kind != "linear":
        return
    exact = _unrounded(config.rope.factor, config.head_size)
    if exact is not None:
        key = "rope_scaling" if subject.values.get("rope_scaling") else "rope_parameters"
        message = f"{config.rope.factor!r}, a rounded {exact!r}"
        yield Observation(subject.at(f"{key}/factor"), message, f'write "factor": {exact!r}')


@rule("GTE124", Severity.ERROR, requires=(*_SOUND, "GTE121", "GTE122"))
def rope_refused(subject: Subject) -> Iterator[Observation]:
    """The loader refuses this rope.

    The remote code knows no scaling and "ntk"; transformers knows its own types and demands their fields. The message
    says which value is in the way.
    """
    refusals = [rope.refusal for rope in _ropes(subject.config) if rope.refusal]
    if refusals:
        yield Observation(subject.at(_rope_key(subject)), refusals[0])


@rule("GTE125", Severity.WARNING, requires=(*_SOUND, "GTE120", "GTE121", "GTE122", "GTE123", "GTE124"))
def rope_unlike_release(subject: Subject) -> Iterator[Observation]:
    """The rope is not that of any release of this shape.

    The sizes are those of a published release, the frequencies are not: either it was trained further with another
    rope, and all is well, or the rope was lost on a conversion (a plain rope_theta for an ntk model is the usual
    case). That loads without an error and ruins every output. Compared are angles, so another spelling of the same
    rope is fine.
    """
    config = subject.config
    if config.rope.kind == "none":
        return
    releases = _of_shape(subject, config)
    if releases and not any(_has_ropes_of(config, release) for release in releases):
        ropes = list(dict.fromkeys(f"{describe(release.rope)} ({release.name})" for release in releases))
        message = f"{describe(config.rope)}; releases of this shape have {listed(ropes)}"
        yield Observation(subject.at(_rope_key(subject)), message, _trained(subject, config))


@rule("GTE126", Severity.WARNING, requires=(*_SOUND, "GTE121", "GTE122", "GTE124"))
def rope_of_another_family(subject: Subject) -> Iterator[Observation]:
    """The rope is of a type that no GTE was trained with.

    transformers applies it, so the model loads, but with other angles than the weights were trained for. If the context
    was stretched on purpose, train on before you trust it; otherwise restore the rope of the original config.
    """
    config = subject.config
    foreign = [rope.rope_type for rope in _ropes(config) if rope.kind == "unsupported" and not rope.refusal]
    if foreign and not _of_shape(subject, config):
        yield Observation(subject.at(_rope_key(subject)), f"{foreign[0]}, which no release uses")


def _ropes(config: GteConfig) -> tuple[Rope, ...]:
    """The one rope, or those of both kinds of layers."""
    return (config.rope,) if config.local_rope is None else (config.rope, config.local_rope)


def _has_ropes_of(config: GteConfig, release: Release) -> bool:
    others = (release.rope, release.local_rope or release.rope)
    pairs = zip(_ropes(config), others, strict=False)
    return all(turns_alike(mine, its, config.head_size, release.max_positions) for mine, its in pairs)


def _rope_key(subject: Subject) -> str:
    """The key that says the rope, the most specific first."""
    keys = _SCALINGS if subject.dialect is Dialect.NATIVE else ("rope_scaling",)
    old = [key for key in ("global_rope_theta", "local_rope_theta") if key in subject.values]
    return next((key for key in (*keys, *reversed(old)) if subject.values.get(key) or key in old), "rope_theta")


def _of_shape(subject: Subject, config: GteConfig) -> tuple[Release, ...]:
    """The releases of these sizes; of those with this vocabulary only, if there are any."""
    alike = tuple(r for r in subject.family.releases if r.shape == shape_of(config))
    return tuple(r for r in alike if r.vocab_size == config.vocab_size) or alike


def _trained(subject: Subject, config: GteConfig) -> str:
    """What a model of this shape was trained with, spelled for the config's dialect."""
    release = subject.family.resembling(config, subject.head)
    if release is None:
        return "take it from the config that the weights were trained with"
    native = json.dumps(to_native(release.rope, config.head_size, config.max_position_embeddings))
    where = f'"rope_parameters": {native}' if config.dialect is Dialect.NATIVE else describe(release.rope)
    return f"{release.name}, which it resembles, has {where}"


def _native_spelling(subject: Subject, scaling: Mapping[str, object]) -> str:
    """The hint for an ntk scaling in a `gte` config: the same frequencies as `rope_parameters`."""
    theta, factor = scaling.get("rope_theta", subject.values.get("rope_theta")), scaling.get("factor")
    config = subject.config
    if not isinstance(theta, (int, float)) or not isinstance(factor, (int, float)) or factor <= 1:
        return 'for the remote code write "model_type": "new"; for transformers state rope_theta as well'
    mixed_b = scaling.get("mixed_b")
    exponent = float(mixed_b) if isinstance(mixed_b, (int, float)) else None
    rope = Rope("ntk" if exponent is None else "mixed-ntk", float(theta), float(factor), exponent)
    if exponent is not None:
        wanted = "short_factor and long_factor exp(a·(i+1)^b), a = ln f / (d/2)^b, i from 0 to d/2 − 1"
        return f'write rope_type "longrope", factor 1.0, {wanted}'
    native = json.dumps(to_native(rope, config.head_size, config.max_position_embeddings))
    return f'write "rope_parameters": {native} and remove rope_theta and rope_scaling'


def _unrounded(factor: float, head_size: int) -> float | None:
    """f^(2/d) for the whole f that `factor` is a rounding of, or None: 1.0671 gives 1.0671404006768237 for d = 64."""
    decimals = len(repr(factor).partition(".")[2])
    if not math.isfinite(factor) or not 3 <= decimals <= 12 or head_size < 2:
        return None
    for scale in _NTK_FACTORS:
        exact = float(scale ** (2 / head_size))
        if exact != factor and abs(exact - factor) < 10.0**-decimals:
            return exact
    return None
