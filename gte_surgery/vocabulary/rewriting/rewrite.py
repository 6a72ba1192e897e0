"""All the tokenizer files of a checkpoint moved to other ids together: what changes in each, or why it cannot.

What a kept text was cut into, it is cut into still: ids that the tokenizer cannot do without are refused by name where
they go (`closure` says which those are).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_identified
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.classes import UNKNOWN, XLM_R, class_of
from gte_surgery.vocabulary.filed import parsed
from gte_surgery.vocabulary.json_stream import StreamError
from gte_surgery.vocabulary.rewriting import companions
from gte_surgery.vocabulary.rewriting.closure import passed_through, required
from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.rewriting.made import WAY_OUT, made
from gte_surgery.vocabulary.rewriting.tokenizer_json import NewIds, rewritten_json
from gte_surgery.vocabulary.token_files import (
    ADDED_TOKENS,
    MOST_BYTES,
    SPECIAL_TOKENS,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    contents_of,
    settings,
)
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer, settled

_STATING = (TOKENIZER_CONFIG, ADDED_TOKENS)
"""The files that state ids of added tokens, which may be others than those in use."""
_UNREAD = Tokenizer()


@dataclass(frozen=True, slots=True)
class Source:
    """The tokenizer of a checkpoint as it is rewritten: its tokenizer.json, or the one that is made of its files, and
    the `others` that hold ids, by name.
    """

    checkpoint: Checkpoint
    contents: Contents
    others: Mapping[str, bytes]

    @property
    def is_made(self) -> bool:
        """Whether tokenizer.json is none of the checkpoint's files, but made of them."""
        return self.contents.name != TOKENIZER_JSON

    @property
    def needed(self) -> dict[int, str]:
        """The tokens that every vocabulary of it must hold, by id, each with the reason in words."""
        return required(self.contents, settings(self.checkpoint))


def load(checkpoint: Checkpoint, way_out: str = WAY_OUT) -> Source:
    """The tokenizer of a checkpoint, for rewriting. Raises RefusedError where it has no tokenizer.json, and none can be
    made, or one that cannot be read; its hint ends in `way_out`.
    """
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is not None:
        contents = read_contents(file, way_out, read_tokenizer(checkpoint))
    else:
        contents = _made_contents(checkpoint, way_out)
    others = [name for name in TOKENIZER_FILES if name not in (TOKENIZER_JSON, SPECIAL_TOKENS)]
    return Source(checkpoint, contents, contents_of(checkpoint, others))


def _made_contents(checkpoint: Checkpoint, way_out: str) -> Contents:
    try:
        raw = checkpoint.once(made)
        whole = parsed(raw)
    except (RefusedError, StreamError) as error:
        message, hint = (error.message, error.hint) if isinstance(error, RefusedError) else (str(error), "")
        raise RefusedError(message, "; or ".join(filter(None, (hint, way_out)))) from None
    added = tuple(settled(whole.added, whole.pieces))
    return Contents(raw.decode("latin-1"), whole, added, read_tokenizer(checkpoint).source)


def read_contents(file: FileEntry, way_out: str = WAY_OUT, known: Tokenizer = _UNREAD) -> Contents:
    """A tokenizer.json for rewriting; `known` is the tokenizer as it was read before, if it was, with the tokens that
    other files add to it. Raises RefusedError.
    """
    try:
        raw, identity = read_identified(file, MOST_BYTES)
        whole, added = known.whole, known.added
        if whole is None or whole.identity != identity:
            whole = parsed(raw, {token.text for token in known.beside})
            added = tuple(settled((*whole.added, *known.beside), whole.pieces))
        return Contents(raw.decode("latin-1"), whole, added)
    except StreamError as error:
        raise RefusedError(f"{file.name}: cannot be read: {error}", way_out) from None


def rewritten(source: Source, new_ids: NewIds) -> dict[str, bytes]:
    """The new content of each file that changes, by name; for ids that stay as they are, of those that state others.

    Raises RefusedError for ids that the tokenizer needs and that go, and where a file cannot hold the new ids.
    """
    contents = source.contents
    if all(new_ids.get(number) == number for number in contents.texts):
        new = dict(_others(source, new_ids, _STATING))
    else:
        refuse_incomplete(source, new_ids)
        if not source.is_made:  # else it shows when it is made again
            _refuse_unknown(source, new_ids)
        new = {TOKENIZER_JSON: rewritten_json(contents, new_ids), **dict(_others(source, new_ids, source.others))}
    old = {TOKENIZER_JSON: contents.raw, **source.others}
    return {name: raw for name, raw in new.items() if raw != old[name]}


def settings_alone(checkpoint: Checkpoint, new_ids: NewIds) -> dict[str, bytes]:
    """The new content of the small files of a tokenizer without a vocabulary, by name, of those that change."""
    old = contents_of(checkpoint, _STATING)
    new = {name: _other(name, raw, None, new_ids) for name, raw in old.items()}
    return {name: raw for name, raw in new.items() if raw != old[name]}


def refuse_incomplete(source: Source, new_ids: NewIds) -> None:
    """Raises RefusedError, with the tokens, where `new_ids` lacks some that the tokenizer cannot do without."""
    contents = source.contents
    kept = [number for number in contents.texts if number in new_ids]
    missing = {number: why for number, why in source.needed.items() if number not in new_ids}
    missing |= passed_through(contents, kept)
    if missing:
        number, why = next(iter(missing.items()))
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        listed = " ".join(str(number) for number in sorted(missing)[:50])
        raise RefusedError(
            f"{contents.name}: `{contents.texts[number]}` ({number}) gets no new id, and {why}{more}",
            f"keep these ids too: {listed}{' …' if len(missing) > 50 else ''}; or {WAY_OUT}",
        )


def _refuse_unknown(source: Source, new_ids: NewIds) -> None:
    contents = source.contents
    is_xlm_r = class_of(source.checkpoint).name == XLM_R
    if is_xlm_r and contents.is_scored and contents.unknown == UNKNOWN != new_ids[UNKNOWN]:
        raise RefusedError(
            f"{TOKENIZER_JSON}: `{contents.texts[UNKNOWN]}` would be id {new_ids[UNKNOWN]}, and transformers' "
            f"{XLM_R} takes id {UNKNOWN} for what is unknown, whatever the files say",
            f'keep its id, or have "tokenizer_class": "PreTrainedTokenizerFast" in {TOKENIZER_CONFIG}; or {WAY_OUT}',
        )


def _others(source: Source, new_ids: NewIds, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for name, raw in source.others.items():
        if name not in names:
            continue
        try:
            yield name, _other(name, raw, source.contents, new_ids)
        except (StreamError, ValueError) as error:
            raise RefusedError(f"{name}: cannot be rewritten: {error}", WAY_OUT) from None


def _other(name: str, raw: bytes, contents: Contents | None, new_ids: NewIds) -> bytes:
    in_use = {token.text: token.id for token in contents.added} if contents else {}
    match name:
        case "tokenizer_config.json":
            return companions.settings_rewritten(raw, in_use, new_ids)
        case "added_tokens.json":
            return companions.added_rewritten(raw, in_use, new_ids)
        case "vocab.txt":
            return companions.words_rewritten(raw, new_ids)
        case "vocab.json":
            return companions.numbered_rewritten(raw, new_ids)
        case "merges.txt":
            return companions.merges_rewritten(raw, contents.ids if contents else {}, new_ids)
        case _:
            return companions.sentencepiece_rewritten(raw, name, contents.ids if contents else {}, new_ids)
