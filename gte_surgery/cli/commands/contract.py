"""`gte-surgery contract`: the contract of ids and masks, as a file for those who make batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gte_surgery.cli.options import checkpoint_argument, example, together
from gte_surgery.cli.terminal import Terminal, pass_terminal

_NAMES = {
    "ids": ("vocab_size", "How many ids there are; the table may have more rows."),
    "pad": ("pad_token_id", "The id that padding has."),
    "type_vocab": ("type_vocab_size", "How many token types there are."),
    "max_length": ("max_length", "How many tokens a row has at most, padding included."),
    "cls": ("cls_token_id", "The id that every row begins with."),
    "mask": ("mask_token_id", "The id that hides a token in masked-LM training."),
    "hidden": ("hidden_size", "How wide inputs_embeds are."),
}


@click.command(
    "contract",
    short_help="Write the contract of ids and masks.",
    epilog=example("gte-surgery contract ckpt/ --ids 31995 --pad 0 --cls 2 > contract.json"),
)
@checkpoint_argument
@together(
    *(
        click.option(f"--{option.replace('_', '-')}", type=int, metavar="N", help=text)
        for option, (_, text) in _NAMES.items()
    )
)
@click.option("--padding-side", type=click.Choice(["right", "left"]), help="The side that rows are padded on.")
@click.option("--special", type=int, multiple=True, metavar="ID", help="An id never hidden in training; repeatable.")
@pass_terminal
def command(
    terminal: Terminal,
    /,
    checkpoint: Path,
    padding_side: str | None,
    special: tuple[int, ...],
    **numbers: int | None,
) -> None:
    """Print the contract of CHECKPOINT, or of another contract's JSON file, changed as the options say.

    `check --contract`, `scan` and `fuzz` take the file, and so does IdContract.read in Python. Sizes come from
    config.json, special ids and the side of the padding from what the tokenizer emits.
    """
    from dataclasses import replace

    from gte_surgery.checkpoint.directory import open_found
    from gte_surgery.checkpoint.printable import pasteable
    from gte_surgery.checks.subject import config_of
    from gte_surgery.contract.spec import IdContract

    found = IdContract.read(checkpoint)
    given: dict[str, Any] = {_NAMES[option][0]: value for option, value in numbers.items() if value is not None}
    if padding_side is not None:
        given["padding_side"] = padding_side
    if special:
        given["special_ids"] = special
    ids = given.get("vocab_size", found.vocab_size)
    kept = {name: None for name in ("cls_token_id", "mask_token_id") if (getattr(found, name) or 0) >= ids}
    specials = tuple(number for number in found.special_ids if number < ids and number != given.get("pad_token_id"))
    if found.checkpoint and ids > (rows := config_of(open_found(checkpoint)).vocab_size):
        pad = str(given.get("pad_token_id", found.pad_token_id))
        grown = pasteable("resize", found.checkpoint, "--vocab", str(ids), "--pad", pad)
        terminal.message(f"{found.checkpoint}: has {rows} rows, fewer than {ids} ids; {grown} makes as many")
    terminal.result(replace(found, **{**kept, "special_ids": specials, **given}).to_json().rstrip())
