"""The layer that ends a request early: when its client has left, or when the process may not wait for it any longer.

An ASGI server only *tells* an application that the client left, when it asks. Asking takes a task beside the answer's
own, which costs more than a small answer does; so this layer begins to ask when an answer has taken a moment, and from
then on all the time. An answer that is ended is cancelled where it stands, its queued samples leave the queue, and
nobody else notices. The layer must stand inside the one that reads the body, since after the body nothing but a
disconnect can arrive.
"""

import asyncio
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import NotReady
from service.server.interruption import Interruption
from service.server.lifecycle import RETRY_AFTER_S, Lifecycle
from service.server.request_info import CLIENT_CLOSED_REQUEST, exchange_of

# What is answered sooner is answered whether or not anybody is left to take it.
WATCH_AFTER_S = 0.02


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
        answer = _Answer(await receive(), receive, send)
        watching = asyncio.get_running_loop().call_later(WATCH_AFTER_S, answer.watch)
        self._lifecycle.watch(answer.cut_off)
        try:
            await self._app(scope, answer.receive, answer.send)
        except asyncio.CancelledError:
            match answer.interruption.taken():
                case "cut off":
                    raise NotReady("the service ended before the answer was complete", RETRY_AFTER_S) from None
                case "left":
                    exchange_of(scope).status = CLIENT_CLOSED_REQUEST
                case None:
                    raise
        finally:
            self._lifecycle.unwatch(answer.cut_off)
            watching.cancel()
            answer.stop_watching()


class _Answer:
    """One answer, which its client may leave and the process may cut off.

    Args:
        body: the message that holds the request's body.
        receive: what says after it that the client left.
        send: where the answer goes.
    """

    __slots__ = ("_body", "_complete", "_gone", "_receive", "_send", "interruption")

    def __init__(self, body: Message, receive: Receive, send: Send) -> None:
        self._body: Message | None = body
        self._receive = receive
        self._send = send
        self._complete = False
        self._gone: asyncio.Task[Message] | None = None
        self.interruption: Interruption[Literal["left", "cut off"]] = Interruption()

    async def receive(self) -> Message:
        """Answer the body, then the disconnect when it comes."""
        body, self._body = self._body, None
        if body is not None:
            return body
        return await asyncio.shield(self.watch())

    async def send(self, message: Message) -> None:
        """Send on; what follows the last byte is not interrupted, though a server says "disconnect" after it too."""
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self._gone is not None:
            # A client that left ends the wait for it, and what is ready is then sent (to nobody) in one turn of the
            # event loop; `_leave` runs in the next.
            await asyncio.sleep(0)
        self._complete = is_last
        await self._send(message)

    def watch(self) -> asyncio.Task[Message]:
        """Begin to ask whether the client left, unless this has begun."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._receive())
            self._gone.add_done_callback(self._leave)
        return self._gone

    def stop_watching(self) -> None:
        """Ask no more."""
        if self._gone is not None:
            self._gone.remove_done_callback(self._leave)
            self._gone.cancel()

    def cut_off(self) -> None:
        """End what is not complete, because the process ends."""
        if not self._complete:
            self.interruption.interrupt("cut off")

    def _leave(self, gone: asyncio.Task[Message]) -> None:
        """End what is not complete, because nobody waits for it."""
        if not gone.cancelled() and gone.exception() is None and not self._complete:
            self.interruption.interrupt("left")
