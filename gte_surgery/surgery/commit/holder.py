"""Who holds a lock: a process of a machine since its last start; and whether that process is dead for sure.

Another machine, or another container with a list of processes of its own, cannot be asked: only the kernel's lock,
where there is one, tells of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Holder(NamedTuple):
    """`boot` names the machine's last start, `space` the list of processes that `pid` is in, `started` is when the
    process began, in the kernel's ticks; each empty where the system does not tell.
    """

    pid: int
    host: str
    machine: str = ""
    boot: str = ""
    space: str = ""
    started: str = ""


def this_process() -> Holder:
    """The process that asks."""
    pid = os.getpid()
    boot = _first_line("/proc/sys/kernel/random/boot_id")
    return Holder(pid, os.uname().nodename, _first_line("/etc/machine-id"), boot, _space(), started(pid))


def is_dead(holder: Holder, ours: Holder, started_now: str | None) -> bool:
    """Whether the holder cannot be at work any more, once the kernel has given us its lock; `started_now` is when the
    process of that number began that runs here now, None if there is none.
    """
    if holder.boot != ours.boot:  # another machine, or this one before its last start
        return bool(ours.boot and holder.boot) and (holder.host, holder.machine) == (ours.host, ours.machine)
    if not ours.boot and holder.host != ours.host:
        return False
    if holder.space != ours.space:  # another container of this machine: its kernel is ours, and gave us the lock
        return True
    return started_now is None or started_now != holder.started


def started(pid: int) -> str:
    """When a running process began; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_running(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()[:64]
    except OSError:
        return ""


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
