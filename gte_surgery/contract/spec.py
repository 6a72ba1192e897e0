"""What a batch must be to fit a model: the sizes and ids that both sides of the feeding have to agree on.

A contract comes from a checkpoint or from a JSON file (schema: contract). Judging a batch by it is left to
`gte_surgery.contract.batch`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from gte_surgery.checkpoint.bounds import MAX_JSON_BYTES
from gte_surgery.checkpoint.directory import Checkpoint, open_found
from gte_surgery.checkpoint.files import read_whole
from gte_surgery.checkpoint.json.strict import Document, parse_document
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checks.subject import Expectations, config_of
from gte_surgery.contract.batch.check import check_batch
from gte_surgery.contract.terms import Terms
from gte_surgery.errors import CheckpointError, GteSurgeryError
from gte_surgery.findings import Report
from gte_surgery.gte.fields import GteConfig
from gte_surgery.vocabulary.token_files import CONTRACTED
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer, usable_pad


@dataclass(frozen=True, slots=True)
class IdContract(Terms):
    """Sizes and ids that batches must respect. Raises UsageError where they contradict each other.

    `vocab_size` is the number of ids, of which one is not the pad; the table may have more rows. `max_length` counts
    tokens in a row, padding included. `cls_token_id` is what every row begins with, or None where rows may begin with
    anything. `special_ids` are ids beside pad, CLS and mask that masked-LM training never hides. `hidden_size` is the
    width of `inputs_embeds`, or None for any.

    >>> from gte_surgery import IdContract
    >>> contract = IdContract(vocab_size=128, pad_token_id=0, type_vocab_size=1, max_length=8)
    >>> for finding in contract.check_batch({"input_ids": [[5, 128], [7, 0]]}).findings:
    ...     print(finding.code, finding)
    GTE414 /input_ids/0/1: 128 at row 0, column 1, must be below vocab_size 128
    GTE420 /input_ids/1/1: pad id 0 at row 1, column 1, must be masked, but there is no attention_mask
    """

    @classmethod
    def read(cls, path: Path | str) -> IdContract:
        """The contract in the JSON file, or of the checkpoint, at `path`. Raises as `from_json`, `from_checkpoint`."""
        path = Path(path)
        if path.suffix == ".json":
            return cls.from_json(read_whole(path, MAX_JSON_BYTES), str(path))
        return cls.from_checkpoint(path)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint | Path | str) -> IdContract:
        """The contract of a checkpoint: sizes from config.json, what its tokenizer emits where that fits: the id before
        every text, the padding side, the special ids; where it is silent those of config.json.

        A tokenizer that has other special ids than config.json, or ids beyond the table, is not the one that feeds this
        model, and is left aside. Where the table is its vocabulary rounded up to a multiple of 64 or 128, the ids are
        those of the tokenizer; else as many as the table has rows. Raises CheckpointError for a checkpoint that is
        none, or has no pad id.
        """
        opened = checkpoint if isinstance(checkpoint, Checkpoint) else open_found(checkpoint)
        config, tokenizer = config_of(opened), read_tokenizer(opened)
        if config.pad_token_id is None:
            pad = usable_pad(tokenizer, None, config.vocab_size)
            raise CheckpointError(
                f"{opened.name}: config.json: pad_token_id: none, one is needed",
                f"{pasteable('resize', opened.name, '--vocab', str(config.vocab_size), '--pad', str(pad))} sets it",
            )
        with _blamed_on(f"{opened.name}: config.json"):
            contract = _contract(config, config.pad_token_id, tokenizer, dict(_stated(opened.values)))
            return replace(contract, checkpoint=opened.name)

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "contract.json") -> IdContract:
        """The contract that `to_json` wrote; `source` names it in messages. Raises CheckpointError for text
        that is not strict JSON, departs from the schema, or holds values that contradict each other."""
        document = parse_document(text.encode("utf-8") if isinstance(text, str) else text, source)
        members = _members(document)
        with _blamed_on(source):
            return cls(**members)

    def to_json(self) -> str:
        """The contract as JSON, one member a line, ending with a newline."""
        members = {name: value for name, value in asdict(self).items() if name != "checkpoint"}
        return json.dumps(members, indent=2) + "\n"

    def terms(self) -> Terms:
        """The same without what makes one: all that another process needs to judge by it."""
        return Terms(**{field.name: getattr(self, field.name) for field in fields(self)})

    def expectations(self) -> Expectations:
        """What a checkpoint must be to take the batches that keep this contract, for `gte_surgery.check`."""
        return Expectations(
            None, self.pad_token_id, self.type_vocab_size, self.max_length, self.hidden_size, self.vocab_size
        )

    def check_batch(self, batch: object, *, allow_int32: bool = False, raise_on_error: bool = False) -> Report:
        """Judge one batch; see `gte_surgery.contract.batch.check.check_batch`."""
        return check_batch(batch, self, allow_int32=allow_int32, raise_on_error=raise_on_error)


@contextmanager
def _blamed_on(source: str) -> Iterator[None]:
    """Contradicting values are what `source` says, not what a caller asked for."""
    try:
        yield
    except GteSurgeryError as error:
        raise CheckpointError(f"{source}: {error.message}", error.hint) from None


def _stated(values: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """The special ids that config.json states, by their part."""
    for role in CONTRACTED:
        number = values.get(f"{role}_token_id")
        if type(number) is int:
            yield role, number


def _contract(config: GteConfig, pad: int, tokenizer: Tokenizer, stated: Mapping[str, int]) -> IdContract:
    is_ours = all(tokenizer.ids.get(role, number) == number for role, number in {**stated, "pad": pad}.items())
    frame = tokenizer.frame if is_ours else None
    ids = {**stated, **(tokenizer.ids if is_ours else {})}
    fitting = {role: number for role, number in ids.items() if _fits(number, config, pad)}
    around = [number for number in (*frame.before, *frame.after) if _fits(number, config, pad)] if frame else []
    first = frame.before[0] if frame and frame.before else None
    rows, size = config.vocab_size, max(tokenizer.vocab_size or 0, pad + 1)
    is_rounded = is_ours and tokenizer.vocab_size is not None and rows in (-(-size // 64) * 64, -(-size // 128) * 128)
    return IdContract(
        vocab_size=size if is_rounded else rows,
        pad_token_id=pad,
        type_vocab_size=config.type_vocab_size,
        max_length=config.max_position_embeddings,
        cls_token_id=fitting.get("cls") if frame is None else first if first in around else None,
        mask_token_id=fitting.get("mask"),
        padding_side="left" if tokenizer.side == "left" and is_ours else "right",
        hidden_size=config.hidden_size,
        special_ids=tuple(sorted({*fitting.values(), *around})),
    )


def _fits(number: int, config: GteConfig, pad: int) -> bool:
    return 0 <= number < config.vocab_size and number != pad


def _members(document: Document) -> dict[str, Any]:
    """The arguments of an IdContract that a JSON document holds."""
    from gte_surgery.gte.schemas import violations

    for violation in violations(document.value, "contract"):
        place = document.location(violation.pointer)
        raise CheckpointError(f"{place}: {violation.message}", violation.hint or "`gte-surgery schema contract`")
    members: Any = document.value
    return {name: tuple(value) if isinstance(value, list) else value for name, value in members.items()}
