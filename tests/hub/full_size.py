"""A checkpoint of the size of gte-multilingual-base, with the files that lie beside it on the hub."""

from __future__ import annotations

import json
from pathlib import Path

from gte_surgery import new

ROWS = 250_048
IDS = 250_002
SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}


def make_full_size(folder: Path, rows: int = ROWS, layers: int | None = None) -> Path:
    """Some 610 MB of drawn weights in F16, a tokenizer.json of 250,002 pieces, and the sentence-transformers files."""
    new(folder, release="gte-multilingual-base", dtype="F16", dialect="remote", vocab=rows, pad=1, layers=layers)
    (folder / "gte-surgery.json").unlink()
    add_sidecars(folder)
    return folder


def add_sidecars(folder: Path, ids: int = IDS, hidden: int = 768, longest: int = 8192) -> None:
    """The files beside the weights, as tokenizers, transformers and sentence-transformers write them."""
    special = SPECIAL | {"<mask>": ids - 1}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": number, "content": text, **flags} for text, number in special.items()]
    pieces = [[text, 0.0] for text in SPECIAL]
    pieces += [[f"▁piece{number}", -5.0 - number / 25_000] for number in range(4, ids - 1)] + [["<mask>", 0.0]]
    model = {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False}
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    steps = {"normalizer": None, "pre_tokenizer": spaces, "post_processor": None, "decoder": spaces}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **steps, "model": model}
    roles = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>",
             "pad_token": "<pad>", "mask_token": "<mask>"}  # fmt: skip
    decoder = {str(number): {"content": text, "special": True} for text, number in special.items()}
    settings = {"added_tokens_decoder": decoder, **roles, "model_max_length": 32768,
                "tokenizer_class": "XLMRobertaTokenizer", "padding_side": "right"}  # fmt: skip
    _write(folder / "tokenizer.json", tokenizer)
    _write(folder / "tokenizer_config.json", settings)
    _write(folder / "special_tokens_map.json", roles)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    pooling = {f"pooling_mode_{mode}": mode == "cls_token" for mode in modes}
    _write(
        folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **pooling, "include_prompt": True}
    )
    (folder / "README.md").write_text("# A model\n", encoding="utf-8")


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
