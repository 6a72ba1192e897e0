"""What strict JSON forbids, told with line and column; places of values; edits in the file's own style."""

from __future__ import annotations

import pytest

from gte_surgery.checkpoint.json.strict import parse_document, replace_members
from gte_surgery.errors import JsonError
from gte_surgery.findings import Location


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "c.json:1:1: not JSON: expecting value"),
        (b'{\n  "a": 1,\n  "b": tru\n}', "c.json:3:8: not JSON: expecting value"),
        (b'{\n  "a": 1,\n  "a": 2\n}', 'c.json:3:3: duplicate key "a"'),
        (b'{"x": {"a": 1, "\\u0061": 2}}', 'c.json:1:16: duplicate key "a"'),
        (b'{"a": 1,\n "b": NaN}', "c.json:2:7: NaN is not JSON"),
        (b'{"a": [1, -Infinity]}', "c.json:1:11: -Infinity is not JSON"),
        (b'{"a": [1, Infinity]}', "c.json:1:11: Infinity is not JSON"),
        (b'{"a": 1e999}', "c.json:1:7: a number of 5 characters, beyond a 64-bit float"),
        (b'{"a": ' + b"9" * 5000 + b"}", "c.json:1:7: a number of 5000 characters, beyond a 64-bit float"),
        (b'{"a": "x\\ud800y"}', "c.json:1:9: \\ud800 is half of a surrogate pair, which is no character"),
        (b'{"\\uDC00": 1}', "c.json:1:3: \\uDC00 is half of a surrogate pair, which is no character"),
        (b'{\n "\xc3\xa9\xff": 1}', "c.json:2:4: byte 0xff is not UTF-8"),
        (b'"\xed\xa0\x80"', "c.json:1:2: byte 0xed is not UTF-8"),
        (b"\xef\xbb\xbf{}", "c.json:1:1: starts with a byte order mark"),
        (b"[" * 128 + b"]" * 128, "c.json:1:128: nested deeper than 127 levels"),
        (b'{"a":' * 1_000_000, "c.json:1:636: nested deeper than 127 levels"),
        (b"[" + b"{}," * 200 + b"{}] x", "c.json:1:606: not JSON: extra data"),
        (b'{"a": "open}', "c.json:1:7: not JSON: unterminated string"),
        (b'"tab\there"', "c.json:1:5: not JSON: invalid control character"),
    ],
)
def test_what_is_forbidden_is_told_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_document(raw, "c.json")
    assert caught.value.message == message


@pytest.mark.parametrize(
    "raw",
    [b"[" * 127 + b"]" * 127, b"9" * 308, b'"\\ud83d\\ude00"', b'"\\\\ud800"', b"1e-999", b'{"a":{"a":1},"b":{"a":1}}'],
)
def test_what_only_looks_forbidden_is_read(raw: bytes) -> None:
    parse_document(raw, "c.json")


def test_a_long_duplicate_key_cannot_flood_or_forge_the_message() -> None:
    key = b"\\n\\u001b" + b"k" * 100_000
    with pytest.raises(JsonError) as caught:
        parse_document(b'{"%s":1,"%s":2}' % (key, key), "c.json")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


TEXT = '{\n  "a/b": [10, {"~": null}],\n  "c": "x"\n}\n'


def test_a_value_has_a_line_and_a_column_and_an_absent_one_its_nearest_ancestors() -> None:
    document = parse_document(TEXT.encode(), "c.json")
    assert document.position("") == (1, 1)
    assert document.position("/a~1b") == (2, 10)
    assert document.position("/a~1b/1/~0") == (2, 21)
    assert document.span("/c") == (TEXT.index('"x"'), TEXT.index('"x"') + 3)
    for absent in ("/d", "/a~1b/2", "/a~1b/00", "/c/x", "c", "/a~1b/1/~0/deeper"):
        assert document.position(absent) is None
        assert document.span(absent) is None
    assert document.location("/a~1b/1/no/such") == Location("c.json", 2, 15, "/a~1b/1/no/such")
    assert document.location("/d") == Location("c.json", 1, 1, "/d")


CONFIG = '{\n  "b": 1,\n  "d": [\n    1\n  ],\n  "f": "\\u00e9"\n}\n'


@pytest.mark.parametrize(
    ("text", "members", "removed", "expected"),
    [
        (CONFIG, {"b": 2}, (), CONFIG.replace("1,", "2,", 1)),
        (CONFIG, {"b": 1.0}, (), CONFIG.replace("1,", "1.0,", 1)),
        (CONFIG, {"b": True}, (), CONFIG.replace("1,", "true,", 1)),
        (CONFIG, {"f": "é"}, (), CONFIG),
        (CONFIG, {"c": None}, (), CONFIG.replace('  "d"', '  "c": null,\n  "d"')),
        (CONFIG, {"a": {"x": []}}, (), CONFIG.replace('  "b"', '  "a": {\n    "x": []\n  },\n  "b"')),
        (CONFIG, {"g": [1]}, (), CONFIG.replace('"\n}', '",\n  "g": [\n    1\n  ]\n}')),
        (CONFIG, {}, ("b",), CONFIG.replace('  "b": 1,\n', "")),
        (CONFIG, {}, ("f", "nothing"), CONFIG.replace(',\n  "f": "\\u00e9"', "")),
        (CONFIG, {"b": 3}, ("b",), CONFIG.replace("1,", "3,", 1)),
        (CONFIG, {}, ("b", "d", "f"), "{}\n"),
        ('{"b":1,"a":2}', {"c": [1, 2]}, (), '{"b":1,"a":2,"c":[1,2]}'),
        ('{"b": 1}', {"c": [1, 2]}, (), '{"b": 1, "c": [1, 2]}'),
        ('{\r\n\t"b": 1\r\n}', {"c": [1]}, (), '{\r\n\t"b": 1,\r\n\t"c": [\r\n\t\t1\r\n\t]\r\n}'),
        ("{}", {"c": 1}, (), '{\n  "c": 1\n}'),
        ('{"é": 1}', {"é": "ü"}, (), '{"é": "ü"}'),
        ('{"b": 1}', {"b": "ü"}, (), '{"b": "\\u00fc"}'),
        ('{"b": 1 , "c" : 2 }', {"c": 3}, (), '{"b": 1 , "c" : 3 }'),
    ],
)
def test_an_edit_keeps_the_style_of_the_file(
    text: str, members: dict[str, object], removed: tuple[str, ...], expected: str
) -> None:
    assert replace_members(parse_document(text.encode(), "c.json"), members, removed) == expected


def test_only_an_object_has_members_to_replace() -> None:
    with pytest.raises(JsonError, match="wanted an object"):
        replace_members(parse_document(b"[]", "c.json"), {})


def test_positions_in_a_large_file_are_found_in_little_time() -> None:
    names = [f"layer.{number}" for number in range(50_000)]
    text = '{"weight_map":{\n' + ",\n".join(f'"{name}": "x"' for name in names) + "}}"
    document = parse_document(text.encode(), "c.json")
    for number in range(0, 50_000, 5):
        assert document.position(f"/weight_map/layer.{number}") == (number + 2, len(f'"layer.{number}": ') + 1)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('{"k": 1, "k": 2}', 'duplicate key "k"'),
        ("1e999", "a number beyond a 64-bit float"),
        ("9" * 5000, "a number beyond a 64-bit float"),
        ("NaN", "NaN is not JSON"),
    ],
)
def test_an_offence_far_into_a_large_file_is_named_without_scanning_all_of_it(value: str, reason: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_document(b'{"long": "' + b"x" * (1 << 23) + b'", "a": ' + value.encode() + b"}", "c.json")
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["-0", "[-0]", '{"a-0": -0 }'])
def test_minus_zero_is_no_integer(text: str) -> None:
    value = parse_document(text.encode(), "c.json").value
    while isinstance(value, (list, dict)):
        value = value[0] if isinstance(value, list) else value["a-0"]
    assert isinstance(value, float)
