"""A checkpoint that a surgery can work on: sound, and understood as a GTE with its tensors under canonical names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checks.run import SOUNDNESS, soundness_errors
from gte_surgery.checks.subject import Subject
from gte_surgery.errors import UnsoundError
from gte_surgery.findings import Finding
from gte_surgery.gte.families import family_of
from gte_surgery.gte.family import Family, Names
from gte_surgery.gte.fields import GteConfig
from gte_surgery.gte.kinds import Head, Layout


class Target(NamedTuple):
    """A checkpoint with its config, its name layout, its head, and its tensors by canonical name."""

    checkpoint: Checkpoint
    config: GteConfig
    layout: Layout
    head: Head
    tensors: Mapping[str, StoredTensor]

    @property
    def values(self) -> Mapping[str, object]:
        """The members of config.json as they are written."""
        return self.checkpoint.values

    @property
    def family(self) -> Family:
        """The family that config.json is of."""
        return family_of(self.values)

    @property
    def names(self) -> Names:
        """What the family calls its tensors."""
        return self.family.names

    @property
    def has_decoder(self) -> bool:
        """Whether a masked-LM head is stored, whose bias follows the vocabulary."""
        return any(name in self.tensors for name in self.names.biases)


def understand(
    checkpoint: Checkpoint,
    cured: Callable[[Names], Collection[str]] = lambda names: (),
    cured_codes: Collection[str] = (),
    families: Collection[str] = SOUNDNESS,
) -> Target:
    """The checkpoint as a target. Raises UnsoundError when it is unsound or not understood.

    Errors about the tensors that `cured` chooses from the family's names do not count, since the edit rewrites those,
    nor do errors of the rules `cured_codes`, which the edit mends. Who only reads may ask for fewer `families` of
    rules.
    """
    subject = Subject(checkpoint)
    if checkpoint.config is not None and subject.config_error is not None:
        error = subject.config_error
        hint = _mend_first(checkpoint, error.hint)
        if subject.dialect is None:
            hint = hint.removesuffix(_MEND)  # which makes it no GTE
        raise UnsoundError(f"{checkpoint.name}: config.json: {error.message}", hint)
    cured_names = {subject.canonical[name] for name in cured(subject.names) if name in subject.canonical}
    errors = [
        finding
        for finding in soundness_errors(checkpoint, families)
        if finding.location.tensor not in cured_names and finding.code not in cured_codes
    ]
    if errors:
        raise UnsoundError(f"{checkpoint.name}: {unsound(errors)}", _mend_first(checkpoint, errors[0].hint))
    if subject.config_error is not None or subject.layout is None:
        message = f"{checkpoint.name}: cannot be read as a GTE checkpoint: the tensor names are no GTE's"
        raise UnsoundError(message, _mend_first(checkpoint))
    tensors = {canonical: checkpoint.tensors[stored] for canonical, stored in subject.canonical.items()}
    return Target(checkpoint, subject.config, subject.layout, subject.head, tensors)


_MEND = ", and mend that first"


def _mend_first(checkpoint: Checkpoint, hint: str = "") -> str:
    before = f"{hint}; " if hint else ""
    return f"{before}see {pasteable('check', checkpoint.name)}{_MEND}"


def unsound(errors: Iterable[Finding]) -> str:
    """One line for the first of some errors and the number of the others."""
    first, *others = errors
    return f"{first} [{first.code}]" + (f" (and {len(others)} more errors)" if others else "")
