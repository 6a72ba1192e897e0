"""GTE600 to GTE619 and GTE640 to GTE649: what transformers 5, transformers 4 and sentence-transformers will refuse or
silently misread. Judged only with `--for` and the program's name; what every program minds, other rules say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.listing import is_unsafe
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checkpoint.sidecars import (
    MODE_KEYS,
    MODULES,
    POOLING_CONFIG,
    SAVE_CONFIG,
    SENTENCE_CONFIG,
    WIDTH_KEYS,
    kind_of_save,
    members_of,
    modules,
    name_in,
    width_key,
)
from gte_surgery.checks.maths import code_of, local_code
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.rules.config import SOUND
from gte_surgery.checks.rules.tensors import READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.checks.wording import listed, shown
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.config import Dialect
from gte_surgery.gte.kinds import Consumer, Head
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON, VOCABULARIES

_NEW = f"--for {Consumer.TRANSFORMERS_5.value}"
_OLD = f"--for {Consumer.TRANSFORMERS_4.value}"
_TRAINER = f"--for {Consumer.TRAINER.value}"
_SENTENCES = f"--for {Consumer.SENTENCE_TRANSFORMERS.value}"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FLOATS = ("initializer_range", "initializer_cutoff_factor", "layer_norm_eps", "norm_eps")
"""Members of configs that transformers 5 declares as floats and nothing else."""
_TAKE_VECTORS = ("Pooling", "SpladePooling", "Normalize", "Dense")
"""Kinds of modules that cannot be the first."""
_TASKS = {"CrossEncoder": "sequence-classification", "SparseEncoder": "fill-mask"}
"""`transformer_task` of the saves that have another than "feature-extraction"."""
_OF_TRANSFORMER = {
    "transformer_task", "model_kwargs", "processor_kwargs", "config_kwargs", "processing_kwargs", "backend",
    "modality_config", "module_output_name", "unpad_inputs", "query_length", "document_length", "query_expansion",
    "max_seq_length", "do_lower_case", "tokenizer_name_or_path", "model_args", "tokenizer_args", "config_args",
    "cache_dir",
}  # fmt: skip
"""What sentence-transformers makes a Transformer of; it stops at anything else."""
_OF_POOLING = {*WIDTH_KEYS, *MODE_KEYS.values(), "pooling_mode", "include_prompt"}
_PROMPTS = ("query", "document")
"""Prompts that there are always, empty where none is stated."""
_FILES = {
    "Pooling": (("config.json",),),
    "SpladePooling": (("config.json",),),
    "Dense": (("config.json",), _WEIGHTS),
}
"""Of each kind of module the files that must be in its folder, one of each set."""


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
    if subject.dialect is not Dialect.RENAMED or subject.config is None:
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
    strange = [name for name in (subject.config.architectures if subject.config else ()) if name not in known]
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
    """Where a program that reads other members in place of some builds another network than those say."""
    asked, config = subject.family.asked_by(consumer), subject.config
    if config is None or not asked.passed_over:
        return
    read = subject.family.read_config({k: v for k, v in subject.values.items() if k not in asked.passed_over})
    told = ", ".join(f'"{key}": {shown(value)}' for key, value in asked.effective(config).items())
    if (read.rope, read.local_rope) != (config.rope, config.local_rope):
        thetas = " and ".join(f"{rope.theta:g}" for rope in (read.rope, read.local_rope) if rope is not None)
        message = f"{consumer.value} does not read it, and turns by the thetas {thetas}"
        yield Observation(subject.at("rope_parameters"), message, f"write {told} beside it")
    if read.layer_types != config.layer_types:
        message = f"{consumer.value} does not read it, and takes every so many layers for full attention"
        yield Observation(subject.at("layer_types"), message, "write global_attn_every_n_layers alike")


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


@rule("GTE660", Severity.ERROR, requires=READABLE, only_with=_TRAINER)
def names_lost_on_resume(subject: Subject) -> Iterator[Observation]:
    """Trainer's resume does not restore tensors of these names.

    `resume_from_checkpoint` and `load_best_model_at_end` load the state dict as it is, without the renaming that
    from_pretrained does [transformers 5.24, trainer.py, _load_from_checkpoint]: of a native model under published names
    most tensors keep the values that they had, with one line in the log. `gte-surgery convert CKPT --layout f` gives
    them the names of the model's own parameters, which outlive every load and save.
    """
    native, layout = subject.family.native, subject.layout
    if native is None or layout is None or subject.config is None or subject.dialect is not Dialect.NATIVE:
        return
    wanted = native.layout(subject.head)
    own = {spec.name for spec in subject.family.inventory(subject.config, wanted, subject.head)}
    restored = len(own & set(subject.checkpoint.tensors))
    if restored < len(own):
        message = f"layout {layout.letter}: a resume restores {restored} of {len(own)} tensors"
        yield Observation(Location(), message, f"gte-surgery convert CKPT --layout {wanted.letter}")


@rule("GTE640", Severity.ERROR, requires=("GTE001",), only_with=_SENTENCES)
def no_modules(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers finds no modules.json.

    It then puts mean pooling on top of the model, with no more than a line in the log, and a GTE pooled so gives
    ruined vectors. Copy modules.json and the folder 1_Pooling from the release. Where the directory above has
    modules.json, and the model in this folder, judge that one [sentence-transformers 6.2,
    sentence_transformer/model.py, _load_default_modules].
    """
    is_embedder = subject.head is not Head.SEQUENCE_CLASSIFICATION and subject.family.facts.pooling != "mean"
    checkpoint = subject.checkpoint
    if is_embedder and not checkpoint.has(name_in(checkpoint, MODULES)):
        above = checkpoint.path.parent
        is_nested = checkpoint.snapshot is None and os.path.isfile(above / MODULES)
        hint = pasteable("check", above, "--for", Consumer.SENTENCE_TRANSFORMERS.value) if is_nested else ""
        yield Observation(Location(file=MODULES), "absent, sentence-transformers would pool by mean", hint)


@rule("GTE641", Severity.ERROR, requires=("GTE640",), only_with=_SENTENCES)
def module_not_here(subject: Subject) -> Iterator[Observation]:
    """modules.json does not lead to a transformer and a pooling.

    It must list a Transformer, whose folder is this directory, and a pooling, whose folder holds a config.json;
    what a CrossEncoder saves has the Transformer alone. Of a dense layer config.json and weights must be there.
    What is not listed is not done; a folder that is listed and not here stops the program, or is looked for on the
    hub. Each needs a name, a path and a class of sentence-transformers, or of code that lies here; the first must take
    texts [sentence-transformers 6.2, base/model.py, _load_config_modules].
    """
    document, checkpoint = subject.sidecar(MODULES), subject.checkpoint
    if document is None or not isinstance(document.value, list):
        return
    entries = modules(document)
    yield from _unusable(document, document.value, subject)
    if entries and entries[0].is_own and entries[0].kind in _TAKE_VECTORS:
        yield Observation(document.location("/0/type"), f"{entries[0].kind}, must be what takes texts, a Transformer")
    for entry in entries:
        place = document.location(f"/{entry.number}/path")
        if entry.folder and is_unsafe(entry.folder):
            yield Observation(place, f"{shown(entry.folder)}, must be a folder of this directory")
        elif entry.kind.endswith("Transformer") and entry.folder != (checkpoint.path.name if checkpoint.around else ""):
            yield Observation(place, f"{shown(entry.folder)}, but the model judged here lies in another folder")
        for needed in _FILES.get(entry.kind, ()) if entry.is_own and not is_unsafe(entry.folder) else ():
            files = [f"{entry.folder}/{each}" for each in needed]
            if not any(checkpoint.has(name_in(checkpoint, file)) for file in files):
                yield Observation(place, f"{shown(entry.folder)}, but {files[0]} is absent")
    wanted = ("Transformer",) if kind_of_save(checkpoint) == "CrossEncoder" else ("Transformer", "Pooling")
    lacking = [kind for kind in wanted if not any(entry.kind.endswith(kind) for entry in entries)]
    if lacking:
        yield Observation(document.location(""), f"lists no {listed(lacking)}")


def _unusable(document: Document, listed_modules: list[object], subject: Subject) -> Iterator[Observation]:
    """The entries of a modules.json of which no module is made, whatever lies in their folders."""
    for number, entry in enumerate(listed_modules):
        members = entry if isinstance(entry, dict) else {}
        if absent := [key for key in ("name", "path", "type") if not isinstance(members.get(key), str)]:
            yield Observation(document.location(f"/{number}"), f"has no {listed(absent)}")
            continue
        origin = members["type"].rpartition(".")[0]
        is_here = subject.checkpoint.has(name_in(subject.checkpoint, f"{origin.replace('.', '/')}.py"))
        is_trusted = is_here or "--" in origin or subject.dialect is Dialect.REMOTE  # its code must be trusted anyway
        if not is_trusted and not f"{origin}.".startswith("sentence_transformers."):
            place = document.location(f"/{number}/type")
            yield Observation(
                place, f"{shown(members['type'])}, of neither sentence-transformers nor code that lies here"
            )


@rule("GTE642", Severity.WARNING, requires=("GTE001",), only_with=_SENTENCES)
def no_sequence_length(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers is not told how long texts may be.

    Without max_seq_length in sentence_bert_config.json versions before 5.4 take what the tokenizer says, which may
    be far more than the model's positions, or far less. State it: 8192 for the releases, 512 for those of 2023.
    Newer versions write transformer_task there and take the smaller of the tokenizer's length and the model's
    positions [sentence-transformers 6.2, base/modules/transformer.py, Transformer].
    """
    settings = subject.sidecar(SENTENCE_CONFIG)
    is_new = settings is not None and isinstance(settings.value, dict) and "transformer_task" in settings.value
    if is_new or subject.head is Head.SEQUENCE_CLASSIFICATION:
        return
    length = settings.value.get("max_seq_length") if settings and isinstance(settings.value, dict) else None
    if length is None and SENTENCE_CONFIG not in subject.sidecars:
        yield Observation(Location(file=SENTENCE_CONFIG), "absent, must state max_seq_length")
    elif length is None and settings is not None:
        yield Observation(settings.location("/max_seq_length"), "absent, must be the most tokens of a text")


@rule("GTE643", Severity.ERROR, requires=("GTE001",), only_with=_SENTENCES)
def no_tokenizer(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers finds no tokenizer.

    It tokenizes texts itself and does not load without tokenizer.json, vocab.txt or a sentencepiece model. Copy the
    tokenizer's files here [sentence-transformers 6.2, base/modules/transformer.py, Transformer].
    """
    if not any(subject.checkpoint.has(name) for name in VOCABULARIES):
        yield Observation(Location(file=TOKENIZER_JSON), f"absent, needed is one of {', '.join(VOCABULARIES)}")


@rule("GTE644", Severity.ERROR, requires=("GTE300", "GTE641"), only_with=_SENTENCES)
def pooling_unstated(subject: Subject) -> Iterator[Observation]:
    """The pooling of sentence-transformers is told too little.

    1_Pooling/config.json must state embedding_dimension (before 5.4 word_embedding_dimension), or the program
    stops, as it does at a pooling_mode that it does not know; without a pooling mode it takes the mean, which is
    right for the GTE of 2023 alone. Set the first to hidden_size, and pooling_mode to "cls" (before 5.4
    pooling_mode_cls_token to true) [sentence-transformers 6.2, sentence_transformer/modules/pooling.py, Pooling].
    """
    settings = subject.sidecar(POOLING_CONFIG)
    if settings is None or not isinstance(settings.value, dict):
        return
    hidden = subject.config.hidden_size if subject.config else "hidden_size"
    if width_key(settings.value) not in settings.value:
        yield Observation(settings.location("/word_embedding_dimension"), f"absent, must be {hidden}")
    is_stated = any(key.startswith("pooling_mode") for key in settings.value)
    if not is_stated and subject.family.facts.pooling != "mean":
        yield Observation(settings.location("/pooling_mode_cls_token"), "absent, must be true")
    named = settings.value.get("pooling_mode", [])
    for word in named if isinstance(named, list) else [named]:
        if word not in MODE_KEYS:
            known = f"sentence-transformers knows {listed(list(MODE_KEYS))}"
            yield Observation(settings.location("/pooling_mode"), f"{shown(word)}, {known}")


@rule("GTE645", Severity.ERROR, requires=("GTE300", "GTE641"), only_with=_SENTENCES)
def settings_not_taken(subject: Subject) -> Iterator[Observation]:
    """sentence-transformers cannot make a module of its settings.

    It hands the members of sentence_bert_config.json and of 1_Pooling/config.json to the module and stops with a
    TypeError at one that the module does not take; a max_seq_length that is no number, another transformer_task than
    the save's, and a default_prompt_name without its prompt stop it later. Take the member out, or correct it
    [sentence-transformers 6.2, base/modules/transformer.py, Transformer; base/model.py].
    """
    task = _TASKS.get(kind_of_save(subject.checkpoint), "feature-extraction")
    for name, taken in ((SENTENCE_CONFIG, _OF_TRANSFORMER), (POOLING_CONFIG, _OF_POOLING)):
        settings = subject.sidecar(name)
        if settings is not None and isinstance(settings.value, dict):
            yield from _not_taken(settings, settings.value, taken, task)
    save = members_of(subject.checkpoint, SAVE_CONFIG)
    prompt, prompts = save.get("default_prompt_name"), save.get("prompts")
    if prompt is not None and prompt not in (*_PROMPTS, *(prompts if isinstance(prompts, dict) else ())):
        place = Location(file=name_in(subject.checkpoint, SAVE_CONFIG))
        yield Observation(place, f"/default_prompt_name: {shown(prompt)}, there is no prompt of this name")


def _not_taken(settings: Document, members: dict[str, object], taken: set[str], task: str) -> Iterator[Observation]:
    for key, value in members.items():
        place = settings.location(f"/{key}")
        if key not in taken:
            yield Observation(place, f"{shown(value)}, which the module does not take")
        elif key == "max_seq_length" and value is not None and type(value) is not int:
            yield Observation(place, f"{shown(value)}, must be an integer")
        elif key == "transformer_task" and value != task:
            yield Observation(place, f"{shown(value)}, must be {shown(task)}")
