"""What a file is, told from its first bytes and never from its name."""

from __future__ import annotations

from enum import Enum

from gte_surgery.checkpoint.bounds import MAX_HEADER_BYTES

SNIFFED_BYTES = 512


class Content(Enum):
    """What a file's first bytes say it is; the value is how messages name it."""

    SAFETENSORS = "a safetensors file"
    PICKLE = "a Python pickle"
    TORCH_ZIP = "a PyTorch zip archive holding a pickle"
    ZIP = "a zip archive"
    LFS_POINTER = "a Git LFS pointer, not the file itself"
    HTML = "an HTML or XML page"
    GGUF = "a GGUF file"
    JSON = "JSON text"
    EMPTY = "empty"
    UNKNOWN = "of unknown content"


def sniff(head: bytes) -> Content:
    """What the file that starts with `head` is; about 512 bytes are enough."""
    if not head:
        return Content.EMPTY
    if _is_safetensors(head):
        return Content.SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return Content.TORCH_ZIP if b"/data.pkl" in head or b"/byteorder" in head else Content.ZIP
    if head.startswith(b"GGUF"):
        return Content.GGUF
    if head[0] == 0x80 and len(head) > 1 and 2 <= head[1] <= 5:
        return Content.PICKLE
    return _sniff_text(head)


def _is_safetensors(head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and length <= MAX_HEADER_BYTES and head[8:].lstrip(b" \t\n\r")[:1] == b"{"


def _sniff_text(head: bytes) -> Content:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return Content.LFS_POINTER
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return Content.HTML
    if text.startswith((b"{", b"[")):
        return Content.JSON
    return Content.UNKNOWN
