"""What can be told of two models without running them: every parameter, every row that keeps its meaning, the rope,
and whether a tokenizer gives out the ids of the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_whole
from gte_surgery.model.encoder import GteEncoder
from gte_surgery.model.native import body_of
from gte_surgery.vocabulary.rewriting.rewrite import read_contents
from gte_surgery.vocabulary.token_files import MOST_BYTES, TOKENIZER_JSON

_ROWS = 1 << 14
"""Rows that are compared at a time."""
_SAME_ROPE = 1e-6
"""Relative; two ways to write one rope are apart by the rounding of float32."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def tables(encoder: GteEncoder) -> dict[str, Tensor]:
    """The vocabulary-sized parameters: "words", and where a masked-LM head has them "decoder" and "bias"."""
    decoder = encoder.model.get_output_embeddings()  # type: ignore[operator]
    found: dict[str, Tensor] = {"words": encoder.input_table()}
    if isinstance(decoder, nn.Linear):
        found["decoder"] = decoder.weight
        if hasattr(decoder, "bias") and isinstance(decoder.bias, Tensor):
            found["bias"] = decoder.bias
    return found


def different_parameters(
    before: GteEncoder, after: GteEncoder, left_out: Collection[str], rounded: str, may_lose: bool = False
) -> Iterator[str]:
    """In words, each parameter that is not what it was, as bits or after rounding; parameters of one side alone too.

    Those whose canonical names are in `left_out` are not looked at.
    """
    one, other = parameters(before), parameters(after)
    for name in sorted((one.keys() | other.keys()) - set(left_out)):
        if name in one and name not in other and may_lose:
            continue
        if name not in one or name not in other:
            yield f"`{name}` is a parameter {'before' if name in one else 'after'} alone"
        elif not _equal(one[name], other[name], rounded):
            yield f"`{name}` {_where(one[name], other[name], rounded)}"


def parameters(encoder: GteEncoder) -> dict[str, Tensor]:
    """The parameters by canonical name, under which models with and without a head meet."""
    naming, layout = encoder.family.naming, encoder.family.required_native().layout(encoder.head)
    return {naming.canonical(name, layout) or name: value for name, value in encoder.model.named_parameters()}


def different_rope(before: GteEncoder, after: GteEncoder) -> Iterator[str]:
    """In words, each buffer of rotary frequencies that is not what it was."""
    one, other = (dict(body_of(each.model).named_buffers()) for each in (before, after))
    for name in sorted(one.keys() & other.keys()):
        if name.endswith("inv_freq"):
            found, wanted = other[name].double(), one[name].to(other[name].device).double()
            if found.shape != wanted.shape or bool(((found - wanted).abs() > _SAME_ROPE * wanted.abs()).any()):
                yield f"`{name}`: the rotary frequencies differ"


def different_rows(
    before: GteEncoder, after: GteEncoder, new: Sequence[int], old: Sequence[int], rounded: str, added: Tensor | None
) -> Iterator[str]:
    """In words, the first id whose row of a table is not what it was, plus the row `added` where there is one."""
    one, other = tables(before), tables(after)
    for kind in sorted(one.keys() & other.keys()):
        plus = added if kind != "bias" else None
        for first in range(0, len(new), _ROWS):
            places = slice(first, first + _ROWS)
            found = other[kind].detach()[torch.tensor(new[places], device=other[kind].device)]
            wanted = one[kind].detach()[torch.tensor(old[places], device=one[kind].device)].to(found.device)
            wanted = wanted + plus.to(wanted.device) if plus is not None else wanted
            apart = (found != _rounded(wanted, rounded)).reshape(len(found), -1).any(1)
            if bool(apart.any()):
                at = first + int(apart.nonzero()[0])
                also = " plus the type row" if plus is not None else ""
                yield f"{kind}: row {new[at]} is not old row {old[at]}{also}"
                break


def _equal(before: Tensor, after: Tensor, rounded: str) -> bool:
    return before.shape == after.shape and torch.equal(_rounded(before.to(after.device), rounded), after)


def _where(before: Tensor, after: Tensor, rounded: str) -> str:
    if before.shape != after.shape:
        return f"has shape {list(after.shape)}, and had {list(before.shape)}"
    wanted, after = _rounded(before.detach().to(after.device), rounded), after.detach()
    place = (wanted != after).nonzero()[0].tolist()
    return f"differs first at {place}: {float(after[tuple(place)]):.9g}, wanted {float(wanted[tuple(place)]):.9g}"


def _rounded(tensor: Tensor, dtype: str) -> Tensor:
    return tensor.to(DTYPES[dtype]).to(tensor.dtype) if dtype else tensor


def different_tokens(before: Checkpoint, after: Checkpoint, new: Sequence[int], old: Sequence[int]) -> Iterator[str]:
    """In words, the first id whose token is not what it was under its old id. Raises RefusedError for a file that
    cannot be read.
    """
    was, now = before.readable(TOKENIZER_JSON), after.readable(TOKENIZER_JSON)
    if was is None or now is None:
        yield f"{TOKENIZER_JSON} is gone" if now is None else f"{TOKENIZER_JSON} was not there"
        return
    if list(new) == list(old) and _raw(was) == _raw(now):
        return
    one, other = read_contents(was), read_contents(now)
    for here, there in zip(new, old, strict=True):
        if one.texts.get(there) != other.texts.get(here):
            token, wanted = other.texts.get(here), one.texts.get(there)
            yield f"id {here} is {_shown(token)}, and its row was that of {_shown(wanted)}"
            return
    new_ids = dict(zip(old, new, strict=True))
    found = {each.pointer: each.id for each in other.emitted}
    for each in one.emitted:
        if each.id in new_ids and each.pointer in found and found[each.pointer] != new_ids[each.id]:
            yield f"{each.pointer} gives id {found[each.pointer]}, wanted {new_ids[each.id]}"
            return


def _shown(token: str | None) -> str:
    return "no token" if token is None else repr(token)


def _raw(file: FileEntry) -> bytes:
    return read_whole(file, MOST_BYTES)
