"""The JSON Schemas (draft 2020-12) of what is read and written, and how a value departs from one.

They are files: in `schemas/` of the source tree, in `gte_surgery/schemas/` of an installed wheel. What a schema cannot
say, such as "below vocab_size", is left to `gte_surgery.checks`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gte_surgery.errors import UsageError
from gte_surgery.gte.wording import either, shown

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_SUFFIX = ".schema.json"
_URN = "urn:gte-surgery:schema:"
_PHRASES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "pattern": "must match {}",
}
_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class Violation(NamedTuple):
    """One departure from a schema: the JSON pointer of the value, what was found and wanted, and what to do."""

    pointer: str
    message: str
    hint: str = ""


def names() -> tuple[str, ...]:
    """Names of the schemas, sorted: ("config.native", "config.remote", …)."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in _folder().glob(f"*{_SUFFIX}")))


def load(name: str) -> dict[str, object]:
    """The schema of that name, parsed, with each other one that it refers to among its `$defs`, so that it stands alone
    [JSON Schema 2020-12, 9.3, Compound Documents]; raises UsageError listing the names.
    """
    if name not in names():
        raise UsageError(f"schema: {name!r}, is not known", f"known schemas: {', '.join(names())}")
    text = (_folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    for other in names():
        if f'"$ref": "{_URN}{other}#' in text:
            schema.setdefault("$defs", {})[other] = load(other)
    return schema


def violations(instance: Any, schema_name: str) -> list[Violation]:
    """How a parsed JSON value departs from a schema, in order of place; raises UsageError for an unknown schema.

    Stricter than JSON Schema in one thing: an "integer" is written as one, so 1000.0 and true are refused.
    """
    found = (_violation(error) for error in _validator(schema_name).iter_errors(instance))
    return sorted(found, key=lambda violation: (violation.pointer, violation.message))


def _folder() -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / "schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


@lru_cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: _is_integer(value))
    strict = extend(Draft202012Validator, {"required": _required}, type_checker=checker)  # type: ignore[no-untyped-call]
    validator: Validator = strict(load(name))
    return validator


def _required(validator: Validator, required: list[str], instance: Any, schema: object) -> Iterator[ValidationError]:
    """As jsonschema's own, but each error points at the missing key and not at the object around it."""
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, dict):
        for key in required:
            if key not in instance:
                yield ValidationError("missing, must be present", path=[key])


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _violation(error: ValidationError) -> Violation:
    pointer = "".join(f"/{_escaped(str(step))}" for step in error.absolute_path)
    found = shown(error.instance)
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            types = [wanted] if isinstance(wanted, str) else list(wanted)
            return Violation(
                pointer, f"{found}, must be {either(list(map(_TYPES.__getitem__, types)))}", _hint(error, types)
            )
        case "enum":
            return Violation(pointer, f"{found}, must be {either(list(map(shown, wanted)))}")
        case "minLength" | "minItems" | "minProperties":
            least = "must not be empty" if wanted == 1 else f"must have a length of at least {wanted}"
            return Violation(pointer, f"{found}, {least}")
        case str(keyword) if keyword in _PHRASES:
            return Violation(pointer, f"{found}, {_PHRASES[keyword].format(shown(wanted))}")
        case _:
            return Violation(pointer, error.message)


def _hint(error: ValidationError, wanted: list[str]) -> str:
    match error.instance:
        case str() if "boolean" in wanted:
            return "write true or false without quotes; Python takes every string but the empty one for true"
        case str(text) if text.strip("+-").isdecimal():
            return "write it without quotes"
        case float(number) if "integer" in wanted and number.is_integer():
            return f"write {int(number)}, without a fraction"
    return ""


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
