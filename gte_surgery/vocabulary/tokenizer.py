"""A tokenizer as one value, read from whichever files a checkpoint carries: its size, its special and added tokens, and
what it emits around texts. Read here, in bounded memory and time; nothing of another's making parses these files.

Ids are those that programs use. The tokenizers package takes the id of an added token from the vocabulary where its
text is there, and else counts on from the end, whatever the file states [tokenizers 0.23, added_vocabulary.rs]; so does
transformers with the tokens of the older files, be there a tokenizer.json or not, for which the stated ids are an order
and no more [5.24; 4.57.6 but for use_fast=False, which takes them as they are stated]. They count only where no
vocabulary is there to count on from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checkpoint.sidecars import members_of
from gte_surgery.vocabulary.classes import AS_FILED, Class, class_of
from gte_surgery.vocabulary.emission import Emitted, Frame, emitted_by, frame_of
from gte_surgery.vocabulary.filed import TokenizerJson, read_filed
from gte_surgery.vocabulary.pieces import Pieces
from gte_surgery.vocabulary.token_files import (
    ROLES,
    SPECIAL_TOKENS,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    AddedToken,
    is_id,
    named_tokens,
    older_tokens,
    settings,
)

ALIKE = {
    "pad": ("[PAD]", "<pad>"),
    "cls": ("[CLS]", "<s>", "<cls>", "<bos>"),
    "sep": ("[SEP]", "</s>", "<sep>", "<eos>"),
    "mask": ("[MASK]", "<mask>"),
    "unk": ("[UNK]", "<unk>"),
}
"""What the special tokens of each part are called by tokenizers of different make: one may take the other's row."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """What the tokenizer files of a checkpoint come to.

    `files` are those that are there, `source` the one that the vocabulary was read from, "" for none; `trouble` says
    why others could not be read. `kind` is the model's type where that is tokenizer.json ("Unigram", …), else its name.
    `rows` is the least number of table rows that holds the vocabulary proper, `tokens` are the added tokens, as
    messages show them, by id; some are in the vocabulary as well. `ids` are the special ids by role ("pad", "cls", …).
    `emitted` are ids that stand elsewhere in the files; `frame` is what surrounds texts, None where no file says it;
    `side` is where it pads, None where no file says it. `has_types` tells whether token types are given to the model at
    all. `made_by` is the class that transformers makes it with, `named` are the roles for which a file or that class
    has a token; `added` are the added tokens with the ids in use, `whole` is tokenizer.json as it was read.
    """

    files: tuple[str, ...] = ()
    source: str = ""
    kind: str = ""
    rows: int | None = None
    tokens: Mapping[int, str] = field(default_factory=dict)
    ids: Mapping[str, int] = field(default_factory=dict)
    emitted: tuple[Emitted, ...] = ()
    frame: Frame | None = None
    side: str | None = None
    has_types: bool = True
    trouble: Mapping[str, str] = field(default_factory=dict)
    made_by: Class = AS_FILED
    named: frozenset[str] = frozenset()
    added: tuple[AddedToken, ...] = field(default=(), repr=False)
    whole: TokenizerJson | None = field(default=None, repr=False, compare=False)

    @property
    def beside(self) -> tuple[AddedToken, ...]:
        """The added tokens that other files add to those of tokenizer.json, in the order in which they do."""
        return tuple(token for token in self.added if token.turn)

    @property
    def vocab_size(self) -> int | None:
        """The least number of table rows that holds every token of the vocabulary and beside it; None: unknown."""
        known = [number + 1 for number in (*self.tokens, *self.ids.values())]
        if self.rows is not None:
            known.append(self.rows)
        return max(known, default=None)


def usable_pad(tokenizer: Tokenizer, pad: int | None, rows: int) -> int:
    """A pad id for a table of `rows` rows: `pad` if it is one, else the tokenizer's, else the last, whose token is the
    rarest and is missed least."""
    return next(at for at in (pad, tokenizer.ids.get("pad"), rows - 1) if at is not None and 0 <= at < rows)


def read_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer of a checkpoint, read once; an empty value where it has none. Never raises."""
    return checkpoint.once(_read)


def _read(checkpoint: Checkpoint) -> Tokenizer:
    files = tuple(name for name in TOKENIZER_FILES if checkpoint.has(name))
    if not files:
        return Tokenizer()
    stated, older, made_by = settings(checkpoint), list(older_tokens(checkpoint)), class_of(checkpoint)
    alike = (text for texts in ALIKE.values() for text in texts)
    found = read_filed(checkpoint, {*(token.text for token in (*named_tokens(stated), *older)), *alike})
    pieces, whole, source = found.pieces, found.whole, found.source
    kind = str(whole.model.get("type") or "") if whole else source
    words = {f"{role}_token": word for role, word in made_by.words.items()} if made_by.fits(kind) else {}
    named = list(named_tokens({**words, **stated}, source))
    texts = {role: each.text for role in ROLES for each in named if each.pointer == f"/{role}_token"}
    missing = (_placed(checkpoint, token) for token in named if pieces and token.text not in pieces.ids)
    as_stated = Pieces(0, 0, {token.text: token.id for token in reversed(older)})
    added = tuple(settled((*(whole.added if whole else ()), *older, *missing), pieces or as_stated))
    by_text = {**(pieces.ids if pieces else {}), **{token.text: token.id for token in added}}
    frame = frame_of(whole.members.get("post_processor")) if whole else None
    return Tokenizer(
        files=files,
        source=source,
        kind=kind,
        made_by=made_by,
        named=frozenset(texts) | ({"pad"} if whole and not words and whole.padding else frozenset()),
        rows=pieces.rows if pieces else None,
        tokens={token.id: shown(token.text) for token in added},
        ids=_roles(texts, by_text, whole, frame),
        emitted=tuple(_emitted(whole, added, older, by_text)),
        frame=frame,
        side=_side(stated, whole),
        has_types=_has_types(stated),
        trouble=found.trouble,
        added=added,
        whole=whole,
    )


def _placed(checkpoint: Checkpoint, token: AddedToken) -> AddedToken:
    """A token that settings name, in the file that does; one that only a class names is in that of the vocabulary."""
    key, files = token.pointer[1:], (TOKENIZER_CONFIG, SPECIAL_TOKENS)
    return token._replace(file=next((name for name in files if members_of(checkpoint, name).get(key)), token.file))


def settled(added: Iterable[AddedToken], pieces: Pieces) -> Iterator[AddedToken]:
    """The added tokens, in the order in which they are added, with the ids that they get in use."""
    seen: set[str] = set()
    beside = pieces.count
    for token in added:
        if token.text in seen:
            continue
        seen.add(token.text)
        yield token._replace(id=pieces.ids.get(token.text, beside))
        beside += token.text not in pieces.ids


def _roles(
    texts: Mapping[str, str], by_text: Mapping[str, int], whole: TokenizerJson | None, frame: Frame | None
) -> dict[str, int]:
    """The special ids by role: as the settings name them, else as the parts of tokenizer.json do."""
    found = {role: by_text[texts[role]] for role in ROLES if texts.get(role) in by_text}
    if whole is None or texts:
        return found
    for role, names in ALIKE.items():
        known = [by_text[name] for name in names if name in by_text]
        found.update({role: known[0]} if known else {})
    if frame is not None and frame.before:
        found["cls"] = frame.before[0]
    if frame is not None and frame.after:
        found["sep"] = frame.after[-1]
    unknown = whole.model.get("unk_id", by_text.get(str(whole.model.get("unk_token"))))
    numbers = {"pad": whole.padding.get("pad_id"), "unk": unknown}
    found.update({role: number for role, number in numbers.items() if isinstance(number, int)})
    return {role: found[role] for role in ROLES if role in found and is_id(found[role])}


def _emitted(
    whole: TokenizerJson | None, added: Collection[AddedToken], older: list[AddedToken], by_text: Mapping[str, int]
) -> Iterator[Emitted]:
    if whole is not None:
        yield from emitted_by(whole.members, by_text)
    in_use = {token.text: token.id for token in added}
    for each in (*added, *(token for token in older if in_use.get(token.text) != token.id)):
        yield Emitted(each.id, each.text, each.pointer, "added", in_use[each.text], each.file)


def _side(stated: Mapping[str, object], whole: TokenizerJson | None) -> str | None:
    """Where it pads: as tokenizer_config.json says, else as tokenizer.json's padding does [transformers 5.24 takes the
    latter where the former is silent]."""
    side = stated.get("padding_side")
    if side is None and whole is not None:
        side = whole.padding.get("direction")
    return side.lower() if isinstance(side, str) and side.lower() in ("left", "right") else None


def _has_types(stated: Mapping[str, object]) -> bool:
    """Whether programs get token types from it; XLM-R's tokenizer gives none [transformers: model_input_names]."""
    names = stated.get("model_input_names")
    if isinstance(names, list):
        return "token_type_ids" in names
    return "Roberta" not in str(stated.get("tokenizer_class"))
