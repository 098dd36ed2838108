"""Waiting for room in a full queue: a request that has begun is not given up half-way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import QueueFull

T = TypeVar("T")

# The queue says when room may come. Asked more often than this, it would be a tight loop; less often, later arrivals
# would overtake.
SHORTEST_WAIT_S = 0.01
LONGEST_WAIT_S = 1.0


async def submit(attempt: Callable[[], Awaitable[T]], *, retry: bool) -> T:
    """Submit a job, and where `retry` is set, wait while the queue is full; the job's deadline ends that.

    Args:
        attempt: submits the job once.

    Raises:
        QueueFull: the queue has no room, and `retry` is not set.
    """
    while True:
        try:
            return await attempt()
        except QueueFull as full:
            if not retry:
                raise
            wait_s = min(max(full.retry_after_s or 0, SHORTEST_WAIT_S), LONGEST_WAIT_S)
        await asyncio.sleep(wait_s)
