"""Reads the body of a request: whole, bounded in bytes and in seconds, and all bodies together bounded in bytes.

    arrive ─▶ grow, grow, … ─▶ whole ─▶ answered: released
                 └─ beyond the sum: the largest of those still arriving is refused

A body that states its length is refused by that statement, before a byte of it is read (a client that sent
`Expect: 100-continue` never sends it); one that does not is counted as it comes. A body that has another length than it
states was lost on its way, and is no request: least of all an empty one, which has a meaning. A body may take some
seconds, and beyond these must arrive at a rate, so that what is sent a byte a minute holds nothing for long.

In the sum a body counts as what has arrived of it, not as what it states, or a few statements would lock out everyone.
The largest is refused, so that small requests are answered beside any number of large ones. Memory of large bodies is
given back to the system, which the C library would keep for the next.

References:
    Apache HTTP Server, mod_reqtimeout: a time to begin with, and one second more for so many bytes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from starlette.types import Receive

from service.errors import BodyTooLarge, GanymedeError, MalformedRequest, NotReady, RequestTooSlow
from service.memory import trim_heap

# A quarter of what the slowest mobile links (GPRS) have carried; Apache asks for half of this.
LEAST_BYTES_PER_S = 1024
# Less is not worth the milliseconds of giving it back.
WORTHWHILE_BYTES = 32 * 1024 * 1024
# A caller that comes again within this time finds the memory still there.
TRIM_AFTER_S = 0.5
# As long as a large body takes on a fast line.
RETRY_AFTER_S = 1.0

Cancel = Callable[[GanymedeError], None]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What one body may take.

    Attributes:
        max_bytes: of one body.
        begin_s: seconds that any body may take.
        whole_s: seconds that no body may exceed.
    """

    max_bytes: int
    begin_s: float
    whole_s: float

    def seconds(self, arrived_bytes: int) -> float:
        """How long after its headers a body may still be incomplete of which so much is here."""
        return min(self.begin_s + arrived_bytes / LEAST_BYTES_PER_S, self.whole_s)

    def too_large(self) -> BodyTooLarge:
        """Word the refusal of a body that has too many bytes."""
        return BodyTooLarge(f"a body may have at most {self.max_bytes} bytes")

    def too_slow(self, waited_s: float) -> RequestTooSlow:
        """Word the refusal of a body that took so long."""
        if waited_s >= self.whole_s:
            return RequestTooSlow(f"the body did not arrive within {self.whole_s:g} s")
        return RequestTooSlow(
            f"of the body fewer than {LEAST_BYTES_PER_S} bytes a second arrived, beyond the first {self.begin_s:g} s"
        )


class Body:
    """One body's part of the sum, for as long as it is entered.

    Args:
        budget: the sum.
        cancel: called with the error if this body is to make room for others.

    Attributes:
        size: bytes that have arrived.
        cancel: as given.
    """

    __slots__ = ("_budget", "cancel", "size")

    def __init__(self, budget: "BodyBudget", cancel: Cancel) -> None:
        self._budget = budget
        self.size = 0
        self.cancel = cancel

    def __enter__(self) -> "Body":
        self._budget.arriving.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._budget.release(self)

    def grow(self, count: int) -> None:
        """Count bytes that arrived.

        Raises:
            NotReady: there is no room for them, and no larger body arrives that could make some.
        """
        self.size += count
        self._budget.add(self, count)

    def is_whole(self) -> None:
        """Nothing more arrives; from now on the body is its request's, and is not refused to make room."""
        self._budget.arriving.discard(self)

    async def read(self, receive: Receive, stated: str | None, limits: BodyLimits) -> bytes | None:
        """Read the body.

        Args:
            receive: ASGI's; a late body is cancelled while this waits.
            stated: its Content-Length.
            limits: of one body.

        Returns:
            The body; None when the client left before its end.

        Raises:
            BodyTooLarge: the body states or has more bytes than the limit.
            MalformedRequest: the body has not as many bytes as it states.
            NotReady: all bodies together hold as much as they may.
        """
        if stated is not None and int(stated) > limits.max_bytes:
            raise limits.too_large()
        clock = _BodyClock(self, limits)
        try:
            body = await self._read(receive, limits)
        finally:
            clock.stop()
        self.is_whole()
        if body is not None and stated is not None and int(stated) != len(body):
            raise MalformedRequest("the body has not as many bytes as Content-Length states")
        return body

    async def _read(self, receive: Receive, limits: BodyLimits) -> bytes | None:
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            if self.size + len(chunk) > limits.max_bytes:
                raise limits.too_large()
            self.grow(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


class _BodyClock:
    """Cancels a body when it is late for what has arrived of it."""

    __slots__ = ("_began", "_body", "_due", "_limits", "_loop")

    def __init__(self, body: Body, limits: BodyLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._body = body
        self._limits = limits
        self._due: asyncio.Handle = self._loop.call_soon(self._look)  # most bodies are here sooner

    def stop(self) -> None:
        self._due.cancel()

    def _look(self) -> None:
        due = self._began + self._limits.seconds(self._body.size)
        if due <= self._loop.time():
            self._body.cancel(self._limits.too_slow(self._loop.time() - self._began))
        else:
            self._due = self._loop.call_at(due, self._look)


class BodyBudget:
    """The sum of all bodies; on the event loop's thread.

    Args:
        max_bytes: that bodies may hold together.

    Attributes:
        arriving: bodies that are not whole.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._most_bytes = 0
        self.arriving: set[Body] = set()
        self._due: asyncio.TimerHandle | None = None
        self._trimming: asyncio.Task[None] | None = None

    def body(self, cancel: Cancel) -> Body:
        """Begin to count a body, until the context that it is ends: when its request is answered."""
        return Body(self, cancel)

    def add(self, body: Body, count: int) -> None:
        """As `Body.grow`."""
        self._held_bytes += count
        while self._held_bytes > self._max_bytes:
            largest = max(self.arriving, key=lambda each: each.size)
            if largest is body:
                raise no_room()
            self.release(largest)
            largest.cancel(no_room())
        self._most_bytes = max(self._most_bytes, self._held_bytes)

    def release(self, body: Body) -> None:
        """Count a body no longer."""
        self.arriving.discard(body)
        self._held_bytes -= body.size
        body.size = 0
        if self._due is None and self._most_bytes - self._held_bytes >= WORTHWHILE_BYTES:
            self._due = asyncio.get_running_loop().call_later(TRIM_AFTER_S, self._trim)

    def _trim(self) -> None:
        self._due = None
        self._most_bytes = self._held_bytes
        self._trimming = asyncio.get_running_loop().create_task(asyncio.to_thread(trim_heap))


def no_room() -> NotReady:
    """Word the refusal of the body that was too many."""
    return NotReady("the service is reading as many bytes of bodies as it may", RETRY_AFTER_S)
