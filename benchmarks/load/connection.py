"""Minimal HTTP/1.1 client connection for load generators; reads the status and Content-Length only.

A chunked response is an error.
"""

import asyncio
import os
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
# Called with None when the response is complete, or with the error.
Done = Callable[[LoadFailed | None], None]


class Connection(asyncio.Protocol):
    """A connection with at most one request in flight."""

    def __init__(self) -> None:
        self._done: Done | None = None
        self._received = bytearray()
        self._expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, done: Done) -> None:
        """Send a request; `done` is called once, when its response is complete or cannot come any more."""
        self._done = done
        self._expected = 0
        self._received.clear()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect a response until it is complete."""
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
        """Fail the request in flight."""
        self._finish(LoadFailed(f"the connection was closed: {exc}"))

    def close(self) -> None:
        """Close the connection; no request is in flight."""
        self._done = None
        self._transport.close()

    def _finish(self, problem: LoadFailed | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(problem)


def exactly(load: Coroutine[Any, Any, Result]) -> Result:
    """Run a load on an event loop whose timers have microsecond resolution.

    uvloop's timers and those of asyncio on epoll have millisecond resolution, which is as long as a response takes.
    """
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(load)


async def connect(url: str, count: int) -> list[Connection]:
    """Open connections to a server, all at once.

    Raises:
        OSError: the server does not accept them.
    """
    address = urllib.parse.urlsplit(url)
    host, port = address.hostname or "", address.port or 0
    loop = asyncio.get_running_loop()
    opened = (loop.create_connection(Connection, host, port) for _ in range(count))
    return [connection for _, connection in await asyncio.gather(*opened)]


def encode(work: Work, seed: int, key: str | None = None) -> bytes:
    """The bytes of a request; without a key of its own it has that of the environment, if there is one."""
    address = urllib.parse.urlsplit(work.url)
    path = f"{address.path}?{address.query}" if address.query else address.path
    body = work.body(seed)
    key = key or os.environ.get("API_KEY")
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        + (f"Authorization: Bearer {key}\r\n" if key else "")
        + f"Content-Length: {len(body)}\r\n\r\n"
    )
    return headers.encode() + body
