"""The layer that ends a request early: when its client has left, or when the process may not wait for it any longer.

An ASGI server only *tells* an application that the client left, when it asks. This layer asks all the time: it runs
the answer as a task and races it against the disconnect. Whoever loses is cancelled, its queued samples leave the
queue, and nobody else notices. The layer must stand inside the one that reads the body, since after the body nothing
but a disconnect can arrive.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import NotReady
from service.routes.exchange import CLIENT_CLOSED_REQUEST, exchange_of
from service.routes.lifecycle import RETRY_AFTER_S, Lifecycle


class Cancellation:
    """Cancels an answer that nobody waits for, or that the process cannot wait for.

    Args:
        app: the layer inside.
        lifecycle: says when the process cuts off what is left.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the layer inside for as long as its client is there and the process waits.

        Raises:
            NotReady: the process ended before the answer did.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        unread = [await receive()]
        complete = False

        async def replay() -> Message:
            if unread:
                return unread.pop()
            await asyncio.wait({gone})
            return {"type": "http.disconnect"}

        async def client_leaves() -> None:
            await receive()  # after the body, nothing but a disconnect arrives

        async def answered() -> None:
            await self._app(scope, replay, watching_send)

        async def watching_send(message: Message) -> None:
            nonlocal complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        gone = asyncio.create_task(client_leaves())
        answer = asyncio.create_task(answered())
        cut_off = self._lifecycle.cut_off
        try:
            await asyncio.wait((gone, answer, cut_off), return_when=asyncio.FIRST_COMPLETED)
            if complete:
                # A server says "disconnect" after the last byte as well; what follows that byte may still finish.
                await asyncio.wait({answer})
        finally:
            overdue = not answer.done()
            gone.cancel()
            answer.cancel()
            await asyncio.wait({gone, answer})
        if not overdue:
            answer.result()
        elif cut_off.done():
            raise NotReady("the service ended before the answer was complete", RETRY_AFTER_S)
        else:
            exchange_of(scope).status = CLIENT_CLOSED_REQUEST
