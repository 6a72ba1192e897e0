"""The programs that load GTE checkpoints, each with demands of its own. What they demand is for the rules GTE6xx."""

from __future__ import annotations

from enum import Enum


class Consumer(Enum):
    """A program that a checkpoint may be for; the value is what `check --for` takes."""

    TRANSFORMERS_5 = "transformers5"
    """transformers from 5.18 on, with its own GteModel."""
    TRANSFORMERS_4 = "transformers4"
    """transformers 4 with the published remote code."""
    VLLM = "vllm"
    TEI = "tei"
    """text-embeddings-inference."""
    SENTENCE_TRANSFORMERS = "sentence-transformers"
