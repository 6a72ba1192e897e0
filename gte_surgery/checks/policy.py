"""gte-surgery.toml: what a project expects of its checkpoints, and which findings it has accepted and why.

It is the project's: looked for from the working directory upwards to the root of its repository, or wherever
`--config` says. One that came with a checkpoint is passed over, for a checkpoint cannot excuse itself. Schema: policy.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gte_surgery.checkpoint.hub.address import address_of
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.subject import Expectations
from gte_surgery.errors import UsageError
from gte_surgery.findings import Severity, Suppression

POLICY_NAME = "gte-surgery.toml"

MAX_BYTES, MAX_DEPTH = 64 << 10, 8
"""More no policy needs; a deeper or longer one costs its readers time and stack."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A gte-surgery.toml as read from the path `source`; what it leaves open is None or empty.

    `steps` are the tables that only a gate reads, by their names; their paths are relative to `folder`.
    """

    source: str = ""
    fail_on: Severity | None = None
    expectations: Expectations = Expectations()
    contract: Path | None = None
    consumers: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    checkpoint: Path | None = None
    folder: Path = Path()
    steps: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Where something lies that the policy names: an address, or a path relative to the policy."""
        return Path(name) if address_of(name) else Path(os.path.normpath(self.folder / name))


STEPS = ("check", "data", "encoder", "smoke", "quality")


def find_policy(*checkpoints: Path) -> Path | None:
    """The policy of the project: the nearest from the working directory up to the folder with `.git`, or without such a
    folder in the working directory alone; one inside a checkpoint is none.
    """
    here, inside = Path.cwd(), tuple(map(_directory, checkpoints))
    above = [here, *here.parents]
    root = next((at for at, folder in enumerate(above) if (folder / ".git").exists()), 0)
    folders = [folder for folder in above[: root + 1] if not any(map(folder.resolve().is_relative_to, inside))]
    return next((found for folder in folders if (found := folder / POLICY_NAME).is_file()), None)


def passed_over(checkpoint: Path, followed: Path | None) -> tuple[Path, ...]:
    """The policies inside and beside a checkpoint other than the one that is `followed`."""
    directory = _directory(checkpoint)
    beside = [folder / POLICY_NAME for folder in (directory, directory.parent)]
    return tuple(path for path in beside if path.is_file() and not (followed and path.samefile(followed)))


def _directory(checkpoint: Path) -> Path:
    place = checkpoint.resolve()
    return place.parent if place.is_file() else place


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises UsageError when it cannot be read, is not TOML, is longer or deeper than any policy,
    or departs from the schema.
    """
    source = shown(str(path))
    content = _parsed(path, source)
    _require_valid(content, source)
    expected = _table(content, "expect")
    contract, consumers = expected.get("contract"), expected.get("consumers")
    fail_on, checkpoint = content.get("fail-on"), content.get("checkpoint")
    blank = Policy(folder=path.parent)
    return Policy(
        source=source,
        fail_on=Severity[fail_on.upper()] if isinstance(fail_on, str) else None,
        expectations=Expectations(
            **{key.replace("-", "_"): value for key, value in expected.items() if isinstance(value, int)}
        ),
        contract=path.parent / contract if isinstance(contract, str) else None,
        consumers=tuple(map(str, consumers)) if isinstance(consumers, list) else (),
        suppressions=tuple(
            Suppression(code, str(reason), source) for code, reason in _table(content, "ignore").items()
        ),
        checkpoint=blank.path(checkpoint) if isinstance(checkpoint, str) else None,
        folder=path.parent,
        steps={name: _table(content, name) for name in STEPS if name in content},
    )


def _parsed(path: Path, source: str) -> Mapping[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content = tomllib.loads(_bounded(path, source).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except RecursionError:
        raise UsageError(f"{source}: not TOML: nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{source}: not TOML: {error}") from None
    if _is_deeper(content, MAX_DEPTH):
        raise UsageError(f"{source}: nested more than {MAX_DEPTH} levels deep, no policy is")
    return content


def _bounded(path: Path, source: str) -> bytes:
    """The bytes of a regular file of at most `MAX_BYTES`; a key of many dots costs the square of its length."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"{source}: no regular file, must be one")
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{source}: longer than {MAX_BYTES:,} bytes, no policy is")
    if deep := next((line for line in raw.splitlines() if line.partition(b"=")[0].count(b".") > 4 * MAX_DEPTH), None):
        raise UsageError(f"{source}: not TOML of ours: a key of {deep.partition(b'=')[0].count(b'.') + 1:,} parts")
    return raw


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


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
