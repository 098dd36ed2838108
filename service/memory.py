"""Trims the heap of the C library, which keeps freed pages: loading a package frees tens of megabytes.

References:
    malloc_trim(3): of glibc; other C libraries have no such function, and nothing happens.
"""

import ctypes


def trim_heap() -> None:
    """Return freed pages to the system; takes milliseconds, on any thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
