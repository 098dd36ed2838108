"""One HTTP/1.1 connection as a load generator needs it: bytes out, a status in, and as little time as possible between.

It stands alone so that loads which a closed loop cannot make (a constant rate, a crowd that comes at once) share it. It
reads a status and a Content-Length and knows no other header: whoever answers in chunks is told so.
"""

import asyncio
import re
import selectors
import urllib.parse
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from benchmarks.load.closed_loop import LoadFailed, Work

STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEADERS_END: Final = b"\r\n\r\n"
OK: Final = 200

Result = TypeVar("Result")
# Called with None when the answer is there, or with what was wrong.
Done = Callable[[LoadFailed | None], None]


class Connection(asyncio.Protocol):
    """A connection that has at most one request on its way."""

    def __init__(self) -> None:
        self._done: Done | None = None
        self._received = bytearray()
        self._expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, done: Done) -> None:
        """Send a request; `done` is called once, when its answer is there or will not come."""
        self._done = done
        self._expected = 0
        self._received.clear()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._received += data
        if not self._expected:
            end = self._received.find(HEADERS_END)
            if end < 0:
                return
            length = LENGTH.search(self._received, 0, end + 2)
            if length is None:
                self._finish(LoadFailed("the answer has no Content-Length"))
                return
            self._expected = end + len(HEADERS_END) + int(length.group(1))
        if len(self._received) >= self._expected:
            status = STATUS.match(self._received)
            good = status is not None and int(status.group(1)) == OK
            self._finish(None if good else LoadFailed(f"the answer is {bytes(self._received[:200])!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that was on its way will not come."""
        self._finish(LoadFailed(f"the connection was closed: {exc}"))

    def close(self) -> None:
        """Close it; nothing is on its way."""
        self._done = None
        self._transport.close()

    def _finish(self, problem: LoadFailed | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(problem)


def exactly(load: Coroutine[Any, Any, Result]) -> Result:
    """Run a load on a loop whose clock and timers are exact to microseconds.

    uvloop's are exact to a millisecond, and so are those of asyncio's own loop on epoll: as long as an answer takes.
    """
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(load)


async def connect(url: str, count: int) -> list[Connection]:
    """Open connections to a server, all at once.

    Raises:
        OSError: it does not accept them.
    """
    address = urllib.parse.urlsplit(url)
    host, port = address.hostname or "", address.port or 0
    loop = asyncio.get_running_loop()
    opened = (loop.create_connection(Connection, host, port) for _ in range(count))
    return [connection for _, connection in await asyncio.gather(*opened)]


def encode(work: Work, seed: int) -> bytes:
    """A whole request, as it goes over the wire."""
    address = urllib.parse.urlsplit(work.url)
    path = f"{address.path}?{address.query}" if address.query else address.path
    body = work.body(seed)
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return headers.encode() + body
