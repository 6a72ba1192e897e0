"""Which members of a config.json some published code reads, and what the published modeling code reads of a config.

Everything else rides along unread; where code of one's own lies beside the weights, it may mean other mathematics.
Sources: Alibaba-NLP/new-impl configuration.py and modeling.py; transformers 4.57.6 and 5.24 configuration_utils.py and
models/gte; sentence-transformers 6.2; text-embeddings-inference 1.9 gte.rs.
"""

from __future__ import annotations

import re

_SHAPE = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act hidden_dropout_prob "
    "attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_type "
    "layer_norm_eps position_embedding_type rope_theta rope_scaling classifier_dropout pack_qkv unpad_inputs "
    "use_memory_efficient_attention logn_attention_scale logn_attention_clip1 pad_token_id num_labels problem_type"
)
_RUNNING = (
    "_attn_implementation _attn_implementation_internal _name_or_path add_cross_attention chunk_size_feed_forward "
    "dtype embedding_size gradient_checkpointing is_decoder name_or_path output_attentions output_hidden_states "
    "return_dict tie_word_embeddings torch_dtype use_cache use_return_dict"
)
_CARRIED = (
    "architectures auto_map attn_implementation bad_words_ids begin_suppress_tokens bos_token_id cls_token_id "
    "cross_attention_hidden_size custom_pipelines decoder_start_token_id default_theta diversity_penalty do_sample "
    "early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task "
    "forced_bos_token_id forced_eos_token_id head_dim id2label is_encoder_decoder label2id length_penalty "
    "mask_token_id max_length min_length model_type no_repeat_ngram_size num_beam_groups num_beams "
    "num_return_sequences output_past output_scores partial_rotary_factor prefix pruned_heads quantization_config "
    "remove_invalid_values repetition_penalty return_dict_in_generate rope_parameters rope_type sep_token_id "
    "sentence_transformers suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder "
    "tokenizer_class top_k top_p torchscript transformers_version typical_p unk_token_id unsloth_version "
    "use_bfloat16 matryoshka_dimensions"
)
PUBLISHED_READS = frozenset(f"{_SHAPE} {_RUNNING}".split())
"""The attributes of a config that the published modeling code reads."""
KNOWN_KEYS = PUBLISHED_READS | frozenset(_CARRIED.split())
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
