"""Names are made harmless, colours are optional, numbers are for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.render.ink import columns, count, paint, printable, size


@given(st.text(st.characters()))
def test_no_control_character_survives(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("right\u202eleft", "right\\u202eleft"),
        ("bad\udcffbyte", "bad\\udcffbyte"),
        ("Größe 模型", "Größe 模型"),
    ],
)
def test_what_moves_or_hides_is_shown_as_an_escape(raw: str, shown: str) -> None:
    assert printable(raw) == shown


def test_paint_is_the_identity_without_colour() -> None:
    assert paint("x", "error", False) == "x"
    assert paint("x", "error", True) == "\x1b[31;1mx\x1b[0m"


@pytest.mark.parametrize(("number", "text"), [(0, "0 errors"), (1, "1 error"), (1200, "1,200 errors")])
def test_count_agrees_in_number(number: int, text: str) -> None:
    assert count(number, "error") == text


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_221_487_872, "1.2 GB"),
    ],
)
def test_size_has_one_decimal_and_never_a_thousand_of_a_unit(nbytes: int, text: str) -> None:
    assert size(nbytes) == text


def test_columns_are_aligned_and_leave_no_trailing_space() -> None:
    assert columns([("a", "long", ""), ("bbb", "c", "d")], "> ") == "> a    long\n> bbb  c     d"
