"""What is fuzzed beside a checkpoint's own files: corpora, policies, the state of surgeries, receipts, odd sidecars.

As in `targets`: functions from bytes to nothing that raise only when a promise is broken.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import pyarrow as pa

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checkpoint.receipts import members_of
from gte_surgery.checks.policy import read_policy
from gte_surgery.checks.run import run
from gte_surgery.contract.scan.corpus import CorpusReport
from gte_surgery.errors import GteSurgeryError, RefusedError, UsageError
from gte_surgery.findings import Report
from gte_surgery.render.formats.provenance import statements
from gte_surgery.render.formats.report import report_json, report_text
from gte_surgery.render.settled import history_json, history_text
from gte_surgery.surgery import verbs
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import expected_recovery, recover
from gte_surgery.surgery.commit.succession import maker
from gte_surgery.surgery.commit.undo import undo
from tests.builder import build, remote_config, write_sidecars
from tests.corpora import CONTRACT, NAMES, judged, plain, scan, scan_by_processes
from tests.hostile.watch import SECRET, SEPARATOR, only_files_below, place, sandbox

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _packed(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in zip(NAMES, content.split(SEPARATOR), strict=False):
            archive.writestr(f"{name}.npy", part)
    return file.getvalue()


CORPORA: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    (".jsonl", bytes), (".jsonl.gz", gzip.compress), (".jsonl.zst", partial(pa.compress, codec="zstd", asbytes=True)),
    (".jsonl.gz", bytes), (".jsonl.zst", bytes), (".npy", bytes), (".npz", bytes), (".npz", _packed),
    (".arrow", bytes), (".parquet", bytes), (".safetensors", bytes),
)  # fmt: skip
"""The ending of a file, and what its bytes are made of: those of the input, or those packed."""


def fuzz_scan(raw: bytes) -> None:
    """`raw`: a byte that chooses among `CORPORA`, then what is scanned, in this thread."""
    with sandbox() as folder, only_files_below(folder / "checkpoint"):
        _scanned(folder / "checkpoint", raw)


def is_told_when_it_kills(raw: bytes) -> bool:
    """Whether what kills the library that reads it is a finding of a scan, which reads in a process of its own."""
    with sandbox() as folder:
        found = _scanned(folder / "checkpoint", raw, scan_by_processes)
    return bool(found.findings)


def _scanned(folder: Path, raw: bytes, how: Callable[..., CorpusReport] = scan) -> CorpusReport:
    ending, form = CORPORA[raw[0] % len(CORPORA) if raw else 0]
    path = folder / f"rows{ending}"
    path.write_bytes(form(raw[1:]))
    report = how(CONTRACT, path, counts=True)
    for line in report_text(Report(str(path), report.findings, (), report.codes)).split("\n"):
        assert line.isprintable()
    if form is not bytes and ending != ".npz":
        rows = _plain_rows(raw[1:])
        if rows:
            assert plain(report.summary) == judged(rows, CONTRACT, str(path))
    return report


def _plain_rows(raw: bytes) -> list[dict[str, list[int]]]:
    """The rows where each line is an object of the same lists of small integers; empty where one is anything else."""
    rows = []
    for line in raw.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return []
        if not isinstance(row, dict) or "input_ids" not in row or set(row) - set(NAMES[:3]):
            return []
        if json.dumps(row).encode() != line or not all(isinstance(values, list) for values in row.values()):
            return []
        if not all(type(value) is int and abs(value) < 1 << 31 for values in row.values() for value in values):
            return []
        rows.append(row)
    return rows if raw.endswith(b"\n") and len({tuple(row) for row in rows}) == 1 else []


def fuzz_policy(raw: bytes) -> None:
    """`raw`: a gte-surgery.toml. What is read is what tomllib reads."""
    with sandbox() as folder, only_files_below(folder / "checkpoint"):
        path = folder / "checkpoint" / "gte-surgery.toml"
        path.write_bytes(raw)
        try:
            policy = read_policy(path)
        except UsageError:
            return
    content = tomllib.loads(raw.decode())
    assert {each.code: each.reason for each in policy.suppressions} == content.get("ignore", {})
    expected = content.get("expect", {})
    for key in ("vocab", "pad", "type-vocab", "ids"):
        assert getattr(policy.expectations, key.replace("-", "_")) == expected.get(key)


FIRST = "0123456789abcdef"
"""The nonce of the surgery whose state it is."""
STATE_PLACES = tuple(
    f".gte-surgery/{name}"
    for name in (
        "journal.json", "previous/generation.json", "lock", f"stage-{FIRST}/config.json", f"stage-{FIRST}/a/b.json",
        f"originals-{FIRST}/files/config.json", f"originals-{FIRST}/generation.json", "stage/config.json",
        "originals/files/config.json", "originals/generation.json", "previous/files/config.json",
        "previous/files/a/b.json",
    )
)  # fmt: skip
"""The files of a fuzzed state, in the order of the parts of its bytes behind those of the checkpoint."""
FILES = ("config.json", "a/b.json")
BY_FORCE, BY_CONTENT, UNDO_FIRST = 1, 2, 4
MADE_HERE = b"MADE HERE"
"""In a journal, what stands for this user of this machine."""


class _Patient(Filesystem):
    """Waits for nobody."""

    def wait(self, seconds: float) -> None:
        pass


def fuzz_state(raw: bytes) -> None:
    """`raw`: a byte of how, then the contents of `FILES` and `STATE_PLACES`. Nothing outside is touched, nothing is
    made up, what is hidden stays, and what undo replaces is kept.
    """
    how, fs = raw[0] if raw else 0, _Patient()
    here = maker(fs).encode()
    with sandbox() as folder:
        target = folder / "checkpoint"
        (target / ".git").mkdir()
        (target / ".git" / "config").write_text("a secret")
        for name, content in zip((*FILES, *STATE_PLACES), raw[1:].split(SEPARATOR), strict=False):
            with suppress(OSError):
                place(target / name, content.replace(MADE_HERE, here))
                os.utime(target / name, (1, 1), follow_symlinks=False)
        steps = [
            lambda: expected_recovery(target, fs),
            lambda: recover(target, fs, bool(how & BY_FORCE)),
            lambda: undo(target, fs, force=bool(how & BY_FORCE), verify=bool(how & BY_CONTENT)),
        ]
        for step in steps[::-1] if how & UNDO_FIRST else steps:
            _require_nothing_lost(folder, step, is_undo=step is steps[2], is_look=step is steps[0])


def _require_nothing_lost(folder: Path, step: Callable[[], object], is_undo: bool, is_look: bool) -> None:
    before, refusal = _contents(folder), None
    try:
        with only_files_below(folder / "checkpoint"):
            step()
    except GteSurgeryError as error:
        refusal = error
    after = _contents(folder)
    assert {name: each for name, each in after.items() if not _is_own(name)} == {
        name: each for name, each in before.items() if not _is_own(name)
    }, "something outside has changed"
    if is_look or isinstance(refusal, RefusedError):
        assert _plain(before) == _plain(after), "a look or a refusal has changed a file"
    made = set(_plain(after).values()) - set(before.values())
    assert not made, f"{made} was never there"
    if is_undo:
        assert set(_plain(before).values()) <= set(after.values()), "undo has lost a file"


def _is_own(name: str) -> bool:
    return name.startswith("checkpoint/") and "/.git/" not in name


def _plain(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: each for name, each in contents.items() if _is_own(name) and ".gte-surgery/" not in name}


def _contents(folder: Path) -> dict[str, bytes]:
    """What each file below a folder holds; a link by where it leads."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*files, *(each for each in folders if os.path.islink(os.path.join(root, each)))):
            path = os.path.join(root, name)
            if os.path.islink(path):
                content = b"->" + os.fsencode(os.readlink(path))
            elif not stat.S_ISREG(os.lstat(path).st_mode):
                content = b"special"
            else:
                with io.FileIO(os.open(path, os.O_RDONLY)) as file:
                    content = file.read()
            found[os.path.relpath(path, folder)] = content
    return found


@cache
def _sound(is_sharded: bool) -> Mapping[str, bytes]:
    """The files of a sound checkpoint of few tensors."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"vocab_size": 64, "hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8}
        path = build(Path(folder) / "sound", remote_config(**sizes, num_hidden_layers=1), shards=2 if is_sharded else 1)
        return _contents(write_sidecars(path, hidden=8))


def lay(target: Path, is_sharded: bool = False) -> Path:
    """A sound checkpoint in a new or empty folder."""
    for name, content in _sound(is_sharded).items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(content)
    return target


def fuzz_receipts(raw: bytes) -> None:
    """`raw`: the gte-surgery.json of a sound checkpoint, which is judged, told and added to."""
    with sandbox() as folder, only_files_below(folder / "checkpoint"):
        target = lay(folder / "checkpoint")
        place(target / "gte-surgery.json", raw)
        report = run(open_checkpoint(target), select=["GTE06"])
        json.loads(report_json(report))
        with suppress(GteSurgeryError):
            receipts = verbs.history(target)
            for line in (*history_text(receipts).split("\n"), *history_json(receipts).split("\n")):
                assert line.isprintable()
            json.dumps(statements(receipts))
        before = _contents(target)
        try:
            members = members_of(open_checkpoint(target))
            verbs.resize(target, vocab=60, pad=1, keep_undo=False)
        except GteSurgeryError:
            assert _contents(target) == before
        else:
            after = members_of(open_checkpoint(target))
            assert {**after, "receipts": after["receipts"][:-1]} == {"receipts": [], **members}


def fuzz_out(raw: bytes) -> None:
    """`raw`: names and what they stand for beside a sound checkpoint: NAME NUL CONTENT, "->x" a link, "|" a fifo, "/" a
    folder. What `--out` makes has them all, or is refused, and nothing of what lies outside.
    """
    with sandbox() as folder:
        source, out = lay(folder / "checkpoint" / "ckpt"), folder / "checkpoint" / "out"
        for part in raw.split(SEPARATOR)[:50]:
            name, _, content = part.partition(b"\0")
            with suppress(OSError, ValueError):
                _put(source, os.fsdecode(name), content)
        before = _contents(folder)
        try:
            with only_files_below(folder / "checkpoint"):
                verbs.resize(source, vocab=60, pad=1, out=out)
        except GteSurgeryError:
            assert _contents(folder) == before
            return
        after = _contents(folder)
        assert {name: each for name, each in after.items() if not name.startswith("checkpoint/out/")} == before
        _require_carried(source, out, _contents(source), _contents(out))


def _put(source: Path, name: str, content: bytes) -> None:
    """A file, link, fifo or folder below `source`, unless the name leads out or stands for a sound file."""
    path = Path(os.path.normpath(source / name))
    if source not in path.parents or os.path.realpath(path.parent) != str(path.parent) or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == b"/":
        path.mkdir()
    elif content == b"|":
        os.mkfifo(path)
    else:
        place(path, content)


WRITTEN = {"config.json", "model.safetensors", "gte-surgery.json"}
LEFT = {".git", ".gte-surgery"}
"""What is the checkpoint's own history, not the result's."""


def _require_carried(source: Path, out: Path, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    for name, content in after.items():
        assert SECRET not in content or before.get(name) == content
        assert not (out / name).is_symlink() or (out / name).resolve().is_relative_to(out)
    for name, content in before.items():
        if name not in WRITTEN and name.split("/")[0] not in LEFT and stat.S_ISREG((source / name).lstat().st_mode):
            assert after.get(name) == content, name
    kinds = Counter(stat.S_IFMT(path.lstat().st_mode) for path in out.rglob("*"))
    assert not set(kinds) - {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
