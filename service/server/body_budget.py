"""What the bodies of one process may hold together, in bytes: a sum that is bounded, whoever sends them.

    arrive ─▶ grow, grow, … ─▶ whole ─▶ answered: leave
                 └─ beyond the sum: the largest of those still arriving is turned away

A body counts as what has arrived of it, not as what it states, or a few statements would lock everybody out. Who is
turned away is the largest, so that small requests are answered beside any number of large ones. Memory that many bytes
have left is given back to the system, which the C library would keep for the next.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import NotReady
from service.memory import trim_heap

# Less is not worth the milliseconds of giving it back.
WORTHWHILE_BYTES = 32 * 1024 * 1024
# Who comes again within this time finds the memory still there.
MOMENT_S = 0.5
# As long as a large body takes on a fast line.
RETRY_AFTER_S = 1.0


class ArrivingBody:
    """One body's part of the sum.

    Args:
        budget: the sum.
        turn_away: called if this body is to make room for others.

    Attributes:
        size: bytes that have arrived.
        turn_away: as given.
    """

    __slots__ = ("_budget", "size", "turn_away")

    def __init__(self, budget: "BodyBudget", turn_away: Callable[[], None]) -> None:
        self._budget = budget
        self.size = 0
        self.turn_away = turn_away

    def grow(self, count: int) -> None:
        """Count bytes that arrived.

        Raises:
            NotReady: there is no room for them, and no larger body arrives that could make some.
        """
        self.size += count
        self._budget.add(self, count)

    def is_whole(self) -> None:
        """Nothing more arrives; from now on the body is its request's, and not turned away."""
        self._budget.settle(self)


class BodyBudget:
    """The sum; on the event loop's thread.

    Args:
        max_bytes: that bodies may hold together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._most_bytes = 0
        self._arriving: set[ArrivingBody] = set()
        self._due: asyncio.TimerHandle | None = None
        self._giving: asyncio.Task[None] | None = None

    @contextmanager
    def body(self, turn_away: Callable[[], None]) -> Iterator[ArrivingBody]:
        """Count one body until its request is answered."""
        body = ArrivingBody(self, turn_away)
        self._arriving.add(body)
        try:
            yield body
        finally:
            self._arriving.discard(body)
            self._release(body)

    def settle(self, body: ArrivingBody) -> None:
        """As `ArrivingBody.is_whole`."""
        self._arriving.discard(body)

    def add(self, body: ArrivingBody, count: int) -> None:
        """As `ArrivingBody.grow`."""
        self._held_bytes += count
        while self._held_bytes > self._max_bytes:
            largest = max(self._arriving, key=lambda each: each.size)
            if largest is body:
                raise no_room()
            self._arriving.discard(largest)
            self._release(largest)
            largest.turn_away()
        self._most_bytes = max(self._most_bytes, self._held_bytes)

    def _release(self, body: ArrivingBody) -> None:
        self._held_bytes -= body.size
        body.size = 0
        if self._due is None and self._most_bytes - self._held_bytes >= WORTHWHILE_BYTES:
            self._due = asyncio.get_running_loop().call_later(MOMENT_S, self._give_back)

    def _give_back(self) -> None:
        self._due = None
        self._most_bytes = self._held_bytes
        self._giving = asyncio.get_running_loop().create_task(asyncio.to_thread(trim_heap))


def no_room() -> NotReady:
    """Word what the sender of the body that was too many is told."""
    return NotReady("the service is reading as many bytes of bodies as it may", RETRY_AFTER_S)
