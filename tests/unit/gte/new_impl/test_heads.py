"""A head is told from tensor names, and named as each dialect names it."""

from __future__ import annotations

import pytest

from gte_surgery.gte.kinds import Dialect, Head
from gte_surgery.gte.new_impl.names import architecture, head_of

ENCODER = ["embeddings.word_embeddings.weight", "encoder.layer.0.attn_ln.weight"]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([], Head.NONE),
        (["pooler.dense.weight"], Head.NONE),
        (["lm_head.decoder.bias"], Head.MASKED_LM),
        (["classifier.weight"], Head.TOKEN_CLASSIFICATION),
        (["classifier.weight", "pooler.dense.weight"], Head.SEQUENCE_CLASSIFICATION),
        (["qa_outputs.weight"], Head.QUESTION_ANSWERING),
        (["classifiers.weight"], Head.NONE),
    ],
)
def test_a_head_shows_in_the_names(names: list[str], wanted: Head) -> None:
    assert head_of(ENCODER + names) is wanted


def test_architectures_are_new_in_the_remote_dialect_and_gte_in_the_others() -> None:
    assert architecture(Head.NONE, Dialect.REMOTE) == "NewModel"
    assert architecture(Head.MASKED_LM, Dialect.REMOTE) == "NewForMaskedLM"
    assert architecture(Head.NONE, Dialect.RENAMED) == "GteModel"
    assert architecture(Head.SEQUENCE_CLASSIFICATION, Dialect.NATIVE) == "GteForSequenceClassification"
    assert architecture(Head.TOKEN_CLASSIFICATION, Dialect.NATIVE) == "GteForTokenClassification"
