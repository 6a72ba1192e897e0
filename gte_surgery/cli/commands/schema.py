"""`gte-surgery schema`: the JSON Schemas of what is read and written."""

from __future__ import annotations

import click

from gte_surgery.cli.completion import offering, schemas
from gte_surgery.cli.options import example
from gte_surgery.cli.terminal import Terminal, pass_terminal


@click.command(
    "schema",
    short_help="Print a JSON Schema.",
    epilog=example("gte-surgery schema config.native > config.native.schema.json"),
)
@click.argument("name", required=False, shell_complete=offering(schemas))
@pass_terminal
def command(terminal: Terminal, name: str | None) -> None:
    """Print the JSON Schema NAME (draft 2020-12); without NAME, list them."""
    import json

    from gte_surgery.errors import UsageError
    from gte_surgery.gte.schemas import load, names

    known = sorted(names())
    if name is None:
        terminal.result("\n".join(known))
        return
    if name not in known:
        from difflib import get_close_matches

        meant = "".join(get_close_matches(name, known, n=1))
        raise UsageError(f"{name}: no schema has this name", f"known: {', '.join(known)}", name, meant)
    terminal.result(json.dumps(load(name), indent=2))
