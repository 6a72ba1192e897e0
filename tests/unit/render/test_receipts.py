"""Receipts are input: whatever they hold, their text is harmless."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.render.settled import history_json, history_text

RECEIPT = {
    "tool": "gte-surgery 0.1.0",
    "time": "2026-01-02T03:04:05Z",
    "command": "resize",
    "edits": {"vocab": 160, "pad": 0},
    "written": [{"name": "model.safetensors", "size": 1500}],
    "removed": ["tokenizer.json"],
}


def test_a_receipt_tells_when_what_and_which_files() -> None:
    assert history_text([RECEIPT]).splitlines() == [
        "2026-01-02T03:04:05Z  resize  (gte-surgery 0.1.0)",
        "    edits: vocab 160, pad 0",
        "    wrote: model.safetensors (1.5 kB)",
        "    removed: tokenizer.json",
    ]


def test_no_receipt_is_told_in_words() -> None:
    assert history_text([]) == "no surgery yet"


def test_json_is_what_is_stored() -> None:
    assert json.loads(history_json([RECEIPT])) == {"receipts": [RECEIPT]}


values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(RECEIPT)), values))
def test_an_odd_receipt_is_shown_and_cannot_break_out_of_its_lines(receipt: dict[str, object]) -> None:
    assert "\x1b" not in history_text([receipt])
    assert 1 <= len(history_text([receipt]).split("\n")) <= 4
