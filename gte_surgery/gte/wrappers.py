"""What programs put around a model's tensor names when they save it wrapped, and how to take it off again.

Prefixes stand before every name, but for those of heads; some wrappers leave their word in the middle of names as well
[torch 2.13: `OptimizedModule`, `DistributedDataParallel`, `FullyShardedDataParallel`, `checkpoint_wrapper`; peft 0.21;
sentence-transformers 6.2].
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

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
UNMERGED = (
    "an adapter's layers are not merged: `model.merge_and_unload()` of peft, and save_pretrained of what it returns"
)
FLAT = (
    "FullyShardedDataParallel's flat parameters, names and shapes are gone: save the model again as a FULL_STATE_DICT"
)
_MODULE_OF_6 = re.compile(r"\b0\.model\.")
"""What sentence-transformers calls a model since 5.4, the first of the modules of a SentenceTransformer."""
_HEADS = ("lm_head.", "classifier.", "qa_outputs.", "cls.", "head.", "decoder.")


class Wrapper(NamedTuple):
    """`prefix` stands before all names but the heads', or in the middle of some; `origin` says what puts it there."""

    prefix: str
    origin: str
    place: str = "every name has `{}` before it"

    @property
    def told(self) -> str:
        return f"{self.place.format(self.prefix)}, as {self.origin} saves a model"


def wrapper_of(family: Family, names: Iterable[str]) -> Wrapper | None:
    """The one wrapper without which the stored names are the family's; None if they are that already, or never.

    `_orig_mod.new.embeddings.word_embeddings.weight` and its like: `_orig_mod.`, by torch.compile.
    """
    stored, words = list(names), family.names.words
    if family.naming.detect(stored) is not None:
        return _inside(stored)
    for before in (name.removesuffix(words) for name in stored if name.endswith(words)):
        for inner in sorted(family.naming.prefixes, key=len, reverse=True):
            prefix = before.removesuffix(inner) if before.endswith(inner) else ""
            if prefix and _fits(family, stored, prefix):
                return Wrapper(prefix, _origin(prefix))
    return None


def is_unmerged(names: Iterable[str]) -> bool:
    """Whether there are layers of an adapter beside or around those of the model, as PEFT has them before a merge."""
    return any(".base_layer." in name or ".lora_" in name for name in names)


def is_flat(names: Iterable[str]) -> bool:
    """Whether FullyShardedDataParallel's own flat parameters are stored, each of the weights of many modules in one row
    [torch 2.13, distributed/fsdp/_flat_param.py; before 2.0 without the first underscore].
    """
    return any(name.rpartition(".")[2].lstrip("_") == "flat_param" for name in names)


def takes_off(prefix: str, name: str) -> bool:
    """Whether the prefix stands where `unwrapped` takes it off."""
    return name.startswith(prefix) or (prefix in _INSIDE and prefix in name)


def unwrapped(name: str, prefix: str) -> str:
    """The name without the prefix, and without what wrappers leave in its middle."""
    name = name.removeprefix(prefix)
    for word in _INSIDE:
        name = name.replace(word, "")
    return name


def _inside(stored: list[str]) -> Wrapper | None:
    word = next((word for word in _INSIDE for name in stored if word in name), None)
    is_one = len({unwrapped(name, "") for name in stored}) == len(stored)
    return Wrapper(word, _origin(word), "names have `{}` inside") if word and is_one else None


def _fits(family: Family, stored: list[str], prefix: str) -> bool:
    bare = [unwrapped(name, prefix) for name in stored]
    is_over_all = all(name.startswith((prefix, *_HEADS)) for name in stored)
    return is_over_all and len(set(bare)) == len(bare) and family.naming.detect(bare) is not None


def _origin(prefix: str) -> str:
    prefix = _MODULE_OF_6.sub("auto_model.", prefix)
    known = dict.fromkeys(_ORIGINS[part] for part in reversed(prefix.split(".")) if part in _ORIGINS)
    return " within ".join(known) if known else "a module that holds the model"
