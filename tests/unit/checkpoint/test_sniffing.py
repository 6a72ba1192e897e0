"""What a file is, told from its first bytes."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from gte_surgery.checkpoint.files import SNIFFED_BYTES, Content, sniff


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (save({"a": np.zeros(3)}), Content.SAFETENSORS),
        (save({}), Content.SAFETENSORS),
        (b"\x80\x02" + bytes(6) + b"{}" + b" " * 638, Content.SAFETENSORS),
        *[(pickle.dumps({"a": 1}, protocol), Content.PICKLE) for protocol in (2, 3, 4, 5)],
        (zip_of("archive/data.pkl"), Content.TORCH_ZIP),
        (zip_of("pytorch_model/byteorder"), Content.TORCH_ZIP),
        (zip_of("readme.txt"), Content.ZIP),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", Content.LFS_POINTER),
        (b"\n<!DOCTYPE html><html></html>", Content.HTML),
        (b"<HTML>", Content.HTML),
        (b'<?xml version="1.0"?><Error/>', Content.HTML),
        (b"GGUF\x03\0\0\0", Content.GGUF),
        (b'{"error": "Repository not found"}', Content.JSON),
        (b"\xef\xbb\xbf [1]", Content.JSON),
        (b"", Content.EMPTY),
        (b"hello", Content.UNKNOWN),
        (b"\x80", Content.UNKNOWN),
        (bytes(600), Content.UNKNOWN),
        (b"\xff" * 8 + b"{}", Content.UNKNOWN),
    ],
)
def test_content_is_told_from_the_first_bytes(raw: bytes, content: Content) -> None:
    assert sniff(raw[:SNIFFED_BYTES]) is content
