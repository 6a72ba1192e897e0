"""Every slip of one character in a header: what we accept, the safetensors package accepts, and means the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from safetensors import SafetensorError, deserialize

from gte_surgery.checkpoint.headers.header import parse_header
from gte_surgery.errors import HeaderError

HEADERS = (
    b'{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"shape":[],"dtype":"U8","data_offsets":[8,9]}}',
    b'{ "__metadata__" : {"format":"pt"} , "a" : { "data_offsets" : [ 0 , 2 ] , "dtype" : "F16" , "shape" : [ 1 ] } }',
)
PUNCTUATION = b',:{}[]" 0-.\\eE\n\x00'


def slips(text: bytes) -> Iterator[bytes]:
    """The text with one character more, one less, and one changed, at every place."""
    for at in range(len(text) + 1):
        yield text[:at] + text[at + 1 :]
        for each in PUNCTUATION:
            yield text[:at] + bytes([each]) + text[at:]
            yield text[:at] + bytes([each]) + text[at + 1 :]


@pytest.mark.parametrize("text", HEADERS)
def test_no_slip_is_accepted_that_the_package_refuses(text: bytes) -> None:
    accepted = 0
    for slip in slips(text):
        file = len(slip).to_bytes(8, "little") + slip + bytes(9 if b'"b"' in text else 2)
        try:
            ours = {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in parse_header(file, len(file)).tensors}
        except HeaderError:
            continue
        accepted += 1
        try:
            theirs = {name: (tensor["dtype"], tensor["shape"]) for name, tensor in deserialize(file)}
        except SafetensorError as error:
            pytest.fail(f"{slip!r}: {error}")
        assert ours == theirs, slip
    assert accepted > 50
