"""The classes of transformers' that make tokenizers: which one is taken, of what it makes a tokenizer anew, and what it
has of its own in place of what tokenizer.json says [transformers 5.24, models/auto/tokenization_auto.py,
tokenization_bert.py, tokenization_xlm_roberta.py].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.sidecars import members_of
from gte_surgery.vocabulary.token_files import NUMBERED_WORDS, SENTENCEPIECE, TOKENIZER_CONFIG, WORDS, settings


class Class(NamedTuple):
    """A class of transformers' that makes a tokenizer anew of its vocabulary: of which models of a tokenizer.json, or
    files without one, and with which special tokens where nothing names others; "" for the tokenizer as it is filed."""

    name: str = ""
    made_of: tuple[str, ...] = ()
    words: Mapping[str, str] = MappingProxyType({})

    def fits(self, kind: str) -> bool:
        """Whether a tokenizer is made of this model of a tokenizer.json, or of this file; "" is one that is unsaid."""
        return not self.name or not kind or kind in self.made_of


AS_FILED = Class()
_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA = {
    "bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>",
}  # fmt: skip
_BACKEND = Class("TokenizersBackend", ("WordPiece", "WordLevel", "Unigram", "BPE", NUMBERED_WORDS, *SENTENCEPIECE))
XLM_R = "XLMRobertaTokenizer"
UNKNOWN = 3
"""The id that this class has for what is unknown."""
_CLASSES = {
    **{
        name: Class(name, ("WordPiece", "WordLevel", WORDS), _BERT)
        for name in ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
    },
    **dict.fromkeys(("TokenizersBackend", "PreTrainedTokenizerFast"), _BACKEND),
    XLM_R: Class(XLM_R, ("Unigram", *SENTENCEPIECE), _ROBERTA),
    "RobertaTokenizer": Class("RobertaTokenizer", ("BPE", NUMBERED_WORDS), _ROBERTA),
}
_USUAL = {"bert": "BertTokenizer", "gte": XLM_R}
"""By model_type, where no file names a class."""
_XLM_R_PARTS = {"normalizer": {"Precompiled", "Strip", "Replace"}, "pre_tokenizer": {"WhitespaceSplit", "Metaspace"}}
"""What comes to the same as the parts of the class."""


def class_of(checkpoint: Checkpoint) -> Class:
    """The class that transformers makes the tokenizer with; of a ModernBERT it takes the file as it is, whatever is
    stated.
    """
    kind = str(checkpoint.values.get("model_type"))
    stated = members_of(checkpoint, TOKENIZER_CONFIG).get("tokenizer_class") or checkpoint.values.get("tokenizer_class")
    name = str(stated) if stated else _USUAL.get(kind, "")
    return _CLASSES.get(name.removesuffix("Fast"), _CLASSES.get(name, AS_FILED)) if kind != "modernbert" else _BACKEND


def replaced(checkpoint: Checkpoint, members: Mapping[str, object]) -> Iterator[str]:
    """The members of the tokenizer.json of a checkpoint of which its class makes another one."""
    name, stated = class_of(checkpoint).name, settings(checkpoint)
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
