"""`gte-surgery demo`: the first minutes, with the real commands on a small checkpoint of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gte_surgery.cli import exits
from gte_surgery.cli.group import PROGRAM, program
from gte_surgery.cli.options import PATH, example
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.render.ink import paint

_SMALL = "--layers 2 --hidden 64 --heads 4 --intermediate 96 --max-positions 128 --vocab 1000 --pad 1 --dtype F32"
_QUICKLY = "--device cpu --batch 4 --max-length 32"
_BREAKAGE = {"vocab_size": 640, "pad_token_id": 5000}


@click.command("demo", short_help="Watch it find and mend a broken checkpoint.", epilog=example("gte-surgery demo"))
@click.argument("directory", required=False, type=PATH)
@pass_terminal
def command(terminal: Terminal, directory: Path | None) -> int:
    """Make a small broken checkpoint, find out what is wrong with it, mend it, and check again.

    Takes seconds and no network. DIRECTORY, which must not exist yet, is kept; without it nothing is.
    """
    with _room(directory) as checkpoint:
        return _tour(terminal, checkpoint)


def _tour(terminal: Terminal, checkpoint: Path) -> int:
    _say(terminal, "First a checkpoint: the structure of gte-multilingual-base, only small, with random weights.")
    _run(terminal, checkpoint, "new", f"--release gte-multilingual-base {_SMALL}")
    _say(terminal, "What is it? Everything below comes from config.json, the file headers and single rows.")
    _run(terminal, checkpoint, "inspect")
    _say(terminal, "Now someone wants 640 tokens and edits config.json by hand, with a slip in the pad id as well:")
    _break(terminal, checkpoint / "config.json")
    _say(terminal, "The embedding table still has 1000 rows. `check` says what is wrong, and exits with 1.")
    _run(terminal, checkpoint, "check")
    _say(terminal, "`resize` makes tables and config agree. First its plan, which touches nothing:")
    _run(terminal, checkpoint, "resize", "--vocab 640 --pad 0 --dry-run")
    _say(terminal, "Then for real. After a kill at any moment it would be exactly the old or exactly the new one.")
    _run(terminal, checkpoint, "resize", "--vocab 640 --pad 0")
    _say(terminal, "And the check again, now with what we expect of it:")
    code = _run(terminal, checkpoint, "check", "--vocab 640 --pad 0")
    _say(terminal, "It passes; what is left is a note: row 1, the pad row of old, is all zero.")
    if _can_smoke():
        _say(terminal, "Last the proof that it computes what it should, here on the CPU:")
        code = max(code, _run(terminal, checkpoint, "smoke", _QUICKLY))
    else:
        _say(terminal, "With torch and transformers (`gte-surgery[smoke]`), `smoke` would now prove it by running it.")
    _say(terminal, "`gte-surgery undo` would take the resize back; `gte-surgery --help` shows the rest.")
    return code


def _can_smoke() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None and find_spec("transformers") is not None


@contextmanager
def _room(directory: Path | None) -> Iterator[Path]:
    """The directory asked for, or one that is gone afterwards."""
    if directory is not None:
        yield directory
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="gte-surgery-demo-") as folder:
        yield Path(folder) / "ckpt"


def _run(terminal: Terminal, checkpoint: Path, verb: str, options: str = "") -> int:
    """Show a command line and run it, in the colours that we were given and without a project's policy."""
    line = f"{verb} {checkpoint} {options}".rstrip()
    terminal.result(paint(f"$ {PROGRAM} {line}", "strong", terminal.has_color))
    settings = ["--color", "always" if terminal.has_color else "never", "--quiet"]
    policy = ["--no-config"] if verb == "check" else []
    arguments = [*settings, verb, str(checkpoint), *options.split(), *policy]
    code = program.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    return code if isinstance(code, int) else exits.GOOD


def _break(terminal: Terminal, config: Path) -> None:
    """Change config.json as a careless edit would, and show the change."""
    before = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(before | _BREAKAGE, indent=2) + "\n", encoding="utf-8")
    terminal.result("\n".join(f'  "{key}": {before[key]} → {value}' for key, value in _BREAKAGE.items()))


def _say(terminal: Terminal, text: str) -> None:
    terminal.result(f"\n# {text}")
