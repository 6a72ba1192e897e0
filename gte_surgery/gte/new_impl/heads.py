"""Task heads: what sits on top of the encoder, told from tensor names, and what the architectures are called."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from gte_surgery.gte.new_impl.dialect import Dialect


class Head(Enum):
    """What a checkpoint carries besides the encoder."""

    NONE = "none"
    MASKED_LM = "mlm"
    SEQUENCE_CLASSIFICATION = "reranker"
    """Pooler and classifier."""
    TOKEN_CLASSIFICATION = "classifier"
    """Classifier without a pooler."""
    QUESTION_ANSWERING = "qa"


_SUFFIXES = {
    Head.NONE: "Model",
    Head.MASKED_LM: "ForMaskedLM",
    Head.SEQUENCE_CLASSIFICATION: "ForSequenceClassification",
    Head.TOKEN_CLASSIFICATION: "ForTokenClassification",
    Head.QUESTION_ANSWERING: "ForQuestionAnswering",
}


def head_of(canonical_names: Iterable[str]) -> Head:
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
    return ("New" if dialect is Dialect.REMOTE else "Gte") + _SUFFIXES[head]
