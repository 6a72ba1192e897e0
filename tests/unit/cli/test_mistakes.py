"""The commonest mistakes, read aloud: one error line with object, found and wanted, one hint with a command that works
when it is pasted, the right exit code, and nothing written.

A new mistake is a new line of `MISTAKES`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gte_surgery.cli.entry import run
from gte_surgery.gte.new_impl.family import NEW_IMPL
from tests.builder import build

ROOT = Path(__file__).resolve().parents[3]

MISSING = "sys.modules[{!r}] = None"
"""A package that is not installed, as far as an import can tell."""
OLD = "import gte_surgery.model.native as native; native.transformers = type('Old', (), {'__version__': '5.17.0'})"
LOCKED = (
    "from gte_surgery.surgery.commit.filesystem import Filesystem; Filesystem.is_writable = lambda self, path: False"
)
FULL = "from gte_surgery.surgery.commit.filesystem import Filesystem; Filesystem.free_bytes = lambda self, path: 1000"
TORN = (
    "import errno; from gte_surgery.surgery.commit.filesystem import Filesystem\n"
    "def write(self, *rest): raise OSError(errno.ENOSPC, 'No space left on device', 'ckpt/model.safetensors')\n"
    "Filesystem.write = write"
)


@dataclass(frozen=True)
class Mistake:
    """A command line, the exit code, parts of its error and of its hint, and the exit code of the pasted hint."""

    line: str
    code: int
    error: str
    hint: str
    pasted: int = 0
    before: str = ""
    environment: dict[str, str] = field(default_factory=dict)


MISTAKES = {
    # where
    "a folder too high": Mistake(
        "inspect stf", 3, "stf: neither config.json nor", "`gte-surgery inspect stf/0_Transformer`"
    ),
    "a folder too deep": Mistake("inspect ckpt/onnx", 3, "ckpt/onnx: neither", "`gte-surgery inspect ckpt`"),
    "the wrong working directory": Mistake(
        "inspect .",
        3,
        ".: neither config.json nor",
        "checkpoints lie in bert, ckpt, hidden",
    ),
    "an empty directory": Mistake(
        "inspect empty", 3, "empty: neither config.json nor", "give the directory that holds"
    ),
    "the tokenizer's folder": Mistake(
        "inspect tok", 3, "tok: neither config.json nor", "give the directory that holds"
    ),
    "nothing there": Mistake("check zzz", 3, "zzz: no such file or directory", "give the directory that holds"),
    "a slip in the path": Mistake("check ckptt", 3, "ckptt: no such file", "did you mean `gte-surgery check ckpt`?"),
    "config.json in place of its directory": Mistake(
        "check ckpt/config.json",
        3,
        "ckpt/config.json: neither a directory nor",
        "did you mean `gte-surgery check ckpt`?",
    ),
    "a weight file under surgery": Mistake(
        "resize ckpt/model.safetensors --vocab 64 --pad 0",
        2,
        "ckpt/model.safetensors: is a file",
        "did you mean `gte-surgery resize ckpt --vocab 64 --pad 0`?",
    ),
    "the root of a hub cache's entry": Mistake(
        "inspect hub/models--some-one--gte-fine-tune",
        3,
        "neither config.json nor",
        "`gte-surgery inspect hub/models--some-one--gte-fine-tune/snapshots/0a1b2c`",
    ),
    "surgery inside a hub cache": Mistake(
        "resize hub/models--some-one--gte-fine-tune/snapshots/0a1b2c --vocab 64 --pad 0",
        3,
        "model.safetensors: is a symlink, perhaps into a hub cache",
        "--out gte-fine-tune-edited`",
    ),
    "undo where nothing is": Mistake(
        "undo ckptt", 3, "ckptt: is no directory", "did you mean `gte-surgery undo ckpt`?", 3
    ),
    "recover where nothing is": Mistake("recover ckptt", 3, "ckptt: is no directory", "`gte-surgery recover ckpt`"),
    "a path with a space": Mistake(
        "check 'my ckpt/config.json'", 3, "my ckpt/config.json: neither", "check 'my ckpt'`?"
    ),
    # what
    "another kind of model": Mistake(
        "resize bert --vocab 64 --pad 0",
        3,
        'bert: config.json: model_type: "electra", must be "new", "gte", "bert" or "modernbert"',
        "not the config of a GTE model; see `gte-surgery check bert`",
        1,
    ),
    "another kind of model, smoked": Mistake(
        "smoke bert --device cpu",
        3,
        'bert: config.json: model_type: "electra", must be',
        "not the config of a GTE model",
    ),
    "another kind of model, scanned for": Mistake(
        "scan bert rows.jsonl", 3, 'bert: config.json: model_type: "electra", must be', "not the config of a GTE model"
    ),
    "a pickle": Mistake(
        "convert pickled --to remote", 3, "pickled: neither model.safetensors nor", "torch converts it without running"
    ),
    "git-lfs pointers": Mistake(
        "resize lfs --vocab 64 --pad 0", 3, "lfs: model.safetensors: a Git LFS pointer", "`git lfs pull`"
    ),
    # numbers
    "pad not below vocab": Mistake(
        "resize ckpt --vocab 64 --pad 64", 2, "pad: 64, must be below the vocabulary size 64", "from 0 to 63"
    ),
    "a negative vocabulary": Mistake("resize ckpt --vocab -5 --pad 0", 2, "vocab: -5, must be at least 1", "--help`"),
    "a negative pad": Mistake("resize ckpt --vocab 64 --pad -1", 2, "pad: -1, must be at least 0", "--help`"),
    "a vocabulary that is no number": Mistake(
        "resize ckpt --vocab many --pad 0",
        2,
        "--vocab: 'many' is not a valid integer",
        "see `gte-surgery resize --help`",
    ),
    "no pad": Mistake("resize ckpt --vocab 64", 2, "--pad: missing, one is needed", "the pad id wanted"),
    "no checkpoint": Mistake("check", 2, "CHECKPOINT...: missing, one is needed", "see `gte-surgery check --help`"),
    "a size that is none": Mistake("convert ckpt --shard-size big", 2, "--shard-size: 'big' is not a size", "--help`"),
    "an initialisation that is none": Mistake(
        "resize ckpt --vocab 640 --pad 0 --init xavier", 2, "init: 'xavier', must be normal, mean", "--init copy:3"
    ),
    # names
    "a command that is none": Mistake(
        "chekc ckpt", 2, "chekc: no such command", "did you mean `gte-surgery check ckpt`?"
    ),
    "an option that is like --help alone": Mistake(
        "contract ckpt --sep 2", 2, "--sep: no such option", "see `gte-surgery contract --help`"
    ),
    "a command that is like ours": Mistake("fix ckpt", 2, "fix: no such", "did you mean `gte-surgery check ckpt`?"),
    "an option that is none": Mistake(
        "check ckpt --valeus", 2, "--valeus: no such option", "did you mean `gte-surgery check ckpt --values`?"
    ),
    "an option without its value": Mistake("check ckpt --vocab", 2, "--vocab: option '--vocab' requires", "--help`"),
    "a word too many": Mistake("undo ckpt now", 2, "unexpected extra argument (now)", "see `gte-surgery undo --help`"),
    "a choice that is none": Mistake(
        "convert ckpt --dtype fp16 --dry-run",
        2,
        "--dtype: 'fp16' is not one of",
        "did you mean `gte-surgery convert ckpt --dtype F16 --dry-run`?",
    ),
    "a release that is none": Mistake(
        "new fresh --release gte-large-en --dry-run",
        2,
        "release: 'gte-large-en', is not known",
        "did you mean `gte-surgery new fresh --release gte-large-en-v1.5 --dry",
    ),
    "a release by its hub id": Mistake(
        "new fresh --release=Alibaba-NLP/gte-base-en-v1.5 --dry-run",
        2,
        "is not known",
        "did you mean `gte-surgery new fresh --release=gte-base-en-v1.5 --dry-run`?",
    ),
    "a release by the hub id of another organisation": Mistake(
        "new fresh --release thenlper/gte-base --dry-run",
        2,
        "is not known",
        "did you mean `gte-surgery new fresh --release gte-base --dry-run`?",
    ),
    "the address of a model": Mistake(
        "check https://huggingface.co/thenlper/gte-base",
        3,
        "https:/huggingface.co/thenlper/gte-base: no such file or directory",
        "did you mean `gte-surgery check hf://thenlper/gte-base`?",
        pasted=3,
    ),
    "the address of a model's branch": Mistake(
        "inspect https://huggingface.co/thenlper/gte-base/tree/main",
        3,
        "no such file or directory",
        "did you mean `gte-surgery inspect hf://thenlper/gte-base@main`?",
        pasted=3,
    ),
    "a variable that is not set": Mistake(
        "resize '' --vocab 64 --pad 0", 2, "CHECKPOINT: empty, must be a path", "see `gte-surgery resize --help`"
    ),
    "a folder that is not set": Mistake(
        "resize ckpt --vocab 64 --pad 0 --out ''", 2, "--out: empty, must be a path", "see `gte-surgery resize --help`"
    ),
    "an option of another command": Mistake(
        "resize ckpt --vocab 64 --dtype bf16", 2, "--dtype: no such option", "--dtype is an option of convert"
    ),
    "a rule that is none": Mistake(
        "check ckpt --select GTE112,gte129",
        2,
        "GTE129: matches no rule",
        "`gte-surgery check ckpt --select GTE112,GTE127`?",
    ),
    "a rule without its letters": Mistake("explain 110", 2, "110: no rule has this", "`gte-surgery explain GTE110`?"),
    "a rule of another linter": Mistake("explain E501", 2, "E501: no rule has this code", "`gte-surgery rules` lists"),
    "a schema that is none": Mistake(
        "schema reprot", 2, "reprot: no schema has", "did you mean `gte-surgery schema report`?"
    ),
    "a tensor that is none": Mistake(
        "reinit ckpt --only 'nope*'",
        3,
        "only 'nope*': matches no tensor of ckpt",
        "`gte-surgery inspect ckpt --tensors`",
    ),
    # files
    "a bad line in a map": Mistake(
        "remap ckpt --map map.tsv",
        3,
        "map.tsv:2: '1\\tzwei', must be new id, tab, old id",
        "`gte-surgery remap --help`",
    ),
    "no map": Mistake("remap ckpt", 2, "remap: the new rows must be named in one way", "give one of --map, --keep"),
    "a map that is not there": Mistake("remap ckpt --keep ids.txt", 2, "ids.txt: no such file", "--help`"),
    "no file to scan": Mistake("scan ckpt corpus", 3, "corpus: no file to scan, must be a file", "`gte-surgery scan"),
    "a slip in a list": Mistake(
        "check ckpt --for vllm,tie",
        2,
        "--for: 'tie' is not one of",
        "did you mean `gte-surgery check ckpt --for vllm,tei`?",
        pasted=1,
    ),
    "a quote where a word is wanted": Mistake(
        'check ckpt --format "it\'s"', 2, "--format: \"it's\" is not one of 'text'", "see `gte-surgery check --help`"
    ),
    "a contract that is not there": Mistake("check ckpt --contract c.json", 3, "c.json: no such file", "--help`"),
    "a page into no folder": Mistake(
        "inspect ckpt --html pages/ckpt.html", 3, "pages/ckpt.html: No such file", "`mkdir -p pages`"
    ),
    "two formats in one file": Mistake(
        "check ckpt --format json --output a --format sarif --output ./a", 2, "a: --output is written there already", ""
    ),
    "a page over a report": Mistake(
        "check ckpt --format json --output a --html a", 2, "a: --output is written there already", ""
    ),
    "a page over counts": Mistake(
        "trim ckpt --counts c --write-counts a --html a", 2, "a: --write-counts is written there already", ""
    ),
    "an output that exists": Mistake(
        "resize ckpt --vocab 64 --pad 0 --out bert", 3, "bert: exists and is not empty", "--out bert-2`?"
    ),
    "a new checkpoint over an old one": Mistake(
        "new ckpt --release gte-base-en-v1.5 --layers 1 --vocab 64",
        3,
        "ckpt: exists and is not empty",
        "`gte-surgery new ckpt-2 --release gte-base-en-v1.5 --layers 1 --vocab 64`",
    ),
    "an output in no folder": Mistake(
        "resize ckpt --vocab 64 --pad 0 --out far/away", 3, "far: is no directory", "`mkdir -p far`"
    ),
    "nothing to undo": Mistake("undo ckpt", 3, "ckpt: nothing to undo", "`gte-surgery history ckpt`"),
    "an encoder that cannot be imported": Mistake(
        "fuzz ckpt --encoder nowhere:encode", 2, "--encoder nowhere:encode: cannot be had", "the working directory"
    ),
    # the machine
    "an interrupted surgery": Mistake(
        "resize interrupted --vocab 64 --pad 0",
        4,
        "a surgery was committed but not finished",
        "recover interrupted`",
        3,
    ),
    "no torch": Mistake(
        "smoke ckpt --device cpu", 3, "torch: cannot be imported", "[smoke]", before=MISSING.format("torch")
    ),
    "no transformers": Mistake(
        "smoke ckpt --device cpu", 3, "transformers: cannot be", "[smoke]", before=MISSING.format("transformers")
    ),
    "no pyarrow": Mistake(
        "scan ckpt rows.jsonl", 3, "pyarrow: not installed", "[data]", before=MISSING.format("pyarrow")
    ),
    "no ray": Mistake("scan ckpt x.npy --engine ray", 3, "ray: not installed", "[ray]", before=MISSING.format("ray")),
    "no hypothesis": Mistake(
        "fuzz ckpt --encoder a:b", 3, "hypothesis: not installed", "[fuzz]", before=MISSING.format("hypothesis")
    ),
    "no jinja2": Mistake(
        "inspect ckpt --html a.html", 3, "jinja2: not installed", "[report]", before=MISSING.format("jinja2")
    ),
    "no tokenizers": Mistake(
        "remap ckpt --to-tokenizer tok/tokenizer.json --from-tokenizer tok/tokenizer.json",
        3,
        "tokenizers: cannot be imported",
        "[tokenizers]",
        before=MISSING.format("tokenizers"),
    ),
    "a transformers that is too old": Mistake(
        "smoke ckpt --device cpu",
        3,
        "transformers: 5.17.0 has no native GTE, 5.18",
        "'transformers>=5.18'`",
        before=OLD,
    ),
    "a GPU that is not here": Mistake(
        "smoke ckpt --device cuda --batch 2 --max-length 4",
        3,
        "device cuda: no CUDA device is here",
        "--max-length 4 --device cpu`",
        before="import torch; torch.cuda.is_available = lambda: False",
    ),
    "a directory that is not ours": Mistake(
        "resize ckpt --vocab 64 --pad 0", 3, "ckpt: is not writable", "--out ckpt-edited`", before=LOCKED
    ),
    "an undo in a directory that is not ours": Mistake(
        "undo ckpt", 3, "ckpt: is not writable", "hint: see `gte-surgery undo --help`", before=LOCKED
    ),
    "a program that reads JSON": Mistake("resize ckpt --vocab 64 --pad 64 --json", 2, "pad: 64, must be", "--help`"),
    "a full disk": Mistake(
        "resize ckpt --vocab 64 --pad 0",
        3,
        "ckpt: the disk has 1000 bytes free, the surgery needs",
        "`df -h",
        before=FULL,
    ),
    "a disk that fills up": Mistake(
        "resize ckpt --vocab 64 --pad 0", 3, "No space left on device; nothing was changed", "`df -h ckpt`", before=TORN
    ),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what people have lying about, good and bad."""
    room = tmp_path_factory.mktemp("mistakes")
    build(room / "ckpt")
    (room / "ckpt" / "onnx").mkdir()
    for name in ("my ckpt", "stf/0_Transformer", "interrupted", "hidden"):
        shutil.copytree(room / "ckpt", room / name)
    (room / "stf" / "modules.json").write_text("[]")
    (room / "interrupted" / ".gte-surgery").mkdir()
    (room / "interrupted" / ".gte-surgery" / "journal.json").write_text("{}")
    for name in ("empty", "tok", "bert", "pickled", "lfs"):
        (room / name).mkdir()
    (room / "tok" / "tokenizer.json").write_text("{}")
    (room / "bert" / "config.json").write_text(json.dumps({"model_type": "electra", "vocab_size": 30522}))
    save_file({"bert.embeddings.word_embeddings.weight": np.zeros((4, 4), np.float32)}, room / "bert/model.safetensors")
    shutil.copy(room / "ckpt" / "config.json", room / "pickled")
    torch.save({"a": torch.zeros(2)}, room / "pickled" / "pytorch_model.bin")
    shutil.copy(room / "ckpt" / "config.json", room / "lfs")
    (room / "lfs" / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    entry = room / "hub" / "models--some-one--gte-fine-tune"
    shutil.copytree(room / "ckpt", entry / "blobs", ignore=shutil.ignore_patterns("onnx"))
    (entry / "snapshots" / "0a1b2c").mkdir(parents=True)
    for blob in (entry / "blobs").iterdir():
        (entry / "snapshots" / "0a1b2c" / blob.name).symlink_to(f"../../blobs/{blob.name}")
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("0a1b2c\n")
    (room / "map.tsv").write_text("0\t1\n1\tzwei\n")
    (room / "rows.jsonl").write_text('{"ids": [5, 6]}\n')
    np.save(room / "x.npy", np.array([[5, 6]]))
    return room


@pytest.fixture
def room(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory, and a hub cache that holds nothing."""
    folder = shutil.copytree(built, tmp_path / "room", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-cache"))
    return folder


def state(room: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with the time of its last change and its content, and every folder."""
    found = {}
    for path in sorted(room.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(room))] = path.lstat().st_mtime_ns if path.is_file() else 0, content
    return found


def attempt(mistake: Mistake, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; in this process unless something must be done before."""
    if mistake.before:
        script = f"import sys\n{mistake.before}\nfrom gte_surgery.cli.entry import run\nsys.exit(run(sys.argv[1:]))"
        words = [sys.executable, "-c", script, *shlex.split(mistake.line)]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout, ran.stderr
    code = run(shlex.split(mistake.line))
    out, err = capfd.readouterr()
    return code, out, err


def paste(command: str) -> int:
    """The exit code of a command of a hint; what would change this machine or ask the network is looked up instead."""
    words = shlex.split(command)
    match words[0]:
        case "gte-surgery":
            return run(words[1:])
        case "pip":
            return 0 if is_extra(words[-1]) or words[-1] == f"transformers>={NEW_IMPL.required_native().oldest}" else 1
        case "hf":
            ours = Path(sys.executable).parent / "hf"
            if not ours.exists():
                pytest.skip("huggingface_hub is not installed")
            told = subprocess.run([ours, "download", "--help"], capture_output=True, text=True, check=True)
            return 0 if "--local-dir" in told.stdout else 1
        case "git":
            return 0 if command == "git lfs pull" else 1
        case _:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            ran = subprocess.run(command, shell=True, env=os.environ | {"PATH": path}, capture_output=True, check=False)
            return ran.returncode


def is_extra(requirement: str) -> bool:
    """Whether "gte-surgery[name]" names an extra that we have."""
    extra = re.fullmatch(r"gte-surgery\[(\w+)\]", requirement)
    return bool(extra and re.search(rf"^{extra[1]} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_two_lines_that_lead_on(
    name: str, room: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake, before = MISTAKES[name], state(room)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # what is pasted asks no hub
    for key, value in mistake.environment.items():
        monkeypatch.setenv(key, value)
    code, out, err = attempt(mistake, capfd)
    error, hint = [*err.splitlines(), "", ""][-4:-2] if err.count("\n") > 1 else [err, ""]
    assert (code, out) == (mistake.code, ""), err
    assert error.startswith("error: "), err
    assert mistake.error in error
    assert hint.startswith("hint: ")
    assert mistake.hint in hint
    assert str(room) not in err, "paths are told as they are typed"
    assert state(room) == before, "nothing is written"
    (command, *_) = re.findall(r"`([a-z][\w-]* [^`]+)`", hint)
    assert paste(command) == mistake.pasted, capfd.readouterr().err


def test_a_wrong_column_is_a_finding_that_names_the_option(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", "ckpt", "rows.jsonl"]) == 1
    assert "--ids NAME" in capfd.readouterr().out
    assert run(["scan", "ckpt", "rows.jsonl", "--ids", "ids"]) == 0


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gte_surgery", *words], env=os.environ | environment, capture_output=True, check=False
    )


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["C", "ASCII"]
)
def test_a_locale_without_utf_8_is_no_obstacle(room: Path, locale: dict[str, str]) -> None:
    words = "resize", "ckpt", "--vocab", "64", "--pad", "0", "--dry-run"
    plain, ran = program(*words), program(*words, **locale)
    assert (ran.returncode, ran.stderr) == (plain.returncode, plain.stderr) == (0, b"")
    assert ran.stdout in (plain.stdout, plain.stdout.decode().encode("ascii", "backslashreplace"))


def test_errors_and_help_fit_a_narrow_terminal(room: Path) -> None:
    told = program("resize", "--help", COLUMNS="40").stdout.decode().partition("Example")[0]
    assert max(map(len, told.splitlines())) <= 50, "click wraps no narrower"
    narrow, wide = (program("check", "zzz", COLUMNS=columns) for columns in ("40", "200"))
    assert narrow.stderr == wide.stderr, "an error stays one line, to be searched for"


@pytest.mark.parametrize(
    "words", [("rules",), ("--help",), ("check", "--help"), ("schema", "report"), ("check", "ckpt")]
)
def test_a_reader_that_leaves_early_is_told_nothing(room: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "gte_surgery", *words], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_output_that_is_full_is_an_error_not_a_traceback(room: Path) -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "gte_surgery", "rules"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 3
    assert ran.stderr.startswith("error: the output: No space left on device\nhint: `df -h")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(("words", "code"), [("check ckpt", 0), ("check zzz", 3), ("nosuch", 2), ("gate", 2)])
def test_where_messages_cannot_be_written_the_exit_code_and_the_result_are_what_they_are(
    words: str, code: int, room: Path
) -> None:
    (room / "gte-surgery.toml").write_text('fail-on = "error"\n')
    command = [sys.executable, "-m", "gte_surgery", *words.split()]
    plain = subprocess.run(command, capture_output=True, check=False)
    assert plain.stderr  # there is something to be lost
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=False)
    assert (ran.returncode, ran.stdout) == (plain.returncode, plain.stdout) == (code, plain.stdout)


def test_the_twenty_commonest_and_more_are_here() -> None:
    assert len(MISTAKES) >= 50


@pytest.mark.parametrize("name", ["-dash", "new\nline", "tab\t'quoted'\\", "no text\udcff", "two  words", "ünï✓"])
def test_a_hint_means_the_checkpoint_however_it_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert run(["check", f"./{name}", "--vocab", "100"]) == 1
    line = re.search("hint: gte-surgery (.+)", capsys.readouterr().out)
    assert line is not None
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line[1]}"], capture_output=True, check=True).stdout
    verb, typed, *options = map(os.fsdecode, words.split(b"\0")[:-1])
    assert (verb, os.path.normpath(typed), options) == ("resize", name, ["--vocab", "100", "--pad", "1"])
    assert run([verb, typed, *options]) == 0
    taken_back = re.search("`gte-surgery (.+)`", capsys.readouterr().err)
    assert taken_back is not None
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {taken_back[1]}"], capture_output=True, check=True).stdout
    assert run(list(map(os.fsdecode, words.split(b"\0")[:-1]))) == 0
