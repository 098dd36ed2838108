"""The layer that reads a request's body: whole, bounded in bytes and in seconds, before any route sees it.

It stands alone so that no route can forget a limit. A body that states its length is refused by that statement,
before a byte of it is read (a client that sent `Expect: 100-continue` never sends it); one that does not is counted
as it comes. A route then finds the body complete, and what `receive` says next can only be that the client left. A
body that states its length and has another was lost on its way, and is no request: least of all an empty one, which
has a meaning.

A body has a moment, and beyond that must arrive at a rate, so that what is sent a byte a minute holds nothing for long.

References:
    Apache HTTP Server, mod_reqtimeout: a time to begin with, and one second more for so many bytes.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, MalformedRequest, NotReady, RequestTooSlow
from service.server.body_budget import ArrivingBody, BodyBudget, no_room
from service.server.interruption import Interruption
from service.server.lifecycle import RETRY_AFTER_S, Lifecycle
from service.server.request_info import exchange_of

# A quarter of what the slowest mobile links (GPRS) have carried; Apache asks for half of this.
LEAST_BYTES_PER_S = 1024

_Reason = Literal["late", "no room", "cut off"]


@dataclass(frozen=True, slots=True)
class BodyPatience:
    """How long bodies may take.

    Attributes:
        begin_s: seconds that any body may take.
        whole_s: seconds that no body may exceed.
    """

    begin_s: float
    whole_s: float

    def seconds(self, arrived_bytes: int) -> float:
        """How long after its headers a body may still be incomplete of which so much is here."""
        return min(self.begin_s + arrived_bytes / LEAST_BYTES_PER_S, self.whole_s)


class BodyLimits:
    """Reads bodies, within limits.

    Args:
        app: the layer inside.
        max_bytes: largest body.
        patience: how long one may take to arrive.
        budget: what all together may hold.
        lifecycle: says when the process cuts off what is left.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, patience: BodyPatience, budget: BodyBudget, lifecycle: Lifecycle
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._patience = patience
        self._budget = budget
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then run the layer inside on it.

        Raises:
            BodyTooLarge: the body states or has more bytes than the limit.
            MalformedRequest: the body has not as many bytes as it states.
            NotReady: all bodies together hold as much as they may, or the process ended before the body was here.
            RequestTooSlow: the body took too long.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = exchange_of(scope).headers.get("content-length")
        if stated is not None and int(stated) > self._max_bytes:
            raise self._too_large()
        interruption: Interruption[_Reason] = Interruption()
        with self._budget.body(lambda: interruption.interrupt("no room")) as arriving:
            body = await self._read_in_time(receive, arriving, interruption)
            if body is None:
                return
            arriving.is_whole()
            if stated is not None and int(stated) != len(body):
                raise MalformedRequest("the body has not as many bytes as Content-Length states")
            unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def replay() -> Message:
                return unread.pop() if unread else await receive()

            del body  # its request may let go of it sooner than this layer
            await self._app(scope, replay, send)

    async def _read_in_time(
        self, receive: Receive, arriving: ArrivingBody, interruption: Interruption[_Reason]
    ) -> bytes | None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        looking: asyncio.TimerHandle

        def look() -> None:
            nonlocal looking
            due = began + self._patience.seconds(arriving.size)
            if due <= loop.time():
                interruption.interrupt("late")
            else:
                looking = loop.call_at(due, look)

        def cut_off() -> None:
            interruption.interrupt("cut off")

        looking = loop.call_at(began + self._patience.seconds(0), look)
        self._lifecycle.watch(cut_off)
        try:
            return await self._read(receive, arriving)
        except asyncio.CancelledError:
            match interruption.taken():
                case "late":
                    raise self._too_slow(loop.time() - began) from None
                case "no room":
                    raise no_room() from None
                case "cut off":
                    raise NotReady("the service ended before the body was here", RETRY_AFTER_S) from None
                case None:
                    raise
        finally:
            looking.cancel()
            self._lifecycle.unwatch(cut_off)

    async def _read(self, receive: Receive, arriving: ArrivingBody) -> bytes | None:
        """Collect the body; None when the client left before its end."""
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            if arriving.size + len(chunk) > self._max_bytes:
                raise self._too_large()
            arriving.grow(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_slow(self, waited_s: float) -> RequestTooSlow:
        if waited_s >= self._patience.whole_s:
            return RequestTooSlow(f"the body did not arrive within {self._patience.whole_s:g} s")
        return RequestTooSlow(
            f"of the body fewer than {LEAST_BYTES_PER_S} bytes a second arrived, beyond the first "
            f"{self._patience.begin_s:g} s"
        )

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"a body may have at most {self._max_bytes} bytes")
