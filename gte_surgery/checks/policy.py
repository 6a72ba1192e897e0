"""gte-surgery.toml: what a project expects of its checkpoints, and which findings it has accepted and why.

The file lies in the folder that holds the checkpoint's directory, or wherever `--config` says; never inside the
checkpoint, which would let a checkpoint excuse itself. Schema: policy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.subject import Expectations
from gte_surgery.errors import UsageError
from gte_surgery.findings import Severity, Suppression

POLICY_NAME = "gte-surgery.toml"


@dataclass(frozen=True, slots=True)
class Policy:
    """A gte-surgery.toml as read from the path `source`; what it leaves open is None or empty."""

    source: str = ""
    fail_on: Severity | None = None
    expectations: Expectations = Expectations()
    contract: Path | None = None
    consumers: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()


def find_policy(checkpoint: Path) -> Path | None:
    """The policy beside a checkpoint: in the parent of its directory, for one weight file in the parent of its own.

    `checkpoint` may be relative; a link counts as the place where it stands.
    """
    place = Path(os.path.abspath(checkpoint))
    directory = place.parent if place.is_file() else place
    found = directory.parent / POLICY_NAME
    return found if found.is_file() else None


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises UsageError when it cannot be read, is not TOML, or departs from the schema."""
    source = shown(str(path))
    content = _parsed(path, source)
    _require_valid(content, source)
    expected = _table(content, "expect")
    contract, consumers = expected.get("contract"), expected.get("consumers")
    fail_on = content.get("fail-on")
    return Policy(
        source=source,
        fail_on=Severity[fail_on.upper()] if isinstance(fail_on, str) else None,
        expectations=Expectations(
            vocab=_integer(expected, "vocab"),
            pad=_integer(expected, "pad"),
            type_vocab=_integer(expected, "type-vocab"),
        ),
        contract=path.parent / contract if isinstance(contract, str) else None,
        consumers=tuple(map(str, consumers)) if isinstance(consumers, list) else (),
        suppressions=tuple(
            Suppression(code, str(reason), source) for code, reason in _table(content, "ignore").items()
        ),
    )


def _parsed(path: Path, source: str) -> Mapping[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{source}: not TOML: {error}") from None


def _require_valid(content: Mapping[str, object], source: str) -> None:
    from gte_surgery.gte.schemas import violations

    for violation in violations(dict(content), "policy"):
        place = violation.pointer.strip("/").replace("/", ".")
        problem = violation.message
        if place.startswith("ignore."):
            problem = f"{problem.partition(', must')[0]}, must be the reason, in words"
        said = f"{place}: {problem}" if place else problem
        raise UsageError(f"{source}: {said}", violation.hint or "`gte-surgery schema policy` prints what is allowed")


def _table(content: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _integer(table: Mapping[str, object], key: str) -> int | None:
    value = table.get(key)
    return value if isinstance(value, int) else None
