"""The root command: global options, and a group that imports a command's module when the command is wanted."""

from __future__ import annotations

from copy import copy
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from gte_surgery import __version__
from gte_surgery.cli.terminal import Terminal
from gte_surgery.errors import UsageError

PROGRAM = "gte-surgery"

COMMANDS = (
    "inspect",
    "check",
    "gate",
    "diff",
    "explain",
    "rules",
    "schema",
    "resize",
    "remap",
    "trim",
    "contract",
    "convert",
    "reinit",
    "new",
    "undo",
    "recover",
    "history",
    "sign",
    "fuzz",
    "scan",
    "smoke",
    "demo",
)
"""In the order in which `--help` lists them and a newcomer meets them."""

OTHER_NAMES = {
    "info": "inspect",
    "show": "inspect",
    "validate": "check",
    "lint": "check",
    "verify": "check",
    "compare": "diff",
    "shrink": "resize",
    "grow": "resize",
    "reset": "reinit",
    "create": "new",
    "revert": "undo",
    "log": "history",
    "test": "smoke",
}
"""What other programs call a command of ours."""

NEAR_NAMES = {"fix": "check", "init": "new"}
"""What other programs call a command that does something like one of ours, and is not run for it."""

CONFIG_NAMES = {"pad-token-id": "pad", "vocab-size": "vocab", "type-vocab-size": "type-vocab"}
"""Options as config.json calls them, with either kind of dash."""

_HELP = ["-h", "--help"]


def _behind(option: click.Parameter) -> click.Parameter:
    """An option of all commands as one command takes it, behind its name."""
    behind = copy(option)
    if isinstance(behind, click.Option):
        behind.hidden = True
    if option.expose_value:
        behind.expose_value, behind.callback = False, _heed
    return behind


def _heed(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    given = ctx.find_root().params
    if option.name and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
        given[option.name] = value
        ctx.obj = Terminal.for_streams(**given)


def _has(command: click.Command, option: click.Parameter) -> bool:
    return any(option.name == other.name for other in command.params)


class LazyGroup(click.Group):
    """A group whose command NAME is `command` in the module gte_surgery.cli.commands.NAME."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = OTHER_NAMES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command = import_module(f"gte_surgery.cli.commands.{name}").command
        if not isinstance(command, click.Command):
            return None
        command.context_settings.setdefault("help_option_names", _HELP)  # click keeps the first help option it makes
        command.params += [_behind(option) for option in self.params if not _has(command, option)]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but `help X` is `X --help`, and another unknown name a UsageError with the one that was
        probably meant."""
        if args[:1] == ["help"]:
            args = [*args[1:2], "--help"]
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
        if args and args[0] not in {*COMMANDS, *OTHER_NAMES} and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            meant = NEAR_NAMES.get(args[0]) or "".join(close)
            raise UsageError(f"{args[0]}: no such command", typed=args[0], meant=meant)
        return super().resolve_command(ctx, args)


@click.command(
    PROGRAM,
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={
        "help_option_names": _HELP,
        "max_content_width": 100,
        "token_normalize_func": lambda name: CONFIG_NAMES.get(name.replace("_", "-"), name.replace("_", "-")),
    },
    epilog="\b\nExample:\n  gte-surgery resize ckpt/ --vocab 32000 --pad 0 --dry-run",
)
@click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour the output; auto does on a terminal unless NO_COLOR is set.",
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def program(ctx: click.Context, quiet: bool, color: str) -> None:
    """Validate, rewrite and mend GTE encoder checkpoints, safely and without loading them.

    Nothing runs code from a checkpoint, and nothing touches the network unless you type hf://.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    ctx.obj = Terminal.for_streams(quiet, color)
