"""What a tokenizer.json puts around texts: the ids of its post-processor and its padding, and the token types.

Formats: tokenizers 0.23, `processors` (template.rs, bert.rs, roberta.rs, byte_level.rs, sequence.rs) and
`utils/padding.rs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeGuard

from gte_surgery.checkpoint.printable import shown


class Emitted(NamedTuple):
    """An id that comes out of a tokenizer though no text holds its token: `token` as messages show it, the `file` and
    the JSON `pointer` where the id stands, `part` "template", "padding" or "added". `own` is the id that the token has
    in the vocabulary or among the added tokens, None where it is in neither.
    """

    id: int
    token: str
    file: str
    pointer: str
    part: str
    own: int | None = None


class Frame(NamedTuple):
    """What stands around one text and around two: the special tokens' ids in `single`, before and after it, and the
    highest token type in each.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    single_type: int = 0
    pair_type: int = 0


def emitted_by(
    post: object, file: str, by_text: Mapping[str, int], pointer: str = "/post_processor"
) -> Iterator[Emitted]:
    """The ids that a post-processor holds; nothing of one that is none. `by_text` are the ids of tokens by text."""
    if not isinstance(post, dict):
        return
    for at, each in enumerate(_list(post.get("processors"))):
        yield from emitted_by(each, file, by_text, f"{pointer}/processors/{at}")
    for role in ("sep", "cls"):
        pair = post.get(role)
        if isinstance(pair, list) and len(pair) == 2 and is_id(pair[1]):
            text = str(pair[0])
            yield Emitted(pair[1], shown(text), file, f"{pointer}/{role}/1", "template", by_text.get(text))
    specials = post.get("special_tokens")
    for key, special in specials.items() if isinstance(specials, dict) else ():
        escaped = key.replace("~", "~0").replace("/", "~1")
        for at, number in enumerate(_list(special.get("ids")) if isinstance(special, dict) else []):
            if is_id(number):
                place = f"{pointer}/special_tokens/{escaped}/ids/{at}"
                text = str(_nth(special.get("tokens"), at, key))
                yield Emitted(number, shown(text), file, place, "template", by_text.get(text))


def frame_of(post: object) -> Frame:
    """What a post-processor puts around texts; nothing for none."""
    frame = Frame()
    if not isinstance(post, dict):
        return frame
    match post.get("type"):
        case "Sequence":
            for each in _list(post.get("processors")):
                found = frame_of(each)
                frame = Frame(
                    found.before + frame.before,
                    frame.after + found.after,
                    max(frame.single_type, found.single_type),
                    max(frame.pair_type, found.pair_type),
                )
        case "BertProcessing" | "RobertaProcessing":
            cls, sep = ((_nth(post.get(role), 1, None)) for role in ("cls", "sep"))
            pair_type = int(post["type"] == "BertProcessing")
            frame = Frame((cls,) if is_id(cls) else (), (sep,) if is_id(sep) else (), 0, pair_type)
        case "TemplateProcessing":
            single, pair = _list(post.get("single")), _list(post.get("pair"))
            before, after = _around(single, post.get("special_tokens"))
            frame = Frame(before, after, _highest_type(single), _highest_type(pair))
    return frame


def is_id(value: object) -> TypeGuard[int]:
    """Whether a JSON value can be a token id: a whole number that 32 bits hold."""
    return type(value) is int and 0 <= value < 2**32


def _around(template: list[object], specials: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after the first text of a template."""
    known = specials if isinstance(specials, dict) else {}
    sides: tuple[list[int], list[int]] = ([], [])
    side = 0
    for part in template:
        if not isinstance(part, dict):
            continue
        if "Sequence" in part:
            side = 1
        special = known.get(_member(part.get("SpecialToken"), "id"))
        sides[side].extend(number for number in _list(_member(special, "ids")) if is_id(number))
    return tuple(sides[0]), tuple(sides[1])


def _highest_type(template: list[object]) -> int:
    parts = (content for part in template if isinstance(part, dict) for content in part.values())
    types = (_member(content, "type_id") for content in parts)
    return max((number for number in types if is_id(number)), default=0)


def _member(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def _nth(value: object, at: int, otherwise: object) -> object:
    return value[at] if isinstance(value, list) and at < len(value) else otherwise


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
