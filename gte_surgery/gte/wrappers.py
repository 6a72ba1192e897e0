"""What programs put around a model's tensor names when they save it wrapped, and how to take it off again.

Prefixes stand before every name, but for those of heads; some wrappers leave their word in the middle of names as well
[torch 2.13: `OptimizedModule`, `DistributedDataParallel`, `FullyShardedDataParallel`, `checkpoint_wrapper`; peft 0.21;
sentence-transformers 6.2].
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gte_surgery.gte.family import Family

_ORIGINS = {
    "_orig_mod": "torch.compile",
    "module": "DistributedDataParallel or DataParallel",
    "_fsdp_wrapped_module": "FullyShardedDataParallel",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "Lightning",
    "base_model": "PEFT",
    "auto_model": "sentence-transformers",
}
_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Words that wrappers leave in the middle of names: no module of a GTE is called so."""
_MODULE_OF_6 = re.compile(r"\b0\.model\.")
"""What sentence-transformers calls a model since 5.4, the first of the modules of a SentenceTransformer."""
_HEADS = ("lm_head.", "classifier.", "qa_outputs.", "cls.", "head.", "decoder.")


@dataclass(frozen=True, slots=True)
class Wrapper:
    """`prefix` stands before all names but the heads'; `origin` says in words what puts it there."""

    prefix: str
    origin: str


def wrapper_of(family: Family, names: Iterable[str]) -> Wrapper | None:
    """The one wrapper without which the stored names are the family's; None if they are that already, or never.

    `_orig_mod.new.embeddings.word_embeddings.weight` and its like: `_orig_mod.`, by torch.compile.
    """
    stored, words = list(names), family.names.words
    if family.naming.detect(stored) is not None:
        return None
    for before in (name.removesuffix(words) for name in stored if name.endswith(words)):
        for inner in sorted(family.naming.prefixes, key=len, reverse=True):
            prefix = before.removesuffix(inner) if before.endswith(inner) else ""
            if prefix and _fits(family, stored, prefix):
                return Wrapper(prefix, _origin(prefix))
    return None


def unwrapped(name: str, prefix: str) -> str:
    """The name without the prefix, and without what wrappers leave in its middle."""
    name = name.removeprefix(prefix)
    for word in _INSIDE:
        name = name.replace(word, "")
    return name


def _fits(family: Family, stored: list[str], prefix: str) -> bool:
    bare = [unwrapped(name, prefix) for name in stored]
    is_over_all = all(name.startswith((prefix, *_HEADS)) for name in stored)
    return is_over_all and len(set(bare)) == len(bare) and family.naming.detect(bare) is not None


def _origin(prefix: str) -> str:
    prefix = _MODULE_OF_6.sub("auto_model.", prefix)
    known = dict.fromkeys(_ORIGINS[part] for part in reversed(prefix.split(".")) if part in _ORIGINS)
    return " within ".join(known) if known else "a module that holds the model"
