"""Which class transformers takes for a tokenizer, and what that has of its own in place of what tokenizer.json says
[transformers 5.24, models/auto/tokenization_auto.py, tokenization_bert.py, tokenization_xlm_roberta.py].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

XLM_R = "XLMRobertaTokenizer"
UNKNOWN = 3
"""The id that this class has for what is unknown."""
_BY_MODEL = {"gte": XLM_R, "xlm-roberta": XLM_R, "bert": "BertTokenizer"}
_XLM_R_PARTS = {"normalizer": {"Precompiled", "Strip", "Replace"}, "pre_tokenizer": {"WhitespaceSplit", "Metaspace"}}
"""What comes to the same as the parts of the class."""


def class_of(stated: Mapping[str, object], config: Mapping[str, object]) -> str:
    """The class that settings and config.json name, or that is taken for the kind of model; "" where it is unknown."""
    named = (stated.get("tokenizer_class"), config.get("tokenizer_class"), _BY_MODEL.get(str(config.get("model_type"))))
    return next((name.removesuffix("Fast") for name in named if isinstance(name, str)), "")


def replaced(name: str, members: Mapping[str, object], stated: Mapping[str, object]) -> Iterator[str]:
    """The members of a tokenizer.json of which a class makes another one."""
    if name == "BertTokenizer":
        own = {
            "clean_text": True,
            "handle_chinese_chars": stated.get("tokenize_chinese_chars", True),
            "strip_accents": stated.get("strip_accents"),
            "lowercase": stated.get("do_lower_case", True),
        }
        wanted = {"normalizer": {"type": "BertNormalizer", **own}, "pre_tokenizer": {"type": "BertPreTokenizer"}}
        yield from (part for part, value in wanted.items() if members.get(part) != value)
    if name == XLM_R:
        yield from (part for part, known in _XLM_R_PARTS.items() if not {*_types(members.get(part))} <= known)


def _types(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        inner = part.get("normalizers") or part.get("pretokenizers")
        if not isinstance(inner, list):
            yield str(part.get("type"))
        for each in inner if isinstance(inner, list) else ():
            yield from _types(each)
