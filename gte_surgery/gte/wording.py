"""How a JSON value is shown in a message."""

from __future__ import annotations

import json

LONGEST = 60


def shown(value: object) -> str:
    """The value as JSON, cut after 60 characters: `"false"`, `[1, 2]`, `null`."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
