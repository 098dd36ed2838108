"""The layer that reads a request's body: whole, bounded in bytes and in seconds, before any route sees it.

It stands alone so that no route can forget a limit. A body that states its length is refused by that statement,
before a byte of it is read (a client that sent `Expect: 100-continue` never sends it); one that does not is counted
as it comes. A route then finds the body complete, and what `receive` says next can only be that the client left.
"""

import asyncio
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, RequestTooSlow
from service.routes.exchange import exchange_of
from service.routes.interruption import Interruption


class BodyLimits:
    """Reads bodies, within limits.

    Args:
        app: the layer inside.
        max_bytes: largest body.
        timeout_s: seconds that a body may take to arrive.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then run the layer inside on it.

        Raises:
            BodyTooLarge: the body states or has more bytes than the limit.
            RequestTooSlow: the body took too long.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if int(exchange_of(scope).headers.get("content-length", 0)) > self._max_bytes:
            raise self._too_large()
        body = await self._read_in_time(receive)
        if body is None:
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, replay, send)

    async def _read_in_time(self, receive: Receive) -> bytes | None:
        interruption: Interruption[Literal["late"]] = Interruption()
        late = asyncio.get_running_loop().call_later(self._timeout_s, interruption.interrupt, "late")
        try:
            return await self._read(receive)
        except asyncio.CancelledError:
            if interruption.taken() is None:
                raise
            raise RequestTooSlow(f"the body did not arrive within {self._timeout_s:g} s") from None
        finally:
            late.cancel()

    async def _read(self, receive: Receive) -> bytes | None:
        """Collect the body; None when the client left before its end."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"a body may have at most {self._max_bytes} bytes")
