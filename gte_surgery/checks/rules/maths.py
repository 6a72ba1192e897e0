"""GTE117, GTE143 to GTE149, GTE250 and GTE251: whether what would be computed is what the weights were trained for.

A constant that a config cannot move, keys and code of somebody's own, a quantiser that is not there, frequencies that
were stored and are other ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checkpoint.shards import numbers, read_rows
from gte_surgery.checks.maths import foreign_code, local_code, unknown_keys
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import PARSED, SOUND
from gte_surgery.checks.rules.tensors import READABLE, is_buffer
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.gte.fields import ACTIVATIONS
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.rope import inv_freq
from gte_surgery.gte.tensors import FLOATS
from gte_surgery.gte.wording import SHOWN, listed, shape

_FIX = "gte-surgery check CKPT --fix"
_SAME = {"F64": 1e-5, "F32": 1e-5, "F16": 1e-2, "BF16": 2e-2}
"""By how much of itself a stored frequency may differ from the formula's, by the dtype that rounded it."""
_MOST_PAIRS = 1 << 12


@rule("GTE117", Severity.ERROR, requires=READABLE)
def masked_lm_activation(subject: Subject) -> Iterator[Observation]:
    """The native masked-LM head uses gelu, whatever hidden_act says.

    transformers' GteLMHead calls gelu as a constant [transformers 5.24, models/gte/modeling_gte.py, GteLMHead]; the
    remote code takes hidden_act there as everywhere. With relu or silu its logits are off by 0.4, with the tanh forms
    of gelu by 0.001, without an error. Keep such a checkpoint in the remote dialect.
    """
    config = subject.config
    if subject.dialect is not Dialect.NATIVE or subject.head is not Head.MASKED_LM:
        return
    native = subject.family.native
    if native is not None and native.head_activations and config.hidden_act not in native.head_activations:
        message = f'{shown(config.hidden_act)}, must be "gelu": the native masked-LM head knows no other'
        yield Observation(subject.at("hidden_act"), message)


@rule("GTE143", Severity.NOTE, requires=PARSED, most=SHOWN)
def unknown_keys_told(subject: Subject) -> Iterator[Observation]:
    """config.json has keys that no published code reads.

    They change nothing in transformers' own model, in the published remote code or in a server. If a fork's code reads
    them (`partial_rope_ratio`, `qk_norm`, a pooling of its own), the weights were trained with that fork's mathematics,
    and only its code computes them. A note of your own does no harm.
    """
    for key in unknown_keys(subject.checkpoint):
        yield Observation(subject.at(key), f"{shown(subject.values[key])}, which no published code reads")


@rule("GTE144", Severity.WARNING, requires=PARSED)
def code_of_ones_own(subject: Subject) -> Iterator[Observation]:
    """Modeling code lies here that is not the published one.

    `auto_map` calls for a file of this directory that reads other keys than the published modeling code, or is
    something else altogether. What it computes is its author's to say: conversions and `smoke` refuse the checkpoint,
    and servers with a GTE of their own compute something else. It is read as text and never run.
    """
    if reason := foreign_code(subject.checkpoint):
        hint = f"whose mathematics it is, its author knows; {listed(local_code(subject.checkpoint))} must stay with it"
        yield Observation(subject.at("auto_map"), reason, hint)


@rule("GTE146", Severity.ERROR, requires=SOUND)
def activation_of_nobody(subject: Subject) -> Iterator[Observation]:
    """The activation has no name that transformers knows.

    Its own models and the remote code alike look it up among transformers' activations and stop with a KeyError
    [transformers 5.24, activations.py, ACT2FN]. Write the one that the weights were trained with, most often "gelu"; a
    server with activations of its own may load what transformers does not.
    """
    keys = ["hidden_act", "hidden_activation", *(["classifier_activation"] if subject.head is not Head.NONE else [])]
    for key in keys:
        name = subject.values.get(key)
        if isinstance(name, str) and name not in ACTIVATIONS and key in (subject.family.known_keys or ()):
            yield Observation(subject.at(key), f"{shown(name)}, is no activation of transformers")


@rule("GTE145", Severity.ERROR, requires=(*READABLE, "GTE207"))
def quantizer_left_over(subject: Subject) -> Iterator[Observation]:
    """The config asks for a quantiser, the weights are floating point.

    transformers stops where the quantiser's package is missing, and where it is there quantises once more. The key was
    left behind when the weights were merged or dequantised. `gte-surgery check CKPT --fix` takes it out.
    """
    found = subject.values.get("quantization_config")
    if isinstance(found, dict) and all(tensor.dtype in FLOATS for tensor in subject.checkpoint.tensors.values()):
        yield Observation(
            subject.at("quantization_config"), f"{shown(found)}, but all weights are floating point", _FIX
        )


@rule("GTE250", Severity.WARNING, requires=("GTE0", "GTE200"), most=SHOWN)
def persisted_buffer(subject: Subject) -> Iterator[Observation]:
    """A buffer was saved among the weights.

    Position numbers and rope tables are computed from the config; no release stores them. Loaders skip them with a
    warning or, some, take them for true even after the config has changed. `gte-surgery check CKPT --fix` drops them.
    """
    other = _other_frequencies(subject)
    for name, tensor in subject.checkpoint.tensors.items():
        if is_buffer(name) and name not in other:
            message = f"{shape(tensor.shape)}, a buffer that the model computes itself"
            yield Observation(subject.at_tensor(name), message, _FIX)


@rule("GTE251", Severity.ERROR, requires=(*READABLE, "GTE120", "GTE121", "GTE122", "GTE124"))
def other_frequencies(subject: Subject) -> Iterator[Observation]:
    """Stored rotary frequencies are not those of the config.

    `inv_freq` is a buffer that the model computes from its rope, and no loader reads it. Where it was stored, it says
    what the model was trained with: here the config says something else, which every loader will use. Restore the rope
    of the config; where the stored buffer is the stray, take it out: `gte-surgery convert CKPT --drop '*inv_freq'`.
    """
    for name, message in _other_frequencies(subject).items():
        yield Observation(subject.at_tensor(name), message)


def _other_frequencies(subject: Subject) -> dict[str, str]:
    """How each stored inv_freq departs from the formula's, by stored name; empty where the formula is not known."""
    config = subject.config_or_none
    if config is None or not config.rope.has_frequencies:
        return {}
    wanted, departures = inv_freq(config.rope, config.head_size), {}
    for name, tensor in subject.checkpoint.tensors.items():
        if name.rpartition(".")[2] in ("inv_freq", "original_inv_freq") and tensor.dtype in _SAME:
            departures[name] = _departure(_numbers(tensor), wanted, _SAME[tensor.dtype])
    return {name: message for name, message in departures.items() if message}


def _departure(found: Sequence[float], wanted: Sequence[float], tolerance: float) -> str:
    if len(found) != len(wanted):
        return f"{len(found)} frequencies, the rope of the config has {len(wanted)}"
    for at, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if abs(one - other) > tolerance * other:
            return f"frequency {at} is {one:.6g}, the rope of the config gives {other:.6g}"
    return ""


def _numbers(tensor: StoredTensor) -> list[float]:
    """All numbers of a small vector; none of one that is too large to be a rope's."""
    if len(tensor.shape) != 1 or not 0 < tensor.shape[0] <= _MOST_PAIRS:
        return []
    return list(numbers(read_rows(tensor, 0, tensor.shape[0]), tensor.dtype) or ())
