"""The unpickler executes nothing: hostile pickles are refused by name, and honest ones read as torch reads them."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gte_surgery.checkpoint.training.unpickle import Tensor, Whole, pickled, rewritten, unpickle
from gte_surgery.errors import CheckpointError

TRAP = "touched"


class Reduced:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


def dumped(value: object, protocol: int = 2) -> bytes:
    return pickle.dumps(value, protocol)


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def hostile() -> dict[str, bytes]:
    import builtins
    import os

    return {
        "os.system": dumped(Reduced(os.system, f"touch {TRAP}")),
        "subprocess": dumped(Reduced(subprocess.check_call, ["touch", TRAP])),
        "eval": dumped(Reduced(builtins.eval, f"open('{TRAP}', 'w')")),
        "exec": dumped(Reduced(builtins.exec, f"open('{TRAP}', 'w')")),
        "open": dumped(Reduced(builtins.open, TRAP, "w")),
        "getattr": dumped(Reduced(getattr, "x", "upper")),
        "inst": b"(S'touch touched'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'touch touched'\no.",
        "global of torch": b"\x80\x02ctorch\nload\n(" + text(TRAP) + b"tR.",
        "torch.hub": b"\x80\x02ctorch.hub\nload\n(" + text(TRAP) + b"tR.",
        "dotted name": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        "stack global": dumped(os.system, 4),
        "new object": b"\x80\x02cbuiltins\nobject\n)\x81.",
        "build": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("a") + b"K\x01sb.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent line": b"Pstorage\n.",
        "protocol 5 buffer": b"\x80\x05\x97.",
        "bytes 8": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
        "text beyond the end": b"\x80\x02X" + struct.pack("<I", 1 << 31) + b"a.",
        "memo of nothing": b"\x80\x02h\x05.",
        "far memo": b"\x80\x02}r\xff\xff\xff\x7fj\xff\xff\xff\x7e.",
        "no mark": b"\x80\x02}K\x01K\x02u.",
        "tuple of nothing": b"\x80\x02\x86.",
        "unhashable key": b"\x80\x02}]K\x01s.",
        "empty": b"",
        "never stops": b"\x80\x02" + b"]" * 1000,
        "call of a storage": b"\x80\x02ctorch\nFloatStorage\n)R.",
        "call of text": b"\x80\x02" + text("os.system") + b")R.",
        "storage of a stranger": b"\x80\x02("
        + text("storage")
        + b"ccollections\nOrderedDict\n"
        + text("0")
        + text("cpu")
        + b"K\x01tQ.",
        "negative storage": b"\x80\x02("
        + text("storage")
        + b"ctorch\nFloatStorage\n"
        + text("0")
        + text("cpu")
        + b"J\xff\xff\xff\xfftQ.",
        "billion laughs": b"\x80\x02]" + b"".join(b"2" * 10 + b"e" for _ in range(30)) + b".",
        "dup": b"\x80\x02K\x012.",
        "numpy": b"\x80\x02cnumpy.core.multiarray\nscalar\n.",
        "codecs": b"\x80\x02c_codecs\nencode\n(" + text("a") + text("latin1") + b"tR.",
    }


@pytest.mark.parametrize("name", hostile())
def test_a_hostile_pickle_is_refused_and_executes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"^optimizer\.pt: "):
        unpickle(hostile()[name], "optimizer.pt")
    assert list(tmp_path.iterdir()) == []


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
WIDE = b"(" + STORAGE + b"K\x00K\x01\x85K\x01\x85" + b"N" * 400_000 + b"t"
COSTLY = {
    "sizes, each a copy": b"ctorch\nSize\nq\x00]q\x01(" + b"N" * 400_000 + b"e\x85q\x02" + b"h\x00h\x02R" * 20_000,
    "tensors of many arguments": b"ctorch._utils\n_rebuild_tensor_v2\nq\x00"
    + WIDE
    + b"q\x01"
    + b"h\x00h\x01R" * 20_000,
    "lists": b"]" * ((1 << 24) - 3),
    "dictionaries": b"}" * ((1 << 24) - 3),
    "numbers": b"(" + b"K\x01" * ((1 << 23) - 4) + b"t",
    "memos": b"N" + b"".join(b"r" + struct.pack("<I", number) for number in range(3_000_000)),
}
JUDGE = """
import resource, sys, time
from gte_surgery.checkpoint.training.unpickle import unpickle
from gte_surgery.errors import CheckpointError
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    unpickle(sys.stdin.buffer.read(), "x")
except CheckpointError as error:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(peak) // 1000, time.process_time(), error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("name", COSTLY)
def test_a_pickle_that_makes_much_of_little_is_refused_in_little(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JUDGE],
        input=b"\x80\x02" + COSTLY[name] + b".",
        env={
            key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")
        },  # which takes its time
        capture_output=True,
        check=True,
        timeout=120,
    )
    megabytes, seconds, *told = done.stdout.split()
    assert told[0] == b"x:"
    assert int(megabytes) < 200
    assert float(seconds) < 10


def test_the_name_of_what_is_not_known_is_told() -> None:
    with pytest.raises(CheckpointError, match=r"names `(posix|nt)\.system`, which is no part of an optimizer's state"):
        unpickle(hostile()["os.system"], "optimizer.pt")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(CheckpointError):
        unpickle(b"\x80\x02" + raw, "x")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(plain)
def test_plain_values_are_what_pickle_makes_of_them(value: object) -> None:
    assert unpickle(dumped(value), "x") == value


@given(st.integers(0, 2**62))
def test_a_number_is_written_as_pickle_writes_it(number: int) -> None:
    assert b"\x80\x02" + pickled(number) + b"." == dumped(number)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=5), st.data())
def test_numbers_are_replaced_where_they_stand(numbers: list[int], data: st.DataObject) -> None:
    raw = dumped(numbers)
    found = unpickle(raw, "x")
    assert isinstance(found, list)
    at = data.draw(st.integers(0, len(numbers) - 1))
    other = data.draw(st.integers(0, 2**40))
    place = found[at]
    assert isinstance(place, Whole)
    numbers[at] = other
    assert pickle.loads(rewritten(raw, {(place.begin, place.end): other})) == numbers


def test_tensors_are_described_as_torch_has_them() -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    table = torch.arange(12.0).reshape(4, 3)
    torch.save({"whole": table, "turned": table.T, "half": table.to(torch.bfloat16), "part": table[1:]}, buffer)
    raw = zipfile.ZipFile(buffer).read("archive/data.pkl")
    assert {op.name for op, _, _ in pickletools.genops(raw)} >= {"BINPERSID", "REDUCE"}
    found = unpickle(raw, "x")
    assert isinstance(found, dict)
    tensors: dict[str, Tensor] = found
    assert {name: (tensor.shape, tensor.storage.dtype, tensor.is_whole) for name, tensor in tensors.items()} == {
        "whole": ((4, 3), "F32", True),
        "turned": ((3, 4), "F32", False),
        "half": ((4, 3), "BF16", True),
        "part": ((3, 3), "F32", False),
    }
