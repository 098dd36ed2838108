"""Deliberately broken controls, which every check must find: readers that fail in each way on known inputs.

Each fails on one input of `ONE_IN`, which its check sum tells.
"""

import ctypes
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.trust.inputs import MEBIBYTE, READ, Target, Wrong, plain

ONE_IN: Final = 8
TAKEN_BYTES: Final = 200 * MEBIBYTE


def is_fatal(content: bytes) -> bool:
    """Whether a control fails on this input."""
    return zlib.crc32(content) % ONE_IN == 0


def fails(how: Callable[[], object]) -> READ:
    """A reader that fails on some inputs, and only on these."""

    def read(content: bytes) -> None:
        if is_fatal(content):
            how()

    return read


def _raise() -> None:
    raise ZeroDivisionError


def _answer_wrongly() -> None:
    raise Wrong("500")


def _hang() -> None:
    time.sleep(3600)


def _allocate() -> None:
    bytearray(TAKEN_BYTES)


def _allocate_all() -> None:
    bytearray(2**45)


def _compute() -> None:
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass


def _control(how: Callable[[], object], seconds: float = 1.0) -> tuple[Callable[[], Target], int]:
    seeds = [seed for first in range(16) if not is_fatal(seed := bytes((first, 1, 2)))]
    return lambda: Target(seeds=seeds, declared=(ValueError,), opened=plain(fails(how)), seconds=seconds), 0


# name: how it is made; none is part of a run that names no target.
TARGETS: Final[Mapping[str, tuple[Callable[[], Target], int]]] = {
    "raises": _control(_raise),
    "hangs": _control(_hang),
    "allocates": _control(_allocate),
    "allocates-all": _control(_allocate_all),
    "computes": _control(_compute, seconds=0.05),
    "crashes": _control(lambda: ctypes.string_at(0)),
    "answers-wrongly": _control(_answer_wrongly),
}
