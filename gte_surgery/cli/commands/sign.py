"""`gte-surgery sign`: a model signature without reading again what receipts have the hash of."""

from __future__ import annotations

from pathlib import Path

import click

from gte_surgery.cli.options import PATH, checkpoint_argument, example
from gte_surgery.cli.terminal import Terminal, pass_terminal
from gte_surgery.errors import RefusedError


@click.command(
    "sign",
    short_help="Sign all files of a checkpoint.",
    epilog=example("gte-surgery sign ckpt/ --key key.pem"),
)
@checkpoint_argument
@click.option("--key", type=PATH, required=True, help="An EC private key, a PEM file.")
@click.option(
    "--certificate",
    "certificates",
    type=PATH,
    multiple=True,
    help="The certificate of the key, a PEM file, then those above it; repeatable.",
)
@click.option("--read-all", is_flag=True, help="Take no hash from a receipt: read every file.")
@pass_terminal
def command(terminal: Terminal, /, checkpoint: Path, key: Path, certificates: tuple[Path, ...], read_all: bool) -> None:
    """Sign every file of CHECKPOINT as OpenSSF's model-signing does, into model.sig in it.

    After a surgery the receipt has the hashes of what was written: a file that still has the size, header and time that
    it says is not read again. `check --signed-by` and `model_signing verify` judge the result.
    """
    from gte_surgery.checkpoint.directory import open_found
    from gte_surgery.checks.signature import signatures
    from gte_surgery.checks.signing import SIGNATURE, sign
    from gte_surgery.outputs import require_output, write_output
    from gte_surgery.surgery.commit.recovery import require_settled

    require_settled(checkpoint)
    opened = open_found(checkpoint)
    if opened.snapshot is not None:
        raise RefusedError(f"{checkpoint}: on a hub, and a signature is written beside the files", "download it first")
    path = opened.path / SIGNATURE
    read = [] if any(each.file.name == SIGNATURE for each in signatures(opened)) else [opened.path]
    require_output(path, read)
    with terminal.progress("hashing") as progress:
        signed = sign(opened, key, certificates, read_all, progress or (lambda done, total: None))
    write_output(path, signed.content, read)
    rest = signed.files - signed.recorded
    terminal.result(
        f"{path}: {signed.files} files signed, {signed.recorded} ({signed.nbytes_recorded} bytes) by the hash of a"
        f" receipt, {rest} ({signed.nbytes - signed.nbytes_recorded} bytes) read"
    )
