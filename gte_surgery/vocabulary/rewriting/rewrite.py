"""All the tokenizer files of a checkpoint moved to other ids together: what changes in each, or why it cannot.

What a kept text was cut into, it is cut into still: ids that the tokenizer cannot do without are refused by name where
they go (`closure` says which those are).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_identified, read_whole
from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.json_stream import StreamError
from gte_surgery.vocabulary.rewriting import companions
from gte_surgery.vocabulary.rewriting.classes import UNKNOWN, XLM_R, replaced
from gte_surgery.vocabulary.rewriting.closure import passed_through, required
from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.rewriting.made import WAY_OUT, made
from gte_surgery.vocabulary.rewriting.tokenizer_json import NewIds, rewritten_json
from gte_surgery.vocabulary.token_files import (
    ADDED_TOKENS,
    MERGES,
    MOST_BYTES,
    NUMBERED_WORDS,
    SENTENCEPIECE,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    WORDS,
    AddedToken,
    TokenizerJson,
    class_of,
    parsed,
    settings,
)
from gte_surgery.vocabulary.tokenizer import read_tokenizer, settled

_STATING = (TOKENIZER_CONFIG, ADDED_TOKENS)
"""The files that state ids of added tokens, which may be others than those in use."""


@dataclass(frozen=True, slots=True)
class Source:
    """The tokenizer of a checkpoint as it is rewritten: tokenizer.json, the settings, and the others by name."""

    contents: Contents
    settings: tuple[Mapping[str, object], ...]
    others: Mapping[str, bytes]
    is_made: bool = False
    """Whether tokenizer.json is none of the checkpoint's files, but made of them."""
    class_name: str = ""
    """The class that transformers takes for it, as far as the files say it."""

    @property
    def replaced(self) -> list[str]:
        """The parts of tokenizer.json that this class has others for."""
        first, second = self.settings
        return [*replaced(self.class_name, self.contents.whole.members, {**second, **first})]


def load(checkpoint: Checkpoint, way_out: str = WAY_OUT) -> Source:
    """The tokenizer of a checkpoint, for rewriting. Raises RefusedError where it has no tokenizer.json, and none can be
    made, or one that cannot be read; its hint ends in `way_out`.
    """
    file = checkpoint.readable(TOKENIZER_JSON)
    if file is not None:
        tokenizer = read_tokenizer(checkpoint)
        contents = read_contents(file, way_out, tokenizer.whole, tokenizer.beside)
    else:
        contents = _made_contents(checkpoint, way_out)
    names = (TOKENIZER_CONFIG, ADDED_TOKENS, WORDS, NUMBERED_WORDS, MERGES, *SENTENCEPIECE)
    readable = [(name, checkpoint.readable(name)) for name in names if checkpoint.has(name)]
    others = {name: read_whole(entry.place, MOST_BYTES) for name, entry in readable if entry is not None}
    first, second = settings(checkpoint)
    return Source(contents, (first, second), others, file is None, class_of(checkpoint).name)


def _made_contents(checkpoint: Checkpoint, way_out: str) -> Contents:
    try:
        raw = checkpoint.once(made)
        whole = parsed(raw)
    except (RefusedError, StreamError) as error:
        message, hint = (error.message, error.hint) if isinstance(error, RefusedError) else (str(error), "")
        raise RefusedError(message, "; or ".join(filter(None, (hint, way_out)))) from None
    return Contents(raw.decode("latin-1"), whole, tuple(settled(whole.added, whole.pieces)))


def read_contents(
    file: FileEntry,
    way_out: str = WAY_OUT,
    whole: TokenizerJson | None = None,
    beside: Collection[AddedToken] = (),
) -> Contents:
    """A tokenizer.json for rewriting; `whole` is what it was read as before, if it was, and `beside` are the tokens
    that other files add to it. Raises RefusedError.
    """
    try:
        raw, identity = read_identified(file.place, MOST_BYTES)
        if whole is None or whole.identity != identity:
            whole = parsed(raw, {token.text for token in beside})
        return Contents(raw.decode("latin-1"), whole, tuple(settled((*whole.added, *beside), whole.pieces)))
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
    readable = [(name, checkpoint.readable(name)) for name in _STATING]
    old = {name: read_whole(entry.place, MOST_BYTES) for name, entry in readable if entry is not None}
    new = {name: _other(name, raw, None, new_ids) for name, raw in old.items()}
    return {name: raw for name, raw in new.items() if raw != old[name]}


def refuse_incomplete(source: Source, new_ids: NewIds) -> None:
    """Raises RefusedError, with the tokens, where `new_ids` lacks some that the tokenizer cannot do without."""
    contents = source.contents
    kept = [number for number in contents.texts if number in new_ids]
    missing = {number: why for number, why in required(contents, source.settings).items() if number not in new_ids}
    missing |= passed_through(contents, kept)
    if missing:
        number, why = next(iter(missing.items()))
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        listed = " ".join(str(number) for number in sorted(missing)[:50])
        raise RefusedError(
            f"{TOKENIZER_JSON}: `{contents.texts[number]}` ({number}) gets no new id, and {why}{more}",
            f"keep these ids too: {listed}{' …' if len(missing) > 50 else ''}; or {WAY_OUT}",
        )


def _refuse_unknown(source: Source, new_ids: NewIds) -> None:
    contents = source.contents
    if source.class_name == XLM_R and contents.is_scored and contents.unknown == UNKNOWN != new_ids[UNKNOWN]:
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
    match name:
        case "tokenizer_config.json":
            return companions.settings_rewritten(raw, _in_use(contents), new_ids)
        case "added_tokens.json":
            return companions.added_rewritten(raw, _in_use(contents), new_ids)
        case "vocab.txt":
            return companions.words_rewritten(raw, new_ids)
        case "vocab.json":
            return companions.numbered_rewritten(raw, new_ids)
        case "merges.txt":
            return companions.merges_rewritten(raw, contents.ids if contents else {}, new_ids)
        case _:
            return companions.sentencepiece_rewritten(raw, name, contents.ids if contents else {}, new_ids)


def _in_use(contents: Contents | None) -> Mapping[str, int]:
    return {token.text: token.id for token in contents.added} if contents else {}
