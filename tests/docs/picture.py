"""The picture at the top of README: a run as a terminal shows it, drawn by rich from what the commands really print.

`python -m tests.docs.picture` draws it anew, as does `python -m tests.docs.sessions`.
"""

from __future__ import annotations

import io
import re
import tempfile
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.docs.sessions import ROOT, run

PICTURE = ROOT / ".github" / "run.svg"
WIDTH = 100
MADE_BEFORE = (
    "gte-surgery new ckpt --release gte-base-en-v1.5 --layers 2 --hidden 64 --heads 4 --intermediate 96 --vocab 1000"
)
SHOWN = (
    "gte-surgery check ckpt --vocab 640 --pad 0",
    "gte-surgery resize ckpt --vocab 640 --pad 0",
    "gte-surgery check ckpt --vocab 640 --pad 0",
)


def drawn() -> str:
    """The picture as SVG, with the fonts of whoever looks at it."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        run(MADE_BEFORE, Path(folder))
        for command in SHOWN:
            console.print(Text(f"$ {command}", "bold"))
            coloured = command.replace("gte-surgery", "gte-surgery --color always", 1)
            console.print(Text.from_ansi(run(coloured, Path(folder))))
    svg = console.export_svg(title="gte-surgery", unique_id="run")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def words(svg: str) -> list[str]:
    """What the picture reads."""
    return unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))).split()


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
