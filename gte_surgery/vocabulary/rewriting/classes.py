"""What transformers' classes of tokenizers have of their own in place of what tokenizer.json says [transformers 5.24,
tokenization_bert.py, tokenization_xlm_roberta.py]; which class is taken is for `token_files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

XLM_R = "XLMRobertaTokenizer"
UNKNOWN = 3
"""The id that this class has for what is unknown."""
_XLM_R_PARTS = {"normalizer": {"Precompiled", "Strip", "Replace"}, "pre_tokenizer": {"WhitespaceSplit", "Metaspace"}}
"""What comes to the same as the parts of the class."""


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
