"""Processor time and memory from Linux's /proc, split into server, load generator and other processes.

    whole machine (/proc/stat)  =  server's processes (/proc/PID/stat)  +  load generator  +  foreign

References:
    proc(5): /proc/stat, /proc/[pid]/stat, /proc/[pid]/smaps_rollup, /proc/[pid]/task/[tid]/schedstat.
"""

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/stat's first line: user, nice, system, (idle, iowait,) irq, softirq, steal.
BUSY_FIELDS: Final = (0, 1, 2, 5, 6, 7)
# Fields of /proc/PID/stat after the name, which may contain spaces: ppid; utime, stime, and those of ended children.
PARENT_FIELD: Final = 1
CPU_FIELDS: Final = slice(11, 15)
KIBIBYTE: Final = 1024
NANOSECONDS_PER_S: Final = 10**9


@dataclass(frozen=True)
class Reading:
    """The counters at one moment.

    Attributes:
        at_s: monotonic clock.
        machine_s: processor time that was not idle, since the start of the machine.
        server_s: processor time of the server's processes, since their start.
    """

    at_s: float
    machine_s: float
    server_s: float


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Mean number of cores in use.

    Attributes:
        wall_s: duration.
        server: by the server's processes.
        generator: by the load generator.
        foreign: by all other processes.
    """

    wall_s: float
    server: float
    generator: float
    foreign: float


def read(pid: int | None) -> Reading:
    """Read the counters now.

    Args:
        pid: of the server's first process; its descendants count as well. None where there is no server.
    """
    fields = (PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    machine = sum(int(fields[place]) for place in BUSY_FIELDS)
    server = 0 if pid is None else sum(_ticks(each) for each in family(pid))
    return Reading(time.monotonic(), machine / TICKS_PER_S, server / TICKS_PER_S)


def between(before: Reading, after: Reading, generator_s: float) -> Usage:
    """Average over the time between two readings.

    Args:
        before: the first.
        after: the second.
        generator_s: processor time of the load generator between them.
    """
    wall = after.at_s - before.at_s
    server = after.server_s - before.server_s
    foreign = after.machine_s - before.machine_s - server - generator_s
    return Usage(
        wall_s=wall,
        server=server / wall,
        generator=generator_s / wall,
        foreign=max(0.0, foreign / wall),  # ticks are coarse: on a quiet machine the difference may fall below zero
    )


def family(pid: int) -> list[int]:
    """A process and its living descendants."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (fields := _stat(int(folder.name))):
            children[int(fields[PARENT_FIELD])].append(int(folder.name))
    found = [pid]
    for each in found:  # grows while it is walked
        found += children[each]
    return found


def thread_s(pid: int) -> float:
    """Processor time of a process's first thread, to the nanosecond, unlike that of `read`."""
    told = (PROC / str(pid) / "task" / str(pid) / "schedstat").read_text(encoding="ascii")
    return int(told.split()[0]) / NANOSECONDS_PER_S


def memory_bytes(pid: int) -> int:
    """Memory of a process and its descendants; shared pages count once (PSS)."""
    return sum(_proportional_bytes(each) for each in family(pid))


def resident_bytes(pid: int) -> int:
    """Resident memory of one process (RSS), as `ps` shows it."""
    pages = (PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _proportional_bytes(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # the process has ended
        return 0
    return sum(int(line.split()[1]) * KIBIBYTE for line in lines if line.startswith("Pss:"))


def _ticks(pid: int) -> int:
    return sum(int(field) for field in _stat(pid)[CPU_FIELDS])


def _stat(pid: int) -> list[str]:
    """Fields after the name; empty for a process that has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []
