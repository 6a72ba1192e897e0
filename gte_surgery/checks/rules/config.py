"""GTE100 to GTE119 and GTE140 to GTE149: what config.json says, apart from its rope.

The JSON Schemas hold what can be said of one key at a time; the rules here hold what binds several, and what is legal
but does not do what it seems to.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.gte.families import stranger, unknown_config
from gte_surgery.gte.family import Family
from gte_surgery.gte.fields import Values
from gte_surgery.gte.kinds import Dialect

PARSED = ("GTE001", "GTE002", "GTE003", "GTE101")
"""What must hold before the members of config.json can be asked for."""
SOUND = (*PARSED, "GTE102", "GTE105")
"""What must hold before a model can be made of them."""
AFFIRMATIVE = ("true", "1", "yes", "on")
"""Strings that say on when they stand for a flag."""
_REFERENCE_ONLY = ("unpad_inputs", "use_memory_efficient_attention")


@rule("GTE101", Severity.ERROR, requires=("GTE001", "GTE002", "GTE003", "GTE006"))
def not_a_gte(subject: Subject) -> Iterator[Observation]:
    """config.json describes no GTE.

    `model_type` must be "new" (the published configs of 2024, read by remote code), "gte" (the same for transformers
    5.18 and later, and Snowflake's configs), "bert" (the first generation) or "modernbert". Any other value is another
    architecture, with other tensors: nothing further can be judged.
    """
    if subject.dialect is None:
        found, hint = unknown_config(subject.values)
        is_known = bool(stranger(subject.values))
        yield Observation(subject.at("model_type"), found.replace("missing", "absent"), hint if is_known else "")


@rule("GTE102", Severity.ERROR, requires=PARSED)
def schema_violation(subject: Subject) -> Iterator[Observation]:
    """config.json breaks its schema.

    A key is missing, has the wrong type or lies out of range. transformers checks little of this: it takes vocab_size
    -5 and fails later, or trains something else than you meant. `gte-surgery schema config.native` (or config.remote)
    prints what is allowed.
    """
    judged_elsewhere = {f"/{flag}" for flag, _ in flag_strings(subject.family, subject.values)} | {"/rope_scaling/type"}
    for violation in subject.violations:
        if violation.pointer not in judged_elsewhere:
            yield Observation(subject.at_pointer(violation.pointer), violation.message, violation.hint)


@rule("GTE103", Severity.ERROR, requires=PARSED)
def flag_string_negative(subject: Subject) -> Iterator[Observation]:
    """A flag is a string, and switched on by saying off.

    Python takes every non-empty string for true, so `"false"` in quotes switches the flag on, without a word. Write
    true or false without quotes.
    """
    for flag, text in flag_strings(subject.family, subject.values):
        if text.lower() not in AFFIRMATIVE:
            effect = "on" if text else "off"
            found = f"the string {shown(text)}, which switches it {effect}; must be true or false"
            yield Observation(subject.at(flag), found, "write it without quotes")


@rule("GTE104", Severity.WARNING, requires=PARSED)
def flag_string_affirmative(subject: Subject) -> Iterator[Observation]:
    """A flag is a string that happens to mean what it says.

    `"true"` in quotes works in Python, where every non-empty string is true, and Snowflake published it so. Loaders in
    other languages refuse it, and whoever edits it to `"false"` switches nothing off. Write true without quotes.
    """
    for flag, text in flag_strings(subject.family, subject.values):
        if text.lower() in AFFIRMATIVE:
            yield Observation(subject.at(flag), f"the string {shown(text)}, must be true", "write it without quotes")


@rule("GTE105", Severity.ERROR, requires=(*PARSED, "GTE102", "GTE111"))
def config_unusable(subject: Subject) -> Iterator[Observation]:
    """config.json cannot be read as a GTE's, although each key alone is allowed.

    The message names the key. Compare it with the config of the release that the checkpoint comes from.
    """
    if (error := subject.config_error) is not None:
        key, _, problem = error.message.partition(": ")
        is_key = key in subject.values and problem
        yield Observation(subject.at(key if is_key else ""), problem if is_key else error.message, error.hint)


@rule("GTE110", Severity.ERROR, requires=(*PARSED, "GTE102"))
def pad_outside_vocabulary(subject: Subject) -> Iterator[Observation]:
    """The pad id lies outside the vocabulary.

    transformers stops with an AssertionError when it makes the embedding table. It comes from shrinking a vocabulary
    below the pad id: such a checkpoint saves without complaint and fails on its next load. Choose a pad id below
    vocab_size: `gte-surgery resize CKPT --vocab N --pad ID`.
    """
    pad, rows = subject.values.get("pad_token_id"), subject.values.get("vocab_size")
    if isinstance(pad, int) and isinstance(rows, int) and pad >= rows:
        hint = f"{subject.resized(rows)}; any id from 0 to {rows - 1} will do, and its row becomes zero"
        yield Observation(subject.at("pad_token_id"), f"{pad}, must be below vocab_size {rows}", hint)


@rule("GTE111", Severity.ERROR, requires=(*PARSED, "GTE102"))
def heads_do_not_divide(subject: Subject) -> Iterator[Observation]:
    """hidden_size cannot be split evenly among the attention heads.

    Each head works on hidden_size / num_attention_heads numbers, and rotary positions turn them in pairs: the quotient
    must be whole and even. Loaders stop, or round and shape the attention wrongly. Every release has a head size of 64.
    """
    hidden, heads = subject.values.get("hidden_size"), subject.values.get("num_attention_heads")
    if not isinstance(hidden, int) or not isinstance(heads, int) or heads < 1:
        return
    if hidden % heads:
        yield Observation(subject.at("num_attention_heads"), f"{heads}, must divide hidden_size {hidden}")
    elif hidden // heads % 2:
        wanted = f"{heads} heads of size {hidden // heads} (hidden_size {hidden}), must be of an even size"
        yield Observation(subject.at("num_attention_heads"), wanted)


@rule("GTE112", Severity.WARNING, requires=(*PARSED, "GTE102"))
def vocabulary_not_rounded(subject: Subject) -> Iterator[Observation]:
    """vocab_size is not a multiple of 64.

    Nothing is wrong with the result, but matrix products over the vocabulary (masked-LM training above all) run on
    slower GPU kernels. All releases are rounded up. `gte-surgery resize CKPT --vocab N --round-to 64` adds spare rows.
    """
    rows = subject.values.get("vocab_size")
    multiple = subject.family.facts.row_multiple
    if isinstance(rows, int) and multiple is not None and rows % multiple:
        found = f"{rows}, not a multiple of {multiple}; the next one is {-(-rows // multiple) * multiple}"
        yield Observation(subject.at("vocab_size"), found)


@rule("GTE113", Severity.WARNING, requires=(*PARSED, "GTE102"))
def pad_unstated(subject: Subject) -> Iterator[Observation]:
    """config.json states no pad id.

    Null means no padding row at all: whatever token you pad with gets trained. An absent key means the same to the
    remote code, but to transformers' own GteModel id 1, silently. State pad_token_id, the id that your batches are
    padded with.
    """
    if subject.values.get("pad_token_id") is None:
        is_default = subject.dialect is Dialect.NATIVE and "pad_token_id" not in subject.values
        found = "null" if "pad_token_id" in subject.values else "absent"
        silent = f"transformers takes {subject.family.facts.default_pad}"
        meaning = silent if is_default else "no row is exempt from training"
        yield Observation(
            subject.at("pad_token_id"), f"{found}, {meaning}; must be the id that batches are padded with"
        )


@rule("GTE107", Severity.ERROR, requires=(*PARSED, "GTE102", "GTE105"))
def pad_outside_positions(subject: Subject) -> Iterator[Observation]:
    """The pad id lies outside the table of absolute positions.

    The remote code gives its position table the same padding_idx as its words [new-impl modeling.py, NewEmbeddings]: a
    pad id from max_position_embeddings on stops it with an AssertionError before any weight is read. Choose a smaller
    pad id: `gte-surgery resize CKPT --vocab N --pad ID`.
    """
    config = subject.config
    if config.pad_token_id is None or not subject.family.pads_positions(config):
        return
    if config.pad_token_id >= config.max_position_embeddings:
        message = f"{config.pad_token_id}, must be below max_position_embeddings {config.max_position_embeddings}"
        yield Observation(subject.at("pad_token_id"), f"{message}: positions are absolute")


@rule("GTE114", Severity.ERROR, requires=(*PARSED, "GTE102"))
def inexpressible_natively(subject: Subject) -> Iterator[Observation]:
    """A native config asks for what the native model does not have.

    transformers' own GteModel always uses LayerNorm, rotary positions and packed q, k, v. It carries other wishes along
    unread and builds the standard network: weights trained otherwise give nonsense, or are left random. Use the remote
    dialect (`model_type` "new") for them.
    """
    if subject.dialect is not Dialect.NATIVE:
        return
    strings = dict(flag_strings(subject.family, subject.values))
    for key, only in subject.family.facts.fixed:
        value = subject.values.get(key, only)
        if value != only and key not in strings:
            yield Observation(subject.at(key), f"{shown(value)}, must be {shown(only)} in the native dialect")


@rule("GTE140", Severity.NOTE, requires=PARSED)
def code_from_the_hub(subject: Subject) -> Iterator[Observation]:
    """The config names code to be fetched and run.

    With `trust_remote_code=True`, transformers downloads the modules that `auto_map` names and runs them with your
    rights. On transformers 5 that code no longer works: its position buffers stay uninitialised. gte-surgery never runs
    it; a native config needs none.
    """
    auto_map = subject.values.get("auto_map")
    if isinstance(auto_map, dict) and auto_map:
        modules = sorted({str(value).rpartition("--")[0] or "this directory" for value in auto_map.values()})
        yield Observation(subject.at("auto_map"), f"takes code from {', '.join(modules)}")


@rule("GTE141", Severity.WARNING, requires=(*PARSED, "GTE102", "GTE103"))
def unpadding_alone(subject: Subject) -> Iterator[Observation]:
    """The remote code is told to unpad, but without the attention that gains from it.

    `unpad_inputs` without `use_memory_efficient_attention` packs the tokens, pads them again in every layer for the
    attention, and packs them again: slower than either setting alone. Set both to true (CUDA and xformers needed), or
    neither.
    """
    unpads, efficient = (bool(subject.values.get(key)) for key in _REFERENCE_ONLY)
    if subject.dialect is not Dialect.NATIVE and unpads and not efficient:
        yield Observation(subject.at("unpad_inputs"), "true, needs use_memory_efficient_attention to be true as well")


@rule("GTE142", Severity.NOTE, requires=PARSED)
def flags_without_effect(subject: Subject) -> Iterator[Observation]:
    """A flag is set that does nothing.

    The published code reads `logn_attention_scale` and `logn_attention_clip1` and does not act on them; the native
    model ignores those and the remote code's unpadding flags as well. Harmless, unless you counted on the effect.
    """
    idle = subject.family.facts.idle
    for flag in idle.get(subject.dialect, ()) if subject.dialect is not None else ():
        if subject.values.get(flag):
            yield Observation(subject.at(flag), f"{shown(subject.values[flag])}, but it has no effect")


def flag_strings(family: Family, values: Values) -> Iterator[tuple[str, str]]:
    """Each flag that is a string, with it."""
    stated = ((flag, values.get(flag)) for flag in family.facts.flags)
    yield from ((flag, text) for flag, text in stated if isinstance(text, str))
