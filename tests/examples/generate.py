"""Writes the example checkpoints beside this file: `python -m tests.examples.generate` makes them anew.

`valid/<name>/` must pass; `invalid/<CODE>-<slug>/` has one damage each, which exactly the rule of that code finds. What
each must report stands in its expected.txt, which is written by hand and left alone here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from gte_surgery import new
from tests.builder import (
    ABSENT,
    Config,
    Tensors,
    add_adapter,
    add_dense,
    change_config,
    load,
    native_config,
    nest,
    remote_config,
    save,
    template,
    tensors,
    write,
    write_json,
    write_sidecars,
)

HERE = Path(__file__).resolve().parent
SMALL: Config = {
    "hidden_size": 8,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "vocab_size": 64,
    "max_position_embeddings": 16,
    "dtype": "float16",
}
WORDS = "embeddings.word_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
QKV = "encoder.layer.0.attention.qkv_proj.weight"
INDEX = "model.safetensors.index.json"
REMOTE_CODE = {name: f"Alibaba-NLP/new-impl--modeling.{name}" for name in ("AutoConfig", "AutoModel")}
RIDING = {"layer_norm_type": "layer_norm", "position_embedding_type": "rope"}
PLAIN = {"rope_parameters": {"rope_type": "default", "rope_theta": 160000.0}}
VLLM = {"architectures": ["GteNewModel"]}
Example = Callable[[Path], object]


def small(config: Mapping[str, object], head: str = "none", prefix: str | None = None) -> Tensors:
    """The tensors of a config, float16."""
    return {name: array.astype(np.float16) for name, array in tensors(config, head, prefix).items()}


def remote(path: Path, head: str = "none", shards: int = 1, **changes: object) -> Path:
    """A sound remote checkpoint, in shards or in one file."""
    names = {"none": "Model", "mlm": "ForMaskedLM", "classifier": "ForTokenClassification"}
    names["reranker"] = "ForSequenceClassification"
    config = remote_config(**{**SMALL, "architectures": [f"New{names[head]}"], **changes})
    return write(path, config, small(config, head), shards)


def native(path: Path, **changes: object) -> Path:
    """A sound native checkpoint."""
    config = native_config(**{**SMALL, **changes})
    return write(path, config, small(config))


def renamed(path: Path, **changes: object) -> Path:
    """A sound checkpoint in Snowflake's dialect."""
    return remote(path, model_type="gte", architectures=["GteModel"], rope_scaling=None, **changes)


def bert(path: Path) -> Path:
    """A sound BERT."""
    sizes = {"hidden": 8, "heads": 1, "intermediate": 8, "layers": 1, "vocab": 64, "max_positions": 16}
    new(path, release="gte-small", **sizes)  # type: ignore[arg-type]
    (path / "gte-surgery.json").unlink()
    return path


def native_mlm(path: Path, **changes: object) -> Path:
    """A sound native masked-LM checkpoint."""
    config = native_config(**{**SMALL, "architectures": ["GteForMaskedLM"], **changes})
    return write(path, config, small(config, "mlm"))


def forked(path: Path) -> None:
    """A checkpoint with modeling code of somebody's own beside it."""
    remote(path, auto_map={"AutoModel": "modeling_fork.NewModel"})
    (path / "modeling_fork.py").write_text("class NewModel:\n    pass\n")


def frequencies(theta: float, pairs: int = 4) -> np.ndarray:
    """A stored inv_freq, float32."""
    return (theta ** (-np.arange(pairs) / pairs)).astype(np.float32)


def retensored(path: Path, change: Callable[[Tensors], Tensors], **config: object) -> Path:
    """A remote checkpoint whose tensors are changed after the config was written."""
    remote(path, **config)
    save(path / "model.safetensors", change(load(path)))
    return path


def renamed_tensors(path: Path, old: str, new: str) -> None:
    """Replace a part of every tensor's name."""
    arrays = load(path)
    save(path / "model.safetensors", {name.replace(old, new): array for name, array in arrays.items()})


def header(path: Path, text: str | bytes, data: int = 0, length: int | None = None) -> None:
    """A model.safetensors of this header and so many bytes of data, beside a sound config."""
    remote(path)
    raw = text.encode() if isinstance(text, str) else text
    size = len(raw) if length is None else length
    (path / "model.safetensors").write_bytes(size.to_bytes(8, "little") + raw + bytes(data))


def entry(path: Path, data: int = 8, **fields: object) -> None:
    """A model.safetensors of one tensor `t`, two F32 numbers, with some fields of its entry replaced."""
    whole = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **fields}
    header(path, json.dumps({"t": {key: value for key, value in whole.items() if value is not ABSENT}}), data)


def pair(path: Path, first: tuple[int, int], second: tuple[int, int], data: int) -> None:
    """A model.safetensors of two tensors of U8 at these offsets."""
    ranges = {"a": first, "b": second}
    entries = {n: {"dtype": "U8", "shape": [e - b], "data_offsets": [b, e]} for n, (b, e) in ranges.items()}
    header(path, json.dumps(entries), data)


def reindexed(path: Path, change: Callable[[dict[str, str], dict[str, object]], object]) -> None:
    """A checkpoint in two shards whose index is changed: `change` gets the weight map and the metadata."""
    remote(path, shards=2)
    index = json.loads((path / INDEX).read_text())
    change(index["weight_map"], index["metadata"])
    write_json(path / INDEX, index)


def without_metadata(path: Path) -> None:
    """Two shards under an index of a weight map alone."""
    remote(path, shards=2)
    write_json(path / INDEX, {"weight_map": json.loads((path / INDEX).read_text())["weight_map"]})


def nul_padded(path: Path) -> None:
    """A header that is padded with NUL bytes, as by a writer in another language."""
    remote(path)
    raw = (path / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    text = raw[8 : 8 + size].rstrip(b" ") + b"\0\0\0"
    (path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


def without_format(path: Path) -> None:
    """A remote checkpoint as transformers 4 wants it, but for the metadata of its header."""
    remote(path, auto_map=REMOTE_CODE)
    save_file(load(path), path / "model.safetensors")


def unscaled(name: str, array: np.ndarray) -> np.ndarray:
    """A projection as 8-bit floats have it before their scale; other tensors as they are."""
    return np.clip(array * 2e4, -448, 448).astype(np.float16) if name.endswith("_proj.weight") else array


def doubled_tensor(path: Path) -> None:
    """Two shards that both hold the word embeddings; index and total size leave the second aside."""
    remote(path, shards=2)
    second = path / "model-00002-of-00002.safetensors"
    save(second, {**load(second), WORDS: load(path / "model-00001-of-00002.safetensors")[WORDS]})


def stale_index(path: Path) -> None:
    """A whole model.safetensors beside the shards of an earlier save."""
    remote(path, shards=2)
    remote(path)


def with_file(path: Path, name: str, text: str) -> None:
    """A sound checkpoint and one more file."""
    remote(path)
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(text)


def linked(path: Path, name: str, target: str) -> None:
    """A sound checkpoint and a link."""
    remote(path)
    (path / name).symlink_to(target)


def receipt(path: Path, size: int) -> None:
    """A checkpoint whose receipt says another size of the weights."""
    written = [{"name": "model.safetensors", "size": size}]
    record = {"tool": "gte-surgery 0.1.0", "time": "2026-01-01T00:00:00Z", "command": "resize", "edits": {}}
    record |= {"seed": None, "sources": [], "written": written, "removed": []}
    with_file(path, "gte-surgery.json", json.dumps({"receipts": [record]}, indent=2) + "\n")


def config_text(path: Path, old: str, new: str) -> None:
    """A sound checkpoint with a piece of the text of its config.json replaced."""
    remote(path)
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace(old, new, 1))


def changed(path: Path, make: Callable[[Path], object], **config: object) -> None:
    """A checkpoint whose config is changed after its tensors were made."""
    make(path)
    change_config(path, **config)


def set_row(name: str, row: int | tuple[int, int] | slice, value: float) -> Callable[[Tensors], Tensors]:
    """A change of tensors: one row gets one value throughout, or one number, or all."""

    def change(arrays: Tensors) -> Tensors:
        arrays[name][row] = value
        return arrays

    return change


def unpacked(arrays: Tensors) -> Tensors:
    """q, k and v of every layer apart."""
    apart: Tensors = {}
    for name, array in arrays.items():
        parts = zip("qkv", np.split(array, 3), strict=True) if "qkv_proj" in name else [("qkv", array)]
        apart |= {name.replace("qkv_proj", f"{part}_proj"): piece for part, piece in parts}
    return apart


def transformers_names(path: Path) -> None:
    """A native checkpoint saved with save_original_format=False (layout f)."""
    native(path)
    arrays: Tensors = {}
    for name, array in unpacked(load(path)).items():
        halves = zip(("up", "gate"), np.split(array, 2), strict=True) if "up_gate" in name else [("up_gate", array)]
        arrays |= {name.replace("up_gate", half): piece for half, piece in halves}
    save(path / "model.safetensors", arrays)
    for old, other in (
        ("encoder.layer.", "layers."),
        (".attention.", ".self_attn."),
        (".attn_ln.", ".post_attention_layernorm."),
        (".mlp_ln.", ".post_mlp_layernorm."),
    ):
        renamed_tensors(path, old, other)


def complete(path: Path, make: Callable[..., Path], ids: int = 60, **changes: object) -> Path:
    """A checkpoint with all the files that belong beside its weights."""
    make(path, **changes)
    return write_sidecars(path, ids=ids, hidden=8, length=16)


def beside(path: Path, name: str, **changes: object) -> None:
    """A remote checkpoint with sidecars, one of which has other members; ABSENT removes one."""
    complete(path, remote)
    members = {**json.loads((path / name).read_text()), **changes}
    write_json(path / name, {key: value for key, value in members.items() if value is not ABSENT})


def unpadded(path: Path) -> None:
    """A tokenizer that is taken as it is filed, and no word of which token pads."""
    beside(path, "tokenizer_config.json", pad_token=ABSENT, tokenizer_class="PreTrainedTokenizerFast")


def lacking(path: Path, *names: str) -> None:
    """A remote checkpoint with all sidecars but these."""
    complete(path, remote)
    for name in names:
        (path / name).unlink()


def modules(path: Path, *folders: str) -> None:
    """A checkpoint whose modules.json lists a transformer and these poolings."""
    complete(path, remote)
    kinds = [("", "Transformer"), *((folder, "Pooling") for folder in folders)]
    write_json(
        path / "modules.json",
        [
            {"idx": at, "name": str(at), "path": folder, "type": f"sentence_transformers.models.{kind}"}
            for at, (folder, kind) in enumerate(kinds)
        ],
    )


def added_token(path: Path) -> None:
    """A tokenizer of just as many ids as the table has rows, and a token more."""
    complete(path, remote, ids=64)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 64, "content": "<query>"})
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))


def emitting(path: Path, make: Callable[..., Path] = remote, **members: object) -> None:
    """A checkpoint whose tokenizer.json has other members."""
    complete(path, make)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").write_text(json.dumps(tokenizer | members))


def replaced(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def left_behind(path: Path) -> None:
    """A checkpoint whose receipt says that the tokenizer stayed though the rows moved."""
    complete(path, remote)
    digest = hashlib.sha256((path / "tokenizer.json").read_bytes()).hexdigest()
    edits = {"keep": "ids.txt", "tokenizer": "keep", "left_behind": {"tokenizer.json": digest}}
    written = [{"name": "config.json", "size": (path / "config.json").stat().st_size}]
    base = {"tool": "gte-surgery 0.1.0", "time": "2026-01-01T00:00:00Z", "command": "remap", "seed": 0}
    receipt = {**base, "edits": edits, "sources": [], "written": written, "removed": []}
    write_json(path / "gte-surgery.json", {"receipts": [receipt]})


def hashed_receipt(path: Path) -> None:
    """A receipt whose hash is that of other bytes."""
    remote(path)
    size = (path / "model.safetensors").stat().st_size
    record = {"name": "model.safetensors", "size": size, "sha256": "0" * 64}
    write_json(path / "gte-surgery.json", {"receipts": [{"written": [record]}]})


def signed_before(path: Path) -> None:
    """A signature of other weights, of a file that is gone, and of no config.json."""
    remote(path)
    named = {"model.safetensors": "0" * 64, "vocab.txt": "1" * 64}
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in named.items()]
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in named.values())).hexdigest()
    serialization = {"method": "files", "hash_type": "sha256", "ignore_paths": ["model.sig", "expected.txt"]}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "ckpt", "digest": {"sha256": whole}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": serialization, "resources": resources},
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    write_json(path / "model.sig", {"dsseEnvelope": {"payload": payload, "signatures": []}})


def listed_before(path: Path) -> None:
    """A bill of materials that gives config.json another hash, and names a file that is gone."""
    remote(path)
    hashes = [{"alg": "SHA-256", "content": "0" * 64}]
    components = [{"type": "file", "name": name, "hashes": hashes} for name in ("config.json", "vocab.txt")]
    write_json(path / "bom.json", {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components})


def beyond_half(path: Path) -> None:
    """A float32 checkpoint with one number that float16 does not hold."""
    config = remote_config(**SMALL | {"dtype": "float32"})
    arrays = tensors(config)
    arrays["encoder.layer.0.mlp.down_proj.weight"][3, 4] = -1e5
    write(path, config, arrays)


def prefixed_native(path: Path) -> None:
    """A native checkpoint whose names have the prefix of the remote heads."""
    config = native_config(**SMALL, **RIDING)
    write(path, config, small(config, "none", "new."))


VALID: dict[str, Example] = {
    "remote": remote,
    "remote-sharded": lambda path: remote(path, shards=2),
    "remote-mlm": lambda path: remote(path, head="mlm"),
    "remote-classifier": lambda path: remote(path, head="classifier", id2label={"0": "A"}, label2id={"A": 0}),
    "remote-reranker": lambda path: remote(path, head="reranker", id2label={"0": "A"}, label2id={"A": 0}),
    "remote-absolute": lambda path: remote(path, position_embedding_type="absolute"),
    "remote-rms-norm": lambda path: remote(path, layer_norm_type="rms_norm"),
    "remote-unpacked": lambda path: remote(path, pack_qkv=False),
    "remote-no-types": lambda path: remote(path, type_vocab_size=0),
    "remote-tied-decoder-stored": lambda path: retensored(
        path, lambda t: t | {"lm_head.decoder.weight": t[f"new.{WORDS}"]}, head="mlm"
    ),
    "renamed": renamed,
    "native": native,
    "native-transformers-names": transformers_names,
    "remote-complete": lambda path: complete(path, remote, auto_map=REMOTE_CODE),
    "native-complete": lambda path: complete(path, native, **RIDING, **PLAIN),
    "remote-for-vllm": lambda path: remote(path, **VLLM),
}

INVALID: dict[str, Example] = {
    "GTE001-readme-only": lambda path: (path.mkdir(parents=True), (path / "README.md").write_text("nothing here\n")),
    "GTE002-no-config": lambda path: write(path, None, small(remote_config(**SMALL))),
    "GTE003-duplicate-key": lambda path: config_text(path, '"hidden_size"', '"vocab_size": 32,\n  "hidden_size"'),
    "GTE004-no-weights": lambda path: (remote(path), (path / "model.safetensors").unlink()),
    "GTE005-lfs-pointer": lambda path: with_file(
        path,
        "model.safetensors",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 611113336\n",
    ),
    "GTE010-no-weight-map": lambda path: (remote(path, shards=2), write_json(path / INDEX, {"metadata": {}})),
    "GTE011-shard-gone": lambda path: (remote(path, shards=2), (path / "model-00002-of-00002.safetensors").unlink()),
    "GTE012-parent-folder": lambda path: reindexed(path, lambda m, _: m.update({QKV: "../outside.safetensors"})),
    "GTE013-listed-in-wrong-shard": lambda path: reindexed(
        path, lambda m, _: m.update({WORDS: "model-00002-of-00002.safetensors"})
    ),
    "GTE014-not-listed": lambda path: reindexed(path, lambda m, _: m.pop(WORDS)),
    "GTE015-beside-single-file": stale_index,
    "GTE016-total-size": lambda path: reindexed(path, lambda _, metadata: metadata.update(total_size=1)),
    "GTE017-in-two-shards": doubled_tensor,
    "GTE018-link-out": lambda path: linked(path, "NOTICE.txt", "../../../README.md"),
    "GTE020-no-metadata": without_metadata,
    "GTE021-dot-slash": lambda path: reindexed(path, lambda m, _: m.update({n: f"./{s}" for n, s in m.items()})),
    "GTE030-four-bytes": lambda path: (remote(path), (path / "model.safetensors").write_bytes(bytes(4))),
    "GTE031-length-of-ten-to-the-twelve": lambda path: header(path, "{}", length=10**12),
    "GTE032-cut-inside-header": lambda path: header(path, '{"t":', length=1000),
    "GTE033-latin-1": lambda path: header(path, '{"é": 1}'.encode("latin-1")),
    "GTE034-leading-space": lambda path: header(path, " {}"),
    "GTE035-trailing-comma": lambda path: header(path, '{"t": 1,}'),
    "GTE036-name-twice": lambda path: header(path, '{"t": 1, "t": 1}'),
    "GTE037-array": lambda path: header(path, "[]"),
    "GTE038-number-in-metadata": lambda path: header(path, '{"__metadata__": {"step": 7}}'),
    "GTE039-no-dtype": lambda path: entry(path, dtype=ABSENT),
    "GTE040-dtype-q4": lambda path: entry(path, dtype="Q4"),
    "GTE041-negative-shape": lambda path: entry(path, shape=[-2]),
    "GTE042-overflow": lambda path: entry(path, shape=[2**40, 2**40]),
    "GTE043-end-before-begin": lambda path: entry(path, data_offsets=[8, 0]),
    "GTE044-too-few-bytes": lambda path: entry(path, shape=[3]),
    "GTE045-three-of-four-bits": lambda path: entry(path, dtype="F4", shape=[3], data_offsets=[0, 2], data=2),
    "GTE046-hole": lambda path: pair(path, (0, 4), (8, 12), data=12),
    "GTE047-overlap": lambda path: pair(path, (0, 4), (2, 6), data=6),
    "GTE048-cut-inside-data": lambda path: entry(path, data=4),
    "GTE049-trailing-bytes": lambda path: entry(path, data=9),
    "GTE050-array": lambda path: header(path, '{"t": ["F32", [0], [0, 0]]}'),
    "GTE051-null-metadata": lambda path: header(path, '{"__metadata__": null}'),
    "GTE052-dtype-in-an-object": lambda path: entry(path, dtype={"F32": None}),
    "GTE055-nul-padded": nul_padded,
    "GTE060-temporary-file": lambda path: with_file(path, ".tmpAbC123", "half of a tensor"),
    "GTE061-journal": lambda path: with_file(path, ".gte-surgery/journal.json", "{}\n"),
    "GTE062-stage": lambda path: with_file(path, ".gte-surgery/stage/config.json", "{}\n"),
    "GTE063-receipt-is-a-list": lambda path: with_file(path, "gte-surgery.json", "[]\n"),
    "GTE064-other-size": lambda path: receipt(path, size=4096),
    "GTE066-shard-of-before": lambda path: (
        remote(path, shards=2),
        shutil.copy(path / "model-00001-of-00002.safetensors", path / "model-00003-of-00003.safetensors"),
    ),
    "GTE067-unsigned-and-changed": signed_before,
    "GTE069-of-before": listed_before,
    "GTE101-electra": lambda path: changed(path, remote, model_type="electra"),
    "GTE102-negative-vocabulary": lambda path: changed(path, remote, vocab_size=-5),
    "GTE103-quoted-false": lambda path: changed(path, remote, unpad_inputs="false"),
    "GTE104-quoted-true": lambda path: changed(path, remote, pack_qkv="true"),
    "GTE105-labels-in-words": lambda path: changed(path, remote, num_labels="two"),
    "GTE107-pad-beyond-positions": lambda path: remote(path, position_embedding_type="absolute", pad_token_id=20),
    "GTE110-pad-beyond-table": lambda path: changed(path, remote, pad_token_id=5000),
    "GTE111-three-heads": lambda path: changed(path, remote, num_attention_heads=3),
    "GTE112-sixty-three-rows": lambda path: remote(path, vocab_size=63),
    "GTE113-no-pad": lambda path: remote(path, pad_token_id=ABSENT),
    "GTE114-native-rms-norm": lambda path: changed(path, native, layer_norm_type="rms_norm"),
    "GTE115-masked-lm-without-head": lambda path: changed(path, remote, architectures=["NewForMaskedLM"]),
    "GTE116-masked-lm-undeclared": lambda path: remote(path, head="mlm", architectures=["NewModel"]),
    "GTE117-relu-under-native-head": lambda path: native_mlm(path, hidden_act="relu"),
    "GTE120-native-without-rope": lambda path: changed(path, native, rope_parameters=ABSENT),
    "GTE121-ntk-in-native": lambda path: changed(
        path, native, rope_parameters=ABSENT, rope_theta=20000, rope_scaling={"type": "ntk", "factor": 8.0}
    ),
    "GTE122-saved-again": lambda path: changed(
        path,
        remote,
        rope_theta=ABSENT,
        rope_scaling=ABSENT,
        rope_parameters={"rope_type": "ntk", "rope_theta": 20000, "factor": 8.0},
    ),
    "GTE123-four-digits": lambda path: changed(
        path, native, rope_parameters={"rope_type": "linear", "rope_theta": 160000.0, "factor": 1.6818}
    ),
    "GTE124-yarn": lambda path: changed(path, remote, rope_scaling={"type": "yarn", "factor": 4.0}),
    "GTE126-native-yarn": lambda path: changed(
        path, native, rope_parameters={"rope_type": "yarn", "rope_theta": 160000.0, "factor": 4.0}
    ),
    "GTE127-two-ropes": lambda path: changed(
        path, remote, rope_parameters={"rope_type": "ntk", "rope_theta": 20000, "factor": 2.0}
    ),
    "GTE140-auto-map": lambda path: changed(
        path, remote, auto_map={"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}
    ),
    "GTE141-unpad-alone": lambda path: changed(path, remote, unpad_inputs=True),
    "GTE142-logn": lambda path: changed(path, remote, logn_attention_scale=True),
    "GTE143-key-of-a-fork": lambda path: changed(path, remote, partial_rope_ratio=0.5),
    "GTE144-code-of-a-fork": forked,
    "GTE145-quantizer": lambda path: changed(path, remote, quantization_config={"quant_method": "bitsandbytes"}),
    "GTE146-activation-of-nobody": lambda path: changed(path, remote, hidden_act="gelu_fancy"),
    "GTE150-expected-32000": remote,
    "GTE151-expected-pad-0": remote,
    "GTE152-expected-two-types": remote,
    "GTE153-expected-8192-positions": remote,
    "GTE154-expected-width-768": remote,
    "GTE155-ids-without-rows": remote,
    "GTE156-spare-rows": lambda path: remote(path, vocab_size=192),
    "GTE200-bert": lambda path: (remote(path), renamed_tensors(path, "embeddings.word_embeddings", "wte")),
    "GTE201-norm-gone": lambda path: retensored(
        path, lambda t: {n: a for n, a in t.items() if n != "encoder.layer.0.attn_ln.bias"}
    ),
    "GTE202-layer-beyond": lambda path: changed(path, lambda p: remote(p, num_hidden_layers=2), num_hidden_layers=1),
    "GTE203-adapter": lambda path: retensored(path, lambda t: t | {"adapter.weight": np.ones((2, 2), np.float16)}),
    "GTE204-fewer-rows": lambda path: changed(path, remote, vocab_size=128),
    "GTE205-placeholders": lambda path: retensored(
        path, lambda t: {n: a[:0, 0] if a.ndim > 1 else a for n, a in t.items()}
    ),
    "GTE209-flat-words": lambda path: retensored(path, lambda t: t | {WORDS: t[WORDS].reshape(-1)}),
    "GTE206-one-in-float32": lambda path: retensored(path, lambda t: t | {QKV: t[QKV].astype(np.float32)}),
    "GTE207-int8": lambda path: retensored(path, lambda t: t | {QKV: t[QKV].astype(np.int8)}),
    "GTE208-stated-float32": lambda path: changed(path, remote, dtype="float32"),
    "GTE210-doubled-prefix": lambda path: (
        write(path, config := native_config(**SMALL, architectures=["GteForMaskedLM"]), small(config, "mlm")),
        renamed_tensors(path, "new.", "new.gte."),
        renamed_tensors(path, "lm_head.", "new.lm_head."),
    ),
    "GTE211-head-norm": lambda path: (
        write(path, config := native_config(**SMALL, architectures=["GteForMaskedLM"]), small(config, "mlm", "gte.")),
        renamed_tensors(path, "lm_head.norm", "lm_head.layer_norm"),
    ),
    "GTE212-transformers-names": transformers_names,
    "GTE213-native-names": lambda path: (
        remote(path, head="mlm"),
        renamed_tensors(path, "new.", "gte."),
    ),
    "GTE214-stored-apart": lambda path: retensored(path, unpacked),
    "GTE215-gamma-and-beta": lambda path: (
        bert(path),
        renamed_tensors(path, "LayerNorm.weight", "LayerNorm.gamma"),
        renamed_tensors(path, "LayerNorm.bias", "LayerNorm.beta"),
    ),
    "GTE220-table-gone": lambda path: retensored(path, lambda t: {n: a for n, a in t.items() if n != TYPES}),
    "GTE221-table-denied": lambda path: changed(path, remote, type_vocab_size=0),
    "GTE222-one-row-for-two": lambda path: changed(path, remote, type_vocab_size=2),
    "GTE230-trained-pad-row": lambda path: retensored(path, set_row(WORDS, 1, 0.5)),
    "GTE231-zero-row": lambda path: retensored(path, set_row(WORDS, 7, 0)),
    "GTE240-other-decoder": lambda path: retensored(
        path, lambda t: t | {"lm_head.decoder.weight": t[f"new.{WORDS}"] + np.float16(1)}, head="mlm"
    ),
    "GTE241-decoder-twice": lambda path: retensored(
        path, lambda t: t | {"lm_head.decoder.weight": t[f"new.{WORDS}"]}, head="mlm"
    ),
    "GTE250-position-ids": lambda path: retensored(
        path, lambda t: t | {"embeddings.position_ids": np.arange(16)[None]}
    ),
    "GTE251-other-theta": lambda path: retensored(path, lambda t: t | {"rotary_emb.inv_freq": frequencies(10000.0)}),
    "GTE065-other-hash": hashed_receipt,
    "GTE260-one-nan": lambda path: retensored(path, set_row(QKV, (2, 3), np.nan)),
    "GTE261-minus-infinity": lambda path: retensored(path, set_row(WORDS, (5, 7), -np.inf)),
    "GTE262-zero-matrix": lambda path: retensored(path, set_row(QKV, slice(None), 0)),
    "GTE263-all-one-half": lambda path: retensored(path, set_row(QKV, slice(None), 0.5)),
    "GTE264-denormals": lambda path: retensored(path, lambda t: t | {QKV: t[QKV] * np.float16(1e-3)}),
    "GTE265-hundred-thousand": beyond_half,
    "GTE266-sixty-thousand": lambda path: retensored(path, set_row(QKV, (0, 0), 60000)),
    "GTE268-scales-lost": lambda path: retensored(path, lambda t: {name: unscaled(name, a) for name, a in t.items()}),
    "GTE267-loud-row": lambda path: retensored(path, set_row(WORDS, 5, 30)),
    "GTE300-trailing-comma": lambda path: with_file(path, "tokenizer_config.json", '{"pad_token": "<pad>",}\n'),
    "GTE301-larger-tokenizer": lambda path: complete(path, remote, ids=100),
    "GTE302-token-added": added_token,
    "GTE303-pads-with-another": lambda path: beside(path, "tokenizer_config.json", pad_token="</s>"),
    "GTE304-another-mask": lambda path: complete(path, remote, mask_token_id=5),
    "GTE305-mask-of-before": lambda path: remote(path, mask_token_id=250001),
    "GTE306-left-padding": lambda path: beside(path, "tokenizer_config.json", padding_side="left"),
    "GTE307-template-of-before": lambda path: emitting(path, post_processor=template({"<s>": 0, "</s>": 250})),
    "GTE308-no-template": lambda path: emitting(path, post_processor=None),
    "GTE309-pair-of-types": lambda path: emitting(
        path, native, post_processor=template({"<s>": 0, "</s>": 2}, pair_type=1)
    ),
    "GTE313-another-row": lambda path: emitting(path, post_processor=template({"<s>": 5, "</s>": 2})),
    "GTE310-mean": lambda path: beside(
        path, "1_Pooling/config.json", pooling_mode_cls_token=False, pooling_mode_mean_tokens=True
    ),
    "GTE311-width-of-base": lambda path: beside(path, "1_Pooling/config.json", word_embedding_dimension=768),
    "GTE311-width-under-the-new-key": lambda path: beside(
        path, "1_Pooling/config.json", word_embedding_dimension=ABSENT, embedding_dimension=768
    ),
    "GTE314-dense-of-base": lambda path: (complete(path, remote), add_dense(path, 768, 4)),
    "GTE319-activation-of-nobody": lambda path: (
        complete(path, remote),
        add_dense(path, 8, 4, activation_function="torch.nn.modules.activation.Swish"),
    ),
    "GTE315-old-save": lambda path: nest(complete(path, remote)),
    "GTE318-word-pieces-for-xlm-r": lambda path: (
        emitting(path, native),
        replaced(path / "tokenizer.json", '"WordLevel"', '"WordPiece"'),
        replaced(path / "tokenizer_config.json", ',\n  "tokenizer_class": "PreTrainedTokenizerFast"', ""),
    ),
    "GTE316-tokenizer-of-before": left_behind,
    "GTE317-adapter-of-before": lambda path: (complete(path, remote), add_adapter(path / "adapter", 128, 8)),
    "GTE312-long-texts": lambda path: beside(path, "sentence_bert_config.json", max_seq_length=8192),
    "GTE600-remote": remote,
    "GTE601-renamed-rms-norm": lambda path: renamed(path, layer_norm_type="rms_norm"),
    "GTE602-class-of-ones-own": lambda path: native(path, architectures=["OurEncoder"]),
    "GTE603-whole-number": lambda path: native(path, layer_norm_eps=1),
    "GTE610-native": native,
    "GTE611-no-auto-map": remote,
    "GTE612-code-not-copied": lambda path: remote(
        path, auto_map={"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"}
    ),
    "GTE613-no-metadata": without_format,
    "GTE614-class-of-another": lambda path: (
        remote(path, auto_map={"AutoConfig": "configuration.NewConfig", "AutoModel": "a/b--modeling.NewModel"}),
        (path / "configuration.py").write_text("class OtherConfig:\n    pass\n"),
    ),
    "GTE615-tokenizer-of-5": lambda path: (
        beside(path, "tokenizer_config.json", tokenizer_class="TokenizersBackend", extra_special_tokens=["<s>"]),
        change_config(path, auto_map=REMOTE_CODE),
    ),
    "GTE626-rms-norm": lambda path: remote(path, layer_norm_type="rms_norm", **VLLM),
    "GTE636-no-tokenizer": lambda path: lacking(path, "tokenizer.json"),
    "GTE637-quick-gelu": lambda path: complete(path, remote, hidden_act="quick_gelu"),
    "GTE638-new-pooling": lambda path: (
        complete(path, remote),
        write_json(path / "1_Pooling/config.json", {"embedding_dimension": 8, "pooling_mode": "cls"}),
    ),
    "GTE639-no-length": lambda path: beside(path, "sentence_bert_config.json", max_seq_length=ABSENT),
    "GTE646-no-pad-token": unpadded,
    "GTE661-no-pad-token": unpadded,
    "GTE650-labelled-embedder": lambda path: complete(
        path,
        remote,
        head="classifier",
        architectures=["NewModel", "NewForTokenClassification"],
        id2label={"0": "A"},
        label2id={"A": 0},
    ),
    "GTE660-published-names": native,
    "GTE620-as-published": remote,
    "GTE621-relu": lambda path: remote(path, **VLLM, hidden_act="relu"),
    "GTE622-unpacked": lambda path: remote(path, **VLLM, pack_qkv=False),
    "GTE623-positions-unstated": native,
    "GTE624-masked-lm": lambda path: remote(path, head="mlm", **VLLM),
    "GTE625-prefixed": prefixed_native,
    "GTE630-two-keys": lambda path: complete(path, native, **PLAIN),
    "GTE631-no-labels": lambda path: complete(path, remote, head="classifier"),
    "GTE632-no-pooling": lambda path: lacking(path, "1_Pooling/config.json"),
    "GTE633-native-ntk": lambda path: complete(path, native, **RIDING),
    "GTE634-unpacked": lambda path: complete(path, remote, pack_qkv=False),
    "GTE635-logn": lambda path: complete(path, remote, logn_attention_scale=True),
    "GTE640-no-modules": lambda path: lacking(path, "modules.json"),
    "GTE641-pooling-elsewhere": lambda path: modules(path, "2_Pooling"),
    "GTE642-no-length": lambda path: lacking(path, "sentence_bert_config.json"),
    "GTE643-no-tokenizer": lambda path: lacking(path, "tokenizer.json"),
    "GTE645-more-than-is-taken": lambda path: beside(path, "sentence_bert_config.json", nonsense=3),
    "GTE644-no-width": lambda path: beside(path, "1_Pooling/config.json", word_embedding_dimension=ABSENT),
}


def make(folder: Path, examples: Mapping[str, Example]) -> None:
    """Write the examples below `folder`, each anew but for its expected.txt."""
    for name, example in examples.items():
        path = folder / name
        kept = (path / "expected.txt").read_text() if (path / "expected.txt").exists() else None
        shutil.rmtree(path, ignore_errors=True)
        example(path)
        if kept is not None:
            (path / "expected.txt").write_text(kept)


if __name__ == "__main__":
    make(HERE / "valid", VALID)
    make(HERE / "invalid", INVALID)
