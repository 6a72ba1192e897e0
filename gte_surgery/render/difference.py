"""What `diff` found, as text for people and as JSON for programs (schemas: diff, tokenizers)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from gte_surgery.compare.difference import Difference, Gap, KeyDifference, RowChanges, Stored, TensorDifference
from gte_surgery.compare.tokenizers import TokenizerDifference
from gte_surgery.render.ink import columns, count, finite, paint, printable, section

SHOWN = 5
"""Of the renamed tensors and of the ranges of changed rows, so many are shown."""
LONGEST = 60
TOKENS_SHOWN = 10
"""Of the tokens that went or came, so many are shown."""
_RELATIONS = {
    "equal": "the same tokenizer",
    "renumbered": "the same tokens under other ids",
    "right in left": "{right} is {left} with fewer tokens, under new ids",
    "left in right": "{left} is {right} with fewer tokens, under new ids",
    "other": "two tokenizers",
}
_STYLES = {"added": "good", "removed": "error"}


def difference_text(difference: Difference, color: bool = False) -> str:
    """Config keys, tensors that differ, renamed ones in short, and the verdict in the last line."""
    parts = [
        section("config.json", _key_lines(difference.config)),
        section("config.json, other words for the same", _key_lines(difference.spelling)),
        section("tensors", [line for tensor in _differing(difference) for line in _tensor_lines(tensor, color)]),
        section("tensors under other names", _renamed_lines(difference)),
        verdict_text(difference, color),
    ]
    return "\n".join(part for part in parts if part)


def difference_json(difference: Difference) -> str:
    """Everything that was found; JSON has no infinity, so numbers beyond float64 are null."""
    value = {
        "left": str(difference.left),
        "right": str(difference.right),
        "equal": difference.is_equal,
        "complete": difference.is_complete,
        "config": [asdict(key) for key in difference.config],
        "spelling": [asdict(key) for key in difference.spelling],
        "compared": difference.compared,
        "tensors": [_tensor_object(tensor) for tensor in difference.tensors],
    }
    return json.dumps(finite(value), indent=2)


def _key_lines(keys: Sequence[KeyDifference]) -> list[str]:
    told = [key for key in keys if (key.left, key.right) != (None, None)]  # null against absent is no news
    return [f"{printable(key.key)}: {_value(key.left)} → {_value(key.right)}" for key in told]


def _value(value: object) -> str:
    if value is None:
        return "absent"
    text = printable(value if isinstance(value, str) and " " in value else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _differing(difference: Difference) -> list[TensorDifference]:
    return [tensor for tensor in difference.tensors if not tensor.is_equal]


def _tensor_lines(tensor: TensorDifference, color: bool) -> Iterator[str]:
    """The tensor, then what is known of its numbers and rows, indented."""
    kinds = [kind for kind in tensor.kinds if kind != "renamed"]
    word = paint(", ".join(kinds), _STYLES.get(kinds[0], "warning"), color)
    yield f"{word} `{printable(tensor.name)}` {_shapes(tensor.left, tensor.right)}"
    if tensor.common_rows is not None and (tensor.gap is None or tensor.gap.rows is None):
        differ = {True: "differ", False: "are equal", None: "are of two dtypes"}[tensor.has_changed]
        yield f"    the {count(tensor.common_rows, 'row')} in common {differ}"
    if tensor.gap is not None:
        yield f"    {_gap_words(tensor.gap)}"
        if tensor.gap.rows is not None:
            yield f"    {_row_words(tensor.gap.rows)}"


def _shapes(left: Stored | None, right: Stored | None) -> str:
    words = [f"{side.dtype} {list(side.shape)}" for side in (left, right) if side is not None]
    return " → ".join(dict.fromkeys(words))


def _gap_words(gap: Gap) -> str:
    cosine = "undefined" if gap.cosine is None else f"{gap.cosine:.9g}"
    words = f"largest difference {gap.largest:.3g}, mean {gap.mean:.3g}, cosine {cosine}"
    return f"{words}; {gap.not_finite:,} NaN or infinite, left out" if gap.not_finite else words


def _row_words(rows: RowChanges) -> str:
    shown = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in rows.ranges[:SHOWN])
    rest = max(0, len(rows.ranges) - SHOWN) + rows.left_out
    more = f" and {count(rest, 'more range')}" if rest else ""
    where = f": {shown}{more}" if rows.ranges else ""
    return f"{rows.changed:,} of {count(rows.compared, 'row')} changed{where}"


def _renamed_lines(difference: Difference) -> list[str]:
    pairs = [
        (f"`{printable(tensor.left.name)}`", f"→ `{printable(tensor.right.name)}`")
        for tensor in difference.tensors
        if tensor.left and tensor.right and "renamed" in tensor.kinds
    ]
    more = [f"and {len(pairs) - SHOWN:,} more"] if len(pairs) > SHOWN else []
    return [*(columns(pairs[:SHOWN]).splitlines() if pairs else ()), *more]


def verdict_text(difference: Difference, color: bool = False) -> str:
    """The last line alone, for a brief diff: whether they differ, and in how much where all was compared."""
    names = f"{printable(str(difference.left))} and {printable(str(difference.right))}"
    if difference.is_equal:
        same = f"{count(difference.compared, 'tensor')} and the config mean the same"
        return f"{names}: {paint('equal', 'good', color)}, {same}"
    if not difference.is_complete:
        return f"{names}: {paint('different', 'error', color)}"
    keys, tensors = len(difference.config), len(_differing(difference))
    told = f"{count(keys, 'config key')} and {tensors:,} of {count(difference.compared, 'tensor')} differ"
    return f"{names}: {paint('different', 'error', color)}, {told}"


def _tensor_object(tensor: TensorDifference) -> dict[str, object]:
    return {**asdict(tensor), "kinds": list(tensor.kinds)}


def tokenizers_text(found: TokenizerDifference, color: bool = False) -> str:
    """Tokens that went and came, parts that differ, what texts cost, and the verdict in the last line."""
    sizes = [f"{left} → {right}" for left, right in zip(*_sides(found), strict=True)]
    parts = [
        section("tokens", [*sizes, f"{found.shared:,} in both, {found.moved:,} of them under another id"]),
        section("tokens that went", _token_lines(found.gone)),
        section("tokens that came", _token_lines(found.came)),
        section("other parts that differ", [printable(name) for name in found.differs]),
        section("texts", list(_cost_lines(found))),
        _verdict_on_tokenizers(found, color),
    ]
    return "\n".join(part for part in parts if part)


def tokenizers_json(found: TokenizerDifference) -> str:
    """Everything that was found, each token with its id."""
    value = asdict(found) | {
        "equal": found.is_equal,
        "gone": [{"id": number, "token": token} for number, token in found.gone],
        "came": [{"id": number, "token": token} for number, token in found.came],
    }
    return json.dumps(value, indent=2)


def _sides(found: TokenizerDifference) -> tuple[tuple[str, str], ...]:
    """Kind and size of the left one, and of the right one."""
    (left, right), (few, many) = found.kinds, found.sizes
    return (printable(left), count(few, "token")), (printable(right), count(many, "token"))


def _token_lines(tokens: Sequence[tuple[int, str]]) -> list[str]:
    shown = ", ".join(f"`{printable(token)}` {number}" for number, token in tokens[:TOKENS_SHOWN])
    more = f" and {len(tokens) - TOKENS_SHOWN:,} more" if len(tokens) > TOKENS_SHOWN else ""
    return [f"{len(tokens):,}: {shown}{more}"] if tokens else []


def _cost_lines(found: TokenizerDifference) -> Iterator[str]:
    cost = found.cost
    if cost is not None:
        same = 100 * cost.same / max(1, cost.texts)
        yield f"{count(cost.texts, 'text')}, {same:.1f} % of them cut into the same tokens"
        yield f"{cost.before:,} → {count(cost.after, 'token')} ({100 * cost.more:+.2f} %)"
        yield f"{count(cost.unknown, 'character')} became unknown"


def _verdict_on_tokenizers(found: TokenizerDifference, color: bool) -> str:
    left, right = printable(found.left), printable(found.right)
    word = paint("equal", "good", color) if found.is_equal else paint("different", "error", color)
    return f"{left} and {right}: {word}, {_RELATIONS[found.relation].format(left=left, right=right)}"
