"""One TCP connection as uvicorn reads HTTP from it, with the limits that uvicorn leaves out.

    headers begin ──(header timeout, header bytes)──▶ headers end ──▶ request ──(write timeout)──▶ answer taken

A client may send its headers a byte a minute, or never take its answer, and hold a connection and what the answer keeps
in memory for as long; it may open connections without end. Here each of these has a limit, and what uvicorn would
answer itself, in plain text, is worded like every other error. It stands alone because it is the only module that knows
a server: the application behind it is ASGI, and its own limits (bodies, requests, deadlines) are layers of it.

References:
    CWE-400, uncontrolled resource consumption: the attack called Slowloris.
"""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import GanymedeError, HeadersTooLarge, MalformedRequest, NotReady, RequestTooSlow
from service.routes.problems import problem_response

# Four times what proxies take; traces, cookies and tokens fit.
MAX_HEADER_BYTES = 32 * 1024
# Connections come and go: a second later there may be room.
RETRY_AFTER_S = 1.0

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one process grants its connections.

    Attributes:
        connections: how many there may be.
        header_timeout_s: seconds that the headers of a request may take to arrive.
        write_timeout_s: seconds that a client may take nothing of its answer.
    """

    connections: int
    header_timeout_s: float
    write_timeout_s: float


class LimitedConnection(HttpToolsProtocol):
    """A connection with limits; `limited` makes a class that uvicorn can be given."""

    limits: ClassVar[ConnectionLimits]

    _awaited: object | None = None  # one for each time that headers are waited for
    _headers_due: asyncio.TimerHandle | None = None
    _taken_due: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _reads_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for headers, or turn the connection away."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            logger.warning("connection turned away", open=len(self.connections))
            self._end_with(NotReady("the service has as many connections as it may", RETRY_AFTER_S))
            return
        self._wait_for_headers()
        self._limit_wait()

    def data_received(self, data: bytes) -> None:
        """Read on, and hold headers to their limits from their first byte, or whatever stands before it."""
        if self.transport.is_closing():
            return
        if self._is_answered():
            self._wait_for_headers()
        awaited, read_body = self._awaited, self._reads_body
        super().data_received(data)
        if self._awaited is None:
            return  # as nearly always: the headers came whole, and no clock was started for them
        if awaited is self._awaited and not (read_body or self._reads_body):
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._end_with(HeadersTooLarge(f"the headers of a request may have at most {MAX_HEADER_BYTES} bytes"))
                return
        self._limit_wait()

    def on_message_begin(self) -> None:
        """Begin to wait for headers behind a request that is still being answered."""
        super().on_message_begin()
        self._wait_for_headers()

    def on_headers_complete(self) -> None:
        """Stop waiting for headers; what comes now is a body."""
        self._stop_waiting()
        self._reads_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the body is complete, whether or not anybody still read it."""
        self._reads_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a body that was answered before its end as long to end as headers have."""
        super().on_response_complete()
        if self._reads_body:
            self._wait_for_headers()
            self._limit_wait()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._end_with(MalformedRequest("this is not an HTTP request that can be read"))

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what is written."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        if self._awaited is None:
            self._awaited = object()
            self._header_bytes = 0

    def _limit_wait(self) -> None:
        """Start the clock, unless it runs."""
        if self._headers_due is None:
            self._headers_due = self.loop.call_later(self.limits.header_timeout_s, self._headers_are_late)

    def _stop_waiting(self) -> None:
        self._awaited = None
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _headers_are_late(self) -> None:
        self._awaited = self._headers_due = None
        if not self._is_answered():
            self.cycle.keep_alive = False  # what is being answered is answered; then the connection ends
        elif self._header_bytes:
            self._end_with(RequestTooSlow(f"the headers did not arrive within {self.limits.header_timeout_s:g} s"))
        else:
            self.transport.close()  # nobody asked for anything

    def _watch(self, left_bytes: int) -> None:
        self._taken_due = self.loop.call_later(self.limits.write_timeout_s, self._check_taken, left_bytes)

    def _stop_watching(self) -> None:
        if self._taken_due is not None:
            self._taken_due.cancel()

    def _check_taken(self, left_before_bytes: int) -> None:
        """Cut the connection off if nothing was taken since the last look; the application sees a client that left."""
        left_bytes = self.transport.get_write_buffer_size()
        if left_bytes < left_before_bytes:
            self._watch(left_bytes)
            return
        logger.warning("answer not taken", left_bytes=left_bytes, after_s=self.limits.write_timeout_s)
        self.transport.abort()

    def _end_with(self, error: GanymedeError) -> None:
        """Answer an error that no application saw, unless another answer is on its way, and close."""
        self._stop_waiting()
        if self._is_answered():
            request_id = uuid.uuid4().hex
            response = problem_response(error, request_id)
            headers: Mapping[str, str] = {**response.headers, "x-request-id": request_id, "connection": "close"}
            lines = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items())
            self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body))
        self.transport.close()


def limited(limits: ConnectionLimits) -> type[HttpToolsProtocol]:
    """Answer the class of connections that have these limits."""
    return type("Limited", (LimitedConnection,), {"limits": limits})
