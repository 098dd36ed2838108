"""Memory that was freed, given back to the system: what loading needed once need not be held for ever.

The C library keeps freed pages for the next allocation. Loading a package frees tens of megabytes (its files, what ONNX
Runtime made of them on the way, the batches of the proof), of which serving never needs as much again. It stands alone
because it is of the process, not of any package.

References:
    malloc_trim(3): glibc's own; other C libraries have none, and nothing happens.
"""

import ctypes


def give_back_freed_memory() -> None:
    """Return freed pages to the system; milliseconds, on whichever thread calls it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
