"""A family: everything that is true of one kind of GTE and not of the others, as a value to be asked.

Names, dialects, tensors, initialisation, positions, heads, releases, and what other programs make of it. The families
that there are stand in `families`; who has a checkpoint has its family (`Subject.family`, `Target.family`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from gte_surgery.errors import RefusedError
from gte_surgery.gte.consumers import Demands
from gte_surgery.gte.fields import GteConfig, Values
from gte_surgery.gte.kinds import SUFFIXES, Consumer, Dialect, Head, Layout
from gte_surgery.gte.rope import Rope, turns_alike
from gte_surgery.gte.tensors import Dim, Part, Symbol, TensorSpec

Members = Callable[[Values, Head, bool], dict[str, object]]
"""The members of a config.json in another dialect, for the same network with this head, and for code that lies beside
it or does not; raises RefusedError for what the dialect cannot express."""


class Names(NamedTuple):
    """Canonical names of the tensors that surgeries speak of, without any prefix."""

    words: str = "embeddings.word_embeddings.weight"
    types: str = "embeddings.token_type_embeddings.weight"
    positions: str = "embeddings.position_embeddings.weight"
    decoder: str = "lm_head.decoder.weight"
    """Of the masked-LM head; tied to the words most often, and then stored by few."""
    biases: tuple[str, ...] = ("lm_head.decoder.bias",)
    """Of the same head, one number a word."""

    @property
    def sized_by_vocabulary(self) -> tuple[str, ...]:
        """The tensors whose first dimension is the vocabulary."""
        return (self.words, self.decoder, *self.biases)


class Naming(NamedTuple):
    """How stored names and canonical ones belong together.

    `prefixes` under which the word table is looked for; `detect` the layout of stored names, None where no one fits;
    `canonical` (stored, layout) and `stored` (canonical, layout) lead from one to the other, the first to None for a
    name that is not the layout's; `layouts` by letter, those that a model with a head can be written in, the published
    one first. `packed`: modules that may be stored as one or in parts of equal shape, whose rows follow each other.
    """

    prefixes: tuple[str, ...]
    detect: Callable[[Iterable[str]], Layout | None]
    canonical: Callable[[str, Layout], str | None]
    stored: Callable[[str, Layout], str]
    layouts: Callable[[Head], Mapping[str, Layout]]
    packed: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def published(self, head: Head) -> Layout:
        """The layout in which a model with this head was published."""
        return next(iter(self.layouts(head).values()))

    def parts_of(self, canonical: str) -> tuple[str, ...]:
        """The names of a packed tensor's parts: q, k and v of a qkv. A tensor that is not packed is its own part."""
        for whole, parts in self.packed.items():
            if f".{whole}." in canonical:
                return tuple(canonical.replace(whole, part) for part in parts)
        return (canonical,)

    def place_in_packed(self, canonical: str) -> tuple[str, int]:
        """The packed tensor of a part and the part's number in it: k_proj → qkv_proj, 1. Others: themselves, 0."""
        for whole, parts in self.packed.items():
            for number, part in enumerate(parts):
                if f".{part}." in canonical:
                    return canonical.replace(part, whole), number
        return canonical, 0


class Release(NamedTuple):
    """A published checkpoint; `dtype` as safetensors spells it, `tensors` and `parameters` as counted in its file."""

    name: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    pad_token_id: int
    type_vocab_size: int
    rope: Rope
    dtype: Literal["F32", "F16"]
    head: Head
    layout: Layout
    tensors: int
    parameters: int
    max_positions: int = 8192
    dialect: Dialect = Dialect.REMOTE
    """The one in which it was published."""
    local_rope: Rope | None = None
    """Of the layers with a sliding window, where it has such."""

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Hidden size, intermediate size, layers, heads."""
        return self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.num_attention_heads


class Native(NamedTuple):
    """transformers' own model of the family.

    `stem` of its classes ("Gte" of GteModel), the `stages` of each head that it has a class for: the modules that its
    logits go through, in order; `layout` of its own parameters, `oldest` transformers that has it, and whether
    transformers 4 has it too; `options` are for the making of a bare model.
    """

    stem: str
    stages: Mapping[Head, tuple[str, ...]]
    layout: Callable[[Head], Layout]
    oldest: str
    is_in_transformers_4: bool = True
    head_activations: tuple[str, ...] = ()
    """Of the masked-LM head, where it has one whatever the config says."""
    options: Mapping[str, object] = MappingProxyType({})

    @property
    def heads(self) -> tuple[Head, ...]:
        """Those that there is a class for."""
        return tuple(self.stages)

    def architecture(self, head: Head) -> str:
        """The class of a head, "GteForMaskedLM"; for a head that there is no class for, what it would be called."""
        return self.stem + SUFFIXES[head]


class Facts(NamedTuple):
    """What rules and words need to know of a family, each with what most encoders have.

    `flags`: members that are true or false; `idle`: flags that the loader of a dialect passes over; `unnumbered`: flags
    that change no number. `fixed`: members that a native config may carry and that have one value there.
    `default_pad`: the id that the loader takes where a native config names none. `silent_rope`: what it turns by where
    none is stated, if that ruins a model. `row_multiple`: what the published tables are rounded up to.
    """

    flags: tuple[str, ...] = ("tie_word_embeddings",)
    idle: Mapping[Dialect, tuple[str, ...]] = MappingProxyType({})
    unnumbered: tuple[str, ...] = ()
    fixed: tuple[tuple[str, object], ...] = ()
    default_pad: int | None = 0
    silent_rope: Rope | None = None
    row_multiple: int | None = None
    pooling: Literal["cls", "mean"] = "cls"
    has_types: bool = True
    least_types: int = 0
    """Rows of the type table without which the loader does not run."""
    copies: Mapping[str, str] = MappingProxyType({})
    """Canonical names that may be stored and are tied to another tensor, with that one's name."""
    defaults: Mapping[str, object] = MappingProxyType({})
    """What the loader takes for members that are no fields and are absent."""
    spellings: tuple[str, ...] = ()
    """Members that only spell what a field amounts to."""
    padded: tuple[str, ...] = ()
    """Canonical names of the tables whose row of the pad id is zero and stays so."""
    spelled: Mapping[str, str] = MappingProxyType({})
    """Of the fields of a config those that a member of another name says: {"layer_norm_eps": "norm_eps"}."""


class Ropes(NamedTuple):
    """Where a config says its rope: whether a native one `is_stated`, how the old keys must read that transformers 5
    `moved` away, and the two ropes `of_both` spellings where both are there (members, dialect, head size).
    """

    is_stated: Callable[[Values], bool] = lambda values: True
    moved: Callable[[Values], dict[str, object] | None] = lambda values: None
    of_both: Callable[[Values, Dialect, int], tuple[Rope, Rope] | None] = lambda values, dialect, head_size: None


class Family(NamedTuple):
    """One kind of GTE. Data, and a few functions that say what data cannot.

    `dialect_of` the members of a config.json, None for another family's; `read_config` raises CheckpointError naming
    what no model could be built from; `parts` lists tensors, `head_of` tells the head from canonical names and config,
    `classes` names what each dialect calls a head, `members` leads to a dialect. `matrix` finds layer number and kind
    in a canonical name; `fed_by_norms` lists for so many layers the norms with the projections behind them.
    """

    name: str
    model_types: tuple[str, ...]
    names: Names
    naming: Naming
    dialect_of: Callable[[Values], Dialect | None]
    read_config: Callable[[Values], GteConfig]
    parts: Callable[[GteConfig, Layout, Head], Iterable[Part]]
    head_of: Callable[[Iterable[str], Values], Head]
    architecture: Callable[[Head, Dialect], str]
    is_known: Callable[[str], bool]
    region: Callable[[str, Head], str]
    releases: tuple[Release, ...] = ()
    release_config: Callable[..., dict[str, object]] = lambda *args, **kwargs: {}
    members: Mapping[str, Members] = MappingProxyType({})
    native: Native | None = None
    schemas: Mapping[Dialect, str] = MappingProxyType({})
    facts: Facts = Facts()
    ropes: Ropes = Ropes()
    known_keys: frozenset[str] | None = None
    """The members that published code reads or its writers leave; None where they were not gathered."""
    foreign_reads: Callable[[str], tuple[str, ...] | None] = lambda code: None
    """What modeling code reads that the published one does not; None where it is no such code."""
    demands: Mapping[Consumer, Demands] = MappingProxyType({})
    matrix: re.Pattern[str] = re.compile(r"(?!)")
    fed_by_norms: Callable[[int], Iterable[tuple[str, tuple[str, ...]]]] = lambda layers: ()

    def inventory(self, config: GteConfig, layout: Layout, head: Head) -> tuple[TensorSpec, ...]:
        """The tensors that a model of `config` with `head` reads, spelled as `layout` does, in order of their names.

        That order is the one in which the safetensors package stores tensors of one dtype.
        """
        return self._specs(config, layout, head, ("must",))

    def published(self, config: GteConfig, layout: Layout, head: Head) -> tuple[TensorSpec, ...]:
        """The tensors that a published model stores: the inventory, and what none of ours reads, in the same order."""
        return self._specs(config, layout, head, ("must", "usual"))

    def optional(self, config: GteConfig, layout: Layout, head: Head) -> tuple[TensorSpec, ...]:
        """Tensors that may be stored and need not be, such as a decoder weight that is tied to the embeddings."""
        return self._specs(config, layout, head, ("usual", "spare"))

    def is_sized_by_vocabulary(self, canonical: str) -> bool:
        """Whether the tensor's first dimension is the vocabulary."""
        return canonical in self.names.sized_by_vocabulary

    def asked_by(self, consumer: Consumer) -> Demands:
        """What a program asks of checkpoints of this family; nothing where that is not known."""
        return self.demands.get(consumer, Demands())

    def pads_positions(self, config: GteConfig) -> bool:
        """Whether a position table gets the pad id as well, so that its row of that number never trains."""
        return config.position_embedding_type == "absolute" and self.names.positions in self.facts.padded

    def head_of_class(self, name: str) -> Head | None:
        """The head that a class in `architectures` has, or None for a class that no GTE of the family has."""
        found = {self.architecture(head, dialect): head for head in Head for dialect in Dialect}
        return found.get(name)

    def usual_layout(self, dialect: Dialect, head: Head) -> Layout:
        """The names that a model is best kept under: in the native dialect, with a head, the native model's own, which
        alone outlive a load and a save and which Trainer's resume restores whole [measured with transformers 5.24];
        else the published ones, which servers read.
        """
        if dialect is Dialect.NATIVE and head is not Head.NONE and self.native is not None:
            return self.native.layout(head)
        return self.naming.published(head)

    def resembling(self, config: GteConfig, head: Head) -> Release | None:
        """The release that a checkpoint most likely comes from, or None when none has its hidden and layer sizes.

        Equal vocabulary, type vocabulary and head count 2 each, an equal rope 3; but one that a config falls back to
        when its own was lost only 1. Ties go to the nearer vocabulary.
        """
        alike = [release for release in self.releases if release.shape == shape_of(config)]
        return max(alike, key=lambda release: self._likeness(release, config, head), default=None)

    def in_dialect(self, dialect: str) -> Members:
        """What makes the config of a dialect ("native", "remote"); raises RefusedError where the family has no such."""
        if dialect not in self.members:
            known = " or ".join(self.members) or "no other"
            found = f"dialect: {dialect}, a {self.name} model has {known} only"
            raise RefusedError(found, "leave the dialect as it is")
        return self.members[dialect]

    def required_native(self) -> Native:
        """transformers' own model; raises RefusedError where there is none."""
        if self.native is None:
            raise RefusedError(f"model_type: {self.model_types[0]}, transformers has no model for it")
        return self.native

    def _specs(self, config: GteConfig, layout: Layout, head: Head, needs: tuple[str, ...]) -> tuple[TensorSpec, ...]:
        wanted = (part for part in self.parts(config, layout, head) if part.need in needs)
        specs = (_spec(part, config, self.naming.stored(part.canonical, layout)) for part in wanted)
        return tuple(sorted(specs, key=lambda spec: spec.name))

    def _likeness(self, release: Release, config: GteConfig, head: Head) -> tuple[int, int]:
        rope_weight = 1 if release.rope == self.facts.silent_rope else 3
        score = (
            2 * (release.vocab_size == config.vocab_size)
            + 2 * (release.type_vocab_size == config.type_vocab_size)
            + 2 * (release.head is head)
            + rope_weight * has_rope_of(config, release)
        )
        return score, -abs(release.vocab_size - config.vocab_size)


def shape_of(config: GteConfig) -> tuple[int, int, int, int]:
    """Hidden size, intermediate size, layers, heads: what tells releases apart."""
    return config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.num_attention_heads


def has_rope_of(config: GteConfig, release: Release) -> bool:
    """Whether the ropes agree to half a radian at the last position: enough to know a rounded one again."""
    is_alike = turns_alike(config.rope, release.rope, release.head_size, release.max_positions, radians=0.5)
    return is_alike or config.rope.kind == release.rope.kind == "none"


def head_shown(names: Iterable[str], masked_lm: str) -> Head:
    """The head that the first words of canonical names show, `masked_lm` that one: a classifier with a pooler is a
    sequence classifier, and the pooler of a bare model is no head.
    """
    found = {name.partition(".")[0] for name in names}
    if masked_lm in found:
        return Head.MASKED_LM
    if "classifier" in found:
        return Head.SEQUENCE_CLASSIFICATION if "pooler" in found else Head.TOKEN_CLASSIFICATION
    return Head.QUESTION_ANSWERING if "qa_outputs" in found else Head.NONE


def released(
    release: Release, head: Head, architectures: list[str], members: Mapping[str, object]
) -> dict[str, object]:
    """config.json of a release: what all of them state, with these members added or in place of it, in alphabetical
    order; for a classifier with one label unless they name some.
    """
    usual: dict[str, object] = {
        "architectures": architectures,
        "dtype": {"F32": "float32", "F16": "float16"}[release.dtype],
        "hidden_size": release.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": release.intermediate_size,
        "max_position_embeddings": release.max_positions,
        "num_attention_heads": release.num_attention_heads,
        "num_hidden_layers": release.num_hidden_layers,
        "pad_token_id": release.pad_token_id,
        "vocab_size": release.vocab_size,
    }
    is_classifier = head in (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION)
    labels: dict[str, object] = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}} if is_classifier else {}
    return dict(sorted((usual | labels | dict(members)).items()))


def prefixed(names: Names, prefix: str, heads: tuple[str, ...], old_norms: Mapping[str, str] | None = None) -> Naming:
    """The naming of a family that puts one prefix before the encoder's tensors once there is a head, and splits and
    packs nothing: layout a is the bare model, b the one with a head; `heads` are the first words of a head's names,
    `old_norms` leads from the names of a norm's tensors to older ones: {"LayerNorm.weight": "LayerNorm.gamma"}.
    """
    bare, headed, older = Layout("a"), Layout("b", prefix), old_norms or {}

    def is_head(name: str) -> bool:
        return name.partition(".")[0] in heads

    def renamed(name: str, known: Iterable[tuple[str, str]], has_old_norms: bool) -> str:
        ends = ((ending, other) for ending, other in known if has_old_norms and name.endswith(f".{ending}"))
        return next((name.removesuffix(ending) + other for ending, other in ends), name)

    def detect(stored: Iterable[str]) -> Layout | None:
        found = frozenset(stored)
        layouts = [layout for layout in (bare, headed) if layout.prefix + names.words in found]
        has_old_norms = any(name.endswith(f".{ending}") for ending in older.values() for name in found)
        return layouts[0]._replace(has_old_norms=has_old_norms) if len(layouts) == 1 else None

    def canonical(stored: str, layout: Layout) -> str | None:
        name = renamed(stored, ((old, new) for new, old in older.items()), layout.has_old_norms)
        if is_head(name):
            return name
        bare_name = name.removeprefix(layout.prefix)
        return bare_name if name.startswith(layout.prefix) and not is_head(bare_name) else None

    def stored(canonical: str, layout: Layout) -> str:
        name = renamed(canonical, older.items(), layout.has_old_norms)
        return name if is_head(name) else layout.prefix + name

    def layouts(head: Head) -> Mapping[str, Layout]:
        return {"a": bare} if head is Head.NONE else {"b": headed}

    return Naming(("", prefix), detect, canonical, stored, layouts)


def _spec(part: Part, config: GteConfig, name: str) -> TensorSpec:
    shape = tuple(dim.multiple * _size(dim, config) for dim in part.dims)
    std = config.initializer_range if part.std is None else part.std
    return TensorSpec(name, part.canonical, part.dims, shape, part.init, std, part.cut)


def _size(dim: Dim, config: GteConfig) -> int:
    sizes: dict[Symbol, int] = {
        "V": config.vocab_size,
        "H": config.hidden_size,
        "I": config.intermediate_size,
        "T": config.type_vocab_size,
        "P": config.max_position_embeddings,
        "K": config.num_labels,
        "1": 1,
    }
    return sizes[dim.symbol]
