"""GTE115 to GTE119 and GTE210 to GTE219: tensor names, and whether the loader that the config calls for knows them.

Which layouts there are is for the family. GTE200 comes first: without a layout no tensor can be named.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.checkpoint.restated import renamed
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.run import soundness_errors
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.wording import either, listed
from gte_surgery.gte.wrappers import FLAT, UNMERGED, Wrapper, is_flat, is_unmerged, unwrapped, wrapper_of

_CONTAINER = ("GTE0",)
_MENDED = "`gte-surgery check CKPT --fix` mends it"
_READABLE = (*_CONTAINER, "GTE101", "GTE102", "GTE105", "GTE114", "GTE200")


@rule("GTE200", Severity.ERROR, requires=_CONTAINER)
def layout_unknown(subject: Subject) -> Iterator[Observation]:
    """The tensor names are not those of a GTE.

    Word embeddings were looked for under every prefix that a GTE is saved with, and exactly one layout must fit. The
    model was saved inside a wrapper (torch.compile, DistributedDataParallel, PEFT, sentence-transformers), whose prefix
    `gte-surgery convert CKPT --strip-prefix PREFIX` takes off; or the weights are another model's; or two saves were
    mixed. transformers leaves what it cannot find at random values, with a warning.
    """
    if subject.dialect is None:
        return  # of another architecture, or of none that is told: its names are not ours to judge
    stored, words, prefixes = subject.checkpoint.tensors, subject.names.words, subject.family.naming.prefixes
    tables = [prefix + words for prefix in prefixes if prefix + words in stored]
    if (wrapper := wrapper_of(subject.family, stored)) is not None:
        yield Observation(weights_as_a_whole(subject), wrapper.told, _way_out(subject, wrapper))
        return
    if subject.layout is not None:
        return
    if tables:
        message = f"names of two layouts are mixed evenly, around {listed([f'`{name}`' for name in tables])}"
    else:
        names = listed([f"`{name}`" for name in sorted(stored)]) or "no tensors"
        known = either([*(prefix for prefix in prefixes if prefix.count(".") == 1), "none"])
        message = f"no `{words}` under any of the prefixes {known}; found {names}"
    yield Observation(weights_as_a_whole(subject), message, FLAT if is_flat(stored) else "")


def _way_out(subject: Subject, wrapper: Wrapper) -> str:
    """What takes a wrapper's prefix off; beside other faults the one command that is let, and what that leaves."""
    if is_unmerged(subject.checkpoint.tensors):
        return UNMERGED
    bare = renamed(subject.checkpoint, lambda name: unwrapped(name, wrapper.prefix))
    errors = soundness_errors(bare, ("GTE2",))
    if not errors and not subject.violations:
        return f"gte-surgery convert CKPT --strip-prefix {wrapper.prefix}"
    seen = next((f"; what stays to mend: {error}" for error in errors if error.code != "GTE209"), "")
    return f"gte-surgery check CKPT --fix{seen}"


@rule("GTE115", Severity.ERROR, requires=_READABLE)
def head_not_stored(subject: Subject) -> Iterator[Observation]:
    """`architectures` names a head that is not stored.

    A loader that goes by it (AutoModelForSequenceClassification and the like, vLLM, text-embeddings-inference) makes
    the head from random numbers, with a warning at most. Name the class that fits the stored tensors, or restore the
    head.
    """
    declared = _declared_heads(subject)
    if declared and subject.head not in declared and Head.NONE not in declared:
        yield _head_observation(subject, "whose tensors are not all stored")


@rule("GTE116", Severity.WARNING, requires=_READABLE)
def head_not_declared(subject: Subject) -> Iterator[Observation]:
    """A head is stored that `architectures` does not name.

    Loaders that go by `architectures` read the encoder and drop the head. Add the class name, or remove the head's
    tensors if they are left over.
    """
    declared = _declared_heads(subject)
    if declared and subject.head not in declared and Head.NONE in declared:
        yield _head_observation(subject, "which leaves the stored head out")


@rule("GTE210", Severity.ERROR, requires=_CONTAINER)
def doubled_prefix(subject: Subject) -> Iterator[Observation]:
    """The tensor names carry the doubled prefix `new.gte.`.

    A head model of transformers 5 was loaded from a published checkpoint and saved again. transformers 5 reads its own
    names back; transformers 4 with the remote code, vLLM and text-embeddings-inference find none of them, and
    transformers 4 then trains random weights with no more than a warning. `gte-surgery convert CKPT --to native` gives
    every tensor a name that outlives loading and saving, `--layout b` its published one.
    """
    if subject.layout is not None and subject.layout.letter == "c":
        yield _name_observation(
            subject, "`new.gte.`, must be `new.`", f"transformers 5 saved what it had loaded; {_MENDED}"
        )


@rule("GTE211", Severity.ERROR, requires=_CONTAINER)
def renamed_head_norm(subject: Subject) -> Iterator[Observation]:
    """The masked-LM head has transformers' own names while the encoder has the original ones.

    `lm_head.layer_norm` beside `gte.encoder.layer`: transformers 5 made it from a bare checkpoint and reads it back;
    everything else leaves the head's norm at its initial values or stops. `gte-surgery convert CKPT --to native` gives
    all tensors names of one kind, `--layout d` the two their published ones.
    """
    layout = subject.layout
    if layout is not None and not layout.is_renamed and layout.head_norm == "layer_norm" and layout.letter != "c":
        wrong = "`lm_head.layer_norm`, must be `lm_head.norm` beside `encoder.layer`"
        yield _name_observation(subject, wrong, f"transformers 5 put a new head on a bare model; {_MENDED}")


@rule("GTE212", Severity.NOTE, requires=_CONTAINER)
def transformers_names(subject: Subject) -> Iterator[Observation]:
    """The tensors have transformers' own names.

    Saved with `save_original_format=False`: `layers.0.self_attn.q_proj` and so on. transformers from 5.18 on reads
    them, nothing else does. `gte-surgery convert CKPT --to native` gives them the published names. With a head it is no
    finding: these names alone outlive loading and saving then, and servers are asked about with `--for`.
    """
    if subject.layout is not None and subject.layout.is_renamed and subject.head is Head.NONE:
        yield _name_observation(subject, "`layers.N.self_attn`, which only transformers 5.18 and later read")


@rule("GTE213", Severity.ERROR, requires=_READABLE)
def names_foreign_to_dialect(subject: Subject) -> Iterator[Observation]:
    """The config calls for the remote code, the names are those of transformers' own model.

    The remote code looks for `new.encoder.layer` or `encoder.layer`. It finds nothing, and makes the whole network
    from random numbers with no more than a warning. Take the config that was saved with these weights: model_type
    "gte", with `rope_parameters`; or let `gte-surgery convert CKPT --to remote` rename the tensors.
    """
    layout, dialect = subject.layout, subject.dialect
    if layout is None or layout.is_damaged or dialect is None or dialect is Dialect.NATIVE:
        return
    if layout.is_renamed or (layout.prefix == "gte." and dialect is Dialect.REMOTE):
        body = "layers" if layout.is_renamed else "encoder.layer"
        wanted = f"`{layout.prefix}{body}`, must be `new.encoder.layer` or `encoder.layer` for model_type"
        yield _name_observation(subject, f"{wanted} {subject.values.get('model_type')}")


@rule("GTE214", Severity.ERROR, requires=_READABLE)
def storage_contradicts_config(subject: Subject) -> Iterator[Observation]:
    """q, k and v are stored packed where the config says apart, or the other way round.

    The loader looks for the names that the config implies, misses the attention of every layer and fills it with
    random numbers. In the remote dialect set pack_qkv to what is stored. The native dialect wants them packed, the
    rows of q, then of k, then of v, in one qkv_proj, or under its own names: `gte-surgery convert CKPT --to native`.
    """
    config, layout = subject.config, subject.layout
    if layout is None or layout.is_renamed or layout.has_split_qkv != config.pack_qkv:
        return
    found, wanted = ("apart", "packed") if layout.has_split_qkv else ("packed", "apart")
    said = "the native dialect" if config.dialect is Dialect.NATIVE else f"pack_qkv {str(config.pack_qkv).lower()}"
    yield Observation(subject.at("pack_qkv"), f"q, k and v are stored {found}, must be {wanted} for {said}")


@rule("GTE215", Severity.ERROR, requires=_CONTAINER)
def norms_of_tensorflow(subject: Subject) -> Iterator[Observation]:
    """The norms have the tensor names of TensorFlow, gamma and beta.

    An old conversion of a BERT left them so. transformers and text-embeddings-inference read them as weight and bias;
    vLLM passes over them, and Trainer's resume leaves the norms as they were [transformers 5.24, conversion_mapping.py,
    "legacy"; vLLM 002b4cf8, models/bert.py, _load_weights]. `gte-surgery check CKPT --fix` gives them their names.
    """
    if subject.layout is not None and subject.layout.has_old_norms:
        old = next(name for name in sorted(subject.checkpoint.tensors) if name.endswith((".gamma", ".beta")))
        yield _name_observation(subject, f"`{old}`, must be weight and bias", "gte-surgery check CKPT --fix")


def _declared_heads(subject: Subject) -> frozenset[Head]:
    """The heads of the classes in `architectures`; classes that no GTE has are passed over."""
    heads = map(subject.family.head_of_class, subject.config.architectures)
    return frozenset(head for head in heads if head is not None)


def _head_observation(subject: Subject, problem: str) -> Observation:
    names = listed(subject.config.architectures)
    dialect = subject.dialect or Dialect.REMOTE
    wanted = subject.family.architecture(subject.head, dialect)
    return Observation(subject.at("architectures"), f"{names}, {problem}; the tensors are those of {wanted}")


def _name_observation(subject: Subject, found: str, hint: str = "") -> Observation:
    return Observation(weights_as_a_whole(subject), f"the names have {found}", hint)


def weights_as_a_whole(subject: Subject) -> Location:
    """The weights as a whole: the one file that holds them, or no file in particular."""
    shards = subject.checkpoint.shards
    return Location(file=shards[0].file.name if len(shards) == 1 else "")
