"""Small files that lie alike beside most checkpoints: git's name for a content tells that it is one of these, and then
it need not be fetched.

The texts are those that sentence-transformers writes before 5.4, with two spaces of indent; a file that is written
otherwise has another name, and is fetched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product

_MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
_LENGTHS = (512, 8192)
_WIDTHS = (384, 768, 1024)
_MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
"""The first four until 2.2, all of them later; `include_prompt` came with 2.4."""


def git_name(content: bytes) -> str:
    """What git calls a content: the SHA-1 of its kind, its length and itself."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def known_content(name: str) -> bytes | None:
    """The content that git calls so, where it is one of those known here."""
    return _known().get(name)


@cache
def _known() -> Mapping[str, bytes]:
    texts = (json.dumps(value, indent=2) + end for value, end in product(_values(), ("", "\n")))
    return {git_name(text.encode()): text.encode() for text in texts}


def _values() -> Iterator[object]:
    for count in (2, 3):
        yield [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (path, kind) in enumerate(_MODULES[:count])
        ]
    for length in _LENGTHS:
        yield {"max_seq_length": length, "do_lower_case": False}
    for width, mode, (count, prompt) in product(_WIDTHS, _MODES[:2], ((4, {}), (6, {}), (6, {"include_prompt": True}))):
        modes = {f"pooling_mode_{each}": each == mode for each in _MODES[:count]}
        yield {"word_embedding_dimension": width, **modes, **prompt}
