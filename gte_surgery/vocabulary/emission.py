"""What a tokenizer.json puts around texts: the ids of its post-processor and its padding, and the token types.

Formats: tokenizers 0.23, `processors` (template.rs, bert.rs, roberta.rs, byte_level.rs, sequence.rs) and
`utils/padding.rs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gte_surgery.checkpoint.json.strict import escape
from gte_surgery.checkpoint.printable import shown
from gte_surgery.vocabulary.token_files import TOKENIZER_JSON, dict_of, is_id, list_of


class Emitted(NamedTuple):
    """An id that comes out of a tokenizer though no text holds its token: the `text` of that, the JSON `pointer` in
    the `file` where the id stands, `part` "template", "padding" or "added". `own` is the id that the token has in the
    vocabulary or among the added tokens, None where it is in neither.
    """

    id: int
    text: str
    pointer: str
    part: str
    own: int | None = None
    file: str = TOKENIZER_JSON

    @property
    def token(self) -> str:
        """The text as messages show it."""
        return shown(self.text)


class Frame(NamedTuple):
    """What stands around one text and around two: the special tokens' ids in `single`, before and after it, and the
    highest token type in each.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    single_type: int = 0
    pair_type: int = 0


def emitted_by(members: Mapping[str, object], by_text: Mapping[str, int]) -> Iterator[Emitted]:
    """The ids that the post-processor and the padding of a tokenizer.json hold; `by_text` are the ids of tokens."""
    padding = dict_of(members.get("padding"))
    held = [("template", *each) for each in _held(dict_of(members.get("post_processor")), "/post_processor")]
    held.append(("padding", "/padding/pad_id", padding.get("pad_id"), padding.get("pad_token")))
    for part, pointer, number, text in held:
        if is_id(number):
            yield Emitted(number, str(text), pointer, part, by_text.get(str(text)))


def _held(post: Mapping[str, object], pointer: str) -> Iterator[tuple[str, object, object]]:
    """(JSON pointer, id, token) of the ids that a post-processor holds."""
    for at, each in enumerate(list_of(post.get("processors"))):
        yield from _held(dict_of(each), f"{pointer}/processors/{at}")
    for role in ("sep", "cls"):
        pair = list_of(post.get(role))
        if len(pair) == 2:
            yield f"{pointer}/{role}/1", pair[1], pair[0]
    for key, special in dict_of(post.get("special_tokens")).items():
        texts = list_of(dict_of(special).get("tokens"))
        for at, number in enumerate(list_of(dict_of(special).get("ids"))):
            place = f"{pointer}/special_tokens/{escape(key)}/ids/{at}"
            yield place, number, texts[at] if at < len(texts) else key


def frame_of(post: object) -> Frame:
    """What a post-processor puts around texts; nothing for none."""
    frame, made = Frame(), dict_of(post)
    match made.get("type"):
        case "Sequence":
            for found in map(frame_of, list_of(made.get("processors"))):
                frame = Frame(
                    found.before + frame.before,
                    frame.after + found.after,
                    max(frame.single_type, found.single_type),
                    max(frame.pair_type, found.pair_type),
                )
        case "BertProcessing" | "RobertaProcessing":
            cls, sep = (_ids(list_of(made.get(role))[1:2]) for role in ("cls", "sep"))
            frame = Frame(cls, sep, 0, int(made["type"] == "BertProcessing"))
        case "TemplateProcessing":
            single, pair = ([*map(dict_of, list_of(made.get(which)))] for which in ("single", "pair"))
            before, after = _around(single, dict_of(made.get("special_tokens")))
            frame = Frame(before, after, _highest_type(single), _highest_type(pair))
    return frame


def _around(
    template: Sequence[Mapping[str, object]], specials: Mapping[str, object]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after the first text of a template."""
    sides: list[tuple[int, ...]] = [(), ()]
    side = 0
    for part in template:
        side = 1 if "Sequence" in part else side
        special = dict_of(specials.get(str(dict_of(part.get("SpecialToken")).get("id", ""))))
        sides[side] += _ids(list_of(special.get("ids")))
    return sides[0], sides[1]


def _highest_type(template: Sequence[Mapping[str, object]]) -> int:
    types = (dict_of(content).get("type_id") for part in template for content in part.values())
    return max((number for number in types if is_id(number)), default=0)


def _ids(numbers: Sequence[object]) -> tuple[int, ...]:
    return tuple(number for number in numbers if is_id(number))
