"""The description of a checkpoint, for `inspect`, as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from gte_surgery.checkpoint.adapters import AdapterFacts
from gte_surgery.checks.description import Description, Pad, RopeFacts, Sizes, Vocabulary
from gte_surgery.render.ink import columns, count, finite, paint, printable, size

_LAYOUTS = {
    "a": "as published for the bare model",
    "b": "as published for a model with a head",
    "c": "damaged: a native model loaded names b and saved them again",
    "d": "of a native model with a head",
    "e": "damaged: a native masked LM loaded names a and saved them again",
    "f": "transformers' own, unpacked",
}


LoneAdapter = tuple[str, AdapterFacts]
"""The path of an adapter of PEFT that lies by itself, and what it is."""


def description_text(*found: Description | LoneAdapter, has_tensors: bool = False, color: bool = False) -> str:
    """Of one: a line for each subject, what could not be found out left out. Of several a line each: what it is, how
    large, of which dtype; in full where it has faults.
    """
    if len(found) == 1:
        return _in_full(found[0], has_tensors, color)
    return "\n".join(_line(each, color) for each in found)


def _in_full(description: Description | LoneAdapter, has_tensors: bool, color: bool) -> str:
    if isinstance(description, tuple):
        path, adapter = description
        rows = [("adapter", printable(adapter.words)), ("vocabulary", printable(adapter.fit))]
        return "\n".join((paint(printable(path), "strong", color), columns(rows, "  ")))
    lines = [paint(printable(description.checkpoint), "strong", color)]
    lines += columns(list(subjects(description)), "  ").splitlines()
    if has_tensors:
        lines += ["  tensors", *columns(_tensor_rows(description), "    ").splitlines()]
    if description.faults:
        told = f"{count(description.faults, 'fault')} on disk: `gte-surgery check` tells which"
        lines.append("  " + paint(told, "error", color))
    return "\n".join(lines)


def _line(d: Description | LoneAdapter, color: bool) -> str:
    if isinstance(d, tuple):
        path, adapter = d
        return f"{paint(printable(path), 'strong', color)}: {printable(f'{adapter.words}, {adapter.fit}')}"
    if d.faults:
        return _in_full(d, False, color)
    dtypes = ", ".join(dtype for dtype, _ in d.dtypes)
    release = d.release or "no release's shape"
    told = (release, d.dialect or "not a GTE's", f"{d.parameters:,} parameters", dtypes, size(d.nbytes))
    return f"{paint(printable(d.checkpoint), 'strong', color)}: {', '.join(map(printable, filter(None, told)))}"


def description_json(*found: Description | LoneAdapter, has_tensors: bool = False) -> str:
    """Every field by its name, `tensors` only when asked for; JSON has no NaN or infinity, so such numbers are null. Of
    several a list.
    """
    told = [_object(each, has_tensors) for each in found]
    return json.dumps(told if len(told) > 1 else told[0], indent=2)


def _object(description: Description | LoneAdapter, has_tensors: bool) -> object:
    if isinstance(description, tuple):
        path, adapter = description
        return {"checkpoint": path, "adapter": asdict(adapter)}
    value = asdict(description) | {
        "differences": {key: {"here": here, "release": there} for key, here, there in description.differences},
        "dtypes": dict(description.dtypes),
        "special_ids": dict(description.special_ids),
        "stated_ids": dict(description.stated_ids),
    }
    if not has_tensors:
        del value["tensors"]
    return finite(value)


def subjects(d: Description) -> Iterator[tuple[str, str]]:
    """(subject, what is known of it)."""
    if d.release:
        yield "release", _release(d)
    yield (
        "dialect",
        f"{d.dialect}, architectures {', '.join(map(printable, d.architectures)) or 'none'}"
        if d.dialect
        else "not a GTE's",
    )
    yield (
        "names",
        f"{f'prefix `{d.prefix}`' if d.prefix else 'no prefix'}, {_LAYOUTS[d.layout]}" if d.layout else "not a GTE's",
    )
    if d.head:
        yield "head", d.head
    if d.sizes:
        yield "sizes", _sizes(d.sizes)
    if d.vocabulary:
        yield "vocabulary", _vocabulary(d.vocabulary)
    if d.pad:
        yield "pad", _pad(d.pad)
    if d.type_rows is not None:
        yield "types", count(d.type_rows, "row")
    if d.rope:
        yield "rope", _rope(d.rope)
    yield from _stored_rows(d)
    yield from _sidecar_rows(d)


def _stored_rows(d: Description) -> Iterator[tuple[str, str]]:
    dtypes = f" ({', '.join(dtype for dtype, _ in d.dtypes)})" if d.dtypes else ""
    yield (
        "parameters",
        f"{d.parameters:,} in {count(sum(n for _, n in d.dtypes), 'tensor')}{dtypes}, {size(d.nbytes)}",
    )
    for part in d.parts:
        yield f"  {part.name}", f"{part.parameters:,} in {count(part.tensors, 'tensor')}, {size(part.nbytes)}"
    yield (
        "files",
        f"{count(len(d.files), 'file')}, {size(sum(file.size for file in d.files))}, {d.shards} of them weights",
    )
    if d.kept.files:
        yield "undo", f"{count(d.kept.files, 'file')}, {size(d.kept.nbytes)}, kept for it; `undo --drop` frees them"
    needs = d.memory
    yield (
        "memory",
        f"{size(needs.inference_fp16)} for the weights in fp16, {size(needs.inference_fp32)} in fp32, "
        f"{size(needs.training_fp32)} to train with AdamW in fp32; activations on top",
    )


def _sidecar_rows(d: Description) -> Iterator[tuple[str, str]]:
    ids = ", ".join(f"{printable(role)} {number}" for role, number in d.special_ids)
    stated = ", ".join(f"{role} {number}" for role, number in d.stated_ids)
    if d.tokenizer_files:
        yield "tokenizer", ", ".join(map(printable, d.tokenizer_files)) + (f"; ids: {ids}" if ids else "")
    elif stated:
        yield "special ids", f"{stated}, by config.json"
    if d.pooling:
        yield "pooling", printable(d.pooling)
    if d.max_seq_length is not None:
        yield "max length", f"{d.max_seq_length:,} tokens"
    for adapter in d.adapters:
        yield "adapter", f"{printable(adapter.folder or '.')}: {printable(adapter.words)}; it {printable(adapter.fit)}"


def _release(d: Description) -> str:
    differences = ", ".join(f"{key} {here} instead of {there}" for key, here, there in d.differences)
    return f"resembles {d.release}" + (f", but {differences}" if differences else "")


def _sizes(sizes: Sizes) -> str:
    return (
        f"{count(sizes.num_hidden_layers, 'layer')}, hidden {sizes.hidden_size}, "
        f"{count(sizes.num_attention_heads, 'head')} of {sizes.head_size}, feed-forward {sizes.intermediate_size}, "
        f"{sizes.max_position_embeddings:,} positions"
    )


def _vocabulary(vocabulary: Vocabulary) -> str:
    rows = count(vocabulary.rows, "row")
    if vocabulary.tokenizer is None or vocabulary.spare is None:
        return rows
    if vocabulary.spare < 0:
        return f"{rows}, {-vocabulary.spare:,} too few for the tokenizer's {vocabulary.tokenizer:,} ids"
    return f"{rows}, {vocabulary.spare:,} more than the tokenizer's {vocabulary.tokenizer:,} ids"


def _pad(pad: Pad) -> str:
    token = f" `{printable(pad.token)}`" if pad.token else ""
    if pad.is_zero is None:
        return f"id {pad.id}{token}, which has no row"
    size = "" if pad.norm is None else f" (norm {pad.norm:.3g})"
    return f"id {pad.id}{token}, its row " + ("is zero" if pad.is_zero else f"is not zero{size}")


def _rope(rope: RopeFacts) -> str:
    if rope.shortest_wavelength is None or rope.longest_wavelength is None:
        return printable(rope.words)
    longest = f"{rope.longest_wavelength:,.0f}"
    return f"{printable(rope.words)}; one turn takes {rope.shortest_wavelength:.1f} to {longest} tokens"


def _tensor_rows(d: Description) -> list[tuple[str, ...]]:
    return [(t.dtype, str(list(t.shape)), size(t.nbytes), printable(t.name), printable(t.file)) for t in d.tensors]
