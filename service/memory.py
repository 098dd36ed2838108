"""Memory of this process: what it holds, and freed pages that go back to the system.

Loading a package frees tens of megabytes, which the heap of the C library would keep.

References:
    malloc_trim(3): of glibc; other C libraries have no such function, and nothing happens.
    proc(5): /proc/self/statm, in pages: size, resident, shared with files or other processes, and more.
"""

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1024 * 1024
OWN_PAGES: Final = Path("/proc/self/statm")


def trim_heap() -> None:
    """Return freed pages to the system; takes milliseconds, on any thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def free_unused() -> None:
    """Free what reference cycles hold, which may be whole graphs, then as `trim_heap`."""
    gc.collect()
    trim_heap()


def own_bytes() -> int:
    """Resident memory that is this process's alone, without libraries and other files; 0 elsewhere than on Linux."""
    try:
        _, resident, shared, *_ = OWN_PAGES.read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def trimmed_bytes() -> int:
    """As `own_bytes`, after `trim_heap`."""
    trim_heap()
    return own_bytes()


def in_mebibytes(size_bytes: int) -> str:
    """A size for a person, as in `37.5 MiB`."""
    return f"{size_bytes / MEBIBYTE:.1f} MiB"
