"""The command reference, made from click's own description of the commands: a page of Markdown and a page for `man`.

`python -m tests.docs.reference` writes both; the tests hold them to be current. What stands in the page between the
marks `by hand` and `end` was written by hand and is kept.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import click

from gte_surgery import __version__
from gte_surgery.cli import exits
from gte_surgery.cli.group import COMMANDS, PROGRAM, program
from tests.docs.sessions import BY_HAND, END, REFERENCE

MANUAL = REFERENCE.with_name("gte-surgery.1")

ENVIRONMENT = {
    "NO_COLOR": "No colours, unless --color always is given.",
    "GITHUB_ACTIONS": "`true`: check writes annotations unless told otherwise.",
    "GITHUB_STEP_SUMMARY": "A good place for check --format markdown --output.",
    "SOURCE_DATE_EPOCH": "The time that receipts bear, in seconds since 1970.",
    "HF_HUB_CACHE, HF_HOME": "Where a hub id that is no path is looked for, to say where it lies. Nothing is fetched.",
    "RANK, WORLD_SIZE, LOCAL_RANK": "Set by torchrun; smoke then proves on several GPUs.",
}
FILES = {
    "gte-surgery.toml": "In a project: what check expects of its checkpoints, and which findings are accepted.",
    "CHECKPOINT/gte-surgery.json": "The receipts of its surgeries.",
    "CHECKPOINT/.gte-surgery/": "The lock and the journal of a surgery at work, and the generation kept for undo.",
}


def command(name: str) -> click.Command:
    """One command of ours."""
    found = program.get_command(click.Context(program), name)
    assert found is not None
    return found


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    parts = (text or "").replace("\b\n", "").strip().split("\n\n")
    return [" ".join(part.split()) for part in parts]


def examples(of: click.Command) -> list[str]:
    """The command lines at the end of a help text."""
    return [line.strip() for line in (of.epilog or "").splitlines() if line.startswith("  ")]


def usage(of: click.Command, name: str) -> str:
    """The command line in one line: `gte-surgery check [OPTIONS] CHECKPOINT`."""
    words = [_argument(each) for each in of.params if isinstance(each, click.Argument)]
    return " ".join(filter(None, (PROGRAM, name, "[OPTIONS]", *words)))


def options(of: click.Command) -> Iterator[tuple[str, str]]:
    """Each option with its value, and what it does with its default."""
    for each in of.params:
        if isinstance(each, click.Option) and not each.hidden:
            shown = ", ".join(sorted(each.opts, key=len))
            default = each.default if each.show_default and not callable(each.default) else None
            ending = f"  [default: {default}]" if default is not None else "  [required]" if each.required else ""
            yield " ".join(filter(None, (shown, _value(each)))), f"{each.help}{ending}"


def _argument(argument: click.Argument) -> str:
    name = re.sub(r"[][]", "", argument.metavar or (argument.name or "").upper())
    return name if argument.required else f"[{name}]"


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.metavar or (option.type.name or "text").upper()


def exit_codes() -> list[tuple[str, str]]:
    """Each exit code and what is said of it where it is defined."""
    found: dict[str, str] = {}
    body = ast.parse(Path(exits.__file__).read_text(encoding="utf-8")).body
    for at, told in itertools.pairwise(body):
        match at, told:
            case ast.Assign(value=ast.Constant(value=int(code))), ast.Expr(value=ast.Constant(value=str(words))):
                found[str(code)] = "; ".join(filter(None, (found.get(str(code)), words.rstrip("."))))
    return list(found.items())


def by_hand(heading: str) -> str:
    """What the page as it is has under a heading between the marks, marks included; both marks alone if nothing."""
    page = REFERENCE.read_text(encoding="utf-8") if REFERENCE.exists() else ""
    section = f"\n{page}".partition(f"\n{heading}\n")[2]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.search(f"^{BY_HAND}$.*?^{END}$", section, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def markdown() -> str:
    """The whole reference as Markdown."""
    title = f"# {PROGRAM} {__version__}: every command and option"
    parts = [
        title,
        "Made from the program by `python -m tests.docs.reference`, which keeps what stands between its marks.",
        "\n".join(f"- [{name}](#{name}): {command(name).short_help}" for name in COMMANDS),
        f"Before the command may stand:\n\n{_table(options(program))}",
        by_hand(title),
    ]
    for name in COMMANDS:
        each = command(name)
        parts += [f"## {name}", f"```sh\n{usage(each, name)}\n```", *paragraphs(each.help)]
        if rows := list(options(each)):
            parts.append(_table(iter(rows)))
        parts += ["```sh\n" + "\n".join(examples(each)) + "\n```", by_hand(f"## {name}")]
    parts += ["## Exit codes", "The same for every command and every format.", _table(iter(exit_codes()), code=False)]
    parts += ["## Environment", _table(iter(ENVIRONMENT.items())), "## Files", _table(iter(FILES.items()))]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(rows: Iterator[tuple[str, str]], code: bool = True) -> str:
    cells = [(f"`{key}`" if code else key, told) for key, told in rows]
    escaped = [tuple(cell.replace("|", "\\|") for cell in row) for row in cells]
    return "\n".join(("| | |", "|---|---|", *(f"| {key} | {told} |" for key, told in escaped)))


def manual() -> str:
    """The whole reference for `man`."""
    lines = [
        f'.TH GTE\\-SURGERY 1 "" "{PROGRAM} {__version__}"',
        ".SH NAME",
        f"{_roff(PROGRAM)} \\- {_roff(paragraphs(program.help)[0].rstrip('.').lower().replace('gte', 'GTE'))}",
        ".SH SYNOPSIS",
        f".B {_roff(PROGRAM)}",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *(f".PP\n{_roff(each)}" for each in paragraphs(program.help)),
        ".SH OPTIONS",
        *_terms(options(program)),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        each = command(name)
        lines += [f'.SS "{_roff(usage(each, name))}"', *(f".PP\n{_roff(text)}" for text in paragraphs(each.help))]
        lines += [*_terms(options(each)), ".PP\nExample:", ".PP", ".nf", ".RS"]
        lines += [*map(_roff, examples(each)), ".RE", ".fi"]
    ends = {"EXIT STATUS": exit_codes(), "ENVIRONMENT": ENVIRONMENT.items(), "FILES": FILES.items()}
    for heading, rows in ends.items():
        lines += [f".SH {heading}", *_terms(iter(rows))]
    return "\n".join(lines) + "\n"


def _terms(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    for key, told in rows:
        yield f".TP\n\\fB{_roff(key)}\\fR\n{_roff(told)}"


def _roff(text: str) -> str:
    """Text with what roff would read as its own escaped, one line, its first character no request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "").replace('"', "\\(dq")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def written() -> dict[Path, str]:
    """Each file and what belongs in it."""
    return {REFERENCE: markdown(), MANUAL: manual()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
