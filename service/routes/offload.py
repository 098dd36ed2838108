"""The threads that do what would hold up the event loop: parse, decode, encode.

Everything here takes longer than a millisecond and mostly releases the GIL (zlib, libjpeg, NumPy). The pool is
bounded, so that a flood of large images waits in line instead of taking every core from the sessions; callers hand
over small pieces, so that the line is fair.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

# What one core parses and checks in well under a millisecond; a thread for less would cost more than it saves.
INLINE_BYTES = 16 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class Offload:
    """A bounded pool of threads.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="media")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(*args, **kwargs)` on a thread of the pool.

        Work that is still waiting when its caller is cancelled never runs; work that runs ends unheard.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def run_sized(self, size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` here when its input is small, else on a thread of the pool."""
        if size_bytes <= INLINE_BYTES:
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)

    def close(self) -> None:
        """Drop what waits, and finish what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)
