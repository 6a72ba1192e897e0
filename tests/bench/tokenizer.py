"""A tokenizer of so many words, for tools that will not start without one: python tests/bench/tokenizer.py FOLDER N."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def write_tokenizer(folder: Path, size: int) -> None:
    words = [*SPECIAL, *(f"w{number}" for number in range(len(SPECIAL), size))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.add_special_tokens(list(SPECIAL))
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    write_tokenizer(Path(sys.argv[1]), int(sys.argv[2]))
