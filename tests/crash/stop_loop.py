"""Stops surgeries by SIGINT, SIGTERM and SIGHUP at random moments, again and again, and looks at what is left and told.

python tests/crash/stop_loop.py FOLDER STOPS [SEED]

A parent that has imported everything forks a process for each round, in which our whole command line runs. A command
that was stopped says so in one error and one hint and ends with the code that shells know; the checkpoint is, without
`recover`, exactly the old or exactly the new one, and nothing else is left. Anything else ends the loop with a message.
Prints how many were stopped, how many of them too late to leave the old checkpoint, and how often by which signal.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from gte_surgery.cli.entry import main as command_line
from gte_surgery.surgery.commit.filesystem import Filesystem
from tests import builder
from tests.crash.kill_loop import copied, resize_on
from tests.crash.surgeries import leftovers, snapshot

FS = Filesystem()
NEW = "new OUT --release gte-en-mlm-base --layers 2 --hidden 32 --heads 4 --intermediate 48 --vocab 4000 --pad 1"
IN_PLACE = (
    "resize CKPT --vocab 2500 --pad 0 --type-vocab 0",
    "remap CKPT --keep KEEP --vocab 2500 --init mean-cov --pad 0",
    "convert CKPT --to native --dtype F16 --shard-size 150KB",
    "reinit CKPT",
)
COMMANDS = (
    *IN_PLACE,
    *(f"{command} --out OUT" for command in IN_PLACE),
    NEW,
    "check CKPT --fix --select GTE0",
    "undo DONE",
    "recover DEAD",
)
ENDS = {
    signal.SIGINT: (130, "interrupted"),
    signal.SIGTERM: (143, "terminated"),
    signal.SIGHUP: (129, "the terminal was closed"),
}
AS_ALWAYS = {0, 1}
"""How a command ends that was not stopped in time: `check` has findings left."""


class Loop:
    """The rounds and what they counted."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.random, self.counts = base, random.Random(seed), Counter[str]()
        source = builder.build(base / "source", builder.remote_config(vocab_size=4_000), head="mlm", shards=3)
        (source / "left.tmp").write_bytes(b"a save that was killed" * 1000)
        (base / "keep").write_text("\n".join(map(str, range(3_999, 0, -2))))
        resize_on(copied(source, base / "done"), FS)
        self.sources = {"CKPT": source, "DONE": base / "done", "DEAD": dead(base, source), "OUT": None}
        self.seconds: dict[str, float] = {}
        """What each command takes, about; learnt again from each round, since the machine may have other work."""
        self.ends = {command: self.perform(command) for command in COMMANDS}

    def prepare(self, command: str) -> tuple[list[str], Path]:
        """The command's words, and the directory that it is about to change."""
        shutil.rmtree(self.base / "out", ignore_errors=True)
        words, target = [], None
        for word in command.split():
            if word in ("CKPT", "DONE", "DEAD"):
                words.append(str(copied(self.sources[word], self.base / "ckpt")))
                target = self.base / "ckpt"
            else:
                words.append({"OUT": str(self.base / "out"), "KEEP": str(self.base / "keep")}.get(word, word))
        return words, self.base / "out" if "OUT" in command else target

    def perform(self, command: str) -> tuple[object, object]:
        """What the command leads from and to; its seconds once it is warm are kept."""
        for _ in range(2):
            words, target = self.prepare(command)
            old = snapshot(FS, target)
            begun = time.perf_counter()
            code, told = self.stopped(words, None)
            if code not in AS_ALWAYS:
                sys.exit(f"{command}: {code}, {told}")
        self.seconds[command] = time.perf_counter() - begun
        return old, snapshot(FS, target)

    def stopped(self, words: list[str], stop: signal.Signals | None, delay: float = 0.0) -> tuple[int, str]:
        """The exit code and the messages of the command line, which is asked to stop after `delay` seconds."""
        child = os.fork()
        if child == 0:
            messages = os.open(self.base / "messages", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(messages, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["gte-surgery", *words]
            code = 99
            try:
                command_line()
            except SystemExit as end:
                code = end.code
            finally:
                os._exit(code)
        if stop is not None:
            wait_for_answers(child)
            time.sleep(delay)
            os.kill(child, stop)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, (self.base / "messages").read_text()

    def round(self) -> None:
        command = self.random.choice(COMMANDS)
        stop = self.random.choice(list(ENDS))
        old, new = self.ends[command]
        words, target = self.prepare(command)
        code, told = self.stopped(words, stop, self.random.uniform(0, self.seconds[command]))
        where, found = f"{command}, asked to stop by {stop.name}", snapshot(FS, target)
        if leftovers(FS, target) and found != old:
            sys.exit(f"{where}: left {leftovers(FS, target)}")
        if found not in (old, new) or "Traceback" in told:
            sys.exit(f"{where}: the checkpoint is neither the old nor the new one, or a traceback was told\n{told}")
        if code in AS_ALWAYS:
            if found != new:
                sys.exit(f"{where}: says that it is done, and is not")
            self.seconds[command] *= 0.7
            return
        self.seconds[command] *= 1.1
        wanted, words_wanted = ENDS[stop]
        if code != wanted or f"error: {words_wanted}\nhint: " not in told:
            sys.exit(f"{where}: ended with {code}\n{told}")
        if "DEAD" not in command and leftovers(FS, target):
            sys.exit(f"{where}: left {leftovers(FS, target)}")
        self.counts["stopped"] += 1
        self.counts["new" if found == new else "old"] += 1
        self.counts[stop.name] += 1


def wait_for_answers(child: int) -> None:
    """Until the process answers signals itself: before that the system ends it, and it has done nothing."""
    mask = 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGTERM - 1)
    while True:
        status = Path(f"/proc/{child}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16) if "SigCgt:" in status else mask
        if caught & mask == mask or "\nState:\tZ" in status:
            return


def dead(base: Path, source: Path) -> Path:
    """A checkpoint on which a resize died in the middle of its commit."""
    from gte_surgery.surgery.commit.tree import state_inside
    from tests.crash.faults import CHANGES, Crashed, Fault, FaultyFilesystem

    for at in range(1000):
        folder = copied(source, base / "dead")
        try:
            resize_on(folder, FaultyFilesystem(Fault(at, counted=CHANGES)))
        except Crashed:
            if state_inside(folder).journal.exists():
                return folder
    raise ValueError("no death left a journal")


def main(base: Path, stops: int, seed: int = 0) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    for number in ENDS:  # whoever started us may have had them ignored, as nohup does
        signal.signal(number, signal.SIG_DFL)
    loop = Loop(base, seed)
    while loop.counts["stopped"] < stops:
        loop.round()
    print(" ".join(f"{name}={count}" for name, count in sorted(loop.counts.items())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
