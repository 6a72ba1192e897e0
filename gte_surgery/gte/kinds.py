"""What is told apart whatever the family: dialects of a config, heads on an encoder, programs that load one, layouts of
tensor names.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple


class Dialect(Enum):
    """How a config is spelled, and thereby which code loads it."""

    REMOTE = "remote"
    """model_type "new": only with the code that `auto_map` names."""
    RENAMED = "remote-renamed"
    """model_type "gte" with the remote dialect's keys, as in Snowflake's arctic-embed-m-v2.0."""
    NATIVE = "native"
    """As transformers understands it by itself."""


class Head(Enum):
    """What a checkpoint carries besides the encoder."""

    NONE = "none"
    MASKED_LM = "mlm"
    SEQUENCE_CLASSIFICATION = "reranker"
    """Pooler and classifier."""
    TOKEN_CLASSIFICATION = "classifier"
    """Classifier without a pooler."""
    QUESTION_ANSWERING = "qa"


SUFFIXES = {
    Head.NONE: "Model",
    Head.MASKED_LM: "ForMaskedLM",
    Head.SEQUENCE_CLASSIFICATION: "ForSequenceClassification",
    Head.TOKEN_CLASSIFICATION: "ForTokenClassification",
    Head.QUESTION_ANSWERING: "ForQuestionAnswering",
}
"""What follows the family's name in the name of a class."""
AUTO_CLASSES = {head: f"AutoModel{suffix.removeprefix('Model')}" for head, suffix in SUFFIXES.items()}
"""Under which name `auto_map` says where the class of a head is."""


class Consumer(Enum):
    """A program that a checkpoint may be for; the value is what `check --for` takes."""

    TRANSFORMERS_5 = "transformers5"
    """transformers from 5.18 on, with its own GteModel."""
    TRANSFORMERS_4 = "transformers4"
    """transformers 4 with the published remote code."""
    VLLM = "vllm"
    TEI = "tei"
    """text-embeddings-inference."""
    TRAINER = "trainer"
    """transformers 5's Trainer, and what it restores when it resumes."""
    SENTENCE_TRANSFORMERS = "sentence-transformers"


class Layout(NamedTuple):
    """How the tensors of a checkpoint are named and split.

    `letter` as in cli/REFERENCE.md; `prefix` stands before everything but the heads, `head_prefix` before the heads;
    `is_renamed` means transformers' own module names where the published ones are others (`layers.3.self_attn…`),
    which always come split; `head_norm` is what the masked-LM head calls its norm; `has_old_norms` where the tensors of
    norms have the names of TensorFlow.
    """

    letter: str
    prefix: str = ""
    head_prefix: str = ""
    is_renamed: bool = False
    has_split_qkv: bool = False
    has_split_mlp: bool = False
    head_norm: Literal["norm", "layer_norm"] = "norm"
    has_old_norms: bool = False

    @property
    def is_damaged(self) -> bool:
        """Names that only transformers 5 reads back (c, e); other programs miss them, some silently."""
        return self.letter in ("c", "e")

    @property
    def apart(self) -> str:
        """How projections that programs want packed are stored instead, in words; "" when they are packed."""
        if self.is_renamed:
            return "transformers' own names"
        return "projections stored apart" if self.has_split_qkv or self.has_split_mlp else ""
