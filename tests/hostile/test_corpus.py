"""What fuzzing kept, replayed: each input reaches code that no smaller one does, and none breaks a promise."""

from __future__ import annotations

import pytest

from gte_surgery.checkpoint.directory import open_checkpoint
from gte_surgery.errors import CheckpointError
from tests.hostile import targets
from tests.hostile.fuzz import CORPUS, read_corpus
from tests.hostile.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_breaks_a_promise(target: str) -> None:
    inputs = read_corpus(target)
    assert len(inputs) > 2
    for each in inputs:
        TARGETS[target](each)


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) <= 300_000


def test_a_target_notices_what_it_is_there_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laxer header parser, a wrong number and a file outside are found out."""
    monkeypatch.setattr(targets.header, "_check_layout", lambda *_: None)
    with pytest.raises(AssertionError):
        TARGETS["header"](b"\x05\0\0" + b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}')
    monkeypatch.setattr(targets, "parse_document", lambda raw, source: targets.Document(source, raw.decode(), 1))
    with pytest.raises(AssertionError):
        TARGETS["json"](b"2")
    monkeypatch.setattr(targets, "judge", lambda path: (path.parent / "secret.json").read_text())
    with pytest.raises(AssertionError):
        TARGETS["checkpoint"](b"{}")


def test_links_out_of_a_fuzzed_checkpoint_are_links_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzed directory has something to stray to."""
    seen = []

    def judge(path: object) -> None:
        try:
            seen.append(open_checkpoint(str(path)).links_out)
        except CheckpointError as error:
            seen.append(error)

    monkeypatch.setattr(targets, "judge", judge)
    TARGETS["checkpoint"](b"->../secret.json" + targets.SEPARATOR + b"->../secret.safetensors")
    assert seen == [frozenset({"config.json", "model.safetensors"})]
