"""GTE030 to GTE059: the ways in which a file that should be safetensors is malformed, one code for each.

`checkpoint.headers.header` finds the faults. Format: 8 bytes little-endian header length, that many bytes of JSON, then
the tensors' bytes without gap [safetensors README].
"""

from __future__ import annotations

from gte_surgery.checkpoint.faults import HeaderFault
from gte_surgery.checks.registry import add_fault_rules

_CUT = "The file was cut short, most often by a download or a copy that stopped. Fetch it again."
_FOREIGN = "No safetensors writer makes this; the file was damaged or written by hand. Take it from its source again."
_READERS_DISAGREE = "Readers disagree on such a file, so the same bytes give different models. Save it again."

add_fault_rules(
    HeaderFault,
    f"""
GTE030 error TOO_SHORT The file ends before its header
{_CUT}

GTE031 error HEADER_TOO_LARGE The header is too large
The format ends at 100,000,000 bytes, so that no reader allocates without end: the file is damaged or not
safetensors. A shorter header is read as long as its tensors and those of all other shards fit into 160 MB
of memory, some 240,000 of them; a GTE of 24 layers has 268. One that is not written as safetensors writes,
with a member of more than 1 MiB or more than 16 MiB of unusual ones, is read up to 16 MB and 400,000 values.

GTE032 error HEADER_BEYOND_FILE The header claims to be longer than the file
{_CUT}

GTE033 error NOT_UTF8 The header is not UTF-8
{_FOREIGN}

GTE034 error LEADING_SPACE The header does not begin with {{
The format demands it; the safetensors package lets a space pass. {_READERS_DISAGREE}

GTE035 error INVALID_JSON The header is not strict JSON
{_FOREIGN}

GTE036 error DUPLICATE_NAME The header names something twice
The safetensors package lets the last one win, the format forbids it. {_READERS_DISAGREE}

GTE037 error NOT_AN_OBJECT The header is JSON but not an object
{_FOREIGN}

GTE038 error BAD_METADATA The header's __metadata__ is not an object of strings
It must map strings to strings, without null, numbers or nesting. Make the values strings and save again.

GTE039 error BAD_ENTRY A tensor's entry lacks a field or has one of the wrong type
{_FOREIGN}

GTE040 error UNKNOWN_DTYPE A tensor has an unknown dtype
Not one of the 22 dtypes of safetensors 0.8: the file is damaged, or a newer writer made it.

GTE041 error BAD_SHAPE A tensor's shape is not a list of whole numbers from 0
{_FOREIGN}

GTE055 error NUL_PADDED The header is padded with NUL bytes
The format pads with spaces; a writer in another language put zeros.
`gte-surgery check CKPT --fix` puts spaces.

GTE042 error SHAPE_OVERFLOW A tensor's shape multiplies beyond 64 bits
Readers with 64-bit arithmetic would wrap around and read the wrong bytes. The file is damaged or hostile.

GTE043 error BAD_OFFSETS A tensor's data_offsets are not two increasing whole numbers
{_FOREIGN}

GTE044 error SIZE_MISMATCH A tensor's byte range does not fit its dtype and shape
Either the shape or the range is wrong; nothing tells which. Take the file from its source again.

GTE045 error SUB_BYTE_MISALIGNED A tensor of a dtype below 8 bits does not fill whole bytes
Such tensors must hold a multiple of 8 bits in all. Pad the tensor and save it again.

GTE046 error HOLE There are bytes that belong to no tensor
The format forbids gaps: they could hide anything and are lost on the next save. Save the file again.

GTE047 error OVERLAP Two tensors share bytes
Changing one would change the other. Tied weights must be stored once; save the model again.

GTE048 error BEYOND_FILE A tensor lies beyond the end of the file
{_CUT}

GTE049 error TRAILING_BYTES Bytes follow the last tensor
Often two files written over each other, or a download that was resumed wrongly. Fetch the file again.

GTE050 error ARRAY_ENTRY A tensor's entry is an array
The safetensors package reads an array as the members in their order. {_READERS_DISAGREE}

GTE051 error NULL_METADATA The header's __metadata__ is null
The safetensors package takes null for none. {_READERS_DISAGREE}

GTE052 error OBJECT_DTYPE A tensor's dtype is an object
The safetensors package reads {{"F32": null}} as F32. {_READERS_DISAGREE}
""",
)
