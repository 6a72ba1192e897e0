"""Kills a resize with SIGKILL at random moments, again and again, and looks at what is left.

python tests/crash/kill_loop.py FOLDER KILLS

Every round forks a child that resizes in place with hashing and several threads. After the kill the directory, with
`recover` where told, must be exactly the old or exactly the new checkpoint; anything else ends the loop with a message.
Prints how many kills hit, how they ended, and how often `recover` had to finish a commit.
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

from gte_surgery.errors import UnfinishedSurgeryError
from gte_surgery.surgery.filesystem import Filesystem
from gte_surgery.surgery.recovery import require_settled
from gte_surgery.surgery.verbs import recover, resize
from tests import builder
from tests.crash.surgeries import leftovers, snapshot


def operate(folder: Path) -> None:
    resize(folder, vocab=20_000, pad=0, type_vocab=0, threads=2)


def run_child(folder: Path, delay: float) -> bool:
    """Resizes in a child and kills it after `delay` seconds; whether the kill came in time."""
    child = os.fork()
    if child == 0:
        try:
            operate(folder)
        finally:
            os._exit(0)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(base: Path, kills: int) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    source, folder = base / "source", base / "ckpt"
    builder.build(source, builder.remote_config(vocab_size=40_000), head="mlm", shards=3)
    shutil.copytree(source, folder)
    start = time.perf_counter()
    operate(folder)
    took = time.perf_counter() - start
    filesystem, counts = Filesystem(), Counter[str]()
    old, new = snapshot(filesystem, source), snapshot(filesystem, folder)
    moments = random.Random(0)
    while counts["killed"] < kills:
        shutil.rmtree(folder)
        shutil.copytree(source, folder)
        if not run_child(folder, moments.uniform(0, 1.3 * took)):
            continue
        counts["killed"] += 1
        try:
            require_settled(folder)
        except UnfinishedSurgeryError:
            counts["recovered"] += 1
        recover(folder)
        found = snapshot(filesystem, folder)
        if found not in (old, new) or leftovers(filesystem, folder):
            sys.exit(f"after {counts['killed']} kills the checkpoint is neither the old nor the new one")
        counts["old" if found == old else "new"] += 1
    sys.stdout.write(" ".join(f"{name}={counts[name]}" for name in ("killed", "old", "new", "recovered")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
