"""A tokenizer of the tokenizers package as trimming needs it: the words that texts are cut into before the model sees
them, and the ids of a word. Runs in a child process only, since the package reads a hostile file there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gte_surgery.errors import RefusedError
from gte_surgery.vocabulary.token_files import FLAGS, AddedToken


class Words:
    """A tokenizer, opened with the package, without truncation and padding."""

    def __init__(self, path: Path, beside: Iterable[AddedToken]) -> None:
        self._tokenizer = opened(path, beside)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._normalizer, self._pre = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        self._model = self._tokenizer.model
        added = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        plain = {text for each in added for text in (each, self._normal(each).strip()) if text}
        self._added = re.compile("|".join(map(re.escape, sorted(plain, key=len, reverse=True))) or r"(?!)")

    def words(self, text: str) -> list[str] | None:
        """The words that the model gets; None where an added token may stand in the text, which only the whole cuts."""
        normal = self._normal(text)
        if self._added.search(text) or (normal != text and self._added.search(normal)):
            return None
        if self._pre is None:
            return [normal] if normal else []
        return [word for word, _ in self._pre.pre_tokenize_str(normal)]

    def ids_of_word(self, word: str) -> list[int]:
        """The ids of a word."""
        return [token.id for token in self._model.tokenize(word)]

    def ids_of_text(self, text: str) -> list[int]:
        """The ids of a text, without what is put around it."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def framed(self, texts: list[str], longest: int) -> list[tuple[list[int], bool]]:
        """The ids of each text with what is put around it, at most `longest`, and whether that cut it."""
        self._tokenizer.enable_truncation(longest)
        try:
            return [(list(each.ids), bool(each.overflowing)) for each in self._tokenizer.encode_batch(texts)]
        finally:
            self._tokenizer.no_truncation()

    def unknown_characters(self, texts: Iterable[str], unknown: int | None) -> Iterator[tuple[list[int], int]]:
        """(ids, number of characters that became the id `unknown`) of each text."""
        for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False):
            spans = zip(encoding.ids, encoding.offsets, strict=True)
            yield list(encoding.ids), sum(end - begin for number, (begin, end) in spans if number == unknown)

    def _normal(self, text: str) -> str:
        return text if self._normalizer is None else str(self._normalizer.normalize_str(text))


def opened(path: Path, beside: Iterable[AddedToken] = ()) -> Any:
    """A tokenizer.json as the package opens it, with the tokens `beside` it added. Raises RefusedError."""
    require_package()
    from tokenizers import AddedToken as Added
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
        for token in beside:
            tokenizer.add_tokens([Added(token.text, **{name: name in token.flags for name in FLAGS})])
    except Exception as error:  # noqa: BLE001 - the package raises nothing more special
        raise RefusedError(f"{path}: not a tokenizer.json that the tokenizers package reads: {error}") from None
    return tokenizer


def require_package() -> None:
    """Raises RefusedError, with the way to get it, where the tokenizers package is missing."""
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise RefusedError(
            f"tokenizers: cannot be imported: {error}", "`pip install 'gte-surgery[tokenizers]'`"
        ) from error


def reach(path: Path, beside: Iterable[AddedToken]) -> tuple[int, str, str]:
    """The greatest id that really comes out of a tokenizer, its token, and the text that it came of.

    Encoded are a few sentences, nothing at all, and the texts of the tokens with the greatest ids and of all added
    ones, each alone and beside another, with what the tokenizer puts around them and pads with.
    """
    tokenizer = opened(path, beside)
    added = tokenizer.get_added_tokens_decoder()
    last = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda pair: -pair[1])[:_LAST_TOKENS]
    texts = [*_SENTENCES, *(token.content for token in added.values()), *(text for text, _ in last)]
    pairs = [(text, _SENTENCES[0]) for text in texts]
    found = (-1, "", "")
    for text, encoding in zip((*texts, *texts), tokenizer.encode_batch([*texts, *pairs]), strict=True):
        if (most := max(encoding.ids, default=-1)) > found[0]:
            found = (most, tokenizer.id_to_token(most) or "", text)
    return found


_LAST_TOKENS = 256
_SENTENCES = ("a text of some words", "", "\u0416\u0436 \u6c49\u5b57 \u05d0 \U0001f600", "\x00\ufffd")
