"""The table of single damages goes on: to the files beside the weights, to the numbers, to what each program needs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.errors import UsageError
from gte_surgery.findings import Finding, Severity
from gte_surgery.gte.kinds import Consumer
from tests.builder import (
    ABSENT,
    Config,
    Tensors,
    add_adapter,
    add_dense,
    add_module,
    build,
    change_config,
    load,
    native_config,
    nest,
    remote_config,
    template,
    tensors,
    write,
    write_json,
    write_sidecars,
)

WORDS = "embeddings.word_embeddings.weight"
QKV = "encoder.layer.1.attention.qkv_proj.weight"
NORM = "encoder.layer.0.attn_ln.weight"
BIAS = "encoder.layer.0.mlp.down_proj.bias"
RIDING: Config = {"layer_norm_type": "layer_norm", "position_embedding_type": "rope"}
PLAIN: Config = {"rope_parameters": {"rope_type": "default", "rope_theta": 160000.0}}
NTK: Config = {"rope_parameters": native_config()["rope_parameters"]}
HERE_AND_THERE = {"AutoConfig": "m.C", "AutoModel": "a/b--m.M"}
CODE: Config = {"auto_map": {"AutoConfig": "Alibaba-NLP/new-impl--c.C", "AutoModel": "Alibaba-NLP/new-impl--m.M"}}


def grave(path: Path, values: bool = False, consumers: tuple[str, ...] = ()) -> set[str]:
    """The codes of errors and warnings."""
    findings = run(open_checkpoint(path), values=values, consumers=consumers).findings
    return {finding.code for finding in findings if finding.severity > Severity.NOTE}


def found(path: Path, code: str, values: bool = True) -> list[Finding]:
    return [finding for finding in run(open_checkpoint(path), values=values).findings if finding.code == code]


def members(name: str, **changes: object) -> Callable[[Path], None]:
    """Change members of a JSON file; ABSENT removes one."""

    def change(path: Path) -> None:
        whole = {**json.loads((path / name).read_text()), **changes}
        write_json(path / name, {key: value for key, value in whole.items() if value is not ABSENT})

    return change


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda path: (path / name).write_text(content, encoding="utf-8")


def tokenizer(**changes: int) -> Callable[[Path], object]:
    return lambda path: write_sidecars(path, **changes)


def speaking(**changes: object) -> Callable[[Path], None]:
    """Change members of tokenizer.json."""
    return members("tokenizer.json", **changes)


def left_in_tokenizer_json(path: Path) -> None:
    members(TOKENIZER, padding_side=ABSENT)(path)
    speaking(padding=PADDING | {"direction": "Left"})(path)


PADDING = {"strategy": "BatchLongest", "direction": "Right", "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}
BERT = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True}
TOKENIZER, POOLING, SENTENCES = "tokenizer_config.json", "1_Pooling/config.json", "sentence_bert_config.json"
STATEMENT = b'{"predicateType": "https://model_signing/Digests/v0.1", "subject": []}'
SIGNATURE = json.dumps({"dsseEnvelope": {"payload": base64.b64encode(STATEMENT).decode()}})
LISTED = {"type": "file", "name": "config.json", "hashes": [{"alg": "SHA-256", "content": "00"}]}
BILL = json.dumps({"bomFormat": "CycloneDX", "components": [LISTED]})
SIDECAR_DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    **{f"{name} is cut off": ("GTE300", text(name, '{"a": ')) for name in (TOKENIZER, POOLING, SENTENCES)},
    **{f"{name} is a list": ("GTE300", text(name, "[]")) for name in (TOKENIZER, POOLING, SENTENCES)},
    **{f"{name} has a key twice": ("GTE300", text(name, '{"a": 1, "a": 2}')) for name in (TOKENIZER, SENTENCES)},
    **{f"{name} is empty": ("GTE300", text(name, "")) for name in (TOKENIZER, POOLING, "modules.json")},
    "modules.json is an object": ("GTE300", text("modules.json", "{}")),
    "special_tokens_map.json holds NaN": ("GTE300", text("special_tokens_map.json", '{"pad_token": NaN}')),
    "tokenizer.json is an error page": ("GTE300", text("tokenizer.json", "<html></html>")),
    "tokenizer.json without a model": ("GTE300", text("tokenizer.json", '{"version": "1.0"}')),
    "a tokenizer of one id too many": ("GTE301", tokenizer(ids=129)),
    "a tokenizer of another model": ("GTE301", tokenizer(ids=30522)),
    "a mask token of before": ("GTE302", members(TOKENIZER, added_tokens_decoder={"250001": {"content": "<mask>"}})),
    "another pad token": ("GTE303", members(TOKENIZER, pad_token="<s>")),
    "another pad token as an object": ("GTE303", members(TOKENIZER, pad_token={"content": "<unk>"})),
    **{
        f"a {role} id beyond the table": ("GTE305", members("config.json", **{f"{role}_token_id": 128}))
        for role in ("cls", "sep", "mask", "bos", "eos")
    },
    "a negative mask id": ("GTE305", members("config.json", mask_token_id=-1)),
    "padding on the left": ("GTE306", members(TOKENIZER, padding_side="left")),
    "padding on the left in tokenizer.json": ("GTE306", left_in_tokenizer_json),
    "padding with an id of its own": ("GTE303", speaking(padding=PADDING | {"pad_id": 0, "pad_token": "<s>"})),
    "padding with an id of before": ("GTE307", speaking(padding=PADDING | {"pad_id": 250000, "pad_token": "<x>"})),
    "a template of before": ("GTE307", speaking(post_processor=template({"<s>": 0, "</s>": 999}))),
    "a cls id of before": ("GTE307", speaking(post_processor=BERT | {"cls": ["<s>", 128]})),
    "a sep id of before, in a sequence": (
        "GTE307", speaking(post_processor={"type": "Sequence", "processors": [BERT | {"sep": ["</s>", 128]}]}),
    ),
    "no template": ("GTE308", speaking(post_processor=None)),
    "no cls in the template": ("GTE308", speaking(post_processor=template({"<s>": 0, "</s>": 2}) | {"single": [
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ]})),
    "a template with the row of another token": ("GTE313", speaking(post_processor=template({"<s>": 7, "</s>": 2}))),
    "a cls id of another token": ("GTE313", speaking(post_processor=BERT | {"cls": ["<s>", 5]})),
    "an added token of added_tokens.json": ("GTE302", text("added_tokens.json", '{"<new>": 128}')),
    "added_tokens.json is a list": ("GTE300", text("added_tokens.json", "[]")),
    "pooling by mean": (
        "GTE310", members(POOLING, pooling_mode_cls_token=False, pooling_mode_mean_tokens=True),
    ),
    "pooling by two modes": ("GTE310", members(POOLING, pooling_mode_mean_tokens=True)),
    "pooling by none": ("GTE310", members(POOLING, pooling_mode_cls_token=False)),
    "pooling named mean": (
        "GTE310", members(POOLING, pooling_mode="mean", pooling_mode_cls_token=ABSENT, pooling_mode_mean_tokens=ABSENT),
    ),
    "pooling of another width": ("GTE311", members(POOLING, word_embedding_dimension=1024)),
    "pooling of another width under the new key": (
        "GTE311", members(POOLING, word_embedding_dimension=ABSENT, embedding_dimension=1024),
    ),
    "pooling of two widths, the first wrong": ("GTE311", members(POOLING, embedding_dimension=1024)),
    "pooling of two widths, the second wrong": (
        "GTE311", members(POOLING, embedding_dimension=32, word_embedding_dimension=1024),
    ),
    "pooling by a word and another boolean": ("GTE310", members(POOLING, pooling_mode="mean")),
    "pooling by a word, its boolean off": (
        "GTE310", members(POOLING, pooling_mode="cls", pooling_mode_cls_token=False),
    ),
    "a dense layer of an activation that torch has not": (
        "GTE319", lambda path: add_dense(path, activation_function="torch.nn.modules.activation.Tanhh"),
    ),
    "a dense layer of an activation of somebody's": (
        "GTE319", lambda path: add_dense(path, activation_function="os.getcwd"),
    ),
    "a dense layer of a function": (
        "GTE319", lambda path: add_dense(path, activation_function="torch.nn.functional.gelu"),
    ),
    "a dense layer without a word for its activation": ("GTE319", lambda path: add_dense(path, activation_function=5)),
    "a CrossEncoder of somebody's activation": (
        "GTE319", lambda path: change_config(path, sentence_transformers={"activation_fn": "mine.Own"}),
    ),
    "an old CrossEncoder of a lost activation": (
        "GTE319", lambda path: change_config(path, sbert_ce_default_activation_function="torch.nn.Gone"),
    ),
    "a dense layer for other vectors": ("GTE314", lambda path: add_dense(path, 64)),
    "a dense layer that is told another width": ("GTE314", lambda path: add_dense(path, 64, in_features=32)),
    "a dense layer that is told another output": ("GTE314", lambda path: add_dense(path, out_features=8)),
    "a dense layer without the bias it is told": ("GTE314", lambda path: add_dense(path, bias=False)),
    "a second dense layer for the first one's input": ("GTE314", lambda path: (add_dense(path), add_dense(path))),
    "a dense layer with a broken config": (
        "GTE314", lambda path: (path / add_dense(path) / "config.json").write_text("{,"),
    ),
    "a dense layer with a broken header": (
        "GTE314", lambda path: (path / add_dense(path) / "model.safetensors").write_bytes(b"\7"),
    ),
    "an adapter with the table of another": ("GTE317", lambda path: add_adapter(path / "adapter", 129)),
    "an adapter with columns of another": (
        "GTE317", lambda path: add_adapter(path / "adapter", 127, kind="lora_embedding_A"),
    ),
    "an adapter with a row for an id too many": (
        "GTE317", lambda path: add_adapter(path, 1, kind="trainable_tokens_delta", trainable_token_indices=[128]),
    ),
    "a signature of another checkpoint": ("GTE067", text("model.sig", SIGNATURE)),
    "a bill of another checkpoint": ("GTE069", text("bom.json", BILL)),
    "one position too many": ("GTE312", members(SENTENCES, max_seq_length=129)),
}  # fmt: skip


@pytest.mark.parametrize(("code", "damage"), SIDECAR_DAMAGES.values(), ids=list(SIDECAR_DAMAGES))
@pytest.mark.parametrize("config", [remote_config(), native_config()], ids=["remote", "native"])
def test_a_file_beside_the_weights_that_was_damaged(
    tmp_path: Path, code: str, damage: Callable[[Path], object], config: Config
) -> None:
    write_sidecars(build(tmp_path, config))
    assert grave(tmp_path) == set()
    if code == "GTE302":
        (tmp_path / "tokenizer.json").unlink()
    damage(tmp_path)
    assert grave(tmp_path) == {code}


@pytest.mark.parametrize("types", [0, 1, 2])
@pytest.mark.parametrize("config", [remote_config, native_config])
@pytest.mark.parametrize("names", [ABSENT, ["input_ids", "attention_mask"], ["input_ids", "token_type_ids"]])
def test_types_of_a_pair_need_a_second_row_in_transformers_own_model(
    tmp_path: Path, types: int, config: Callable[..., Config], names: object
) -> None:
    write_sidecars(build(tmp_path, config(type_vocab_size=types)))
    speaking(post_processor=template({"<s>": 0, "</s>": 2}, pair_type=1))(tmp_path)
    members(TOKENIZER, model_input_names=names)(tmp_path)
    is_looked_up = config is native_config and types == 1 and names != ["input_ids", "attention_mask"]
    assert grave(tmp_path) == ({"GTE309"} if is_looked_up else set())


def test_special_ids_of_a_config_that_are_not_the_tokenizers_are_noted(tmp_path: Path) -> None:
    change_config(write_sidecars(build(tmp_path)), mask_token_id=7)
    assert [finding.message for finding in found(tmp_path, "GTE304", values=False)] == ["7, the tokenizer has 4"]


def test_left_padding_is_no_fault_where_the_mean_is_taken(tmp_path: Path) -> None:
    members(POOLING, pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)(write_sidecars(build(tmp_path)))
    members(TOKENIZER, padding_side="left")(tmp_path)
    assert grave(tmp_path) == {"GTE310"}


def test_without_files_beside_the_weights_nothing_is_said(tmp_path: Path) -> None:
    assert grave(build(tmp_path), values=True) == set()


def put(name: str, place: object, value: float) -> Callable[[Tensors], None]:
    def change(arrays: Tensors) -> None:
        arrays[name][place] = value

    return change


EVERY = slice(None)
VALUE_DAMAGES: dict[str, tuple[str, Callable[[Tensors], object]]] = {
    **{f"NaN in {name}": ("GTE260", put(name, -1, np.nan)) for name in (WORDS, QKV, NORM, BIAS)},
    **{f"infinity in {name}": ("GTE261", put(name, 0, np.inf)) for name in (WORDS, QKV, NORM, BIAS)},
    "minus infinity": ("GTE261", put(QKV, (1, 1), -np.inf)),
    **{f"zeros in {name}": ("GTE262", put(name, EVERY, 0)) for name in (QKV, NORM, WORDS)},
    **{f"minus zeros in {name}": ("GTE262", put(name, EVERY, -0.0)) for name in (QKV, NORM)},
    **{f"the same in all of {name}": ("GTE263", put(name, EVERY, 0.25)) for name in (QKV, NORM, BIAS)},
    "ones in a matrix": ("GTE263", put(QKV, EVERY, 1)),
    "denormals": ("GTE264", put(QKV, slice(0, 5), 1e-39)),
    "a number beyond float16": ("GTE265", put(BIAS, 3, 65520)),
    "a negative number beyond float16": ("GTE265", put(WORDS.replace("word", "token_type"), (0, 3), -7e4)),
    "a row that blows up": ("GTE266", put(QKV, (7, 9), 2e4)),
    "a projection that blows up": ("GTE266", put("encoder.layer.0.mlp.up_gate_proj.weight", 50, 5e3)),
    "a loud row": ("GTE267", put(WORDS, 77, 3)),
    "a faint row": ("GTE267", put(WORDS, 77, 1e-4)),
    "rows of another initializer": ("GTE267", put(WORDS, slice(90, 128), 2)),
}


@pytest.mark.parametrize(("code", "damage"), VALUE_DAMAGES.values(), ids=list(VALUE_DAMAGES))
def test_a_number_that_was_damaged(tmp_path: Path, code: str, damage: Callable[[Tensors], object]) -> None:
    arrays = tensors(remote_config())
    damage(arrays)
    write(tmp_path, remote_config(), arrays, shards=2)
    assert grave(tmp_path) - {"GTE230"} == set(), "without --values no number is looked at but those of the pad row"
    assert grave(tmp_path, values=True) - {"GTE230"} == {code}


def test_what_is_wrong_is_told_with_its_place_and_number(tmp_path: Path) -> None:
    arrays = tensors(remote_config())
    arrays[QKV][3, 4:] = np.nan
    arrays[WORDS][9, 1] = -np.inf
    write(tmp_path, remote_config(), arrays)
    assert found(tmp_path, "GTE260")[0].message == "28 NaNs among 3,072 numbers, the first at [3, 4]"
    assert found(tmp_path, "GTE261")[0].message == "1 infinity among 4,096 numbers, the first at [9, 1]"
    skipped = {rule.code: rule.because for rule in run(open_checkpoint(tmp_path), values=True).skipped}
    assert skipped["GTE267"] == ("GTE260", "GTE261")


def test_norms_of_one_hide_no_constant_that_comes_after_them(tmp_path: Path) -> None:
    arrays = tensors(remote_config(num_hidden_layers=4))
    for name in arrays:
        if "ln." in name or "LayerNorm" in name:
            arrays[name][:] = 1 if name.endswith("weight") else 0
    arrays["encoder.layer.3.mlp.down_proj.weight"][:] = 0.25
    write(tmp_path, remote_config(num_hidden_layers=4), arrays)
    (only,) = found(tmp_path, "GTE263")
    assert only.message == "all 1,536 numbers are 0.25"
    assert only.location.tensor == "encoder.layer.3.mlp.down_proj.weight"


def test_zero_rows_are_looked_for_in_the_whole_table(tmp_path: Path) -> None:
    config = remote_config(vocab_size=4096)
    arrays = tensors(config)
    arrays[WORDS][2000] = 0
    write(tmp_path, config, arrays)
    assert found(tmp_path, "GTE231", values=False) == []
    assert found(tmp_path, "GTE231")[0].message == "1 row all zero beside the pad row: 2000"


def test_a_file_that_vanished_is_one_error(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    codes = {finding.code for finding in run(checkpoint, values=True).findings}
    assert codes == {"GTE006"}


def remote(path: Path, **changes: object) -> Path:
    return write_sidecars(build(path, remote_config(**{**CODE, **changes})))


def native(path: Path, **changes: object) -> Path:
    return write_sidecars(build(path, native_config(**{**RIDING, **PLAIN, **changes})))


def with_metadata(path: Path, metadata: dict[str, str] | None) -> None:
    save_file(load(path), path / "model.safetensors", metadata=metadata)


def headed(path: Path, head: str, **changes: object) -> Path:
    return write_sidecars(build(path, remote_config(**{**CODE, **changes}), head))


def without(*names: str) -> Callable[[Path], object]:
    return lambda path: [(remote(path) / name).unlink() for name in names]


LABELS: Config = {"id2label": {"0": "A", "1": "B"}, "label2id": {"A": 0, "B": 1}}
VLLM: Config = {"architectures": ["GteNewModel"]}
CONSUMER_DAMAGES: dict[str, tuple[str, str | None, Callable[[Path], object]]] = {
    "transformers5, native": ("transformers5", None, native),
    "transformers5, Snowflake's dialect": (
        "transformers5", None,
        lambda path: remote(path, model_type="gte", architectures=["GteModel"], rope_scaling=None),
    ),
    "transformers5, as published": ("transformers5", "GTE600", remote),
    **{
        f"transformers5, Snowflake's dialect with {key}": (
            "transformers5", "GTE601",
            lambda path, key=key, value=value: remote(
                path, **{"model_type": "gte", "architectures": ["GteModel"], "rope_scaling": None, key: value}
            ),
        )
        for key, value in (
            ("layer_norm_type", "rms_norm"), ("position_embedding_type", "absolute"), ("pack_qkv", False)
        )
    },
    "transformers5, a class of the remote code": (
        "transformers5", "GTE602", lambda path: native(path, architectures=["NewModel"]),
    ),
    "transformers4, as published": ("transformers4", None, remote),
    "transformers4, native": ("transformers4", "GTE610", native),
    "transformers4, no code": ("transformers4", "GTE611", lambda path: remote(path, auto_map=ABSENT)),
    "transformers4, code of the config alone": (
        "transformers4", "GTE611", lambda path: remote(path, auto_map={"AutoConfig": "a/b--c.C"}),
    ),
    "transformers4, code that was not copied": (
        "transformers4", "GTE612", lambda path: remote(path, auto_map={"AutoConfig": "a/b--c.C", "AutoModel": "m.M"}),
    ),
    "transformers4, code that is here": (
        "transformers4", None,
        lambda path: text("m.py", "class C: ...")(remote(path, auto_map=HERE_AND_THERE)),
    ),
    "transformers4, code of another class": (
        "transformers4", "GTE614",
        lambda path: text("m.py", "class Cc: ...")(remote(path, auto_map=HERE_AND_THERE)),
    ),
    "vllm, overridden": ("vllm", None, lambda path: remote(path, **VLLM)),
    "vllm, overridden, with a prefix": (
        "vllm", None,
        lambda path: headed(path, "reranker", architectures=["GteNewForSequenceClassification"], **LABELS),
    ),
    "vllm, native without a prefix": ("vllm", None, native),
    "vllm, as published": ("vllm", "GTE620", remote),
    "vllm, a native class that it lacks": ("vllm", "GTE620", lambda path: native(path, architectures=["GteForX"])),
    "vllm, relu": ("vllm", "GTE621", lambda path: remote(path, **VLLM, hidden_act="relu")),
    "vllm, unpacked": ("vllm", "GTE622", lambda path: remote(path, **VLLM, pack_qkv=False)),
    "vllm, native, positions unstated": (
        "vllm", "GTE623", lambda path: native(path, position_embedding_type=ABSENT),
    ),
    "vllm, absolute positions": (
        "vllm", "GTE623", lambda path: remote(path, **VLLM, position_embedding_type="absolute"),
    ),
    "vllm, masked LM": ("vllm", "GTE624", lambda path: headed(path, "mlm", **VLLM)),
    **{
        f"vllm, native with {prefix}": (
            "vllm", "GTE625",
            lambda path, prefix=prefix: write(
                path, native_config(**RIDING, **PLAIN), tensors(native_config(), "none", prefix)
            ),
        )
        for prefix in ("new.", "gte.")
    },
    "tei, as published": ("tei", None, remote),
    "tei, native without a scaling": ("tei", None, native),
    "tei, a reranker": (
        "tei", None, lambda path: headed(path, "reranker", architectures=["NewForSequenceClassification"], **LABELS),
    ),
    **{
        f"tei, no {key}": ("tei", "GTE630", lambda path, key=key: change_config(native(path), **{key: ABSENT}))
        for key in ("layer_norm_type", "position_embedding_type", "layer_norm_eps", "hidden_act", "type_vocab_size",
                    "architectures")
    },
    **{
        f"tei, a reranker without {key}": (
            "tei", "GTE631",
            lambda path, key=key: headed(
                path, "reranker", **{"architectures": ["NewForSequenceClassification"], **LABELS, key: ABSENT}
            ),
        )
        for key in LABELS
    },
    "tei, rms norm": ("tei", "GTE635", lambda path: remote(path, layer_norm_type="rms_norm")),
    "tei, architectures null": ("tei", "GTE630", lambda path: change_config(remote(path), architectures=None)),
    "tei, no tokenizer.json": ("tei", "GTE636", without("tokenizer.json")),
    "tei, an activation it has not": ("tei", "GTE637", lambda path: remote(path, hidden_act="gelu_new")),
    "tei, relu": ("tei", None, lambda path: remote(path, hidden_act="relu")),
    "tei, the new pooling file": (
        "tei", "GTE638",
        lambda path: write_json(remote(path) / POOLING, {"embedding_dimension": 32, "pooling_mode": "cls"}),
    ),
    "tei, no length in the file that is there": (
        "tei", "GTE639", lambda path: write_json(remote(path) / "sentence_bert_config.json", {"do_lower_case": False}),
    ),
    "tei, an embedder with a classifier's class": (
        "tei", "GTE650",
        lambda path: headed(
            path, "classifier", architectures=["NewModel", "NewForTokenClassification"], num_labels=1,
            id2label={"0": "A"}, label2id={"A": 0},
        ),
    ),
    "vllm, rms norm": ("vllm", "GTE626", lambda path: remote(path, layer_norm_type="rms_norm", **VLLM)),
    "transformers4, no metadata": ("transformers4", "GTE613", lambda path: with_metadata(remote(path), None)),
    "transformers4, an empty metadata": ("transformers4", "GTE613", lambda path: with_metadata(remote(path), {})),
    "transformers4, metadata of numpy": (
        "transformers4", "GTE613", lambda path: with_metadata(remote(path), {"format": "np"}),
    ),
    "trainer, published names": ("trainer", "GTE660", native),
    "trainer, the remote dialect": ("trainer", None, remote),
    "tei, no pooling": ("tei", "GTE632", without(POOLING)),
    "tei, native with ntk": ("tei", "GTE633", lambda path: native(path, **NTK)),
    "tei, mixed ntk": (
        "tei", "GTE633", lambda path: remote(path, rope_scaling={"type": "ntk", "factor": 8.0, "mixed_b": 0.3}),
    ),
    "tei, unpacked": ("tei", "GTE634", lambda path: remote(path, pack_qkv=False)),
    "tei, native names": (
        "tei", "GTE634",
        lambda path: write(
            write_sidecars(path), native_config(**RIDING, **PLAIN), tensors(native_config(), "none", "gte.")
        ),
    ),
    "tei, absolute positions": ("tei", "GTE635", lambda path: remote(path, position_embedding_type="absolute")),
    "tei, logn": ("tei", "GTE635", lambda path: remote(path, logn_attention_clip1=True)),
    "sentence-transformers, complete": ("sentence-transformers", None, remote),
    "sentence-transformers, native": ("sentence-transformers", None, native),
    "sentence-transformers, no modules": ("sentence-transformers", "GTE640", without("modules.json")),
    "sentence-transformers, no pooling": ("sentence-transformers", "GTE641", without(POOLING)),
    "sentence-transformers, an empty list": (
        "sentence-transformers", "GTE641", lambda path: text("modules.json", "[]")(remote(path)),
    ),
    "sentence-transformers, no length file": ("sentence-transformers", "GTE642", without(SENTENCES)),
    "sentence-transformers, no length": (
        "sentence-transformers", "GTE642", lambda path: members(SENTENCES, max_seq_length=ABSENT)(remote(path)),
    ),
    "sentence-transformers, no tokenizer": ("sentence-transformers", "GTE643", without("tokenizer.json")),
    "sentence-transformers, a mode that it has not": (
        "sentence-transformers", "GTE644", lambda path: members(POOLING, pooling_mode="cls_token")(remote(path)),
    ),
    "sentence-transformers, a transformer elsewhere": (
        "sentence-transformers", "GTE641",
        lambda path: text("modules.json", (remote(path) / "modules.json").read_text().replace('""', '"0_T"'))(path),
    ),
    "sentence-transformers, a folder above": (
        "sentence-transformers", "GTE641",
        lambda path: text("modules.json", (remote(path) / "modules.json").read_text().replace("1_P", "../1_P"))(path),
    ),
    "sentence-transformers, a dense layer": ("sentence-transformers", None, lambda path: add_dense(remote(path))),
    "sentence-transformers, two dense layers": (
        "sentence-transformers", None, lambda path: (add_dense(remote(path)), add_dense(path, 16, 4)),
    ),
    "sentence-transformers, a dense layer of a module of one's own": (
        "sentence-transformers", None,
        lambda path: (add_dense(remote(path), 64), (path / "modules.json").write_text(
            (path / "modules.json").read_text().replace("sentence_transformers.models.Dense", "pylate.models.Dense")
        )),
    ),
    "sentence-transformers, a dense layer without weights": (
        "sentence-transformers", "GTE641", lambda path: (path / add_dense(remote(path)) / "model.safetensors").unlink(),
    ),
    "sentence-transformers, a layer that normalises": (
        "sentence-transformers", None, lambda path: add_module(remote(path), "Normalize", {}),
    ),
    "sentence-transformers, the model in a folder": ("sentence-transformers", None, lambda path: nest(remote(path))),
    "sentence-transformers, no width": (
        "sentence-transformers", "GTE644", lambda path: members(POOLING, word_embedding_dimension=ABSENT)(remote(path)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("program", "code", "make"), CONSUMER_DAMAGES.values(), ids=list(CONSUMER_DAMAGES))
def test_what_a_program_would_refuse_or_misread(
    tmp_path: Path, program: str, code: str | None, make: Callable[[Path], object]
) -> None:
    make(tmp_path)
    assert grave(tmp_path) == set(), "a checkpoint that is sound but for that program"
    assert grave(tmp_path, consumers=(program,)) == ({code} if code else set())


def test_every_rule_of_a_program_is_judged_for_it_alone(tmp_path: Path) -> None:
    path = remote(tmp_path)
    families = {
        consumer: {code for code in run(open_checkpoint(path), consumers=[consumer.value]).rules if code > "GTE6"}
        for consumer in Consumer
    }
    assert all(families.values())
    assert sum(map(len, families.values())) == len(set().union(*families.values()))
    assert not {code for code in run(open_checkpoint(path)).rules if code > "GTE6"}


def test_an_unknown_program_and_a_rule_that_would_not_be_judged_are_usage_errors(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(build(tmp_path))
    with pytest.raises(UsageError, match="onnx: is no program"):
        run(checkpoint, consumers=["onnx"])
    with pytest.raises(UsageError, match="GTE26: is judged only with --values"):
        run(checkpoint, select=["GTE26"])
    with pytest.raises(UsageError, match="only with --for sentence-transformers or --for tei"):
        run(checkpoint, select=["GTE6"])
