"""Task heads of this family, told from tensor names, and what the architectures are called."""

from __future__ import annotations

from collections.abc import Iterable

from gte_surgery.gte.fields import Values
from gte_surgery.gte.kinds import SUFFIXES, Dialect, Head


def head_of(canonical_names: Iterable[str], values: Values | None = None) -> Head:
    """The head that canonical tensor names show: a classifier with a pooler is a sequence classifier."""
    parts = {name.partition(".")[0] for name in canonical_names}
    if "lm_head" in parts:
        return Head.MASKED_LM
    if "classifier" in parts:
        return Head.SEQUENCE_CLASSIFICATION if "pooler" in parts else Head.TOKEN_CLASSIFICATION
    return Head.QUESTION_ANSWERING if "qa_outputs" in parts else Head.NONE


def architecture(head: Head, dialect: Dialect) -> str:
    """The class name for `architectures`: "NewForMaskedLM" in the remote dialect, "GteForMaskedLM" in the others.

    The native model has no question answering class; its name is the one that a class would have.
    """
    return ("New" if dialect is Dialect.REMOTE else "Gte") + SUFFIXES[head]
