"""No file makes `check` raise, hang, or take more than 200 MB: each case is judged in a process of its own, which tells
its peak memory. The sizes stand just below and far above the bounds of `gte_surgery.checkpoint.bounds`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gte_surgery.checkpoint.bounds import MAX_INDEX_VALUES, MAX_JSON_BYTES, MAX_JSON_VALUES
from tests.builder import add_adapter, build, remote_config, write_sidecars, write_sparse

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")

MOST_MEGABYTES = 200
MOST_SECONDS = 60
JUDGE = """
import json, sys
from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.description import describe
from gte_surgery.checks.run import run
from gte_surgery.gte.kinds import Consumer
checkpoint = open_checkpoint(sys.argv[1])
describe(checkpoint)
report = run(checkpoint, values="values" in sys.argv, consumers=[consumer.value for consumer in Consumer])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([int(peak) / 1e3, sorted({f.code for f in report.findings})]))
"""
HUNDRED = 100_000_000
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def header(path: Path, text: bytes, data: int = 0) -> None:
    (path / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path / WEIGHTS, 8 + len(text) + data)


def file(path: Path, name: str, *parts: bytes, without: str = "") -> None:
    (path / name).write_bytes(b"".join(parts))
    if without:
        (path / without).unlink()


def many(count: int, form: str) -> bytes:
    """`form` so many times with % replaced by a number, commas between."""
    return ",".join(form.replace("%", str(number)) for number in range(count)).encode()


def filled(begin: bytes, item: bytes, end: bytes, size: int) -> bytes:
    """begin item item … end, of nearly `size` bytes."""
    return begin + item * ((size - len(begin) - len(end)) // len(item)) + end


def tensors(count: int, name: str, dtype: str = "U8") -> bytes:
    entry = '"{0}":{{"dtype":"{1}","shape":[1],"data_offsets":[{2},{3}]}}'
    return (
        "{" + ",".join(entry.format(name.replace("%", str(i)), dtype, i, i + 1) for i in range(count)) + "}"
    ).encode()


def sharded(path: Path) -> None:
    """40 shards, each with a header of 4,000 tensors."""
    (path / WEIGHTS).unlink()
    text = tensors(4_000, "t%")
    names = [f"model-{number:05}-of-00040.safetensors" for number in range(40)]
    whole = len(text).to_bytes(8, "little") + text + bytes(4_000)
    for name in names:
        (path / name).write_bytes(whole)
    (path / INDEX).write_text(
        json.dumps({"metadata": {}, "weight_map": {f"t{i}": name for i, name in enumerate(names)}})
    )


def members(count: int, name: str, shape: str = "0") -> bytes:
    """A header of so many empty tensors."""
    return b"{" + many(count, f'"{name}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,0]}}') + b"}"


def indexed(path: Path, count: int, name: str) -> None:
    """One shard of so many tensors called m…, and an index that lists as many by `name`."""
    shard = "model-00001-of-00001.safetensors"
    header(path, tensors(count, "m%"), count)
    (path / WEIGHTS).rename(path / shard)
    file(path, INDEX, b'{"metadata":{},"weight_map":{', many(count, f'"{name}":"{shard}"'), b"}}")


H, J, V = 1 << 24, MAX_JSON_BYTES, MAX_JSON_VALUES
CASES: dict[str, Callable[[Path], object]] = {
    "a million tensors": lambda path: header(path, tensors(1_000_000, "t%"), 1_000_000),
    "230,000 layer norms beside a word table": lambda path: header(
        path,
        b'{"new.embeddings.word_embeddings.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
        + tensors(230_000, "new.encoder.layer.%.attn_ln.bias")[1:],
        230_000,
    ),
    "100,000 tensors, as many in the index": lambda path: indexed(path, 100_000, "m%"),
    "124,000 tensors, all others in the index": lambda path: indexed(path, 124_000, "an.other.%"),
    "80,000 names of 1,000 characters": lambda path: header(path, members(80_000, "y" * 1000 + "%")),
    "14,000 names of 1,000 characters beyond latin-1": lambda path: header(
        path, members(14_000, "𝄞" + "y" * 1000 + "%")
    ),
    "130,000 tensors, each with a shape of its own": lambda path: header(
        path, members(130_000, "k%", "%,0,%777777,%77777777,1%8888888,2%77777")
    ),
    "100 MB of spaces among 130,000 tensors": lambda path: header(
        path, members(130_000, "k%").replace(b",", b"," + b" " * 130)
    ),
    "1.5 million members that are no entries": lambda path: header(path, b"{" + many(1_500_000, '"k%":[]') + b"}"),
    "8,000 members of 12 KB that are no entries": lambda path: header(
        path, b"{" + many(8_000, '"k%":[' + "1," * 6_000 + "1]") + b"}"
    ),
    "metadata of 1 MiB": lambda path: header(path, b'{"__metadata__":{' + many(70_000, '"k%":"v"') + b"}}"),
    "40 shards of 4,000 tensors": sharded,
    "header of 100 MB of spaces": lambda path: header(path, filled(b"{", b" ", b"}", HUNDRED)),
    "header of 16 MiB of spaces": lambda path: header(path, filled(b"{", b" ", b"}", H - 8)),
    "header of one long text": lambda path: header(path, filled(b'{"__metadata__":{"a":"', b"x", b'"}}', H - 8)),
    "header of one long text beyond latin-1": lambda path: header(
        path, filled(b'{"__metadata__":{"a":"', "𝄞".encode(), b'"}}', H - 8)
    ),
    "header 100 MB deep": lambda path: header(path, filled(b'{"a":', b"[", b"", HUNDRED)),
    "header 390,000 deep": lambda path: header(path, b'{"a":' + b"[" * 390_000 + b"]" * 390_000 + b"}"),
    "shape of 50 million dimensions": lambda path: header(
        path, filled(b'{"a":{"dtype":"U8","shape":[', b"1,", b"1]}}", HUNDRED)
    ),
    "shape of 390,000 dimensions": lambda path: header(
        path, b'{"a":{"dtype":"U8","shape":[' + b"1," * 390_000 + b'1],"data_offsets":[0,1]}}', 1
    ),
    "header of 390,000 empty objects": lambda path: header(path, b'{"a":[' + b"{}," * 190_000 + b"{}]}"),
    "metadata of 390,000 texts": lambda path: header(path, b'{"__metadata__":{' + many(390_000, '"key %":"v"') + b"}}"),
    "a number of 100 MB": lambda path: header(path, filled(b'{"a":{"dtype":"U8","shape":[', b"9", b"]}}", HUNDRED)),
    "a number of 16 MiB": lambda path: header(path, filled(b'{"a":{"dtype":"U8","shape":[', b"9", b"]}}", H - 8)),
    "shape whose product overflows": lambda path: header(
        path, json.dumps({"a": {"dtype": "F64", "shape": [2**32] * 4, "data_offsets": [0, 8]}}).encode(), 8
    ),
    "config of 30 MB": lambda path: file(path, "config.json", filled(b'{"a":[', b"1,", b"1]}", 30_000_000)),
    "config 8 MiB deep": lambda path: file(path, "config.json", filled(b'{"a":', b"[", b"", J)),
    "config 99,000 deep": lambda path: file(path, "config.json", b'{"a":' + b"[" * 99_000 + b"]" * 99_000 + b"}"),
    "config of 99,000 keys": lambda path: file(
        path, "config.json", b'{"model_type":"new",' + many(V - 100, '"key %":1') + b"}"
    ),
    "config of 49,000 objects": lambda path: file(
        path, "config.json", b'{"model_type":"new","a":[' + b"{}," * 49_000 + b"{}]}"
    ),
    "config with a number of 8 MiB": lambda path: file(path, "config.json", filled(b'{"vocab_size":', b"9", b"}", J)),
    "config with a text of 8 MiB": lambda path: file(path, "config.json", filled(b'{"model_type":"', b"\\n", b'"}', J)),
    "config with a text of 90,000 escapes": lambda path: file(
        path, "config.json", b'{"model_type":"' + b"\\u00e9" * 90_000 + b'"}'
    ),
    "config with 99,000 labels": lambda path: file(
        path, "config.json", b'{"model_type":"new","id2label":{' + many(V - 100, '"%":"LABEL_%"') + b"}}"
    ),
    "index of a million shards": lambda path: file(
        path, INDEX, b'{"metadata":{},"weight_map":{', many(1_000_000, '"t%":"m%"'), b"}}", without=WEIGHTS
    ),
    "index of 124,000 shards": lambda path: file(
        path, INDEX, b'{"metadata":{},"weight_map":{', many(MAX_INDEX_VALUES - 100, '"t%":"m%"'), b"}}", without=WEIGHTS
    ),
    "index of 30,000 unsafe names": lambda path: file(
        path, INDEX, b'{"metadata":{},"weight_map":{', many(30_000, '"t%":"../%"'), b"}}", without=WEIGHTS
    ),
    "index of 30,000 tensors in one shard": lambda path: file(
        path, INDEX, b'{"weight_map":{', many(30_000, f'"t%":"{WEIGHTS}"'), b"}}"
    ),
    "tokenizer of 300,000 entries": lambda path: file(
        path, "tokenizer.json", filled(b'{"model":{"vocab":[', b'["a",0],', b'["a",0]]}}', 2_400_000)
    ),
    "tokenizer of one endless token": lambda path: file(
        path, "tokenizer.json", filled(b'{"model":{"vocab":["', b'\\"', b"", 20_000_000)
    ),
    "tokenizer of 1 MiB for the package": lambda path: file(
        path,
        "tokenizer.json",
        b'{"version":"1.0","added_tokens":[],"model":{"type":"WordLevel","unk_token":"0","vocab":{',
        many(60_000, '"%":%'),
        b"}}}",
    ),
    "tokenizer 1 MB deep": lambda path: file(path, "tokenizer.json", b'{"model":' + b"[" * 1_000_000),
    "99,000 added tokens": lambda path: file(
        path,
        "tokenizer_config.json",
        b'{"added_tokens_decoder":{' + many(V - 100, '"%":"a%"') + b"}}",
        without="tokenizer.json",
    ),
    "vocab.txt of empty lines": lambda path: file(path, "vocab.txt", b"\n" * 8_000_000, without="tokenizer.json"),
    "vocab.txt of 499,000 lines": lambda path: file(
        path, "vocab.txt", "\n".join(map(str, range(499_000))).encode(), without="tokenizer.json"
    ),
    "modules.json 8 MiB deep": lambda path: file(path, "modules.json", filled(b"", b"[", b"", J)),
    "receipt of 49,000 files": lambda path: file(
        path, "gte-surgery.json", b'{"receipts":[{"written":[' + many(49_000, '{"name":"f%"}') + b"]}]}"
    ),
}
LONG = {
    "a million tensors",
    "230,000 layer norms beside a word table",
    "124,000 tensors, all others in the index",
    "index of 124,000 shards",
    "8,000 members of 12 KB that are no entries",
    "100 MB of spaces among 130,000 tensors",
    "99,000 added tokens",
}
"""Take five seconds of a processor or more; each has a smaller neighbour of its kind above."""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_sidecars(build(tmp_path / "checkpoint"))


def judged(path: Path, *options: str) -> tuple[float, list[str]]:
    """Peak memory in megabytes, and the codes of what was found."""
    ran = subprocess.run(
        [sys.executable, "-c", JUDGE, str(path), *options],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    megabytes, codes = json.loads(ran.stdout)
    return megabytes, codes


@pytest.mark.parametrize(
    "damage", [pytest.param(CASES[name], id=name, marks=[pytest.mark.long] * (name in LONG)) for name in CASES]
)
def test_a_hostile_file_is_found_in_little_memory(checkpoint: Path, damage: Callable[[Path], object]) -> None:
    damage(checkpoint)
    megabytes, codes = judged(checkpoint)
    assert megabytes < MOST_MEGABYTES
    assert set(codes) - {"GTE600", "GTE611", "GTE620"}, "beyond what a remote checkpoint gets from its consumers"


def test_all_adapters_together_are_read_in_little_memory(checkpoint: Path) -> None:
    for number in range(20):
        add_adapter(folder := checkpoint / f"a{number}", 4)
        text = members(40_000, f"base_model.model.encoder.layer.%.lora_A.weight.{number}")
        (folder / "adapter_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    megabytes, _ = judged(checkpoint)
    assert megabytes < MOST_MEGABYTES


@pytest.mark.parametrize(("rows", "width"), [(2**23, 4), (2**14, 1024), (64, 2**13)])
@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_weights_of_any_size_and_shape_are_read_in_little_memory(
    tmp_path: Path, rows: int, width: int, dtype: str
) -> None:
    config = remote_config(vocab_size=rows, hidden_size=width, num_attention_heads=1, intermediate_size=1)
    write_sparse(tmp_path, {**config, "num_hidden_layers": 1}, dtype=dtype)
    megabytes, codes = judged(tmp_path, "values")
    assert megabytes < MOST_MEGABYTES
    assert "GTE262" in codes
