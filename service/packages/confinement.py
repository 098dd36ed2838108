"""What a program gives up before it reads a stranger's file: memory, time, files and children.

Limits of the kernel (`setrlimit`), which a process can lower and never raise again. Whatever then goes wrong in it can
neither write nor open anything, start nothing, and ends before it takes the machine along.
"""

import resource


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Give up whatever this program does not need; it cannot be taken back."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open; nothing else opens
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
