"""Plans a `Reinit`: fresh weights for all tensors, or for those whose names match, by the very rules and random streams
of `fresh`. So a whole checkpoint becomes what `new` makes with that seed, in whatever layout it is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.errors import RefusedError
from gte_surgery.gte.tensors import Init, TensorSpec
from gte_surgery.gte.wording import counted, listed
from gte_surgery.surgery.edits import Reinit
from gte_surgery.surgery.planning.fresh import fresh_tensor, pad_row
from gte_surgery.surgery.planning.parts.rewrite import TensorChanges, assembled, rewrite
from gte_surgery.surgery.planning.plan import Plan, PlannedTensor
from gte_surgery.surgery.planning.target import Target
from gte_surgery.vocabulary.tokenizer import read_tokenizer, usable_pad


def plan_reinit(target: Target, edit: Reinit) -> Plan:
    """The plan of `edit`; raises RefusedError for a pattern that matches nothing that could be drawn anew."""
    specs = _specs(target)
    chosen = drawn_names(target, edit)
    _refuse_pad_outside(target, chosen)
    rewritten = {target.tensors[name].name: _successor(target, specs, name, edit.seed) for name in chosen}
    weights = rewrite(target.checkpoint, TensorChanges(rewritten))
    return assembled(target.checkpoint, edit, weights, meaning=_meaning(target, specs, chosen, edit))


def drawn_names(target: Target, edit: Reinit) -> list[str]:
    """The canonical names of the tensors that the edit draws anew."""
    return _with_tied(target, _chosen(target, _specs(target), edit.only))


def _specs(target: Target) -> dict[str, TensorSpec]:
    """The stored tensors that a GTE of this config has, by canonical name."""
    known = target.config, target.layout, target.head
    specs = (*target.family.inventory(*known), *target.family.optional(*known))
    return {spec.canonical: spec for spec in specs if spec.canonical in target.tensors}


def _chosen(target: Target, specs: Mapping[str, TensorSpec], only: tuple[str, ...] | None) -> list[str]:
    """The canonical names of the tensors that match any of the patterns; each pattern must match one."""
    if only is None:
        return list(specs)
    for pattern in only:
        if not any(_matches(target, name, pattern) for name in specs):
            raise _unmatched(target, pattern)
    return [name for name in specs if any(_matches(target, name, pattern) for pattern in only)]


def _matches(target: Target, canonical: str, pattern: str) -> bool:
    """Whether a shell pattern fits the stored name, the canonical one, or that of the packed tensor it is part of."""
    spellings = {target.tensors[canonical].name, canonical, target.family.naming.place_in_packed(canonical)[0]}
    return any(fnmatchcase(name, pattern) for name in spellings)


def _unmatched(target: Target, pattern: str) -> RefusedError:
    found = [f"`{name}`" for name in target.checkpoint.tensors if fnmatchcase(name, pattern)]
    if found:
        return RefusedError(
            f"only {pattern!r}: matches {listed(found)}, which no GTE has",
            "there is no rule by which to draw it anew; it can only be carried along",
        )
    return RefusedError(
        f"only {pattern!r}: matches no tensor of {target.checkpoint.name}",
        f"`gte-surgery inspect {target.checkpoint.name} --tensors` lists the names",
    )


def _is_tied(target: Target) -> bool:
    """Whether a decoder weight is stored that is the word table once more."""
    return target.names.decoder in target.tensors and target.config.tie_word_embeddings


def _with_tied(target: Target, chosen: list[str]) -> list[str]:
    """The word table and a stored decoder weight tied to it are drawn together or not at all."""
    pair = [target.names.words, target.names.decoder]
    is_split = _is_tied(target) and sum(name in chosen for name in pair) == 1
    return [*chosen, *(name for name in pair if name not in chosen)] if is_split else chosen


def _refuse_pad_outside(target: Target, chosen: Collection[str]) -> None:
    pad, rows = target.config.pad_token_id, target.config.vocab_size
    if target.names.words in chosen and pad is not None and not 0 <= pad < rows:
        wanted = usable_pad(read_tokenizer(target.checkpoint), None, rows)
        command = pasteable("resize", target.checkpoint.name, "--vocab", str(rows), "--pad", str(wanted))
        raise RefusedError(
            f"config.json: /pad_token_id: {pad}, must be below vocab_size {rows}",
            f"{command} mends it",
        )


def _successor(target: Target, specs: Mapping[str, TensorSpec], canonical: str, seed: int) -> PlannedTensor:
    stored, spec = target.tensors[canonical], specs[canonical]
    if canonical == target.names.decoder and _is_tied(target):
        spec = specs[target.names.words]._replace(name=stored.name)
    return fresh_tensor(target.family, spec, target.config, stored.dtype, seed)


def _meaning(target: Target, specs: Mapping[str, TensorSpec], chosen: Collection[str], edit: Reinit) -> Iterator[str]:
    parameters = sum(specs[name].size for name in chosen)
    made = "is" if len(chosen) == 1 else "are"
    what = f"{counted(len(chosen), 'tensor')} ({counted(parameters, 'parameter')})"
    yield f"{what} {made} made anew by the model's own rules, seed {edit.seed}"
    drawn = sorted({(specs[name].std, specs[name].cut) for name in chosen if specs[name].init is Init.NORMAL})
    if drawn:
        stds = ", ".join(f"N(0, {std:g})" for std in sorted({std for std, _ in drawn}))
        cuts = sorted({cut for _, cut in drawn if cut is not None})
        within = f", cut off at {cuts[0]:g} deviations" if cuts else ""
        yield f"weights are drawn from {stds}{within}; biases are 0, norms 1 and 0"
    pads = [name for name in chosen if pad_row(target.family, specs[name], target.config) is not None]
    if pads:
        yield f"row {target.config.pad_token_id}, the pad row, is zero"
    if len(chosen) < len(specs):
        yield f"{counted(len(specs) - len(chosen), 'other tensor')} of the network keep their values"
    yield from _tying(target, chosen)
    strangers = [f"`{name}`" for name in target.checkpoint.tensors if not _is_known(target, specs, name)]
    if strangers:
        yield f"not touched, since no GTE has it: {listed(strangers)}"


def _tying(target: Target, chosen: Collection[str]) -> Iterator[str]:
    if not target.has_decoder or not target.config.tie_word_embeddings:
        return
    if _is_tied(target) and target.names.words in chosen:
        yield "the stored decoder weight stays tied: it gets the same numbers as the word embeddings"
    elif target.names.words in chosen:
        yield "the masked-LM decoder is tied to the word embeddings and becomes fresh with them"
    elif any(target.family.region(name, target.head) == "head" for name in chosen):
        yield "the masked-LM decoder is tied to the word embeddings, which stay as they are"


def _is_known(target: Target, specs: Mapping[str, TensorSpec], stored: str) -> bool:
    return target.family.naming.canonical(stored, target.layout) in specs
