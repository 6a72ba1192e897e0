"""The families that there are, and which one a config.json is of: decided here, once; and any GTE's config in one form.

Reading refuses only what no model could be built from; whether the values are wise, and whether a flag is a real
boolean, is for `gte_surgery.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from gte_surgery.errors import CheckpointError, UsageError
from gte_surgery.gte.family import Family, Release
from gte_surgery.gte.fields import GteConfig, Values
from gte_surgery.gte.kinds import Dialect
from gte_surgery.gte.new_impl.family import NEW_IMPL
from gte_surgery.gte.wording import either, shown


def families() -> Iterator[Family]:
    """Every family, imported when its turn comes; the first stands in where a config is absent or tells nothing."""
    yield NEW_IMPL
    from gte_surgery.gte.bert import BERT

    yield BERT
    from gte_surgery.gte.modernbert import MODERNBERT

    yield MODERNBERT


def family_of(values: Values) -> Family:
    """The family of a config.json's members, by `model_type`; the first one where no family knows it."""
    return next((family for family in families() if family.dialect_of(values) is not None), NEW_IMPL)


_NOT_COVERED = {
    "qwen2": "gte-Qwen1.5, gte-Qwen2 or stella_en_1.5B, a decoder under last-token pooling",
    "qwen3": "Qwen3-Embedding, a decoder under last-token pooling",
    "nomic_bert": "nomic-embed, a BERT with rotary positions in code of its own",
    "xlm-roberta": "an XLM-RoBERTa, as multilingual-e5, bge-m3 and jina-embeddings-v3 are",
    "roberta": "a RoBERTa",
    "mpnet": "an MPNet, as all-mpnet-base-v2 is",
    "deberta-v2": "a DeBERTa",
    "distilbert": "a DistilBERT",
    "t5": "a T5 encoder, as gtr and sentence-t5 are",
}
"""What encoders of text that are no GTE of ours call themselves, and what they are."""


def stranger(values: Values) -> str:
    """What a config that is of no family describes, if that is known: "a RoBERTa"; else ""."""
    if "jina" in str(values.get("auto_map")).lower() or values.get("position_embedding_type") == "alibi":
        return "a jina-embeddings model, with positions in code of its own"
    return _NOT_COVERED.get(str(values.get("model_type")), "")


def unknown_config(values: Values) -> tuple[str, str]:
    """Why a config is of no family, and a hint: found and wanted, and what it is where that is known."""
    found = shown(values["model_type"]) if "model_type" in values else "missing"
    what = stranger(values)
    if values.get("model_type") in model_types():
        found += " with positions or code of another"
    wanted = f"{found}, must be {either([shown(name) for name in model_types()])}"
    return wanted, f"this is {what}: recognised, and not covered" if what else "this is not the config of a GTE model"


def detect_dialect(config: Values) -> Dialect | None:
    """The dialect of a parsed config.json, or None when it is not a GTE config at all."""
    return family_of(config).dialect_of(config)


def read_config(config: Values) -> GteConfig:
    """The effective config; raises CheckpointError naming the key whose value no model could be built from.

    Flags count as Python counts them: the string "false" is on, as it would be for the loader.
    """
    if detect_dialect(config) is None:
        found, hint = unknown_config(config)
        raise CheckpointError(f"model_type: {found}", hint)
    return family_of(config).read_config(config)


def model_types() -> tuple[str, ...]:
    """Every `model_type` that some family has: ("new", "gte", …)."""
    return tuple(name for family in families() for name in family.model_types)


def releases() -> dict[str, tuple[Family, Release]]:
    """Every published release by name, with its family."""
    return {release.name: (family, release) for family in families() for release in family.releases}


def find_release(name: str) -> tuple[Family, Release]:
    """The release of that name and its family; raises UsageError listing the names."""
    known = releases()
    if name not in known:
        from difflib import get_close_matches

        bare = name.rpartition("/")[2].lower()
        longer = sorted((each for each in known if each.startswith(bare)), key=len)
        close = longer or get_close_matches(bare, known)
        meant = close[0] if bare and close else ""
        raise UsageError(f"release: {name!r}, is not known", f"known: {', '.join(known)}", name, meant)
    return known[name]
