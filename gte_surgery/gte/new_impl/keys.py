"""Which members of a config.json some published code reads, and what the published modeling code reads of a config.

Everything else rides along unread; where code of one's own lies beside the weights, it may mean other mathematics.
Sources: Alibaba-NLP/new-impl configuration.py and modeling.py; transformers 4.57.6 and 5.24 configuration_utils.py and
models/gte; sentence-transformers 6.2; text-embeddings-inference 1.9 gte.rs.
"""

from __future__ import annotations

import re

from gte_surgery.gte.fields import CARRIED, RUNNING

_SHAPE = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob "
    "attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_type "
    "layer_norm_eps position_embedding_type rope_theta rope_scaling classifier_dropout pack_qkv unpad_inputs "
    "use_memory_efficient_attention logn_attention_scale logn_attention_clip1 pad_token_id num_labels problem_type"
)
PUBLISHED_READS = frozenset(f"{_SHAPE} {RUNNING}".split())
"""The attributes of a config that the published modeling code reads."""
KNOWN_KEYS = PUBLISHED_READS | CARRIED
"""The members of a config.json that published code reads or that its writers leave there."""
_ALWAYS_READ = frozenset(
    ("hidden_act", "layer_norm_type", "logn_attention_scale", "pack_qkv", "position_embedding_type", "unpad_inputs")
)
_READ = re.compile(r"\bconfig\.([A-Za-z_]\w*)(?!\s*\()")
_ASKED = re.compile(r"""\bgetattr\(\s*(?:self\.)?config\s*,\s*["']([A-Za-z_]\w*)["']""")


def foreign_reads(code: str) -> tuple[str, ...] | None:
    """What modeling code reads of its config that the published code does not; None where it is no such code at all.

    Judged by its text alone, which is never run: code that reads just what the published code reads is taken for it.
    """
    reads = set(_READ.findall(code)) | set(_ASKED.findall(code))
    return tuple(sorted(reads - PUBLISHED_READS)) if reads >= _ALWAYS_READ else None
