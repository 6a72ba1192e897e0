"""A checkpoint full of traps: modules called like those that we or ours import, and settings that other programs read
from the working directory. No command, started inside it, runs or reads one, makes a socket of the internet, or looks
up a name; none imports what could, but those that import transformers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from gte_surgery import resize
from gte_surgery.cli.group import COMMANDS
from tests.builder import build, remote_config
from tests.keys import make_key
from tests.texts import write_tokenizer

SETTINGS = {
    "matplotlibrc": "text.usetex: True\n", ".netrc": "machine huggingface.co login a password b\n",
    ".env": "HF_TOKEN=a\n",
    "pytest.ini": "[pytest]\naddopts = --trap\n", "pyproject.toml": "[tool.trap\n", "setup.cfg": "[trap\n",
    "ray.yaml": "trap: 1\n", "raylet": "trap", ".pip.conf": "[trap\n", "pip.conf": "[trap\n", "arrow.json": "{",
    "gte-surgery.toml": "[ignore]\nGTE = 'everything is known'\n", "tox.ini": "[trap\n", ".coveragerc": "[trap\n",
    "pyvenv.cfg": "home = /trap\n", "distutils.cfg": "[trap\n", ".condarc": "trap", ".pdbrc": "import trap\n",
}  # fmt: skip
STARTUP = ("sitecustomize", "usercustomize", "conftest", "gte_surgery", "modeling", "configuration")
GUARD = """
import os, sys
here, settings = os.path.realpath(os.getcwd()), set(sys.argv[1].split("|"))
def asks_for_ipv6():  # as urllib3 does when it is imported: whether ::1 can be bound
    return sys._getframe(2).f_back.f_code.co_name == "_has_ipv6"
def guard(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        is_trap = os.path.basename(path) in settings or path.endswith((".py", ".pyc"))
        if os.path.dirname(path) == here and is_trap and not os.environ.get("MAY_COPY"):
            os.write(2, f"TRAP: opened {path}\\n".encode())
    if event == "socket.getaddrinfo" or event == "socket.__new__" and arguments[1] in (2, 10) and not asks_for_ipv6():
        os.write(2, f"TRAP: {event} {arguments[1:]}\\n".encode())
sys.addaudithook(guard)
del sys.argv[1]
from gte_surgery.cli.entry import run
code = run(sys.argv[1:])
if "huggingface_hub" in sys.modules and sys.argv[1] not in ("smoke", "demo", "gate"):  # transformers brings it along
    os.write(2, b"TRAP: huggingface_hub was imported\\n")
sys.exit(code)
"""
LINES = {
    "inspect": "inspect . --html {out}/page.html",
    "check": "check . --values --for transformers5,vllm,tei,sentence-transformers --html {out}/page.html",
    "check --fix": "check . --fix",
    "gate": "gate . --html {out}/page.html",
    "gate --init": "gate . rows.jsonl --init --policy {out}/policy.toml",
    "diff": "diff . . --values",
    "explain": "explain GTE110",
    "rules": "rules",
    "schema": "schema report",
    "resize": "resize . --vocab 200 --pad 0 --init mean-cov",
    "remap": "remap . --keep ids.txt --pad 1 --init normal --tokenizer remove --out {out}/remapped",
    "convert": "convert . --to remote --dtype F16 --out {out}/converted",
    "reinit": "reinit . --dry-run",
    "new": "new {out}/new --release gte-base-en-v1.5 --layers 1 --vocab 64 --pad 0 --dry-run",
    "trim": "trim . --counts counts.tsv --top 400 --dry-run",
    "contract": "contract .",
    "undo": "undo .",
    "recover": "recover .",
    "history": "history .",
    "sign": "sign . --key {out}/key.pem",
    "fuzz": "fuzz . --encoder gte_surgery.contract.collate:nothing",
    "scan": "scan . rows.jsonl --html {out}/page.html --write-counts {out}/counts",
    "smoke": "smoke . --device cpu --batch 2 --max-length 8",
    "demo": "demo",
}  # fmt: skip

RUN_MODELS = ("smoke", "demo", "gate --init")


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound checkpoint with a module for every name that is importable here, each of which leaves a file behind."""
    checkpoint = build(tmp_path_factory.mktemp("trapped") / "ckpt", remote_config(vocab_size=1000))
    write_tokenizer(checkpoint, "WordPiece", 900, 500)
    resize(checkpoint, vocab=960, pad=1)
    trap = f"import os\nos.close(os.open({str(checkpoint.parent / 'sprung')!r} + __name__, os.O_CREAT))\n"
    for name in {*sys.stdlib_module_names, *packages_distributions(), *STARTUP}:
        if name.isidentifier():
            (checkpoint / f"{name}.py").write_text(trap)
    for name, text in SETTINGS.items():
        (checkpoint / name).write_text(text)
    (checkpoint / "ids.txt").write_text("1\n0\n5\n")
    (checkpoint / "counts.tsv").write_text("".join(f"{number}\t# {number + 1}\n" for number in range(900)))
    (checkpoint / "rows.jsonl").write_text('{"input_ids": [5, 6, 7]}\n' * 50)
    return checkpoint


def copied(source: str, target: str) -> object:
    """A copy of a file, of one of the many modules a further name."""
    return os.link(source, target) if source.endswith(".py") else shutil.copy2(source, target)


def sprung(trapped: Path) -> list[str]:
    return [path.name for path in trapped.parent.glob("sprung*")]


def test_every_command_is_tried() -> None:
    assert {line.split()[0] for line in LINES.values()} == set(COMMANDS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("smoke", "demo", "gate --init"))) for name in LINES],
)
def test_no_command_runs_or_reads_what_lies_in_a_checkpoint(name: str, trapped: Path, tmp_path: Path) -> None:
    here = tmp_path / "ckpt"
    shutil.copytree(trapped, here, copy_function=copied)
    guard = tmp_path / "guard.py"
    guard.write_text(GUARD)
    make_key(tmp_path)
    words = [sys.executable, str(guard), "|".join(SETTINGS), *LINES[name].format(out=tmp_path).split()]
    environment = os.environ | ({"MAY_COPY": "1"} if "--out" in LINES[name] or name == "sign" else {})
    ran = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert "TRAP" not in ran.stderr
    assert sprung(trapped) == []
    assert ran.returncode in ((0, 1) if name != "fuzz" else (2,)), ran.stderr


@pytest.mark.parametrize("line", [["check", "."], ["scan", ".", "rows.jsonl", "--workers", "2"]], ids=" ".join)
def test_neither_does_the_package_run_as_a_module(line: list[str], trapped: Path) -> None:
    """Beyond what the interpreter itself imports to run a module, which no module can help."""
    words = [sys.executable, "-m", "gte_surgery", *line]
    folder = trapped.parent / "as a module"
    shutil.copytree(trapped, folder, copy_function=copied)
    own = subprocess.run(
        [sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in {"gte_surgery", *own.stdout.split()}:
        (folder / f"{name}.py").unlink(missing_ok=True)
    try:
        ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        assert ran.returncode in (0, 1), ran.stderr
        assert sprung(trapped) == []
    finally:
        shutil.rmtree(folder)


def test_the_traps_spring(trapped: Path) -> None:
    """Python itself, started inside, takes them."""
    subprocess.run([sys.executable, "-c", "import jsonschema"], cwd=trapped, check=True, capture_output=True)
    assert sprung(trapped) != []
    for path in trapped.parent.glob("sprung*"):
        path.unlink()
