"""Addresses of checkpoints on a hub, hf://org/name[@revision][/folder], as huggingface_hub's file system has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import UsageError

PREFIX = "hf://"
_COLLAPSED = "hf:/"
_OTHER_KINDS = {"datasets": "a dataset", "spaces": "a space", "buckets": "a bucket", "kernels": "a kernel"}
_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_REVISION = r"refs/(?:pr|convert)/[^/@]+|[^/@]+"
_ADDRESS = re.compile(rf"({_PART}/{_PART})(?:@({_REVISION}))?(?:/(.+))?", re.ASCII)
WANTED = "write hf://org/name, with @revision and /folder behind it where they are needed"


class Address(NamedTuple):
    """A repository ("org/name"), a revision of it (a branch, a tag or a commit), and a folder in it ("" for its root).

    >>> str(Address("Alibaba-NLP/gte-multilingual-base", "main", "onnx"))
    'hf://Alibaba-NLP/gte-multilingual-base@main/onnx'
    """

    repository: str
    revision: str = ""
    folder: str = ""

    def __str__(self) -> str:
        revision = self.revision if self.revision.startswith("refs/") else quote(self.revision, safe="")
        at, below = f"@{revision}" if revision else "", f"/{self.folder}" if self.folder else ""
        return f"{PREFIX}{self.repository}{at}{below}"


def address_of(path: Path | str) -> Address | None:
    """The address that `path` is, None where it is a path of this disk. Raises UsageError for one that cannot be."""
    text = str(path)
    if isinstance(path, Path) and (text.startswith(_COLLAPSED) or text == _COLLAPSED.rstrip("/")):
        text = PREFIX + text[len(_COLLAPSED) :]
    if not text.startswith(PREFIX):
        return None
    rest = text[len(PREFIX) :].rstrip("/")
    kind = rest.partition("/")[0]
    if kind in _OTHER_KINDS:
        raise UsageError(f"{shown(text)}: is {_OTHER_KINDS[kind]}, wanted a model", WANTED)
    if kind == "models" and rest.count("/") >= 2:
        raise UsageError(f"{shown(text)}: models need no prefix", WANTED, text, PREFIX + rest.partition("/")[2])
    found = _ADDRESS.fullmatch(rest)
    folder = (found[3] or "") if found else ""
    if found is None or not shown(rest) == rest or any(part in ("", ".", "..") for part in folder.split("/") if folder):
        raise UsageError(f"{shown(text)}: is no address of a model", WANTED)
    return Address(found[1], unquote(found[2] or ""), folder)
