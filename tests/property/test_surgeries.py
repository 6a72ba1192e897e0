"""Random stories of surgeries on a real directory, with deaths and undos between, beside a model in plain numpy.

The model knows a checkpoint by what it computes with: its arrays under one set of names, whatever the layout, dialect
or sharding on disk, and the few numbers of its config. The names are undone here by hand, not by `gte_surgery.gte`.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.checks.run import run
from gte_surgery.errors import GteSurgeryError, UnfinishedSurgeryError
from gte_surgery.findings import Severity
from gte_surgery.surgery.apply import Manner, apply
from gte_surgery.surgery.commit.filesystem import Filesystem
from gte_surgery.surgery.commit.recovery import recover
from gte_surgery.surgery.edits import Convert, Edit, Reinit, Remap, Resize
from gte_surgery.surgery.verbs import plan_surgery, undo
from gte_surgery.vocabulary.row_map import keep_of
from tests import builder
from tests.crash.faults import Crashed, Fault, FaultyFilesystem
from tests.crash.surgeries import Tree, leftovers, snapshot

WORDS, TYPES = "embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight"
RENAMED = {
    "self_attn.": "attention.",
    "post_attention_layernorm": "attn_ln",
    "post_mlp_layernorm": "mlp_ln",
    "lm_head.layer_norm": "lm_head.norm",
}


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint without prefixes, packed, under the reference implementation's names."""
    stored = {name: array for file in folder.glob("model*.safetensors") for name, array in builder.load(file).items()}
    found = {}
    for name, array in stored.items():
        bare = re.sub(r"^layers\.", "encoder.layer.", re.sub(r"^(new\.|gte\.)", "", name))
        for renamed, original in RENAMED.items():
            bare = bare.replace(renamed, original)
        found[bare] = array
    for packed, parts in (("qkv", "qkv"), ("up_gate", ("up", "gate"))):
        for name in [name for name in found if f".{parts[0]}_proj." in name]:
            names = [name.replace(f".{parts[0]}_proj.", f".{part}_proj.") for part in parts]
            found[name.replace(f".{parts[0]}_proj.", f".{packed}_proj.")] = np.concatenate(
                [found.pop(n) for n in names]
            )
    return found


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and one[name].tobytes() == other[name].tobytes() for name in one
    )


class Surgeries(RuleBasedStateMachine):
    """One checkpoint under the knife."""

    @initialize(
        head=st.sampled_from(["none", "mlm", "classifier", "reranker"]),
        shards=st.sampled_from([1, 3]),
        types=st.integers(0, 2),
    )
    def build(self, head: str, shards: int, types: int) -> None:
        self.base = Path(tempfile.mkdtemp())
        self.folder = builder.build(self.base / "ckpt", builder.remote_config(type_vocab_size=types), head, shards)
        (self.folder / "tokenizer.json").write_text("{}")
        self.head = head
        self.arrays = arrays_of(self.folder)
        self.pad = 1
        self.before: tuple[Tree | None, dict[str, np.ndarray], int] | None = None

    def teardown(self) -> None:
        if hasattr(self, "base"):
            shutil.rmtree(self.base)

    def disk(self) -> Tree | None:
        return snapshot(Filesystem(), self.folder)

    def operate(self, edit: Edit, at: int | None, torn: bool, error: int, change: Callable[[], None]) -> None:
        """Makes the edit, or dies (or is failed) at operation `at` of it and settles; `change` changes the model."""
        state = (self.disk(), dict(self.arrays), self.pad)
        filesystem = FaultyFilesystem(None if at is None else Fault(at, error=error, is_torn=torn))
        checkpoint = open_checkpoint(self.folder)
        plan = plan_surgery(checkpoint, edit)
        if plan.is_empty:
            return
        try:
            apply(plan, checkpoint, self.folder, None, Manner(hashes=False, threads=1, filesystem=filesystem))
        except (Crashed, GteSurgeryError) as stop:
            if isinstance(stop, GteSurgeryError) and not isinstance(stop, UnfinishedSurgeryError):
                assert self.disk() == state[0]
        recover(self.folder, Filesystem())
        assert not leftovers(Filesystem(), self.folder)
        if self.disk() != state[0]:
            change()
            self.before = state

    faults = st.tuples(
        st.one_of(st.none(), st.integers(0, 150)), st.booleans(), st.sampled_from([0, 0, errno.EIO, errno.ENOSPC])
    )

    @rule(
        vocab=st.integers(1, 200),
        pad=st.integers(0, 199),
        types=st.sampled_from([None, 0, 1, 3]),
        mode=st.sampled_from(["fold", "drop"]),
        copied=st.one_of(st.none(), st.integers(0, 199)),
        fault=faults,
    )
    def resize(
        self,
        vocab: int,
        pad: int,
        types: int | None,
        mode: str,
        copied: int | None,
        fault: tuple[int | None, bool, int],
    ) -> None:
        held = len(self.arrays[WORDS])
        init = "zeros" if copied is None else f"copy:{copied % held}"
        edit = Resize(vocab, pad % vocab, types, mode, init)  # type: ignore[arg-type]

        def change() -> None:
            words = self.arrays[WORDS]
            fresh = np.zeros((max(0, vocab - held), 32), np.float32) if copied is None else None
            more = np.repeat(words[copied % held][None], max(0, vocab - held), 0) if copied is not None else fresh
            table = np.concatenate([words, more])[:vocab]
            old = self.arrays.get(TYPES)
            if types == 0 and mode == "fold" and old is not None:
                table = table + old[0]
            table[pad % vocab] = 0
            self.arrays[WORDS] = table
            if self.head == "mlm":
                bias = np.concatenate([self.arrays["lm_head.decoder.bias"], np.zeros(max(0, vocab - held), np.float32)])
                self.arrays["lm_head.decoder.bias"] = bias[:vocab]
            if types == 0:
                self.arrays.pop(TYPES, None)
            elif types is not None:
                rows = old if old is not None else np.zeros((types, 32), np.float32)
                self.arrays[TYPES] = np.concatenate([rows, np.repeat(rows[:1], max(0, types - len(rows)), 0)])[:types]
            self.pad = pad % vocab

        self.operate(edit, *fault, change)

    @rule(data=st.data(), fault=faults)
    def remap(self, data: st.DataObject, fault: tuple[int | None, bool, int]) -> None:
        held = len(self.arrays[WORDS])
        kept = data.draw(st.lists(st.integers(0, held - 1), min_size=1, max_size=40, unique=True))
        pad = data.draw(st.integers(0, len(kept) - 1))
        edit = Remap(keep_of(kept), pad=pad, tokenizer="keep")

        def change() -> None:
            self.arrays[WORDS] = self.arrays[WORDS][kept]
            self.arrays[WORDS][pad] = 0
            if self.head == "mlm":
                self.arrays["lm_head.decoder.bias"] = self.arrays["lm_head.decoder.bias"][kept]
            self.pad = pad

        self.operate(edit, *fault, change)

    @rule(
        to=st.sampled_from([None, "native", "remote"]),
        size=st.sampled_from([None, 8_000, 30_000, 10**9]),
        renamed=st.booleans(),
        fault=faults,
    )
    def convert(self, to: str | None, size: int | None, renamed: bool, fault: tuple[int | None, bool, int]) -> None:
        if to is None and size is None:
            return
        layout = "f" if renamed and to == "native" else None
        self.operate(Convert(to, None, size, layout), *fault, lambda: None)  # type: ignore[arg-type]

    @rule(layer=st.integers(0, 1), seed=st.integers(0, 2), fault=faults)
    def reinit(self, layer: int, seed: int, fault: tuple[int | None, bool, int]) -> None:
        def change() -> None:
            found = arrays_of(self.folder)
            for name in found:
                if name.startswith(f"encoder.layer.{layer}."):
                    self.arrays[name] = found[name]

        self.operate(Reinit((f"encoder.layer.{layer}.*",), seed), *fault, change)

    @rule()
    def take_back(self) -> None:
        if self.before is None:
            return
        now = (self.disk(), dict(self.arrays), self.pad)
        undo(self.folder)
        assert self.disk() == self.before[0]
        _, self.arrays, self.pad = self.before
        self.before = now

    @invariant()
    def is_what_the_model_says(self) -> None:
        if not hasattr(self, "folder"):
            return
        assert same(arrays_of(self.folder), self.arrays)
        config = json.loads((self.folder / "config.json").read_text())
        sizes = (len(self.arrays[WORDS]), self.pad, len(self.arrays.get(TYPES, ())))
        assert (config["vocab_size"], config["pad_token_id"], config["type_vocab_size"]) == sizes
        assert (self.folder / "tokenizer.json").read_text() == "{}"
        errors = [f for f in run(open_checkpoint(self.folder)).findings if f.severity is Severity.ERROR]
        assert [f for f in errors if f.code.startswith(("GTE0", "GTE1", "GTE2"))] == []


TestSurgeries = Surgeries.TestCase
TestSurgeries.settings = settings(
    settings.default, max_examples=settings.default.max_examples // 2, stateful_step_count=12
)
