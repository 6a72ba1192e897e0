"""GTE600 to GTE615, GTE660, GTE661: what transformers 5, transformers 4 and Trainer will refuse or misread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gte_surgery.checkpoint.sidecars import TOKENIZER_CONFIG
from gte_surgery.checks.maths import code_of, local_code
from gte_surgery.checks.registry import Observation, rule, shown
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.rules.programs.sentence_transformers import unpadded
from gte_surgery.checks.rules.tensors import READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.alternating import THETAS
from gte_surgery.gte.kinds import Consumer, Dialect
from gte_surgery.gte.rope import Rope
from gte_surgery.gte.wording import either, listed

_NEW = f"--for {Consumer.TRANSFORMERS_5.value}"
_OLD = f"--for {Consumer.TRANSFORMERS_4.value}"
_TRAINER = f"--for {Consumer.TRAINER.value}"
_FLOATS = ("initializer_range", "initializer_cutoff_factor", "layer_norm_eps", "norm_eps")
"""Members of configs that transformers 5 declares as floats and nothing else."""


class _Otherwise(NamedTuple):
    """A member that transformers 4 takes otherwise than 5: which values it takes alike, what it says of others."""

    key: str
    takes: Callable[[object], bool]
    does: str
    hint: str = ""


_ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")
_OF_ROPE = (
    _Otherwise(
        "partial_rotary_factor", lambda value: value == 1,
        "transformers 4 turns that part of each head and stops at the first text", "take it out: 5 does not read it",
    ),
    _Otherwise(
        "rope_scaling",
        lambda value: not isinstance(value, Mapping) or value.get("rope_type", value.get("type")) in _ROPE_TYPES,
        f'transformers 4 needs a "rope_type" in it: {either(_ROPE_TYPES)}',
    ),
)  # fmt: skip
"""Of config.json, where transformers turns by a rope of its own."""
_OF_CONFIG = (
    _Otherwise(
        "pruned_heads",
        lambda value: not value,
        "transformers 4 takes these off whole weights, and stops",
        "take it out",
    ),
    *(
        _Otherwise(key, lambda value: value not in ("hardswish", "sqrtsoftplus"), "which transformers 4 does not have")
        for key in ("hidden_act", "hidden_activation", "classifier_activation")
    ),
)
_OF_TOKENIZER = (
    _Otherwise(
        "tokenizer_class", lambda value: not str(value).endswith("Backend"),
        "a class that transformers 4 does not have", 'write "tokenizer_class": "PreTrainedTokenizerFast"',
    ),
    _Otherwise(
        "extra_special_tokens", lambda value: not isinstance(value, list),
        "transformers 4 stops at a list", 'call it "additional_special_tokens"',
    ),
)  # fmt: skip


@rule("GTE600", Severity.ERROR, requires=SOUND, only_with=_NEW)
def remote_on_transformers_5(subject: Subject) -> Iterator[Observation]:
    """transformers 5 cannot run the remote code of this checkpoint.

    It builds models without memory and leaves the remote code's buffers uninitialised: position numbers are
    garbage, so that it stops with an IndexError, on CUDA with an assertion, or gives nonsense in silence. The
    masked-LM decoder is left random as well. `gte-surgery convert CKPT --to native` makes it a config that
    transformers 5.18 runs itself [transformers 5.24, modeling_utils.py, get_init_context].
    """
    if subject.dialect is Dialect.REMOTE:
        message = f'{shown(subject.values.get("model_type"))}, transformers 5 runs this model only as "gte"'
        yield Observation(subject.at("model_type"), message, "gte-surgery convert CKPT --to native")


@rule("GTE601", Severity.ERROR, requires=(*SOUND, "GTE121"), only_with=_NEW)
def renamed_beyond_native(subject: Subject) -> Iterator[Observation]:
    """transformers 5 takes this config for its own model's, which cannot do what it asks for.

    model_type "gte" is transformers' own GteModel from 5.18 on. It has LayerNorm, rotary positions and packed q, k,
    v only; it reads past other wishes and builds another network than the one that was trained [transformers 5.24,
    models/gte/configuration_gte.py, GteConfig].
    """
    if subject.dialect is not Dialect.RENAMED:
        return
    for key, only in subject.family.facts.fixed:
        found = getattr(subject.config, key)
        if found != only:
            yield Observation(subject.at(key), f"{shown(found)}, transformers 5 knows {shown(only)} only")


@rule("GTE602", Severity.WARNING, requires=READABLE, only_with=_NEW)
def class_unknown_to_transformers_5(subject: Subject) -> Iterator[Observation]:
    """`architectures` names a class that transformers 5 does not have.

    Its classes are GteModel, GteForMaskedLM, GteForSequenceClassification and GteForTokenClassification. Programs
    that choose the class by this key stop, or load the encoder without its head. `gte-surgery convert CKPT --to
    native` writes the right one [transformers 5.24, models/auto/modeling_auto.py, MODEL_MAPPING_NAMES].
    """
    if subject.dialect is Dialect.REMOTE:
        return  # GTE600 says it all
    native = subject.family.native
    known = [native.architecture(head) for head in native.heads] if native is not None else []
    strange = [name for name in subject.config.architectures if name not in known]
    if strange:
        yield Observation(subject.at("architectures"), f"{listed(strange)}, transformers 5 has {listed(known)}")


@rule("GTE603", Severity.ERROR, requires=SOUND, only_with=_NEW)
def whole_numbers_for_transformers_5(subject: Subject) -> Iterator[Observation]:
    """transformers 5 refuses a whole number here.

    Its config classes hold some members to be floats and stop with a StrictDataclassFieldValidationError at an integer.
    A tool that writes JSON anew (jq, JavaScript) makes `2` of `2.0`. Write it with a fraction [transformers 5.24,
    configuration_utils.py, PreTrainedConfig].
    """
    known = subject.family.known_keys or frozenset[str]()
    unread = {"layer_norm_eps"} if "norm_eps" in known else set[str]()  # rides along in ModernBERT's published configs
    for key in _FLOATS:
        value = subject.values.get(key)
        if type(value) is int and subject.dialect is not Dialect.REMOTE and key in known - unread:
            yield Observation(subject.at(key), f"{value}, must have a fraction: {value}.0")


@rule("GTE610", Severity.ERROR, requires=SOUND, only_with=_OLD)
def native_on_transformers_4(subject: Subject) -> Iterator[Observation]:
    """transformers 4 does not know this dialect.

    GteModel came with transformers 5.18; before, "gte" is an unknown model type, and the remote code does not read
    `rope_parameters`. `gte-surgery convert CKPT --to remote` makes it the published dialect. ModernBERT it has, and
    reads the old keys alone, with the usual thetas where they are absent: write both alike [transformers 4.57.6,
    models/auto/configuration_auto.py, CONFIG_MAPPING_NAMES].
    """
    yield from passed_over(subject, Consumer.TRANSFORMERS_4)
    native = subject.family.native
    if subject.dialect is Dialect.NATIVE and native is not None and not native.is_in_transformers_4:
        message = f"{shown(subject.values['model_type'])} in the native dialect, transformers 4 needs the remote one"
        yield Observation(subject.at("model_type"), message, "gte-surgery convert CKPT --to remote")


def passed_over(subject: Subject, consumer: Consumer) -> Iterator[Observation]:
    """Where a program that takes some members otherwise builds another network than they say."""
    asked, config = subject.family.asked_by(consumer), subject.config
    if asked.reads is None:
        return
    read = subject.family.read_config(asked.reads(subject.values))
    ours, its = (config.rope, config.local_rope), (read.rope, read.local_rope)
    if ours != its and not any(rope.refusal for rope in (*ours, *its) if rope is not None):
        kinds = {rope.kind for rope in (*ours, *its) if rope is not None}
        told = ", ".join(f'"{key}": {shown(value)}' for key, value in asked.effective(config).items())
        turns = " and ".join(_turning(rope) for rope in its if rope is not None)
        message = f"{consumer.value} takes it otherwise, and turns by {turns}"
        yield Observation(
            subject.at(_cause(subject)), message, f"write {told} beside it" if kinds == {"default"} else ""
        )
    if read.layer_types != config.layer_types:
        message = f"{consumer.value} does not read it, and takes every so many layers for full attention"
        yield Observation(subject.at("layer_types"), message, "write global_attn_every_n_layers alike")


def _turning(rope: Rope) -> str:
    return f"the theta {rope.theta:g}" + (f' of type "{rope.rope_type}"' if rope.rope_type else "")


def _cause(subject: Subject) -> str:
    """The member that is taken otherwise."""
    keys = ("rope_scaling", "rope_parameters", *(key for key, _ in THETAS.values()))
    return next((key for key in keys if subject.values.get(key)), keys[-1])


@rule("GTE611", Severity.ERROR, requires=SOUND, only_with=_OLD)
def no_code_for_transformers_4(subject: Subject) -> Iterator[Observation]:
    """transformers 4 finds no code for this model.

    It has no GTE of its own: `auto_map` must say where the code is, at least that of the config (AutoConfig) and of
    the model (AutoModel). Copy the key from the release's config.json [transformers 4.57.6,
    models/auto/auto_factory.py, from_pretrained].
    """
    if subject.dialect is Dialect.NATIVE:
        return
    mapped = subject.values.get("auto_map")
    lacking = [name for name in ("AutoConfig", "AutoModel") if not isinstance(mapped, dict) or name not in mapped]
    if lacking:
        yield Observation(subject.at("auto_map"), f"has no {listed(lacking)}, transformers 4 needs to find the code")


@rule("GTE612", Severity.ERROR, requires=SOUND, only_with=_OLD)
def code_not_here(subject: Subject) -> Iterator[Observation]:
    """`auto_map` points to code in this directory that is not here.

    Without a repository before "--" the module is a file beside config.json. Copy it from the release, or name the
    repository that has it: "Alibaba-NLP/new-impl--modeling.NewModel" [transformers 4.57.6, dynamic_module_utils.py,
    get_cached_module_file].
    """
    absent = [name for name in local_code(subject.checkpoint) if not subject.checkpoint.has(name)]
    if absent and subject.dialect is not Dialect.NATIVE:
        yield Observation(subject.at("auto_map"), f"{listed(absent)}: named here, but not in the directory")


@rule("GTE613", Severity.ERROR, requires=(*SOUND, "GTE0"), only_with=_OLD)
def format_unstated(subject: Subject) -> Iterator[Observation]:
    """transformers 4 refuses weights whose header does not say "format": "pt".

    Without metadata 4.41 stops with an AttributeError; with an empty one or another format every version does
    [transformers 4.41.2 and 4.57.6, modeling_utils.py, load_state_dict]. Any surgery that writes the file states it:
    `gte-surgery convert CKPT --shard-size 5GB`.
    """
    for shard in subject.checkpoint.shards:
        metadata = shard.header.metadata if shard.header is not None else ()
        stated = dict(metadata or ()).get("format")
        if stated != "pt":
            found = "no metadata" if metadata is None else f'"format" is {shown(stated) if stated else "absent"}'
            place = Location(file=shard.file.name)
            yield Observation(place, f'{found}, must be "pt"', "gte-surgery convert CKPT --shard-size 5GB")


@rule("GTE614", Severity.ERROR, requires=(*SOUND, "GTE612"), only_with=_OLD)
def class_not_in_code(subject: Subject) -> Iterator[Observation]:
    """The code that lies here has no class of the name that `auto_map` says.

    transformers 4 imports the file and asks for the class: it stops with an AttributeError [transformers 4.57.6,
    dynamic_module_utils.py, get_class_in_module]. Correct the name, or copy the file that has the class.
    """
    mapped = subject.values.get("auto_map")
    for auto, value in mapped.items() if isinstance(mapped, dict) and subject.dialect is not Dialect.NATIVE else ():
        if not isinstance(value, str) or "--" in value:
            continue
        module, _, name = value.rpartition(".")
        code = code_of(subject.checkpoint, f"{module.replace('.', '/')}.py")
        word = re.escape(name)
        defines = rf"^(class|def)\s+{word}\b|^{word}\s*=|\bimport\b.*\b{word}\b"
        if code is not None and not re.search(defines, code, re.M):
            yield Observation(subject.at_pointer(f"/auto_map/{auto}"), f"{shown(value)}, but the file has no {name}")


@rule("GTE615", Severity.ERROR, requires=SOUND, only_with=_OLD)
def otherwise_in_transformers_4(subject: Subject) -> Iterator[Observation]:
    """transformers 4 stops at a member that transformers 5 takes.

    A save by transformers 5 carries what older ones do not know: "TokenizersBackend" as the tokenizer's class, its
    extra special tokens as a list, activations of its own. And it passes over what they still obey:
    partial_rotary_factor, pruned_heads, a rope_scaling without a type. The hint says what both take [transformers
    4.57.6, models/auto/tokenization_auto.py, AutoTokenizer; tokenization_utils_base.py, SpecialTokensMixin;
    modeling_rope_utils.py, ROPE_INIT_FUNCTIONS; activations.py, ACT2FN; modeling_utils.py, init_weights].
    """
    native, settings = subject.family.native, subject.settings(TOKENIZER_CONFIG)
    turns = native is not None and native.is_in_transformers_4 and subject.config.rope.kind != "none"
    for each in (*(_OF_ROPE if turns else ()), *_OF_CONFIG):
        if each.key in subject.values and not each.takes(value := subject.values[each.key]):
            yield Observation(subject.at(each.key), f"{shown(value)}, {each.does}", each.hint)
    for each in _OF_TOKENIZER:
        if each.key in settings.members and not each.takes(value := settings.members[each.key]):
            yield Observation(settings.location(f"/{each.key}"), f"{shown(value)}, {each.does}", each.hint)


@rule("GTE660", Severity.ERROR, requires=READABLE, only_with=_TRAINER)
def names_lost_on_resume(subject: Subject) -> Iterator[Observation]:
    """Trainer's resume does not restore tensors of these names.

    `resume_from_checkpoint` and `load_best_model_at_end` load the state dict as it is, without the renaming that
    from_pretrained does [transformers 5.24, trainer.py, _load_from_checkpoint]: of a native model under published names
    most tensors keep the values that they had, with one line in the log. `gte-surgery convert CKPT --layout f` gives
    them the names of the model's own parameters, which outlive every load and save.
    """
    native, layout = subject.family.native, subject.layout
    if native is None or layout is None or subject.dialect is not Dialect.NATIVE:
        return
    wanted = native.layout(subject.head)
    own = {spec.name for spec in subject.family.inventory(subject.config, wanted, subject.head)}
    restored = len(own & set(subject.checkpoint.tensors))
    if restored < len(own):
        message = f"layout {layout.letter}: a resume restores {restored} of {len(own)} tensors"
        yield Observation(Location(), message, f"gte-surgery convert CKPT --layout {wanted.letter}")


@rule("GTE661", Severity.WARNING, requires=("GTE300", "GTE318"), only_with=_TRAINER)
def nothing_to_pad_with(subject: Subject) -> Iterator[Observation]:
    """Trainer's collator has no token to pad with.

    With a tokenizer as its processing_class it pads by that tokenizer, and stops at the first batch with a ValueError
    where no pad token is named; with a collator of your own it does not ask [transformers 5.24, trainer.py, Trainer;
    data/data_collator.py, DataCollatorWithPadding].
    """
    yield from unpadded(subject)
