"""What a rule judges: a checkpoint, what the user expects of it, and what follows from both, each worked out once.

Derivations that a broken checkpoint does not allow are None or empty; the rules that need them name as prerequisites
the rules that report why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from gte_surgery.checkpoint.directory import Checkpoint, StoredTensor
from gte_surgery.checkpoint.faults import Fault, FaultKind, HeaderFault
from gte_surgery.checkpoint.files import Progress
from gte_surgery.checkpoint.json.strict import Document
from gte_surgery.checkpoint.printable import pasteable
from gte_surgery.checkpoint.sidecars import JSON_SIDECARS, read_sidecar
from gte_surgery.errors import CheckpointError
from gte_surgery.findings import Location
from gte_surgery.gte.families import detect_dialect, family_of, read_config
from gte_surgery.gte.family import Family, Names
from gte_surgery.gte.fields import LARGEST_SIZE, GteConfig
from gte_surgery.gte.kinds import Dialect, Head, Layout
from gte_surgery.gte.tensors import TensorSpec
from gte_surgery.vocabulary.tokenizer import Tokenizer, read_tokenizer, usable_pad
from gte_surgery.whole import at_least, make_whole

if TYPE_CHECKING:
    from pathlib import Path

    from gte_surgery.checks.statistics import TensorStatistics
    from gte_surgery.gte.schemas import Violation


class Passes:
    """Tells one `progress` of several passes, one call at a time: what they read is added up."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._lock = Lock()
        self._read: list[tuple[int, int]] = []
        self._is_stopped = False

    def begin(self) -> Progress:
        """The progress of one more pass. It raises InterruptedError once the passes are stopped."""
        with self._lock:
            place = len(self._read)
            self._read.append((0, 0))

        def tell(done: int, total: int) -> None:
            with self._lock:
                if self._is_stopped:
                    raise InterruptedError
                self._read[place] = (done, total)
                if self._progress is not None:
                    all_done, all_total = map(sum, zip(*self._read, strict=True))
                    self._progress(all_done, all_total)

        return tell

    def stop(self) -> None:
        """Let no pass go on for long: nobody wants its result."""
        self._is_stopped = True


CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the user says the checkpoint must be; None says nothing. `vocab` are rows, exactly; `ids` below that number
    will be fed, and `max_length` tokens at most."""

    vocab: int | None = None
    pad: int | None = None
    type_vocab: int | None = None
    max_length: int | None = None
    hidden: int | None = None
    ids: int | None = None

    def __post_init__(self) -> None:
        make_whole(self)
        for name in (each.name for each in fields(self)):
            if (value := getattr(self, name)) is not None:
                at_least(name.replace("_", "-"), value, 0 if name in ("pad", "type_vocab") else 1, LARGEST_SIZE)


def config_of(checkpoint: Checkpoint) -> GteConfig:
    """The config of a checkpoint as the model reads it. Raises CheckpointError, which names the checkpoint."""
    values = checkpoint.config.value if checkpoint.config is not None else None
    if not isinstance(values, dict):
        told = f"{pasteable('check', checkpoint.name)} tells more"
        raise CheckpointError(f"{checkpoint.name}: no readable config.json", told)
    try:
        return read_config(values)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.name}: config.json: {error.message}", error.hint) from None


@dataclass(frozen=True)
class Subject:
    """A checkpoint under judgement. Not slotted: the cached properties live in the instance.

    With `has_values` every weight may be read, otherwise only a few rows; `passes` are told of the reading.
    """

    checkpoint: Checkpoint
    expectations: Expectations = Expectations()
    has_values: bool = False
    passes: Passes = field(default_factory=Passes)
    signed_by: Path | None = None

    @property
    def values(self) -> Mapping[str, object]:
        """The members of config.json; empty when it is absent, unreadable or not an object."""
        return self.checkpoint.values

    @cached_property
    def family(self) -> Family:
        """The family that config.json is of; the 2024 one where it does not tell."""
        return family_of(self.values)

    @property
    def names(self) -> Names:
        """What the family calls its tensors."""
        return self.family.names

    @cached_property
    def dialect(self) -> Dialect | None:
        return detect_dialect(self.values)

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """How config.json departs from the schema of its dialect; empty without a dialect."""
        from gte_surgery.gte.schemas import violations

        schema = self.family.schemas.get(self.dialect) if self.dialect is not None else None
        return () if schema is None else tuple(violations(dict(self.values), schema))

    @cached_property
    def config(self) -> GteConfig:
        """The config as the model reads it. Raises CheckpointError, but in no rule that requires GTE105."""
        return read_config(self.values)

    @cached_property
    def config_error(self) -> CheckpointError | None:
        """Why the model could not read the config; None where it can."""
        try:
            self.config  # noqa: B018
        except CheckpointError as error:
            return error
        return None

    @property
    def config_or_none(self) -> GteConfig | None:
        return self.config if self.config_error is None else None

    @cached_property
    def layout(self) -> Layout | None:
        return self.family.naming.detect(self.checkpoint.tensors)

    @cached_property
    def canonical(self) -> Mapping[str, str]:
        """Stored name by canonical name, of the tensors whose names the layout knows."""
        if self.layout is None:
            return {}
        pairs = ((self.family.naming.canonical(stored, self.layout), stored) for stored in self.checkpoint.tensors)
        return {canonical: stored for canonical, stored in pairs if canonical is not None}

    @cached_property
    def head(self) -> Head:
        return self.family.head_of(self.canonical, self.values)

    @cached_property
    def wanted(self) -> tuple[TensorSpec, ...]:
        """The tensors that the config asks for, named by this checkpoint's layout; empty if either is unknown."""
        if self.config_error is not None or self.layout is None:
            return ()
        return self.family.inventory(self.config, self.layout, self.head)

    @cached_property
    def allowed(self) -> tuple[TensorSpec, ...]:
        """The wanted tensors, and those that may be stored beside them: a tied decoder weight."""
        if self.config_error is not None or self.layout is None:
            return ()
        return (*self.wanted, *self.family.optional(self.config, self.layout, self.head))

    @property
    def pairs(self) -> Iterator[tuple[TensorSpec, StoredTensor]]:
        """Each tensor that is allowed and stored, whatever its shape and dtype, after how it should be."""
        stored = self.checkpoint.tensors
        return ((spec, stored[spec.name]) for spec in self.allowed if spec.name in stored)

    def stored(self, canonical: str) -> StoredTensor | None:
        """The tensor of a canonical name, or None where the checkpoint has none."""
        name = self.canonical.get(canonical)
        return self.checkpoint.tensors[name] if name is not None else None

    @cached_property
    def model_tensors(self) -> tuple[StoredTensor, ...]:
        """The stored tensors that the config asks for or allows, whatever their shape and dtype."""
        return tuple(tensor for _, tensor in self.pairs)

    @cached_property
    def statistics(self) -> Mapping[str, TensorStatistics]:
        """What all numbers of the model's floating-point tensors are like, by stored name: reads the weights once."""
        from gte_surgery.checks.weights import read_statistics

        words = self.canonical.get(self.names.words, "")
        return read_statistics(self.model_tensors, words, self.passes.begin())

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return read_tokenizer(self.checkpoint)

    @cached_property
    def sidecars(self) -> Mapping[str, Document | CheckpointError]:
        """The small JSON files beside the weights that are there, read, or why they cannot be."""
        found: dict[str, Document | CheckpointError] = {}
        for name in JSON_SIDECARS:
            try:
                document = read_sidecar(self.checkpoint, name)
            except CheckpointError as error:
                found[name] = error
            else:
                if document is not None:
                    found[name] = document
        return found

    def sidecar(self, name: str) -> Document | None:
        """A small JSON file beside the weights; None when it is absent or cannot be read."""
        found = self.sidecars.get(name)
        return found if isinstance(found, Document) else None

    def settings(self, name: str) -> Document:
        """The same file for its members: of one that is absent or cannot be read the value is None, and it has none."""
        return self.sidecar(name) or Document(name, "", None)

    def faults(self, kind: FaultKind | HeaderFault) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.checkpoint.faults if fault.kind is kind)

    def resized(self, rows: int, pad: int | None = None) -> str:
        """The command that gives the tables so many rows and this pad id, or the config's where they have a row for
        it."""
        stated = self.config_or_none
        wanted = stated.pad_token_id if pad is None and stated is not None else pad
        return f"gte-surgery resize CKPT --vocab {rows} --pad {usable_pad(self.tokenizer, wanted, rows)}"

    def at(self, key: str) -> Location:
        """Where config.json says `key`, a top-level member or a path such as "rope_scaling/factor"."""
        return self.at_pointer(f"/{key}" if key else "")

    def at_pointer(self, pointer: str) -> Location:
        """Where config.json has the value at a JSON pointer, or would have it."""
        document = self.checkpoint.config
        return document.location(pointer) if document is not None else Location(file=CONFIG, pointer=pointer)

    def at_tensor(self, stored: str) -> Location:
        """The tensor in the file that holds it, or, for a tensor that nothing holds, in the checkpoint as a whole."""
        tensor = self.checkpoint.tensors.get(stored)
        return Location(file=tensor.shard.file.name if tensor else "", tensor=stored)
