"""What is wrong with a command line, in our words, and the command line that was probably meant, ready to be pasted."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import click

from gte_surgery.cli.group import COMMANDS, OTHER_NAMES, PROGRAM, program
from gte_surgery.gte.wording import either

_COMMAND = re.compile(r"`[a-z][\w-]* [^`]+`")
"""A command line inside a hint."""
_QUOTED = re.compile(r"'([^']*)'")


def hint_of(
    arguments: Sequence[str], hint: str, typed: str = "", meant: str = "", cause: BaseException | None = None
) -> str:
    """A hint that holds a command line that works: the one that was meant, the hint's own, one that shows why the
    system refused, or that of the help.

    `typed` and `meant` are those of `GteSurgeryError`; `arguments` is the command line that failed, without our name.
    """
    line = _amended(arguments, typed, meant)
    if meant.startswith("--") and not line:  # `undo` writes nowhere else
        hint = ""
    if not hint and isinstance(cause, OSError):
        hint = system_hint(cause)
    if line:
        hint = " ".join(filter(None, (f"did you mean `{line}`?", hint))) if typed else f"{hint}: `{line}`"
    if _COMMAND.search(hint):
        return hint
    return f"{hint}; see {_help(arguments)}" if hint else f"see {_help(arguments)}"


def usage_message(error: click.ClickException) -> str:
    """What click found wrong: the option or argument, what was found, what was wanted."""
    match error:
        case click.MissingParameter(param=click.Parameter() as parameter):
            return f"{_name(parameter)}: missing, one is needed"
        case click.NoSuchOption(option_name=name):
            return f"{name}: no such option"
        case click.BadOptionUsage(option_name=name):
            return f"{name}: {error.message[:1].lower()}{error.message[1:].rstrip('.')}"
        case click.BadParameter(param=click.Parameter() as parameter):
            return f"{_name(parameter)}: {error.message.rstrip('.')}"
    return error.format_message().rstrip(".")


def usage_hint(error: click.ClickException, arguments: Sequence[str]) -> str:
    """What to do about what click found wrong."""
    match error:
        case click.MissingParameter(param=click.Option(help=str(told))):
            return hint_of(arguments, f"{told[:1].lower()}{told[1:].rstrip('.')}")
        case click.NoSuchOption(option_name=name, possibilities=[first, *_]) if _is_slip_of(name, str(first)):
            return hint_of(arguments, "", name, str(first))
        case click.NoSuchOption(option_name=name) if others := [each for each in COMMANDS if _has(each, name)]:
            return f"{name} is an option of {either(others)}; see {_help(arguments)}"
        case click.BadParameter(message=message) if " is not one of " in message:
            return hint_of(arguments, "", *_choice(message))
    return hint_of(arguments, "")


def system_hint(error: OSError) -> str:
    """A command that shows why the operating system refused."""
    import errno

    from gte_surgery.findings import as_word

    path = str(error.filename or os.curdir)
    folder = os.path.dirname(path) or os.curdir
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            while not os.path.isdir(folder):  # what was begun in vain is gone
                folder = os.path.dirname(folder) or os.curdir
            return f"`df -h {as_word(folder)}` shows what is free"
        case errno.ENOENT if not os.path.isdir(folder):
            return f"make its folder first: `mkdir -p {as_word(folder)}`"
    return f"`ls -ld {as_word(folder)}` shows whose it is"


def from_here(text: str) -> str:
    """The text with paths below the working directory as they would be typed here, and addresses on a hub as well, of
    which a path has one slash."""
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        here = os.sep
    if here != os.sep:
        text = re.sub(rf"{re.escape(here)}(?=$|[\s:'`])", os.curdir, text.replace(os.path.join(here, ""), ""))
    return re.sub(r"(?<![\w/])hf:/(?=[^/])", "hf://", text)


def _choice(message: str) -> tuple[str, str]:
    """What was typed where one of some words was wanted, and the nearest of these; case does not count."""
    from difflib import get_close_matches

    typed, *choices = _QUOTED.findall(message)
    by_case = {choice.lower(): choice for choice in choices}
    close = get_close_matches(typed.lower(), by_case, n=1, cutoff=0.5)
    return (typed, by_case[close[0]]) if close else ("", "")


def _is_slip_of(typed: str, option: str) -> bool:
    """Whether an option may have been meant by what was typed: `--dtype` is no slip of `--type-vocab`."""
    from difflib import SequenceMatcher

    return option != "--help" and SequenceMatcher(None, typed, option).ratio() > 0.7


def _name(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name


def _amended(arguments: Sequence[str], typed: str, meant: str) -> str:
    """The command line with `meant` in place of the last `typed`, or at its end; "" where that makes no sense."""
    from shlex import split

    from gte_surgery.findings import as_word

    words = list(arguments)
    if not meant:
        return ""
    if not typed:
        return " ".join(map(as_word, (PROGRAM, *words, *split(meant)))) if _takes(arguments, split(meant)[0]) else ""
    for at in reversed(range(len(words))):
        swapped = _swapped(words[at], typed, meant)
        if swapped != words[at]:
            return " ".join(map(as_word, (PROGRAM, *words[:at], swapped, *words[at + 1 :])))
    return ""


def _swapped(word: str, typed: str, meant: str) -> str:
    """The word, or `meant` if it is `typed` or its path; of --option=value and of a,list each part."""
    if word.lower() == typed.lower() or os.path.realpath(word) == os.path.realpath(typed):
        return meant
    option, equals, value = word.partition("=")
    if equals and option.startswith("--"):
        return option + equals + _swapped(value, typed, meant)
    if "," in word:
        return ",".join(_swapped(part, typed, meant) for part in word.split(","))
    return word


def _takes(arguments: Sequence[str], option: str) -> bool:
    """Whether the command of a command line has an option of this name."""
    return _has(_command(arguments), option)


def _has(name: str, option: str) -> bool:
    command = program.get_command(click.Context(program), name)
    return command is not None and any(option in parameter.opts for parameter in command.params)


def _command(arguments: Sequence[str]) -> str:
    return next((name for word in arguments if (name := OTHER_NAMES.get(word, word)) in COMMANDS), "")


def _help(arguments: Sequence[str]) -> str:
    return f"`{' '.join(filter(None, (PROGRAM, _command(arguments), '--help')))}`"
