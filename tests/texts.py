"""Texts at hand, the same on every machine with this Python: lines of the standard library's own sources, prose and
code alike, and made-up words of other scripts; and tokenizers of the three kinds trained on them.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.builder import write_json

KINDS = ("Unigram", "WordPiece", "BPE")
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_SCRIPTS = ((0x3B1, 0x3C9), (0x430, 0x44F), (0x4E00, 0x4E40), (0xE0, 0xF6), (0x5D0, 0x5EA))


@cache
def lines(count: int, first: int = 0) -> tuple[str, ...]:
    """`count` lines of text with at least three words, from line `first` on."""
    found: list[str] = []
    random_words = random.Random(5)
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for line in path.read_text(encoding="utf-8", errors="ignore").splitlines():
            if len(line.split()) > 2:
                found.append(f"{line.strip()} {_word(random_words)}" if len(found) % 7 == 0 else line.strip())
        if len(found) >= first + count:
            return tuple(found[first : first + count])
    raise AssertionError(f"only {len(found)} lines")


def _word(random_words: random.Random) -> str:
    begin, end = random_words.choice(_SCRIPTS)
    return "".join(chr(random_words.randint(begin, end)) for _ in range(random_words.randint(1, 6)))


@cache
def trained(kind: str, size: int = 2000, count: int = 5000) -> str:
    """A tokenizer of one of `KINDS` with `size` tokens trained on `count` lines, as JSON; `<s> … </s>`."""
    specials = list(SPECIALS)
    match kind:
        case "Unigram":
            tokenizer = Tokenizer(models.Unigram())
            tokenizer.normalizer = normalizers.NFKC()
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
            tokenizer.decoder = decoders.Metaspace()
            trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=specials, unk_token="<unk>")
        case "WordPiece":
            tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
            tokenizer.normalizer = normalizers.BertNormalizer()
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            tokenizer.decoder = decoders.WordPiece()
            trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
        case _:
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(
                vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
            )
    trainer.show_progress = False
    tokenizer.train_from_iterator(lines(count), trainer)
    ids = [(text, tokenizer.token_to_id(text)) for text in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ids)
    return str(tokenizer.to_str(pretty=True))


def write_tokenizer(path: Path, kind: str, size: int = 2000, count: int = 5000) -> Tokenizer:
    """Puts a trained tokenizer and its settings beside the weights in `path`."""
    text = trained(kind, size, count)
    path.mkdir(parents=True, exist_ok=True)
    (path / "tokenizer.json").write_text(text, encoding="utf-8")
    tokenizer = Tokenizer.from_str(text)
    roles = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    decoder = {str(number): token_of(tokenizer, number) for number in range(len(SPECIALS))}
    names = {f"{role}_token": text for role, text in roles.items()}
    write_json(path / "tokenizer_config.json", {"added_tokens_decoder": decoder, **names, "model_max_length": 128})
    return tokenizer


def token_of(tokenizer: Tokenizer, number: int) -> dict[str, object]:
    return {"content": tokenizer.id_to_token(number), "special": True, "normalized": False}


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text."""
    return [each.ids for each in tokenizer.encode_batch(list(texts))]
