"""Objects that uvicorn takes for its own: a request that the express way answers, a transport that is ahead of itself.

uvicorn keeps a cycle for each request that it answers and asks of it little more than whether it is complete; and a
cycle writes to a transport little more than bytes. What stands in for either here has that little.
"""

import asyncio

from service.server.express import Errand


class _Silent:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Tell nobody."""


class ExpressCycle:
    """What uvicorn keeps of the request that it answers, for one that the express way answers.

    Attributes:
        errand: the request.
        keep_alive: whether another may follow it on its connection.
        response_complete: whether it was answered.
        disconnected: whether its client left before that.
        message_event: told of what happens to the body, which is here already.
    """

    __slots__ = ("disconnected", "errand", "keep_alive", "message_event", "response_complete")

    def __init__(self, errand: Errand, *, keep_alive: bool) -> None:
        self.errand = errand
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _Silent()


class Begun:
    """The transport of an answer whose first bytes were sent before it was known.

    Args:
        transport: the connection's.
        sent: how many bytes.
    """

    def __init__(self, transport: asyncio.Transport, sent: int) -> None:
        self._transport = transport
        self._sent = sent
        self.is_closing = transport.is_closing
        self.close = transport.close

    def write(self, data: bytes) -> None:
        """Write what was not sent yet."""
        self._transport.write(data[self._sent :])
        self._sent = 0
