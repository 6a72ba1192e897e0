"""`python -m tests.released.record` freezes what this version answers and leaves on disk, in a folder of its name.

It is run once a release, with the code of that release.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import gte_surgery
from gte_surgery.cli.entry import run
from tests.crash.faults import CHANGES, Crashed, Fault, FaultyFilesystem
from tests.released.api import exit_codes, public_api
from tests.released.commands import EXAMPLES, answers, laid_out

HERE = Path(__file__).resolve().parent
RESIZE = ("--vocab", "2", "--pad", "0")
JOURNAL = "journal.json"


def record(release: Path) -> None:
    release.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        lines = [json.dumps(answer, ensure_ascii=False) for answer in answers(laid_out(Path(folder)))]
    (release / "answers.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    api = {"names": public_api(), "exits": exit_codes()}
    (release / "api.json").write_text(json.dumps(api, indent=1) + "\n", encoding="utf-8")
    os.environ["SOURCE_DATE_EPOCH"] = "1767225600"
    _leave_files(release / "files")


def _leave_files(folder: Path) -> None:
    """A checkpoint that can be undone, one whose surgery died before and one where it died after the commit point, and
    what else of ours users keep.
    """
    shutil.rmtree(folder, ignore_errors=True)
    done = _copied(folder / "undoable")
    gte_surgery.resize(done, vocab=2, pad=0)
    _die(folder / "uncommitted", has_journal=False)
    _die(folder / "committed", has_journal=True)
    (folder / "contract.json").write_text(gte_surgery.IdContract.from_checkpoint(done).to_json(), encoding="utf-8")
    (folder / "ids.jsonl").write_text('{"input_ids": [1, 1], "attention_mask": [1, 1]}\n')
    run(["scan", str(done), str(folder / "ids.jsonl"), "--write-counts", str(folder / "counts.txt"), "--json"])
    small = ("--device", "cpu", "--max-length", "8", "--batch", "2")
    run(
        ["smoke", str(EXAMPLES / "valid" / "native"), *small, "--save-reference", str(folder / "reference.safetensors")]
    )


def _copied(place: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "valid" / "native", place))


def _die(place: Path, has_journal: bool) -> None:
    """A resize dies just before, or just after, its journal is there."""
    from gte_surgery.surgery.apply import Manner, apply
    from gte_surgery.surgery.edits import Resize
    from gte_surgery.surgery.verbs import plan_surgery

    for at in range(1000):
        shutil.rmtree(place, ignore_errors=True)
        checkpoint = gte_surgery.open_checkpoint(_copied(place))
        manner = Manner(hashes=False, filesystem=FaultyFilesystem(Fault(at, counted=CHANGES)))
        try:
            apply(plan_surgery(checkpoint, Resize(2, 0)), checkpoint, place, None, manner)
        except Crashed:
            next(place.rglob("lock"), place / "lock").unlink(missing_ok=True)  # it names a process and a machine
            if has_journal and any(place.rglob(JOURNAL)):
                return
            if not has_journal and any(place.rglob("stage/model.safetensors")):
                return
    raise ValueError("no death left what is looked for")


if __name__ == "__main__":
    record(HERE / gte_surgery.__version__)
