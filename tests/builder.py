"""Builds GTE checkpoints for tests, with the safetensors package and the json module and nothing of ours.

Names and shapes are written down here a second time, from the reference implementation, so that a mistake in
`gte_surgery.gte` cannot hide behind itself. The models are tiny (hidden 32, 4 heads, 2 layers) unless asked otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Config = dict[str, object]
Tensors = dict[str, np.ndarray]

SIZES: Config = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
COMMON: Config = {
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": None,
    "dtype": "float32",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
}
REMOTE_ONLY: Config = {
    "architectures": ["NewModel"],
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "model_type": "new",
    "pack_qkv": True,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
    "rope_theta": 20000,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
}
ABSENT = object()
"""As a config change: leave the key out."""


def remote_config(**changes: object) -> Config:
    """A config for the remote code, as published; `changes` replace keys, ABSENT removes one."""
    return _changed({**COMMON, **SIZES, **REMOTE_ONLY}, changes)


def native_config(**changes: object) -> Config:
    """The same model's config for transformers' own GteModel: the factor is 8^(2/8), for head size 8."""
    rope = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8.0**0.25}
    native = {"architectures": ["GteModel"], "model_type": "gte", "rope_parameters": rope, "tie_word_embeddings": True}
    return _changed({**COMMON, **SIZES, **native}, changes)


def tensors(config: Mapping[str, object], head: str = "none", prefix: str | None = None, seed: int = 0) -> Tensors:
    """The tensors of a model of this config, named as the reference implementation saves them (layouts a and b).

    `head` is none, mlm, classifier or reranker; the body's prefix is "new." where there is a head. float32, drawn from
    N(0, initializer_range); norms are 1 and 0, biases 0, the pad row is zero.
    """
    body = prefix if prefix is not None else ("" if head == "none" else "new.")
    shapes = _shapes(config, head, body)
    generator = np.random.default_rng(seed)
    std = _number(config, "initializer_range")
    made = {name: _initial(name, shape, std, generator) for name, shape in shapes.items()}
    pad = config.get("pad_token_id")
    if isinstance(pad, int) and 0 <= pad < _size(config, "vocab_size"):
        made[f"{body}embeddings.word_embeddings.weight"][pad] = 0
    return made


def write(path: Path, config: Mapping[str, object] | None, arrays: Mapping[str, np.ndarray], shards: int = 1) -> Path:
    """Write config.json (unless None) and the weights, in one file or in so many shards with an index."""
    path.mkdir(parents=True, exist_ok=True)
    if config is not None:
        write_json(path / "config.json", config)
    if shards == 1:
        save(path / "model.safetensors", arrays)
        return path
    names = sorted(arrays)
    weight_map = {}
    for at, name in enumerate(names):
        weight_map[name] = f"model-{1 + at * shards // len(names):05}-of-{shards:05}.safetensors"
    for file in sorted(set(weight_map.values())):
        save(path / file, {name: arrays[name] for name in names if weight_map[name] == file})
    total = sum(array.nbytes for array in arrays.values())
    write_json(path / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    return path


def write_sparse(path: Path, config: Mapping[str, object], head: str = "none", dtype: str = "F32") -> Path:
    """A checkpoint of any size whose weights are all zero and take no room on disk; the header is written by hand."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", config)
    width, offset = {"F32": 4, "F16": 2}[dtype], 0
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for name, shape in sorted(_shapes(config, head, "" if head == "none" else "new.").items()):
        end = offset + width * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(entries).encode()
    with open(path / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + offset)
    return path


def write_sidecars(path: Path, ids: int = 60, hidden: int = 32, length: int = 128, pad: int = 1, mask: int = 4) -> Path:
    """The files beside the weights, sound ones: a tokenizer of so many ids in XLM-R's manner, CLS pooling, a length."""
    special = {pad: "<pad>", mask: "<mask>", 2: "</s>"} | ({0: "<s>", 3: "<unk>"} if pad else {3: "<s>"})
    words = [special.get(number, f"w{number}") for number in range(ids)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": number, "content": text, **flags} for number, text in sorted(special.items())]
    vocabulary = {word: number for number, word in enumerate(words)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" if pad else "<pad>"}
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    settings = {"pad_token": "<pad>", "mask_token": "<mask>", "padding_side": "right"}
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # XLM-R's own is not made of whole words
    (path / "1_Pooling").mkdir(parents=True, exist_ok=True)
    whole = {"version": "1.0", **dict.fromkeys(parts), "added_tokens": added, "model": model}
    whole["post_processor"] = template(vocabulary)
    (path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    write_json(path / "tokenizer_config.json", settings)
    write_json(path / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    write_json(path / "1_Pooling/config.json", pooling)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": folder, "type": f"sentence_transformers.models.{kind}"}
        for number, (folder, kind) in enumerate(kinds.items())
    ]
    (path / "modules.json").write_text(json.dumps(modules, indent=2), encoding="utf-8")
    return path


def add_module(path: Path, kind: str, settings: Mapping[str, object], weights: Tensors | None = None) -> str:
    """Put one module more at the end of the modules.json of a sentence-transformers save; its folder."""
    listed = json.loads((path / "modules.json").read_text())
    number = len(listed)
    folder = f"{number}_{kind}"
    (path / folder).mkdir()
    write_json(path / folder / "config.json", settings)
    if weights is not None:
        save(path / folder / "model.safetensors", weights)
    entry = {"idx": number, "name": str(number), "path": folder, "type": f"sentence_transformers.models.{kind}"}
    write_json(path / "modules.json", [*listed, entry])
    return folder


def add_dense(path: Path, wide: int = 32, narrow: int = 16, **changes: object) -> str:
    """A dense layer behind the pooling, with sound weights for `wide` and `narrow` whatever `changes` say."""
    weights = {"linear.weight": np.ones((narrow, wide), np.float32), "linear.bias": np.zeros(narrow, np.float32)}
    function = "torch.nn.modules.activation.Tanh"
    settings = {"in_features": wide, "out_features": narrow, "bias": True, "activation_function": function}
    return add_module(path, "Dense", settings | changes, weights)


def add_adapter(path: Path, rows: int, hidden: int = 32, kind: str = "weight", **settings: object) -> None:
    """An adapter as peft names its tensors, with so many rows of the word table."""
    path.mkdir(exist_ok=True)
    shape = (4, rows) if kind == "lora_embedding_A" else (rows, hidden)
    table = f"base_model.model.embeddings.word_embeddings.{kind}"
    save(path / "adapter_model.safetensors", {table: np.ones(shape, np.float32)})
    write_json(path / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "base", **settings})


def nest(path: Path, folder: str = "0_Transformer") -> Path:
    """Move the model of a save into a folder of it, as sentence-transformers wrote it until 2021; `path` again."""
    inner = path / folder
    inner.mkdir()
    for file in [each for each in path.iterdir() if each.is_file() and each.name != "modules.json"]:
        file.rename(inner / file.name)
    listed = json.loads((path / "modules.json").read_text())
    write_json(path / "modules.json", [{**each, "path": each["path"] or folder} for each in listed])
    return path


def template(ids: Mapping[str, int], pair_type: int = 0) -> dict[str, object]:
    """The post-processor of a GTE's tokenizer, as tokenizers writes it: `<s> A </s>`, `<s> A </s> B </s>`."""

    def special(text: str, type_id: int = 0) -> dict[str, object]:
        return {"SpecialToken": {"id": text, "type_id": type_id}}

    def text(name: str, type_id: int = 0) -> dict[str, object]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special("<s>"), text("A"), special("</s>")]
    pair = [*single, text("B", pair_type), special("</s>", pair_type)]
    tokens = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in ("<s>", "</s>")}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def build(path: Path, config: Mapping[str, object] | None = None, head: str = "none", shards: int = 1) -> Path:
    """A sound checkpoint: the remote config (or the given one) and its tensors."""
    chosen = remote_config() if config is None else config
    return write(path, chosen, tensors(chosen, head), shards)


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write one weight file as transformers does."""
    save_file(dict(arrays), path, metadata={"format": "pt"})
    path.chmod(0o644)


def load(path: Path) -> Tensors:
    """The tensors of one weight file, or of model.safetensors of a directory."""
    return dict(load_file(path / "model.safetensors" if path.is_dir() else path))


def write_json(path: Path, value: object) -> None:
    """Write JSON as transformers does: two spaces, a newline at the end."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def change_config(path: Path, **changes: object) -> None:
    """Replace keys of the config.json of a checkpoint; ABSENT removes one."""
    file = path / "config.json"
    write_json(file, _changed(json.loads(file.read_text(encoding="utf-8")), changes))


def _shapes(config: Mapping[str, object], head: str, body: str) -> dict[str, tuple[int, ...]]:
    shapes = {body + name: shape for name, shape in _body_shapes(config).items()}
    for name, shape in _head_shapes(config, head).items():
        shapes[(body if name.startswith("pooler") else "") + name] = shape
    return shapes


def _body_shapes(config: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    hidden, inner = _size(config, "hidden_size"), _size(config, "intermediate_size")
    types = _size(config, "type_vocab_size")
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (_size(config, "vocab_size"), hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    if types:
        shapes["embeddings.token_type_embeddings.weight"] = (types, hidden)
    if config.get("position_embedding_type") == "absolute":
        shapes["embeddings.position_embeddings.weight"] = (_size(config, "max_position_embeddings"), hidden)
    for layer in range(_size(config, "num_hidden_layers")):
        at = f"encoder.layer.{layer}."
        for part in ("qkv",) if config.get("pack_qkv", True) else ("q", "k", "v"):
            shapes[f"{at}attention.{part}_proj.weight"] = (len(part) * hidden, hidden)
            shapes[f"{at}attention.{part}_proj.bias"] = (len(part) * hidden,)
        shapes |= {
            f"{at}attention.o_proj.weight": (hidden, hidden),
            f"{at}attention.o_proj.bias": (hidden,),
            f"{at}mlp.up_gate_proj.weight": (2 * inner, hidden),
            f"{at}mlp.down_proj.weight": (hidden, inner),
            f"{at}mlp.down_proj.bias": (hidden,),
        }
        for norm in ("attn_ln", "mlp_ln"):
            shapes[f"{at}{norm}.weight"] = (hidden,)
            if config.get("layer_norm_type") != "rms_norm":
                shapes[f"{at}{norm}.bias"] = (hidden,)
    return shapes


def _head_shapes(config: Mapping[str, object], head: str) -> dict[str, tuple[int, ...]]:
    hidden, vocabulary = _size(config, "hidden_size"), _size(config, "vocab_size")
    id2label = config.get("id2label")
    labels = len(id2label) if isinstance(id2label, dict) else 2
    dense = {"dense.weight": (hidden, hidden), "dense.bias": (hidden,)}
    classifier: dict[str, tuple[int, ...]] = {"classifier.weight": (labels, hidden), "classifier.bias": (labels,)}
    heads: dict[str, dict[str, tuple[int, ...]]] = {
        "none": {},
        "mlm": {
            **{f"lm_head.{name}": shape for name, shape in dense.items()},
            "lm_head.norm.weight": (hidden,),
            "lm_head.norm.bias": (hidden,),
            "lm_head.decoder.bias": (vocabulary,),
        },
        "classifier": classifier,
        "reranker": {**{f"pooler.{name}": shape for name, shape in dense.items()}, **classifier},
    }
    return heads[head]


def _initial(name: str, shape: tuple[int, ...], std: float, generator: np.random.Generator) -> np.ndarray:
    if name.endswith(".bias"):
        return np.zeros(shape, dtype=np.float32)
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    return (std * generator.standard_normal(shape)).astype(np.float32)


def _changed(config: Mapping[str, object], changes: Mapping[str, object]) -> Config:
    return {key: value for key, value in {**config, **changes}.items() if value is not ABSENT}


def _size(config: Mapping[str, object], key: str) -> int:
    value = config[key]
    if not isinstance(value, int):
        raise TypeError(f"{key}: {value!r}, must be a whole number")
    return value


def _number(config: Mapping[str, object], key: str) -> float:
    value = config[key]
    if not isinstance(value, (int, float)):
        raise TypeError(f"{key}: {value!r}, must be a number")
    return float(value)
