"""The JSON Schemas (draft 2020-12) of what is read and written, and how a value departs from one.

They are files: in `schemas/` of the source tree, in `gte_surgery/schemas/` of an installed wheel. What a schema cannot
say, such as "below vocab_size", is left to `gte_surgery.checks`.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gte_surgery.errors import UsageError
from gte_surgery.gte.wording import either, shown

_SUFFIX = ".schema.json"
_URN = "urn:gte-surgery:schema:"
_TYPES = {
    "array": ("an array", list),
    "boolean": ("true or false", bool),
    "integer": ("an integer", int),
    "null": ("null", type(None)),
    "number": ("a number", (int, float)),
    "object": ("an object", dict),
    "string": ("a string", str),
}
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Violation:
    """One departure from a schema: the JSON pointer of the value, what was found and wanted, and what to do."""

    pointer: str
    message: str
    hint: str = ""


def names() -> tuple[str, ...]:
    """Names of the schemas, sorted: ("config.native", "config.remote", …)."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in _folder().glob(f"*{_SUFFIX}")))


def load(name: str) -> dict[str, object]:
    """The schema of that name, parsed; raises UsageError listing the names."""
    if name not in names():
        raise UsageError(f"schema: {name!r}, is not known", f"known schemas: {', '.join(names())}")
    schema: dict[str, object] = json.loads((_folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return schema


def violations(instance: Any, schema_name: str) -> list[Violation]:
    """How a parsed JSON value departs from a schema, in order of place; raises UsageError for an unknown schema.

    Stricter than JSON Schema in one thing: an "integer" is written as one, so 1000.0 and true are refused.
    """
    found = _departures(instance, _cached(schema_name), schema_name, "")
    return sorted(found, key=lambda violation: (violation.pointer, violation.message))


def _folder() -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / "schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


_cached = lru_cache(load)


def _departures(value: Any, schema: Mapping[str, Any], document: str, pointer: str) -> Iterator[Violation]:
    """How a value departs from a schema of a document, and what is in it from the schemas that apply there."""
    for keyword, wanted in schema.items():
        judged, holds, phrase = _CLAIMS.get(keyword, _NO_CLAIM)
        if (judged is None or _is(value, judged)) and not holds(value, wanted):
            hint = _hint(value, wanted) if keyword == "type" else ""
            yield Violation(pointer, f"{shown(value)}, {phrase(wanted)}", hint)
    if "$ref" in schema:
        yield from _departures(value, *_referred(schema["$ref"], document), pointer)
    if "oneOf" in schema and sum(_fits(value, each, document) for each in schema["oneOf"]) != 1:
        yield Violation(pointer, f"{shown(value)}, must be just one of what `oneOf` lists")
    if "if" in schema and _fits(value, schema["if"], document):
        yield from _departures(value, schema["then"], document, pointer)
    if isinstance(value, dict):
        yield from _departures_of_members(value, schema, document, pointer)
    if isinstance(value, list):
        first = schema.get("prefixItems", ())
        for at, each in enumerate(value):
            inner = first[at] if at < len(first) else schema.get("items", _NOTHING)
            yield from _departures(each, inner, document, f"{pointer}/{at}")


def _departures_of_members(
    value: Mapping[str, Any], schema: Mapping[str, Any], document: str, pointer: str
) -> Iterator[Violation]:
    known, others = schema.get("properties", _NOTHING), schema.get("additionalProperties", _NOTHING)
    for key in schema.get("required", ()):
        if key not in value:
            yield Violation(f"{pointer}/{_escaped(key)}", "missing, must be present")
    for key, each in value.items():
        if key in known or others:
            yield from _departures(each, known.get(key, others), document, f"{pointer}/{_escaped(key)}")
        if "propertyNames" in schema:
            yield from _departures(key, schema["propertyNames"], document, pointer)
    if others is False and (strange := sorted(repr(key) for key in value if key not in known)):
        verb = "was" if len(strange) == 1 else "were"
        yield Violation(pointer, f"Additional properties are not allowed ({', '.join(strange)} {verb} unexpected)")


def _referred(reference: str, document: str) -> tuple[Mapping[str, Any], str]:
    """The schema that `urn:gte-surgery:schema:NAME#/POINTER` or `#/POINTER` means, and the name of its document."""
    name, _, pointer = reference.removeprefix(_URN).partition("#")
    schema: Any = _cached(name or document)
    for step in pointer.split("/")[1:]:
        schema = schema[step]
    return schema, name or document


def _fits(value: Any, schema: Mapping[str, Any], document: str) -> bool:
    return next(_departures(value, schema, document, ""), None) is None


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind][1]) and (kind == "boolean" or not isinstance(value, bool))  # type: ignore[arg-type]


def _kinds(wanted: str | list[str]) -> list[str]:
    return [wanted] if isinstance(wanted, str) else wanted


def _is_of_kind(value: Any, wanted: str | list[str]) -> bool:
    return any(_is(value, kind) for kind in _kinds(wanted))


def _is_same(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _is_long_enough(value: Any, least: int) -> bool:
    return len(value) >= least


def _least(least: int) -> str:
    return "must not be empty" if least == 1 else f"must have a length of at least {least}"


def _phrase(words: str) -> Callable[[Any], str]:
    return lambda wanted: words.format(shown(wanted))


_CLAIMS: dict[str, tuple[str | None, Callable[[Any, Any], bool], Callable[[Any], str]]] = {
    "type": (None, _is_of_kind, lambda wanted: f"must be {either([_TYPES[kind][0] for kind in _kinds(wanted)])}"),
    "enum": (
        None,
        lambda value, wanted: any(_is_same(value, each) for each in wanted),
        lambda wanted: f"must be {either(list(map(shown, wanted)))}",
    ),
    "const": (None, _is_same, _phrase("must be {}")),
    "minimum": ("number", operator.ge, _phrase("must be at least {}")),
    "maximum": ("number", operator.le, _phrase("must be at most {}")),
    "exclusiveMinimum": ("number", operator.gt, _phrase("must be above {}")),
    "pattern": ("string", lambda value, wanted: re.search(wanted, value) is not None, _phrase("must match {}")),
    "minLength": ("string", _is_long_enough, _least),
    "minItems": ("array", _is_long_enough, _least),
    "minProperties": ("object", _is_long_enough, _least),
    "maxItems": ("array", lambda value, most: len(value) <= most, _phrase("must have a length of at most {}")),
    "uniqueItems": (
        "array",
        lambda value, _: len({json.dumps(each, sort_keys=True) for each in value}) == len(value),
        _phrase("must hold nothing twice"),
    ),
}
"""For each keyword that claims something of one value: of which kind, whether it holds, and what it wants in words."""
_NO_CLAIM: tuple[None, Callable[[Any, Any], bool], Callable[[Any], str]] = (None, lambda *_: True, str)


def _hint(value: Any, wanted: str | list[str]) -> str:
    match value:
        case str() if "boolean" in _kinds(wanted):
            return "write true or false without quotes; Python takes every string but the empty one for true"
        case str(text) if text.strip("+-").isdecimal():
            return "write it without quotes"
        case float(number) if "integer" in _kinds(wanted) and number.is_integer():
            return f"write {int(number)}, without a fraction"
    return ""


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
