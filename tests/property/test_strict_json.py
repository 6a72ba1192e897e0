"""Strict JSON against the standard library: same values, true places, edits that change what they should, no more."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gte_surgery.checkpoint.json.scan import members
from gte_surgery.checkpoint.json.strict import Document, decode, escape, parse_document, replace_members
from gte_surgery.errors import JsonError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "\\", '"', "/~", "\u2028", "{[,:"]
    )
)
KEYS = st.text(max_size=4) | st.sampled_from(["", "a", "b", "~", "/", "a/b~c", '"', "\\", "0", "\n", "é"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


@st.composite
def texts(draw: st.DrawFn, values: st.SearchStrategy[object] = VALUES) -> str:
    """A JSON text in one of many styles."""
    indent = draw(st.sampled_from([None, None, 0, 1, 2, 4, "\t"]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",", ": ")]))
    text = json.dumps(draw(values), indent=indent, separators=separators, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from(["", " ", "\n\t"])) + text + draw(st.sampled_from(["", "\n", " \r\n\n"]))


def document_of(text: str) -> Document:
    return parse_document(text.encode(), "x.json")


def pointers(value: object, prefix: str = "") -> list[tuple[str, object]]:
    """Every value inside `value` with its JSON pointer."""
    items: list[tuple[str, object]] = []
    if isinstance(value, dict):
        items = [(escape(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(number), item) for number, item in enumerate(value)]
    return [(prefix, value), *(pair for token, item in items for pair in pointers(item, f"{prefix}/{token}"))]


@given(texts())
def test_valid_json_means_what_the_standard_library_says(text: str) -> None:
    assert document_of(text).value == json.loads(text)


@given(texts())
def test_every_span_holds_exactly_its_value_and_every_position_is_where_it_begins(text: str) -> None:
    document = document_of(text)
    lines = text.split("\n")
    for pointer, value in pointers(document.value):
        span, position = document.span(pointer), document.position(pointer)
        assert span is not None
        assert position is not None
        assert json.loads(text[slice(*span)]) == value
        assert text[span[0] : span[1]].strip() == text[span[0] : span[1]]
        line, column = position
        assert sum(len(earlier) + 1 for earlier in lines[: line - 1]) + column - 1 == span[0]


@given(texts(), st.lists(KEYS, min_size=1, max_size=3))
def test_what_is_not_there_has_no_position_and_is_located_at_its_nearest_ancestor(text: str, path: list[str]) -> None:
    document = document_of(text)
    existing = dict(pointers(document.value))
    pointer = "".join("/" + escape(token) for token in path)
    nearest = pointer
    while nearest not in existing:
        nearest = nearest.rpartition("/")[0]
    assert (document.position(pointer) is None) == (pointer not in existing)
    location = document.location(pointer)
    assert (location.line, location.column) == document.position(nearest)


@given(st.text(alphabet='{}[]:,"\\ntrue0123456789.-eEfalsu \r\n\tNIy', max_size=30))
@example('"\\ud800"')
@example('"\\\\ud800"')
@example('"\\ud83d\\ude00"')
@example('{"a":1,"a":1}')
@example("-0")
@example("[1e400]")
@example("-Infinity")
@example("1E310E")
@example("NaNx")
@example('{"a":1,"a":2}"\\x"')
@example('[NaN "\\x"')
@example('"' + "\\" * 7)
def test_any_text_is_accepted_exactly_when_json_accepts_it_and_nothing_is_forbidden(text: str) -> None:
    forbidden: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(items)) != len(items):
            forbidden.append("duplicate")
        return dict(items)

    def number(literal: str) -> float:
        if math.isinf(float(literal)):
            forbidden.append("infinite")
        return float(literal)

    try:
        expected = json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=forbidden.append)
        json.dumps(expected, ensure_ascii=False).encode()
        is_good = not forbidden
    except ValueError:
        is_good = False
    value, offence = decode(text)
    assert (offence is None) == is_good
    if is_good:
        assert value == expected
    else:
        assert offence is not None
        assert 0 <= offence.offset <= len(text)


@given(st.binary(max_size=40))
def test_any_bytes_give_a_document_or_a_json_error_with_a_place_in_the_text(raw: bytes) -> None:
    try:
        document = parse_document(raw, "x.json")
    except JsonError as error:
        place = (error.line, error.column)
    else:
        assert document.text.encode() == raw
        return
    lines = raw.split(b"\n")
    assert 1 <= place[0] <= len(lines)
    assert 1 <= place[1] <= len(lines[place[0] - 1].decode("utf-8", "replace")) + 1


@given(texts(OBJECTS), OBJECTS, st.data())
def test_an_edit_changes_the_members_it_names_and_leaves_the_rest_to_the_byte(
    text: str, edits: dict[str, object], data: st.DataObject
) -> None:
    document = document_of(text)
    old = document.value
    assert isinstance(old, dict)
    if old:
        edits |= data.draw(st.dictionaries(st.sampled_from(list(old)), VALUES, max_size=2))
    removed = data.draw(st.lists(st.sampled_from([*old, "no such key"]), max_size=2, unique=True))

    edited = replace_members(document, edits, removed)

    wanted = {key: value for key, value in old.items() if key not in removed or key in edits} | edits
    value = json.loads(edited)
    assert value == wanted
    assert list(map(type, value.values())) == [type(wanted[key]) for key in value]
    kept = [key for key in old if key in wanted]
    order = [key for key in value if key in old]
    assert order == kept
    if kept == sorted(kept):
        assert list(value) == sorted(value)
    assert members_text(edited, set(old) - set(edits)) == members_text(text, set(wanted) - set(edits))
    begin, end = text.index("{"), len(text.rstrip())
    assert edited.startswith(text[:begin])
    assert edited[len(edited.rstrip()) :] == text[end:]


@given(texts(OBJECTS))
def test_an_edit_that_changes_nothing_gives_the_same_text(text: str) -> None:
    document = document_of(text)
    assert isinstance(document.value, dict)
    assert replace_members(document, {}, ["no such key"]) == text
    assert replace_members(document, document.value) == text


@given(OBJECTS.filter(bool), OBJECTS, st.sampled_from([1, 2, 4, "\t"]), st.booleans())
def test_an_edited_file_looks_as_if_written_by_the_program_that_wrote_it(
    old: dict[str, object], edits: dict[str, object], indent: int | str, is_ascii: bool
) -> None:
    text = json.dumps(dict(sorted(old.items())), indent=indent, ensure_ascii=is_ascii) + "\n"
    wanted = json.dumps(dict(sorted((old | edits).items())), indent=indent, ensure_ascii=text.isascii()) + "\n"
    assert replace_members(document_of(text), edits) == wanted


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {"a": ["\udc00"]}, {1, 2}])
def test_a_value_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        replace_members(document_of("{}"), {"a": value})


def members_text(text: str, keys: set[str]) -> dict[str, str]:
    """The text of those top-level members, from the key's opening quote to the end of the value."""
    places = members(text, text.index("{"))
    return {key: text[place.key_begin : place.end] for key, place in places.items() if key in keys}
